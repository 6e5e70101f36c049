"""A cohort on disk: a BIDS-style folder of nights, each with EEG, scored events and video. Reading and its refusals.

    dataset_description.json                    Name
    participants.tsv                            participant_id ahi, and if known sex age weight_kg
    sub-01/eeg/sub-01_task-sleep_eeg.edf
    sub-01/eeg/sub-01_task-sleep_events.tsv     onset duration trial_type, in s from the start of
    the EEG sub-01/video/sub-01_task-sleep_video.mp4    or .mkv, .avi
    sub-01/video/sub-01_task-sleep_video.json   optional: StartOffset

A row of the events is a stage (any spelling of `sacd.stages.label`, k * 30 s long), a respiratory
event, an arousal or a `boundary`: a cut of a condensed night, so that what lies on its two sides
was not recorded in one piece. `sacd.data.check.check` lists all that is wrong with a cohort; the
readers here raise the first problem.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sacd.stages import CLIP_S, UNSCORED, label

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi")
SLACK_S = 0.01
"""Times of the events are rounded by whoever wrote them; within this they are equal."""
_LIKE_A_STAGE = re.compile(r"^(sleep\s*)?stage\b|^[a-z]?\d$", re.IGNORECASE)


class CohortError(ValueError):
    """One line: the file, what is wrong with it (value and limit), and how to mend it."""

    def __init__(self, file: Path | str, problem: str, fix: str):
        super().__init__(
            file, problem, fix
        )  # these three, so that it survives the way between processes
        self.file, self.problem, self.fix = file, problem, fix

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}; {self.fix}"


@dataclass(frozen=True)
class Night:
    """One recording. Age in years, weight in kg, AHI in events/h; NaN (`"n/a"` for the sex) where not known."""

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
        """Where the offset of the video may be written."""
        return self.video.with_suffix(".json")


@dataclass(frozen=True)
class Cohort:
    """All nights of a folder; `name` belongs on every output made from them."""

    root: Path
    name: str
    nights: tuple[Night, ...]


def read_cohort(root: Path | str) -> Cohort:
    """Nights of a cohort, in the order of participants.tsv.

    Raises:
        CohortError: the first problem of the folder, the participants or the names of files; no
            file is opened.
    """
    cohort, problems = survey(Path(root))
    if problems:
        raise problems[0][1]
    return cohort


def survey(root: Path) -> tuple[Cohort, list[tuple[str, CohortError]]]:
    """What there is of a cohort (nights with all their files), and `(subject, problem)` for what is not."""
    if not root.is_dir():
        return Cohort(root, "", ()), [
            ("", CohortError(root, "is not a folder", "give the folder of the cohort"))
        ]
    nights, problems, name = [], [], ""
    try:
        name = _name(root)
    except CohortError as error:
        problems.append(("", error))
    rows, wrong = _participants(root)
    problems += wrong
    for row in rows:
        try:
            nights.append(
                Night(row["subject"], *_files(root, row["subject"]), *list(row.values())[1:])
            )
        except CohortError as error:
            problems.append((row["subject"], error))
    return Cohort(root, name, tuple(nights)), problems


def _name(root: Path) -> str:
    path = root / "dataset_description.json"
    fix = 'write {"Name": "...", "BIDSVersion": "1.10.0"} so that every output can say which data made it'
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["Name"]
    except FileNotFoundError:
        raise CohortError(path, "is missing", fix) from None
    except (ValueError, KeyError, TypeError):
        raise CohortError(path, 'has no "Name"', fix) from None
    if not isinstance(name, str) or not name.strip():
        raise CohortError(path, f"has the Name {name!r}, which is not a text", fix)
    return name.strip()


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A TSV file as text, with at least these columns."""
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise CohortError(
            path, "is missing", f"write it, tab-separated, with the columns {' '.join(columns)}"
        ) from None
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CohortError(
            path, f"cannot be read as a tab-separated table ({reason})", "export it again"
        ) from None
    missing = [c for c in columns if c not in table.columns]
    if missing:
        found = " ".join(map(str, table.columns))
        raise CohortError(
            path,
            f"lacks the column {', '.join(missing)} (it has: {found})",
            "add it, tab-separated",
        )
    return table.map(lambda v: v.strip() if isinstance(v, str) else "")


def _number(text: str) -> float:
    """The number, NaN for n/a or nothing, infinity for what is no number."""
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
        problems.append(("", CohortError(path, "has no participant", "add one row a night")))
    for record in table.to_dict("records"):
        subject = record["participant_id"]

        def wrong(what: str, fix: str, subject: str = subject) -> None:
            problems.append((subject, CohortError(path, f"{subject or 'a row'}: {what}", fix)))

        if not re.fullmatch(r"sub-[A-Za-z0-9]+", subject):
            wrong(
                f"participant_id {subject!r} is not sub- and letters or digits",
                "rename it and its folder",
            )
            continue
        if any(row["subject"] == subject for row in rows):
            wrong("is there twice", "keep one row; a second night needs an id of its own")
            continue
        numbers = {c: _number(record.get(c, "")) for c in ("age", "weight_kg", "ahi")}
        if math.isnan(numbers["ahi"]):
            wrong(
                "has no ahi",
                "give the apnea-hypopnea index in events/h: splits are stratified by it",
            )
        for column, value in numbers.items():
            if not (math.isnan(value) or 0 <= value < math.inf):
                wrong(
                    f"{column} {record[column]!r} is not a number >= 0",
                    "correct it, or n/a where not known",
                )
        rows.append({"subject": subject, "sex": record.get("sex") or "n/a", **numbers})
    return rows, problems


def _files(root: Path, subject: str) -> tuple[Path, Path, Path]:
    stem = root / subject / "eeg" / f"{subject}_task-sleep_eeg.edf"
    events = stem.with_name(f"{subject}_task-sleep_events.tsv")
    video = root / subject / "video" / f"{subject}_task-sleep_video"
    videos = [p for s in VIDEO_SUFFIXES if (p := video.with_suffix(s)).is_file()]
    for path in (stem, events):
        if not path.is_file():
            raise CohortError(
                path, "is missing", f"add it, or take {subject} out of participants.tsv"
            )
    if not videos:
        problem = f"no video here ({', '.join(VIDEO_SUFFIXES)})"
        raise CohortError(video, problem, f"add it, or take {subject} out of participants.tsv")
    if len(videos) > 1:
        raise CohortError(
            video, f"{len(videos)} videos: {', '.join(p.name for p in videos)}", "keep one"
        )
    return stem, events, videos[0]


def video_offset(night: Night) -> float:
    """Time of the first video frame minus the start of the EEG in s: `StartOffset` of the sidecar, 0 without one."""
    path = night.sidecar
    if not path.is_file():
        return 0.0
    fix = 'write {"StartOffset": seconds from the start of the EEG to the first video frame}'
    try:
        value = json.loads(path.read_text(encoding="utf-8")).get("StartOffset", 0.0)
    except (ValueError, AttributeError):
        raise CohortError(path, "is not a JSON object", fix) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CohortError(path, f"StartOffset {value!r} is not a number of seconds", fix)
    return float(value)


def read_events(path: Path) -> pd.DataFrame:
    """Events of a night: `onset` and `duration` in s, `trial_type`; a stage row of k * 30 s becomes k rows of 30 s.

    Raises:
        CohortError: the first problem of the file.
    """
    events, problems = survey_events(path)
    if problems:
        raise problems[0]
    return events


def survey_events(path: Path) -> tuple[pd.DataFrame, list[CohortError]]:
    """The events that could be read, and one problem of each kind."""
    try:
        events = _table(path, ("onset", "duration", "trial_type"))[
            ["onset", "duration", "trial_type"]
        ]
    except CohortError as error:
        return pd.DataFrame({"onset": [], "duration": [], "trial_type": []}), [error]
    text = events.copy()
    stage = events["trial_type"].map(label)
    events = events.assign(
        onset=events["onset"].map(_number), duration=events["duration"].map(_number)
    )
    events.loc[stage.isna(), "duration"] = events.loc[stage.isna(), "duration"].fillna(
        0.0
    )  # BIDS allows n/a there
    onset, length = events["onset"], events["duration"]
    scored = stage.notna() & (stage != UNSCORED)
    clips = (length / CLIP_S).round()
    unequal = scored & ((clips < 1) | ((length - clips * CLIP_S).abs() > SLACK_S))
    unknown = stage.isna() & (
        events["trial_type"].str.match(_LIKE_A_STAGE) | (events["trial_type"] == "")
    )
    # An unscored stretch may have any length (the rest of a file); less than a clip of it is an
    # event, not a clip.
    epoch = stage.notna() & (length >= CLIP_S - SLACK_S)
    end = (onset + length).where(epoch).cummax().shift(fill_value=-math.inf)
    kinds = [
        (
            ~np.isfinite(onset) | (onset < 0),
            "onset",
            "is not a number of seconds >= 0",
            "count from the start of the EEG",
        ),
        (
            ~np.isfinite(length) | (length < 0),
            "duration",
            "is not a number of seconds >= 0",
            "correct it",
        ),
        (
            onset.diff() < 0,
            "onset",
            "is earlier than that of the row before",
            "sort the rows by onset",
        ),
        (
            unknown,
            "trial_type",
            "is not a stage that is known",
            "name it W, N1, N2, N3, REM or unscored",
        ),
        (
            unequal,
            "duration",
            f"of a stage is not a multiple of {CLIP_S} s",
            f"score in epochs of {CLIP_S} s",
        ),
        (
            epoch & (onset < end.ffill() - SLACK_S),
            "onset",
            "lies within the stage before",
            "let no two stages overlap",
        ),
    ]
    problems = []
    for bad, column, what, fix in kinds:
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            more = f" (and {int(bad.sum()) - 1} more rows)" if bad.sum() > 1 else ""
            problems.append(
                CohortError(path, f"line {k + 2}: {column} {text[column][k]!r} {what}{more}", fix)
            )
    if not scored.any():
        problems.append(
            CohortError(path, "no stage is scored", "add one row a clip with W, N1, N2, N3 or REM")
        )
    if problems:
        return events, problems
    repeats = np.where(epoch, np.floor((length + SLACK_S) / CLIP_S), 1).astype(int)
    rows = events.loc[events.index.repeat(repeats)].reset_index(drop=True)
    part = np.concatenate([np.arange(r) for r in repeats]) * CLIP_S
    rows["onset"] = rows["onset"] + part
    rows["duration"] = rows["duration"].where(~np.repeat(epoch.to_numpy(), repeats), float(CLIP_S))
    return rows.sort_values("onset", kind="stable", ignore_index=True), []


def clip_table(events: pd.DataFrame) -> pd.DataFrame:
    """One row a clip: `clip` (0..), `onset_s`, `stage` (0..4, -1 unscored or cut in two by a boundary), `block`.

    A block is a run of scored clips, each beginning where the one before ends, with no boundary
    between: only these are consecutive. Blocks count up from 0; -1 for clips that are not scored.

    Args:
        events: of `read_events`.
    """
    rows = events[
        events["trial_type"].map(label).notna() & (events["duration"] >= CLIP_S - SLACK_S)
    ]
    onset = rows["onset"].to_numpy(float)
    cuts = np.sort(events.loc[events["trial_type"] == "boundary", "onset"].to_numpy(float))
    before, within = (
        np.searchsorted(cuts, onset + t, side="right") for t in (SLACK_S, CLIP_S - SLACK_S)
    )
    stage = np.where(before == within, rows["trial_type"].map(label).to_numpy(int), UNSCORED)
    scored = stage != UNSCORED
    follows = np.zeros(len(rows), bool)
    follows[1:] = (
        scored[:-1] & (np.abs(np.diff(onset) - CLIP_S) <= 2 * SLACK_S) & (np.diff(before) == 0)
    )
    block = np.where(scored, np.cumsum(scored & ~follows) - 1, -1)
    return pd.DataFrame(
        {"clip": np.arange(len(rows)), "onset_s": onset, "stage": stage, "block": block}
    )
