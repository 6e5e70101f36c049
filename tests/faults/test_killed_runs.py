"""Killed processes: an interrupted run resumes, and ends with the same bytes."""

import json
import multiprocessing
import random
import time

import pytest
from cohort_files import write_noise
from toy_tasks import run, tree

from sacd.config import (
    BackboneConfig,
    FitConfig,
    MethodConfig,
    SplitConfig,
    StudentConfig,
    TeacherConfig,
)
from sacd.data.ingest import ingest
from sacd.data.store import StoreConfig
from sacd.files import read_json, write_json
from sacd.losses import METHODS
from sacd.runs import Run, RunStore, execute
from sacd.training.checkpoint import load_checkpoint, save_checkpoint


def provenance(store, r):
    return json.loads((store.folder(r) / "provenance.json").read_text())


def compute_here(root, runs, resources, halt=None):
    """Execute in a process of its own, which stops for good once a checkpoint has `halt` epochs."""
    from sacd.training import checkpoint, fit

    def save_and_halt(path, state):
        save_checkpoint(path, state)
        while len(state["history"]) >= halt:
            time.sleep(1)

    if halt:
        checkpoint.save_checkpoint = fit.save_checkpoint = save_and_halt
    execute(runs, RunStore(root), workers=0, quiet=True, resources=resources)


@pytest.fixture(scope="module")
def spawn():
    """Starts processes that have imported torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch._dynamo", "pandas", "pytest", "sacd.runs", "sacd.training.student"]
    )

    def start(*arguments):
        process = context.Process(target=compute_here, args=arguments)
        process.start()
        return process

    return start


def kill(spawn, store, r, rng, times):
    """Start a run and kill it, so many times.

    Odd attempts are killed after they have saved an epoch, even ones anywhere. Odd attempts save at
    most two epochs and even ones one, so that a fast machine does not finish two epochs a kill.
    """
    saved, epochs = store.work(r) / "checkpoint.pt", 0
    for attempt in range(1, times + 1):
        process = spawn(str(store.root), [r], {}, epochs + 1 + attempt % 2)
        while read_json(store.work(r) / "progress.json").get("attempts") != attempt:
            assert process.is_alive()
            time.sleep(0.002)
        while attempt % 2 and saved_epochs(saved) == epochs:
            assert process.is_alive()
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.2))  # it may be anywhere by now
        assert process.is_alive(), "the run ended by itself"
        process.kill()
        process.join()
        before, epochs = epochs, saved_epochs(saved)
        assert epochs >= before + attempt % 2, "an attempt began from scratch"


def saved_epochs(checkpoint):
    return len(load_checkpoint(checkpoint)["history"]) if checkpoint.exists() else 0


@pytest.mark.slow
def test_killed_ten_times_then_completed_equals_the_uninterrupted_run(tmp_path, spawn):
    r = run(task="train", epochs=16, pause_s=0.1)
    whole, broken = RunStore(tmp_path / "whole"), RunStore(tmp_path / "broken")
    execute([r], whole, workers=0, quiet=True)
    kill(spawn, broken, r, random.Random(0), times=10)
    assert broken.state(r).name == "partial"
    report = execute([r], broken, workers=0, quiet=True)
    assert report.done == (r,)
    assert tree(broken.folder(r)) == tree(whole.folder(r))
    assert provenance(broken, r)["attempts"] == 11
    assert not any(
        p.name.endswith(".tmp") or "checkpoint" in p.name for p in broken.folder(r).iterdir()
    )


@pytest.mark.slow
@pytest.mark.parametrize("times", [4, pytest.param(10, marks=pytest.mark.faults)])
def test_a_killed_run_of_sacd_equals_the_uninterrupted_one(times, tmp_path, spawn):
    """With its teacher, graph networks, both banks and the EMA."""
    write_noise(tmp_path / "cohort", clips=8)
    data = ingest(
        tmp_path / "cohort", tmp_path / "store", StoreConfig(height=16, width=16, frames=4)
    ).fingerprint
    common = {"data": data, "resources": (("store", str(tmp_path / "store")),)}
    fit = FitConfig(epochs=1, batch=8, optimizer="adamw", schedule="onecycle")
    teacher = Run(
        "sacd.training.teacher:teacher", TeacherConfig(fit=fit, split=SplitConfig()), **common
    )
    config = StudentConfig(
        backbone=BackboneConfig(width=0.0625),
        method=MethodConfig(name="sacd"),
        fit=fit.model_copy(update={"epochs": 2 * times}),
        split=SplitConfig(),
    )
    r = Run(
        "sacd.training.student:student",
        config,
        inputs=(("teacher", teacher),),
        modules=(METHODS["sacd"],),
        **common,
    )
    whole, broken = RunStore(tmp_path / "whole"), RunStore(tmp_path / "broken")
    for store, last in ((whole, r), (broken, teacher)):
        assert execute([last], store, workers=0, quiet=True).failed == ()
    kill(spawn, broken, r, random.Random(1), times)
    assert execute([r], broken, workers=0, quiet=True).done == (r,)
    assert tree(broken.folder(r)) == tree(whole.folder(r))


def test_a_run_killed_while_it_writes_results_computes_no_epoch_again(tmp_path, spawn, monkeypatch):
    r, hold = run(task="train"), tmp_path / "hold"
    whole, broken = RunStore(tmp_path / "whole"), RunStore(tmp_path / "broken")
    execute([r], whole, workers=0, quiet=True)
    write_json(hold / str(r.config.seed), {})
    process = spawn(str(broken.root), [r], {"hold": str(hold)})
    while not (hold / f"{r.config.seed}-held").exists():
        assert process.is_alive()
        time.sleep(0.002)
    process.kill()
    process.join()
    assert not (broken.work(r) / "predictions.parquet").exists()
    monkeypatch.setattr(
        "sacd.training.checkpoint.save_checkpoint",
        lambda *_: pytest.fail("an epoch was computed again"),
    )
    assert execute([r], broken, workers=0, quiet=True).done == (r,)
    assert (
        tree(broken.folder(r)) == tree(whole.folder(r)) and provenance(broken, r)["attempts"] == 2
    )


def test_what_a_killed_writer_left_half_written_goes(tmp_path):
    store, r = RunStore(tmp_path), run(task="train")
    work = store.begin(r)
    for name in (".tmp8YPcJU", ".weights.safetensors.123.tmp.safetensors", "sub/.x.csv.9.tmp.csv"):
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text("half")
    execute([r], store, workers=0, quiet=True)
    assert not [p.name for p in store.folder(r).rglob(".*")]


def test_two_at_the_same_time_compute_everything_once(tmp_path, spawn):
    runs = [run(seed, pause_s=0.1) for seed in range(3)]
    marks = tmp_path / "marks"
    processes = [spawn(str(tmp_path / "runs"), runs, {"marks": str(marks)}) for _ in range(2)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(p.name.split("-")[0] for p in marks.iterdir()) == ["0", "1", "2"]
    assert all(RunStore(tmp_path / "runs").state(r).name == "done" for r in runs)
