import numpy as np
import pytest
from scipy import stats as scipy_stats

from sacd.analysis import correlation


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_spearman_equals_scipy_and_finds_a_planted_channel(rng):
    features, ahi = rng.standard_normal((40, 2, 30)), rng.exponential(15, 40)
    features[:, 1, 7] = np.log(ahi) + 0.2 * rng.standard_normal(40)
    features[3, 0] = np.nan
    features[:, 1, 9] = 2.0
    found = correlation.spearman(features, ahi, permutations=200).set_index(["group", "channel"])
    expected = scipy_stats.spearmanr(np.delete(features[:, 0, 4], 3), np.delete(ahi, 3))
    assert found.loc[(0, 4), ["n", "rho", "p"]].to_list() == pytest.approx([39, *expected])
    planted = found.loc[(1, 7)]
    assert (
        planted["rho"] > 0.9 and planted["q"] < 1e-6 and planted["p_max"] == pytest.approx(1 / 201)
    )
    assert found.loc[(1, 9), ["rho", "p", "q", "p_max"]].isna().all()
    assert (found.drop([(1, 7), (1, 9)])["p_max"] > 0.02).all()
    assert (found["p_max"].dropna() >= 1 / 201).all()


def test_spearman_of_noise_has_a_uniform_family_wise_p():
    smallest = []
    for trial in range(60):
        rng = np.random.default_rng(trial)
        found = correlation.spearman(
            rng.standard_normal((25, 1, 40)), rng.integers(0, 2, 25), permutations=100
        )
        smallest.append(found["p_max"].min())
    assert 0.3 < np.median(smallest) < 0.7 and np.mean(np.array(smallest) < 0.05) < 0.15


def test_rank_correlation_of_every_vector_and_channel_is_scipys(rng):
    features, values = rng.integers(0, 9, (20, 3, 4)).astype(float), rng.standard_normal((5, 20))
    expected = [
        [[scipy_stats.spearmanr(features[:, g, c], v)[0] for c in range(4)] for g in range(3)]
        for v in values
    ]
    assert correlation.rank_correlation(features, values) == pytest.approx(np.array(expected))


def test_interval_of_rho_is_scipys_of_pearson_but_for_the_larger_variance():
    x, y = np.arange(30.0), np.r_[0:15, 29:14:-1] + 0.0
    rho = scipy_stats.spearmanr(x, y)[0]
    of_r = scipy_stats.pearsonr(x, y).confidence_interval()  # of ranks: the same correlation
    wider = np.sqrt(1 + rho**2 / 2)
    z = np.arctanh(rho) + wider * (np.arctanh([of_r.low, of_r.high]) - np.arctanh(rho))
    assert correlation.rho_interval(rho, 30) == pytest.approx(np.tanh(z))


def test_spearman_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(S, G, C\)"):
        correlation.spearman(np.zeros((4, 3)), np.zeros(4), permutations=9)


def test_without_each_subject_is_ranking_again():
    rng = np.random.default_rng(0)
    features = rng.integers(0, 6, (9, 2, 4)).astype(float)  # with ties
    features[2, 1] = np.nan
    values = rng.integers(0, 5, 9).astype(float)
    found = correlation.without_each(features, values)
    for k in range(9):
        rest = np.delete(features, k, 0), np.delete(values, k)[None]
        np.testing.assert_allclose(found[k], correlation.rank_correlation(*rest)[0])
    few = correlation.without_each(features[:3], values[:3])
    assert np.isnan(few).all(), "two subjects have no correlation"
