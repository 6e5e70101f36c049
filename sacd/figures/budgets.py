"""Figures of what a training is given: the weight of a method, the number of labelled nights."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sacd.analysis import few_labels as few
from sacd.analysis import tuning as tuned
from sacd.figures.base import INK, Figure, error_bars, legend_above, sentence, spread, styled

_CHOSEN, _GREY = "#D55E00", "#888888"
_TITLES: Final = {"auc": "Macro AUC", "kappa_calibrated": "Cohen's kappa, calibrated"}
_PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


@styled
def tuning(table: pd.DataFrame, weights: Sequence[float]) -> Figure:
    """AUC of each method by its weight, a panel each; the student alone is a horizontal line.

    Args:
        table: of `sacd.analysis.tuning.table`.
        weights: of the grid.
    """
    chosen = tuned.weights_of(table)
    alone = float(table.loc[table["row"] == tuned.ALONE, "value"].iloc[0])
    width = min(4, len(chosen))
    height = -(-len(chosen) // width)
    figure = Figure((max(1.8 * width, 3.6), 1.6 * height + 0.7), layout="constrained")
    panels = figure.subplots(height, width, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in panels[len(chosen) :]:
        axes.remove()
    for number, (axes, (method, line)) in enumerate(zip(panels, chosen.iterrows(), strict=False)):
        aucs = tuned.curve(table, method, weights)
        axes.axhline(alone, color=INK, lw=1, ls="--", label=sentence(tuned.ALONE))
        axes.plot(list(aucs), list(aucs.values()), "o-", ms=4, label="Method")
        if line[tuned.USED] in aucs:
            at = line[tuned.USED], aucs[line[tuned.USED]]
            axes.plot(
                *at, "o", ms=9, mfc="none", mec=_CHOSEN, mew=1.5, ls="", label="Weight in use"
            )
        axes.set(title=fill(method, 16), xscale="log", xmargin=0.12, ymargin=0.12)
        axes.set_xticks(list(aucs), [f"{weight:g}" for weight in aucs])
        axes.minorticks_off()
        axes.grid(axis="y")
        if number + width >= len(chosen):
            axes.set_xlabel("Weight on its terms")
            axes.tick_params(labelbottom=True)
    legend_above(figure, 3)
    figure.supylabel("Macro AUC, validation subjects", fontsize=9)
    return figure


@styled
def few_labels(table: pd.DataFrame) -> Figure:
    """AUC and calibrated kappa by the number of labelled subjects, with 95 % intervals.

    Solid: taught by the teacher with the same labels. Dashed: by a teacher trained on YASA's
    stages. Dotted: the untaught student with the most labels. Grey: the teachers.

    Args:
        table: tidy, with the rows that `sacd.analysis.few_labels` names.
    """
    figure = Figure((10.4, 4.2), layout="constrained")
    for axes, (column, title) in zip(figure.subplots(1, 2), _TITLES.items(), strict=True):
        _by_labels(axes, table[table["column"] == column].set_index("row", drop=False))
        axes.set(title=title, xlabel="Labelled training subjects")
    return figure


def _by_labels(axes: Axes, lines: pd.DataFrame) -> None:
    """One panel: a line per kind of row, named at its right end."""
    known, styles = few.budgets(lines.index), _styles(lines.index)
    numbers = sorted(set().union(*known.values()))
    ends = {}
    for k, (kind, style) in enumerate(styles.items()):
        part = lines.loc[[f"{kind}, {number}" for number in known[kind]]]
        # Beside each other: intervals of equal numbers would hide one another.
        at = np.array(known[kind]) * 1.025 ** (k - (len(styles) - 1) / 2)
        axes.errorbar(at, part["value"], yerr=error_bars(part), capsize=2, **style)
        name = f"{kind} (dotted: all {numbers[-1]})" if kind == few.ALONE else kind
        ends[name] = float(part["value"].iloc[-1]), style["color"]
    untaught = lines.loc[f"{few.ALONE}, {numbers[-1]}", "value"]
    axes.axhline(untaught, color=INK, lw=1, ls=":", zorder=0)
    whole = few.TEACHER + few.BY_YASA
    if f"{whole}, all" in lines.index:
        level = float(lines.loc[f"{whole}, all", "value"])
        axes.axhline(level, color=_GREY, lw=0.8, ls="--", zorder=0)
        ends[whole] = level, _GREY
    axes.set_xscale("log")
    axes.set_xticks(numbers, [f"{number}" for number in numbers])
    axes.minorticks_off()
    axes.grid(axis="y")
    # Margins of a logarithmic axis are factors.
    axes.set_xlim(numbers[0] / 1.25, numbers[-1] * 1.25)
    _name_ends(axes, ends)


def _styles(rows: pd.Index) -> Mapping[str, dict[str, Any]]:
    """Kind of row -> how its line is drawn."""
    styles = {few.ALONE: {"color": INK, "fmt": "o-", "ms": 4, "lw": 1.5}}
    methods = [kind for kind in few.taught(rows) if not kind.endswith(few.BY_YASA)]
    for colour, method in zip(_PALETTE, methods, strict=False):
        style = {"color": colour, "ms": 4}
        styles[method] = style | {"fmt": "s-", "lw": 1.5}
        styles[method + few.BY_YASA] = style | {"fmt": "D--", "lw": 1.2, "mfc": "w"}
    styles[few.TEACHER] = {"color": _GREY, "fmt": ".-", "ms": 4, "lw": 0.8}
    return {kind: style for kind, style in styles.items() if kind in few.budgets(rows)}


def _name_ends(axes: Axes, ends: Mapping[str, tuple[float, str]]) -> None:
    """Names of lines right of the axes, at the height of their ends, without overlap."""
    low, high = axes.get_ylim()
    heights = spread([end for end, _ in ends.values()], 0.055 * (high - low), low, high)
    for height, (name, (end, colour)) in zip(heights, ends.items(), strict=True):
        axes.annotate(
            name, (1, end), (1.06, height), xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(), color=colour, fontsize=8, va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 0, "shrinkB": 0,
                        "relpos": (0, 0.5)},
        )  # fmt: skip
