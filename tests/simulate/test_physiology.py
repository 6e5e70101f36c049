"""Simulated movements and breathing."""

import numpy as np
import pytest

from sacd.simulate.hypnogram import Event, SimulatedNight
from sacd.simulate.physiology import RATE, TWITCH, Breather, blocks, breathing
from sacd.stages import CLIP_S, STAGES


def test_movement_rate_orders_the_stages(subjects: list[tuple]) -> None:
    hours, count = np.zeros(5), np.zeros(5)
    for night, moves in subjects:
        hours += np.bincount(night.stages, minlength=5) * CLIP_S / 3600
        at = (moves.onset[moves.kind != TWITCH] // CLIP_S).astype(int)
        count += np.bincount(night.stages[at], minlength=5)
    rate = dict(zip(STAGES, count / hours, strict=True))
    assert rate["W"] > rate["N1"] > rate["REM"] > rate["N2"] > rate["N3"] > 0


@pytest.fixture
def breathe():
    """Breathing over two minutes of N2 with an event from 40 to 80 s."""

    def make(kind: str | None):
        events = (Event(40.0, 40.0, kind),) if kind else ()
        night = SimulatedNight(np.full(4, STAGES.index("N2"), np.int8), events, {})
        state = np.tile(np.eye(5, dtype=np.float32)[2], (4 * CLIP_S, 1))
        rng = np.random.default_rng(0)
        return breathing(Breather(0.0, 1.0, 1.0), night, state, 0.0, 120.0, rng)

    return make


def test_respiratory_events_stop_or_shrink_the_breath(breathe) -> None:
    inside = slice(int(45 * RATE), int(75 * RATE))
    before = slice(int(5 * RATE), int(35 * RATE))
    depth = {}
    for kind in (None, "central_apnea", "hypopnea", "obstructive_apnea"):
        signal = breathe(kind).abdomen
        depth[kind] = np.ptp(signal[inside]) / np.ptp(signal[before])
    assert depth["central_apnea"] < 0.1 < depth["hypopnea"] < 0.7 < depth[None]


def test_obstructive_apnea_is_paradoxical(breathe) -> None:
    breaths = breathe("obstructive_apnea")
    inside = slice(int(45 * RATE), int(75 * RATE))
    before = slice(int(5 * RATE), int(35 * RATE))

    def correlation(part: slice) -> float:
        return float(np.corrcoef(breaths.chest[part], breaths.abdomen[part])[0, 1])

    assert correlation(before) > 0.5 and correlation(inside) < -0.5


def test_blocks_are_disjoint_and_lie_within_the_night() -> None:
    found = blocks(960, 10, np.random.default_rng(0))
    starts, lengths = np.array(found).T
    assert len(found) == 10 and set(lengths) == {16}
    assert starts[0] >= 0 and (np.diff(starts) >= 16).all() and starts[-1] + 16 <= 960
    assert blocks(960, 0, np.random.default_rng(0)) == [(0, 960)]
    with pytest.raises(ValueError, match=r"blocks=61 needs 976 clips of a night of 960"):
        blocks(960, 61, np.random.default_rng(0))
