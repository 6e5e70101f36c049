import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, recall_score

from sacd import metrics
from sacd.stages import STAGES

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=60)


@given(pairs)
def test_scores_agree_with_scikit_learn(clips):
    true, predicted = np.array(clips).T
    found = metrics.summary(pd.DataFrame({"subject": 0, "stage": true, "prediction": predicted}))
    labels = range(5)
    assert found["accuracy"] == pytest.approx(100 * accuracy_score(true, predicted))
    f1 = f1_score(true, predicted, labels=labels, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(100 * f1)
    if len(set(true) | set(predicted)) > 1:
        assert found["kappa"] == pytest.approx(cohen_kappa_score(true, predicted, labels=labels))
    else:
        assert np.isnan(found["kappa"])
    recall = recall_score(true, predicted, labels=labels, average=None, zero_division=np.nan)
    assert [found[stage] for stage in STAGES] == pytest.approx(100 * recall, nan_ok=True)


def test_hand_worked_example():
    matrix = np.zeros((5, 5), int)
    matrix[0, 0], matrix[0, 2], matrix[2, 2], matrix[4, 2] = (
        3,
        1,
        4,
        2,
    )  # W 4, N2 4, REM 2; N1 and N3 never occur
    accuracy, f1, kappa, w, n1, n2, n3, rem = metrics.scores(matrix)
    assert accuracy == pytest.approx(70)
    assert f1 == pytest.approx(100 * (6 / 7 + 8 / 11) / 5)
    chance = (4 * 3 + 4 * 7) / 100
    assert kappa == pytest.approx((0.7 - chance) / (1 - chance))
    assert (w, n2, rem) == pytest.approx((75, 100, 0))
    assert np.isnan(n1) and np.isnan(n3)


def test_scores_of_a_stack_and_of_scaled_counts():
    stack = np.random.default_rng(0).integers(0, 50, (3, 4, 5, 5))
    assert metrics.scores(stack).shape == (3, 4, 8)
    assert metrics.scores(stack)[1, 2] == pytest.approx(metrics.scores(stack[1, 2] / 7))


def test_confusion_keeps_stages_that_never_occur():
    matrix = metrics.confusion([0, 0, 4], [0, 1, 4])
    assert matrix.shape == (5, 5) and matrix.sum() == 3 and matrix[0, 1] == 1
    assert metrics.confusion([], []).sum() == 0


def test_by_subject_and_pooled():
    table = pd.DataFrame(
        {
            "subject": ["b", "a", "a", "b", "b"],
            "stage": [0, 1, 1, 2, 2],
            "prediction": [0, 1, 2, 2, 3],
        }
    )
    found = metrics.by_subject(table)
    assert list(found.index) == ["a", "b"] and list(found["clips"]) == [2, 3]
    assert found.loc["a", "accuracy"] == 50 and np.isnan(found.loc["a", "W"])
    assert metrics.summary(table)["accuracy"] == 60


@pytest.mark.parametrize("bad", [-1, 5])
def test_labels_outside_the_stages_are_refused(bad):
    table = pd.DataFrame({"subject": 0, "stage": [0, bad], "prediction": [0, 0]})
    with pytest.raises(ValueError, match=f"'stage' holds {bad}"):
        metrics.summary(table)


def test_missing_columns_and_empty_tables_are_refused():
    with pytest.raises(ValueError, match="prediction"):
        metrics.summary(pd.DataFrame({"subject": [0], "stage": [0]}))
    with pytest.raises(ValueError, match="is empty"):
        metrics.summary(pd.DataFrame({"subject": [], "stage": [], "prediction": []}))
