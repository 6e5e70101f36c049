"""Measures of one night, real or simulated: hypnogram, movement, EEG powers, breathing, a stager.

Each returns `Measures`. `sacd.analysis.reality` sets them side by side over nights.
"""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.signal import butter, find_peaks, resample_poly, sosfiltfilt, welch

from sacd.metrics import METRICS, confusion, scores
from sacd.stages import CLIP_S, STAGES, UNSCORED

BANDS: Final = {
    "delta": (0.5, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 50.0),
}
"""Bands in Hz, both ends included: those of the real numbers, which come as powers by band."""
WINDOW_S: Final = 2.56
"""Welch's window, likewise."""

SHARE, CHANGE, MOVING = "share of sleep (%)", "next clip after {} (%)", "clips with movement (%)"
NIGHT: Final = "whole night"
POWER, SPREAD = "log10 power in {} (uV^2/Hz)", "sd between nights of log10 power in N2"
RATE, VARIES = "breaths per minute", "variation of breaths within 30 s (%)"
STAGER: Final = "YASA against the true stages"

Measures = dict[tuple[str, str], float]
"""(measure, column) -> value of one night; NaN where the night has nothing to measure."""


def hypnogram(stage: ArrayLike) -> Measures:
    """Shares, efficiency and transitions of one night.

    Args:
        stage: labels `(n,)` of consecutive clips from lights out to lights on, `UNSCORED` where
            there is none.

    Returns:
        Share of each sleep stage in % of sleep; sleep in % of the scored clips; stage changes per
        hour; and for each stage, what follows it one clip later, in %.

    >>> hypnogram([0, 2, 2, 4])["next clip after N2 (%)", "REM"]
    50.0
    """
    stage = np.asarray(stage)
    counts = np.bincount(stage[stage != UNSCORED], minlength=len(STAGES))
    asleep = counts[1:].sum()
    found: Measures = {}
    for k, name in enumerate(STAGES[1:], start=1):
        found[SHARE, name] = _percent(counts[k], asleep)
    found[NIGHT, "sleep efficiency (%)"] = _percent(asleep, counts.sum())
    before, after = stage[:-1], stage[1:]
    both = (before != UNSCORED) & (after != UNSCORED)
    steps = confusion(before[both], after[both])
    changes = steps.sum() - np.trace(steps)
    hours = both.sum() * CLIP_S / 3600
    found[NIGHT, "stage changes per hour"] = changes / hours if hours else np.nan
    for k, name in enumerate(STAGES):
        for other, after_it in enumerate(STAGES):
            key = (CHANGE.format(name), after_it)
            found[key] = _percent(steps[k, other], steps[k].sum())
    return found


def _percent(part: float, whole: float) -> float:
    return float(100 * part / whole) if whole else np.nan


def movement(stage: ArrayLike, moving: ArrayLike) -> Measures:
    """Clips with movement `moving` `(n,)` in % of the clips of each stage `(n,)`."""
    stage, moving = np.asarray(stage), np.asarray(moving, bool)
    return {
        (MOVING, name): _percent(moving[stage == k].sum(), (stage == k).sum())
        for k, name in enumerate(STAGES)
    }


def log_powers(eeg: NDArray, rate: float) -> NDArray[np.float64]:
    """log10 of the mean power density of each clip in `BANDS`, by Welch's method.

    Args:
        eeg: `(n, samples)` in uV, at `rate` Hz.

    Returns:
        `(n, bands)`, log10 of uV^2/Hz.
    """
    frequency, density = welch(eeg, fs=rate, nperseg=round(WINDOW_S * rate), axis=-1)
    columns = []
    for low, high in BANDS.values():
        band = (frequency >= low) & (frequency <= high)
        columns.append(density[:, band].mean(axis=1))
    return np.log10(np.stack(columns, axis=1))


def powers(stage: ArrayLike, power: NDArray) -> Measures:
    """Median over the clips of each stage of `log_powers`."""
    stage, found = np.asarray(stage), {}
    for k, name in enumerate(STAGES):
        of_stage = power[stage == k]
        for number, band in enumerate(BANDS):
            value = float(np.median(of_stage[:, number])) if len(of_stage) else np.nan
            found[POWER.format(name), band] = value
    return found


def breaths(signal: ArrayLike, rate: int) -> pd.DataFrame:
    """Rate and variation of breathing in each 30 s of a signal of breathing movement.

    Breaths are peaks of the signal between 0.1 and 0.6 Hz. A period counts for the clip in which it
    begins; those outside 1.5 to 12 s (missed breaths, apneas) are left out, and so are clips with
    fewer than three.

    Args:
        signal: `(samples,)` in any unit, at `rate` Hz; what is left over of a clip is cut off.

    Returns:
        One row per clip: `rate` in 1/min, `variation` (sd / mean of the periods) in %.
    """
    clips = int(len(np.asarray(signal)) / rate // CLIP_S)
    band = butter(2, (0.1, 0.6), "bandpass", fs=rate, output="sos")
    fine_rate = 8 * rate  # so that a peak is found between two samples
    smooth = resample_poly(sosfiltfilt(band, np.asarray(signal, float)), 8, 1)
    # Relative to the signal, because its unit is arbitrary.
    least = 0.3 * smooth.std()
    at = find_peaks(smooth, distance=1.5 * fine_rate, prominence=least)[0] / fine_rate
    periods = pd.DataFrame({"clip": at[:-1] // CLIP_S, "seconds": np.diff(at)})
    periods = periods[periods["seconds"].between(1.5, 12)]
    of_clip = periods.groupby("clip")["seconds"].agg(["median", "mean", "std", "count"])
    of_clip = of_clip.reindex(range(clips))
    enough = of_clip["count"] >= 3
    variation = 100 * of_clip["std"] / of_clip["mean"]
    return pd.DataFrame({"rate": 60 / of_clip["median"], "variation": variation}).where(enough)


def breathing(stage: ArrayLike | None, clips: pd.DataFrame) -> Measures:
    """Median over clips of `breaths`, and how far the rates of clips lie apart (sd), of a night.

    Args:
        stage: labels of the clips; None if nobody scored them, which gives the whole night only.
        clips: of `breaths`.
    """
    found: Measures = {
        (RATE, "all"): clips["rate"].median(),
        (VARIES, "all"): clips["variation"].median(),
        (RATE, "sd over clips"): clips["rate"].std(),
    }
    for k, name in enumerate(STAGES if stage is not None else ()):
        of_stage = clips[np.asarray(stage) == k]
        found[RATE, name] = of_stage["rate"].median()
        found[VARIES, name] = of_stage["variation"].median()
    return found


def staging(stage: ArrayLike, staged: ArrayLike) -> Measures:
    """Agreement of a stager with the true labels of one night, in the eight `METRICS`."""
    stage, staged = np.asarray(stage), np.asarray(staged)
    scored = stage != UNSCORED
    values = scores(confusion(stage[scored], staged[scored]))
    return {(STAGER, name): float(value) for name, value in zip(METRICS, values, strict=True)}
