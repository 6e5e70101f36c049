import json
import shutil

import numpy as np
import pytest
from cohort_files import (
    REAL,
    paths,
    write_about,
    write_cohort,
    write_edf,
    write_events,
    write_video,
)

from sacd.data.check import check
from sacd.data.cohort import CohortError, clip_table, read_cohort, read_events


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("good") / "cohort", ("sub-01",))


@pytest.fixture
def cohort(good, tmp_path):
    return shutil.copytree(good, tmp_path / "cohort")


def events(tmp_path, rows):
    write_events(tmp_path / "events.tsv", rows)
    return read_events(tmp_path / "events.tsv")


def test_read_cohort(good):
    cohort = read_cohort(good)
    assert cohort.name == "made for a test"
    [night] = cohort.nights
    assert (night.subject, night.sex, night.age, night.ahi) == ("sub-01", "F", 50, 12.5)
    assert np.isnan(night.weight_kg)
    assert (night.eeg, night.events, night.video) == paths(good, "sub-01")


def test_good_cohort_has_no_problem(good):
    assert check(good).empty
    assert list(check(good).columns) == ["subject", "file", "level", "problem", "fix"]


def test_events_are_expanded_to_clips(tmp_path):
    table = events(
        tmp_path, [(0, 30, "Sleep stage W"), (30, 90, "N2"), (50, 11.5, "apnea"), (120, 47, "?")]
    )
    assert table.values.tolist() == [
        [0, 30, "Sleep stage W"],
        [30, 30, "N2"],
        [50, 11.5, "apnea"],
        [60, 30, "N2"],
        [90, 30, "N2"],
        [120, 30, "?"],
    ]
    clips = clip_table(table)
    assert clips["clip"].tolist() == [0, 1, 2, 3, 4]
    assert clips["onset_s"].tolist() == [0, 30, 60, 90, 120]
    assert clips["stage"].tolist() == [0, 2, 2, 2, -1]
    assert clips["block"].tolist() == [0, 0, 0, 0, -1]


def test_blocks_end_at_boundaries_gaps_and_unscored_clips(tmp_path):
    rows = [
        (5, 60, "W"),
        (65, 0, "boundary"),
        (65, 60, "N1"),
        (125, 30, "unscored"),
        (155, 30, "N2"),
        (185.004, 30, "N2"),
        (220, 30, "N3"),  # a gap of 5 s
        (250, 60, "REM"),
        (265, 0, "boundary"),  # cuts a clip in two
        (270, 2.5, "movement"),  # an event, shorter than a clip
    ]
    clips = clip_table(events(tmp_path, rows))
    assert clips["stage"].tolist() == [0, 0, 1, 1, -1, 2, 2, 3, -1, 4]
    assert clips["block"].tolist() == [0, 0, 1, 1, -1, 2, 2, 3, -1, 4]
    assert clips["clip"].tolist() == list(range(10))


EVENTS = {
    "not a number": ([("x", 30, "W")], r"line 2: onset 'x' is not a number of seconds >= 0; count"),
    "negative onset": (
        [(-30, 30, "W"), (0, 30, "W")],
        r"line 2: onset '-30' is not a number of seconds >= 0",
    ),
    "negative duration": (
        [(0, 30, "W"), (9, -4, "apnea")],
        r"line 3: duration '-4.*' is not a number of seconds >= 0",
    ),
    "no duration of a stage": (
        [(0, "n/a", "W"), (30, 30, "W")],
        r"line 2: duration 'n/a' is not a number",
    ),
    "order": ([(30, 30, "W"), (0, 30, "W")], r"line 3: onset '0' is earlier .*; sort the rows"),
    "unknown stage": (
        [(0, 30, "W"), (30, 30, "N5"), (60, 30, "Sleep stage X")],
        r"line 3: trial_type 'N5' .*1 more row",
    ),
    "no name": (
        [(0, 30, "W"), (30, 30, "")],
        r"line 3: trial_type '' is not a stage that is known",
    ),
    "20 s epochs": (
        [(0, 20, "W"), (20, 20, "W")],
        r"line 2: duration '20' of a stage is not a multiple of 30 s",
    ),
    "overlap": (
        [(0, 60, "W"), (40, 1, "arousal"), (45, 30, "N1")],
        r"line 4: onset '45' lies within the stage before",
    ),
    "nothing scored": (
        [(0, 30, "?"), (40, 1, "arousal")],
        r"no stage is scored; add one row a clip",
    ),
}


@pytest.mark.parametrize(("rows", "message"), EVENTS.values(), ids=EVENTS)
def test_faulty_events(tmp_path, rows, message):
    with pytest.raises(CohortError, match=r"events\.tsv: " + message) as caught:
        events(tmp_path, rows)
    assert "\n" not in str(caught.value)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def eeg(change):
    def fault(root):
        path, _, _ = paths(root, "sub-01")
        change(path)

    return fault


def sidecar(text):
    return lambda root: paths(root, "sub-01")[2].with_suffix(".json").write_text(text)


rng = np.random.default_rng(0)
NOISE = rng.normal(0, 20, 128 * 90)
# fault: what is done to the cohort, and the file and problem that `check` must name
ERRORS = {
    "no description": (
        lambda r: (r / "dataset_description.json").unlink(),
        "dataset_desc",
        "is missing",
    ),
    "no name": (
        lambda r: (r / "dataset_description.json").write_text("{}"),
        "dataset_desc",
        'no "Name"',
    ),
    "no participants": (
        lambda r: (r / "participants.tsv").unlink(),
        "participants.tsv",
        "is missing",
    ),
    "no ahi column": (
        lambda r: edit(r / "participants.tsv", "ahi", "bmi"),
        "participants.tsv",
        "column ahi",
    ),
    "no ahi": (
        lambda r: edit(r / "participants.tsv", "12.5", "n/a"),
        "participants.tsv",
        "sub-01: has no ahi",
    ),
    "negative ahi": (
        lambda r: edit(r / "participants.tsv", "12.5", "-3"),
        "participants.tsv",
        "ahi '-3' is not",
    ),
    "bad age": (
        lambda r: edit(r / "participants.tsv", "50", "old"),
        "participants.tsv",
        "age 'old' is not",
    ),
    "bad id": (
        lambda r: edit(r / "participants.tsv", "sub-01", "../x"),
        "participants.tsv",
        "'../x' is not sub-",
    ),
    "twice": (
        lambda r: edit(r / "participants.tsv", "sub-01", "sub-01\tF\t1\t1\t1\nsub-01"),
        "particip",
        "there twice",
    ),
    "no eeg": (lambda r: paths(r, "sub-01")[0].unlink(), "_eeg.edf", "is missing"),
    "no events": (lambda r: paths(r, "sub-01")[1].unlink(), "_events.tsv", "is missing"),
    "odd events": (
        lambda r: edit(paths(r, "sub-01")[1], "trial_type", "stage"),
        "_events.tsv",
        "column trial_type",
    ),
    "no video": (lambda r: paths(r, "sub-01")[2].unlink(), "_video", "no video here"),
    "two videos": (
        lambda r: paths(r, "sub-01")[2].with_suffix(".avi").touch(),
        "_video",
        "2 videos",
    ),
    "broken eeg": (eeg(lambda p: p.write_bytes(b"0" * 5000)), "_eeg.edf", "cannot be read as EDF"),
    "empty eeg": (eeg(lambda p: p.write_bytes(b"")), "_eeg.edf", "cannot be read as EDF"),
    "broken video": (
        lambda r: paths(r, "sub-01")[2].write_bytes(b"x" * 99),
        "_video.mp4",
        "cannot be opened",
    ),
    "wrong channel": (
        eeg(lambda p: write_edf(p, {"C4-M1": (NOISE, 128)})),
        "_eeg.edf",
        "has no channel 'C3'",
    ),
    "slow channel": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE, 64)})),
        "_eeg.edf",
        "at 64 Hz, at least 100 Hz",
    ),
    "flat": (eeg(lambda p: write_edf(p, {"C3": (NOISE * 0, 128)})), "_eeg.edf", "C3 is flat"),
    "uV called V": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE, 128)}, "V")),
        "_eeg.edf",
        "has 0.5 to 1000 uV",
    ),
    "V called uV": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE / 1e6, 128)}, "uV", 1e-3)),
        "_eeg.edf",
        "of 2e-05 uV",
    ),
    "20 s of eeg": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE[:2560], 128)})),
        "_events",
        "no scored clip lies",
    ),
    "odd offset": (sidecar('{"StartOffset": 4000}'), "_video.json", "runs from 4000 to 4090 s"),
    "offset no number": (
        sidecar('{"StartOffset": "1 s"}'),
        "_video.json",
        "StartOffset '1 s' is not a number",
    ),
    "offset no json": (sidecar("StartOffset: 3"), "_video.json", "is not a JSON object"),
}
WARNINGS = {
    "clipped": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE.clip(-30, 30), 128)}, limit=30)),
        "_eeg.edf",
        "C3 is clipped: 1",
    ),
    "cut eeg": (
        eeg(lambda p: p.write_bytes(p.read_bytes()[:-2560])),
        "_eeg.edf",
        "promises 90 s, 83 s are there",
    ),
    "70 s of eeg": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE[: 128 * 70], 128)})),
        "_events.tsv",
        "it has 70 s",
    ),
    "70 s of video": (
        lambda r: write_video(paths(r, "sub-01")[2], [np.full((32, 64), 90, np.uint8)] * 70, 1),
        "_video.mp4",
        "runs from 0 to 70 s of the EEG (90 s), 1 scored clips are lost",
    ),
}


@pytest.mark.parametrize("fault", [*ERRORS, *WARNINGS])
def test_check_names_every_fault(cohort, fault):
    level = "error" if fault in ERRORS else "warning"
    damage, file, problem = (ERRORS | WARNINGS)[fault]
    damage(cohort)
    table = check(cohort)
    hits = table[
        table["problem"].str.contains(problem, regex=False)
        & table["file"].str.contains(file, regex=False)
    ]
    assert hits["level"].tolist() == [level], table.to_string()
    assert hits["fix"].str.len().min() > 5
    assert not hits["problem"].str.contains("\n").any()


def test_check_lists_all_problems_of_all_nights(tmp_path):
    root = write_cohort(tmp_path, ("sub-01", "sub-02"))
    write_about(root, {"sub-01": 3, "sub-02": -1, "sub-03": 8})
    edit(paths(root, "sub-01")[1], "N2", "N7")
    write_edf(paths(root, "sub-02")[0], {"O1": (NOISE, 128)})
    paths(root, "sub-02")[2].with_suffix(".json").write_text(json.dumps({"StartOffset": None}))
    table = check(root)
    assert table[["subject", "level"]].values.tolist() == [
        ["sub-02", "error"],  # AHI
        ["sub-03", "error"],  # no files
        ["sub-01", "error"],  # N7
        ["sub-02", "error"],  # channel
        ["sub-02", "error"],  # offset
    ]


def test_check_of_no_folder(tmp_path):
    assert check(tmp_path / "none")["problem"].tolist() == ["is not a folder"]
    assert len(check(tmp_path)) == 2  # neither description nor participants
    with pytest.raises(CohortError, match="is not a folder; give the folder of the cohort"):
        read_cohort(tmp_path / "none")


def test_real_eeg_is_plausible(cohort):
    source = REAL / "rsleep_psg_2min" / "subject1.edf"
    if not source.is_file():
        pytest.skip("no real data here")
    shutil.copy(source, paths(cohort, "sub-01")[0])
    assert check(cohort, "C3-M2").empty
    assert (
        check(cohort, "F")["problem"].str.contains("standard deviation of 0.34").all()
    )  # a ground electrode
    assert check(cohort, "SpO2")["problem"].str.contains("SpO2 B-B is sampled at 3 Hz").any()
