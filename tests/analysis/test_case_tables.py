"""Tables of Figs. 6 and 11 to 13, made from small made-up inputs."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from sacd.analysis import case_tables, crossed
from sacd.stages import STAGES

DATA = "made-up data"


def line_of(table, row, column):
    return table.set_index(["row", "column"]).loc[(row, column)]


def cells(**more):
    """Two cells of a confusion matrix."""
    table = pd.DataFrame({"stage": ["W", "W"], "prediction": ["W", "N1"], "value": [70.0, 30.0]})
    return table.assign(column=["W as W", "W as N1"], **more)


def test_fig6_prints_recalls_on_the_diagonal_only():
    given = {"SACD": cells(), "SACD - CCL": cells(p_holm=0.2, verdict="undecided")}
    table = case_tables.fig6(given, {"SACD": "AttnSleep/SACD"}, DATA)
    assert line_of(table, "SACD", "W as W")["paper_value"] == 75.6
    assert table["paper_value"].notna().sum() == 1
    assert line_of(table, "SACD - CCL", "W as N1")["p_holm"] == 0.2


def test_fig11_names_stage_and_column():
    change = pd.DataFrame({"stage": ["all", "N1"], "column": ["net", "net"], "value": [2.0, -1.0]})
    table = case_tables.fig11(change, DATA)
    assert line_of(table, "N1", "net (%)")["value"] == -1


@pytest.fixture
def link():
    movement = pd.Series([4.0, 1.0, 3.0, 2.0, 9.0], index=list("abcde"))
    accuracy = pd.DataFrame({0: [70, 90, 80, 85, 50], 1: [72, 60, 80, 81, 90]}, index=list("abcde"))
    return movement, accuracy


def test_movement_and_error_is_spearman_of_each_seed_and_crossed(link):
    movement, accuracy = link

    def rho_of(people, seed):
        return spearmanr(movement[people], -accuracy.loc[people, seed])[0]

    everybody = list(movement.index)
    table = case_tables.movement_and_error(movement, accuracy)
    total = np.array([rho_of(everybody, seed) for seed in accuracy])
    left = [[rho_of([x for x in everybody if x != out], s) for s in accuracy] for out in everybody]
    expected = crossed.estimates(total[:, None], np.array(left)[..., None])[0]
    line, p = table.iloc[0], table.iloc[1]
    assert line[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(expected[:3])
    assert line["value"] == pytest.approx(total.mean()) and p["value"] == expected.p_value
    assert line["sd"] == pytest.approx(np.std(total, ddof=1))


def test_movement_and_error_of_three_subjects_is_unknown(link):
    movement, accuracy = link
    table = case_tables.movement_and_error(movement.head(3), accuracy.head(3))
    assert table["value"].isna().all() and table["n_subjects"].tolist() == [3, 3]


def test_fig12_joins_distance_place_and_movement(link):
    by_distance = pd.DataFrame({"method": "SACD", "distance": [1, 5], "value": [40.0, 20.0]})
    beside = pd.concat({"SACD": pd.DataFrame({"value": [20.0]}, index=["all clips"])})
    table = case_tables.fig12(by_distance, beside, case_tables.movement_and_error(*link), DATA)
    assert table["column"].tolist() == [
        "error at distance 1 (%)",
        "error at distance 5 or more (%)",
        "beside minus far of all clips (points)",
        "rho of movement and error",
        "p",
    ]


def test_fig13_leaves_out_the_diagonal():
    table = case_tables.fig13(cells(), DATA)
    assert table[["row", "column", "value"]].to_numpy().tolist() == [["true W", "N1", 30.0]]
    assert set(table["row"]) <= {f"true {stage}" for stage in STAGES}
