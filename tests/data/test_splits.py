import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sacd.config import SplitConfig
from sacd.data.splits import PARTS, split_subjects
from sacd.stages import ahi_group


def participants(ahi):
    return pd.DataFrame({"ahi": ahi}, index=[f"sub-{k:03d}" for k in range(len(ahi))])


@settings(max_examples=30, deadline=None)
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
