"""Figure of the audit: printed kappas against the largest possible ones (`41_paper_audit`)."""

from typing import Final

import numpy as np
import pandas as pd

from sacd.figures.base import INK, Figure, styled
from sacd.figures.labels import NAMES, row_name

_NOTE: Final = (
    "* The dot may lie left of the bar: the bar takes the printed accuracy although, at the stages "
    "of Fig. 2, the\nrecalls give another one; the dot uses only stage distributions under which "
    "they give the printed one."
)


@styled
def kappa_ceiling(bounds: pd.DataFrame) -> Figure:
    """Printed kappas of Table II against the largest that accuracy and recalls allow.

    Rows whose dot lies left of the bar have a `*`, and a note says why.

    Args:
        bounds: of `sacd.paper.audit.kappa_bounds`.
    """
    at = np.arange(len(bounds))
    figure = Figure((7.2, 1.2 + 0.2 * len(bounds)), layout="constrained")
    axes = figure.subplots()
    for column, marker, size, label in (
        ("at_prior", "|", 9, "Largest, stages as in Fig. 2"),
        ("any_prior", "o", 4, "Largest, any stage distribution"),
    ):
        axes.plot(bounds[column], at, marker, color=INK, ms=size, mew=1.5, label=label)
    # Half a unit of the last printed digit may be rounding.
    over = bounds["kappa"] - 0.005 > bounds["any_prior"]
    for chosen, colour, label in (
        (~over, "#0072B2", "Printed"),
        (over, "#D55E00", "Printed, impossible even with rounding"),
    ):
        axes.plot(
            bounds["kappa"][chosen], at[chosen], "D", mfc="none", mec=colour, ms=6, mew=1.3,
            label=label,
        )  # fmt: skip
    # A dot left of its bar looks like an error of ours.
    smaller = bounds["any_prior"] < bounds["at_prior"]
    marks = np.where(smaller, "* ", "")
    names = [mark + row_name(row) for mark, row in zip(marks, bounds.index, strict=True)]
    axes.set_yticks(at, names)
    if smaller.any():
        axes.annotate(
            _NOTE, (0.45, 0), (0, -36), xycoords="axes fraction", textcoords="offset points",
            ha="center", va="top", fontsize=7.5, color=INK,
        )  # fmt: skip
    axes.set(xlabel=NAMES["kappa"], ylim=(len(bounds) - 0.4, -0.6))
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return figure
