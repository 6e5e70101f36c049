"""Tables of Figs. 7 to 10, made from small made-up inputs."""

import numpy as np
import pandas as pd
import pytest

from sacd.analysis import embedding_tables, tables
from sacd.analysis.crossed import Estimate

DATA = "made-up data"


def line_of(table, row, column):
    return table.set_index(["row", "column"]).loc[(row, column)]


def strengths():
    """Two seeds of one method and stage, as `ahi.strength` gives them."""
    numbers = {"median_rho": [0.1, 0.3], "mean_abs": 0.2, "null_mean_abs": 0.1, "above": 3}
    numbers |= {"null_above": 1.0, "p_mean_abs": [0.2, 0.05]}
    index = pd.MultiIndex.from_tuples(
        [("SACD", 0, "N2"), ("SACD", 1, "N2")], names=["method", "seed", "stage"]
    )
    return pd.DataFrame(numbers, index)


PRESENT = pd.Series({"N2": 9, "N3": 0})


def test_fig7_strength_is_the_mean_over_seeds_and_the_largest_p():
    table = embedding_tables.fig7(strengths(), {}, PRESENT, 9, 512, DATA)
    rho = line_of(table, "SACD: N2", "median rho")
    assert rho["value"] == pytest.approx(0.2)
    assert rho["sd"] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert (rho["n_seeds"], rho["n_subjects"]) == (2, 9)
    p = line_of(table, "SACD: N2", "p (mean |rho|)")
    assert p["value"] == 0.2 and np.isnan(p["sd"])


def test_fig7_has_contrasts_and_counts():
    estimate = Estimate(0.2, 0.1, 0.3, 0.01, 9, 2, 0.04, 5.0)
    named = {"SACD: N2 and N3": estimate}
    table = embedding_tables.fig7(strengths(), named, PRESENT, 9, 512, DATA)
    contrast = line_of(table, "SACD: N2 and N3", "mean |rho|")
    assert contrast[["value", "ci_high", "n_seeds", "se"]].tolist() == [0.2, 0.3, 2, 0.04]
    counts = table[table["row"] == "all"].set_index("column")["value"]
    assert counts.to_dict() == {"subjects": 9, "stages": 1, "channels": 512}


def test_fig8_shows_hits_beside_chance():
    hits = pd.DataFrame(
        {"value": 50.0, "ci_low": 30.0, "ci_high": 70.0}, index=[("N2", "held out")]
    )
    hits = hits.assign(chance=25.0, p_value=0.04, n=8)
    table = embedding_tables.fig8({"N2": 12}, {"N2": 20}, hits, DATA)
    assert line_of(table, "N2", "channels")[["value", "n_subjects"]].tolist() == [12, 20]
    gain = line_of(table, "N2: leave one out, held out", "right group minus chance (points)")
    assert gain[["value", "ci_low", "ci_high"]].tolist() == [25, 5, 45]
    assert embedding_tables.fig8({}, {}, pd.DataFrame(), DATA).columns.tolist() == tables.COLUMNS


def test_fig9_has_an_interval_for_rho_and_none_for_p():
    told = pd.DataFrame({"value": 0.5, "ci_low": 0.1, "ci_high": 0.8}, index=[("N3", "all others")])
    table = embedding_tables.fig9(told.assign(p_value=0.02, n_subjects=16), DATA)
    assert table["row"].tolist() == ["N3, all others"] * 2
    assert table["value"].tolist() == [0.5, 0.02]
    assert table["ci_low"].notna().tolist() == [True, False]
    assert embedding_tables.fig9(pd.DataFrame(), DATA).empty


def test_fig10_measures_and_differences_agree():
    subject = np.repeat(["a", "b", "c"], 4)
    rng = np.random.default_rng(0)
    values = {key: rng.random(12) for key in [("SACD", 0), ("SACD", 1), ("CCL", 0), ("CCL", 1)]}
    measures = {"purity (%)": values}
    measured = embedding_tables.fig10_measures(measures, ["SACD", "CCL"], 2, subject)
    apart = embedding_tables.fig10_differences(measures, "SACD", ["CCL"], 2, subject)
    means = measured.set_index("row")["value"]
    assert means["SACD"] == pytest.approx(np.mean([values["SACD", 0], values["SACD", 1]]))
    assert apart["value"].tolist() == pytest.approx([means["SACD"] - means["CCL"]])
    assert apart["p_holm"].tolist() == apart["p_value"].tolist()  # one test: nothing to correct
    assert apart["n_seeds"].tolist() == [2] and apart["margin"].tolist() == [1.0]
    assert apart["verdict"].tolist() == ["undecided"], "three subjects decide nothing"
    table = embedding_tables.fig10(measured, apart, 40.0, 3, DATA)
    assert table["row"].tolist() == ["SACD", "CCL", "SACD - CCL", "chance"]
    assert line_of(table, "chance", "purity (%)")["value"] == 40
