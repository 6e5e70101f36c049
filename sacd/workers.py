"""Maps a function over items in spawned worker processes, which end with the process they serve."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any, Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4
"""Chunks per worker that are submitted before their results are consumed."""
_PR_SET_PDEATHSIG: Final = 1
"""Number of the option in Linux' prctl(2)."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: whoever cleans up after Ctrl-C cleans up after it, too."""


def raise_on_sigterm() -> None:
    """Let SIGTERM raise `Terminated` in the main thread, instead of ending this process at once."""

    def stop(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)


def end_with(parent: int) -> None:
    """Let this process be killed as soon as `parent`, which started it, has ended.

    A parent that is killed cannot tell its children. Without this they would wait for its next word
    for ever. Linux only; elsewhere nothing is changed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above
            os.kill(os.getpid(), signal.SIGKILL)


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, chunk: int = 1
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, whatever the number of workers.

    At most `_AHEAD` chunks per worker wait in memory, so that large results do not pile up. The
    first exception is raised here, and items that have not started are cancelled. On Ctrl-C and
    SIGTERM the workers are killed in the middle of their items, and so is every worker when this
    process is killed: what they leave behind is removed by whoever holds the lock next.

    Args:
        function: picklable, as are the items and results: it runs in another process.
        items: consumed lazily.
        workers: number of processes; with 1 or less everything runs in this process.
        chunk: items sent to a worker at a time; raise it where one item takes milliseconds.

    Raises:
        ChildProcessError: a worker was killed, or crashed in native code.

    >>> list(parallel_map(abs, [-1, 2], workers=1))
    [1, 2]
    """
    if workers <= 1:
        yield from map(function, items)
        return
    # Spawned, not forked: a fork of a process that has loaded torch or FFmpeg may hang.
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[list[Result]]] = deque()
    rest = iter(items)
    before = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, end_with, (os.getpid(),)) as pool:
        try:
            while part := list(islice(rest, chunk)):
                with deaf_children():  # `submit` starts the worker processes, one by one
                    waiting.append(pool.submit(_apply, function, part))
                if len(waiting) == _AHEAD * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise ChildProcessError(
                "a worker process was killed (out of memory?) or crashed; what was finished before "
                "is kept: repeat the command with fewer WORKERS"
            ) from None
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                # They do not hear Ctrl-C themselves, and an item may take minutes.
                for process in set(multiprocessing.active_children()) - before:
                    process.kill()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that are started here never see Ctrl-C: this process hears it, and ends them."""
    # The first process of `multiprocessing` starts this one too, which ends with SIGINT unblocked.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _apply(function: Callable[[Any], Any], part: list[Any]) -> list[Any]:
    return [function(item) for item in part]
