"""The summary figure: the ladder of kappa, and how the paper's claims stand, item by item."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from sacd.figures.base import INK, Figure, error_bars, readable_on, styled

COLOURS: Final = {
    "hold": "#0072B2",
    "equal": "#56B4E9",
    "undecided": "#C9CED4",
    "fail": "#D55E00",
    "paper contradicts itself": "#F0E442",
}
"""Colour of each verdict on a claim, left to right (Okabe and Ito, and grey)."""

_OURS: Final = "#0072B2"
_PRINTED: Final = "#B34700"


@styled
def overview(ladder: pd.DataFrame, verdicts: pd.DataFrame) -> Figure:
    """What was measured beside what was printed, and what became of the claims.

    Args:
        ladder: one row per rung, lowest first, indexed by its name; columns `value`, `ci_low`,
            `ci_high` (kappa, NaN where unknown), `paper` (the printed kappa, or NaN).
        verdicts: number of claims, one row per item and one column per verdict of `COLOURS`.
    """
    rows = max(len(ladder), len(verdicts), 4)
    figure = Figure((9.2, 1.3 + 0.27 * rows), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _ladder(left, ladder)
    _bars(right, verdicts)
    return figure


def _ladder(axes: Axes, ladder: pd.DataFrame) -> None:
    """Dots with intervals, hollow diamonds for the printed values."""
    y = np.arange(len(ladder))
    axes.errorbar(
        ladder["value"], y, xerr=error_bars(ladder), fmt="o", color=_OURS, markersize=5.5,
        elinewidth=1.4, capsize=2.5, label="here, with 95 % interval",
    )  # fmt: skip
    if ladder["paper"].notna().any():
        axes.plot(
            ladder["paper"], y, "D", markerfacecolor="none", markeredgecolor=_PRINTED,
            markersize=6, markeredgewidth=1.3, label="printed in the paper",
        )  # fmt: skip
    for height, line in zip(y, ladder.itertuples(), strict=True):
        for value, colour in ((line.value, INK), (line.paper, _PRINTED)):
            if np.isfinite(value):
                axes.annotate(
                    f"{value:.2f}", (value, height), (0, 5), textcoords="offset points",
                    ha="center", va="bottom", fontsize=8, color=colour,
                )  # fmt: skip
    axes.set_yticks(y, ladder.index)
    axes.set(ylim=(-0.6, len(ladder) - 0.25), xlim=(-0.04, None), xlabel="Cohen's kappa")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.set_title("Agreement with the scorer, test nights")
    axes.legend(loc="lower right", handletextpad=0.3)


def _bars(axes: Axes, verdicts: pd.DataFrame) -> None:
    """Stacked bars from the top, each part with its number."""
    y = np.arange(len(verdicts))[::-1]
    left = np.zeros(len(verdicts))
    for verdict, colour in COLOURS.items():
        counts = verdicts[verdict].to_numpy(float)
        # White edges keep neighbours apart where colours cannot be told from each other.
        axes.barh(y, counts, 0.74, left, color=colour, edgecolor="white", label=verdict)
        ink = readable_on(to_rgb(colour))
        for height, count, start in zip(y, counts, left, strict=True):
            if count:
                axes.text(
                    start + count / 2, height, f"{count:.0f}", ha="center", va="center",
                    fontsize=8, color=ink,
                )  # fmt: skip
        left += counts
    axes.set_yticks(y, verdicts.index)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_title(f"{verdicts.to_numpy().sum()} claims of the paper, tested here")
    axes.legend(
        ncols=3, loc="upper left", bbox_to_anchor=(-0.2, 0.01), handlelength=1, handleheight=1,
        columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip
