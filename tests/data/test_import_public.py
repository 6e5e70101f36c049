"""Folders of public data and a real recording, imported like those of a lab."""

import datetime

import mne
import numpy as np
import pytest
from cohort_files import REAL
from lab_files import write_hypnogram, write_psg

from sacd.data.events import read_events
from sacd.data.lab import import_lab


def test_a_folder_of_sleep_edf(tmp_path):
    lab = tmp_path / "sleep-cassette"
    write_psg(lab / "SC4001E0-PSG.edf", label="EEG Fpz-Cz", start=datetime.time(16, 13))
    notes = [(0, 60, "Sleep stage W"), (60, 30, "Sleep stage 4"), (90, 30, "Sleep stage R")]
    write_hypnogram(lab / "SC4001EC-Hypnogram.edf", notes, datetime.time(16, 13))
    (tmp_path / "t.csv").write_text("subject,ahi\nSC4001,0\n")
    place = (lab, tmp_path / "t.csv", tmp_path / "out", {"channel": "Fpz-Cz"})
    report = import_lab(*place, eeg_only=True)
    assert report["stages"].tolist() == ["SC4001EC-Hypnogram.edf"]
    events = read_events(tmp_path / "out/sub-SC4001/eeg/sub-SC4001_task-sleep_events.tsv")
    assert events["trial_type"].tolist() == ["W", "W", "N3", "REM"]


def test_a_folder_of_ucddb(tmp_path):
    """1 is REM there, and events have clock times; the recording is EDF under the name .rec."""
    lab = tmp_path / "ucddb"
    write_psg(lab / "ucddb002.edf", label="C3A2", start=datetime.time(0, 11, 4))
    (lab / "ucddb002.edf").rename(lab / "ucddb002.rec")
    (lab / "ucddb002_stage.txt").write_text("0\n3\n1\n8\n")
    line = "00:11:44  HYP-C             16       89.9    4.1     -     -      64.7   -5.7 "
    (lab / "ucddb002_respevt.txt").write_text(f"   Respiratory Event List\n\n Time  Type\n{line}\n")
    (tmp_path / "t.csv").write_text("subject\nucddb002\n")
    place = (lab, tmp_path / "t.csv", tmp_path / "out", {"channel": "C3A2"})
    report = import_lab(*place, eeg_only=True)
    assert report["ahi"].tolist() == ["60.0"]  # one in a minute of sleep
    events = read_events(tmp_path / "out/sub-ucddb002/eeg/sub-ucddb002_task-sleep_events.tsv")
    assert events.values.tolist() == [
        [0, 30, "W"],
        [30, 30, "N2"],
        [40, 16, "hypopnea"],
        [60, 30, "REM"],
        [90, 30, "unscored"],
    ]


@pytest.mark.skipif(not (REAL / "rsleep_psg_2min").is_dir(), reason="the recording is not here")
def test_a_real_recording_of_90_channels(tmp_path):
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "subject1.edf").symlink_to(REAL / "rsleep_psg_2min" / "subject1.edf")
    (lab / "subject1.txt").write_text("W\nN1\nN2\nN2\n")
    (tmp_path / "t.csv").write_text("subject,ahi\nsubject1,3\n")
    place = (lab, tmp_path / "t.csv", tmp_path / "out")
    import_lab(*place, {"channel": "C3-M2"}, eeg_only=True)
    copy = tmp_path / "out" / "sub-subject1" / "eeg" / "sub-subject1_task-sleep_eeg.edf"
    old, new = (lab / "subject1.edf").read_bytes(), copy.read_bytes()
    assert b"NoxMedical" in old and b"NoxMedical" not in new and len(old) == len(new)
    both = [
        mne.io.read_raw_edf(path, include=["C3-M2"], verbose="error").get_data()
        for path in (lab / "subject1.edf", copy)
    ]
    assert np.array_equal(*both)
