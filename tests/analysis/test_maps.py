import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from sacd.analysis import maps

CENTRES = np.array([[0, 0], [12, 0], [0, 12]])


@pytest.fixture(scope="module")
def three():
    """Three distant clusters in 10 dimensions, with 30 points each."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 30)
    features = rng.standard_normal((90, 10))
    features[:, :2] += CENTRES[label]
    return features, label


@pytest.fixture(scope="module")
def fitted(three):
    return maps.fit_map(three[0])


def test_equal_seeds_give_equal_maps(three, fitted):
    assert np.array_equal(np.asarray(fitted), np.asarray(maps.fit_map(three[0])))
    assert maps.silhouette(np.asarray(fitted), three[1]).mean() > 0.5


def test_new_points_are_placed_in_their_cluster_and_leave_the_map_unchanged(three, fitted):
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
    features = rng.standard_normal((60, 4))
    label, subject = rng.integers(0, 3, 60), rng.choice(list("abcd"), 60)
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


def test_silhouette_equals_scikit_learns_and_needs_two_labels(three):
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
    # Subjects have equal weights, however many clips they have; one of these three is severe.
    heap = maps.DangerZone(rng.normal(0, 1, (120, 2)), subject, ahi)
    assert heap.share([[0, 0]])[0] == pytest.approx(1 / 3, abs=0.12)
    with pytest.raises(ValueError, match="AHI > 30"):
        maps.DangerZone(xy[:100], subject[:100], ahi[:100])
