"""What can go wrong with runs: each fault gives one clear line, and results stay right."""

import errno
import os
from pathlib import Path

import pytest
from toy_tasks import run, tree

from sacd.files import write_json
from sacd.runs import RunError, RunStore, execute


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
