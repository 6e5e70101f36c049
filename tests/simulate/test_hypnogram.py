"""Simulated nights: facts of sleep that the hypnograms and events must keep."""

from itertools import pairwise

import numpy as np
from scipy.stats import spearmanr

from sacd.simulate.hypnogram import groups, state
from sacd.stages import CLIP_S, UNSCORED, ahi_group


def test_ahi_of_the_events_follows_the_nominal_one(subjects: list[tuple]) -> None:
    nominal = [night.person["ahi"] for night, _ in subjects]
    simulated = [
        len(night.respiratory()) / ((night.stages > 0).sum() * CLIP_S / 3600)
        for night, _ in subjects
    ]
    assert spearmanr(nominal, simulated).statistic > 0.9
    assert set(map(ahi_group, nominal)) == {0, 1, 2, 3}


def test_sleep_is_shaped_like_sleep(subjects: list[tuple]) -> None:
    """N3 early and REM late; respiratory events never start in wake, and no two of them overlap."""
    half = len(subjects[0][0].stages) // 2
    early, late = (
        np.concatenate([night.stages[part] for night, _ in subjects])
        for part in (slice(half), slice(half, None))
    )
    assert (early == 3).mean() > 2 * (late == 3).mean()
    assert (late == 4).mean() > 1.3 * (early == 4).mean()
    for night, moves in subjects:
        events = night.respiratory()
        # Onsets are rounded to 0.1 s, which may lead over the edge of a clip.
        assert all(night.stages[int((event.onset - 0.05) // CLIP_S)] > 0 for event in events)
        assert all(a.onset + a.duration < b.onset for a, b in pairwise(events))
        assert (moves.onset[1:] >= (moves.onset + moves.duration)[:-1]).all()


def test_groups_fill_up_to_the_papers_shares() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(np.bincount(groups(105, [], rng)), [30, 30, 20, 25])
    assert np.bincount([*groups(15, [1] * 6, rng), *[1] * 6]).tolist() == [6, 6, 4, 5]


def test_the_state_keeps_every_clips_label() -> None:
    stages = np.random.default_rng(1).integers(0, 5, 200).astype(np.int8)
    stages[[0, 50]] = UNSCORED
    shares = state(stages, np.random.default_rng(2)).reshape(200, CLIP_S, 5)
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-5)
    middle = shares[:, CLIP_S // 2 - 4 : CLIP_S // 2 + 4].sum(1)
    scored = stages != UNSCORED
    # Sleep between two stages may lean a little further.
    assert (middle.argmax(1) == stages)[scored].mean() > 0.97
