"""Simulated cohort: the files, their bytes, and simple facts of sleep that the sleepers must keep."""

import ast
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import mne
import numpy as np
import pandas as pd
import pytest
from scipy.signal import welch
from scipy.stats import spearmanr

from sacd.simulate import cohort as package
from sacd.simulate import ucddb
from sacd.simulate.cohort import night_of, simulate
from sacd.simulate.eeg import BANDS
from sacd.simulate.hypnogram import groups, state
from sacd.simulate.parameters import table
from sacd.simulate.physiology import TWITCH, blocks, movements
from sacd.simulate.settings import SimulateConfig, stream
from sacd.stages import AHI_GROUPS, CLIP_S, STAGES, UNSCORED, ahi_group, label

NIGHTS = Path(__file__).resolve().parents[3] / "shared" / "realdata" / "ucddb_tables"
CONFIG = SimulateConfig(
    n_subjects=6, blocks=2, seed=5
)  # this seed has cameras that start early, late and in time
FRAMES = 64
needs_nights = pytest.mark.skipif(
    not NIGHTS.is_dir(), reason="UCDDB's tables are not beside the repository"
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("simulate") / "cohort", CONFIG)


@pytest.fixture(scope="module")
def sleepers() -> list[tuple]:
    """Whole nights of 40 sleepers, nothing rendered: (night, movements)."""
    config = SimulateConfig(n_subjects=40)
    found = []
    for job in package._jobs(config, None):
        night = night_of(config, job)
        body = state(night.stages, stream(config, job[0], "state"))
        found.append((night, movements(night, body, stream(config, job[0], "movement"))))
    return found


def _read(root: Path, subject: str) -> tuple[pd.DataFrame, dict, dict]:
    stem = f"{subject}_task-sleep"
    events = pd.read_csv(root / subject / "eeg" / f"{stem}_events.tsv", sep="\t")
    side = json.loads((root / subject / "video" / f"{stem}_video.json").read_text())
    with np.load(
        root / "derivatives" / "simulator" / f"{subject}_truth.npz", allow_pickle=False
    ) as file:
        return events, side, dict(file)


def _labels(events: pd.DataFrame) -> pd.DataFrame:
    return events[events.trial_type.isin([*STAGES, "unscored"])]


def _eeg(root: Path, subject: str) -> mne.io.BaseRaw:
    return mne.io.read_raw_edf(
        root / subject / "eeg" / f"{subject}_task-sleep_eeg.edf", verbose="error"
    )


def _pictures(root: Path, subject: str) -> np.ndarray:
    with av.open(str(root / subject / "video" / f"{subject}_task-sleep_video.mp4")) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        assert file.streams.video[0].average_rate == Fraction(CONFIG.fps_num, CONFIG.fps_den)
        return np.stack([frame.to_ndarray(format="gray") for frame in file.decode(video=0)])


def test_files_keep_the_data_contract(cohort: Path) -> None:
    people = pd.read_csv(cohort / "participants.tsv", sep="\t")
    assert list(people) == ["participant_id", "sex", "age", "weight_kg", "ahi", "source"]
    assert list(people.participant_id) == [f"sub-{i:02d}" for i in range(1, 7)]
    description = json.loads((cohort / "dataset_description.json").read_text())
    assert description["simulated"] is True and "condensed" in description["Name"]
    assert description["Simulator"]["config"] == CONFIG.model_dump()
    offsets = set()
    for subject in people.participant_id:
        events, side, truth = _read(cohort, subject)
        offsets.add(side["StartOffset"])
        clips = _labels(events)
        np.testing.assert_array_equal(clips.onset, np.arange(len(clips)) * CLIP_S)
        assert (clips.duration == CLIP_S).all() and all(
            label(name) is not None for name in clips.trial_type
        )
        assert len(clips) == 16 * CONFIG.blocks + (side["StartOffset"] > 0)
        raw = _eeg(cohort, subject)
        assert raw.ch_names == ["C3"] and raw.info["sfreq"] == CONFIG.eeg_rate
        assert raw.n_times == len(clips) * CLIP_S * CONFIG.eeg_rate
        assert 1e-6 < raw.get_data().std() < 2e-4  # in V: the unit is stated and read as uV
        pictures = _pictures(cohort, subject)
        assert pictures.shape[1:] == (CONFIG.height, CONFIG.width) and pictures.dtype == np.uint8
        end = side["StartOffset"] + len(pictures) * CONFIG.fps_den / CONFIG.fps_num
        assert 0 <= end - len(clips) * CLIP_S < CONFIG.fps_den / CONFIG.fps_num
        assert truth["breathing"].shape == truth["activity"].shape == (len(clips), FRAMES)
        scored = clips.trial_type.to_numpy() != "unscored"
        assert np.isfinite(
            truth["breathing"][scored]
        ).all()  # the camera runs during every scored clip
    assert min(offsets) < 0 < max(offsets) and 0 in offsets


def test_boundaries_stand_where_the_night_was_cut(cohort: Path) -> None:
    for i in range(1, 7):
        events, _, truth = _read(cohort, f"sub-{i:02d}")
        cuts = np.flatnonzero(np.diff(truth["night_s"]) != CLIP_S) + 1
        boundary = events[events.trial_type == "boundary"]
        np.testing.assert_array_equal(boundary.onset, cuts * CLIP_S)
        assert (boundary.duration == 0).all() and len(boundary) >= CONFIG.blocks - 1


@pytest.mark.slow
def test_bytes_do_not_depend_on_run_or_workers(cohort: Path, tmp_path: Path) -> None:
    again = simulate(tmp_path / "again", CONFIG, workers=2)
    files = sorted(path.relative_to(cohort) for path in cohort.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert [f for f in files if (cohort / f).read_bytes() != (again / f).read_bytes()] == []


def test_a_cohort_that_is_there_is_left_alone(cohort: Path) -> None:
    os.utime(cohort / "participants.tsv", (0, 0))  # it stays as old unless it is written
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
    events.write_text("of the older code")

    def fail(*_: object) -> dict:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(package, "_write", fail)
        with pytest.raises(OSError, match="disk full"):
            simulate(root, config, code="other")
    assert events.read_text() == "of the older code"  # the old one stays until the new one is whole
    simulate(root, config, code="other")
    assert events.read_bytes() == made and "simulated again, for its code changed" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == [".cohort.lock", "cohort"]


def test_a_run_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, *_: object) -> dict:
        (folder / "half").write_text("made")
        raise OSError("disk full")

    monkeypatch.setattr(package, "_write", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate(tmp_path / "cohort", CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == [".cohort.lock"]


def test_two_at_the_same_time_write_one_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    monkeypatch.setattr(
        package, "_write", lambda folder, config, nights, job: written.append(job) or {}
    )
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: simulate(tmp_path / "cohort", CONFIG), range(2)))
    assert made == [tmp_path / "cohort"] * 2 and len(written) == CONFIG.n_subjects


def test_bad_settings_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no whole number of frames"):
        SimulateConfig(n_subjects=1, fps_num=32, fps_den=7)
    with pytest.raises(ValueError, match=r"blocks=61 needs 976 clips of a night of 960"):
        blocks(960, 61, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"SubjectDetails\.xls is missing"):
        simulate(tmp_path / "cohort", CONFIG, nights=tmp_path)


def test_breathing_of_the_right_clip_is_in_the_pixels(cohort: Path) -> None:
    """Leading components of a clip's pixels follow its own breathing, not the next clip's, for every camera start."""
    for i in range(1, 7):
        _, side, truth = _read(cohort, f"sub-{i:02d}")
        seconds = side["StartOffset"] + np.arange(10**5) * CONFIG.fps_den / CONFIG.fps_num
        first = int(side["StartOffset"] > 0)
        start = int(np.searchsorted(seconds, first * CLIP_S - 1e-6))
        breathing, activity = truth["breathing"][first:], truth["activity"][first:]
        pictures = _pictures(cohort, f"sub-{i:02d}")[start:]
        pictures = (
            pictures[: len(breathing) * FRAMES]
            .reshape(len(breathing), FRAMES, -1)
            .astype(np.float32)
        )
        own, other = [], []
        for k in range(len(breathing) - 1):
            if activity[k].any() or min(breathing[k].std(), breathing[k + 1].std()) < 0.1:
                continue
            still = np.median(pictures[k], 0)
            change = (
                pictures[k] / np.median(pictures[k] / np.maximum(still, 1), 1, keepdims=True)
                - still
            )
            change -= change.mean(0)
            components = np.linalg.eigh(change @ change.T)[1][:, -3:].T
            for found, signal in ((own, breathing[k]), (other, breathing[k + 1])):
                found.append(
                    np.abs([np.corrcoef(component, signal)[0, 1] for component in components]).max()
                )
        assert np.median(own) > 0.5 and np.median(own) > np.median(other) + 0.15


def test_delta_power_is_highest_in_n3(cohort: Path) -> None:
    power: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for i in range(1, 7):
        clips = _labels(_read(cohort, f"sub-{i:02d}")[0])
        signal = _eeg(cohort, f"sub-{i:02d}").get_data()[0].reshape(len(clips), -1) * 1e6
        frequency, density = welch(signal, CONFIG.eeg_rate, nperseg=4 * CONFIG.eeg_rate)
        for name, delta in zip(
            clips.trial_type, density[:, (frequency >= 0.5) & (frequency < 4)].mean(1), strict=True
        ):
            if name in power:
                power[name].append(delta)
    median = {stage: np.median(values) for stage, values in power.items() if values}
    assert len(median) == 5 and max(median, key=median.get) == "N3"


def test_movement_rate_orders_the_stages(sleepers: list[tuple]) -> None:
    hours, count = np.zeros(5), np.zeros(5)
    for night, moves in sleepers:
        hours += np.bincount(night.stages, minlength=5) * CLIP_S / 3600
        at = (moves.onset[moves.kind != TWITCH] // CLIP_S).astype(int)
        count += np.bincount(night.stages[at], minlength=5)
    rate = dict(zip(STAGES, count / hours, strict=True))
    assert rate["W"] > rate["N1"] > rate["REM"] > rate["N2"] > rate["N3"] > 0


def test_ahi_of_the_events_follows_the_nominal_one(sleepers: list[tuple]) -> None:
    nominal = [night.person["ahi"] for night, _ in sleepers]
    simulated = [
        len(night.respiratory()) / ((night.stages > 0).sum() * CLIP_S / 3600)
        for night, _ in sleepers
    ]
    assert spearmanr(nominal, simulated).statistic > 0.9
    assert set(map(ahi_group, nominal)) == {0, 1, 2, 3}


def test_sleep_is_shaped_like_sleep(sleepers: list[tuple]) -> None:
    """N3 early and REM late; respiratory events never start in wake, and no two of them overlap."""
    half = len(sleepers[0][0].stages) // 2
    early, late = (
        np.concatenate([night.stages[part] for night, _ in sleepers])
        for part in (slice(half), slice(half, None))
    )
    assert (early == 3).mean() > 2 * (late == 3).mean()
    assert (late == 4).mean() > 1.3 * (early == 4).mean()
    for night, moves in sleepers:
        events = night.respiratory()
        # Onsets are rounded to 0.1 s, which may lead over the edge of a clip.
        assert all(night.stages[int((event.onset - 0.05) // CLIP_S)] > 0 for event in events)
        assert all(a.onset + a.duration < b.onset for a, b in pairwise(events))
        assert (moves.onset[1:] >= (moves.onset + moves.duration)[:-1]).all()


def test_groups_fill_up_to_the_papers_shares() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(np.bincount(groups(105, [], rng)), [30, 30, 20, 25])
    assert np.bincount([*groups(15, [1] * 6, rng), *[1] * 6]).tolist() == [6, 6, 4, 5]


def test_the_state_keeps_every_clips_label() -> None:
    stages = np.random.default_rng(1).integers(0, 5, 200).astype(np.int8)
    stages[[0, 50]] = UNSCORED
    shares = state(stages, np.random.default_rng(2)).reshape(200, CLIP_S, 5)
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-5)
    middle = shares[:, CLIP_S // 2 - 4 : CLIP_S // 2 + 4].sum(1)
    scored = stages != UNSCORED
    assert (middle.argmax(1) == stages)[
        scored
    ].mean() > 0.97  # sleep between two stages may lean a little further


@needs_nights
def test_real_nights_come_through_unchanged(tmp_path: Path) -> None:
    config = SimulateConfig(n_subjects=2, blocks=1)
    root = simulate(tmp_path / "cohort", config, nights=NIGHTS)
    people = pd.read_csv(root / "participants.tsv", sep="\t", index_col=0)
    details = ucddb.subjects(NIGHTS)
    codes = {"0": "W", "1": "REM", "2": "N1", "3": "N2", "4": "N3", "5": "N3"}
    for subject, person in people.iterrows():
        assert person.ahi == details.loc[person.source, "PSG AHI"]
        events, side, truth = _read(root, subject)
        raw = (NIGHTS / f"{person.source.lower()}_stage.txt").read_text().split()
        kept = slice(int(side["StartOffset"] > 0), None)
        clips = (truth["night_s"][kept] // CLIP_S).astype(int)
        assert [codes.get(raw[clip], "unscored") for clip in clips] == list(
            _labels(events).trial_type[kept]
        )


@needs_nights
def test_real_events_fall_into_sleep_and_give_the_tables_ahi() -> None:
    config = SimulateConfig(n_subjects=25)
    jobs = package._jobs(config, NIGHTS)
    assert len(jobs) == 25 and all(isinstance(study, str) for _, study in jobs)
    nights = [night_of(config, job, NIGHTS) for job in jobs]
    counted, inside = [], []
    for night in nights:
        events = night.respiratory()
        counted.append(len(events) / ((night.stages > 0).sum() * CLIP_S / 3600))
        inside.append(np.mean([night.stages[int(event.onset // CLIP_S)] > 0 for event in events]))
    assert min(inside) >= ucddb.IN_SLEEP
    nominal = np.array([night.person["ahi"] for night in nights])
    assert np.abs(nominal - counted).max() < 4 and spearmanr(nominal, counted).statistic > 0.99


def test_every_parameter_has_a_source_and_lies_in_its_range() -> None:
    frame = table()
    assert list(frame) == ["name", "stage", "value", "unit", "low", "high", "source", "checked"]
    kinds = (
        "supported",
        "conflict: ",
        "number not in the abstract",
        "paper not found",
        "not checked: book",
        "no literature",
    )
    assert frame.checked.str.startswith(kinds).all()
    outside = frame[(frame.value < frame.low) | (frame.value > frame.high)]
    assert outside.empty, outside.to_string()
    assert (frame.source.str.len() > 5).all() and (frame.unit.str.len() > 0).all()
    assert not frame.duplicated(["name", "stage"]).any()
    per_stage = frame[frame.stage != ""].groupby("name").stage.apply(tuple)
    assert set(per_stage) == {STAGES}


def test_no_parameter_is_unused() -> None:
    """A name that the code builds from a band, a wave, a group or a surface counts by it, a range by its name."""
    code = "".join(path.read_text() for path in Path(package.__file__).parent.glob("*.py"))
    built = {f"eeg.{band}{end}" for band in BANDS for end in ("", "_from", "_to")}
    built |= {
        f"person.{group.lower()}{end}" for group in AHI_GROUPS for end in ("", "_from", "_to")
    }
    built |= {
        f"scene.{surface}{end}"
        for surface in ("sheet", "blanket", "pillow", "hair")
        for end in ("_from", "_to")
    }
    peaks = ("cv", "s", "negative_s", "negative_width", "positive", "positive_s", "positive_width")
    built |= {f"eeg.{wave}_{part}" for wave in ("k_complex", "vertex_wave") for part in peaks}
    assert built <= set(table().name)
    used = {
        name
        for name in table().name
        if f'"{name}"' in code or f'"{re.sub("_(from|to)$", "", name)}"' in code
    }
    assert set(table().name) - built - used == set()


def _numbers(node: ast.AST, where: str = "module") -> Iterator[tuple[str, float, int]]:
    """(function, number, line) of every number below `node`; whole numbers that only index are left out."""
    where = getattr(node, "name", where) if isinstance(node, ast.FunctionDef) else where
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield where, node.value, node.lineno
    for child in ast.iter_child_nodes(node):
        index = isinstance(node, ast.Subscript) and child is node.slice
        yield from (
            found for found in _numbers(child, where) if not (index and isinstance(found[1], int))
        )


@pytest.mark.parametrize("module", ["eeg", "hypnogram", "physiology", "video", "write"])
def test_numbers_stand_in_the_table_and_not_in_the_code(module: str) -> None:
    """Free everywhere: 0, 1, 2, seconds and minutes, guards against 0. The others say nothing of sleepers or scenes."""
    free = {0, 1, 2, 60, 3600, 1e-12, 1e-9, 1e-6}
    allowed = {
        "eeg": {"draw": {6}, "_slow": {3}},  # how many numbers are drawn; knots beyond the end
        "hypnogram": {},
        "physiology": {
            "module": {3},
            "movements": {5},
            "draw": {3},
            "wave": {0.5},
        },  # counts of fields; raised cosine
        "video": {
            "module": {3, 4, 5, 7, 8, 10, 12},  # places in the vector of a pose
            "__init__": {0.5},  # the middle of a pixel
            "render": {64},  # the unit `pixels of 64`
            "basis": {0.5, 1.5, 5},  # a parabola through three pictures, and how many pictures
            "frames": {3, 64, 255},  # 3 s^2 - 2 s^3; frames at a time; the largest grey level
        },
        "write": {"module": {22, 2000}},  # the date and clock time that every file is stamped with
    }[module]
    path = Path(package.__file__).parent / f"{module}.py"
    found = [
        f"{path.name}:{line}: {number} in {where} belongs into parameters.csv"
        for where, number, line in _numbers(ast.parse(path.read_text()))
        if number not in free | allowed.get(where, set())
    ]
    assert not found, "\n".join(found)
