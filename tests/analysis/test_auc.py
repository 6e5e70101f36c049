"""AUC without each subject, and one bias per class, against naive computations."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from sacd.analysis import auc
from sacd.stages import STAGES


def clips(seed=0, subjects=6, n=40, stages=5, digits=2):
    """Predictions with ties (probabilities of two digits); one subject lacks some stages."""
    rng = np.random.default_rng(seed)
    stage = rng.integers(0, stages, subjects * n)
    stage[:n] = np.minimum(stage[:n], 1)
    p = rng.dirichlet(np.ones(5), len(stage)) + 0.4 * np.eye(5)[stage]
    p = (p / p.sum(1, keepdims=True)).round(digits)
    subject = np.repeat([f"s{k}" for k in range(subjects)], n)
    table = pd.DataFrame({"subject": subject, "stage": stage})
    table[auc.PROBABILITIES] = p
    return table.sample(frac=1, random_state=seed).reset_index(drop=True)


def naive(table):
    found = []
    for k, name in enumerate(STAGES):
        positive = table["stage"] == k
        if positive.any() and not positive.all():
            found.append(roc_auc_score(positive, table[f"p_{name}"]))
    return np.mean(found) if found else np.nan


def of(table):
    return auc.macro_auc(table["stage"], table[auc.PROBABILITIES], table["subject"])


@pytest.mark.parametrize("stages", [5, 3])
def test_auc_of_all_and_without_each_subject_is_that_of_sklearn(stages):
    table = clips(stages=stages)
    whole, without = of(table)
    assert whole == pytest.approx(naive(table))
    for subject, found in zip(sorted(table["subject"].unique()), without, strict=True):
        assert found == pytest.approx(naive(table[table["subject"] != subject]))


def test_a_stage_of_one_subject_alone_leaves_the_mean_with_it():
    table = clips()
    table = table[(table["stage"] != 4) | (table["subject"] == "s3")]
    _, without = of(table)
    assert without[3] == pytest.approx(naive(table[table["subject"] != "s3"]))


def test_one_stage_has_no_auc():
    whole, without = of(clips().assign(stage=2))
    assert np.isnan(whole) and np.isnan(without).all()
    constant = clips()
    constant[auc.PROBABILITIES] = 0.2
    assert of(constant)[0] == 0.5, "ties count half"


def naive_kappas(table, biases, k):
    logs = np.log(table[auc.PROBABILITIES].to_numpy())
    found = {}
    for bias in np.arange(-20, 21) / 10:
        moved = biases.copy()
        moved[k] = bias
        found[bias] = cohen_kappa_score(table["stage"], (logs + moved).argmax(1))
    return found


def test_biases_are_those_of_a_naive_coordinate_search():
    table = clips(3, n=30, digits=6)
    p = table[auc.PROBABILITIES].to_numpy() * [1, 0.3, 4, 1, 0.5]
    table[auc.PROBABILITIES] = p / p.sum(1, keepdims=True)
    expected = np.zeros(5)
    for _ in range(3):
        for k in range(5):
            kappas = naive_kappas(table, expected, k)
            best = max(kappas.values())
            good = [bias for bias, kappa in kappas.items() if kappa > best - 1e-12]
            expected[k] = min(good, key=abs)
    found = auc.biases(table["stage"], table[auc.PROBABILITIES])
    assert found.tolist() == pytest.approx((expected - expected[0]).tolist()) and found[0] == 0
    logs = np.log(table[auc.PROBABILITIES].to_numpy())
    before, after = (cohen_kappa_score(table["stage"], (logs + b).argmax(1)) for b in (0, found))
    assert after > before + 0.05


def test_a_table_that_is_right_everywhere_needs_no_bias():
    table = clips(n=20)
    table[auc.PROBABILITIES] = 0.05 + 0.75 * np.eye(5)[table["stage"]]
    assert auc.biases(table["stage"], table[auc.PROBABILITIES]).tolist() == [0] * 5


def test_calibrated_undoes_the_weights_of_validation_subjects():
    def weighted(seed):
        table = clips(seed, subjects=12, digits=9)
        p = table[auc.PROBABILITIES].to_numpy()
        table["plain"] = p.argmax(1)
        p = p * [1, 0.2, 5, 1, 1]
        table[auc.PROBABILITIES] = p / p.sum(1, keepdims=True)
        return table.assign(prediction=p.argmax(1))

    test = auc.calibrated(weighted(1), weighted(2))
    kappa = {}
    for name in ("plain", "prediction", "calibrated"):
        kappa[name] = cohen_kappa_score(test["stage"], test[name])
    assert kappa["calibrated"] > kappa["prediction"] + 0.1
    assert kappa["calibrated"] == pytest.approx(kappa["plain"], abs=0.05)


def test_a_probability_of_zero_is_never_predicted_by_a_bias():
    table = clips(n=20)
    table["p_REM"] = 0.0
    found = auc.calibrated(table, table)
    assert (found["calibrated"] != 4).all()
