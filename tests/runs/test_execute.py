"""The order of runs, their inputs, and the progress bar."""

import sys

import pytest
from toy_tasks import run

from sacd.runs import RunStore, execute
from sacd.runs.execute import _priorities


def test_the_critical_path_starts_first():
    teacher = run(1, cost=1)
    student = run(2, inputs=(("teacher", teacher),), cost=10)
    alone = run(3, cost=5)
    priority = _priorities({r.id: r for r in (teacher, student, alone)})
    assert (priority[teacher.id], priority[student.id], priority[alone.id]) == (11, 10, 5)


def test_longest_first_each_once_inputs_before_readers(tmp_path):
    marks = tmp_path / "marks"
    teacher = run(1, cost=1)
    runs = [
        run(3, cost=5),
        run(2, inputs=(("a", teacher), ("b", run(4, cost=0.5))), cost=10),
        run(3, cost=5),
    ]
    report = execute(
        runs, RunStore(tmp_path / "runs"), workers=0, quiet=True, resources={"marks": str(marks)}
    )
    order = [
        p.name.split("-")[0] for p in sorted(marks.iterdir(), key=lambda p: p.name.split("-")[2])
    ]
    assert order == ["1", "4", "2", "3"] and len(report.done) == 4


def test_inputs_of_a_finished_run_are_not_needed(tmp_path):
    store = RunStore(tmp_path)
    teacher = run(1)
    student = run(2, inputs=(("teacher", teacher),))
    execute([student], store, workers=0, quiet=True)
    (store.folder(teacher) / "sum.json").unlink()
    assert execute([student], store, workers=0, quiet=True).hit == (student,)
    assert execute([student, teacher], store, workers=0, quiet=True).done == (teacher,)


def test_progress_of_runs_in_this_process(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    execute([run(1, pause_s=0.15, epochs=4, label="toy one")], RunStore(tmp_path), workers=0)
    text = capsys.readouterr().err
    assert "0/1 runs, 1 running, 0 failed" in text and "toy one: step 2" in text
    assert text.rstrip().splitlines()[-1].count("1/1 runs, 0 running, 0 failed") and "100%" in text


def test_nothing_to_do_shows_no_bar_and_starts_nothing(tmp_path, capsys, monkeypatch):
    runs = [run(seed) for seed in range(3)]
    execute(runs, RunStore(tmp_path), workers=0, quiet=True)
    module = sys.modules["sacd.runs.execute"]  # by its name `sacd.runs` has the function
    monkeypatch.setattr(module, "open_pool", lambda *a: pytest.fail("workers were started"))
    report = execute(runs, RunStore(tmp_path), workers=2)
    assert len(report.hit) == 3
    assert capsys.readouterr().err == ""
    assert str(report) == "0 runs computed, 3 found on disk, 0 without results"
