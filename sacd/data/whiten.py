"""EEG of a night with the subject's and the electrode's own spectrum taken out: what the teachers can be given."""

import numpy as np
from scipy.signal import welch

PASS_HZ = (0.3, 35.0)
"""Band that is kept (the AASM manual's filters for EEG)."""

CLIP_UV = 25.0
"""Standard deviation of a clip whose spectrum is the night's typical one, after whitening."""

MIN_CLIPS = 8
"""Fewer clips of a night do not show what is typical of it."""

TILT = 0.75
"""Amplitude falls as f ** -TILT above 1 Hz afterwards, as EEG does: a slow wave stays larger than a spindle."""

FLOOR_UV2_HZ = 1e-3
"""Power density below which there is nothing but rounding; keeps the gain of an empty band finite."""


def whiten(eeg: np.ndarray, night: np.ndarray, rate: float) -> np.ndarray:
    """Filter each night so that its typical spectrum (median over clips of the log power density) is the same 1/f.

    One linear, zero-phase filter a night: what differs between subjects (skull, electrode,
    amplitude of the bands, slow drift) goes, what differs between the clips of a night stays. It
    uses no label and no other night.

    Deviation: the paper and the teachers' authors feed EEG as recorded. Networks of few training
    subjects and few epochs then learn the subject; a classifier on band powers profits as much from
    the median of the night taken off.

    Args:
        eeg: `(n, T)` clips in uV; some tens of clips of a night or more.
        night: `(n,)` which night each clip belongs to.
        rate: samples/s, at least 64.

    Returns:
        `(n, T)` float32, of standard deviation about `CLIP_UV`.

    Raises:
        ValueError: shapes do not fit, rate too low, or a night has fewer than `MIN_CLIPS` clips.
    """
    eeg, night = np.asarray(eeg), np.asarray(night)
    if eeg.ndim != 2 or night.shape != eeg.shape[:1]:
        raise ValueError(
            f"whiten takes clips (n, T) and n nights, not {eeg.shape} and {night.shape}"
        )
    if rate < 64:
        raise ValueError(f"EEG rate {rate} Hz is below 64 Hz: give a faster recording")
    low, high = PASS_HZ[0], min(PASS_HZ[1], 0.45 * rate)
    length = eeg.shape[1]
    frequency = np.fft.rfftfreq(length, 1 / rate)
    keep = 1 / np.sqrt(
        (1 + (low / np.maximum(frequency, 1e-6)) ** 8) * (1 + (frequency / high) ** 16)
    )
    keep *= np.maximum(frequency, 1) ** -TILT
    keep *= CLIP_UV / np.sqrt(
        np.sum(keep**2) * rate / length
    )  # a white clip of density 1 gets this deviation
    result = np.empty(eeg.shape, np.float32)
    for name in np.unique(night):
        rows = night == name
        if rows.sum() < MIN_CLIPS:
            raise ValueError(
                f"night {name} has {rows.sum()} clips, whitening needs at least {MIN_CLIPS} of it"
            )
        grid, density = welch(eeg[rows], rate, nperseg=min(length, int(4 * rate)), axis=-1)
        typical = np.median(np.log(density + FLOOR_UV2_HZ), axis=0)
        typical = np.convolve(
            np.pad(typical, 2, mode="edge"), np.full(5, 0.2), "valid"
        )  # over about 1 Hz
        gain = keep * np.exp(-np.interp(frequency, grid, typical) / 2)
        result[rows] = np.fft.irfft(np.fft.rfft(eeg[rows], axis=1) * gain, length, axis=1)
    return result
