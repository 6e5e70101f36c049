import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from sacd.analysis import crossed, stats
from sacd.analysis.auc import PROBABILITIES
from sacd.metrics import F1, METRICS, stage_f1, summary


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


def with_probabilities(table, seed=0):
    """The same predictions with probabilities, and a second predicted stage."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(5), len(table)) + np.eye(5)[table["prediction"]]
    table = table.assign(calibrated=np.where(rng.random(len(table)) < 0.1, 2, table["prediction"]))
    table[PROBABILITIES] = p / p.sum(1, keepdims=True)
    return table


def naive_metric(table, name):
    """One metric of a table by scikit-learn."""
    if name == "auc":
        of_stage = []
        for k, column in enumerate(PROBABILITIES):
            of_stage.append(roc_auc_score(table["stage"] == k, table[column]))
        return np.mean(of_stage)
    predicted = table["calibrated" if name.endswith("_calibrated") else "prediction"]
    if name.startswith("kappa"):
        return cohen_kappa_score(table["stage"], predicted)
    if name.startswith("macro_f1"):
        f1 = f1_score(table["stage"], predicted, average="macro", labels=range(5), zero_division=0)
        return 100 * f1
    return summary(table.assign(prediction=predicted))[name]


def test_measured_is_each_metric_of_all_clips_and_without_each_subject(rng):
    tables = [with_probabilities(predict(rng, subjects=4), seed) for seed in range(2)]
    found = stats.measured(tables)
    assert found.names == (*METRICS, "auc", "kappa_calibrated", "macro_f1_calibrated")
    assert found.total.shape == (2, 11) and found.left_out.shape == (4, 2, 11)
    for k, table in enumerate(tables):
        for m, name in enumerate(found.names):
            assert found.total[k, m] == pytest.approx(naive_metric(table, name)), name
            for s, subject in enumerate(found.subjects):
                rest = table[table["subject"] != subject]
                assert found.left_out[s, k, m] == pytest.approx(naive_metric(rest, name)), name
    assert stats.measured(predict(rng)).names == METRICS


def test_interval_is_that_of_a_naive_jackknife_of_tables(rng):
    tables = [predict(rng) for _ in range(3)]
    found = stats.intervals(tables).set_index("column")
    pseudo = np.empty((3, 8))
    for k, table in enumerate(tables):
        for s, subject in enumerate(sorted(table["subject"].unique())):
            rest = table[table["subject"] != subject]
            pseudo[k, s] = 8 * summary(table)["kappa"] - 7 * summary(rest)["kappa"]
    seeds, subjects, both = crossed.mean_squares(pseudo)
    error = seeds + max(subjects - both, 0)
    se, df = np.sqrt(error / 24), min(7, 2 * error / seeds)
    value = np.mean([summary(table)["kappa"] for table in tables])
    reach = se * scipy_stats.t.ppf(0.975, df)
    assert found.loc["kappa", ["value", "ci_low", "ci_high"]].to_list() == pytest.approx(
        [value, value - reach, value + reach], abs=1e-7
    )
    assert list(found.index) == list(METRICS)


def test_other_metrics_may_be_asked_for(rng):
    table = predict(rng)
    found = stats.intervals(table, score=stage_f1, names=F1).set_index("column")
    assert found.loc["F1 N2", "value"] == pytest.approx(
        100 * f1_score(table["stage"], table["prediction"], labels=[2], average=None)[0]
    )
    assert (found["ci_low"] < found["value"]).all()


def test_several_seeds_are_averaged_and_their_spread_given(rng):
    tables = [predict(rng) for _ in range(3)]
    found = stats.intervals(tables).set_index("column").loc["macro_f1"]
    each = [summary(t)["macro_f1"] for t in tables]
    assert found["value"] == pytest.approx(np.mean(each))
    assert found["sd"] == pytest.approx(np.std(each, ddof=1))
    assert (found["n_seeds"], found["n_subjects"]) == (3, 8)
    assert np.isnan(stats.intervals(tables[0])["sd"]).all()


def test_one_subject_has_no_interval(rng):
    found = stats.intervals(predict(rng, subjects=1))
    assert found[["ci_low", "ci_high"]].isna().all().all() and found["value"].notna().any()


def test_a_stage_of_one_subject_alone_has_no_interval(rng):
    table = predict(rng)
    table.loc[table["stage"] == 1, "stage"] = 0
    table.loc[0, ["stage", "prediction"]] = 1
    n1 = stats.intervals(table).set_index("column").loc["N1"]
    assert n1["value"] == 100 and np.isnan(n1["ci_low"]) and n1["n_subjects"] == 1


def test_interval_covers_the_truth_about_as_often_as_it_says():
    population = predict(np.random.default_rng(9), subjects=1000, clips=60)
    truth, rng, hits = summary(population)["kappa"], np.random.default_rng(3), 0
    nights = [night for _, night in population.groupby("subject")]
    for _ in range(100):
        drawn = rng.integers(0, 1000, 20)
        sample = pd.concat(nights[i].assign(subject=f"s{k:02d}") for k, i in enumerate(drawn))
        line = stats.intervals(sample).set_index("column").loc["kappa"]
        hits += line["ci_low"] <= truth <= line["ci_high"]
    assert 0.86 <= hits / 100 <= 0.99


def test_one_seed_is_nearly_the_paired_t_test_of_accuracies(rng):
    """All subjects have equally many clips, so the pooled accuracy is the mean of theirs."""
    a, b = predict(rng, subjects=9, skill=0.6), predict(rng, subjects=9, skill=0.5)
    found = stats.paired_difference(a, b, "accuracy")
    right = [t.assign(x=100.0 * (t["stage"] == t["prediction"])) for t in (a, b)]
    of_subjects = [t.groupby("subject")["x"].mean() for t in right]
    test = scipy_stats.ttest_rel(*of_subjects)
    interval = test.confidence_interval()
    assert found.value == pytest.approx(summary(a)["accuracy"] - summary(b)["accuracy"])
    assert found[1:4] == pytest.approx((interval.low, interval.high, test.pvalue))
    assert (found.n_subjects, found.n_seeds) == (9, 1)


def test_paired_interval_is_narrower_than_the_unpaired_one(rng):
    a, b = (predict(rng, subjects=20, skill=skill, spread=0.3) for skill in (0.6, 0.55))
    paired = stats.paired_difference(a, b)
    one = stats.intervals(a).set_index("column").loc["kappa"]
    assert paired.ci_high - paired.ci_low < 0.8 * (one["ci_high"] - one["ci_low"])


def test_paired_difference_of_a_method_with_itself_is_nothing(rng):
    a = predict(rng)
    assert stats.paired_difference(a, a)[:4] == (0, 0, 0, 1)


def test_only_matched_seeds_are_compared(rng):
    a, b = [predict(rng, skill=0.7) for _ in range(3)], [predict(rng) for _ in range(2)]
    found = stats.paired_difference(a, b, "kappa")
    gaps = [summary(x)["kappa"] - summary(y)["kappa"] for x, y in zip(a, b, strict=False)]
    assert found.value == pytest.approx(np.mean(gaps)) and found.n_seeds == 2
    assert found == stats.paired_difference(a[:2], b, "kappa")
    assert stats.paired_difference(b, a, "kappa").value == pytest.approx(-found.value)


def test_two_very_different_methods_are_told_apart():
    """One method is right in 7 of 10 clips, the other always predicts N2. Half of the subjects have
    mostly W, half mostly N2. Swapping the methods in some of them mixes into a third kappa; a test
    by the pooled kappa of swapped subjects would give p = 0.29."""
    stage = np.concatenate([np.repeat([0, 2], n) for n in [(90, 10), (10, 90)] * 4])
    right = np.arange(len(stage)) % 10 < 7
    clips = pd.DataFrame({"subject": np.repeat(list("abcdefgh"), 100), "stage": stage})
    good = clips.assign(prediction=np.where(right, stage, 2 - stage))
    found = stats.paired_difference(good, clips.assign(prediction=2), "kappa")
    assert found.ci_low > 0 and found.p_value < 0.001


def test_subjects_without_a_stage_do_not_affect_the_test_of_its_recall(rng):
    a, b = predict(rng, skill=0.6), predict(rng, skill=0.5)
    few = a["subject"].isin(sorted(a["subject"].unique())[:5])
    keep = few | (a["stage"] != 4)
    a, b = a[keep], b[keep]
    here = stats.paired_difference(a[few[keep]], b[few[keep]], "REM")
    assert stats.paired_difference(a, b, "REM") == here and here.n_subjects == 5
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


def test_in_words_a_verdict_is_that_of_decide():
    def verdict(margin=np.nan, **changes):
        line = {"value": 2.0, "ci_low": 1.0, "ci_high": 3.0, "p_value": 0.01, "n_seeds": 3}
        line |= {"n_subjects": 12, "se": 0.5, "df": 9.0} | changes
        return stats.in_words(pd.Series(line), "more", "less", margin=margin).rpartition(": ")[2]

    assert verdict() == "more" and verdict(value=-2.0, ci_low=-3.0, ci_high=-1.0) == "less"
    assert verdict(ci_low=-1.0) == "undecided" and verdict(p_holm=0.06) == "undecided"
    assert verdict(n_seeds=1) == "undecided"
    assert verdict(ci_low=-1.0, margin=5.0) == "equal within the margin"


def test_a_lead_is_supported_only_by_the_test_against_every_other_row():
    poor, good = ([predict(np.random.default_rng(s), skill=k) for s in (1, 2)] for k in (0.2, 0.8))
    assert ("good", "kappa") in stats.supported_leads({"poor": poor, "good": good})
    assert ("good", "kappa") not in stats.supported_leads(
        {"poor": poor, "good": good, "twin": good}
    )
    assert stats.supported_leads({"good": good}) == set()
    one = {"poor": poor[:1], "good": good[:1]}
    assert stats.supported_leads(one) == set(), "one seed each: nobody knows what another gives"
    apart = [predict(np.random.default_rng(1), skill=k) for k in (0.3, 1.0)]
    assert stats.supported_leads({"poor": poor, "good": apart}) == set(), "its seeds differ by more"


def test_compare_has_a_verdict_for_each_pair_and_what_an_open_one_needs():
    rng = np.random.default_rng(0)
    stage = rng.integers(0, 5, 4800)
    subject = np.repeat(np.arange(24), 200)

    def table(right):
        guess = np.where(rng.random(len(stage)) < right, stage, (stage + 1) % 5)
        return pd.DataFrame({"subject": subject, "stage": stage, "prediction": guess})

    ours = [table(0.7) for _ in range(4)]
    twin = []
    for first in ours:  # of 50 clips, one is staged anew
        again = table(0.7)["prediction"].where(first.index % 50 == 0, first["prediction"])
        twin.append(first.assign(prediction=again))
    tests = {
        "ours": ours,
        "twin": twin,
        "bad": [table(0.4) for _ in range(3)],
        "good": [table(0.9) for _ in range(4)],
        "noisy": [table(0.5), table(0.9), table(0.6)],
        "once": [table(0.4)],
    }
    found = stats.against(tests, "ours", "accuracy").droplevel("against")
    assert found["verdict"].tolist() == ["equal", "worse", "better", "undecided", "undecided"]
    assert found["n_seeds"].tolist() == [4, 3, 4, 3, 1] and (found["n_subjects"] == 24).all()
    assert found["p_holm"].tolist() == crossed.correct(found["p_value"]).tolist()
    assert (found["margin"] == 1).all() and found.loc["once", "needs"] == "a second seed"
    assert "subjects x" in found.loc["noisy", "needs"] and found.loc["good", "needs"] == ""
    pairs = stats.compare(tests, [("good", "bad"), ("good", "ours")], "accuracy")
    expected = stats.paired_difference(tests["good"], tests["bad"], "accuracy")
    line = pairs.loc[("good", "bad")]
    assert line["difference"] == expected.value and line["se"] == expected.se
    assert line["verdict"] == "better" and line["n_seeds"] == 3


def test_one_network_is_held_against_every_training_of_another_row(rng):
    teacher = predict(rng, subjects=20, skill=0.8)
    students = [predict(rng, subjects=20, skill=0.5) for _ in range(4)]
    tests = {"teacher/A": [teacher], "SACD": students, "once": students[:1], "other": [teacher]}
    pairs = [("teacher/A", "SACD"), ("other", "SACD"), ("teacher/A", "once")]
    found = stats.compare(tests, pairs, "accuracy").droplevel("against")
    assert found["n_seeds"].tolist() == [4, 1, 1], "a row that was merely trained once is matched"
    by_hand = stats.paired_difference([teacher] * 4, students, "accuracy")
    assert found["difference"].iloc[0] == by_hand.value and found["se"].iloc[0] == by_hand.se
    assert found["verdict"].tolist() == ["better", "undecided", "undecided"]
