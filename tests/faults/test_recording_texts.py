"""EEG and text files as laboratories have them are read, with the values that they hold."""

import shutil

import numpy as np
import pytest
from cohort_files import write_about
from raw_edf import RATE, stepped
from recording_changes import (
    AHI,
    AT_40_S,
    CLEAN,
    CONFIG,
    NAMES,
    SECOND,
    X,
    about,
    capitals,
    eeg,
    events,
    names,
    patch,
    people,
    sidecar,
)

from sacd.data.check import check
from sacd.data.cohort import CohortError, read_cohort
from sacd.data.ingest import ingest

ALL = [0, 1, 2, 3, 4]


def indexed(text):
    header, *rows = text.splitlines()
    lines = [f"\t{header}", *(f"{k}\t{row}" for k, row in enumerate(rows))]
    return "\n".join(lines) + "\n"


def reordered(root):
    eeg({"C3": stepped([0, 1, 3, 4])}, "EDF+D", [*range(60), *range(90, 150)])(root)


# what is done -> the clips that are kept, and what `check` must say (None: nothing)
READ = {
    "EDF+D, a pause of 30 s": (reordered, [0, 1, 3, 4], "was paused (60 to 90 s): 1 of 5"),
    "EDF+C whose records say that there was a pause": (
        eeg({"C3": stepped([0, 1, 3, 4])}, "EDF+C", [*range(60), *range(90, 150)]),
        [0, 1, 3, 4],
        "was paused (60 to 90 s): 1 of 5 scored clips are lost (1 N2)",
    ),
    "a pause in a file that is not called EDF+D": (
        lambda root: (reordered(root), patch(192, b"edf  ")(root)),
        [0, 1, 3, 4],
        "was paused (60 to 90 s): 1 of 5",
    ),
    "EDF+D, a pause within a clip": (
        eeg({"C3": X[: 135 * RATE]}, "EDF+D", [*range(50), *range(65, 150)]),
        None,
        "was paused (50 to 65 s): 2 of 5 scored clips are lost (1 N1, 1 N2)",
    ),
    "EDF+D without a pause": (eeg({"C3": X}, "EDF+D"), ALL, None),
    "EDF+D that begins at 0.5 s": (
        eeg({"C3": X}, "EDF+D", [k + 0.5 for k in range(150)]),
        ALL,
        None,
    ),
    "EDF+D whose records are 60 ms early or late": (
        eeg({"C3": X}, "EDF+D", [k + 0.06 * (k % 3) for k in range(150)]),
        ALL,
        "its records begin up to 0.12 s before or after the end of the ones before them",
    ),
    "EDF+C with one onset for all": (eeg({"C3": X}, "EDF+C", [0] * 150), ALL, None),
    "Latin-1 note": (eeg({"C3": X}, "EDF+C", note=b"L\xe4rm"), ALL, None),
    "note that is no annotation": (eeg({"C3": X}, "EDF+C", note=b"\x15\x15\xff"), ALL, None),
    "patient with =": (patch(8, b"MCH F 02-MAY-1951 X a=b=c".ljust(80)), ALL, None),
    "patient in Latin-1": (patch(8, b"J\xf6rg M X X".ljust(80)), ALL, None),
    "impossible start": (patch(168, b"45.13.2225.61.61"), ALL, None),
    "-1 records": (patch(236, b"-1      "), ALL, None),
    "more records than stated": (patch(236, b"120     "), ALL, "promises 120 s, 150 s are there"),
    "fewer records than stated": (patch(236, b"180     "), ALL, "promises 180 s, 150 s are there"),
    "index of pandas in front": (
        events(indexed(CLEAN)),
        ALL,
        None,
    ),
    "decimal comma in the header": (patch(244, b"1,0     "), ALL, None),
    "zero bytes as blanks": (patch(244, b"1\0\0\0\0\0\0\0"), ALL, None),
    "micro sign": (eeg({"C3": X}, unit=b"\xb5V"), ALL, None),
    "micro sign in UTF-8": (eeg({"C3": X}, unit=b"\xc2\xb5V"), ALL, None),
    "UV": (eeg({"C3": X}, unit=b"UV"), ALL, None),
    "capitals": (capitals, ALL, None),
    "flat stretch": (
        eeg({"C3": np.where(AT_40_S, 0, X)}),
        [0, 2, 3, 4],
        "C3 is flat for 3 s or more: 1 of 5 scored clips are lost (1 N1)",
    ),
    "flat but for its last digit": (
        eeg({"C3": np.where(AT_40_S, 0.03 * (SECOND * RATE % 2), X)}),
        [0, 2, 3, 4],
        "C3 is flat",
    ),
    "most of the night flat": (eeg({"C3": np.where(SECOND < 90, 0, X)}), [3, 4], "3 of 5"),
    "stuck at the rail": (eeg({"C3": np.where(AT_40_S, 1000, X)}), [0, 2, 3, 4], "1 of 5"),
    "from rail to rail": (
        eeg({"C3": np.where(AT_40_S, 1000 * np.sign(np.sin(SECOND * RATE)), X)}),
        [0, 2, 3, 4],
        "C3 is saturated for 3 s or more: 1 of 5 scored clips are lost (1 N1)",
    ),
    "hum of 50 Hz alone": (
        eeg({"C3": np.where(AT_40_S, 200 * np.sin(2 * np.pi * 49.95 * SECOND), X)}),
        [0, 2, 3, 4],
        "C3 is flat for 3 s or more: 1 of 5 scored clips are lost (1 N1)",
    ),
    "hum of 60 Hz and the noise of an amplifier": (
        eeg({"C3": np.where(AT_40_S, 90 * np.sin(2 * np.pi * 60 * SECOND) + X / 20, X)}),
        [0, 2, 3, 4],
        "C3 is flat",
    ),
    "flat for 2 s": (eeg({"C3": np.where((SECOND > 40) & (SECOND < 42), 0, X)}), ALL, None),
    "empty field behind every row": (events(CLEAN.replace("\n30", "\t\n30")), ALL, None),
    "empty column": (events(CLEAN.replace("\n", "\t\n")), ALL, None),
    "remarks above the table": (events("# exported\n# by hand\n" + CLEAN), ALL, None),
    "Excel's line of the separator": (
        events("sep=;\n" + names(*NAMES, sep=";")),
        ALL,
        "is read as separated by semicolons",
    ),
    "German": (
        events(names("Wachzustand", "Stadium I", "Schlafstadium 2", "Stadium III", "REM-Schlaf")),
        ALL,
        None,
    ),
    "French": (
        events(names("Veille", "Stade 1", "st2", "N3", "sommeil paradoxal")),
        ALL,
        None,
    ),
    "Dutch": (events(names("Wakker", "N1", "Stadium 2", "slaap N3", "REM-slaap")), ALL, None),
    "wide letters and hard blanks": (
        events(names("\uff37", "N\u00a01", "\uff2e\uff12", "\u00a0N3", "\uff32\uff25\uff2d")),
        ALL,
        None,
    ),
    "empty lines": (events("\n" + CLEAN.replace("\n", "\n\n\t\t\n")), ALL, None),
    "quotes": (events(CLEAN.replace("N2", '"N2"').replace("onset", '"onset"')), ALL, None),
    "CRLF": (events(names(*NAMES, end="\r\n")), ALL, None),
    "CR": (events(names(*NAMES, end="\r")), ALL, None),
    "blanks": (events(CLEAN.replace("\t", " \t ")), ALL, None),
    "Onset in capitals": (events(CLEAN.replace("onset", "Onset")), ALL, None),
    "semicolons": (events(names(*NAMES, sep=";")), ALL, "is read as separated by semicolons"),
    "commas": (events(names(*NAMES, sep=",")), ALL, "is read as separated by commas"),
    "UTF-8 with a mark": (events(CLEAN, "utf-8-sig"), ALL, None),
    "UTF-16": (events(CLEAN, "utf-16"), ALL, "is read as UTF-16"),
    "UTF-16 without a mark": (events(CLEAN, "utf-16-le"), ALL, "is read as UTF-16"),
    "Latin-1": (
        events(CLEAN + "150\t1\tL\u00e4rm\n", "latin-1"),
        ALL,
        "is read as Windows-1252 (Latin-1)",
    ),
    "Awake, NREM1": (events(names("Awake", "NREM1", "Stage2", "SWS", "REM sleep")), ALL, None),
    "RemLogic": (
        events(names("SLEEP-S0", "SLEEP-S1", "SLEEP-S2", "SLEEP-S4", "SLEEP-REM")),
        ALL,
        None,
    ),
    "R&K": (events(names("W", "1", "2", "4", "R")), ALL, None),
    "0 to 5": (events(names("0", "1", "2", "4", "5")), ALL, None),
    "age 89+": (people(AHI.format("89+")), ALL, None),
    "age >89": (people(AHI.format(">89")), ALL, None),
    "age 050Y": (people(AHI.format("050Y")), ALL, None),
    "people in Latin-1": (people(AHI.replace("F", "\u00e4").format(50), "latin-1"), ALL, "is read"),
    "description with a mark": (about('{"Name": "ours"}', "utf-8-sig"), ALL, None),
    "description in UTF-16": (about('{"Name": "ours"}', "utf-16"), ALL, "is read as UTF-16"),
    "sidecar with a mark": (sidecar('{"StartOffset": 0}', "utf-8-sig"), ALL, None),
    "sidecar without an offset": (
        sidecar({"TaskName": "sleep", "FrameRate": 5, "RecordingDuration": "0:02:32", "lag": 0}),
        ALL,
        "states no StartOffset, so the video is taken to start with the EEG",
    ),
    "a time beside the offset": (
        sidecar({"StartOffset": 0, "FirstFrame": 1, "TimeZone": "+01:00", "ExposureTime": 0.1}),
        ALL,
        "has FirstFrame 1, which may be a time of the video and is not read",
    ),
    "sidecar in UTF-16": (sidecar('{"StartOffset": 0}', "utf-16"), ALL, "is read as UTF-16"),
    "folder without a row": (
        lambda root: (root / "sub-07").mkdir(),
        ALL,
        "has no row in participants.tsv",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_read_as_it_was_recorded(cohort, tmp_path, case):
    change, kept, said = READ[case]
    change(cohort)
    table = check(cohort)
    assert not (table["level"] == "error").any(), table.to_string()
    if said is None:
        assert table.empty, table.to_string()
    else:
        assert table["problem"].str.contains(said, regex=False).any(), table.to_string()
    store = ingest(cohort, tmp_path / "store", CONFIG)
    stages = store.clips["stage"].tolist()
    spread = store.eeg("sub-01").std(axis=1)
    if kept is None:  # the pause lies within a clip: those behind it are of later noise
        kept = [0, 3, 4]
        np.testing.assert_allclose(store.clips["onset_s"], [0, 90, 120])
    else:
        # Clip k has 10 (k + 1) uV; the resampling takes some of it.
        np.testing.assert_allclose(spread, [8.65 * (k + 1) for k in kept], rtol=0.03)
    assert stages == kept
    dropped = store.manifest["nights"]["sub-01"]["dropped"]
    assert len(stages) + sum(dropped.values()) == 5


@pytest.mark.parametrize(
    "key", ["StartTime", "startOffset", "start_offset", "StartOffset", "VideoStartTime", "offset"]
)
def test_the_offset_is_read_under_its_known_names(cohort, tmp_path, key):
    sidecar({key: 30.0, "TaskName": "sleep", "AcquisitionTime": "22:00:00"})(cohort)
    store = ingest(cohort, tmp_path / "store", CONFIG)
    assert store.clips["onset_s"].tolist() == [30, 60, 90, 120]
    nights = check(cohort).attrs["nights"]
    assert nights.values.tolist() == [["sub-01", "0.04", "100%", "names of stages", "30 s"]]


def test_columns_of_people_may_begin_with_capitals(cohort):
    people("Participant_ID\tAge\tSex\tAHI\nsub-01\t50\tF\t12.5\n")(cohort)
    [night] = read_cohort(cohort).nights
    assert (night.age, night.sex, night.ahi) == (50, "F", 12.5)


def test_an_absent_offset_and_the_share_with_a_stage_are_said(cohort):
    events(names("W", "1", "?", "R"))(cohort)
    nights = check(cohort).attrs["nights"]
    coding = "numbers and letters (W 1 2 3 4 R), 4 is N3"
    assert nights.values.tolist() == [["sub-01", "0.04", "60%", coding, "0 (not stated)"]]


def test_equal_names_of_channels_are_numbered_and_the_advice_works(cohort, tmp_path):
    pairs = [("C3", X), ("C3", X / 2)]
    eeg(pairs)(cohort)
    [problem] = check(cohort)[["problem", "fix"]].agg("; ".join, axis=1)
    assert "channel 'C3' fits C3-0, C3-1; " in problem and problem.endswith("C3-0, C3-1")
    second = CONFIG.model_copy(update={"channel": "C3-1"})
    store = ingest(cohort, tmp_path / "store", second)
    np.testing.assert_allclose(store.eeg("sub-01").std(axis=1)[0], 8.65 / 2, rtol=0.03)


def test_one_bad_night_does_not_hide_the_others(cohort, monkeypatch):
    second_night(cohort)
    for path in cohort.rglob("sub-02*.*"):
        if path.suffix in (".edf", ".mp4"):
            path.write_bytes(path.read_bytes() + b"2")

    def odd(path, channel):
        raise ZeroDivisionError("first line\nsecond line") if "sub-01" in str(path) else MemoryError

    monkeypatch.setattr("sacd.data.check.open_channel", odd)
    table = check(cohort)
    assert table["subject"].tolist() == ["sub-01", "sub-02"]
    assert table["file"].str.endswith("_eeg.edf").all()
    assert table["problem"].tolist() == [
        "cannot be read (ZeroDivisionError: first line)",
        "cannot be read (MemoryError: MemoryError)",
    ]


def second_night(cohort):
    """A copy of the night under another name."""
    write_about(cohort, {"sub-01": 3, "sub-02": 4})
    shutil.copytree(cohort / "sub-01", cohort / "sub-02")
    for path in (cohort / "sub-02").rglob("sub-01*"):
        path.rename(path.with_name(path.name.replace("sub-01", "sub-02")))


def test_one_recording_under_two_names_is_refused(cohort, tmp_path):
    second_night(cohort)
    patch(8, b"another patient")(cohort)  # of the EEG's header, which says nothing of its signal
    table = check(cohort)
    assert table["file"].tolist() == [
        "sub-02/eeg/sub-02_task-sleep_eeg.edf",
        "sub-02/video/sub-02_task-sleep_video.mp4",
    ]
    assert (table["level"] == "error").all()
    said = "is the same recording as sub-01_task-sleep_video.mp4 of sub-01"
    assert table["problem"][1] == said
    with pytest.raises(CohortError, match=r"is the same recording as sub-01_task-sleep_eeg\.edf"):
        ingest(cohort, tmp_path / "store", CONFIG)


def test_too_few_subjects_are_said_to_who_needs_them(cohort):
    assert check(cohort).empty
    [problem] = check(cohort, subjects=3)["problem"]
    assert problem == "subjects that can be used: 1, needed for a split: 3"
