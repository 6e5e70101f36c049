import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sacd.config import SplitConfig
from sacd.data.splits import (
    PARTS,
    fold_parts,
    labelled_subjects,
    split_subjects,
    subject_folds,
)
from sacd.stages import ahi_group


def participants(ahi):
    return pd.DataFrame({"ahi": ahi}, index=[f"sub-{k:03d}" for k in range(len(ahi))])


@settings(max_examples=30)
@given(st.lists(st.floats(0, 100), min_size=16, max_size=120), st.integers(0, 5))
def test_every_subject_is_in_exactly_one_part_and_groups_keep_their_shares(ahi, seed):
    table = participants(ahi)
    try:
        part = split_subjects(table, SplitConfig(seed=seed))
    except ValueError as error:
        assert "too few" in str(error)
        return
    assert sorted(part.index) == sorted(table.index)
    assert set(part) == set(PARTS)
    for _, members in table.groupby(table["ahi"].map(ahi_group)):
        share = (part[members.index] == "test").mean()
        if len(members) >= 10:
            assert abs(share - 0.2) <= 0.5 / len(members) + 1e-9


def test_the_papers_105_subjects_give_21_tested_not_20():
    ahi = np.repeat([2.0, 10, 20, 50], [30, 30, 20, 25])
    part = split_subjects(participants(ahi), SplitConfig())
    assert (part == "test").sum() == 6 + 6 + 4 + 5


def test_the_order_of_the_table_does_not_matter_and_the_seed_does():
    table = participants(np.linspace(0, 60, 40))
    a = split_subjects(table, SplitConfig())
    b = split_subjects(table.sample(frac=1, random_state=1), SplitConfig())
    pd.testing.assert_series_equal(a, b)
    assert not a.equals(split_subjects(table, SplitConfig(seed=1)))


def test_too_few_subjects_are_refused():
    with pytest.raises(ValueError, match="at least 3 subjects"):
        split_subjects(participants([1, 2]), SplitConfig())


@pytest.fixture
def training():
    """A table of subjects and its split: 72 for training, as in the demo."""
    ahi = np.repeat([2.0, 10, 20, 50], [70, 60, 40, 40])
    table = participants(np.random.default_rng(0).permutation(ahi))
    return table, split_subjects(table, SplitConfig(test=4 / 7))


def test_labelled_subjects_are_for_training_and_each_number_holds_the_smaller_ones(training):
    table, part = training
    train = set(part.index[part == "train"])
    before = set()
    for number in range(1, len(train) + 1):
        chosen = labelled_subjects(table, part, number)
        assert len(set(chosen)) == number and before < set(chosen) <= train
        before = set(chosen)
    assert set(labelled_subjects(table, part, 0)) == before == train


def test_labelled_subjects_keep_the_shares_of_the_ahi_groups(training):
    table, part = training
    group = table["ahi"].map(ahi_group)
    share = group[part.index[part == "train"]].value_counts(normalize=True)
    for number in (6, 12, 24, 48):
        counts = group[labelled_subjects(table, part, number)].value_counts()
        assert len(counts) == 4 and (counts - number * share).abs().max() <= 1


def test_labelled_subjects_do_not_depend_on_the_order_of_the_table(training):
    table, part = training
    order = table.sample(frac=1, random_state=1)
    again = labelled_subjects(order, part[order.index], 12)
    assert sorted(again) == sorted(labelled_subjects(table, part, 12))


def test_more_labelled_subjects_than_there_are_are_refused(training):
    table, part = training
    number = (part == "train").sum() + 1
    with pytest.raises(ValueError, match=f"{number} labelled subjects asked for, {number - 1} are"):
        labelled_subjects(table, part, number)


@given(st.integers(4, 60), st.integers(2, 10), st.integers(0, 5), st.integers(0, 30))
def test_folds_test_every_subject_once_and_keep_parts_apart(n, k, seed, at_most):
    ahi = pd.Series(np.random.default_rng(n).uniform(0, 60, n), [f"sub-{i:02d}" for i in range(n)])
    kept = min(n, at_most) if at_most else n
    if kept < max(4, k):
        with pytest.raises(
            ValueError, match=f"{k} folds need at least {max(4, k)} subjects, there are {kept}"
        ):
            subject_folds(ahi, k, seed, at_most)
        return
    fold = subject_folds(ahi, k, seed, at_most)
    assert (
        fold.index.is_unique
        and len(fold) == kept
        and fold.value_counts().max() - fold.value_counts().min() <= 1
    )
    assert fold.equals(subject_folds(ahi.sample(frac=1, random_state=1), k, seed, at_most))
    tested = []
    for number in range(k):
        part = fold_parts(fold, number)
        assert set(part) == {"train", "validation", "test"}
        tested += list(part.index[part == "test"])
    assert sorted(tested) == sorted(fold.index)


def test_folds_spread_the_ahi_groups():
    ahi = pd.Series([1.0] * 10 + [10.0] * 10 + [40.0] * 10, [f"sub-{i:02d}" for i in range(30)])
    few = subject_folds(ahi, 5, seed=3)
    for number in range(5):
        assert ahi[few.index[few == number]].value_counts().tolist() == [2, 2, 2]
    assert ahi[subject_folds(ahi, 3, at_most=9).index].value_counts().tolist() == [3, 3, 3]
    unknown = pd.Series(np.nan, [f"SC{i}" for i in range(6)])
    assert subject_folds(unknown, 2).value_counts().tolist() == [3, 3]
