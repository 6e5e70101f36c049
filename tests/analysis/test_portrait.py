import numpy as np
import pandas as pd
import pytest

from sacd.analysis import portrait


def people(rng, n=24, planted=True):
    """Mean embeddings and AHI of n subjects, a quarter in each AHI group, in ascending order."""
    groups = ((1, 4), (6, 14), (16, 29), (35, 80))
    ahi = np.concatenate([np.linspace(*limits, n // 4) for limits in groups])
    means = rng.standard_normal((n, 60))
    if planted:
        means[:, :20] += 4 * np.log(ahi)[:, None]
    return means, ahi


@pytest.mark.slow
def test_leave_one_out_finds_a_planted_group_and_nothing_in_noise():
    means, ahi = people(np.random.default_rng(5))
    found = portrait.hits(portrait.leave_one_out(means, ahi))
    assert found.value > 50 and found.p_value < 0.01 and found.chance == pytest.approx(25, abs=8)
    assert found.ci_low < found.value < found.ci_high and found.n == 24
    noise = portrait.hits(portrait.leave_one_out(*people(np.random.default_rng(6), planted=False)))
    # The channels are selected without the subject that is predicted, so noise stays noise.
    assert noise.p_value > 0.05 and noise.value < 50


def test_channels_are_those_above_the_threshold_or_the_largest(monkeypatch):
    means, ahi = people(np.random.default_rng(7))
    channels, passed = portrait.select(means, ahi)
    assert passed and set(range(20)) <= set(channels)
    monkeypatch.setattr(portrait, "ABOVE", 0.99)
    channels, passed = portrait.select(means[:, 20:], ahi)
    assert not passed and len(channels) == portrait.FALL_BACK


def test_hits_by_hand():
    table = pd.DataFrame({"group": [0, 0, 1, 1, 2, 3], "prediction": [0, 0, 1, 1, 3, 3]})
    found = portrait.hits(table)
    assert found.value == pytest.approx(100 * 5 / 6)
    # expected agreement of shuffled groups: sum over groups of n_true * n_predicted / n
    assert found.chance == pytest.approx(100 * (2 * 2 + 2 * 2 + 0 + 1 * 2) / 36, abs=1.5)
    assert np.isnan(portrait.hits(table[:0]).value)


def test_clip_portrait_places_the_others_and_the_zone_separates_them():
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
    assert told.value > 0.5 and told.p_value < 0.05 and told.n_subjects == 8
    assert told.ci_low < told.value < told.ci_high
    assert np.isnan(portrait.zone_correlation(shares[:3]).value)
    with pytest.raises(ValueError, match="AHI > 30"):
        portrait.clip_portrait(features, subject, ahi, ["s0", "s1"])
