"""What a lab's scoring says: stages and events in the words of the contract, and their times."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from itertools import pairwise
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

import numpy as np

from sacd.data.events import SLACK_S
from sacd.data.lab_edf import is_blank
from sacd.data.problems import CohortError
from sacd.data.scoring import recognise, rows_of, unknown_tiles
from sacd.data.texts import split_camel_case, without_accents
from sacd.stages import CLIP_S, UNSCORED

DAY_S = 24 * 3600
LATEST_S = 7 * DAY_S
BREATHS_COUNTED = ("obstructive_apnea", "central_apnea", "mixed_apnea", "apnea", "hypopnea")
"""Events that the apnea-hypopnea index counts."""

# The first that fits. What a cause is named after comes behind it: an "arousal (apnea)" is an
# arousal, and an "apnea-related desaturation" is a desaturation.
_EVENTS = (
    ("rera", r"\brera\b|effort[ -]related arousal"),
    ("arousal", r"arousal|\baro\b"),
    ("desaturation", r"desat"),
    ("hypopnea", r"hypopn|^hyp(-|$)"),
    ("central_apnea", r"(central|zentral).*apno?e|apno?ea?[ -]+(central|c$)"),
    ("mixed_apnea", r"(mixed|gemischt).*apno?e|apno?ea?[ -]+(mixed|m$)"),
    ("obstructive_apnea", r"obstru.*apno?e|apno?ea?[ -]+(obstru|o$)"),
    ("apnea", r"^apno?e[ae]?s?$"),
)
_LONGEST_NAME = 60
"""Letters of an event's name; longer text is a note of the technician."""

Note = tuple[float, float, str]
"""Onset and duration in s, and the text. A stage without a duration lasts until the next one."""


@dataclass(frozen=True)
class Scoring:
    """Stages in pieces of 30 s and events, in s from the start of the EEG, and what was left out.

    Stages are labels 0..4 or `UNSCORED`; `coding` says in words how their names were read.
    `counted`: the stages are numbered and have no times, so that 30 s each is an assumption.
    """

    stages: list[tuple[float, int]]
    events: list[Note]
    coding: str
    left_out: dict[str, int] = field(default_factory=dict)
    counted: bool = False


def event_name(text: str) -> str:
    """Name of a respiratory event or an arousal in the contract; empty for any other note.

    >>> [event_name(t) for t in ("Obstructive apnea|Obstructive Apnea", "HYP-C", "light on")]
    ['obstructive_apnea', 'hypopnea', '']
    """
    plain = split_camel_case(without_accents(text))  # Philips writes ObstructiveApnea
    spaced = plain.lower().replace("_", " ").strip()
    if len(spaced) <= _LONGEST_NAME:
        for name, pattern in _EVENTS:
            if re.search(pattern, spaced):
                return name
    return ""


def scoring_of(notes: Sequence[Note], path: Path) -> Scoring:
    """Notes as stages of 30 s and events.

    A stage's rest that is shorter than 30 s is left out, and so is what begins before the EEG.

    Raises:
        CohortError: a name looks like a stage and is unknown or has two readings, two stages
            overlap, as in a file of two scorers, most of them are shorter than 30 s, or a time is
            no number.
    """
    texts = [text for _, _, text in notes]
    onsets, lengths = np.array([note[:2] for note in notes], float).reshape(-1, 2).T
    # A stage may have no duration; every onset is a number.
    too_far = (np.abs(onsets) > LATEST_S) | (np.abs(lengths) > LATEST_S)
    if np.any(too_far | np.isnan(onsets)):
        problem = f"has times beyond {LATEST_S / DAY_S:.0f} days, or none"
        raise CohortError(path, problem, "count s from the start of the EEG")
    names = recognise(texts, path)
    fix = "name it W, N1, N2, N3, REM or unscored"
    if names.unknown:
        raise CohortError(path, f"has the stage {names.unknown[0]!r}, which is not known", fix)
    tiles, doubtful = unknown_tiles(onsets, np.nan_to_num(lengths), texts, names, SLACK_S)
    if names.stages and tiles:
        raise CohortError(path, f"has {rows_of(tiles)}", fix)
    left: Counter[str] = Counter()
    if names.stages and doubtful:
        what, _, which = rows_of(doubtful).partition(" ")[2].partition(": ")
        left[f"{what}, which count as events ({which})"] = sum(doubtful.values())
    stages = _stages(notes, names.stages, path, left)
    events = _events_of(notes, names.stages, left)
    kept = {reason: n for reason, n in left.items() if n}
    return Scoring(stages, events, names.coding, kept)


def _stages(
    notes: Sequence[Note], labels: dict[str, int], path: Path, left: Counter[str]
) -> list[tuple[float, int]]:
    """Onset and label of every clip; `left` counts what is left out."""
    stages: list[tuple[float, int]] = []
    end, short = -math.inf, 0
    written = sorted(note for note in notes if note[2] in labels)
    # A stage that stands twice, word for word, is one. Without a duration it may be two epochs
    # whose times are rounded to a minute: those are refused below.
    scored = [
        note for before, note in pairwise([None, *written]) if not note[1] > 0 or note != before
    ]
    lengths = _lengths(scored)
    for (onset, _, text), duration in zip(scored, lengths, strict=True):
        if onset < end - SLACK_S or not duration > 0:
            problem = f"holds two stages at {onset:g} s of the EEG"
            fix = "export one scorer, one stage per epoch, and times with their seconds"
            raise CohortError(path, problem, fix)
        pieces, end = int((duration + SLACK_S) // CLIP_S), onset + duration
        left["stages shorter than 30 s"] += duration - pieces * CLIP_S > SLACK_S
        short += pieces == 0 and labels[text] != UNSCORED
        for at in (onset + CLIP_S * piece for piece in range(pieces)):
            if at < -SLACK_S:
                left["clips before the EEG"] += 1
            else:
                stages.append((max(at, 0.0), labels[text]))
    # Times in minutes or in parts of a day, or epochs of 20 s: what is left is not a night.
    if short > sum(labels[text] != UNSCORED for _, _, text in scored) / 2:
        problem = f"has {short} of {len(scored)} stages that are shorter than {CLIP_S} s"
        raise CohortError(path, problem, f"write times in s, and score in epochs of {CLIP_S} s")
    return stages


def _lengths(scored: Sequence[Note]) -> list[float]:
    """Duration of every stage in s.

    One without a duration lasts until the next, the last one for a clip. In a list of epochs, which
    repeats a stage that goes on, it lasts for a clip: where rows are missing nothing is scored.
    """
    steps = [b[0] - a[0] for a, b in pairwise(scored)]
    goes_on = any(
        a[2] == b[2] and abs(step - CLIP_S) <= SLACK_S
        for (a, b), step in zip(pairwise(scored), steps, strict=True)
    )
    epochs = goes_on and abs(median(steps) - CLIP_S) <= SLACK_S
    until = [min(step, CLIP_S) if epochs else step for step in steps] + [float(CLIP_S)]
    stated = [duration for _, duration, _ in scored]
    return [own if own > 0 else rest for own, rest in zip(stated, until, strict=False)]


def _events_of(notes: Sequence[Note], labels: dict[str, int], left: Counter[str]) -> list[Note]:
    """Respiratory events and arousals, each once; `left` counts what is left out."""
    events: set[Note] = set()
    for onset, duration, text in notes:
        if text in labels:
            continue
        name = event_name(text)
        if not name:
            left["other notes"] += 1
        elif onset < 0:
            left["events before the EEG"] += 1
        else:
            # A duration that is not known stays NaN: `max` keeps its first argument then.
            events.add((onset, max(duration, 0.0), name))
    return sorted(events)


def ahi_of(scoring: Scoring) -> float:
    """Apneas and hypopneas that begin in sleep, per hour of sleep; NaN if none was scored.

    A night without a single such event may have had none, or nobody scored them: a file cannot
    tell. AASM manual: AHI = (apneas + hypopneas) * 60 / total sleep time in min.
    """
    # Every stage but W (0) is sleep.
    asleep = [onset for onset, stage in scoring.stages if stage not in (UNSCORED, 0)]
    breaths = [e for e in scoring.events if e[2] in BREATHS_COUNTED and e[1] > 0]
    if not asleep or not breaths:
        return math.nan
    begin = sum(any(o <= onset < o + CLIP_S for o in asleep) for onset, _, _ in breaths)
    return begin / (len(asleep) * CLIP_S / 3600)


# --- times ---

_CLOCK = re.compile(r"(\d{1,2})[:.](\d\d)(?:[:.](\d\d)(?:[.,](\d{1,6}))?)?\s*([ap]m)?", re.I)
_GERMAN_DATE = re.compile(r"(\d\d)\.(\d\d)\.(\d{4})[ T,]+(.*)")


def moment(text: str) -> datetime | time:
    """A point in time: ISO 8601, dd.mm.yyyy with a clock time, or a clock time alone.

    Raises:
        ValueError: anything else, among it 03/04/2024, which is April in one country and March in
            another.
    """
    text = text.strip()
    if match := _GERMAN_DATE.fullmatch(text):
        day, month, year, rest = match.groups()
        text = f"{year}-{month}-{day} {rest}"
    if match := _CLOCK.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in match.groups()[:3])
        # 12 am is midnight and 12 pm is noon.
        if half := (match[5] or "").lower():
            hour = hour % 12 + 12 * (half == "pm")
        return time(hour, minute, second, int((match[4] or "").ljust(6, "0")))
    return datetime.fromisoformat(text)


def after(text: str, start: datetime, zone: ZoneInfo | None = None) -> float:
    """Seconds from the start of the EEG to a point in time.

    A clock time alone means the nearest one: 00:30 is 2 h after a start at 22:30, and 22:29 is a
    minute before it.

    Args:
        text: see `moment`.
        start: start of the EEG, local time without a zone, as EDF has it.
        zone: of the lab. Needed where `text` has an offset from UTC; dates are then times in it.

    Raises:
        ValueError: `text` is no time, has an offset from UTC and no zone is given, or the start of
            the EEG is not known.
    """
    when = moment(text)
    if is_blank(start):
        raise ValueError(f"the EEG states the start {start}, which is blank: give eeg_start")
    if isinstance(when, time):
        return nearest((datetime.combine(start, when) - start).total_seconds())
    if when.tzinfo and zone is None:
        raise ValueError(f"{text!r} has an offset from UTC: say --timezone, as Europe/Paris")
    if zone:
        # Both in UTC: in the night in which the clocks change an hour is left out or comes twice.
        moments = (when if when.tzinfo else when.replace(tzinfo=zone), start.replace(tzinfo=zone))
        when, start = (instant.astimezone(UTC) for instant in moments)
    return (when - start).total_seconds()


def nearest(gap: float) -> float:
    """The gap between two clock times in s, from -12 h to 12 h: the date is not known.

    >>> nearest(23 * 3600)
    -3600.0
    """
    return (gap + DAY_S / 2) % DAY_S - DAY_S / 2


def clocks_after(texts: Sequence[str], start: datetime) -> list[float]:
    """Seconds from the start of the EEG of a column of times; those of a row of clocks go on.

    Numbers are seconds already. Clock times are in the order of the night: where one is more than
    12 h earlier than the one before, a midnight lies between.

    Raises:
        ValueError: a text is no time, or the times may as well count from the start of the EEG:
            they begin at 00:00, and it does not.
    """
    first = next(iter(texts), "")
    if re.fullmatch(r"0?0:00(:\d\d([.,]\d+)?)?", first.strip()) and abs(after(first, start)) >= 60:
        raise ValueError(f"{first} is midnight or the start of the EEG, which is {start:%H:%M:%S}")
    found: list[float] = []
    for text in texts:
        try:
            found.append(float(text.replace(",", ".")))
            continue
        except ValueError:
            at = after(text, start)
        if found:  # clocks go on from the time before, by whole days
            at += DAY_S * math.floor((found[-1] - at) / DAY_S + 0.5)
        found.append(at)
    return found
