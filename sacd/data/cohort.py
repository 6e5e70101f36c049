"""A cohort on disk: a BIDS-style folder of nights, each with EEG, scored events and video.

    dataset_description.json                    Name
    participants.tsv                            participant_id, ahi; optional: sex, age, weight_kg
    sub-01/eeg/sub-01_task-sleep_eeg.edf
    sub-01/eeg/sub-01_task-sleep_events.tsv     onset, duration (s from the start of the EEG),
                                                trial_type
    sub-01/video/sub-01_task-sleep_video.mp4    or another of `VIDEO_SUFFIXES`
    sub-01/video/sub-01_task-sleep_video.json   optional: StartOffset, or BIDS' StartTime

Extensions may be in capitals.

A row of the events is a stage (any coding of `sacd.data.scoring`, k * 30 s long), a respiratory
event, an arousal or a `boundary`. A boundary is a cut of a condensed night: the clips on its two
sides were not recorded consecutively. `sacd.data.check.check` lists all problems of a cohort; the
readers here raise the first one.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sacd.data.problems import CohortError as CohortError
from sacd.data.sidecar import sidecar_offset
from sacd.data.texts import number, read_object, read_table

VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".avi", ".mov", ".m4v", ".webm", ".ts", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".wmv", ".asf", ".mxf", ".3gp", ".flv", ".ogv"),
)
"""Extensions of videos, in small letters or capitals."""
LIMITS: Final = {"age": 120, "weight_kg": 500, "ahi": 200}
"""Largest values, in years, kg and events/h: an event lasts 10 s or more, and 200 an hour leave no
time for sleep between them."""


@dataclass(frozen=True)
class Night:
    """One recording. Age in years, weight in kg, AHI in events/h.

    Unknown numbers are NaN, an unknown sex is `"n/a"`.
    """

    subject: str
    eeg: Path
    events: Path
    video: Path
    sex: str
    age: float
    weight_kg: float
    ahi: float

    @property
    def sidecar(self) -> Path:
        """The JSON file that may hold the offset of the video."""
        return _sidecar(self.video)


@dataclass(frozen=True)
class Cohort:
    """All nights of a folder; every output made from them states `name`."""

    root: Path
    name: str
    nights: tuple[Night, ...]


def read_cohort(root: Path | str) -> Cohort:
    """Nights of a cohort, in the order of participants.tsv.

    Raises:
        CohortError: the first problem of the folder, the participants or the names of files.
            Recordings and videos are not opened.
    """
    cohort, problems = survey(Path(root))
    if problems:
        raise problems[0][1]
    return cohort


def survey(root: Path) -> tuple[Cohort, list[tuple[str, CohortError]]]:
    """The nights of a cohort whose files are complete, and `(subject, problem)` for the rest."""
    if not root.is_dir():
        problem = CohortError(root, "is not a folder", "give the folder of the cohort")
        return Cohort(root, "", ()), [("", problem)]
    # Nothing is raised: `check` lists all problems of a cohort at once.
    nights, problems, name = [], [], ""
    try:
        name = _name(root)
    except CohortError as error:
        problems.append(("", error))
    rows, wrong = _participants(root)
    problems += wrong
    for row in rows:
        try:
            eeg, events, video = _files(root, row["subject"])
            nights.append(Night(eeg=eeg, events=events, video=video, **row))
        except CohortError as error:
            problems.append((row["subject"], error))
        except OSError as error:  # of a folder that this user may not list
            problem = f"cannot be read ({error.strerror})"
            fix = "correct the permissions of this folder"
            problems.append((row["subject"], CohortError(root / row["subject"], problem, fix)))
    return Cohort(root, name, tuple(nights)), problems


def _name(root: Path) -> str:
    path = root / "dataset_description.json"
    fix = 'write {"Name": "...", "BIDSVersion": "1.10.0"}; every output states this name'
    name = read_object(path, fix).get("Name")
    if name is None:
        raise CohortError(path, 'has no "Name"', fix)
    if not isinstance(name, str) or not name.strip():
        raise CohortError(path, f"has the Name {name!r}, which is not a text", fix)
    return name.strip()


def _participants(root: Path) -> tuple[list[dict], list[tuple[str, CohortError]]]:
    path = root / "participants.tsv"
    try:
        table = read_table(path, ("participant_id", "ahi"))
    except CohortError as error:
        return [], [("", error)]
    rows: list[dict] = []
    problems = []
    for line, record in zip(table.lines, table.rows.to_dict("records"), strict=True):
        subject = record["participant_id"]
        who = subject or f"line {line}"

        def wrong(what: str, fix: str, subject: str = subject, who: str = who) -> None:
            problems.append((subject, CohortError(path, f"{who}: {what}", fix)))

        if not re.fullmatch(r"sub-[A-Za-z0-9]+", subject):
            what = f"participant_id {subject!r} is not sub- and letters or digits"
            wrong(what, "rename it and its folder")
            continue
        # Two nights of one person would count as two subjects, in training and in test.
        if any(row["subject"] == subject for row in rows):
            wrong("is there twice", "keep one row; a second night needs an id of its own")
            continue
        record |= {column.lower(): value for column, value in record.items()}  # Age, Sex
        numbers = {column: measure(column, record.get(column, "")) for column in LIMITS}
        # Splits are stratified by the AHI, so it is the one number that must be known.
        if numbers["ahi"] is not None and math.isnan(numbers["ahi"]):
            fix = "give the apnea-hypopnea index in events/h: splits are stratified by it"
            wrong("has no ahi", fix)
        for column, value in numbers.items():
            if value is None:
                what = f"{column} {record[column]!r} is not a number >= 0 and <= {LIMITS[column]}"
                wrong(what, "correct it, or write n/a if it is not known")
        known = {c: math.nan if value is None else value for c, value in numbers.items()}
        rows.append({"subject": subject, "sex": record.get("sex") or "n/a", **known})
    return rows, problems


def measure(column: str, text: str) -> float | None:
    """Age, weight or AHI; NaN where it is not known, None if it is no number within `LIMITS`.

    Ages may be written as privacy rules and DICOM do: `89+` and `>89` are 89, `050Y` is 50.

    >>> measure("age", "89+"), measure("ahi", "n/a"), measure("ahi", "-1")
    (89.0, nan, None)
    """
    value = number(text)
    if value is None and column == "age":
        age = r"(?:>=?|\u2265)?\s*(\d{1,3})\s*(?:\+|y|years?)?"
        found = re.fullmatch(age, text, re.IGNORECASE)
        value = float(found[1]) if found else None
    if value is None or math.isnan(value) or 0 <= value <= LIMITS[column]:
        return value
    return None


def stray_folders(cohort: Cohort) -> list[CohortError]:
    """Subject folders without a row in participants.tsv: their nights are not used."""
    path = cohort.root / "participants.tsv"
    try:
        listed = set(read_table(path, ("participant_id",)).rows["participant_id"])
    except CohortError:
        return []
    found = []
    for folder in sorted(cohort.root.glob("sub-*")):
        if folder.is_dir() and folder.name not in listed:
            problem = "has no row in participants.tsv, so it is not used"
            found.append(CohortError(folder, problem, "add the row, or move the folder away"))
    return found


def _named(folder: Path, stem: str, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Files of a folder with this stem and one of these suffixes, in small letters or capitals."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.stem == stem and path.suffix.lower() in suffixes and path.is_file():
                yield path


def _sidecar(video: Path) -> Path:
    usual = video.with_suffix(".json")
    return next(_named(usual.parent, usual.stem, (".json",)), usual)


def _files(root: Path, subject: str) -> tuple[Path, Path, Path]:
    fix = f"add it, or remove {subject} from participants.tsv"
    found = []
    for kind, name, suffixes in (
        ("eeg", "eeg", (".edf",)),
        ("eeg", "events", (".tsv",)),
        ("video", "video", VIDEO_SUFFIXES),
    ):
        path = root / subject / kind / f"{subject}_task-sleep_{name}{suffixes[0]}"
        paths = list(_named(path.parent, path.stem, suffixes))
        # The message names the path without an extension, as any of them would do.
        if not paths and len(suffixes) > 1:
            path = path.with_suffix("")
            raise CohortError(path, f"no video here ({', '.join(suffixes)})", fix)
        if not paths:
            raise CohortError(path, "is missing", fix)
        if len(paths) > 1:
            problem = f"{len(paths)} {'videos' if kind == 'video' else 'files'}: "
            names = ", ".join(path.name for path in paths)
            raise CohortError(path.with_suffix(""), problem + names, "keep one")
        found += paths
    eeg, events, video = found
    return eeg, events, video


def stated_offset(video: Path) -> float | None:
    """What `sidecar_offset` finds beside a video; None also where there is no sidecar."""
    sidecar = _sidecar(video)
    return sidecar_offset(sidecar) if sidecar.is_file() else None
