"""EEG of a night: one channel of an EDF file, in uV at the wanted rate."""

import re
from fractions import Fraction
from pathlib import Path

import mne
import numpy as np

from sacd.data.cohort import CohortError


def pick_channel(channel: str, names: list[str], file: Path | str = "EDF") -> str:
    """The channel meant: its exact name, else one that differs in case only, else the one that begins like it.

    A leading `EEG` is skipped and separators do not matter; several or none are refused with the
    list of all.

    >>> pick_channel("C3", ["EOG", "EEG C3-M2", "EEG C4-M1"]), pick_channel("c3:a2", ["C3-A2", "C3"])
    ('EEG C3-M2', 'C3-A2')
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
    """One channel of an EDF file, not yet read, at its own rate (a file's channels may differ in theirs).

    Raises:
        CohortError: not an EDF file, no data, or no such channel.
    """
    fix = "export the recording as EDF or EDF+C again"
    try:
        names = mne.io.read_raw_edf(path, verbose="error").ch_names
        raw = mne.io.read_raw_edf(
            path, include=[pick_channel(channel, names, path)], verbose="error"
        )
    except CohortError:
        raise
    except Exception as error:  # MNE raises whatever its parser stumbles over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CohortError(path, f"cannot be read as EDF ({reason})", fix) from None
    if raw.n_times == 0:
        raise CohortError(path, "holds no samples", fix)
    return raw


def read_eeg(raw: "mne.io.BaseRaw", path: Path, rate: int) -> np.ndarray:
    """The whole night of one channel: `(n,)` float32 in uV, sample k at k / rate s from the start of the recording.

    Resampled by a polyphase filter (zero phase; its low-pass is the only filter).

    Args:
        raw: of `open_channel`.
        path: its file, for messages.
        rate: wanted, in Hz.

    Raises:
        CohortError: sampled below `rate`.
    """
    from scipy.signal import (
        resample_poly,
    )  # slow to import, and a store that is up to date does not need it

    refuse_slow(raw, path, rate)
    x = raw.get_data(units="uV")[0]
    ratio = Fraction(rate / raw.info["sfreq"]).limit_denominator(10_000)
    if ratio != 1:
        x = resample_poly(x, ratio.numerator, ratio.denominator, padtype="line")
    return x.astype(np.float32)


def refuse_slow(raw: "mne.io.BaseRaw", path: Path, rate: int) -> None:
    """Raise if the channel is sampled below `rate` in Hz: what was never sampled cannot be made up."""
    if raw.info["sfreq"] < rate:
        problem = f"{raw.ch_names[0]} is sampled at {raw.info['sfreq']:g} Hz, at least {rate} Hz are needed"
        raise CohortError(path, problem, "give a faster channel or a lower `eeg_rate`")
