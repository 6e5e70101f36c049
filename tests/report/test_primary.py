"""The primary family: Holm among five, whether they were computed or not."""

import numpy as np
import pandas as pd
import pytest

from sacd.analysis.crossed import margin
from sacd.report.primary import ENDPOINT, FAMILY, primary


def line(row, value, se, p_value, seeds=8):
    """A line of a paired table whose interval is that of the normal distribution."""
    numbers = {"row": row, "column": ENDPOINT, "value": value, "p_value": p_value, "se": se}
    numbers |= {"ci_low": value - 1.96 * se, "ci_high": value + 1.96 * se, "df": 119.0}
    numbers |= {"n_subjects": 120, "n_seeds": seeds, "margin": margin(ENDPOINT)}
    return numbers | {"needs": "about 200 subjects x 8 seeds", "p_holm": 1.0, "verdict": "?"}


def table2(*numbers):
    names = [row for _, table, row in FAMILY if table == "table2_paired"]
    return pd.DataFrame([line(row, *each) for row, each in zip(names, numbers, strict=True)])


def test_a_verdict_needs_a_p_value_corrected_for_all_five():
    four = table2((0.02, 0.007, 0.012), (0, 0.003, 1), (0.01, 0.009, 0.3), (0.1, 0.01, 1e-9))
    found = primary({"table2_paired": four})
    assert found["p_holm"].tolist() == pytest.approx([0.048, 1, 0.9, 5e-9])
    assert found["verdict"].tolist() == ["better", "equal", "undecided", "better"]
    assert found["needs"].tolist() == ["", "", "about 200 subjects x 8 seeds", ""]


def test_a_comparison_that_was_not_computed_is_left_out_and_still_counts():
    alone = table2((0.02, 0.007, 0.012), (0, 0.003, 1), (0, 0.003, 1), (0, 0.003, 1)).head(1)
    found = primary({"table2_paired": alone})
    assert len(found) == 1 and found["p_holm"].item() == pytest.approx(5 * 0.012)
    assert found["verdict"].item() == "undecided"


def test_other_endpoints_and_tables_do_not_matter():
    other = table2((0.2, 0.01, 1e-9), (0, 0.1, 1), (0, 0.1, 1), (0, 0.1, 1)).assign(column="kappa")
    assert primary({"table2_paired": other}).empty and primary({}).empty


@pytest.mark.filterwarnings("error")  # a column without any text is not one of numbers
def test_a_row_of_one_training_decides_nothing():
    once = table2((0.2, 0.01, 1e-9, 1), (0, 0.1, 1, 1), (0, 0.1, 1, 1), (0, 0.1, 1, 1))
    found = primary({"table2_paired": once.assign(needs=np.nan)})
    assert set(found["verdict"]) == {"undecided"} and set(found["needs"]) == {""}
