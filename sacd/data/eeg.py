"""EEG of a night: one channel of an EDF file, in uV and resampled, at the time it was recorded."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from sacd.data.edf import LONGEST_S, NOTES, EdfFile, number_of, read_header
from sacd.data.problems import CohortError

_UNITS: Final = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "nV": 1e-9}


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

    @property
    def pieces(self) -> list[tuple[int, int, float]]:
        """First record, record after the last, and onset in s of stretches without a gap."""
        return self.file.pieces

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

    spans, ratio = covered(raw, rate), _ratio(raw, rate)
    night = np.full(spans[-1][1], np.nan, np.float32)
    for (first, stop, _), (begin, end) in zip(raw.pieces, spans, strict=True):
        x = raw.microvolts(first, stop)
        if ratio != 1:
            # "line" takes off the line between the ends, so that the filter does not ring there.
            x = resample_poly(x, ratio.numerator, ratio.denominator, padtype="line")
        night[begin:end] = x
    return night


def _ratio(raw: Channel, rate: int) -> Fraction:
    # A rate of the header is rounded: the fraction of small terms is the one that is meant.
    return Fraction(rate / raw.rate).limit_denominator(10_000)


def covered(raw: Channel, rate: int) -> list[tuple[int, int]]:
    """First sample at `rate` and sample after the last of every stretch without a gap."""
    found, ratio = [], _ratio(raw, rate)
    for first, stop, onset in raw.pieces:
        begin = round(onset * rate)
        found.append((begin, begin + math.ceil((stop - first) * raw.samples * ratio)))
    return found


def refuse_slow(raw: Channel, rate: int) -> None:
    """Raise CohortError if the channel is sampled below `rate` in Hz; EEG is never upsampled."""
    if raw.rate < rate:
        own = f"{raw.name} is sampled at {raw.rate:g} Hz"
        problem = f"{own}, at least {rate} Hz are needed"
        fix = "give a faster channel, or set `eeg_rate` (EEG_RATE=; AttnSleep takes 100 or 125 Hz)"
        raise CohortError(raw.file.path, problem, fix)
