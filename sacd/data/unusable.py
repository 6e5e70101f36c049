"""Clips whose EEG cannot be used: beyond its end, over a pause, flat, railed, or stuck."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from sacd.data.eeg import Channel, covered
from sacd.stages import CLIP_S

FLAT_UV: Final = 0.5
"""A second whose standard deviation is below this is flat: no electrode on a head is so quiet."""
RAILED: Final = 0.25
"""A second with a larger share of its samples at an extreme of the night, or at one of its own
where no value within has half as many, is railed."""
_MAINS_HZ: Final = (50, 60)
_HUM, _HUM_UV = 0.05, 3.0
"""A second is flat too if all but so much of its standard deviation is hum: an electrode is off.
What is left must be below the uV, as loud hum may lie over EEG."""
EEG_REASONS: Final = ("eeg", "gap", "flat", "railed", "stuck")
"""Why the EEG of a clip cannot be used: beyond its end, a pause of the recorder, ..."""
BAD_S: Final = 3
"""Bad seconds from which on a clip is dropped: a tenth of it."""
_REPEATS, _LONGEST_BLOCK_S = 3, 30
"""A block of samples that stands so often in a row, and its longest duration, is a buffer that was
written again and again. EEG never repeats a whole second."""
_TONES, _TONAL = 4, 0.999
"""A block is a test signal, and no buffer of EEG, if so few frequencies hold that much of it."""


def bad_seconds(raw: Channel) -> dict[str, np.ndarray]:
    """Which seconds of a night are `flat`, `railed` and `stuck`: each `(ceil(end_s),)` bool.

    A second is flat if it varies by less than `FLAT_UV`, but for a straight line (a loose electrode
    drifts, and lost samples are filled in by lines) and for hum of the mains.
    A second is railed as `RAILED` says, and stuck if it lies in a stretch that repeats one block of
    samples, which is neither constant nor a test signal, exactly. All are judged on the samples of
    the file: resampling smears them.
    """
    n = int(np.ceil(raw.end_s - 1e-6))
    flat, railed, stuck = np.zeros((3, n), bool)
    digits = raw.file.stored(raw.index)
    # The ends of the night, not of int16: amplifiers saturate before the converter does.
    ends = digits.min(), digits.max()
    for first, stop, onset in raw.pieces:
        x = raw.microvolts(first, stop)
        # The variance below is a difference of squares: an offset would cancel all its digits.
        x -= x.mean()
        stored = digits[first:stop].ravel()
        at_end = np.isin(stored, ends)
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
        flat[seconds] = power - _line_power(x, edges) < FLAT_UV**2
        for mean, square in zip(rest[::2], rest[1::2], strict=True):
            flat[seconds] |= square - mean**2 < np.clip(_HUM**2 * power, FLAT_UV**2, _HUM_UV**2)
        railed[seconds] = (hits > RAILED) | _cut_off(stored, edges)
        for begin, end in _repeated(stored, math.ceil(raw.rate)):
            stuck[int(onset + begin / raw.rate) : math.ceil(onset + end / raw.rate)] = True
    return {"flat": flat, "railed": railed, "stuck": stuck}


def _repeated(stored: np.ndarray, second: int) -> Iterator[tuple[int, int]]:
    """First sample and sample after the last of each stretch that repeats one block exactly.

    A block that is shorter than a second is found as several of them.
    """
    data, at = stored.tobytes(), 0
    while at + second <= len(stored):
        period = _period(data, at, second)
        begin = max(at - second, 0)
        if period:  # the stretch may begin within the second before
            other = np.flatnonzero(stored[begin:at] != stored[begin + period : at + period])
            begin += int(other[-1]) + 1 if other.size else 0
        end = begin + _REPEATS * period
        block = stored[begin : begin + period]
        again = np.tile(block, _REPEATS)
        if not period or not np.array_equal(again, stored[begin:end]) or _is_tone(block):
            at += second
            continue
        other = np.flatnonzero(stored[end - period : -period] != stored[end:])
        end = at = end + int(other[0]) if other.size else len(stored)
        yield begin, end


def _period(data: bytes, at: int, second: int) -> int:
    """After how many samples (int16) the second at `at` follows again; 0 if it does not."""
    block = data[2 * at : 2 * (at + second)]
    if block == block[:2] * second:  # constant
        return 0
    found, stop = 2 * (at + second) - 1, 2 * (at + (_LONGEST_BLOCK_S + 1) * second)
    while (found := data.find(block, found + 1, stop)) % 2 and found > 0:
        pass  # it lies between two samples
    return max(found // 2 - at, 0)


def _is_tone(block: np.ndarray) -> bool:
    power = np.abs(np.fft.rfft(block - block.mean())) ** 2
    return np.sort(power)[-_TONES:].sum() > _TONAL * power.sum()


def _line_power(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Variance of each second that its regression line explains: cov(t, x)^2 / var(t)."""
    sizes = np.diff(edges)
    t = np.arange(edges[0], edges[-1]) - np.repeat((edges[:-1] + edges[1:] - 1) / 2, sizes)
    part = x[edges[0] : edges[-1]]
    products, squares = (np.add.reduceat(y, edges[:-1] - edges[0]) for y in (t * part, t * t))
    return products**2 / squares / sizes


def _cut_off(stored: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Which seconds pile up at an extreme of their own, as in an amplifier with another range."""
    sizes, starts = np.diff(edges), edges[:-1] - edges[0]
    part = stored[edges[0] : edges[-1]]
    found = np.zeros(len(sizes), bool)
    for extreme in (np.minimum, np.maximum):
        at = part == np.repeat(extreme.reduceat(part, starts), sizes)
        found |= np.add.reduceat(at, starts, dtype=int) > RAILED * sizes
    for k in np.flatnonzero(found):
        _, counts = np.unique(part[starts[k] : starts[k] + sizes[k]], return_counts=True)
        # Few steps of a coarse converter pile up as well, but in the middle.
        found[k] = max(counts[0], counts[-1]) > 2 * counts[1:-1].max(initial=0)
    return found


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
        `(n,)` str: one of `EEG_REASONS`; of bad seconds the first kind by which they are `BAD_S`.
    """
    bad = bad_seconds(raw)
    spans = covered(raw, rate)
    holes = [(a, b) for (_, a), (b, _) in pairwise(spans) if b > a]
    # Rounded as ingest rounds them, so that both mean the same samples.
    starts = (np.asarray(onsets, float) * rate).round().astype(int)
    reasons = np.full(len(starts), "", dtype="<U6")
    for k, start in enumerate(starts):
        stop = start + CLIP_S * rate
        # Seconds that lie wholly within the clip.
        whole = slice(-(-start // rate), stop // rate)
        if stop > spans[-1][1]:
            reasons[k] = "eeg"
        elif any(start < b and stop > a for a, b in holes):
            reasons[k] = "gap"
        else:
            seconds = np.zeros(len(bad["flat"][whole]), bool)
            for reason, found in bad.items():
                seconds |= found[whole]
                if seconds.sum() >= BAD_S:
                    reasons[k] = reason
                    break
    return reasons
