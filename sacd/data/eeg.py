"""EEG of a night: one channel of an EDF file, in uV and resampled, at the time it was recorded."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from sacd.data.edf import JITTER_S, LONGEST_S, NOTES, EdfFile, number_of, read_header
from sacd.data.problems import CohortError
from sacd.stages import CLIP_S

_UNITS: Final = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "nV": 1e-9}

FLAT_UV: Final = 0.5
"""A second whose standard deviation is below this is flat: no electrode on a head is so quiet."""
RAILED: Final = 0.25
"""A second with a larger share of its samples at an extreme of the night is railed."""
_MAINS_HZ: Final = (50, 60)
_HUM, _HUM_UV = 0.05, 3.0
"""A second is flat too if all but so much of its standard deviation is hum: an electrode is off.
What is left must be below the uV, as loud hum may lie over EEG."""
EEG_REASONS: Final = ("eeg", "gap", "flat", "railed")
"""Why the EEG of a clip cannot be used: beyond its end, a pause of the recorder, ..."""
BAD_S: Final = 3
"""Flat or railed seconds from which on a clip is dropped: a tenth of it."""


@dataclass(frozen=True)
class Channel:
    """One channel of an EDF file; the samples are not loaded.

    Attributes:
        name: as in the file, equal names numbered.
        rate: of the samples, in Hz.
    """

    file: EdfFile
    index: int
    name: str
    rate: float

    @property
    def samples(self) -> int:
        """Samples of a record."""
        return self.file.samples[self.index]

    @cached_property
    def pieces(self) -> list[tuple[int, int, float]]:
        """First record, record after the last, and onset in s of stretches without a gap."""
        file, onsets = self.file, self.file.onsets()
        if onsets is None:
            return [(0, file.records, 0.0)]
        found, first = [], 0
        for k in range(1, file.records):
            # Against the start of the stretch: roundings of single onsets do not add up.
            expected = onsets[first] + (k - first) * file.record_s
            if abs(onsets[k] - expected) > JITTER_S:
                found.append((first, k, float(onsets[first])))
                first = k
        return [*found, (first, file.records, float(onsets[first]))]

    @property
    def end_s(self) -> float:
        """End of the recording in s from its start, gaps included."""
        first, stop, onset = self.pieces[-1]
        return onset + (stop - first) * self.samples / self.rate

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """Start and end in s of every pause of the recorder."""
        found, end = [], 0.0
        for first, stop, onset in self.pieces:
            if onset > end:
                found.append((end, onset))
            end = onset + (stop - first) * self.file.record_s
        return found

    def microvolts(self, first: int, stop: int) -> np.ndarray:
        """float64 `(n,)` in uV of some records, from `first` to the one before `stop`.

        Raises:
            CohortError: the header states no range, or no unit of voltage.
        """
        file, k = self.file, self.index
        stated = file.fields[k]["unit"]
        # The micro sign in Latin-1, Greek, Shift-JIS and UTF-8; `MV` may be mega or milli.
        unit = re.sub(r"^(\xb5|\u03bc|\x83\xca|\xc2\xb5|\xce\xbc|micro|U)", "u", stated)
        unit = re.sub(r"v(olts?)?$", "V", unit, flags=re.IGNORECASE)
        if unit not in _UNITS:
            problem = f"{self.name} states the unit {stated!r}, EEG has uV, mV or V"
            raise CohortError(file.path, problem, "correct the unit in the EDF header")
        low, high = number_of(file, k, "low"), number_of(file, k, "high")
        dlow, dhigh = number_of(file, k, "dlow"), number_of(file, k, "dhigh")
        if low == high or dlow == dhigh:
            problem = f"{self.name} states the range {low:g} to {high:g} {unit}, {dlow:g} to"
            fix = "correct the physical and digital minimum and maximum in the EDF header"
            raise CohortError(file.path, f"{problem} {dhigh:g} in digits", fix)
        scale = (high - low) / (dhigh - dlow)
        # The order of operations of MNE, whose bits stores were made with.
        x = file.stored(k)[first:stop].ravel() * np.float64(scale)
        x += low - dlow * scale
        x *= _UNITS[unit]
        x *= 1e6
        return x


def pick_channel(channel: str, names: list[str], file: Path | str = "EDF") -> str:
    """Name of the channel: an exact match, else a match but for case, else a match of the prefix.

    A leading `EEG` is ignored, as are separators.

    >>> pick_channel("C3", ["EOG", "EEG C3-M2", "EEG C4-M1"])
    'EEG C3-M2'
    >>> pick_channel("c3:a2", ["C3-A2", "C3"])
    'C3-A2'

    Raises:
        CohortError: no channel matches, or several do; the message lists all channels.
    """
    if channel in names:
        return channel
    asked = _words(channel)
    equal = [n for n in names if _words(n) == asked]
    found = equal or [n for n in names if asked and _words(n)[: len(asked)] == asked]
    if len(found) == 1:
        return found[0]
    problem = (
        f"channel {channel!r} fits {', '.join(found)}" if found else f"has no channel {channel!r}"
    )
    raise CohortError(file, problem, f"set `channel` (CHANNEL=) to one of: {', '.join(names)}")


def _words(name: str) -> list[str]:
    words = re.findall(r"\w+", name.lower().replace("_", " "))
    return words[1:] if words[:1] == ["eeg"] and len(words) > 1 else words


def open_channel(path: Path, channel: str) -> Channel:
    """One channel of an EDF file at its own sampling rate; the samples are not loaded.

    Raises:
        CohortError: not an EDF file, no data, no such channel, or records whose times contradict
            each other.
    """
    file = read_header(path)
    names = [n for n, label in zip(file.names, file.labels, strict=True) if label != NOTES]
    fix = "export the recording as EDF or EDF+ again"
    if not names:
        raise CohortError(path, "holds annotations and no signal", fix)
    picked = pick_channel(channel, names, path)
    index = file.names.index(picked)
    if file.records == 0 or file.samples[index] == 0:
        raise CohortError(path, "holds no samples", fix)
    if file.record_s <= 0:
        problem = f"states that a record lasts {file.record_s:g} s, so its sampling rate is unknown"
        raise CohortError(path, problem, fix)
    found = Channel(file, index, picked, file.samples[index] / file.record_s)
    if not found.end_s <= LONGEST_S:
        problem = f"ends {found.end_s / 3600:.0f} h after its start, limit {LONGEST_S / 3600:.0f} h"
        raise CohortError(path, problem, "export one night per file, with correct times")
    return found


def read_eeg(raw: Channel, rate: int) -> np.ndarray:
    """A whole night of one channel, resampled by a zero-phase polyphase filter.

    The low-pass of the resampling is the only filter.

    Args:
        raw: from `open_channel`.
        rate: of the result, in Hz.

    Returns:
        `(n,)` float32 in uV; sample k is k / rate s after the start of the recording. It is NaN
        where the recorder paused.

    Raises:
        CohortError: the channel is sampled below `rate`, or states no range or unit.
    """
    refuse_slow(raw, rate)
    # Slow to import, and a store that is up to date does not need it.
    from scipy.signal import resample_poly

    covered, ratio = _covered(raw, rate), _ratio(raw, rate)
    night = np.full(covered[-1][1], np.nan, np.float32)
    for (first, stop, _), (begin, end) in zip(raw.pieces, covered, strict=True):
        x = raw.microvolts(first, stop)
        if ratio != 1:
            # "line" takes off the line between the ends, so that the filter does not ring there.
            x = resample_poly(x, ratio.numerator, ratio.denominator, padtype="line")
        night[begin:end] = x
    return night


def _ratio(raw: Channel, rate: int) -> Fraction:
    # A rate of the header is rounded: the fraction of small terms is the one that is meant.
    return Fraction(rate / raw.rate).limit_denominator(10_000)


def _covered(raw: Channel, rate: int) -> list[tuple[int, int]]:
    """First sample at `rate` and sample after the last of every stretch without a gap."""
    found, ratio = [], _ratio(raw, rate)
    for first, stop, onset in raw.pieces:
        begin = round(onset * rate)
        found.append((begin, begin + math.ceil((stop - first) * raw.samples * ratio)))
    return found


def bad_seconds(raw: Channel) -> tuple[np.ndarray, np.ndarray]:
    """Which seconds of a night are flat, and which are railed: two `(ceil(end_s),)` bool.

    A second is flat if it varies by less than `FLAT_UV`, but for hum of the mains.
    A second is railed if more than `RAILED` of its samples have the lowest or the highest value of
    the night. Both are judged on the samples of the file: resampling smears them.
    """
    n = int(np.ceil(raw.end_s - 1e-6))
    flat, railed = np.zeros(n, bool), np.zeros(n, bool)
    digits = raw.file.stored(raw.index)
    # The ends of the night, not of int16: amplifiers saturate before the converter does.
    ends = digits.min(), digits.max()
    for first, stop, onset in raw.pieces:
        x = raw.microvolts(first, stop)
        # The variance below is a difference of squares: an offset would cancel all its digits.
        x -= x.mean()
        at_end = np.isin(digits[first:stop].ravel(), ends)
        quiet = _without_hum(x, raw.rate)
        seconds = np.arange(int(np.ceil(onset - 1e-6)), int(onset + len(x) / raw.rate + 1e-6))
        edges = np.round((np.append(seconds, seconds[-1:] + 1) - onset) * raw.rate).astype(int)
        sizes = np.diff(edges)
        if not sizes.size or sizes.min() < 2:
            continue  # shorter than a second, or a channel of 1 Hz, which is no EEG
        # Means over every second, in one pass over the night.
        sums, squares, hits, *rest = (
            np.add.reduceat(part[: edges[-1]], edges[:-1]) / sizes
            for part in (x, x * x, at_end * 1.0, *(y for q in quiet for y in (q, q * q)))
        )
        power = squares - sums**2
        flat[seconds] = power < FLAT_UV**2
        for mean, square in zip(rest[::2], rest[1::2], strict=True):
            flat[seconds] |= square - mean**2 < np.clip(_HUM**2 * power, FLAT_UV**2, _HUM_UV**2)
        railed[seconds] = hits > RAILED
    return flat, railed & ~flat


def _without_hum(x: np.ndarray, rate: float) -> Iterator[np.ndarray]:
    """Samples without the sine of each frequency of the mains: x[n - 1] + x[n + 1] = 2 cos(w) x[n]
    for a sine of w = 2 pi f / rate, whatever its phase."""
    for hum in _MAINS_HZ:
        if 2 * hum < rate:
            turn = 2 * math.cos(2 * math.pi * hum / rate)
            rest = np.zeros_like(x)
            rest[1:-1] = (x[:-2] + x[2:] - turn * x[1:-1]) / (2 - turn)  # slow waves stay
            yield rest


def clip_losses(raw: Channel, rate: int, onsets: np.ndarray) -> np.ndarray:
    """Why the EEG of each clip cannot be used: "" where it can.

    Args:
        rate: of the EEG wanted, in Hz.
        onsets: of the clips, in s.

    Returns:
        `(n,)` str: one of `EEG_REASONS`; `flat` or `railed` for `BAD_S` s or more.
    """
    flat, railed = bad_seconds(raw)
    covered = _covered(raw, rate)
    holes = [(a, b) for (_, a), (b, _) in pairwise(covered) if b > a]
    # Rounded as ingest rounds them, so that both mean the same samples.
    starts = (np.asarray(onsets, float) * rate).round().astype(int)
    reasons = np.full(len(starts), "", dtype="<U6")
    for k, start in enumerate(starts):
        stop = start + CLIP_S * rate
        # Seconds that lie wholly within the clip.
        whole = slice(-(-start // rate), stop // rate)
        if stop > covered[-1][1]:
            reasons[k] = "eeg"
        elif any(start < b and stop > a for a, b in holes):
            reasons[k] = "gap"
        elif flat[whole].sum() >= BAD_S:
            reasons[k] = "flat"
        elif (flat | railed)[whole].sum() >= BAD_S:
            reasons[k] = "railed"
    return reasons


def refuse_slow(raw: Channel, rate: int) -> None:
    """Raise CohortError if the channel is sampled below `rate` in Hz; EEG is never upsampled."""
    if raw.rate < rate:
        own = f"{raw.name} is sampled at {raw.rate:g} Hz"
        problem = f"{own}, at least {rate} Hz are needed"
        fix = "give a faster channel, or set `eeg_rate` (EEG_RATE=; AttnSleep takes 100 or 125 Hz)"
        raise CohortError(raw.file.path, problem, fix)
