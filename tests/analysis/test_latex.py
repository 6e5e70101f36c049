"""LaTeX tables fit a page, lose no cell, and say nothing of the deviation over seeds."""

import re

import pandas as pd
import pytest

from sacd.analysis import latex


def tabulars(text):
    """Kinds of columns, and lines of cells without the headings, of each part."""
    for kinds, body in re.findall(
        r"\\begin\{tabular\}\{@\{\}(.*?)@\{\}\}.*?\\midrule\n(.*?)\n\\bottomrule", text, re.DOTALL
    ):
        lines = [line.removesuffix(" \\\\").split(" & ") for line in body.splitlines()]
        yield re.findall(r"l|p\{[^{}]*\}", kinds.replace(latex.RAGGED, "")), lines


@pytest.fixture
def wide():
    heads = ["row", *(f"{m} {half}" for m in "ABCDEFG" for half in ("paper", "ours"))]
    lines = [
        [f"row {k}", *(["52.3", f"5{k % 10}.1 ± 0.4 [49.3, 55.1]"] * 7)] for k in range(2 * 60 + 7)
    ]
    return pd.DataFrame(lines, columns=heads)


def test_a_wide_and_long_table_comes_in_parts_that_fit(wide):
    parts = list(tabulars(latex.latex(wide, "A caption.")))
    assert len(parts) > 3
    for kinds, lines in parts:
        assert len(kinds) <= latex.MOST and len(lines) <= latex.LINES
        assert {len(line) for line in lines} == {len(kinds)} and len(kinds) % 2, "both halves"
        longest = [max(len(line[k]) for line in lines) for k in range(len(kinds))]
        assert sum(longest) + latex.GAP * len(kinds) <= latex.WIDTH
    cells = [cell for _, lines in parts for line in lines for cell in line]
    assert cells.count("55.1 [49.3, 55.1]") == 7 * wide.iloc[:, 2].str.startswith("55.1").sum()
    assert cells.count("52.3") == 7 * len(wide)


def test_a_small_table_is_one_part_without_a_number():
    text = latex.latex(pd.DataFrame({"term": ["ce"], "value": [1.54650001]}), "5 % of it")
    assert text.count("\\begin{table}") == 1 and "Part" not in text
    assert "ce & 1.547 \\\\" in text and r"\caption{5 \% of it}" in text


def test_a_column_of_text_is_broken_into_lines_within_the_page():
    table = pd.DataFrame({"where": ["III-C"] * 40, "claim": ["some words " * 30] * 40})
    parts = list(tabulars(latex.latex(table, "c")))
    assert len(parts) > 1, "five lines a row"
    for kinds, lines in parts:
        assert kinds[0] == "l" and float(re.search(r"[\d.]+", kinds[1])[0]) < 1
        assert len(lines) * 4 <= latex.LINES
    assert sum(len(lines) for _, lines in parts) == 40


def test_a_long_caption_leaves_fewer_lines(wide):
    short, long = (
        max(len(lines) for _, lines in tabulars(latex.latex(wide, "words " * n))) for n in (1, 50)
    )
    assert short - long >= 5, "four lines in normal size are six in scriptsize"


def test_a_path_may_be_broken_behind_its_slash_and_a_row_name_not():
    text = latex.latex(pd.DataFrame({"x": ["somebody0/repository", "AttnSleep/SACD"]}), "c")
    assert "somebody0/\\allowbreak{}repository" in text and "AttnSleep/SACD" in text


def test_headings_name_a_metric_once_above_both_halves(wide):
    text = latex.latex(wide.iloc[:2, :5], "c")
    assert "row & A &  & B &  \\\\\n & paper & ours & paper & ours \\\\" in text


@pytest.mark.parametrize("sign", "&%$#_{}")
def test_signs_are_escaped(sign):
    assert latex.escaped(f"a{sign}b") == f"a\\{sign}b"
