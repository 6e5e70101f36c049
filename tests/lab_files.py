"""A small sleep laboratory for tests: EDF+ recordings with a patient's name, scorings, videos."""

import datetime
from pathlib import Path

import edfio
import numpy as np
from cohort_files import numbered, write_video

CLIPS = 4
START = datetime.time(22, 0, 0)
DAY = datetime.date(2024, 3, 1)
REMLOGIC = """RemLogic Event Export
Patient:\tMiller

Sleep Stage\tTime [hh:mm:ss]\tEvent\tDuration[s]\tLocation
W\t22:00:00\tSLEEP-S0\t30\tC4-A1
S2\t22:00:30\tSLEEP-S2\t30\tC4-A1
S2\t22:00:40\tAPNEA-CENTRAL\t12\tFlow
S4\t22:01:00\tSLEEP-S4\t30\tC4-A1
R\t22:01:30\tSLEEP-REM\t30\tC4-A1
"""
EDF_NOTES = (
    (0, 30, "Sleep stage W"),
    (30, 60, "Sleep stage N2"),
    (40, 12, "Obstructive Apnea"),
    (50, None, "Mr Miller turns"),
    (90, 30, "Sleep stage R"),
)


def write_psg(path: Path, notes=(), clips=CLIPS, start=START, day=DAY, label="EEG C3-M2"):
    """An EDF+ recording of 128 Hz with the patient's name in its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 20, 128 * 30 * clips)
    signal = edfio.EdfSignal(
        noise, 128, label=label, physical_dimension="uV", physical_range=(-500, 500)
    )
    edfio.Edf(
        [signal],
        annotations=[edfio.EdfAnnotation(*note) for note in notes],
        patient=edfio.Patient(name="Miller", code="4711"),
        recording=edfio.Recording(startdate=day, equipment_code="Nox"),
        starttime=start,
        data_record_duration=1,
    ).write(path)


def write_hypnogram(path: Path, notes, start=START, day=DAY):
    """An EDF+ file of annotations alone."""
    edfio.Edf(
        [],
        annotations=[edfio.EdfAnnotation(*note) for note in notes],
        recording=edfio.Recording(startdate=day),
        starttime=start,
    ).write(path)


def write_film(path: Path, seconds: int = 30 * CLIPS):
    write_video(path, (numbered(n) for n in range(4 * seconds)), 4)


def write_lab(folder: Path) -> Path:
    """Two nights that can be imported, and a third without files; returns the table."""
    write_psg(folder / "P01" / "psg.edf", EDF_NOTES)
    write_film(folder / "P01" / "cam_20240301_220005.mov", 115)
    write_psg(folder / "edf" / "P02_psg.edf")
    (folder / "edf" / "P02_events.txt").write_text(REMLOGIC)
    (folder / "edf" / "P02_report.txt").write_text("Mr Miller slept well.\nAHI: 3\n")
    write_film(folder / "video" / "P02.mkv")
    table = folder / "subjects.csv"
    table.write_text("subject;age;sex;ahi;weight_kg\nP01;50;F;;70,5\nP02;89+;;12,5;\nP03;;;;\n")
    return table
