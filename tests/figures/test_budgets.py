"""The figures of weights and of few labels: what each line is, and that names do not overlap."""

import numpy as np
import pandas as pd
import pytest

from sacd.analysis import tables, tuning
from sacd.figures import budgets

WEIGHTS = [0.1, 1.0, 10.0]
METHODS = ["KD", "KD, standardised logits", "CRD", "CCL", "SACD"]


def tuned(methods=METHODS, used=1.0):
    lines = [(tuning.ALONE, tuning.AUC, 0.7)]
    for k, method in enumerate(methods):
        lines += [(method, tuning.AUC_AT.format(w), 0.7 + 0.01 * k * w) for w in WEIGHTS]
        lines += [(method, tuning.USED, used), (method, tuning.BEST, 10.0)]
    return pd.DataFrame(lines, columns=["row", "column", "value"])


def test_a_panel_for_each_method_marks_the_weight_in_use(check_figure):
    figure = budgets.tuning(tuned(), WEIGHTS)
    assert [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes] == METHODS
    for k, axes in enumerate(figure.axes):
        alone, curve, mark = axes.lines
        assert set(alone.get_ydata()) == {0.7}
        assert list(curve.get_xdata()) == WEIGHTS
        assert curve.get_ydata() == pytest.approx([0.7 + 0.01 * k * w for w in WEIGHTS])
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (1.0, pytest.approx(0.7 + 0.01 * k))
    check_figure(lambda: budgets.tuning(tuned(), WEIGHTS))


def test_a_weight_outside_the_grid_has_no_mark():
    assert all(len(axes.lines) == 2 for axes in budgets.tuning(tuned(used=3.0), WEIGHTS).axes)


def few(numbers=(6, 12, 72), methods=("KD", "SACD")):
    rows = []
    for n in numbers:
        rows.append(f"alone, {n}")
        rows += [f"{method}{how}, {n}" for method in methods for how in ("", " by YASA")]
        rows.append(f"teacher, {n}")
    rows += ["teacher by YASA, all", "baseline/YASA"]
    lines = [(row, column) for row in rows for column in ("auc", "kappa_calibrated")]
    table = pd.DataFrame(lines, columns=["row", "column"]).reindex(columns=tables.COLUMNS)
    value = np.linspace(0.3, 0.8, len(table))
    return table.assign(value=value, ci_low=value - 0.05, ci_high=value + 0.05)


def test_each_kind_of_row_is_a_line_named_at_its_end(check_figure):
    table = few()
    figure = budgets.few_labels(table)
    kinds = ["alone", "KD", "KD by YASA", "SACD", "SACD by YASA", "teacher"]
    for axes, column in zip(figure.axes, ("auc", "kappa_calibrated"), strict=True):
        values = table[table["column"] == column].set_index("row")["value"]
        lines = [container.lines[0] for container in axes.containers]
        for kind, line in zip(kinds, lines, strict=True):
            expected = [values[f"{kind}, {n}"] for n in (6, 12, 72)]
            assert line.get_ydata() == pytest.approx(expected)
            assert line.get_linestyle() == ("--" if "YASA" in kind else "-")
            assert line.get_xdata() == pytest.approx([6, 12, 72], rel=0.1)
        names = [text.get_text() for text in axes.texts]
        assert names == ["alone (dotted: all 72)", *kinds[1:], "teacher by YASA"]
        levels = {line.get_linestyle(): line.get_ydata()[0] for line in axes.lines[-2:]}
        assert levels == {":": values["alone, 72"], "--": values["teacher by YASA, all"]}
    check_figure(lambda: budgets.few_labels(few()))


def test_a_single_number_and_unknown_intervals_are_drawn():
    table = few(numbers=(6,)).assign(ci_low=np.nan, ci_high=np.nan)
    axes = budgets.few_labels(table).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["6"]
