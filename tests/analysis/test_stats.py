import cProfile
import itertools

import numpy as np
import pandas as pd
import pytest

from sacd.analysis import stats
from sacd.analysis.bootstrap import percentiles
from sacd.metrics import METRICS, scores, summary


def predict(rng, subjects=8, skill=0.5, clips=40, spread=0.15, subject_seed=0):
    """Simulated predictions; the skill varies between subjects."""
    own = np.random.default_rng(subject_seed)
    stages = own.choice(5, (subjects, clips), p=[0.4, 0.05, 0.3, 0.15, 0.1])
    skills = np.clip(skill + spread * own.standard_normal(subjects), 0.05, 0.95)
    right = rng.random((subjects, clips)) < skills[:, None]
    guess = np.where(right, stages, rng.integers(0, 5, (subjects, clips)))
    subject = np.repeat([f"s{i:02d}" for i in range(subjects)], clips)
    return pd.DataFrame({"subject": subject, "stage": stages.ravel(), "prediction": guess.ravel()})


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_interval_equals_a_naive_resampling_of_tables(rng):
    table = predict(rng)
    found = stats.intervals(table, resamples=300, seed=5).set_index("column")
    groups = [g for _, g in table.groupby("subject")]
    counts = np.random.default_rng(5).multinomial(8, np.full(8, 1 / 8), 300)
    draws = [
        summary(pd.concat([groups[i] for i in np.repeat(range(8), row)]))["kappa"] for row in counts
    ]
    assert found.loc["kappa", ["ci_low", "ci_high"]].to_list() == pytest.approx(
        np.quantile(draws, [0.025, 0.975])
    )
    assert found["value"].to_dict() == pytest.approx(summary(table))
    assert list(found.index) == list(METRICS)


def test_several_seeds_are_averaged_and_their_spread_given(rng):
    tables = [predict(rng) for _ in range(3)]
    found = stats.intervals(tables, resamples=100).set_index("column").loc["macro_f1"]
    each = [summary(t)["macro_f1"] for t in tables]
    assert found["value"] == pytest.approx(np.mean(each))
    assert found["sd"] == pytest.approx(np.std(each, ddof=1))
    assert (found["n_seeds"], found["n_subjects"]) == (3, 8)
    assert np.isnan(stats.intervals(tables[0], resamples=100)["sd"]).all()


def test_one_subject_has_no_interval(rng):
    found = stats.intervals(predict(rng, subjects=1))
    assert found[["ci_low", "ci_high"]].isna().all().all() and found["value"].notna().any()


def test_a_stage_of_one_subject_only_is_left_out_of_the_draws_without_it(rng):
    table = predict(rng)
    table.loc[table["stage"] == 1, "stage"] = 0
    table.loc[0, ["stage", "prediction"]] = 1
    n1 = stats.intervals(table, resamples=200).set_index("column").loc["N1"]
    assert (n1["ci_low"], n1["value"], n1["ci_high"]) == (100, 100, 100)
    without = table[~((table["subject"] == "s00") & (table["stage"] == 1))]
    assert np.isnan(stats.intervals(without, resamples=50).set_index("column").loc["N1", "ci_low"])


def test_2000_resamples_take_no_more_calls_than_20(rng):
    """All resamples are drawn and scored at once; 2000 take about 0.01 s."""
    _, matrices = stats._matrices([predict(rng, subjects=20)] * 3)
    calls = []
    for resamples in (20, 20, 2000):  # the first fills caches
        with cProfile.Profile() as profile:
            stats._resampled(matrices, resamples, 0)
        calls.append(sum(entry.callcount for entry in profile.getstats()))
    assert calls[2] == calls[1]


def test_interval_covers_the_truth_about_as_often_as_it_says():
    population = predict(np.random.default_rng(9), subjects=1000, clips=60)
    subjects, matrices = stats._matrices(population)
    truth = scores(matrices.sum(0)).mean(0)[2]
    rng, hits = np.random.default_rng(3), 0
    for trial in range(200):
        sample = matrices[rng.integers(0, len(subjects), 20)]
        low, high = percentiles(stats._resampled(sample, 400, trial)[:, 2], 0.95)
        hits += low <= truth <= high
    assert 0.86 <= hits / 200 <= 0.99


def test_paired_difference_swaps_exactly(rng):
    a, b = predict(rng, subjects=6, skill=0.6), predict(rng, subjects=6, skill=0.5)
    found = stats.paired_difference(a, b, "accuracy", resamples=200)
    assert found.value == pytest.approx(summary(a)["accuracy"] - summary(b)["accuracy"])
    assert found.ci_low < found.value < found.ci_high and found.n_subjects == 6
    (_, first), (_, second) = stats._matrices(a), stats._matrices(b)
    null = []
    for swap in itertools.product([False, True], repeat=6):
        swap = np.array(swap)[:, None, None]
        x, y = (
            np.where(swap, p[:, 0], q[:, 0]).sum(0) for p, q in ((second, first), (first, second))
        )
        null.append(
            (scores(x) - scores(y))[0]
        )  # accuracy is linear: the pooled metric of the swaps is their sum
    null = np.array(null)
    one_sided = min((null >= found.value - 1e-9).mean(), (null <= found.value + 1e-9).mean())
    assert found.p_value == pytest.approx(min(1, 2 * one_sided))


def test_paired_interval_is_narrower_than_the_unpaired_one(rng):
    a, b = (
        predict(rng, subjects=20, skill=0.6, spread=0.3),
        predict(rng, subjects=20, skill=0.55, spread=0.3),
    )
    paired = stats.paired_difference(a, b)
    one = stats.intervals(a).set_index("column").loc["kappa"]
    assert paired.ci_high - paired.ci_low < 0.8 * (one["ci_high"] - one["ci_low"])


def test_paired_difference_of_a_method_with_itself_is_nothing(rng):
    a = predict(rng)
    assert stats.paired_difference(a, a)[:4] == (0, 0, 0, 1)


def test_seeds_of_the_two_methods_may_differ_in_number(rng):
    a, b = [predict(rng, skill=0.7) for _ in range(3)], predict(rng, skill=0.4)
    found = stats.paired_difference(a, b, "kappa")
    assert found.value == pytest.approx(
        np.mean([summary(t)["kappa"] for t in a]) - summary(b)["kappa"]
    )
    assert found.p_value < 0.05 and found.ci_low > 0


@pytest.mark.parametrize("metric", ["accuracy", "kappa"])
def test_swap_test_is_calibrated_under_the_null(metric):
    p = []
    for trial in range(60):
        rng = np.random.default_rng(trial)
        p.append(stats.paired_difference(predict(rng), predict(rng), metric, resamples=10).p_value)
    assert np.mean(np.array(p) < 0.1) < 0.25 and 0.3 < np.median(p) < 0.8


def test_two_very_different_methods_do_not_hide_in_their_own_mixture():
    """One method is right in 7 of 10 clips, the other always predicts N2. Half of the subjects have
    mostly W, half mostly N2. Swapping the methods in some of them mixes into a third kappa; a test
    by the pooled kappa of swapped subjects would give p = 0.29."""
    stage = np.concatenate([np.repeat([0, 2], n) for n in [(90, 10), (10, 90)] * 4])
    right = np.arange(len(stage)) % 10 < 7
    clips = pd.DataFrame({"subject": np.repeat(list("abcdefgh"), 100), "stage": stage})
    good, poor = (
        clips.assign(prediction=np.where(right, stage, 2 - stage)),
        clips.assign(prediction=2),
    )
    found = stats.paired_difference(good, poor, "kappa")
    assert found.ci_low > 0 and found.p_value == pytest.approx(2 / 2**8)


def test_subjects_without_a_stage_do_not_affect_the_test_of_its_recall(rng):
    a, b = predict(rng, skill=0.6), predict(rng, skill=0.5)
    few = a["subject"].isin(sorted(a["subject"].unique())[:5])
    keep = few | (a["stage"] != 4)
    a, b = a[keep], b[keep]
    here = stats.paired_difference(a[few[keep]], b[few[keep]], "REM")
    assert stats.paired_difference(a, b, "REM").p_value == pytest.approx(here.p_value, abs=0.02)
    one = a["subject"].eq(a["subject"].iloc[0]) | (a["stage"] != 4)
    assert np.isnan(stats.paired_difference(a[one], b[one], "REM").p_value), (
        "of one subject nothing can be told"
    )


def test_other_clips_are_refused(rng):
    a = predict(rng)
    with pytest.raises(ValueError, match="different clips"):
        stats.paired_difference(a, predict(rng, subject_seed=1))
    with pytest.raises(ValueError, match="other clips"):
        stats.intervals([a, a[a["subject"] != "s03"]])
    with pytest.raises(ValueError, match="unknown"):
        stats.paired_difference(a, a, "auc")
    with pytest.raises(ValueError, match="no table"):
        stats.intervals([])


def test_in_words_a_verdict_needs_interval_p_and_more_than_the_noise_of_seeds():
    def verdict(**changes):
        line = {"value": 2.0, "ci_low": 1.0, "ci_high": 3.0, "sd": 0.5, "n_seeds": 3} | changes
        return stats.in_words(pd.Series(line), "more", "less").rpartition(": ")[2]

    assert verdict() == "more" and verdict(value=-2.0, ci_low=-3.0, ci_high=-1.0) == "less"
    assert verdict(ci_low=-1.0) == "inconclusive" and verdict(p_holm=0.06) == "inconclusive"
    assert verdict(sd=2.0) == "inconclusive" and verdict(sd=np.nan, n_seeds=1) == "inconclusive"
    assert (
        verdict(sd=np.nan, seed_noise=1.9) == "more" and verdict(seed_noise=2.1) == "inconclusive"
    )
    assert verdict(seed_noise=np.nan) == "inconclusive"


def test_a_lead_is_supported_only_by_an_interval_against_every_other_row():
    poor, good = ([predict(np.random.default_rng(s), skill=k) for s in (1, 2)] for k in (0.2, 0.8))
    assert ("good", "kappa") in stats.supported_leads({"poor": poor, "good": good}, resamples=300)
    assert ("good", "kappa") not in stats.supported_leads(
        {"poor": poor, "good": good, "twin": good}, resamples=300
    )
    assert stats.supported_leads({"good": good}) == set()
    one = {"poor": poor[:1], "good": good[:1]}
    assert stats.supported_leads(one, resamples=300) == set(), (
        "one seed each: nobody knows what another would give"
    )
    apart = [predict(np.random.default_rng(1), skill=k) for k in (0.3, 1.0)]
    assert stats.supported_leads({"poor": poor, "good": apart}, resamples=300) == set(), (
        "its own seeds differ by more"
    )


def test_against_compares_every_row_with_one_and_demands_more_than_seed_noise():
    rng = np.random.default_rng(0)
    stage = rng.integers(0, 5, 2400)
    subject = np.repeat(np.arange(12), 200)

    def table(right):
        guess = np.where(rng.random(len(stage)) < right, stage, (stage + 1) % 5)
        return pd.DataFrame({"subject": subject, "stage": stage, "prediction": guess})

    tests = {
        "ours": [table(0.7), table(0.7)],
        "same": [table(0.7)],
        "bad": [table(0.4)],
        "good": [table(0.9)],
    }
    found = stats.against(tests, "ours", "accuracy").droplevel("against")
    assert found["verdict"].to_dict() == {"same": "inconclusive", "bad": "worse", "good": "better"}
    assert (found["n_seeds"] == "1, 2").all() and found["p_holm"].tolist() == stats.correct(
        found["p_value"]
    ).tolist()
    sd = np.std([100 * (t["stage"] == t["prediction"]).mean() for t in tests["ours"]], ddof=1)
    assert found["seed_noise"].tolist() == pytest.approx([2 * sd * 1.5**0.5] * 3)
    noisy = stats.against(
        {**tests, "ours": [table(0.2), table(1.0)]}, "ours", "accuracy"
    ).droplevel("against")
    assert (noisy["verdict"] == "inconclusive").all(), "seeds alone differ by more"
    single = stats.against({**tests, "ours": [table(0.7)]}, "ours", "accuracy")
    assert single["seed_noise"].isna().all() and (single["verdict"] == "inconclusive").all()
    pairs = stats.compare(tests, [("good", "bad"), ("good", "ours")], "accuracy")
    assert pairs.loc[("good", "ours"), "seed_noise"] == found.loc["good", "seed_noise"]
    assert pairs["verdict"].to_list() == ["inconclusive", "better"], (
        "neither good nor bad has a second seed"
    )
