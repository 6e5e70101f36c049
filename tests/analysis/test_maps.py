import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import silhouette_score

from sacd.analysis import maps, portrait

CENTRES = np.array([[0, 0], [12, 0], [0, 12]])


@pytest.fixture(scope="module")
def three():
    """Three far clusters in 10 dimensions, 30 points each."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 30)
    features = rng.standard_normal((90, 10))
    features[:, :2] += CENTRES[label]
    return features, label


@pytest.fixture(scope="module")
def fitted(three):
    return maps.fit_map(three[0])


def test_equal_seed_equal_map(three, fitted):
    assert np.array_equal(np.asarray(fitted), np.asarray(maps.fit_map(three[0])))
    assert maps.silhouette(np.asarray(fitted), three[1]).mean() > 0.5


def test_new_points_go_to_their_own_cluster_and_leave_the_map(three, fitted):
    label, before = three[1], np.asarray(fitted).copy()
    rng = np.random.default_rng(1)
    new = rng.standard_normal((12, 10))
    own = np.repeat([0, 1, 2], 4)
    new[:, :2] += CENTRES[own]
    placed = maps.transform(fitted, new)
    centres = np.array([before[label == k].mean(0) for k in range(3)])
    assert (np.linalg.norm(placed[:, None] - centres, axis=2).argmin(1) == own).all()
    assert np.allclose(np.asarray(fitted), before, rtol=0, atol=1e-9)
    alone = np.vstack([maps.transform(fitted, row[None]) for row in new])
    assert (np.linalg.norm(alone[:, None] - centres, axis=2).argmin(1) == own).all()


def test_too_few_points_or_nan_are_refused():
    with pytest.raises(ValueError, match="at least 8 points, there are 7"):
        maps.fit_map(np.zeros((7, 3)))
    with pytest.raises(ValueError, match="1 of 20 points"):
        maps.fit_map(np.vstack([np.zeros((19, 3)), np.full((1, 3), np.nan)]))


def test_purity_by_a_naive_loop_over_other_subjects():
    rng = np.random.default_rng(2)
    features, label, subject = (
        rng.standard_normal((60, 4)),
        rng.integers(0, 3, 60),
        rng.choice(list("abcd"), 60),
    )
    found = maps.purity(features, label, subject, k=5)
    for i in range(60):
        others = [j for j in range(60) if subject[j] != subject[i]]
        near = sorted(others, key=lambda j: np.linalg.norm(features[i] - features[j]))[:5]
        assert found[i] == pytest.approx(np.mean([label[j] == label[i] for j in near]))
        assert maps.chance_purity(label, subject)[i] == pytest.approx(
            np.mean([label[j] == label[i] for j in others])
        )
    assert np.isnan(maps.purity(features[:5], label[:5], ["a"] * 5)).all()


def test_purity_of_noise_is_chance():
    rng = np.random.default_rng(3)
    label, subject = rng.choice(5, 2000, p=[0.4, 0.3, 0.1, 0.1, 0.1]), rng.integers(0, 10, 2000)
    found = maps.purity(rng.standard_normal((2000, 6)), label, subject)
    assert found.mean() == pytest.approx(maps.chance_purity(label, subject).mean(), abs=0.015)


def test_silhouette_is_scikit_learns_and_needs_two_labels(three):
    assert maps.silhouette(*three).mean() == pytest.approx(silhouette_score(*three))
    assert np.isnan(maps.silhouette(three[0], np.zeros(90))).all()


def test_the_danger_zone_is_where_severe_subjects_are():
    rng = np.random.default_rng(4)
    xy = np.vstack([rng.normal((0, 0), 1, (100, 2)), rng.normal((10, 0), 1, (20, 2))])
    subject = np.r_[["a"] * 50, ["b"] * 50, ["c"] * 20]
    ahi = np.r_[[2.0] * 50, [12.0] * 50, [60.0] * 20]
    zone = maps.DangerZone(xy, subject, ahi)
    assert zone.contains([[10, 0]]).all() and not zone.contains([[0, 0]]).any()
    assert np.isnan(zone.share([[100, 100]])).all() and not zone.contains([[100, 100]]).any()
    # Each subject weighs the same, however many clips it has: all three on one heap are a share of
    # 1/3.
    heap = maps.DangerZone(rng.normal(0, 1, (120, 2)), subject, ahi)
    assert heap.share([[0, 0]])[0] == pytest.approx(1 / 3, abs=0.12)
    with pytest.raises(ValueError, match="AHI > 30"):
        maps.DangerZone(xy[:100], subject[:100], ahi[:100])


def people(rng, n=24, planted=True):
    ahi = np.sort(rng.permutation(np.r_[np.linspace(1, 4, n // 4), np.linspace(6, 14, n // 4),
                                        np.linspace(16, 29, n // 4), np.linspace(35, 80, n // 4)]))  # fmt: skip
    means = rng.standard_normal((n, 60))
    if planted:
        means[:, :20] += 4 * np.log(ahi)[:, None]
    return means, ahi


@pytest.mark.slow
def test_leave_one_out_tells_a_planted_group_and_not_noise():
    means, ahi = people(np.random.default_rng(5))
    found = portrait.hits(portrait.leave_one_out(means, ahi))
    assert found.value > 50 and found.p_value < 0.01 and found.chance == pytest.approx(25, abs=8)
    assert found.ci_low < found.value < found.ci_high and found.n == 24
    noise = portrait.hits(portrait.leave_one_out(*people(np.random.default_rng(6), planted=False)))
    # The channels are chosen without the subject that is judged, so noise stays noise.
    assert noise.p_value > 0.05 and noise.value < 50


def test_channels_are_those_above_the_threshold_or_the_largest():
    means, ahi = people(np.random.default_rng(7))
    channels, passed = portrait.select(means, ahi)
    assert passed and set(range(20)) <= set(channels)
    channels, passed = portrait.select(means[:, 20:], ahi, above=0.99)
    assert not passed and len(channels) == portrait.FALL_BACK


def test_hits_by_hand():
    table = pd.DataFrame({"group": [0, 0, 1, 1, 2, 3], "prediction": [0, 0, 1, 1, 3, 3]})
    found = portrait.hits(table)
    assert found.value == pytest.approx(100 * 5 / 6)
    # expected agreement of shuffled groups: sum over groups of n_true * n_predicted / n
    assert found.chance == pytest.approx(100 * (2 * 2 + 2 * 2 + 0 + 1 * 2) / 36, abs=1.5)
    assert np.isnan(portrait.hits(table[:0]).value)


def test_clip_portrait_places_the_others_and_the_zone_tells_them():
    rng = np.random.default_rng(8)
    ahi = pd.Series(
        {f"s{k}": a for k, a in enumerate([1.0, 8, 20, 50, 2, 3, 9, 12, 40, 60, 70, 45])}
    )
    subject = np.repeat(ahi.index.to_numpy(), 20)
    features = rng.standard_normal((len(subject), 8))
    features[:, 0] += 8 * (ahi[subject] > 30)
    four = portrait.typical_four(ahi[:4])
    assert four.to_list() == [1.0, 8, 20, 50]
    found = portrait.clip_portrait(features, subject, ahi, four.index)
    shares = found.zone_shares(ahi)
    assert len(found.fitted) == 80 and len(found.placed) == 160 and shares["clips"].eq(20).all()
    assert shares[shares["ahi"] > 30]["in_zone"].min() > shares[shares["ahi"] < 30]["in_zone"].max()
    told = portrait.zone_correlation(shares)
    assert told.rho > 0.5 and told.p_value < 0.05 and told.n == 8
    assert np.isnan(portrait.zone_correlation(shares[:3]).rho)
    with pytest.raises(ValueError, match="AHI > 30"):
        portrait.clip_portrait(features, subject, ahi, ["s0", "s1"])
