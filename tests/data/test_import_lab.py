"""A lab's folder becomes a cohort: what is written, what is dropped and why, and what stays."""

import datetime
import json
import os
from zoneinfo import ZoneInfo

import mne
import numpy as np
import pandas as pd
import pytest
from lab_files import EDF_NOTES, write_film, write_lab, write_psg

from sacd.__main__ import main
from sacd.data.check import check
from sacd.data.cohort import read_cohort, stated_offset
from sacd.data.events import read_events
from sacd.data.lab import import_lab
from sacd.data.lab_files import belongs, candidates, read_subjects
from sacd.data.lab_notes import after
from sacd.data.problems import CohortError

pytestmark = pytest.mark.slow  # encodes videos


def everything(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The lab's folder before and after, the cohort, and the report."""
    root = tmp_path_factory.mktemp("lab")
    table = write_lab(root / "lab")
    before = everything(root / "lab")
    report = import_lab(root / "lab", table, root / "cohort", {"frames": 30}, name="Lab of a test")
    return before, root / "lab", root / "cohort", report


def test_the_cohort_keeps_the_contract(imported):
    *_, root, _ = imported
    cohort = read_cohort(root)
    assert cohort.name == "Lab of a test"
    first, second = cohort.nights
    assert (first.subject, first.sex, first.age) == ("sub-P01", "F", 50)
    assert first.ahi == pytest.approx(1 / (3 * 30 / 3600), abs=0.01)  # one apnea in 90 s of sleep
    assert first.weight_kg == 70.5 and second.ahi == 12.5 and second.age == 89
    assert stated_offset(first.video) == 5 and stated_offset(second.video) == 0
    problems = check(root)
    assert set(problems["level"]) <= {"warning"}
    for night in cohort.nights:
        events = read_events(night.events)
        assert events["trial_type"].tolist().count("W") == 1
    assert read_events(second.events).values.tolist() == [
        [0, 30, "W"],
        [30, 30, "N2"],
        [40, 12, "central_apnea"],
        [60, 30, "N3"],
        [90, 30, "REM"],
    ]


def test_the_table_says_what_was_read_joined_and_dropped(imported):
    _, _, root, report = imported
    assert report["result"].tolist() == ["imported", "imported", "dropped"]
    first, second, third = report["notes"]
    assert "video_start from its name: 2024-03-01 22:00:05" in first
    assert "1 other notes" in first and "AHI from the events" in first
    assert "video assumed to start with the EEG" in second
    assert "not used: P02_report.txt" in second
    assert third.endswith("name it in the column eeg of the table")
    assert report["clips"].tolist() == [4, 4, ""]
    written = pd.read_csv(root / "import.tsv", sep="\t", keep_default_na=False, dtype=str)
    assert written.equals(report.astype(str))


def test_nobody_is_named_and_no_sample_changes(imported):
    _, lab, root, _ = imported
    copy = root / "sub-P01" / "eeg" / "sub-P01_task-sleep_eeg.edf"
    for word in (b"Miller", b"4711", b"Nox", b"01.03.24", b"MAR-2024"):
        assert word in (lab / "P01" / "psg.edf").read_bytes() or word == b"Nox"
        assert not any(word in path.read_bytes() for path in root.rglob("*.edf"))
    old = mne.io.read_raw_edf(lab / "P01" / "psg.edf", verbose="error")
    new = mne.io.read_raw_edf(copy, verbose="error")
    assert np.array_equal(old.get_data(), new.get_data())
    assert new.ch_names == old.ch_names and new.info["sfreq"] == old.info["sfreq"]
    assert len(mne.read_annotations(copy)) == 0


def test_the_lab_stays_and_videos_are_linked(imported):
    before, lab, root, _ = imported
    assert everything(lab) == before
    video = root / "sub-P02" / "video" / "sub-P02_task-sleep_video.mkv"
    assert os.path.samefile(video, lab / "video" / "P02.mkv")


def test_videos_are_copied_on_request(tmp_path):
    table = write_lab(tmp_path / "lab")
    import_lab(tmp_path / "lab", table, tmp_path / "out", {}, copy=True)
    video = tmp_path / "out" / "sub-P02" / "video" / "sub-P02_task-sleep_video.mkv"
    assert not os.path.samefile(video, tmp_path / "lab" / "video" / "P02.mkv")
    assert video.read_bytes() == (tmp_path / "lab" / "video" / "P02.mkv").read_bytes()


def test_a_dry_run_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # a table is as wide as the screen
    table = write_lab(tmp_path / "lab")
    before = everything(tmp_path)
    words = [str(tmp_path / "lab"), "--table", str(table), "--out", str(tmp_path / "out")]
    assert main(["import-lab", *words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2 of 3 nights" in said and "nothing was written" in said
    assert everything(tmp_path) == before and not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path, capsys):
    table = write_lab(tmp_path / "lab")
    (tmp_path / "out").mkdir()
    words = [str(tmp_path / "lab"), "--table", str(table)]
    assert main(["import-lab", *words, "--out", str(tmp_path / "out")]) == 1
    assert "exists, and nothing is overwritten; give" in capsys.readouterr().err
    assert main(["import-lab", *words, "--out", str(tmp_path / "lab" / "new")]) == 1
    assert "lies in the lab's folder" in capsys.readouterr().err
    assert not (tmp_path / "lab" / "new").exists() and not list((tmp_path / "out").iterdir())


def test_an_interrupted_import_leaves_nothing(tmp_path, monkeypatch):
    table = write_lab(tmp_path / "lab")

    def full(source, target):
        if "P02" in str(source.path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sacd.data.lab.copy_without_identity", full)
    with pytest.raises(OSError, match="No space left"):
        import_lab(tmp_path / "lab", table, tmp_path / "out", {})
    assert [path.name for path in tmp_path.iterdir()] == ["lab"]


def drop(row, message):
    """A fault: cells of the table for night P01, and what the report says of it."""
    return row, message


FAULTS = {
    "channel": drop({"channel": "C4"}, "has no channel 'C4'; set `channel` (CHANNEL=) to one of"),
    "rate": drop({"eeg_rate": 200}, "is sampled at 128 Hz, at least 200 Hz are needed"),
    "no file": drop({"stages": "gone.xml"}, "is missing; correct the column stages of the table"),
    "no stage": drop({"stages": "edf/P02_report.txt"}, "is no table, and its line 'Mr Miller"),
    "age": drop({"age": "old"}, "age 'old' is not a number from 0 to 120; correct it"),
    "ahi": drop({"ahi": "-1"}, "ahi '-1' is not a number from 0 to 200"),
    "unscored": drop({"stages": "none.txt"}, "none.txt: scores no clip of the EEG"),
    "start": drop({"eeg_start": "ten"}, "eeg_start 'ten' is no time; write 2024-03-01T22:00:00"),
    "video": drop({"video_start": "05/03/2024"}, "cannot be told from '05/03/2024'"),
    "utc": drop({"video_start": "2024-03-01T21:00:05Z"}, "say --timezone, as Europe/Paris"),
    "far": drop({"video_start": "2024-03-03T22:00:00"}, "(other dates?) and shows no scored clip"),
    "offset": drop({"video_offset_s": "x"}, "video_offset_s 'x' is not a number of seconds"),
}


@pytest.mark.parametrize(("cells", "message"), FAULTS.values(), ids=FAULTS)
def test_a_night_that_cannot_be_used_is_dropped_with_the_reason(tmp_path, cells, message):
    write_lab(tmp_path / "lab")
    (tmp_path / "lab" / "none.txt").write_text("?\n?\n")
    settings = {k: v for k, v in cells.items() if k in ("channel", "eeg_rate")}
    row = {"subject": "P01"} | {k: v for k, v in cells.items() if k not in settings}
    pd.DataFrame([row]).to_csv(tmp_path / "t.csv", index=False)
    report = import_lab(
        tmp_path / "lab", tmp_path / "t.csv", tmp_path / "o", settings, dry_run=True
    )
    assert report["result"].tolist() == ["dropped"]
    assert message in report["notes"][0] and "\n" not in report["notes"][0]
    with pytest.raises(CohortError, match="no night can be imported"):
        import_lab(tmp_path / "lab", tmp_path / "t.csv", tmp_path / "o", settings)
    assert not (tmp_path / "o").exists()


def offset_of(tmp_path, day, start, zone="", **cells):
    """`video_offset_s` of one night, as the report has it."""
    write_psg(tmp_path / "lab" / "A1.edf", EDF_NOTES, day=day, start=start)
    write_film(tmp_path / "lab" / "A1.mp4")
    pd.DataFrame([{"subject": "A1"} | cells]).to_csv(tmp_path / "t.csv", index=False)
    folder = tmp_path / "lab"
    report = import_lab(folder, tmp_path / "t.csv", tmp_path / "o", {}, zone=zone, dry_run=True)
    return float(report["video_offset_s"][0])


@pytest.mark.parametrize(
    ("start", "cells", "zone", "offset"),
    [
        ((23, 59, 50), {"video_start": "00:00:20"}, "", 30),  # over midnight
        ((0, 0, 10), {"video_start": "23:59:50"}, "", -20),
        ((22, 0, 0), {"video_start": "10:00:30 PM"}, "", 30),
        ((22, 0, 0), {"video_start": "30.03.2024 22:00:07"}, "", 7),
        # Paris is an hour ahead of UTC before the night of 31 March 2024, then two.
        ((22, 0, 0), {"video_start": "2024-03-30T21:00:07Z"}, "Europe/Paris", 7),
        ((22, 0, 0), {"video_start": "2024-03-30T17:00:07-04:00"}, "Europe/Paris", 7),
        ((22, 0, 0), {"video_offset_s": "-3,5"}, "", -3.5),
        ((9, 0, 0), {"eeg_start": "22:00:00", "video_start": "22:00:11"}, "", 11),
    ],
)
def test_times_of_the_video(tmp_path, start, cells, zone, offset):
    day = datetime.date(2024, 3, 30)
    assert offset_of(tmp_path, day, datetime.time(*start), zone, **cells) == offset


def test_the_night_in_which_the_clocks_change():
    start, paris = datetime.datetime(2024, 3, 31, 1, 59, 50), ZoneInfo("Europe/Paris")
    assert after("2024-03-31T03:00:10", start, paris) == 20
    assert after("2024-03-31T01:00:10Z", start, paris) == 20
    assert after("2024-03-31T03:00:10", start) == 3620, "without a zone the clock runs on"


def test_a_file_that_the_table_names_may_lie_elsewhere(tmp_path):
    write_psg(tmp_path / "lab" / "A1.edf", EDF_NOTES)
    (tmp_path / "lab" / "A1_old.edf").write_bytes(b"")
    write_film(tmp_path / "disk" / "night.mp4")
    (tmp_path / "t.csv").write_text(f"subject,video\nA1,{tmp_path / 'disk' / 'night.mp4'}\n")
    report = import_lab(tmp_path / "lab", tmp_path / "t.csv", tmp_path / "out", {})
    assert report["video"].tolist() == [str(tmp_path / "disk" / "night.mp4")]
    assert "not used: A1_old.edf (cannot be read as EDF" in report["notes"][0]


def test_nights_without_a_video_are_kept_on_request(tmp_path):
    write_psg(tmp_path / "lab" / "A1.edf", EDF_NOTES)
    (tmp_path / "t.csv").write_text("subject\nA1\n")
    place = (tmp_path / "lab", tmp_path / "t.csv", tmp_path / "out", {})
    assert "no video has the subject" in import_lab(*place, dry_run=True)["notes"][0]
    assert import_lab(*place, eeg_only=True)["result"].tolist() == ["imported"]
    assert not (tmp_path / "out" / "sub-A1" / "video").exists()


def test_two_scorings_are_not_chosen_between(tmp_path):
    write_lab(tmp_path / "lab")
    (tmp_path / "lab" / "edf" / "P02_second.txt").write_text("W\nW\nN1\nN2\n")
    (tmp_path / "t.csv").write_text("subject,ahi\nP02,1\n")
    place = (tmp_path / "lab", tmp_path / "t.csv", tmp_path / "out", {})
    [said] = import_lab(*place, dry_run=True)["notes"]
    assert "2 files may be the scoring: edf/P02_events.txt, edf/P02_second.txt; name it" in said
    (tmp_path / "t.csv").write_text("subject,ahi,stages\nP02,1,edf/P02_second.txt\n")
    assert import_lab(*place)["stages"].tolist() == ["edf/P02_second.txt"]
    night = read_cohort(tmp_path / "out").nights[0]
    found = read_events(night.events)["trial_type"].tolist()
    assert found == ["W", "W", "central_apnea", "N1", "N2"]  # the apnea is in the other file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,ahi\nP01,3\n", r"lacks the column subject \(it has: name, ahi\); known: subject"),
        ("subject,bmi\nP01,3\n", "has the column 'bmi', which is not known; remove or rename it"),
        ("subject\nP 1\nP1\n", "has two rows that become sub-P1; give every night a name"),
        ("subject\n\n", "names no subject; write one row per subject"),
        ("\n", r"cannot be read as a table \(it is empty\); save it as CSV"),
        ("subject,ahi\nP01,3,5\n", "line 2: has 3 fields, the header has 2; correct this line"),
        ("subject,ahi,AHI\nP01,3,5\n", "has the column 'ahi' twice; keep one, or rename it"),
        ("subject\n--\n", "subject '--' has no letter or digit; rename it"),
    ],
)
def test_faulty_tables(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(CohortError, match=message):
        read_subjects(tmp_path / "t.csv")


def test_rows_that_end_with_a_separator(tmp_path):
    """Excel writes them; a reader that counts from the right gives every value to its neighbour."""
    (tmp_path / "t.csv").write_text("subject,ahi\nP01,3,\nP02,4,\n")
    table = read_subjects(tmp_path / "t.csv")
    assert table["subject"].tolist() == ["P01", "P02"] and table["ahi"].tolist() == ["3", "4"]


def test_a_name_is_a_whole_word(tmp_path):
    names = ["7.edf", "lab7_psg.edf", "17.edf", "70.edf", "x/night 7/psg.edf"]
    found = [name for name in names if belongs(tmp_path / name, tmp_path, "7")]
    assert found == ["7.edf", "lab7_psg.edf", "x/night 7/psg.edf"]
    assert not belongs(tmp_path / "02_2024-03-01_22-01-00.mp4", tmp_path, "01")
    assert belongs(tmp_path / "20240301_psg.edf", tmp_path, "20240301"), "a date as a name"


def test_a_file_of_two_subjects(tmp_path):
    files = [tmp_path / name for name in ("P1.edf", "P1_n2.edf", "P1_P3.edf")]
    both = (["P1", "P1_n2"], files[:2], tmp_path)
    assert candidates("P1", *both).edf == (files[0],)
    assert candidates("P1_n2", *both).edf == (files[1],)
    found = candidates("P1", ["P1", "P3"], files, tmp_path)
    assert found.edf == (files[0], files[1])
    assert "P1_P3.edf: has the names of P1 and P3; rename it" in str(found.shared[0])


def test_the_cohort_states_the_settings_it_was_imported_with(imported):
    *_, root, _ = imported
    description = json.loads((root / "dataset_description.json").read_text())
    assert description["Settings"] == {"frames": 30}
