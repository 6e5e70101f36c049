"""Real nights of UCDDB (St. Vincent's / UCD Sleep Apnea Database): stages, apneas and AHI.

Source: PhysioNet, https://physionet.org/content/ucddb, licence ODC-By.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xlrd

from sacd.data.scoring import UCDDB_CODES
from sacd.simulate.hypnogram import RESPIRATORY, Event, SimulatedNight, with_arousals
from sacd.stages import CLIP_S, UNSCORED, W

KINDS = {"APNEA-O": 0, "APNEA-M": 0, "APNEA-C": 1, "HYP-O": 2, "HYP-C": 2, "HYP-M": 2}
IN_SLEEP = 0.75
"""Smallest accepted share of respiratory events that begin in sleep, see `night`."""
_EVENT = re.compile(r"^(\d\d):(\d\d):(\d\d)\s+((?:APNEA|HYP)-[OCM])\s+(\d+)\s+(.*)$")


def check(folder: Path) -> Path:
    """The folder, if it is complete.

    Raises:
        ValueError: SubjectDetails.xls is missing, or the tables of one of its subjects.
    """
    folder = Path(folder)
    needed = [folder / "SubjectDetails.xls"]
    if needed[0].is_file():
        for study in subjects(folder).index:
            needed.append(folder / f"{study.lower()}_stage.txt")
            needed.append(folder / f"{study.lower()}_respevt.txt")
    if missing := [path for path in needed if not path.is_file()]:
        wanted = "nights must be a folder of UCDDB's tables (physionet.org/content/ucddb)"
        raise ValueError(f"{missing[0]} is missing: {wanted}")
    return folder


def subjects(folder: Path) -> pd.DataFrame:
    """One row per subject, in the order of SubjectDetails.xls, indexed by study number."""
    sheet = xlrd.open_workbook(Path(folder) / "SubjectDetails.xls").sheet_by_index(0)
    rows = [sheet.row_values(i) for i in range(sheet.nrows)]
    frame = pd.DataFrame(rows[1:], columns=[str(name).strip() for name in rows[0]])
    return frame[frame["Study Number"] != ""].set_index("Study Number")


def stages(path: Path) -> np.ndarray:
    """Labels (clips,) of a *_stage.txt, which has one R&K code per line and clip."""
    codes = [int(line) for line in path.read_text().split()]
    return np.array([UCDDB_CODES.get(code, UNSCORED) for code in codes], dtype=np.int8)


def _events(path: Path) -> list[tuple[float, float, int, bool]]:
    """Apneas and hypopneas of a *_respevt.txt; periodic breathing is ignored.

    Returns:
        One tuple per event: clock time in s, duration in s, kind, whether an arousal follows.
    """
    found = []
    for line in path.read_text(errors="replace").splitlines():
        if match := _EVENT.match(line):
            hour, minute, second, kind, duration, rest = match.groups()
            # Two columns of + or -: snore, arousal.
            signs = re.findall(r"(?<=\s)[+-](?=\s|$)", " " + rest)
            clock = int(hour) * 3600 + int(minute) * 60 + int(second)
            found.append((float(clock), float(duration), KINDS[kind], signs[1:2] == ["+"]))
    return found


def _in_sleep(labels: np.ndarray, onsets: np.ndarray, start: float) -> float:
    """Share of the clock times that lie in sleep if the recording began at clock time `start`."""
    clips = ((onsets - start) % 86400 // CLIP_S).astype(int)
    return float(np.mean((clips < len(labels)) & (labels[np.minimum(clips, len(labels) - 1)] > W)))


def night(folder: Path, study: str, rng: np.random.Generator) -> SimulatedNight:
    """One real night: stages, apneas and hypopneas in recording time, and the person.

    Events are given in clock time. The start of the recording is that of SubjectDetails.xls. If
    with it fewer than `IN_SLEEP` of the events lie in sleep, the start with the largest share in
    sleep is used instead.
    """
    row = subjects(folder).loc[study]
    labels = stages(Path(folder) / f"{study.lower()}_stage.txt")
    rows = _events(Path(folder) / f"{study.lower()}_respevt.txt")
    onsets = np.array([row[0] for row in rows])
    start = round(pd.Timedelta(str(row["PSG Start Time"]).strip()).total_seconds())
    if len(onsets) and _in_sleep(labels, onsets, start) < IN_SLEEP:
        # In steps of 10 s: stages change every 30 s.
        start = max(range(0, 86400, 10), key=lambda clock: _in_sleep(labels, onsets, clock))
    limit = len(labels) * CLIP_S
    respiratory, ends = [], set()
    for clock, duration, kind, arousal in rows:
        onset = (clock - start) % 86400
        if onset + duration < limit:
            respiratory.append(Event(onset, duration, RESPIRATORY[kind]))
            if arousal:
                ends.add(onset)
    person = {
        "sex": str(row["Gender"]).strip(),
        "age": int(row["Age"]),
        "weight_kg": float(row["Weight (kg)"]),
        "ahi": float(row["PSG AHI"]),
        "source": study,
    }
    return SimulatedNight(labels, with_arousals(labels, respiratory, rng, ends), person)
