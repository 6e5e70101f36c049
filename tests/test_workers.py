"""`parallel_map`: order, errors, and that it does not run far ahead."""

import os
import time

import pytest

from sacd.workers import _AHEAD, Terminated, parallel_map


def process_of(number: int) -> tuple[int, int]:
    return number, os.getpid()


def fail_at_three(number: int) -> int:
    if number == 3:
        raise OSError(f"{number} is broken")
    return number


def leave_a_mark(path: str) -> str:
    with open(path, "w"):
        return path


def test_without_workers_it_runs_here_and_lazily():
    items = iter(range(5))
    found = parallel_map(process_of, items, workers=1)
    assert next(found) == (0, os.getpid())
    assert next(items) == 1


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 3])
def test_results_come_in_order_from_other_processes(chunk):
    found = list(parallel_map(process_of, range(20), workers=2, chunk=chunk))
    assert [number for number, _ in found] == list(range(20))
    assert os.getpid() not in {process for _, process in found}


@pytest.mark.slow
def test_an_error_reaches_the_caller_after_the_results_before_it():
    found = parallel_map(fail_at_three, range(100), workers=2)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="3 is broken"):
        next(found)


@pytest.mark.slow
def test_items_are_taken_only_as_results_are_consumed(tmp_path):
    items = iter([str(tmp_path / str(k)) for k in range(100)])
    found = parallel_map(leave_a_mark, items, workers=2)
    next(found)
    found.close()
    assert len(list(items)) == 100 - 2 * _AHEAD
    assert len(list(tmp_path.iterdir())) <= 2 * _AHEAD


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), 9)
    return number


@pytest.mark.slow
def test_a_worker_that_is_killed_is_one_line():
    with pytest.raises(
        ChildProcessError, match=r"was killed .* repeat the command with fewer"
    ) as e:
        list(parallel_map(die_at_three, range(100), workers=2))
    assert "\n" not in str(e.value)


@pytest.mark.slow
def test_an_interrupt_ends_the_workers_in_the_middle_of_their_items(tmp_path):
    """They would sleep for ever; `close` and `list` come back only once they are dead."""
    found = parallel_map(mark_and_sleep, [str(tmp_path / name) for name in "abc"], workers=2)
    assert next(found)
    while not (tmp_path / "b").exists():
        time.sleep(0.01)
    with pytest.raises(Terminated):
        found.throw(Terminated())


def mark_and_sleep(path: str) -> str:
    with open(path, "w"):
        while not path.endswith("a"):
            time.sleep(1)
        return path
