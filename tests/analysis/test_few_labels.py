"""Few labels: which rows are compared, and which words fit the verdicts."""

import pandas as pd
import pytest

from sacd.analysis import few_labels as few

ROWS = [
    *("alone, 6", "KD, 6", "KD by YASA, 6", "teacher, 6"),
    *("alone, 12", "KD, 12", "KD by YASA, 12", "teacher, 12"),
    *("alone, 72", "KD, 72", "KD by YASA, 72", "teacher, 72"),
    *("teacher by YASA, all", "baseline/YASA"),
]


def compared(verdicts, rows=ROWS):
    """As of `stats.compare`, with the verdict "undecided" but where another one is given."""
    pairs = few.pairs(rows)
    index = pd.MultiIndex.from_tuples(pairs, names=["row", "against"])
    numbers = {"difference": 0.03, "ci_low": 0.01, "ci_high": 0.05, "p_holm": 0.02}
    table = pd.DataFrame({**numbers, "n_subjects": 120, "n_seeds": 5}, index=index)
    return table.assign(verdict=[verdicts.get(pair, "undecided") for pair in pairs])


def test_taught_rows_stand_against_the_untaught_with_the_same_and_with_all_labels():
    assert few.pairs(ROWS) == [
        *(("KD, 6", "alone, 6"), ("KD by YASA, 6", "alone, 6")),
        *(("KD, 12", "alone, 12"), ("KD by YASA, 12", "alone, 12")),
        *(("KD, 72", "alone, 72"), ("KD by YASA, 72", "alone, 72")),
        *(("KD, 6", "alone, 72"), ("KD by YASA, 6", "alone, 72")),
        *(("KD, 12", "alone, 72"), ("KD by YASA, 12", "alone, 72")),
    ]
    assert few.budgets(ROWS)["KD"] == [6, 12, 72] and few.taught(ROWS) == ["KD", "KD by YASA"]


def test_a_method_with_a_comma_keeps_its_name():
    assert few.kind_and_budget("KD, standardised logits, 6") == ("KD, standardised logits", 6)
    assert few.kind_and_budget("teacher by YASA, all") is None


@pytest.mark.parametrize("verdict", ["better", "equal"])
def test_the_smallest_number_that_is_as_good_is_found(verdict):
    table = compared({("KD, 12", "alone, 72"): verdict, ("KD by YASA, 6", "alone, 72"): verdict})
    assert few.reached(table, "KD", 72) == 12 and few.reached(table, "KD by YASA", 72) == 6


@pytest.mark.parametrize("verdict", ["worse", "undecided"])
def test_no_number_is_found_where_none_is_as_good(verdict):
    table = compared({("KD, 12", "alone, 72"): verdict, ("KD, 72", "alone, 72"): "better"})
    assert few.reached(table, "KD", 72) is None


@pytest.mark.parametrize("verdict", ["better", "worse", "equal", "undecided"])
def test_the_answer_has_the_verdict_and_the_number_of_labels(verdict):
    table = compared({("KD, 12", "alone, 12"): verdict, ("KD, 12", "alone, 72"): "equal"})
    said = few.in_short(table, 12, ["KD"])
    assert said.startswith("AUC minus that of the student alone, 12 labelled subjects: KD +0.030")
    assert f"n = 120 subjects x 5 seeds: **{verdict}**." in said
    assert said.endswith("margin: KD 12; none of the numbers tried below 72 for KD by YASA.")
    assert "alone, 6 labelled" in few.in_short(table, 8, ["KD"]), "8 is not there: the smallest is"


def test_the_answer_of_a_training_set_smaller_than_every_number():
    rows = ["alone, 6", "KD, 6", "teacher, 6", "baseline/YASA"]
    said = few.in_short(compared({}, rows), 12, ["KD"])
    assert said == "no number of labels of the grid is below the training set's 6 subjects."
