"""Breathing and movement of one night, shared by the EEG and the video."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sacd.simulate.hypnogram import SimulatedNight
from sacd.simulate.parameters import parameter as p
from sacd.simulate.parameters import span

GROSS, LIMB, TWITCH = range(3)
RATE = p("breath.grid_hz")
"""Breathing is computed at this rate in Hz and interpolated at the frame times of the video."""


@dataclass(frozen=True)
class Movements:
    """Movements of a night, ordered by time and without overlap; arrays (n,)."""

    onset: np.ndarray
    duration: np.ndarray
    size: np.ndarray
    kind: np.ndarray
    posture: np.ndarray  # bool: the subject turns over

    def activity(self, times: np.ndarray) -> np.ndarray:
        """Strength of movement, (times,), at times in s since lights out."""
        if not len(self.onset):
            return np.zeros(len(times))
        at = np.searchsorted(self.onset, times, side="right") - 1
        inside = (times - self.onset[at]) / self.duration[at]
        return np.where((at >= 0) & (inside < 1), self.size[at] * np.sin(np.pi * inside), 0.0)


def movements(night: SimulatedNight, state: np.ndarray, rng: np.random.Generator) -> Movements:
    """Movements of the night: spontaneous ones at the rate of the state, and those of arousals."""
    lengths = (p("move.gross_s"), p("move.limb_s"), p("move.twitch_s"))
    sizes = (1.0, p("move.limb_size"), p("move.twitch_size"))  # relative to one of the whole body
    shape, least = p("move.gamma_shape"), p("move.least_s")
    size_cv, lag = p("move.size_cv"), p("move.arousal_lag_s")
    found = []
    for kind, name in enumerate(("move.gross", "move.limb", "move.twitch")):
        seconds = np.flatnonzero(rng.random(len(state)) < state @ p(name) / 3600)
        found += [(float(second + rng.random()), kind) for second in seconds]
    for event in night.events:
        second = min(int(event.onset), len(state) - 1)
        if event.kind == "arousal" and rng.random() < state[second] @ p("move.with_arousal"):
            kind = GROSS if rng.random() < p("move.arousal_gross") else LIMB
            found.append((event.onset + rng.uniform(0, lag), kind))
    kept, free = [], 0.0
    for onset, kind in sorted(found):
        # A gamma variable of this shape and scale has mean 1.
        duration = lengths[kind] * rng.gamma(shape, 1 / shape) + least
        size = sizes[kind] * np.exp(size_cv * rng.standard_normal())
        turns = kind == GROSS and rng.random() < p("move.posture")
        if onset >= free:  # else it begins during the previous one
            kept.append((onset, duration, size, kind, turns))
            free = onset + duration
    columns = (
        [np.array(column) for column in zip(*kept, strict=True)] if kept else [np.zeros(0)] * 5
    )
    return Movements(*columns[:3], columns[3].astype(int), columns[4].astype(bool))


@dataclass(frozen=True)
class Breathing:
    """Movement of chest and abdomen on a grid of `RATE` Hz; a quiet breath has amplitude 1.

    The grid begins at `start`, in s since lights out.
    """

    start: float
    chest: np.ndarray
    abdomen: np.ndarray

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Chest and abdomen, each (times,), at times in s since lights out."""
        grid = self.start + np.arange(len(self.chest)) / RATE
        return np.interp(times, grid, self.chest), np.interp(times, grid, self.abdomen)


@dataclass(frozen=True)
class Breather:
    """Breathing parameters that differ between subjects."""

    rate: float  # breaths/min above the mean
    irregularity: float
    depth: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Breather":
        """A random subject of the population."""
        cv = p("breath.subject_cv")
        rate, irregularity, depth = rng.standard_normal(3)
        return cls(
            p("breath.rate_sd") * rate, float(np.exp(cv * irregularity)), float(np.exp(cv * depth))
        )


def breathing(
    breather: Breather,
    night: SimulatedNight,
    state: np.ndarray,
    start: float,
    stop: float,
    rng: np.random.Generator,
) -> Breathing:
    """Breathing from `start` to `stop` (s since lights out), drawn breath by breath.

    Period and depth follow the state; respiratory events reduce or stop it.
    """
    ar, slowest, limits = p("breath.ar"), p("breath.rate_least"), span("breath.period")
    # The process starts early, so that it has forgotten its start, and ends late, so that the
    # last breath can be interpolated.
    last = stop + p("breath.run_out_s")
    time, noise = start - p("breath.run_in_s"), rng.standard_normal(2)
    onsets, depths = [], []
    while True:
        weights = state[int(np.clip(time, 0, len(state) - 1))]
        # AR(1) over breaths, one process each for period and depth.
        noise = ar * noise + np.sqrt(1 - ar**2) * rng.standard_normal(2)
        cv = np.array([weights @ p("breath.period_cv"), weights @ p("breath.depth_cv")])
        spread = breather.irregularity * cv
        onsets.append(time)
        depths.append(weights @ p("breath.depth") * np.exp(spread[1] * noise[1]))
        if time > last:
            break
        rate = max(weights @ p("breath.rate") + breather.rate, slowest)
        time += float(np.clip(60 / rate * np.exp(spread[0] * noise[0]), *limits))
    onset, depth = np.array(onsets), np.array(depths) * breather.depth
    grid = np.arange(start, stop, 1 / RATE)

    def wave(lag: float) -> np.ndarray:
        # Raised cosine per breath; inspiration takes the first part of the period.
        breaths = np.interp(grid, onset, np.arange(len(onset))) - lag
        at = np.clip(breaths.astype(int), 0, len(onset) - 1)
        phase, rise = breaths - at, p("breath.inspiration")
        phase = np.where(phase < rise, 0.5 * phase / rise, 0.5 + 0.5 * (phase - rise) / (1 - rise))
        return depth[at] * (0.5 - 0.5 * np.cos(2 * np.pi * phase))

    chest, abdomen = _gains(night, grid)
    return Breathing(start, chest * wave(p("video.lag")), abdomen * wave(0.0))


def _gains(night: SimulatedNight, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factors of respiratory events on chest and abdomen, each (grid,).

    Breathing stops (central apnea), becomes paradoxical (obstructive apnea) or shallow (hypopnea).
    Deeper recovery breaths follow.
    """
    chest, abdomen = np.ones_like(grid), np.ones_like(grid)
    effort, over_s = p("breath.apnea_effort"), p("breath.recovery_over_s")
    central = (p("breath.central_effort"),) * 2
    levels = {"obstructive_apnea": (-effort, effort), "hypopnea": (p("breath.hypopnea"),) * 2}
    for event in night.respiratory():
        end = event.onset + event.duration
        if end + over_s < grid[0] or event.onset > grid[-1]:
            continue
        # The event sets in and ends within one second.
        inside = np.clip(grid - event.onset, 0, 1) * np.clip(end - grid, 0, 1)
        decay = np.exp(-np.maximum(grid - end, 0) / p("breath.recovery_s"))
        after = (grid > end) * (p("breath.recovery") - 1) * decay
        for signal, level in zip((chest, abdomen), levels.get(event.kind, central), strict=True):
            signal += after
            signal += inside * (level - signal)
    return chest, abdomen


def blocks(n_clips: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(first clip, clips) of `count` blocks that are spread over the night at random.

    For `count` 0 it is one block, the whole night.

    Raises:
        ValueError: the night is too short for so many blocks.
    """
    if count == 0:
        return [(0, n_clips)]
    length = int(p("night.block_clips"))
    if count * length > n_clips:
        needed = f"blocks={count} needs {count * length} clips of a night of {n_clips}"
        raise ValueError(f"{needed}: choose fewer blocks")
    # One block at a random place within each of `count` equal parts.
    edges = np.linspace(0, n_clips, count + 1).astype(int)
    return [(int(rng.integers(a, b - length + 1)), length) for a, b in pairwise(edges)]
