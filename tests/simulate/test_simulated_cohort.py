"""The simulated cohort as a folder: equal bytes, made again when code changes, whole or absent."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from simulated_files import CONFIG

from sacd.simulate import cohort as cohort_module
from sacd.simulate.cohort import simulate
from sacd.simulate.settings import SimulateConfig


@pytest.mark.slow
def test_bytes_do_not_depend_on_run_or_workers(cohort: Path, tmp_path: Path) -> None:
    again = simulate(tmp_path / "again", CONFIG, workers=2)
    files = sorted(path.relative_to(cohort) for path in cohort.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert [f for f in files if (cohort / f).read_bytes() != (again / f).read_bytes()] == []


def test_a_cohort_that_is_there_is_left_alone(cohort: Path) -> None:
    # The time is kept unless the file is written.
    os.utime(cohort / "participants.tsv", (0, 0))
    assert simulate(cohort, CONFIG) == cohort
    assert (cohort / "participants.tsv").stat().st_mtime_ns == 0


def test_what_no_simulator_made_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "dataset_description.json").write_text('{"Name": "a lab\'s"}')
    with pytest.raises(ValueError, match="is no simulated cohort: choose another folder"):
        simulate(tmp_path / "lab", CONFIG)
    assert [path.name for path in (tmp_path / "lab").iterdir()] == ["dataset_description.json"]


def test_other_code_makes_the_cohort_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = CONFIG.model_copy(update={"n_subjects": 1, "blocks": 1})
    root = simulate(tmp_path / "cohort", config)
    events = next(root.rglob("*events.tsv"))
    made = events.read_bytes()
    events.write_text("made by older code")

    def fail(*_: object) -> dict:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(cohort_module, "_write", fail)
        with pytest.raises(OSError, match="disk full"):
            simulate(root, config, code="other")
    assert (
        events.read_text() == "made by older code"
    )  # the old cohort stays until the new one is complete
    simulate(root, config, code="other")
    assert events.read_bytes() == made and "simulated again, for its code changed" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == [".cohort.lock", "cohort"]


def test_a_run_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, *_: object) -> dict:
        (folder / "half").write_text("made")
        raise OSError("disk full")

    monkeypatch.setattr(cohort_module, "_write", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate(tmp_path / "cohort", CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == [".cohort.lock"]


def test_two_at_the_same_time_write_one_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    monkeypatch.setattr(
        cohort_module, "_write", lambda folder, config, nights, job: written.append(job) or {}
    )
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: simulate(tmp_path / "cohort", CONFIG), range(2)))
    assert made == [tmp_path / "cohort"] * 2 and len(written) == CONFIG.n_subjects


def test_a_frame_rate_without_whole_frames_per_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="no whole number of frames"):
        SimulateConfig(n_subjects=1, fps_num=32, fps_den=7)
