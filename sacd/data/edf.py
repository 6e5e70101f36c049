"""EDF and EDF+ files: header, samples of one channel, and when each data record was recorded.

Formats: Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7 (EDF) and Kemp & Olivan 2003,
doi:10.1016/S1388-2457(03)00123-8 (EDF+). A file is 256 * (channels + 1) bytes of header and then
records, each with the samples (int16) of all channels in turn. In EDF+ a channel of text says at
what time each record begins: a recorder that was paused (EDF+D) leaves a gap between two records
that lie side by side in the file. Text that no result depends on (patient, notes, filters) is not
read, so that nothing in it can stop a recording from being used.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from sacd.data.problems import CohortError

JITTER_S: Final = 0.5
"""Records that begin by no more than this before or after the end of the ones before them lie side
by side: onsets are rounded, or taken from a clock of their own."""
_DRIFT: Final = 0.05
"""Two clocks differ by less; records that follow each other faster contradict themselves."""

LONGEST_S: Final = 100 * 3600.0
"""A recording or an event of it that ends later has a wrong time, or is more than a night."""

NOTES: Final = "EDF Annotations"
"""Label of a channel of text."""

PATIENT, RECORDING, DATE, TIME = slice(8, 88), slice(88, 168), slice(168, 176), slice(176, 184)
"""Bytes of the header that say who was recorded, and when."""

_KEPT_TIME: Final = rb"\0([+-]\d+(?:\.\d*)?)\x14\x14"
"""An annotation without a text says when its record begins."""
_FIX: Final = "export the recording as EDF or EDF+ again"
_FIELDS: Final = (
    ("label", 16), ("", 80), ("unit", 8), ("low", 8), ("high", 8), ("dlow", 8), ("dhigh", 8),
    ("", 80), ("samples", 8), ("", 32),
)  # fmt: skip
"""Fields of a channel in the header: name and width in bytes; those without a name are not read."""


@dataclass(frozen=True)
class EdfFile:
    """Header of a file.

    Attributes:
        kind: `EDF`, `EDF+C` or `EDF+D` (recorded with gaps).
        stated: date and time of the start in the header, None if there is none.
        names: one per channel, annotations included; equal labels get `-0`, `-1`, ...
        samples: per record and channel.
        fields: the header's text per channel: unit, low, high, dlow, dhigh.
        record_s: duration of a record in s.
        records: whole records in the file.
        promised: records that the header states; -1 if the recorder was not stopped properly.
        offset: of the first record in bytes.
    """

    path: Path
    kind: str
    stated: datetime | None
    names: tuple[str, ...]
    labels: tuple[str, ...]
    samples: tuple[int, ...]
    fields: tuple[dict[str, str], ...]
    record_s: float
    records: int
    promised: int
    offset: int

    @property
    def start(self) -> datetime | None:
        """Date and time of the first record; None if the header states none.

        Raises:
            CohortError: the first record begins elsewhere, as in a part of a longer file.
        """
        if self.stated and not 0 <= self.first_s < 1:  # EDF+ allows fractions of a second
            both = f"{self.stated}, and its first record {self.first_s:g} s from there"
            fix = "give eeg_start, or write the start of the first record into its header"
            raise CohortError(self.path, f"starts at {both}: one of the two is wrong", fix)
        return self.stated

    @cached_property
    def first_s(self) -> float:
        """When the first record begins by its time-keeping annotation, in s; 0 without one."""
        first = self.notes(1)
        found = re.search(_KEPT_TIME, b"\0" + first[0][0]) if first and first[0] else None
        return float(found[1]) if found else 0.0

    def stored(self, channel: int) -> np.ndarray:
        """`(records, samples)` int16, mapped from the file."""
        if not self.records:  # an empty file cannot be mapped
            return np.zeros((0, self.samples[channel]), "<i2")
        shape = (self.records, sum(self.samples))
        return np.memmap(self.path, "<i2", "r", self.offset, shape)[:, self.place(channel)]

    def place(self, channel: int) -> slice:
        """Where a channel's samples lie within a record, in samples (int16)."""
        first = sum(self.samples[:channel])
        return slice(first, first + self.samples[channel])

    def notes(self, records: int | None = None) -> list[list[bytes]]:
        """Per annotation channel the bytes of every record, or of the first ones."""
        found = [k for k, label in enumerate(self.labels) if label == NOTES]
        return [[row.tobytes() for row in self.stored(k)[:records]] for k in found]

    @cached_property
    def pieces(self) -> list[tuple[int, int, float]]:
        """First record, record after the last, and onset in s of stretches without a gap.

        A new one begins where the samples would be `JITTER_S` from the time that the file states:
        after a gap, or because two clocks have drifted apart.

        Raises:
            CohortError: a record of an EDF+D file has no onset, or begins long before the one
                before it ends.
        """
        onsets = self.onsets()
        found, first = [], 0
        for k in range(1, 0 if onsets is None else self.records):
            # Against the start of the stretch: what single records are late does not add up.
            lasted = (k - first) * self.record_s
            late = onsets[k] - onsets[first] - lasted
            if late < -JITTER_S and not -late <= min(2 * JITTER_S, _DRIFT * lasted):
                if self.kind != "EDF+D":
                    return [(0, self.records, 0.0)]  # contiguous by definition
                problem = (
                    f"record {k + 1} begins at {onsets[k]:g} s, within the one before"
                    f" ({onsets[k - 1]:g} to {onsets[k - 1] + self.record_s:g} s)"
                )
                raise CohortError(self.path, problem, _FIX)
            if abs(late) > JITTER_S:
                found.append((first, k, float(onsets[first])))
                first = k
        return [*found, (first, self.records, 0.0 if onsets is None else float(onsets[first]))]

    def onsets(self) -> np.ndarray | None:
        """Start of every record in s after that of the first; None if the file does not say it.

        Raises:
            CohortError: a record of an EDF+D file has no onset.
        """
        channels = self.notes()
        if not channels and self.kind == "EDF+D":
            problem = f"is EDF+D but has no channel {NOTES!r} that says when records begin"
            raise CohortError(self.path, problem, _FIX)
        if not channels or not self.records:
            return None
        onsets = np.empty(self.records)
        for k, text in enumerate(channels[0]):
            found = re.search(_KEPT_TIME, b"\0" + text)
            if found is None and self.kind != "EDF+D":
                return None  # contiguous by definition
            if found is None:
                problem = f"record {k + 1} of {self.records} does not say when it begins (EDF+D)"
                raise CohortError(self.path, problem, _FIX)
            onsets[k] = float(found[1])
        return onsets - onsets[0]

    def annotations(self) -> Iterator[tuple[float, float, str]]:
        """Onset in s from the start of the first record, duration in s (0 if none), text."""
        for record in (text for channel in self.notes() for text in channel):
            for tal in record.split(b"\0"):
                found = re.fullmatch(
                    rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14(.*)\x14", tal, re.DOTALL
                )
                if found is None:
                    if tal.strip(b" "):
                        problem = f"has an annotation that is none: {tal[:40]!r}"
                        raise CohortError(self.path, problem, _FIX)
                    continue
                for text in found[3].split(b"\x14"):
                    if text:
                        onset = float(found[1]) - self.first_s
                        yield onset, float(found[2] or 0), _text(text)


def read_header(path: Path) -> EdfFile:
    """The header of an EDF file.

    Raises:
        CohortError: it is no EDF file.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            fixed = file.read(256)
            if fixed[1:8] == b"BIOSEMI":  # the same header before samples of 24 bits
                raise ValueError("it is BDF")
            if fixed[:8].strip(b" \0") != b"0" or len(fixed) < 256:
                raise ValueError("its first 256 bytes are no header")
            channels = _whole(fixed[252:256], "number of channels")
            if not 0 < channels <= 4096:
                raise ValueError(f"it states {channels} channels")
            table = file.read(256 * channels)
        if len(table) < 256 * channels:
            raise ValueError(f"it ends in the header of its {channels} channels")
        fields = _fields(table, channels)
        samples = tuple(_whole(f["samples"].encode(), "number of samples") for f in fields)
        if min(samples) < 0 or sum(samples) == 0:
            raise ValueError("it states no samples per record")
        stated, offset = _whole(fixed[184:192], "length of the header"), 256 * (channels + 1)
        record_s = _number(fixed[244:252].decode("latin-1"), "length of a record")
        promised = _whole(fixed[236:244], "number of records")
        # The length follows from the channels. Another one would shift all samples, and is believed
        # only where the size of the file bears it out.
        if stated > offset and size == stated + 2 * sum(samples) * promised:
            offset = stated
    except OSError as error:
        raise CohortError(path, f"cannot be read ({error.strerror})", _FIX) from None
    except ValueError as error:
        raise CohortError(path, f"cannot be read as EDF ({error})", _FIX) from None
    labels = tuple(f["label"] for f in fields)
    reserved = fixed[192:236].decode("latin-1").strip(" \0").upper()
    return EdfFile(
        path=path,
        kind=reserved[:5] if reserved.startswith(("EDF+C", "EDF+D")) else "EDF",
        stated=_start(fixed),
        names=_distinct(labels),
        labels=labels,
        samples=samples,
        fields=tuple(fields),
        record_s=record_s,
        # The size of the file is believed: what the header promises is -1 or wrong after a crash.
        records=max(size - offset, 0) // (2 * sum(samples)),
        promised=promised,
        offset=offset,
    )


def _fields(table: bytes, channels: int) -> list[dict[str, str]]:
    """Text of every channel's fields; a field of all channels lies in one piece."""
    rows: list[dict[str, str]] = [{} for _ in range(channels)]
    at = 0
    for name, width in _FIELDS:
        for row in rows:
            if name:
                row[name] = table[at : at + width].decode("latin-1").strip(" \0")
            at += width
    return rows


def _distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels with -0, -1, ... at those that are equal."""
    counts, seen, names = Counter(labels), Counter(), []
    for label in labels:
        names.append(f"{label}-{seen[label]}" if counts[label] > 1 else label)
        seen[label] += 1
    return tuple(names)


def _whole(text: bytes, what: str) -> int:
    plain = text.decode("latin-1").strip(" \0")
    if not re.fullmatch(r"[+-]?\d+", plain, re.ASCII):
        raise ValueError(f"its {what} is {plain!r}")
    return int(plain)


def _number(text: str, what: str) -> float:
    """A number of the header; a few recorders write a comma for the point."""
    plain = text.strip(" \0").replace(",", ".")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", plain, re.ASCII):
        raise ValueError(f"its {what} is {plain!r}")
    return float(plain)


def number_of(file: EdfFile, channel: int, field: str) -> float:
    """A number of a channel's header.

    Raises:
        CohortError: it is none.
    """
    try:
        return _number(file.fields[channel][field], f"field {field!r} of {file.names[channel]}")
    except ValueError as error:
        raise CohortError(file.path, f"cannot be read as EDF ({error})", _FIX) from None


def _start(fixed: bytes) -> datetime | None:
    """Date and time of the start: the date of EDF+ if there is one, else the two-digit year."""
    three_numbers = r"(\d\d)\D(\d\d)\D(\d\d)"
    day = re.fullmatch(three_numbers, fixed[DATE].decode("latin-1"))
    time = re.fullmatch(three_numbers, fixed[TIME].decode("latin-1"))
    plus = re.match(r"Startdate (\d\d-[A-Z]{3}-\d{4})", fixed[RECORDING].decode("latin-1"))
    try:
        hours, minutes, seconds = map(int, time.groups())
        if plus:
            date = datetime.strptime(plus[1].title(), "%d-%b-%Y")
        else:
            dd, mm, yy = map(int, day.groups())
            # EDF's years of two digits are those from 1985 to 2084.
            date = datetime(yy + (1900 if yy >= 85 else 2000), mm, dd)
        return date.replace(hour=hours, minute=minutes, second=seconds)
    except (AttributeError, ValueError):  # anonymised, or not a date
        return None


def _text(raw: bytes) -> str:
    """Text of an annotation: EDF+ prescribes UTF-8, and recorders write Latin-1 as well."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
