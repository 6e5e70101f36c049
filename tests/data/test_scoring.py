"""Names of stages: the coding is recognised over a whole file, and never guessed."""

import numpy as np
import pytest

from sacd.data.cohort import CohortError
from sacd.data.scoring import recognise, unknown_tiles
from sacd.stages import UNSCORED

CODINGS = {
    "AASM": ("W N1 N2 N3 R", [0, 1, 2, 3, 4]),
    "AASM, small letters": ("w n1 n2 n3 rem", [0, 1, 2, 3, 4]),
    "R&K with letters": ("W 1 2 3 4 R", [0, 1, 2, 3, 3, 4]),
    "R&K with letters and MT": ("W 1 2 3 4 R MT", [0, 1, 2, 3, 3, 4, -1]),
    "R&K, S1 to S4": ("W S1 S2 S3 S4 REM", [0, 1, 2, 3, 3, 4]),
    "0 to 5": ("0 1 2 3 4 5", [0, 1, 2, 3, 3, 4]),
    "0 to 5 without 4 (ISRUC)": ("0 1 2 3 5", [0, 1, 2, 3, 4]),
    "0 to 5 with movement and unscored": ("0 1 2 3 4 5 6 9", [0, 1, 2, 3, 3, 4, -1, -1]),
    "numbers with exponents": ("0.0000e+00 2.0000e+00 5.0000e+00 NaN NA", [0, 2, 4, -1, -1]),
    "numbers as floats": ("0.0 1.0 2.0 3.0 5.0 -1.0", [0, 1, 2, 3, 4, -1]),
    "0 to 3, no REM": ("0 1 2 3 -1 -2", [0, 1, 2, 3, -1, -1]),
    "4 and R in one file": ("0 1 2 3 4 R", [0, 1, 2, 3, 3, 4]),
    "RemLogic": (
        "SLEEP-S0 SLEEP-S1 SLEEP-S2 SLEEP-S3 SLEEP-S4 SLEEP-REM SLEEP-MT SLEEP-UNSCORED",
        [0, 1, 2, 3, 3, 4, -1, -1],
    ),
    "joined": ("Awake Stage1 Stage2 SWS REM", [0, 1, 2, 3, 4]),
    "camels": ("SleepStageW SleepStageN1 NonREM2 NonREM3 StageR NotScored", [0, 1, 2, 3, 4, -1]),
    "lower camels": ("stagew stagen1 sleepstage2 stage3 stager", [0, 1, 2, 3, 4]),
    "underscores": ("sleep_stage_w sleep_n1 NREM_2 nrem-3 sleep-rem", [0, 1, 2, 3, 4]),
    "NREM": ("Wake NREM1 NREM2 NREM3 REM", [0, 1, 2, 3, 4]),
}
SPACED = {
    "EDF+": (
        "Sleep stage W,Sleep stage 1,Sleep stage 2,Sleep stage 3,Sleep stage 4,Sleep stage R,"
        "Sleep stage ?,Movement time",
        [0, 1, 2, 3, 3, 4, -1, -1],
    ),
    "EDF+ of a nap without W and REM": ("Sleep stage 2,Sleep stage 4", [2, 3]),
    "EDF+ by AASM": ("Sleep stage W,Sleep stage N1,Sleep stage N3,Sleep stage R", [0, 1, 3, 4]),
    "NSRR": (
        "Wake|0,Stage 1 sleep|1,Stage 2 sleep|2,Stage 3 sleep|3,Stage 4 sleep|4,REM sleep|5,"
        "Movement|6,Unscored|9",
        [0, 1, 2, 3, 3, 4, -1, -1],
    ),
    "NSRR without REM": ("Wake|0,Stage 4 sleep|4", [0, 3]),
    "Philips": ("Stage - W,Stage - N1,Stage - N3,Stage - R,Stage - No Stage", [0, 1, 3, 4, -1]),
    "words": ("Wakefulness,Non-REM 1,N-REM 2,slow wave sleep,REM sleep", [0, 1, 2, 3, 4]),
    "with comments": ("Wake (W),N1 [light],Deep sleep,rapid eye movement", [0, 1, 3, 4]),
    "3 and 4 as one": ("W,S1,S2,S3/4,REM", [0, 1, 2, 3, 4]),
    "Stage 0 to 5": ("Stage 0,Stage 1,Stage 4,Stage 5,Stage -1", [0, 1, 3, 4, -1]),
    "Wake and Stage 4, no REM": ("Wake,Stage 1,Stage 4", [0, 1, 3]),
    "German and French": ("Wach,Stadium 1,Stade 2,\u00c9veil,Bewegung", [0, 1, 2, 0, -1]),
    "spaces around": (" W , N2 ,R ", [0, 2, 4]),
}


@pytest.mark.parametrize("coding", [*CODINGS, *SPACED])
def test_a_coding_is_recognised(coding):
    if coding in CODINGS:
        names, stages = CODINGS[coding][0].split(), CODINGS[coding][1]
    else:
        names, stages = SPACED[coding][0].split(","), SPACED[coding][1]
    scoring = recognise([*names, "obstructive apnea"], "events.tsv")
    assert scoring.unknown == ()
    assert [scoring.stages.get(name) for name in names] == stages
    assert np.isnan(scoring.of(["obstructive apnea"])).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("0 1 2 3 4", "4 is REM in the coding 0-4, and N3 in the rules of Rechtschaffen"),
        ("W 1 2 3 4", "has the stage 4 and neither 5 nor R"),
        ("0.0 4.0", "has the stage 4 and neither 5 nor R"),
        ("W N1 N2 N3 4", "has the stage 4 and neither 5 nor R"),
        ("Stage0 Stage1 Stage4", "has the stage 4 and neither 5 nor R"),
        ("1 2 3 4 5", "1 is N1 in the codings 0-4 and 0-5, and W where counting starts at 1"),
        ("1 2 3 ?", "has the stages 1 2 3 and none that is 0 or W"),
    ],
)
def test_two_readings_are_refused_with_both(names, message):
    with pytest.raises(CohortError, match=message) as error:
        recognise(names.split(), "events.tsv")
    assert str(error.value).startswith("events.tsv: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "names",
    ["W N5", "0 1 2 3 5 7", "W 1 2 3 5 R 5", "N1 StageX", "W SleepStage8", "W N1 T1", "W 10"],
)
def test_what_looks_like_a_stage_and_is_none_is_named(names):
    scoring = recognise(names.split(), "events.tsv")
    assert len(scoring.unknown) == 1 and scoring.unknown[0] in names.split()[1:]


@pytest.mark.parametrize("name", ["\u671f1", "NREM", "Light", "Light sleep", "asleep", "P", "A"])
def test_a_name_that_is_not_known_is_no_stage(name):
    assert recognise(["W", name], "").stages == {"W": 0}


def test_rows_that_tile_the_night_under_unknown_names():
    names = ["W", "Light", "Light", "Tief", "N2", "apnea", "hypopnea", "lights off", "pause"]
    onset = np.array([0, 30, 60, 90, 150, 160, 30, 180, 210.0])
    duration = np.array([30, 30, 30, 60, 30, 30, 30, 300, 17.0])
    scoring = recognise(names, "")
    found = {"Light": 2, "Tief": 1}
    assert unknown_tiles(onset, duration, names, scoring, 0.01) == (found, {})
    names[0] = "x"
    tiles, _ = unknown_tiles(onset, duration, names, recognise(["N2"], ""), 0.01)
    assert list(tiles) == ["Light", "Tief", "x"]


def test_stages_without_a_length_are_no_events():
    names = ["W", "Light", "Light", "N2", "video on", "noise", "noise"]
    onset = np.array([0, 30, 60, 90, 120, 131, 142.0])
    duration = np.array([30, 0, 0, 30, 0, 0, 0.0])
    assert unknown_tiles(onset, duration, names, recognise(names, ""), 0.01) == ({"Light": 2}, {})


@pytest.mark.parametrize(
    ("lengths", "found"),
    [
        ([15, 15, 15, 15], {"Light": 4}),
        ([20, 20, 20], {"Light": 3}),
        ([40, 20], {"Light": 2}),
        ([20], {}),  # shorter than a clip
        ([45], {}),  # one break of any length
        ([17, 23], {}),
    ],
)
def test_epochs_of_another_length_under_an_unknown_name(lengths, found):
    onset = np.array([0, *30 + np.cumsum([0, *lengths[:-1]]), 150, 40.0])
    duration = np.array([30, *lengths, 30, 10.0])
    names = ["W", *["Light"] * len(lengths), "N2", "apnea"]
    assert unknown_tiles(onset, duration, names, recognise(names, ""), 0.01) == (found, {})
    onset[0], duration[0] = 0, 150  # within a stage they are events
    assert unknown_tiles(onset, duration, names, recognise(names, ""), 0.01) == ({}, {})


def test_an_event_within_a_stage_is_no_tile_although_it_lasts_30_s():
    names = ["N2", "noise", "N2"]
    onset, duration = np.array([0, 15.0, 30]), np.array([30, 30.0, 30])
    assert unknown_tiles(onset, duration, names, recognise(names, ""), 0.01) == ({}, {})


def test_a_stage_with_a_remark_is_no_event():
    remarks = ["N1, arousal", "N2-spindles", "Stage 3 with leg movements", "apnea in REM"]
    names = ["W", *remarks, "supine N2", "supine N2", "startle sleep", "apnea", "apnea"]
    onset, duration = 30.0 * np.arange(10), np.full(10, 30.0)
    stages, events = unknown_tiles(onset, duration, names, recognise(names, ""), 0.01)
    assert stages == dict.fromkeys(remarks[:3], 1) | {"supine N2": 2}
    assert events == {"apnea in REM": 1, "startle sleep": 1}


def test_unscored_stands_for_no_stage():
    assert recognise(["?", "artefact", "n/a"], "").stages == dict.fromkeys(
        ["?", "artefact", "n/a"], UNSCORED
    )
