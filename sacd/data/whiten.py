"""Optional input of the teachers: EEG with the mean spectrum of subject and electrode removed."""

import numpy as np
from scipy.signal import welch

PASS_HZ = (0.3, 35.0)
"""Pass band (filter settings of the AASM manual for EEG)."""

CLIP_UV = 25.0
"""Standard deviation, after whitening, of a clip with the typical spectrum of its night."""

MIN_CLIPS = 8
"""From fewer clips the median spectrum of a night is not estimated."""

TILT = 0.75
"""Above 1 Hz the amplitude falls as f ** -TILT, as in EEG: slow waves stay larger than spindles."""

FLOOR_UV2_HZ = 1e-3
"""Power density of mere rounding errors; keeps the gain of an empty band finite."""


def whiten(eeg: np.ndarray, night: np.ndarray, rate: float) -> np.ndarray:
    """Filter each night so that its typical spectrum has the same 1/f shape.

    The typical spectrum is the median over the clips of the log power density. Each night has one
    linear zero-phase filter, which uses neither labels nor other nights. It removes what differs
    between subjects (skull, electrode, amplitude of the bands, slow drift) and keeps what differs
    between the clips of a night.

    Deviation: the paper and the authors of the teachers use EEG as recorded. With few training
    subjects and few epochs, networks then learn to recognise the subject. A classifier on band
    powers gains as much from subtracting the median of the night. The filter of a clip depends on
    the whole night, later clips included. Staging while the night lasts would need another filter.

    Args:
        eeg: `(n, T)` clips in uV; a few tens of clips per night or more.
        night: `(n,)` the night of each clip.
        rate: samples/s, at least 64.

    Returns:
        `(n, T)` float32, of standard deviation about `CLIP_UV`.

    Raises:
        ValueError: rate too low, or a night has fewer than `MIN_CLIPS` clips.
    """
    if rate < 64:
        raise ValueError(f"EEG rate {rate} Hz is below 64 Hz: give a faster recording")
    low, high = PASS_HZ[0], min(PASS_HZ[1], 0.45 * rate)
    length = eeg.shape[1]
    frequency = np.fft.rfftfreq(length, 1 / rate)
    # Butterworth amplitudes: high-pass of order 4, low-pass of order 8.
    keep = 1 / np.sqrt(
        (1 + (low / np.maximum(frequency, 1e-6)) ** 8) * (1 + (frequency / high) ** 16)
    )
    keep *= np.maximum(frequency, 1) ** -TILT
    # A white clip of power density 1 then has the deviation CLIP_UV.
    keep *= CLIP_UV / np.sqrt(np.sum(keep**2) * rate / length)
    result = np.empty(eeg.shape, np.float32)
    for name in np.unique(night):
        rows = night == name
        if rows.sum() < MIN_CLIPS:
            raise ValueError(
                f"night {name} has {rows.sum()} clips, whitening needs at least {MIN_CLIPS} of it"
            )
        grid, density = welch(eeg[rows], rate, nperseg=min(length, int(4 * rate)), axis=-1)
        typical = np.median(np.log(density + FLOOR_UV2_HZ), axis=0)
        # Smoothed over about 1 Hz.
        typical = np.convolve(np.pad(typical, 2, mode="edge"), np.full(5, 0.2), "valid")
        # Half of the log power is the log amplitude.
        gain = keep * np.exp(-np.interp(frequency, grid, typical) / 2)
        result[rows] = np.fft.irfft(np.fft.rfft(eeg[rows], axis=1) * gain, length, axis=1)
    return result
