"""A cohort on disk: a BIDS-style folder of nights, each with EEG, scored events and video.

    dataset_description.json                    Name
    participants.tsv                            participant_id, ahi; optional: sex, age, weight_kg
    sub-01/eeg/sub-01_task-sleep_eeg.edf
    sub-01/eeg/sub-01_task-sleep_events.tsv     onset, duration (s from the start of the EEG),
                                                trial_type
    sub-01/video/sub-01_task-sleep_video.mp4    or another of `VIDEO_SUFFIXES`
    sub-01/video/sub-01_task-sleep_video.json   optional: StartOffset

A row of the events is a stage (any spelling of `sacd.stages.label`, k * 30 s long), a respiratory
event, an arousal or a `boundary`. A boundary is a cut of a condensed night: the clips on its two
sides were not recorded consecutively. `sacd.data.check.check` lists all problems of a cohort; the
readers here raise the first one.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sacd.files import FileError, require_json
from sacd.stages import CLIP_S, UNSCORED, label

VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".avi", ".mov", ".m4v", ".webm", ".ts", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".wmv", ".asf", ".mxf", ".3gp", ".flv", ".ogv"),
)
"""Extensions of videos, in small letters or capitals."""
SLACK_S = 0.01
"""Times that differ by less are equal: event times are rounded when they are written."""
_LIKE_A_STAGE = re.compile(r"^(sleep\s*)?stage\b|^[a-z]?\d$", re.IGNORECASE)


class CohortError(FileError):
    """Data that cannot be used. One line: the file, what is wrong with it, and how to fix it."""


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
        return self.video.with_suffix(".json")


@dataclass(frozen=True)
class Cohort:
    """All nights of a folder; every output made from them states `name`."""

    root: Path
    name: str
    nights: tuple[Night, ...]


def first_line(error: Exception) -> str:
    """First line of an error's message; the name of its class if it has none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


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
    return Cohort(root, name, tuple(nights)), problems


def _name(root: Path) -> str:
    path = root / "dataset_description.json"
    fix = 'write {"Name": "...", "BIDSVersion": "1.10.0"}; every output states this name'
    name = require_json(path, fix, CohortError).get("Name")
    if name is None:
        raise CohortError(path, 'has no "Name"', fix)
    if not isinstance(name, str) or not name.strip():
        raise CohortError(path, f"has the Name {name!r}, which is not a text", fix)
    return name.strip()


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A TSV file as text, with at least these columns."""
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        fix = f"write it, tab-separated, with the columns {' '.join(columns)}"
        raise CohortError(path, "is missing", fix) from None
    except (ValueError, OSError) as error:
        problem = f"cannot be read as a tab-separated table ({first_line(error)})"
        raise CohortError(path, problem, "export it again") from None
    missing = [c for c in columns if c not in table.columns]
    if missing:
        found = " ".join(map(str, table.columns))
        problem = f"lacks the column {', '.join(missing)} (it has: {found})"
        raise CohortError(path, problem, "add it, tab-separated")
    return table.map(lambda v: v.strip() if isinstance(v, str) else "")


def _number(text: str) -> float:
    """The number; NaN for "n/a" and an empty text, infinity for anything that is not a number."""
    if text.lower() in ("", "n/a", "na", "nan"):
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.inf


def _participants(root: Path) -> tuple[list[dict], list[tuple[str, CohortError]]]:
    path = root / "participants.tsv"
    try:
        table = _table(path, ("participant_id", "ahi"))
    except CohortError as error:
        return [], [("", error)]
    rows: list[dict] = []
    problems = []
    if table.empty:
        problems.append(("", CohortError(path, "has no participant", "add one row per night")))
    for record in table.to_dict("records"):
        subject = record["participant_id"]

        def wrong(what: str, fix: str, subject: str = subject) -> None:
            problems.append((subject, CohortError(path, f"{subject or 'a row'}: {what}", fix)))

        if not re.fullmatch(r"sub-[A-Za-z0-9]+", subject):
            what = f"participant_id {subject!r} is not sub- and letters or digits"
            wrong(what, "rename it and its folder")
            continue
        if any(row["subject"] == subject for row in rows):
            wrong("is there twice", "keep one row; a second night needs an id of its own")
            continue
        numbers = {c: _number(record.get(c, "")) for c in ("age", "weight_kg", "ahi")}
        if math.isnan(numbers["ahi"]):
            fix = "give the apnea-hypopnea index in events/h: splits are stratified by it"
            wrong("has no ahi", fix)
        for column, value in numbers.items():
            if not (math.isnan(value) or 0 <= value < math.inf):
                what = f"{column} {record[column]!r} is not a number >= 0"
                wrong(what, "correct it, or write n/a if it is not known")
        rows.append({"subject": subject, "sex": record.get("sex") or "n/a", **numbers})
    return rows, problems


def _files(root: Path, subject: str) -> tuple[Path, Path, Path]:
    eeg = root / subject / "eeg" / f"{subject}_task-sleep_eeg.edf"
    events = eeg.with_name(f"{subject}_task-sleep_events.tsv")
    video = root / subject / "video" / f"{subject}_task-sleep_video"
    fix = f"add it, or remove {subject} from participants.tsv"
    for path in (eeg, events):
        if not path.is_file():
            raise CohortError(path, "is missing", fix)
    candidates = sorted(video.parent.glob(f"{video.name}.*"))
    videos = [p for p in candidates if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()]
    if not videos:
        raise CohortError(video, f"no video here ({', '.join(VIDEO_SUFFIXES)})", fix)
    if len(videos) > 1:
        problem = f"{len(videos)} videos: {', '.join(path.name for path in videos)}"
        raise CohortError(video, problem, "keep one")
    return eeg, events, videos[0]


def video_offset(night: Night) -> float:
    """Time of the first video frame minus the start of the EEG in s; 0 without a sidecar.

    It is `StartOffset` of the sidecar.
    """
    path = night.sidecar
    if not path.is_file():
        return 0.0
    fix = 'write {"StartOffset": seconds from the start of the EEG to the first video frame}'
    value = require_json(path, fix, CohortError).get("StartOffset", 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CohortError(path, f"StartOffset {value!r} is not a number of seconds", fix)
    return float(value)


def read_events(path: Path) -> pd.DataFrame:
    """Events of a night: `onset` and `duration` in s, `trial_type`.

    A stage that lasts k * 30 s becomes k rows of 30 s.

    Raises:
        CohortError: the first problem of the file.
    """
    events, problems = survey_events(path)
    if problems:
        raise problems[0]
    return events


def survey_events(path: Path) -> tuple[pd.DataFrame, list[CohortError]]:
    """The events as far as they can be read, and one problem of each kind."""
    columns = ["onset", "duration", "trial_type"]
    try:
        events = _table(path, tuple(columns))[columns]
    except CohortError as error:
        return pd.DataFrame({column: [] for column in columns}), [error]
    text = events.copy()
    stage = events["trial_type"].map(label)
    events = events.assign(
        onset=events["onset"].map(_number), duration=events["duration"].map(_number)
    )
    # BIDS allows the duration n/a for events that are not stages.
    events.loc[stage.isna(), "duration"] = events.loc[stage.isna(), "duration"].fillna(0.0)
    onset, length = events["onset"], events["duration"]
    scored = stage.notna() & (stage != UNSCORED)
    clips = (length / CLIP_S).round()
    unequal = scored & ((clips < 1) | ((length - clips * CLIP_S).abs() > SLACK_S))
    looks_like_stage = events["trial_type"].str.match(_LIKE_A_STAGE)
    unknown = stage.isna() & (looks_like_stage | (events["trial_type"] == ""))
    # An unscored stretch may have any length (the rest of a recording); one that is shorter than
    # a clip is an event.
    epoch = stage.notna() & (length >= CLIP_S - SLACK_S)
    end = (onset + length).where(epoch).cummax().shift(fill_value=-math.inf)
    overlaps = epoch & (onset < end.ffill() - SLACK_S)
    no_time = "is not a number of seconds >= 0"
    from_start = "count from the start of the EEG"
    earlier = "is earlier than that of the row before"
    names = "name it W, N1, N2, N3, REM or unscored"
    length_is = f"of a stage is not a multiple of {CLIP_S} s"
    # (rows, column, problem, fix)
    kinds = [
        (~np.isfinite(onset) | (onset < 0), "onset", no_time, from_start),
        (~np.isfinite(length) | (length < 0), "duration", no_time, "correct it"),
        (onset.diff() < 0, "onset", earlier, "sort the rows by onset"),
        (unknown, "trial_type", "is not a stage that is known", names),
        (unequal, "duration", length_is, f"score in epochs of {CLIP_S} s"),
        (overlaps, "onset", "lies within the stage before", "make sure that no stages overlap"),
    ]
    problems = []
    for bad, column, what, fix in kinds:
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            more = f" (and {int(bad.sum()) - 1} more rows)" if bad.sum() > 1 else ""
            # Line 1 is the header.
            problem = f"line {k + 2}: {column} {text[column][k]!r} {what}{more}"
            problems.append(CohortError(path, problem, fix))
    if not scored.any():
        fix = "add one row per clip with W, N1, N2, N3 or REM"
        problems.append(CohortError(path, "no stage is scored", fix))
    if problems:
        return events, problems
    repeats = np.where(epoch, np.floor((length + SLACK_S) / CLIP_S), 1).astype(int)
    rows = events.loc[events.index.repeat(repeats)].reset_index(drop=True)
    part = np.concatenate([np.arange(r) for r in repeats]) * CLIP_S
    rows["onset"] = rows["onset"] + part
    rows["duration"] = rows["duration"].where(~np.repeat(epoch.to_numpy(), repeats), float(CLIP_S))
    return rows.sort_values("onset", kind="stable", ignore_index=True), []


def clip_table(events: pd.DataFrame) -> pd.DataFrame:
    """One row per clip.

    A block is a run of consecutive scored clips: each begins where the one before ends, and no
    boundary lies between them.

    Args:
        events: from `read_events`.

    Returns:
        `clip` (counts from 0), `onset_s`, `stage` (0..4, or -1 if the clip is unscored or a
        boundary cuts it in two), `block` (counts from 0; -1 for clips without a stage).
    """
    is_stage = events["trial_type"].map(label).notna()
    rows = events[is_stage & (events["duration"] >= CLIP_S - SLACK_S)]
    onset = rows["onset"].to_numpy(float)
    cuts = np.sort(events.loc[events["trial_type"] == "boundary", "onset"].to_numpy(float))
    # Number of boundaries up to the start and up to the end of each clip.
    before = np.searchsorted(cuts, onset + SLACK_S, side="right")
    within = np.searchsorted(cuts, onset + (CLIP_S - SLACK_S), side="right")
    stage = np.where(before == within, rows["trial_type"].map(label).to_numpy(int), UNSCORED)
    scored = stage != UNSCORED
    follows = np.zeros(len(rows), bool)
    adjacent = np.abs(np.diff(onset) - CLIP_S) <= 2 * SLACK_S
    follows[1:] = scored[:-1] & adjacent & (np.diff(before) == 0)
    block = np.where(scored, np.cumsum(scored & ~follows) - 1, -1)
    return pd.DataFrame(
        {"clip": np.arange(len(rows)), "onset_s": onset, "stage": stage, "block": block}
    )
