"""Text files of a cohort: tables and JSON objects, read without a guess.

Every byte is decoded by a rule (a byte-order mark, else UTF-8, else UTF-16 by its zero bytes, else
Windows-1252), the separator is the one by which the header has the columns that are needed, and
every row has as many fields as the header, or the file is refused with the line.
"""

import codecs
import csv
import json
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from sacd.data.problems import CohortError

LARGEST: Final = 64 * 2**20
"""Bytes. The events of a night are below 1 MB."""
LARGEST_JSON: Final = 2**20

MISSING: Final = ("", "n/a", "na", "nan")
"""A cell without a value, in small letters: BIDS writes n/a, R and pandas the others."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_FIX: Final = "save it as text in UTF-8"
_SEPARATORS: Final = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Attributes:
        rows: one column per name of the header, stripped of blanks; index 0..n-1.
        lines: line of every row in the file, counted from 1.
        said: how the file was read where that is not UTF-8 with tabs; empty otherwise.
    """

    rows: pd.DataFrame
    lines: list[int]
    said: str


def read_text(path: Path, largest: int = LARGEST, add: str = "add it") -> tuple[str, str]:
    """The text of a file, and its encoding if that is not UTF-8.

    Args:
        add: what the user should do if there is no such file.

    Raises:
        CohortError: it cannot be read, is too large, or is no text.
    """
    try:
        size = path.stat().st_size
        if size > largest:
            problem = f"has {size / 1e6:.3g} MB, limit {largest / 1e6:.3g} MB"
            raise CohortError(path, problem, "give the file of one night alone")
        data = path.read_bytes()
    except FileNotFoundError:
        raise CohortError(path, "is missing", add) from None
    except OSError as error:
        raise CohortError(path, f"cannot be read ({error.strerror})", _FIX) from None
    text, encoding = _decoded(path, data)
    text = text.removesuffix("\x1a")  # DOS ends a text with it, as in UCDDB
    # A binary file that happens to decode has some of these.
    control = _CONTROL.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        problem = f"line {line}: has the control character {control[0]!r}, so it is no text"
        raise CohortError(path, problem, _FIX)
    return text, encoding


def _decoded(path: Path, data: bytes) -> tuple[str, str]:
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(codec), name
            except UnicodeDecodeError as error:
                problem = f"is no {name or 'UTF-8'} from byte {error.start} on, as its start says"
                raise CohortError(path, problem, _FIX) from None
    half = len(data) // 2
    for codec, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        # ASCII in UTF-16 has a zero in every second byte.
        if half and zeros.count(0) > 0.8 * half and len(data) % 2 == 0:
            try:
                return data.decode(codec), "UTF-16"
            except UnicodeDecodeError:
                break
    # Text in another encoding is hardly ever valid UTF-8, so it is tried first.
    for codec, name in (("utf-8", ""), ("cp1252", "Windows-1252 (Latin-1)")):
        with suppress(UnicodeDecodeError):
            return data.decode(codec), name
    return data.decode("latin-1"), "Latin-1"  # five bytes have no meaning in Windows-1252


def read_table(path: Path, columns: tuple[str, ...]) -> TextTable:
    """A table with a header; the names of columns may differ in case.

    Empty lines are no rows. Fields may stand in double quotes. Empty fields behind the last column
    are dropped.

    Raises:
        CohortError: the file is missing, has no row, lacks a column, or a row has another number of
            fields than the header; the message names the line.
    """
    add = f"write it, tab-separated, with the columns {' '.join(columns)}"
    text, encoding = read_text(path, add=add)
    lines = numbered_lines(text)
    # What some programs write above a table: remarks, and Excel's separator.
    while lines and re.match(r"\ufeff?\s*(#|sep=.\s*$)", lines[0][1], re.IGNORECASE):
        del lines[0]
    if not lines:
        fix = f"write a header with {' '.join(columns)}, tab-separated, and one row each"
        raise CohortError(path, "is empty", fix)
    separator, header = _header(path, *lines[0], columns)
    rows = rows_below(path, header, lines[1:], separator)
    if not rows:
        raise CohortError(path, "has a header and no row", "write one row per line below it")
    said = [encoding] if encoding else []
    if separator != "\t":
        said.append(f"separated by {_SEPARATORS[separator]}")
    table = pd.DataFrame(rows, columns=header, dtype=str)
    return TextTable(table, [number for number, _ in lines[1:]], ", ".join(said))


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Lines that hold more than blanks and separators, each with its number from 1.

    They end as in Windows, Unix or old Macs; `str.splitlines` would also split at form feeds.
    """
    lines = enumerate(re.split(r"\r\n|\n|\r", text), 1)
    return [(k, line) for k, line in lines if line.strip(" \t;,|\u00a0\ufeff")]


def rows_below(
    path: Path, header: list[str], lines: list[tuple[int, str]], separator: str
) -> list[list[str]]:
    """Fields of every line of a table, as many as the header has.

    Raises:
        CohortError: a line has more or fewer; it would shift values into other columns.
    """
    rows = []
    for number, line in lines:
        fields = split_fields(path, number, line, separator)
        # Excel and MATLAB end rows with separators that the header does not have.
        while len(fields) > len(header) and not fields[-1]:
            fields.pop()
        if len(fields) != len(header):
            problem = f"line {number}: has {len(fields)} fields, the header has {len(header)}"
            raise CohortError(path, problem, "correct this line, or write n/a where a value lacks")
        rows.append(fields)
    return rows


def _header(path: Path, number: int, line: str, columns: tuple[str, ...]) -> tuple[str, list[str]]:
    """The separator by which the header has all columns, and its names."""
    best: list[str] = []
    for separator in _SEPARATORS:
        if separator not in line and len(columns) > 1:
            continue
        names = split_fields(path, number, line.lstrip("\ufeff"), separator)
        while names and not names[-1]:
            names.pop()
        lower = {name.lower(): name for name in columns}
        names = [lower.get(name.lower(), name) for name in names]
        if set(columns) <= set(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                problem = f"line {number}: has the column {twice[0]!r} twice"
                raise CohortError(path, problem, "keep one, or rename the other")
            return separator, names
        if len(set(columns) & set(names)) > len(set(columns) & set(best)) or not best:
            best = names
    best = best or [line.strip()]
    if (
        len(columns) > 1
        and not set(_SEPARATORS) & set(line)
        and set(columns) <= set(line.lower().split())
    ):
        raise CohortError(path, f"line {number}: its columns are not separated by tabs", "use tabs")
    missing = ", ".join(c for c in columns if c not in best)
    found = " ".join(best)
    found = found if len(found) <= 200 else f"{found[:200]}..."
    raise CohortError(
        path, f"lacks the column {missing} (it has: {found})", "add it, tab-separated"
    )


def split_fields(path: Path, number: int, line: str, separator: str) -> list[str]:
    """Fields of a numbered line, see `split_line`.

    Raises:
        CohortError: a quotation mark is not closed.
    """
    try:
        return split_line(line, separator)
    except (csv.Error, ValueError) as error:
        problem = f"line {number}: cannot be split into fields ({error})"
        raise CohortError(path, problem, "close its quotation mark, or remove it") from None


def split_line(line: str, separator: str) -> list[str]:
    """Fields of a line, some in double quotes, without the blanks around them.

    Raises:
        csv.Error, ValueError: a quotation mark is not closed, or the line holds several rows.
    """
    [fields] = csv.reader([line], delimiter=separator, strict=True, skipinitialspace=True)
    return [field.strip() for field in fields]


def read_object(path: Path, fix: str) -> dict[str, Any]:
    """A JSON object from a file that must exist.

    Args:
        fix: what the user should do, the end of the error message.

    Raises:
        CohortError: the file is missing, cannot be read, does not hold a JSON object, or a key of
            it stands twice.
    """
    try:
        text, _ = read_text(path, LARGEST_JSON)
    except CohortError as error:
        raise CohortError(path, error.problem, fix) from None

    # `json` would keep the last of two equal keys without a word.
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise CohortError(path, f"has the key {key!r} twice", "keep one")
            found[key] = value
        return found

    try:
        value = json.loads(text, object_pairs_hook=once)
    except CohortError:
        raise
    except RecursionError:
        raise CohortError(path, "is nested too deeply", fix) from None
    except ValueError as error:
        at = f": {error.msg} in line {error.lineno}" if hasattr(error, "lineno") else ""
        raise CohortError(path, f"is not a JSON object{at}", fix) from None
    if not isinstance(value, dict):
        raise CohortError(path, "is not a JSON object", fix)
    return value


def without_accents(text: str) -> str:
    """Letters without their accents, so that `apnée` and `apnee` can be compared.

    >>> without_accents("Durée")
    'Duree'
    """
    # NFKD writes an accented letter as the letter and a combining mark.
    parts = unicodedata.normalize("NFKD", text)
    return "".join(c for c in parts if not unicodedata.combining(c))


def split_camel_case(text: str) -> str:
    """Words that are joined by capitals, apart.

    >>> split_camel_case("ObstructiveApnea"), split_camel_case("NonREM1")
    ('Obstructive Apnea', 'Non REM1')
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)


def number(text: str) -> float | None:
    """The number; NaN for `n/a` and an empty text, None for anything that is not a number.

    >>> number("30.5"), number("n/a"), number("1_000"), number("12,5")
    (30.5, nan, None, None)
    """
    if text.lower() in MISSING:
        return float("nan")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text, re.ASCII):
        return None
    return float(text)
