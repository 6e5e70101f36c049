from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from sacd.analysis import ahi
from sacd.stages import STAGES

NIGHTS = Path(__file__).resolve().parents[3] / "shared" / "realdata" / "ucddb_tables"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_stage_means_by_a_naive_loop(rng):
    n = 300
    embedding, subject, stage = (
        rng.standard_normal((n, 6)),
        rng.choice(list("cab"), n),
        rng.integers(0, 4, n),
    )
    stage[subject == "b"] = np.where(stage[subject == "b"] == 1, 0, stage[subject == "b"])
    subjects, means = ahi.stage_means(embedding, subject, stage)
    assert subjects.tolist() == ["a", "b", "c"] and means.shape == (3, 5, 6)
    for i, s in enumerate("abc"):
        for k in range(5):
            rows = [embedding[j] for j in range(n) if subject[j] == s and stage[j] == k]
            if rows:
                assert means[i, k] == pytest.approx(np.mean(rows, 0))
            else:
                assert np.isnan(means[i, k]).all()
    assert np.isnan(means[1, 1]).all() and np.isnan(means[:, 4]).all()
    fewest = ahi.stage_means(embedding, subject, stage, fewest=3)[1]
    assert np.isnan(fewest[:, 1]).all() and np.isfinite(fewest[:, 0]).all()


def test_targets_leave_out_groups_without_members_or_others():
    assert list(ahi.targets([1, 2, 40, 50])) == ["AHI", "Normal", "Severe"]
    assert ahi.targets([1, 2, 40, 50])["Severe"].tolist() == [0, 0, 1, 1]
    assert list(ahi.targets([1, 2])) == ["AHI"]


def test_correlations_equal_scipy_for_every_target(rng):
    means, values = rng.standard_normal((20, 5, 4)), rng.exponential(20, 20)
    targets = ahi.targets(values)
    table = ahi.correlations(means, targets, permutations=50)
    assert len(table) == len(targets) * 5 * 4
    for (target, stage, channel), line in table.set_index(
        ["target", "stage", "channel"]
    ).iterrows():
        expected = scipy_stats.spearmanr(means[:, STAGES.index(stage), channel], targets[target])
        assert (line["rho"], line["p"]) == pytest.approx(tuple(expected))
    q = scipy_stats.false_discovery_control(table[table["target"] == "AHI"]["p"])
    assert table[table["target"] == "AHI"]["q"].to_numpy() == pytest.approx(q)


def test_strength_counts_as_a_naive_loop_and_finds_a_planted_stage(rng):
    means, values = rng.standard_normal((30, 5, 12)), rng.exponential(20, 30)
    means[:, 2, :6] += 2 * scipy_stats.zscore(scipy_stats.rankdata(values))[:, None]
    means[:, 4] = np.nan
    table = ahi.strength(means, values, permutations=200)
    rho = np.array([scipy_stats.spearmanr(means[:, 2, c], values)[0] for c in range(12)])
    line = table.loc["N2"]
    assert (line["mean_abs"], line["median_rho"]) == pytest.approx(
        (np.abs(rho).mean(), np.median(rho))
    )
    assert line["above"] == (np.abs(rho) > 0.4).sum() >= 6
    assert line["p_mean_abs"] == pytest.approx(1 / 201) and line["p_above"] < 0.05
    assert table.loc["W", "p_mean_abs"] > 0.02 and np.isnan(table.loc["REM", "mean_abs"])
    assert table.loc["W", "null_mean_abs"] == pytest.approx(np.sqrt(2 / np.pi / 29), rel=0.1)


def test_strength_of_noise_has_a_uniform_p():
    p = []
    for trial in range(80):
        rng = np.random.default_rng(trial)
        mixed = rng.standard_normal((18, 3)) @ rng.standard_normal(
            (3, 20)
        )  # channels far from independent
        means = np.full((18, 5, 20), np.nan)
        means[:, 1] = mixed
        p.append(
            ahi.strength(means, rng.exponential(20, 18), permutations=99).loc["N1", "p_mean_abs"]
        )
    assert scipy_stats.kstest(p, "uniform").pvalue > 0.01


def test_contrast_and_its_jackknife(rng):
    means, values = rng.standard_normal((25, 5, 20)), rng.exponential(20, 25)
    means[:, 2:4] += 1.5 * scipy_stats.zscore(scipy_stats.rankdata(values))[:, None, None]
    found = ahi.contrast([means], values)
    size = np.abs(
        [[scipy_stats.spearmanr(means[:, s, c], values)[0] for c in range(20)] for s in range(5)]
    ).mean(1)
    assert found.value == pytest.approx(size[2:4].mean() - size[[0, 1, 4]].mean())
    assert 0 < found.ci_low < found.value < found.ci_high and found.n_subjects == 25
    left = [ahi.contrast([np.delete(means, i, 0)], np.delete(values, i)).value for i in range(25)]
    reach = scipy_stats.t.ppf(0.975, 24) * np.sqrt(
        24 / 25 * np.sum((np.array(left) - np.mean(left)) ** 2)
    )
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (found.value - reach, found.value + reach)
    )
    noise = [rng.standard_normal((25, 5, 20)) for _ in range(3)]
    none = ahi.contrast(noise, values)
    assert none.ci_low < 0 < none.ci_high and none.n_seeds == 3
    assert none.value == pytest.approx(np.mean([ahi.contrast([m], values).value for m in noise]))


def test_replication_of_a_true_and_of_a_chance_relation(rng):
    values, held_out = rng.exponential(20, 60), np.arange(60) < 25
    means = rng.standard_normal((60, 5, 50))
    means[:, 2, :10] -= 1.5 * scipy_stats.zscore(scipy_stats.rankdata(values))[:, None]
    table = ahi.replication(means, values, held_out, permutations=200)
    assert table.loc["N2", "channels"] >= 10 and table.loc["N2", "signed_rho"] > 0.5
    assert table.loc["N2", "p"] == pytest.approx(1 / 201)
    others = table.drop("N2").dropna()
    assert (others["p"] > 0.01).all() and (table["n"] == 25).all()


def test_hypnogram_measures_by_hand():
    night = [0] * 20 + [1] * 10 + [2] * 40 + [-1] * 2 + [3] * 20 + [0] * 4 + [4] * 26 + [0] * 8
    found = ahi.hypnogram_measures(night)
    assert found["TST (min)"] == (10 + 40 + 20 + 26) / 2
    assert found["sleep latency (min)"] == 10
    assert found["N2 (% of TST)"] == pytest.approx(100 * 40 / 96)
    # W-N1, N1-N2, N3-W, W-REM, REM-W; what lies beside unscored clips is no change
    assert found["stage changes (1/h)"] == pytest.approx(5 / (96 / 120))


def test_hypnogram_measures_of_the_25_real_nights():
    if not NIGHTS.is_dir():
        pytest.skip("no UCDDB tables")
    nights = ahi.real_nights(NIGHTS)
    assert len(nights) == 25 and nights.loc["UCDDB002", "ahi"] == 23
    # The same from the derived table of epochs, by another way.
    epochs = pd.read_csv(NIGHTS / "ucddb_epochs.csv.gz")
    for name, night in epochs.groupby("subject"):
        stage = night.sort_values("epoch")["stage5"].to_numpy()
        sleep = (stage > 0).sum()
        assert nights.loc[name, "TST (min)"] == pytest.approx(sleep / 2)
        for k in range(1, 5):
            share = nights.loc[name, f"{STAGES[k]} (% of TST)"]
            assert share == pytest.approx(100 * (stage == k).sum() / sleep, abs=0.01)
    table = ahi.correlate_measures(nights, permutations=2000)
    for measure, line in table.iterrows():
        known = nights[[measure, "ahi"]].dropna()
        expected = scipy_stats.spearmanr(known[measure], known["ahi"])
        assert (line["n"], line["rho"], line["p"]) == pytest.approx((len(known), *expected))
    # Real sleepers with more apnea have less N3; ten measures of 25 nights do not survive
    # correction.
    assert table.loc["N3 (% of TST)", "rho"] == pytest.approx(-0.4074, abs=1e-3)
    assert (
        table["p"].idxmin() == "N3 (% of TST)"
        and table["q"].min() > 0.05
        and table["p_max"].min() > 0.05
    )


def test_missing_tables_are_named(tmp_path):
    with pytest.raises(ValueError, match="UCDDB"):
        ahi.real_nights(tmp_path)
