"""Annotations of EDF+ files: from which moment their onsets count, and whose they are."""

import datetime as dt

import pytest
from lab_files import write_hypnogram, write_psg
from raw_edf import overwrite

from sacd.data.edf import read_header
from sacd.data.lab import import_lab
from sacd.data.lab_scoring import read_scoring
from sacd.data.problems import CohortError

START = dt.datetime(2024, 3, 1, 22, 0, 0)
NOTES = ((600, 30, "Sleep stage W"), (630, 60, "Sleep stage N2"))
STAGES = [(600, 0), (630, 2), (660, 2)]


@pytest.fixture
def hypnogram(tmp_path):
    write_hypnogram(tmp_path / "a.edf", NOTES)
    assert read_scoring(tmp_path / "a.edf", START).stages == STAGES
    return tmp_path / "a.edf"


def test_the_first_annotation_is_no_start_of_the_recording(hypnogram):
    at = hypnogram.read_bytes().index(b"+0\x14\x14")
    overwrite(hypnogram, at, b"\0\0\0\0")  # the one that says when the record begins
    assert read_scoring(hypnogram, START).stages == STAGES


def test_a_part_of_a_longer_file_says_two_starts(hypnogram, tmp_path):
    at = hypnogram.read_bytes().index(b"+0\x14\x14")
    overwrite(hypnogram, at, b"+9\x14\x14")
    message = "starts at 2024-03-01 22:00:00, and its first record 9 s from there"
    with pytest.raises(CohortError, match=message):
        read_scoring(hypnogram, START)
    # Without another clock to compare with, annotations count from the first record.
    assert read_scoring(hypnogram, None).stages[0] == (591, 0)


def test_the_table_says_which_start_is_right(tmp_path):
    psg = tmp_path / "lab" / "A1.edf"
    write_psg(psg, ((0, 120, "Sleep stage N2"),))
    overwrite(psg, psg.read_bytes().index(b"+0\x14\x14"), b"+5\x14\x14")
    assert read_header(psg).first_s == 5
    for start, result in (("", "dropped"), ("22:00:05", "imported")):
        (tmp_path / "t.csv").write_text(f"subject,ahi,eeg_start\nA1,5,{start}\n")
        place = tmp_path / "lab", tmp_path / "t.csv", tmp_path / "o", {}
        report = import_lab(*place, eeg_only=True, dry_run=True)
        assert report["result"].tolist() == [result], report["notes"].tolist()


def test_a_channel_behind_an_annotation_is_no_part_of_its_name(tmp_path):
    write_hypnogram(tmp_path / "a.edf", [(t, d, f"{name}@@C3") for t, d, name in NOTES])
    assert read_scoring(tmp_path / "a.edf", START).stages == STAGES
