"""Reading a cohort: its nights, its events, and the table of clips."""

import pickle

import numpy as np
import pytest
from cohort_files import paths, write_cohort, write_events

from sacd.data.cohort import CohortError, read_cohort
from sacd.data.events import clip_table, read_events
from sacd.files import FileError


def events(tmp_path, rows):
    write_events(tmp_path / "events.tsv", rows)
    return read_events(tmp_path / "events.tsv")


def test_read_cohort(tmp_path):
    good = write_cohort(tmp_path / "cohort", ("sub-01",))
    cohort = read_cohort(good)
    assert cohort.name == "made for a test"
    [night] = cohort.nights
    assert (night.subject, night.sex, night.age, night.ahi) == ("sub-01", "F", 50, 12.5)
    assert np.isnan(night.weight_kg)
    assert (night.eeg, night.events, night.video) == paths(good, "sub-01")


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
    "not a number": (
        [("x", 30, "W")],
        r"line 2: onset 'x' is not a number of seconds from 0 to 360000; count",
    ),
    "negative onset": (
        [(-30, 30, "W"), (0, 30, "W")],
        r"line 2: onset '-30' is not a number of seconds from 0",
    ),
    "negative duration": (
        [(0, 30, "W"), (9, -4, "apnea")],
        r"line 3: duration '-4.*' is not a number of seconds from 0",
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
        r"no stage is scored \(it has: '\?', 'arousal'\); add one row per clip",
    ),
}


@pytest.mark.parametrize(("rows", "message"), EVENTS.values(), ids=EVENTS)
def test_faulty_events(tmp_path, rows, message):
    with pytest.raises(CohortError, match=r"events\.tsv: " + message) as caught:
        events(tmp_path, rows)
    assert "\n" not in str(caught.value)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(CohortError, match="is not a folder; give the folder of the cohort"):
        read_cohort(tmp_path / "none")


def test_the_error_survives_the_way_between_processes(tmp_path):
    error = pickle.loads(pickle.dumps(CohortError(tmp_path, "is broken", "fix it")))
    assert str(error) == f"{tmp_path}: is broken; fix it" and isinstance(error, FileError)
