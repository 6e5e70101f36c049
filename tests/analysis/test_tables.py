import os

import numpy as np
import pandas as pd
import pytest

from sacd.analysis import tables
from sacd.metrics import METRICS


def numbers(kappa=0.2, sd=np.nan):
    return pd.DataFrame(
        {
            "column": METRICS,
            "value": [40.04, 30, kappa, 50, 10, 40, 30, 20],
            "ci_low": 1.0,
            "ci_high": 2.0,
        }
        | {"sd": sd, "n_seeds": 3, "n_subjects": 12}
    )


@pytest.fixture
def table():
    made = [
        tables.rows("table2", "-/R(2+1)D-18", numbers(), "simulated cohort"),
        tables.rows("table2", "AttnSleep/SACD", numbers(0.25, 0.01), "simulated cohort"),
        tables.rows("table2", "band-power forest", numbers(0.3), "simulated cohort"),
    ]
    return pd.concat(made, ignore_index=True)


def test_rows_carry_the_printed_value_where_there_is_one(table):
    assert list(table.columns) == tables.COLUMNS
    printed = table.set_index(["row", "column"])["paper_value"]
    assert printed["AttnSleep/SACD", "kappa"] == 0.60
    assert printed["band-power forest"].isna().all()
    other = tables.rows("table2", "SACD, small student", numbers(), "d", paper_row="AttnSleep/SACD")
    assert other["paper_value"].notna().all()


def test_wide_shows_paper_beside_ours(table):
    view = tables.wide(table, supported={("AttnSleep/SACD", "kappa")})
    assert view.loc["AttnSleep/SACD", ("kappa", "paper")] == "0.60"
    assert view.loc["AttnSleep/SACD", ("kappa", "ours")] == "0.25 ± 0.01 [1.00, 2.00] *"
    assert view.loc["-/R(2+1)D-18", ("accuracy", "ours")] == "40.0 [1.0, 2.0]"
    assert view.loc["band-power forest", ("accuracy", "paper")] == ""
    assert list(view.index) == list(table["row"].unique())
    assert sum("*" in text for text in view.to_numpy().ravel()) == 1


@pytest.mark.parametrize(
    "column, cell, text",
    [
        ("W as N3", (0.0104, 0.0295, -0.0144, 0.0353), "0.0 ± 0.0 [-0.0, 0.0]"),
        ("W as W", (40.3, 11.02, 30.2, 50.5), "40.3 ± 11.0 [30.2, 50.5]"),
        ("validation AUC at weight 1", (0.77, np.nan, 0.72, 0.8206), "0.770 [0.720, 0.821]"),
        ("median rho", (-1.57e-05, 0.00229, np.nan, np.nan), "-0.000 ± 0.002"),
        ("accuracy_4", (67.7, 1.026, 62.3, 73), "67.7 ± 1.0 [62.3, 73.0]"),
        ("bias", (-27.0002, np.nan, -69.5, 15.51), "-27.0 [-69.5, 15.5]"),
        ("true AHI", (56, np.nan, np.nan, np.nan), "56.0"),
        ("p", (0.0001, np.nan, np.nan, np.nan), "0.0001"),
        ("clips", (55878, np.nan, np.nan, np.nan), "55,878"),
        ("weight used", (0.1, np.nan, np.nan, np.nan), "0.1"),
    ],
)
def test_the_numbers_of_a_cell_have_equal_decimals(column, cell, text):
    line = dict(zip(("value", "sd", "ci_low", "ci_high"), cell, strict=True))
    made = tables.rows("t", "r", pd.DataFrame([{"column": column, **line}]), "d")
    assert tables.wide(made).loc["r", (column, "ours")] == text


def test_wide_refuses_two_values_for_one_cell(table):
    with pytest.raises(ValueError, match="twice"):
        tables.wide(pd.concat([table, table.head(1)]))


def test_write_gives_three_files_with_equal_bytes_and_the_table_back(table, tmp_path):
    first = tables.write(table, tmp_path / "a", "table2")
    again = tables.write(table.copy(), tmp_path / "b", "table2")
    assert [path.name for path in first] == ["table2.csv", "table2.md", "table2.tex"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
    pd.testing.assert_frame_equal(tables.read(first[0]), table, check_dtype=False)
    assert "40.04" in first[0].read_text() and r"R(2+1)D-18" in first[2].read_text()
    lines = first[1].read_text().splitlines()[2:]
    assert lines[0].startswith("| row | accuracy paper | accuracy ours |") and len(lines) == 5
    assert len({line.count("|") for line in lines}) == 1


def test_paired_tests_are_written_tidy_with_their_p_values(tmp_path):
    numbers = {"difference": [0.03], "ci_low": [0.01], "ci_high": [0.05], "p_value": [0.01]}
    numbers |= {"p_holm": [0.02], "n_subjects": [15], "n_seeds": [3], "se": [0.012]}
    numbers |= {"margin": [0.02], "verdict": ["better"], "needs": [""]}
    pair = pd.MultiIndex.from_tuples([("a", "b")], names=["row", "against"])
    compared = pd.DataFrame(numbers, index=pair)
    tables.write_paired("table2", {"kappa": compared}, "simulated", tmp_path)
    line = tables.read(tmp_path / "table2_paired.csv").iloc[0]
    shown = ["row", "column", "value", "n_seeds", "p_value", "p_holm", "se", "margin", "verdict"]
    expected = ["a - b", "kappa", 0.03, 3, 0.01, 0.02, 0.012, 0.02, "better"]
    assert line[shown].tolist() == expected
    latex = (tmp_path / "table2_paired.tex").read_text()
    assert "ci\\_low" not in latex and f"& {line['value']:.2f} [{line['ci_low']:.2f}, " in latex
    text = (tmp_path / "table2_paired.md").read_text()
    for told in ("Holm", "Data: simulated", "n = 15 subjects", "| a - b | kappa | 0.03 |"):
        assert told in text
    assert "crossed over training seeds and subjects]" in text
    tables.write_paired(
        "table3", {"accuracy": compared.assign(p_value=np.nan)}, "simulated", tmp_path
    )
    text = (tmp_path / "table3_paired.md").read_text()
    assert "n = 15 groups of videos" in text and "nan" not in text
    assert "crossed over training seeds and groups of videos]" in text


def test_a_comparison_reads_with_even_digits_and_small_p_as_such():
    lines = {
        "difference": [0.5, -0.00004, np.nan],
        "ci_low": [-12.25, -0.0123, np.nan],
        "ci_high": [3.0, 0.0123, np.nan],
        "p_value": [4e-12, 0.2, np.nan],
        "p_holm": [0.00099, 1.0, np.nan],
        "margin": [1.0, 0.01, 0.02],
        "verdict": ["worse", "equal", "undecided"],
    }
    view = tables.readable(pd.DataFrame(lines).assign(sd=1.0, se=1.0, df=1.0))
    assert list(view.columns) == list(lines)
    assert view.iloc[0].tolist()[:5] == ["+0.5", "-12.2", "+3.0", "< 0.001", "< 0.001"]
    assert view.iloc[1].tolist()[:5] == ["+0.000", "-0.012", "+0.012", "0.200", "1.000"]
    assert view.iloc[2].tolist()[:5] == [""] * 5


def test_captions_name_item_data_numbers_and_intervals(table, tmp_path):
    table["data"], table["n_seeds"] = "simulated cohort, 5 % of it", [1, *[3] * (len(table) - 1)]
    for view in (None, table[["row", "value"]]):
        _, md, tex = tables.write(table, tmp_path, "t", {("AttnSleep/SACD", "kappa")}, view)
        wanted = (
            "table2. Data: simulated cohort, 5 % of it; subjects: 12; seeds per row: 1 to 3; "
            "± sd over seeds; [95 % interval, crossed over training seeds and subjects; of a row "
            "of one seed over subjects alone]; * leads every other row by the paired test."
        )
        assert md.read_text().splitlines()[:2] == [wanted.replace("*", "\\*"), ""]
        shorter = wanted.replace("± sd over seeds; ", "").replace("%", r"\%")
        assert rf"\caption{{{shorter}" in tex.read_text()
    bare = table.assign(item="table6", ci_low=np.nan, sd=np.nan, n_seeds=np.nan)
    assert tables.caption_of(bare) == "table6. Data: simulated cohort, 5 % of it; subjects: 12."
    assert "over subjects alone, as there is one seed" in tables.caption_of(table.assign(n_seeds=1))
    assert "Wilson" in tables.caption_of(table.assign(item="fig8"))
    _, md, tex = tables.write(table, tmp_path, "t", caption="My & own")
    assert (
        md.read_text().startswith("My & own\n\n| row") and r"\caption{My \& own" in tex.read_text()
    )


def test_latex_escapes_percent_and_underscore(table, tmp_path):
    table["row"] = "50 % of n_1"
    path = tables.write(table.head(8), tmp_path, "t")[2]
    assert r"50 \% of n\_1" in path.read_text()


def test_an_interrupted_write_leaves_the_old_file(table, tmp_path, monkeypatch):
    path = tables.write(table, tmp_path, "t")[0]
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        tables.write(table.head(8), tmp_path, "t")
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 3


def test_a_table_that_is_not_tidy_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lacks 10 columns: row"):
        tables.write(pd.DataFrame({"item": ["x"]}), tmp_path, "t")
