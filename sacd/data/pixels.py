"""Movement and breathing of a sleeper, read from the frames of a clip; no network, no training.

Changes of light are removed first: they are smooth over the image, and a body is not. Functions
take one clip `(T, H, W)` or several `(n, T, H, W)`, grey levels 0..255 at `rate` frames/s, and give
one value or trace per clip. Memory grows with n: pass some 64 clips at a time.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import butter, sosfiltfilt

from sacd.data.motion import GREY

LAG_S: Final = 0.47
"""Movement is the change over this time, so that its size does not depend on the frame rate."""
TOP: Final = 0.02
"""Share of the pixels that has to change: a hand is about that large."""
REST: Final = 0.5
"""Share of a clip in which nothing moves, at least. Breath gives a change there too: at a lower
share, the rest is that between two breaths, and a deep breath counts as a movement."""
MOVING: Final = 2.5
"""A frame with this many times the change at rest shows a movement."""
BREATH_HZ: Final = (0.1, 0.7)
"""6 to 42 breaths a minute."""
LEAST_S: Final = 10.0
"""Shorter clips do not hold two slow breaths."""

LEAST_WAVE: Final = 1e-6
"""Smaller amplitudes are rounding errors of equal frames."""


class Breaths(NamedTuple):
    """Breathing of each clip `(n,)`, of a single one as scalars."""

    rate: NDArray[np.float64]
    """Breaths a minute, 6 to 42."""
    depth: NDArray[np.float64]
    """Change of the log grey level that a breath makes (RMS over pixels and time). It depends on
    camera and pose: compare it within a night."""
    regularity: NDArray[np.float64]
    """Autocorrelation one breath later, at most 1."""
    wave: NDArray[np.float32]
    """`(n, T)`, in the unit of `depth`; its sign is arbitrary. 0 where the body moves."""


def movement(frames: ArrayLike, rate: float) -> NDArray[np.float32]:
    """Change of the picture over `LAG_S`, in units of its own rest; above `MOVING` the body moves.

    The change of the log grey level, less its median over the image (flicker); of this the largest
    value that at least `TOP` of the pixels reach. Rest is the `REST` quantile over the clip.

    Returns:
        `(T,)` or `(n, T)`; the first frames, which have no earlier one, are 1.

    Raises:
        ValueError: not `(T, H, W)` or `(n, T, H, W)`, or the clip is shorter than the lag.
    """
    clips, single = _clips(frames)
    n, time = clips.shape[:2]
    lag = max(1, round(LAG_S * rate))
    if time <= lag:
        raise ValueError(f"{time} frames at {rate:g} frames/s: movement needs more than {LAG_S} s")
    x = np.log(clips.astype(np.float32) + GREY).reshape(n, time, -1)
    change = x[:, lag:] - x[:, :-lag]
    change -= np.median(change, axis=2, keepdims=True)
    size, top = np.abs(change), max(1, round(TOP * x.shape[2]))
    largest = np.partition(size, -top, axis=2)[:, :, -top]
    rest = np.quantile(largest, REST, axis=1, keepdims=True)
    trace = np.ones((n, time), np.float32)
    # A clip of equal frames has no change and no rest.
    np.divide(largest, rest, out=trace[:, lag:], where=rest > 0)
    return trace[0] if single else trace


def breathing(frames: ArrayLike, rate: float, trace: ArrayLike | None = None) -> Breaths:
    """Breathing of a clip: the strongest common course of the pixels in `BREATH_HZ`.

    1. Half resolution and log grey levels. A quadratic over the image is fitted twice, mostly to
       pixels that hardly move (as in `sacd.data.motion`), and subtracted.
    2. Frames in which the body moves become 0. Each stretch between two movements loses its own
       mean, since the pose has changed.
    3. The wave is the first principal component over time within the band.

    Args:
        trace: of `movement`, if it is known already.

    Raises:
        ValueError: as `movement`; or the clip lasts less than `LEAST_S`, or the frame rate is too
            low for the band.
    """
    clips, single = _clips(frames)
    n, time = clips.shape[:2]
    if time < LEAST_S * rate or rate <= 2 * BREATH_HZ[1]:
        least = 2 * BREATH_HZ[1]
        raise ValueError(
            f"{time} frames at {rate:g} frames/s: breathing needs {LEAST_S:g} s and more than "
            f"{least:g} frames/s"
        )
    trace = movement(clips, rate) if trace is None else np.asarray(trace).reshape(n, time)
    residual = _without_light(clips)
    wave = np.zeros((n, time), np.float32)
    band = _band(time, rate)
    for k in range(n):
        # Of a matrix (T, T), since there are far more pixels than frames.
        filtered = band @ _between(trace[k] > MOVING) @ residual[k]
        values, vectors = np.linalg.eigh(filtered @ filtered.T)
        scale = np.sqrt(max(values[-1], 0) / residual.shape[2])
        wave[k] = vectors[:, -1] * scale * (scale > LEAST_WAVE)
    breaths, regular = rhythm(wave, rate)
    depth = np.sqrt((wave.astype(float) ** 2).mean(axis=1))
    found = Breaths(breaths, depth, regular, wave)
    return Breaths(*(each[0] for each in found)) if single else found


def rhythm(wave: ArrayLike, rate: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Breaths a minute and regularity of waves `(n, T)`, from any sensor.

    The rate is where the spectrum (Hann window, padded to a resolution of 0.25 a minute or finer)
    is largest within `BREATH_HZ`; regularity is the autocorrelation at that period, scaled for the
    shorter overlap. A wave without power has rate NaN and regularity 0.
    """
    x = np.asarray(wave, float)
    x = x - x.mean(axis=1, keepdims=True)
    time = x.shape[1]
    # Twice the length makes the autocorrelation linear; 240 s give steps of 0.25 a minute.
    padded = 2 ** int(np.ceil(np.log2(max(2 * time, 240 * rate))))
    hertz = np.fft.rfftfreq(padded, 1 / rate)
    inside = (hertz >= BREATH_HZ[0]) & (hertz <= BREATH_HZ[1])
    power = np.abs(np.fft.rfft(x * np.hanning(time), n=padded, axis=1))[:, inside] ** 2
    best = hertz[inside][power.argmax(axis=1)]
    own = np.fft.irfft(np.abs(np.fft.rfft(x, n=padded, axis=1)) ** 2, n=padded, axis=1)[:, :time]
    lag = np.minimum(np.round(rate / best).astype(int), time - 1)
    there = own[:, 0] > 0
    regular = np.zeros(len(x))
    # At a lag only T - lag products are summed: scaled as if there were T.
    later = own[np.arange(len(x)), lag] * time / (time - lag)
    np.divide(later, own[:, 0], out=regular, where=there)
    return np.where(there, 60 * best, np.nan), np.minimum(regular, 1)


def _clips(frames: ArrayLike) -> tuple[NDArray, bool]:
    """Clips `(n, T, H, W)`, and whether a single one was given."""
    frames = np.asarray(frames)
    if frames.ndim not in (3, 4):
        raise ValueError(f"frames of shape {frames.shape}: (T, H, W) or (n, T, H, W) is needed")
    return (frames[None], True) if frames.ndim == 3 else (frames, False)


def _without_light(clips: NDArray) -> NDArray[np.float32]:
    """Log grey levels `(n, T, HW/4)` less their mean over time and the light of each frame."""
    n, time, height, width = (*clips.shape[:2], clips.shape[2] // 2, clips.shape[3] // 2)
    even = clips[:, :, : 2 * height, : 2 * width].reshape(n, time, height, 2, width, 2)
    x = np.log(even.mean(axis=(3, 5), dtype=np.float32) + GREY).reshape(n, time, -1)
    x -= x.mean(axis=1, keepdims=True)
    y, z = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    light = np.stack([np.ones_like(y), y, z, y * y, y * z, z * z]).reshape(6, -1).astype(np.float32)
    weight = np.ones((n, 1, height * width), np.float32)
    residual = x
    # The second fit weighs down the pixels that moved most in the first.
    for _ in range(2):
        weighted = light * weight
        gram = weighted @ light.T + 1e-6 * np.eye(6, dtype=np.float32)
        fit = np.linalg.solve(gram, weighted)  # (n, 6, pixels)
        residual = x - (x @ fit.transpose(0, 2, 1)) @ light
        spread = np.abs(residual).mean(axis=1, keepdims=True)
        weight = 1 / (1 + (spread / (np.median(spread, axis=2, keepdims=True) + 1e-6)) ** 2)
    return residual


def _between(moving: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Matrix `(T, T)` that zeroes moving frames and removes the mean of each stretch between them.

    A clip in which more than 70 % of the frames move keeps all of them: too few would be left.
    """
    time = len(moving)
    # The frames beside a movement belong to it: it began or ended between two frames.
    moving = moving | np.roll(moving, 1) | np.roll(moving, -1)
    if moving.mean() > 0.7:
        moving = np.zeros(time, bool)
    number = np.cumsum(np.diff(moving, prepend=moving[0]) != 0)
    same = (number[:, None] == number[None]) & ~moving
    matrix = np.eye(time) * ~moving - same / np.maximum(same.sum(axis=1, keepdims=True), 1)
    return (matrix * ~moving[:, None]).astype(np.float32)


def _band(time: int, rate: float) -> NDArray[np.float32]:
    """Zero-phase band-pass filter of `BREATH_HZ` as a matrix `(T, T)`."""
    # Filtering is linear, so the filtered unit matrix filters all pixels in one product.
    order = butter(2, BREATH_HZ, "bandpass", fs=rate, output="sos")
    return sosfiltfilt(order, np.eye(time), axis=0).astype(np.float32)
