"""Scored events of a night: its table, split into clips of 30 s with a stage each."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sacd.data.edf import LONGEST_S
from sacd.data.problems import CohortError
from sacd.data.scoring import Scoring, recognise, rows_of, unknown_tiles
from sacd.data.texts import number, read_table
from sacd.stages import CLIP_S, UNSCORED

SLACK_S = 0.01
"""Times that differ by less are equal: event times are rounded when they are written."""
COLUMNS = ("onset", "duration", "trial_type")


def read_events(path: Path) -> pd.DataFrame:
    """Events of a night: `onset` and `duration` in s, `trial_type`.

    A stage that lasts k * 30 s becomes k rows of 30 s.

    Raises:
        CohortError: the first problem of the file.
    """
    found = survey_events(path)
    if found.problems:
        raise found.problems[0]
    return found.events


@dataclass(frozen=True)
class Survey:
    """What `survey_events` finds.

    Attributes:
        events: as far as they can be read.
        problems: one of each kind.
        coding: of the stages, in words; empty if it is not known.
        doubts: what counts as an event, and may be a stage.
    """

    events: pd.DataFrame
    problems: list[CohortError]
    coding: str = ""
    doubts: tuple[CohortError, ...] = ()


def survey_events(path: Path) -> Survey:
    """The events as far as they can be read, and one problem of each kind."""
    columns = list(COLUMNS)
    try:
        table = read_table(path, COLUMNS)
        text = table.rows[columns]
        scoring = recognise(text["trial_type"], path)
    except CohortError as error:
        return Survey(pd.DataFrame({column: [] for column in columns}), [error])
    # None, for what is no number, becomes infinity: it is refused below as NaN is.
    onset, length = (
        text[column].map(number).map(lambda v: math.inf if v is None else v).astype(float)
        for column in ("onset", "duration")
    )
    stage = pd.Series(scoring.of(text["trial_type"]), text.index)
    # BIDS allows the duration n/a for events that are not stages.
    length = length.mask(stage.isna() & length.isna(), 0.0)
    events = text.assign(onset=onset, duration=length)
    problems = _problems(path, events, text, stage, scoring, table.lines)
    times = onset.to_numpy(float), length.to_numpy(float)
    tiles, doubtful = unknown_tiles(*times, text["trial_type"], scoring, SLACK_S)
    tiles = {name: n for name, n in tiles.items() if name not in scoring.unknown}
    if tiles:
        fix = "name them W, N1, N2, N3, REM or unscored"
        problems.append(CohortError(path, f"has {rows_of(tiles)}", fix))
    doubts = []
    if doubtful:
        problem = f"counts as events {rows_of(doubtful)}"
        fix = "if they are stages, name them W, N1, N2, N3 or REM"
        doubts.append(CohortError(path, problem, fix))
    if not problems:
        events = _expanded(events, stage)
    return Survey(events, problems, scoring.coding, tuple(doubts))


def _problems(
    path: Path,
    events: pd.DataFrame,
    text: pd.DataFrame,
    stage: pd.Series,
    scoring: Scoring,
    lines: list[int],
) -> list[CohortError]:
    """One problem of each kind, with the line of the first row that has it."""
    onset, length = events["onset"], events["duration"]
    scored = stage.notna() & (stage != UNSCORED)
    clips = (length / CLIP_S).round()
    unequal = scored & ((clips < 1) | ((length - clips * CLIP_S).abs() > SLACK_S))
    unknown = text["trial_type"].isin(scoring.unknown)
    # An unscored stretch may have any length (the rest of a recording); one that is shorter than
    # a clip is an event.
    epoch = stage.notna() & (length >= CLIP_S - SLACK_S)
    # The latest end of all stages before each row.
    end = (onset + length).where(epoch).cummax().shift(fill_value=-math.inf)
    overlaps = epoch & (onset < end.ffill() - SLACK_S)
    no_time = f"is not a number of seconds from 0 to {LONGEST_S:g}"
    from_start = "count from the start of the EEG, in s, with a decimal point"
    earlier = "is earlier than that of the row before"
    names = "name it W, N1, N2, N3, REM or unscored"
    length_is = f"of a stage is not a multiple of {CLIP_S} s"
    # (rows, column, problem, fix)
    kinds = [
        (~onset.between(0, LONGEST_S), "onset", no_time, from_start),
        (~length.between(0, LONGEST_S), "duration", no_time, "correct it"),
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
            problem = f"line {lines[k]}: {column} {text[column][k]!r} {what}{more}"
            problems.append(CohortError(path, problem, fix))
    if not scored.any():
        found = ", ".join(map(repr, text["trial_type"].unique()[:8]))
        fix = "add one row per clip with W, N1, N2, N3 or REM"
        problems.append(CohortError(path, f"no stage is scored (it has: {found})", fix))
    return problems


def _expanded(events: pd.DataFrame, stage: pd.Series) -> pd.DataFrame:
    """A row of k * 30 s becomes k rows of 30 s."""
    length = events["duration"]
    epoch = stage.notna() & (length >= CLIP_S - SLACK_S)
    repeats = np.where(epoch, np.floor((length + SLACK_S) / CLIP_S), 1).astype(int)
    rows = events.loc[events.index.repeat(repeats)].reset_index(drop=True)
    part = np.concatenate([np.arange(r) for r in repeats]) * CLIP_S
    rows["onset"] = rows["onset"] + part
    rows["duration"] = rows["duration"].where(~np.repeat(epoch.to_numpy(), repeats), float(CLIP_S))
    return rows.sort_values("onset", kind="stable", ignore_index=True)


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
    stages = recognise(events["trial_type"], "events").of(events["trial_type"])
    is_clip = ~np.isnan(stages) & (events["duration"] >= CLIP_S - SLACK_S).to_numpy()
    rows, stages = events[is_clip], stages[is_clip].astype(int)
    onset = rows["onset"].to_numpy(float)
    cuts = np.sort(events.loc[events["trial_type"] == "boundary", "onset"].to_numpy(float))
    # Number of boundaries up to the start and up to the end of each clip.
    before = np.searchsorted(cuts, onset + SLACK_S, side="right")
    within = np.searchsorted(cuts, onset + (CLIP_S - SLACK_S), side="right")
    stage = np.where(before == within, stages, UNSCORED)
    scored = stage != UNSCORED
    follows = np.zeros(len(rows), bool)
    # Both onsets may be rounded by SLACK_S.
    adjacent = np.abs(np.diff(onset) - CLIP_S) <= 2 * SLACK_S
    follows[1:] = scored[:-1] & adjacent & (np.diff(before) == 0)
    block = np.where(scored, np.cumsum(scored & ~follows) - 1, -1)
    return pd.DataFrame(
        {"clip": np.arange(len(rows)), "onset_s": onset, "stage": stage, "block": block}
    )
