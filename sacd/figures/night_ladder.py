"""Figures of whole nights (`45_night`): the ladder of kappa, and sleep statistics by night."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from sacd.analysis.night import AIM_KAPPA, ALONE, BOUND, LIVE, PIXELS, RUNGS
from sacd.figures.base import INK, Figure, error_bars, label_ends, sentence, styled

_COLOURS: Final = {ALONE: INK, PIXELS: "#009E73", BOUND: "#8a8a8a"}
_APART: Final = ("Markov model", "Viterbi", "forward filter")
"""Rungs that are no step: a model of the stages' order, not a head that sees more."""
_TAUGHT: Final = ("#0072B2", "#D55E00", "#CC79A7", "#E69F00")
_PANELS: Final = {
    "With later clips": tuple(rung for rung in RUNGS if rung not in LIVE),
    "Live: earlier clips only": ("one clip", *LIVE),
}


@styled
def ladder(table: pd.DataFrame, column: str = "kappa") -> Figure:
    """A metric by what the head sees, a line for each student, with 95 % intervals.

    Lines join the heads alone; hidden Markov models on the probabilities of one clip stand beside.

    Args:
        table: of `sacd.analysis.night.ladder`.
        column: the metric.
    """
    lines = table[table["column"] == column].set_index("row", drop=False)
    names = list(dict.fromkeys(row.partition(": ")[0] for row in lines.index))
    taught = iter(_TAUGHT)
    colours = {name: _COLOURS.get(name) or next(taught) for name in names}
    figure = Figure((9.6, 4.4), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    for axes, (title, rungs) in zip(both, _PANELS.items(), strict=True):
        _panel(axes, lines, rungs, colours)
        axes.set_title(title)
    both[0].set_ylabel(f"{sentence(column)} of whole nights")
    return figure


def _panel(axes: Axes, lines: pd.DataFrame, rungs: tuple, colours: Mapping[str, str]) -> None:
    ends = {}
    steps = [rung for rung in rungs if rung not in _APART]
    # Between both, room for the names at the ends of the lines.
    beside = {rung: len(steps) + 0.7 + k for k, rung in enumerate(r for r in rungs if r in _APART)}
    places = {rung: float(k) for k, rung in enumerate(steps)} | beside
    for k, (name, colour) in enumerate(colours.items()):
        marker, dash = ("s", "--") if name == BOUND else ("o", "-")
        for chosen, line in ((steps, dash), (beside, "")):
            here = [rung for rung in chosen if f"{name}: {rung}" in lines.index]
            part = lines.loc[[f"{name}: {rung}" for rung in here]]
            # Beside each other: intervals at the same rung would hide one another.
            at = np.array([places[rung] for rung in here]) + 0.06 * (k - (len(colours) - 1) / 2)
            style = {"color": colour, "marker": marker, "ls": line, "ms": 4, "lw": 1.3}
            axes.errorbar(at, part["value"], yerr=error_bars(part), capsize=2, **style)
            if len(part) and chosen is steps:
                ends[name] = float(at[-1]), float(part["value"].iloc[-1]), colour
    if beside:
        band = len(steps) + 0.15, max(beside.values()) + 0.5
        axes.axvspan(*band, color="#f3f3f3", lw=0, zorder=-1)
        axes.text(
            np.mean(band), 0.985, "hidden Markov\nmodels, no step", ha="center", va="top",
            fontsize=7.5, color=INK, transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    axes.axhline(AIM_KAPPA, color=INK, lw=0.8, ls=":", zorder=0)
    axes.annotate(
        f"aim {AIM_KAPPA:g}", (0, AIM_KAPPA), (3, 3), xycoords=axes.get_yaxis_transform(),
        textcoords="offset points", fontsize=7.5, color=INK,
    )  # fmt: skip
    changes = {
        " + ": "\n+ ",
        " before": "\nbefore",
        "+-": "±",
        " model": "\nmodel",
        " filter": "\nfilter",
    }
    names = list(places)
    for written, shown in changes.items():
        names = [name.replace(written, shown) for name in names]
    axes.set_xticks(list(places.values()), names, fontsize=7.5)
    axes.set_xlim(-0.4, max([len(steps) + 0.1, *(at + 0.5 for at in beside.values())]))
    axes.grid(axis="y")
    low, high = axes.get_ylim()
    label_ends(axes, ends, 0.05 * (high - low))


@styled
def agreement(pairs: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """Bland and Altman's plot of each quantity: predicted minus true by their mean, a dot a night.

    Solid: the bias. Dashed: the limits of agreement.

    Args:
        pairs: quantity -> true and predicted values `(nights,)`.
    """
    columns = 5
    rows = -(-len(pairs) // columns)
    figure = Figure((2.6 * columns, 2.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, (true, predicted)) in zip(grid, pairs.items(), strict=False):
        true, predicted = np.asarray(true, float), np.asarray(predicted, float)
        known = np.isfinite(true) & np.isfinite(predicted)
        mean, off = (true + predicted)[known] / 2, (predicted - true)[known]
        axes.plot(mean, off, "o", color="#0072B2", ms=4, alpha=0.8)
        if len(off) > 1:
            bias, reach = off.mean(), 1.96 * off.std(ddof=1)
            axes.axhline(bias, color=INK, lw=1)
            for level in (bias - reach, bias + reach):
                axes.axhline(level, color=INK, lw=0.8, ls="--")
        axes.axhline(0, color="#b0b0b0", lw=0.6, zorder=0)
        what, _, unit = name.partition(", ")
        axes.set_title(f"{sentence(what)}\n{unit}", fontsize=8.5)
        axes.set_xlabel("Mean of true and predicted", fontsize=8)
    for axes in grid[len(pairs) :]:
        axes.set_visible(False)
    for axes in grid[::columns]:
        axes.set_ylabel("Predicted minus true", fontsize=8)
    return figure
