"""EEG of a night: one channel of an EDF file, in uV and resampled."""

import re
from fractions import Fraction
from pathlib import Path

import mne
import numpy as np

from sacd.data.cohort import CohortError, first_line


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
    raise CohortError(file, problem, f"set `channel` to one of: {', '.join(names)}")


def _words(name: str) -> list[str]:
    words = re.findall(r"\w+", name.lower().replace("_", " "))
    return words[1:] if words[:1] == ["eeg"] and len(words) > 1 else words


def open_channel(path: Path, channel: str) -> "mne.io.BaseRaw":
    """One channel of an EDF file at its own sampling rate; the samples are not loaded.

    Raises:
        CohortError: not an EDF file, no data, or no such channel.
    """
    fix = "export the recording as EDF or EDF+C again"
    try:
        names = mne.io.read_raw_edf(path, verbose="error").ch_names
        picked = pick_channel(channel, names, path)
        # Alone: MNE resamples all channels of a file to the highest rate among them.
        raw = mne.io.read_raw_edf(path, include=[picked], verbose="error")
    except CohortError:
        raise
    except Exception as error:  # MNE's readers raise exceptions of any type
        raise CohortError(path, f"cannot be read as EDF ({first_line(error)})", fix) from None
    if raw.n_times == 0:
        raise CohortError(path, "holds no samples", fix)
    return raw


def read_eeg(raw: "mne.io.BaseRaw", path: Path, rate: int) -> np.ndarray:
    """A whole night of one channel, resampled by a zero-phase polyphase filter.

    The low-pass of the resampling is the only filter.

    Args:
        raw: from `open_channel`.
        path: its file, for error messages.
        rate: of the result, in Hz.

    Returns:
        `(n,)` float32 in uV; sample k is k / rate s after the start of the recording.

    Raises:
        CohortError: the channel is sampled below `rate`.
    """
    # Slow to import, and a store that is up to date does not need it.
    from scipy.signal import resample_poly

    refuse_slow(raw, path, rate)
    x = raw.get_data(units="uV")[0]
    ratio = Fraction(rate / raw.info["sfreq"]).limit_denominator(10_000)
    if ratio != 1:
        x = resample_poly(x, ratio.numerator, ratio.denominator, padtype="line")
    return x.astype(np.float32)


def refuse_slow(raw: "mne.io.BaseRaw", path: Path, rate: int) -> None:
    """Raise CohortError if the channel is sampled below `rate` in Hz; EEG is never upsampled."""
    if raw.info["sfreq"] < rate:
        own = f"{raw.ch_names[0]} is sampled at {raw.info['sfreq']:g} Hz"
        problem = f"{own}, at least {rate} Hz are needed"
        raise CohortError(path, problem, "give a faster channel or a lower `eeg_rate`")
