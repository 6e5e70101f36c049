from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sacd.paper import printed as paper
from sacd.stages import STAGES

PRINTED = Path(__file__).parents[3] / "shared" / "paper" / "printed.csv"

TEACHERS = {"Attnsleep": "AttnSleep"}
METHODS = {"Baseline R(2+1)D": "R(2+1)D-18", "Baseline R3D": "R3D-18", "Fitnet": "FitNet"}
ROWS = {
    ("table3", "baseline"): "R(2+1)D-18",
    ("table4", "Baseline R3D (only IR video)"): "R3D-18 (video)",
    ("table4", "Baseline Attnsleep (only EEG)"): "AttnSleep (EEG)",
    ("table5", "baseline( $v_0$ )"): "v0",
} | {("table5", f"$v_{i}$"): f"v{i}" for i in range(1, 5)}


def our_row(item, row):
    if item == "table2":
        teacher, method = row.split("/")
        return f"{TEACHERS.get(teacher, teacher)}/{METHODS.get(method, method)}"
    return ROWS.get((item, row), row.removeprefix("Experiment "))


def test_tables_2_to_5_equal_the_printed_list_both_ways():
    if not PRINTED.exists():
        pytest.skip("the printed values are not beside the repository")
    printed = pd.read_csv(PRINTED)
    printed["row"] = [our_row(i, r) for i, r in zip(printed["item"], printed["row"], strict=True)]
    ours = paper.load()
    ours = ours[ours["item"].isin(printed["item"])]
    key = ["item", "row", "column"]
    joined = printed.merge(
        ours, on=key, how="outer", indicator=True, suffixes=("_printed", "_ours")
    )
    assert (joined["_merge"] == "both").all(), joined[joined["_merge"] != "both"]
    assert (joined["value_printed"] == joined["value_ours"]).all()


def test_keys_are_unique_and_no_value_is_missing():
    table = paper.load()
    assert not table.duplicated(["item", "row", "column"]).any()
    assert table[["item", "row", "column", "value", "where"]].notna().all().all()


def test_units_are_the_papers():
    table = paper.load()
    kappa = table[(table["item"] == "table2") & (table["column"] == "kappa")]
    percent = table[table["item"].str.fullmatch("table[2-5]") & (table["column"] != "kappa")]
    assert len(kappa) == 23 and kappa["value"].between(0, 1).all()
    assert percent["value"].between(40, 100).all()


def test_standard_deviations_are_those_of_the_sacd_rows():
    table = paper.load().dropna(subset="sd")
    assert (
        set(table["row"]) == {"AttnSleep/SACD", "DeepSleepNet/SACD", "Modified-SEN/SACD"}
        and len(table) == 24
    )
    assert (
        table.set_index(["row", "column"]).at[("AttnSleep/SACD", "kappa"), "sd"] == 0.38
    )  # as printed: a percent scale


def test_value_and_grid():
    assert paper.value("table2", "-/R(2+1)D-18", "accuracy") == 52.5
    assert paper.value("table6", "A", "ahi") == 94.2
    assert np.isnan(paper.value("table4", "A", "kappa"))  # not printed
    grid = paper.table("table4")
    assert list(grid.columns) == ["accuracy", *STAGES]
    assert list(grid.index) == ["R3D-18 (video)", "AttnSleep (EEG)", *"ABCDEFG"]


def test_load_gives_a_copy():
    table = paper.load()
    table["value"] = 0.0
    assert paper.value("fig8", "N3", "channels") == 36


def test_quoted_numbers_come_from_printed_rows():
    printed = paper.load()
    rows = {item: set(lines["row"]) for item, lines in printed.groupby("item")}
    for (item, row), cell in paper.quoted().items():
        assert row in rows[item]
        quoted = {cell.upper, cell.lower} - {""}
        panels = {name.partition(": ")[2] for name in rows["fig5"]}  # Fig. 5 has a row per panel
        assert quoted <= (panels if item == "fig5" else rows[cell.table])


def test_every_number_of_the_text_has_the_rows_it_was_quoted_from():
    text = set(paper.load().query("item == 'text'")["row"])
    assert text == {row for item, row in paper.quoted() if item == "text"}
    endpoints = paper.load()["column"].str.endswith((paper.FROM, paper.TO))
    assert set(paper.load().loc[endpoints, "item"]) == {"text"}
