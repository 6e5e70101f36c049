"""Times of a lab that have two readings, or that nobody stated: refused, never guessed."""

import datetime as dt
import json
import unicodedata
from zoneinfo import ZoneInfo

import pytest
from lab_files import EDF_NOTES, write_hypnogram, write_psg
from raw_edf import overwrite

from sacd.data.lab import import_lab
from sacd.data.lab_files import COLUMNS, belongs
from sacd.data.lab_offset import offset_of
from sacd.data.lab_scoring import read_scoring
from sacd.data.problems import CohortError
from sacd.stages import UNSCORED

START = dt.datetime(2024, 3, 1, 22, 0, 0)
BLANK = dt.datetime(1985, 1, 1)
MARCH = dt.datetime(2024, 3, 31, 1, 58, 30)
"""The clocks of Europe are put forward 90 s later."""
FORWARD = "".join(
    f"{clock},{stage}\n"
    for clock, stage in zip(
        ("01:58:30", "01:59:00", "01:59:30", "03:00:00", "03:00:30", "03:01:00"),
        ("W", "W", "N1", "N2", "N2", "N2"),
        strict=True,
    )
)
# text, start of the EEG, message
REFUSED = {
    "minutes": ("time,stage\n22:00,W\n22:00,N1\n22:01,N2\n", START, "holds two stages at 0 s"),
    "minutes of one stage": ("time,stage\n22:00,W\n22:00,W\n22:01,N2\n", START, "two stages at 0"),
    "in minutes": ("time,stage\n0,W\n0.5,N1\n1,N2\n", START, "2 of 3 stages that are shorter"),
    "in days": ("time,stage\n0.91667,W\n0.91701,N1\n0.91736,N2\n", START, "2 of 3 stages"),
    "epochs of 20 s": ("onset,stage\n0,W\n20,N1\n40,N2\n", START, "2 of 3 stages that are shorter"),
    "midnight or start": ("time,stage\n00:00:00,W\n00:00:30,N1\n", START, "is midnight or the st"),
    "no start": ("time,stage\n22:00:00,W\n22:00:30,N1\n", BLANK, "is blank: give eeg_start"),
    "summer": ("time,stage\n" + FORWARD, MARCH, "jumps by an hour from 01:59:30 to 03:00:00"),
    "two scorers": ("onset,stage,stage 2\n0,W,W\n30,N1,N2\n", START, "two columns 'stage' that d"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_scoring_with_two_readings(tmp_path, case):
    text, start, message = REFUSED[case]
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(CohortError, match=message) as caught:
        read_scoring(tmp_path / "a.csv", start)
    assert "\n" not in str(caught.value)


def test_rows_that_are_missing_from_a_list_of_epochs_are_not_made_up(tmp_path):
    rows = [(0, "W"), (30, "W"), (60, "N1"), (90, "N1"), (240, "N2"), (270, "N2")]
    (tmp_path / "a.csv").write_text("onset,stage\n" + "".join(f"{t},{s}\n" for t, s in rows))
    found = read_scoring(tmp_path / "a.csv", START).stages
    assert found == [(0, 0), (30, 0), (60, 1), (90, 1), (240, 2), (270, 2)]


@pytest.mark.parametrize(("day", "clock"), [((1985, 1, 1), (0, 0)), ((2024, 3, 1), (22, 0))])
def test_a_start_that_was_blanked_cannot_be_compared(tmp_path, day, clock):
    start, own = (BLANK if day[0] == 2024 else START), (dt.time(*clock), dt.date(*day))
    write_hypnogram(tmp_path / "a.edf", EDF_NOTES[:1], *own)
    with pytest.raises(CohortError, match="one of the two was blanked; write the true start"):
        read_scoring(tmp_path / "a.edf", start)
    same = dt.datetime.combine(own[1], own[0])
    assert read_scoring(tmp_path / "a.edf", same).stages == [(0, 0)]


GAPS = {
    "ends": "start,end,stage\n0,30,W\n30,60,N2\n120,150,R\n",
    "clock ends": "Start time;End time;Event\n22:00:00;22:00:30;W\n22:00:30;22:01:00;N2\n"
    "22:02:00;22:02:30;R\n",
    "an empty cell": "onset,stage\n0,W\n30,N2\n60,\n120,R\n",
}


@pytest.mark.parametrize("case", GAPS)
def test_a_stage_that_ends_before_the_next_one_begins(tmp_path, case):
    (tmp_path / "a.csv").write_text(GAPS[case])
    found = read_scoring(tmp_path / "a.csv", START).stages
    assert [(t, stage) for t, stage in found if stage != UNSCORED] == [(0, 0), (30, 2), (120, 4)]


def test_a_row_that_is_too_short_is_told(tmp_path):
    (tmp_path / "a.csv").write_text("onset,duration,stage\n0,30,W\n30,30\n60,30,N2\n")
    with pytest.raises(CohortError, match="has the row '30 30' of 2 cells, the header has 3"):
        read_scoring(tmp_path / "a.csv", START)


def test_stages_of_an_xml_file_in_words(tmp_path):
    stages = "".join(f"<SleepStage>{s}</SleepStage>" for s in ("W", "1", "R", "9"))
    text = f"<CMPStudyConfig><a><EpochLength>30</EpochLength></a>{stages}</CMPStudyConfig>"
    (tmp_path / "a.xml").write_text(text)
    found = read_scoring(tmp_path / "a.xml", START).stages
    assert found == [(0, 0), (30, 1), (60, 4), (90, UNSCORED)]
    (tmp_path / "a.xml").write_text(text.replace(">30<", ">20<"))
    with pytest.raises(CohortError, match="has epochs of '20' s, 30 s are needed"):
        read_scoring(tmp_path / "a.xml", START)


def imported(folder, text="", table="subject,ahi\nA1,5\n", clips=4):
    write_psg(folder / "lab" / "A1.edf", clips=clips)
    if text:
        (folder / "lab" / "A1.csv").write_text(text)
    (folder / "t.csv").write_text(table)
    place = folder / "lab", folder / "t.csv", folder / "o", {}
    return import_lab(*place, eeg_only=True, dry_run=True)


def test_epochs_of_an_xml_file_that_do_not_fit_the_eeg(tmp_path):
    stages = "<SleepStage>2</SleepStage>" * 6
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "A1.xml").write_text(f"<CMPStudyConfig>{stages}</CMPStudyConfig>")
    [said] = imported(tmp_path)["notes"]
    assert "numbers 6 epochs, and the EEG of 120 s has 4 of 30 s: do they last 20 s?" in said


@pytest.mark.parametrize(
    ("text", "clips", "message"),
    [
        ("W\nN1\nN2\nN3\nR\nW\n", 4, "numbers 6 epochs, and the EEG of 120 s has 4 of 30 s: do th"),
        ("epoch,stage\n1,W\n2,N1\n6,N2\n", 4, "numbers 6 epochs"),
        ("W\nN2\n" * 10, 40, "numbers 20 epochs, and the EEG of 1200 s has 40 of 30 s"),
        ("onset,duration,stage\n0,30000,W\n30000,30000,N1\n", 4, "has 1996 of 2000 clips after"),
        ("time,stage\n00:01:00,W\n00:02:00,N2\n02:04:00,N1\n", 260, "all lie within; write time"),
    ],
)
def test_epochs_that_do_not_fit_the_eeg(tmp_path, text, clips, message):
    [said] = imported(tmp_path, text, clips=clips)["notes"]
    assert message in said


def test_one_epoch_more_than_the_eeg_has_is_its_rest(tmp_path):
    report = imported(tmp_path, "W\nN1\nN2\nN3\nR\n")
    assert report["clips"].tolist() == [4] and "1 clips after the end" in report["notes"][0]


def test_a_file_of_two_nights_drops_both(tmp_path):
    write_psg(tmp_path / "lab" / "A2.edf", EDF_NOTES, clips=5)
    write_psg(tmp_path / "lab" / "A3.edf", EDF_NOTES, clips=6)
    table = "subject,ahi,eeg,stages\nA1,5,,\nA2,5,A1.edf,A2.edf\nA3,5,,\n"
    report = imported(tmp_path, "W\nN1\nN2\nN3\n", table)
    assert report["result"].tolist() == ["dropped", "dropped", "imported"]
    assert "A1.edf: is of sub-A1 and sub-A2; give each night its own" in report["notes"][0]


def test_two_nights_of_one_patient_are_said(tmp_path):
    write_psg(tmp_path / "lab" / "A2.edf", EDF_NOTES, clips=5)
    for name in ("A3", "A4"):  # anonymous ones are not said to be the same
        write_psg(tmp_path / "lab" / f"{name}.edf", EDF_NOTES, clips=int(name[1]) + 3)
        overwrite(tmp_path / "lab" / f"{name}.edf", 8, b"X X X X".ljust(80))
    report = imported(tmp_path, "W\nN1\nN2\nN3\n", "subject,ahi\nA1,5\nA2,5\nA3,5\nA4,5\n")
    said = report["notes"].str.contains(
        "one patient by the EDF headers: sub-A1, sub-A2 (if so", regex=False
    )
    assert said.tolist() == [True, True, False, False]
    assert not report["notes"].str.contains("Miller").any()


VIDEO, EEG = "lab/A1.mp4", "lab/A1.edf"
# cells of the table, the video's path, start of the EEG -> the offset, or what is wrong
OFFSETS = [
    ({}, VIDEO, START, 0),
    ({}, "lab/A1_20240301220030.mp4", START, 30),
    ({}, "lab/A1_20240301_220030_20240302_060000.mp4", START, 30),
    ({}, "lab/A1_2024-03-01T21-00-30Z.mp4", START, 30),
    ({}, "lab/A1/20240301_220030/v.mp4", START, 30),
    ({}, "lab/20240301_A1.mp4", START, 0),
    ({"video_offset_s": "-3,5"}, "lab/A1_20240301_2200.mp4", START, -3.5),
    ({}, "lab/A1_20240301_2200.mp4", START, "its name holds '20240301_2200', which may say"),
    ({}, "lab/A1_01-03-2024_22-00-30.mp4", START, "its name holds '01-03-2024_22', which may"),
    ({}, "lab/A1_22-00-30.mp4", START, "its name holds '22-00-30', which may say when it began"),
    ({}, "lab/A1_1709330430.mp4", START, "its name holds '1709330430', which may say"),
    ({"video_offset_s": "0", "video_start": "22:00:30"}, VIDEO, START, "has two starts: video_off"),
    ({"video_offset_s": "30", "video_start": "22:00:30"}, VIDEO, START, 30),
    ({}, "lab/A1_20240301_220030.mp4", BLANK, "is blank: give eeg_start"),
    ({"video_offset_s": "5 s"}, VIDEO, START, "video_offset_s '5 s' is not a number of seconds"),
]


@pytest.mark.parametrize(("cells", "video", "start", "expected"), OFFSETS)
def test_the_start_of_the_video(tmp_path, cells, video, start, expected):
    row = dict.fromkeys(COLUMNS, "") | {"subject": "A1"} | cells
    given = row, tmp_path / video, tmp_path / EEG, start, ZoneInfo("Europe/Paris")
    if isinstance(expected, str):
        with pytest.raises(CohortError, match=expected):
            offset_of(*given)
    else:
        assert offset_of(*given)[0] == expected


def test_a_json_file_beside_the_video_counts(tmp_path):
    row = dict.fromkeys(COLUMNS, "") | {"subject": "A1"}
    (tmp_path / "A1.json").write_text(json.dumps({"StartOffset": 30}))
    given = tmp_path / "A1.mp4", tmp_path / "A1.edf", START, None
    assert offset_of(row, *given) == (30, ["video's start by its JSON file"])
    with pytest.raises(CohortError, match="video_start says 5 s, its JSON file says 30 s"):
        offset_of(row | {"video_start": "22:00:05"}, *given)


def test_letters_with_accents_may_be_written_in_two_ways(tmp_path):
    one, other = (unicodedata.normalize(form, "M\u00fcller") for form in ("NFC", "NFD"))
    assert one != other and belongs(tmp_path / one / "psg.edf", tmp_path, other)
    assert belongs(tmp_path / other / "psg.edf", tmp_path, one)
    assert not belongs(tmp_path / other / "psg.edf", tmp_path, "M\u00fclle")
