"""Scorings of a lab in any format: EDF+ annotations, tables of text, XML."""

import csv
import math
import re
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median

from sacd.data.edf import read_header
from sacd.data.lab_edf import is_blank
from sacd.data.lab_notes import DAY_S, LATEST_S, Note, Scoring, clocks_after, nearest, scoring_of
from sacd.data.lab_xml import xml_notes
from sacd.data.problems import CohortError
from sacd.data.scoring import UCDDB_CODES, recognise
from sacd.data.texts import MISSING, number, read_text, split_line, without_accents
from sacd.stages import CLIP_S, UNSCORED, stage_name

# Names of columns, in lower case, without accents and units. RemLogic, Nox, Domino, YASA, BIDS.
_ONSET = (
    "onset", "start", "start time", "time", "clock time", "time hh mm ss", "start sec", "heure",
    "zeit", "uhrzeit", "beginn", "startzeit", "hora", "inicio", "ora",
)  # fmt: skip
_DURATION = ("duration", "duration sec", "length", "duree", "dauer", "duracion", "durata")
_END = ("end", "stop", "end time", "stop time", "ende", "endzeit", "fin", "offset")
_EPOCH = ("epoch", "epoch number", "epoch no", "epoch num", "epoche", "epoque", "epoca")
# Before the stages: RemLogic repeats the stage of the moment beside every event.
_NAME = (
    "trial type", "event", "evenement", "ereignis", "evento", "description", "annotation", "name",
    "type", "event type", "stage", "sleep stage", "sleepstage", "stages", "stage name", "aasm",
    "hypnogram", "score", "scoring", "label", "stade de sommeil", "schlafstadium", "stadium",
    "fase", "estadio", "value",
)  # fmt: skip
_HEADER_WITHIN = 60
"""Lines above the header of a table; RemLogic writes about 20 with the patient's name and date."""

# PhysioNet's UCDDB: one code per epoch, and a list of events by clock time.
_UCDDB = re.compile(r"ucddb\d{3}_stage\.txt", re.IGNORECASE)
_UCDDB_EVENT = re.compile(r"^(\d\d:\d\d:\d\d)\s+((?:APNEA|HYP)-[OCM])\s+(?:\S+\s+)??(\d+)\s")

# SOMNOmedics Domino: rows below a few lines about the signal, without names of columns.
_DOMINO = re.compile(
    r"(\d{1,2}:\d\d:\d\d(?:[.,]\d+)?)(?:-(\d{1,2}:\d\d:\d\d(?:[.,]\d+)?))?\s*;"
    r"(?:\s*[\d.,]+\s*;)?\s*(?!\d{1,2}:\d\d)([^;]+?)\s*(?:;.*)?"
)


def read_scoring(path: Path, start: datetime | None) -> Scoring:
    """Stages and events of a file, in s from the start of the EEG.

    Args:
        path: EDF(+) with annotations, .xml or .rml, or a text: a table with a header, or one stage
            per epoch from the start of the EEG.
        start: start of the EEG, local time without a zone; clock times count from it, and so do
            the annotations of an EDF file, which has a start of its own. None for the annotations
            of the EEG itself.

    Raises:
        CohortError: the file cannot be read, or holds neither a stage nor an event.
    """
    counted = False
    if path.suffix.lower() in (".edf", ".rec"):
        notes = edf_notes(path, start)
    elif path.suffix.lower() in (".xml", ".rml"):
        notes, counted = xml_notes(path)
    else:
        notes, counted = text_notes(path, start)
    scoring = replace(scoring_of(notes, path), counted=counted)
    if not scoring.stages and not scoring.events:
        problem = "holds no stage and no respiratory event"
        raise CohortError(path, problem, "give another file, or name its columns onset and stage")
    return scoring


def edf_notes(path: Path, start: datetime | None) -> list[Note]:
    """Annotations of an EDF+ file, in s from `start`; from its own start if either is not known.

    Raises:
        CohortError: it is no EDF+ file, or date and clock of one of the two starts were blanked.
    """
    file = read_header(path)
    shift = (file.start - start).total_seconds() if start and file.start else 0.0
    # A clock of 00:00 beside a blank date is no midnight, and the other clock says nothing then.
    blank = [s for s in (start, file.stated) if s and is_blank(s)]
    if len(blank) == 1 and nearest(shift):
        problem = f"starts at {file.start}, the EEG at {start}: one of the two was blanked"
        raise CohortError(path, problem, "write the true start into its header")
    if abs(shift) > LATEST_S:  # one of two dates was blanked: the clock times remain
        shift = nearest(shift)
    # EDF+ writes the channel that an annotation is about behind it: `arousal@@C3`.
    notes = file.annotations()
    return [(onset + shift, length, text.partition("@@")[0]) for onset, length, text in notes]


def text_notes(path: Path, start: datetime) -> tuple[list[Note], bool]:
    """Stages and events of a text, see `read_scoring`; have they numbers in place of times?"""
    every = read_text(path)[0].splitlines()
    lines = [line for line in every if line.strip()]
    # The pattern ends with a blank, and a line may end with the duration.
    matches = [match for line in lines if (match := _UCDDB_EVENT.match(line + " "))]
    if matches:
        onsets = _onsets([match[1] for match in matches], start, path)
        return [(t, float(m[3]), m[2]) for t, m in zip(onsets, matches, strict=True)], False
    if _UCDDB.fullmatch(path.name):
        _refuse_holes(every, path)
        codes = [number(line.strip()) for line in lines]
        return _epochs([stage_name(UCDDB_CODES.get(code, UNSCORED)) for code in codes]), True
    if notes := _domino(lines, start, path):
        return notes, False
    table = _table(lines, path)
    if table is None:
        names = _column(lines, path)
        _refuse_holes(every, path)
        return _epochs(names), True
    columns, rows = table
    counted = not any(name in _ONSET for name in columns)
    return _table_notes(columns, rows, path, start), counted


def _domino(lines: list[str], start: datetime, path: Path) -> list[Note]:
    """Rows `22:00:30,000; N2` and `22:00:40,000-22:00:52,000; 12; Hypopnoe`; else nothing."""
    first = next((k for k, line in enumerate(lines) if _DOMINO.fullmatch(line.strip())), None)
    if first is None or first > _HEADER_WITHIN:
        return []
    rows = [match for line in lines[first:] if (match := _DOMINO.fullmatch(line.strip()))]
    if len(rows) < len(lines) - first:  # some other table that has such a row
        return []
    onsets = _onsets([row[1] for row in rows], start, path)
    ends = iter(_onsets([row[2] for row in rows if row[2]], start, path))
    notes = []
    for onset, row in zip(onsets, rows, strict=True):
        # The end may be after midnight.
        duration = (next(ends) - onset) % DAY_S if row[2] else math.nan
        notes.append((onset, duration, row[3]))
    return notes


def _onsets(cells: list[str], start: datetime, path: Path) -> list[float]:
    """Times of a column in s from the start of the EEG."""
    try:
        onsets = clocks_after(cells, start)
    except ValueError as error:
        fix = "write s from the start of the EEG, or YYYY-MM-DD HH:MM:SS"
        raise CohortError(path, f"has a time that cannot be read ({error})", fix) from None
    # Where clocks were put forward, all epochs after it would come an hour late.
    steps = [b - a for a, b in pairwise(onsets)]
    for k, step in enumerate(steps):
        when = start + timedelta(seconds=onsets[k])
        if abs(step - 3600 - CLIP_S) <= 1 and when.hour < 4 and median(steps) == CLIP_S:
            problem = f"jumps by an hour from {cells[k]} to {cells[k + 1]} (daylight saving time?)"
            raise CohortError(path, problem, "write s from the start of the EEG")
    return onsets


def _epochs(names: list[str]) -> list[Note]:
    return [(float(k * CLIP_S), float(CLIP_S), name) for k, name in enumerate(names)]


def _column(lines: list[str], path: Path) -> list[str]:
    """One stage per line; a first line that is a header is left out."""
    names = [line.strip().strip('"') for line in lines]
    if names and _plain(names[0]) in _NAME:
        del names[0]
    stages = recognise(names, path).stages
    strange = [name for name in names if name not in stages]
    if strange or not names:
        problem = (
            f"is no table, and its line {strange[0][:40]!r} is no stage" if names else "is empty"
        )
        raise CohortError(path, problem, "write one stage per line, or a table with a header")
    return names


def _refuse_holes(lines: list[str], path: Path) -> None:
    """Raise CohortError if single lines of a list are empty: each may be an epoch, or nothing."""
    text = "\n".join(line.strip() for line in lines).rstrip("\n")
    holes = [k for k, line in enumerate(text.split("\n"), 1) if not line]
    # In a file with an empty line behind every line they are none.
    if holes and len(holes) != text.count("\n") / 2:
        problem = f"has an empty line among its stages ({holes[0]}), which may stand for an epoch"
        raise CohortError(path, problem, "write ? for an epoch without a stage")


def _plain(cell: str) -> str:
    """A column's name in lower case without accents, brackets (a unit) and marks.

    >>> _plain("Durée[s]"), _plain("Start_Time (s)")
    ('duree', 'start time')
    """
    text = re.sub(r"[\[(].*?[\])]", " ", without_accents(cell).lower())
    words = re.findall(r"[a-z]+", text)
    return " ".join(word for word in words if word not in ("s", "seconds"))


def _table(lines: list[str], path: Path) -> tuple[list[str], list[list[str]]] | None:
    """Names of the columns and the rows; None for a text of one column."""
    for k, line in enumerate(lines[:_HEADER_WITHIN]):
        for mark in "\t;,":
            names = [_plain(cell) for cell in line.split(mark)]
            timed = any(name in (*_ONSET, *_EPOCH) for name in names)
            if len(names) > 1 and timed and any(name in _NAME for name in names):
                rows = [_cells(line, mark, path) for line in lines[k + 1 :]]
                return names, [row for row in rows if any(row)]
    if any(mark in line for mark in "\t;," for line in lines):
        problem = "has no header with a time (onset, time, epoch) and a name (stage, event)"
        raise CohortError(path, problem, "name its columns onset, duration and stage")
    return None


def _cells(line: str, mark: str, path: Path) -> list[str]:
    try:
        return split_line(line, mark)
    except (csv.Error, ValueError) as error:
        problem = f"has the line {line[:40]!r}, which cannot be split into cells ({error})"
        raise CohortError(path, problem, "close its quotation mark, or remove it") from None


def _table_notes(
    columns: list[str], rows: list[list[str]], path: Path, start: datetime
) -> list[Note]:
    def column(known: tuple[str, ...]) -> int | None:
        return next((columns.index(name) for name in known if name in columns), None)

    def cells(k: int) -> list[str]:
        return [row[k] if k < len(row) else "" for row in rows]

    named = [columns.index(name) for name in _NAME if name in columns]
    # Of several likely columns the one whose cells are stages.
    staged, doubts = {}, []
    for k in named:
        try:
            found = recognise(filter(None, cells(k)), path)
        except CohortError as problem:
            doubts.append(problem)
        else:
            staged |= {k: found} if found.stages else {}
    # Numbers beside a column of names are its codes, or mean something else.
    worded = {k: found for k, found in staged.items() if not found.coding.startswith("numbers,")}
    if doubts and not worded:
        raise doubts[0]
    staged = worded or staged
    name = next(iter(staged), named[0])
    for k, found in staged.items():
        pairs = zip(staged[name].of(cells(name)), found.of(cells(k)), strict=True)
        if any(min(a, b) > UNSCORED and a != b for a, b in pairs):
            problem = f"has two columns with stages that differ: {columns[name]!r}, {columns[k]!r}"
            raise CohortError(path, problem, "keep the one of the scorer that counts")
    if short := [row for row in rows if len(row) <= name]:
        problem = (
            f"has the row {' '.join(short[0])[:40]!r} of {len(short[0])} cells, the header has"
        )
        raise CohortError(path, f"{problem} {len(columns)}", "complete this row, or remove it")
    for k, other in enumerate(columns):
        if other == columns[name] and cells(k) != cells(name):  # such as "stage" and "stage 2"
            problem = f"has two columns {other!r} that differ"
            raise CohortError(path, problem, "keep the one of the scorer that counts")
    onset, length, epoch = column(_ONSET), column(_DURATION), column(_EPOCH)
    onsets = [] if onset is None else _onsets(cells(onset), start, path)
    try:
        if onset is None:
            epochs = [float(cell) for cell in cells(epoch)]
            first = min(epochs)
            onsets = [CLIP_S * (k - first) for k in epochs]
        lengths = [_number(cell) for cell in (cells(length) if length is not None else [])]
    except (ValueError, IndexError) as error:
        problem = f"has a duration or a number of an epoch that cannot be read ({error})"
        raise CohortError(path, problem, "write a number") from None
    if onset is None and first not in (0, 1):  # exports count from 0 or from 1
        problem = f"numbers its epochs from {first:g} on: counted from 1 the first one begins at"
        problem += f" {CLIP_S * (first - 1):g} s, counted from 0 at {CLIP_S * first:g} s"
        raise CohortError(path, problem, "write s from the start of the EEG in a column onset")
    end = column(_END)
    if not lengths and end is not None and onset is not None and all(cells(end)):
        ends = _onsets(cells(end), start, path)
        lengths = [(b - a) % DAY_S for a, b in zip(onsets, ends, strict=True)]
    lengths = lengths or [math.nan if onset is not None else float(CLIP_S)] * len(rows)
    # Where a stage lasts until the next, an empty cell ends it.
    names = [text or ("?" if staged else "") for text in cells(name)]
    notes = list(zip(onsets, lengths, names, strict=True))
    return [note for note in notes if note[2]]


def _number(cell: str) -> float:
    """A duration in s, or as HH:MM:SS; NaN where there is none."""
    if cell.lower() in (*MISSING, "-"):
        return math.nan
    if ":" in cell:
        parts = [float(part) for part in cell.replace(",", ".").split(":")]
        return sum(part * 60**k for k, part in enumerate(reversed(parts)))
    return float(cell.replace(",", "."))
