"""What can go wrong with runs: each fault gives one clear line, and results stay right."""

import errno
import json
import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
from cohort_files import write_noise
from toy_tasks import Toy

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
from sacd.runs import Run, RunError, RunStore, execute
from sacd.training.checkpoint import load_checkpoint, save_checkpoint


def run(seed=0, task="count", pause_s=0.0, epochs=3, **more):
    return Run(f"toy_tasks:{task}", Toy(seed=seed, pause_s=pause_s, epochs=epochs), **more)


def tree(folder):
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {
        n: (folder / n).read_bytes()
        for n in names
        if n not in ("provenance.json", "checksums.json")
    }


def provenance(store, r):
    return json.loads((store.folder(r) / "provenance.json").read_text())


def compute_here(root, runs, resources, halt=None):
    """In a process of its own, which stands still once a checkpoint holds `halt` epochs: it never comes to the end."""
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


def kill_ten_times(spawn, store, r, rng):
    """Start a run and kill it, over and over; every second attempt comes an epoch further, the others die anywhere.

    They come two epochs further at most, the others one: on a fast machine, too, 16 epochs are not
    done.
    """
    saved, epochs = store.work(r) / "checkpoint.pt", 0
    for attempt in range(1, 11):
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
    kill_ten_times(spawn, broken, r, random.Random(0))
    assert broken.state(r).name == "partial"
    report = execute([r], broken, workers=0, quiet=True)
    assert report.done == (r,)
    assert tree(broken.folder(r)) == tree(whole.folder(r))
    assert provenance(broken, r)["attempts"] == 11
    assert not any(
        p.name.endswith(".tmp") or "checkpoint" in p.name for p in broken.folder(r).iterdir()
    )


@pytest.mark.slow
def test_a_killed_run_of_sacd_equals_the_uninterrupted_one(tmp_path, spawn):
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
        fit=fit.model_copy(update={"epochs": 16}),
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
    kill_ten_times(spawn, broken, r, random.Random(1))
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


def truncate(path):
    path.write_bytes(path.read_bytes()[:-2])


def tamper(path):
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, tamper, Path.unlink])
@pytest.mark.parametrize(
    "name", ["predictions.parquet", "weights.safetensors", "metrics.csv", "checksums.json"]
)
def test_a_damaged_file_is_named_and_the_run_computed_again(tmp_path, caplog, damage, name):
    store, r = RunStore(tmp_path), run(task="train")
    execute([r], store, workers=0, quiet=True)
    before = tree(store.folder(r))
    damage(store.folder(r) / name)
    assert store.state(r).name == "corrupt"
    report = execute([r], store, workers=0, quiet=True)
    assert report.done == (r,)
    [message] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert name in message and message.endswith("computing it again") and "\n" not in message
    assert tree(store.folder(r)) == before and store.state(r).name == "done"


def test_equal_id_with_another_config_is_an_error_with_a_diff(tmp_path):
    store, r, reader = RunStore(tmp_path), run(7), run(8, inputs=(("a", run(7)),))
    execute([r], store, workers=0, quiet=True)
    path = store.folder(r) / "config.json"
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 70'))
    with pytest.raises(RunError, match=r'(?s)holds another run.*-  "seed": 70.*\+  "seed": 7'):
        store.state(r)
    report = execute([r, reader, run(9)], store, workers=0, quiet=True)
    assert [f.run for f in report.failed] == [r, reader] and report.done == (run(9),)
    assert "holds another run" in str(report) and f"it needs {r.title}" in report.failed[1].reason
    assert path.exists()  # nothing removed: nobody knows what this is


@pytest.mark.parametrize("task", ["fill_disk", "fill_disk_natively", "fill_disk_mapped"])
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, task):
    def full(descriptor, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    store, r = RunStore(tmp_path), run(task=task)
    [failure] = execute([r], store, workers=0, quiet=True).failed
    assert (
        "the disk is full (No space left on device" in failure.reason
        and "; free some space" in failure.reason
    )
    assert "\n" not in failure.reason
    if task == "fill_disk_mapped":
        assert f"{store.work(r) / 'a.npy'}: " in failure.reason and "for its 8 MB" in failure.reason
        assert not (store.work(r) / "a.npy").exists()


@pytest.mark.parametrize(
    ("task", "place"), [("count", "ucf51"), ("count", "sleepedf"), ("replace_data", "store")]
)
def test_a_store_that_holds_other_data_is_refused_before_and_after(tmp_path, task, place):
    data, runs = tmp_path / "store", RunStore(tmp_path / "runs")
    asked = run(task=task, data="mine", resources=((place, str(data)),))
    write_json(
        data / "manifest.json", {"fingerprint": "mine" if task == "replace_data" else "other"}
    )
    [failure] = execute([asked], runs, workers=0, quiet=True).failed
    assert (
        f"{data} holds other data by now; repeat the command" in failure.reason
        and "\n" not in failure.reason
    )
    assert not (runs.work(asked) / "half.json").exists()
    write_json(data / "manifest.json", {"fingerprint": "mine"})
    assert (
        execute([run(data="mine", resources=asked.resources)], runs, workers=0, quiet=True).failed
        == ()
    )


def test_a_store_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file.*cannot be written \(Not a directory\)") as caught:
        execute([run()], RunStore(tmp_path / "file" / "runs"), quiet=True)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_without_permission_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunError, match="cannot be written"):
            execute([run()], RunStore(tmp_path / "runs"), quiet=True)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_a_store_without_permission_is_one_line_for_root_too(tmp_path, monkeypatch, call):
    def denied(path, *more, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    root = tmp_path / "runs"
    with monkeypatch.context() as patch, pytest.raises(RunError) as caught:
        patch.setattr(f"os.{call}", denied)
        execute([run()], RunStore(root), quiet=True)
    message = str(caught.value)
    assert (
        message.startswith(str(root))
        and "cannot be written (Permission denied); choose another" in message
    )
    assert "\n" not in message


def test_a_damaged_checkpoint_says_what_to_do(tmp_path):
    store, r = RunStore(tmp_path), run(task="train")
    store.open()
    (store.begin(r) / "checkpoint.pt").write_bytes(b"short")
    report = execute([r], store, workers=0, quiet=True)
    assert (
        "not a complete checkpoint" in report.failed[0].reason
        and "delete it" in report.failed[0].reason
    )


def test_a_failing_run_stops_only_its_readers(tmp_path):
    store = RunStore(tmp_path)
    bad = run(1, task="fail", label="bad one")
    reader = run(2, inputs=(("bad", bad),))
    after = run(3, inputs=(("reader", reader),))
    good = run(4, inputs=(("good", run(5)),))
    report = execute([after, good], store, workers=0, quiet=True)
    assert set(report.done) == {good, run(5)}
    assert [f.run for f in report.failed] == [bad, reader, after]
    assert report.failed[0].reason.endswith("ArithmeticError: seed 1 does not converge")
    assert "Traceback" in report.failed[0].log.read_text() and report.failed[
        0
    ].log == store.failure(bad)
    assert report.failed[1].reason == f"not run: it needs {bad.title}, which failed"
    text = str(report)
    assert (
        "2 runs computed, 0 found on disk, 3 without results" in text
        and "FAILED" in text
        and "bad one" in text
    )


def test_without_keep_going_the_first_failure_ends_it(tmp_path):
    bad, good = run(1, task="fail", cost=9), run(2)
    report = execute([good, bad], RunStore(tmp_path), workers=0, quiet=True, keep_going=False)
    assert not report.done and {f.run for f in report.failed} == {bad, good}


@pytest.mark.parametrize(
    ("task", "reason"),
    [("leave", "SystemExit"), ("nothing", "without writing a file")],
)
def test_tasks_that_do_not_do_what_a_task_does(tmp_path, task, reason):
    report = execute([run(task=task)], RunStore(tmp_path), workers=0, quiet=True)
    assert reason in report.failed[0].reason
    assert RunStore(tmp_path).state(run(task=task)).name == "partial"


def test_a_task_that_does_not_exist_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ValueError, match="toy_tasks:missing has no source; name an entry as"):
        execute([run(task="missing")], RunStore(tmp_path), workers=0, quiet=True)
    assert not [path for path in (tmp_path / ".work").iterdir()]


def test_a_repaired_run_forgets_its_failure(tmp_path):
    store, r = RunStore(tmp_path), run()
    store.open()
    store.failure(r).write_text("old")
    execute([r], store, workers=0, quiet=True)
    assert not store.failure(r).exists()
