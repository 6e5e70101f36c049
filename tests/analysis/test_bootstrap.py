import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from sacd.analysis import bootstrap
from sacd.analysis.bootstrap import INCONCLUSIVE, direction, verdict


def test_each_resample_has_as_many_subjects_as_the_sample():
    weights = bootstrap.resample_weights(7, 50, seed=3)
    assert weights.shape == (50, 7) and (weights.sum(1) == 7).all()
    assert (weights == bootstrap.resample_weights(7, 50, seed=3)).all(), "this pairs two methods"
    assert (weights != bootstrap.resample_weights(7, 50, seed=4)).any()


def test_undefined_draws_are_left_out_of_the_interval():
    draws = np.array([[1.0, np.nan, 5.0], [2.0, np.nan, np.nan], [3.0, np.nan, 5.0]])
    low, high = bootstrap.percentiles(draws, 1.0)
    assert low[[0, 2]].tolist() == [1, 5] and high[[0, 2]].tolist() == [3, 5]
    assert np.isnan([low[1], high[1]]).all()


def test_sign_flips_are_enumerated_where_there_are_few_subjects():
    values = np.array([1.0, 2.0, 0.5, 3.0, -0.2])
    signs = np.array(list(itertools.product([1, -1], repeat=5)))
    null = signs @ values
    assert bootstrap.sign_flip_p(values) == pytest.approx(2 * (null >= values.sum() - 1e-9).mean())


def test_a_verdict_needs_the_interval_the_p_value_and_more_than_seed_noise():
    assert direction(2, 1, 3, noise=1.5, p_value=0.04) == 1
    assert direction(-2, -3, -1, noise=1.5, p_value=0.04) == -1
    assert direction(2, -1, 3, noise=1.5, p_value=0.04) == 0, "the interval contains 0"
    assert direction(2, 1, 3, noise=2.5, p_value=0.04) == 0, "training seeds differ by as much"
    assert direction(2, 1, 3, noise=1.5, p_value=0.06) == 0
    assert direction(2, 1, 3, noise=1.5) == 1, "the interval alone is the test"


@pytest.mark.parametrize("unknown", range(5))
def test_what_is_unknown_decides_nothing(unknown):
    for criteria in ([2, 1, 3, 1.5, 0.04], [-2, -3, -1, 1.5, 0.04]):
        assert direction(*criteria) != 0
        criteria[unknown] = np.nan
        assert direction(*criteria) == 0


def test_verdicts_have_the_words_of_their_context():
    assert [verdict(d) for d in (1, 0, -1)] == ["better", INCONCLUSIVE, "worse"]
    assert [verdict(d, "more", "fewer") for d in (1, 0, -1)] == ["more", INCONCLUSIVE, "fewer"]


def test_noise_of_a_line_is_its_own_column_or_follows_from_its_seeds():
    line = {"sd": 3.0, "n_seeds": 9}
    assert bootstrap.noise_of(pd.Series(line)) == pytest.approx(2)
    assert bootstrap.noise_of(pd.Series(line | {"seed_noise": 5.0})) == 5


def test_noise_of_seeds_borrows_the_largest_variance_and_is_unknown_without_any():
    a, b, c = np.array([[1.0], [3.0]]), np.array([[1.0], [2.0], [3.0]]), np.array([[5.0]])
    assert bootstrap.seed_noise(a, b)[0] == pytest.approx(2 * np.sqrt(2 / 2 + 1 / 3))
    assert bootstrap.seed_noise(b, a, c)[0] == pytest.approx(2 * np.sqrt(1 / 3 + 2 / 2 + 2 / 1))
    assert np.isnan(bootstrap.seed_noise(c, c)[0])


def test_correction():
    assert bootstrap.correct([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert bootstrap.correct([0.01, 0.04, 0.03], "fdr_bh") == pytest.approx([0.03, 0.04, 0.04])
    assert np.isnan(bootstrap.correct([np.nan])).all()


def test_interval_of_ratios_is_the_percentile_bootstrap_of_scipy():
    rng = np.random.default_rng(1)
    clips = rng.integers(5, 40, 25).astype(float)
    hits = np.round(clips * rng.uniform(0.2, 0.9, 25))
    found = bootstrap.ratios(hits[:, None, None], clips[:, None], resamples=20_000).iloc[0]
    low, high = scipy_stats.bootstrap(
        (hits, clips), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, vectorized=True,
        n_resamples=20_000, method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((low, high), abs=0.004)
