"""Figures of effects: differences to a reference, and planes of two loss weights (Fig. 5)."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Rectangle

from sacd.analysis.crossed import Verdict
from sacd.figures.base import INK, Figure, error_bars, label_ends, readable_cells, sentence, styled
from sacd.figures.labels import NAMES, row_name

_FRAME = "#D55E00"
_MARKS = (
    (Verdict.BETTER, "#0072B2", "^", "Better (Holm p < 0.05)"),
    (Verdict.WORSE, "#D55E00", "v", "Worse (Holm p < 0.05)"),
    (Verdict.EQUAL, "#009E73", "s", "Equal (90 % interval within the margin)"),
    (Verdict.UNDECIDED, "#666666", "o", "Undecided"),
)
"""Verdict, colour, marker and label of a difference."""
_MARKERS = "osD^"


@styled
def differences(table: pd.DataFrame, reference: str, metric: str = "kappa") -> Figure:
    """Difference of each row to a reference, with its 95 % interval and the margin of equality.

    A bar may cross the margin although its row is equal: two one-sided tests at 5 % decide that,
    and so the interval of 90 %.

    Args:
        table: of `sacd.analysis.stats.against`, indexed by row alone.
        reference: the row that the others are compared with.
        metric: the metric compared.
    """
    # Rows from the top, in the order of the table; the y axis is reversed below.
    at = np.arange(len(table))
    value = table["difference"].to_numpy(float)
    bars = error_bars(table.assign(value=value))
    figure = Figure((7.2, 1.65 + 0.27 * len(table)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=INK, lw=0.8, zorder=0)
    for side in (-1, 1):
        axes.axvline(side * table["margin"].iloc[0], color=INK, lw=0.8, ls="--", zorder=0)
    for verdict, colour, marker, label in _MARKS:
        chosen = (table["verdict"] == verdict).to_numpy()
        if chosen.any():
            axes.errorbar(
                value[chosen], at[chosen], xerr=bars[:, chosen], fmt=marker, color=colour, ms=5,
                capsize=2.5, lw=1.2, label=label,
            )  # fmt: skip
    axes.use_sticky_edges = False  # otherwise the bars touch the frame
    axes.autoscale_view(scaley=False)
    axes.set_yticks(at, [row_name(row) for row in table.index])
    name = NAMES.get(metric, metric).replace("(%)", "(percentage points)")
    meaning = "bars: 95 % interval; dashed: margin of equality"
    axes.set(xlabel=f"Difference from {row_name(reference)}: {name}\n{meaning}")
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@styled
def plane(
    values: pd.DataFrame,
    title: str,
    chosen: tuple[float, float],
    limits: tuple[float, float],
    unit: str,
    majority: float | None = None,
) -> Figure:
    """A metric over two loss weights, as heat map and as lines.

    Args:
        values: the metric by the two weights; the names of index and columns label the axes.
        title: the weight that is fixed.
        chosen: (index, column) of the paper's point, which is framed unless the grid lacks it.
        limits: of the colour scale, so that several planes share it.
        unit: name of the metric with its unit.
        majority: the metric of always guessing the most frequent stage, a line if given.
    """
    figure = Figure((7.2, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
    sns.heatmap(
        values.astype(float), annot=True, fmt=".1f", annot_kws={"size": 8}, cmap="cividis",
        vmin=limits[0], vmax=limits[1], square=True, linewidths=0.5, cbar=False, ax=left,
    )  # fmt: skip
    readable_cells(left)
    columns, rows = ([f"{x:g}" for x in axis] for axis in (values.columns, values.index))
    left.set_xticks(np.arange(len(columns)) + 0.5, columns)
    left.set_yticks(np.arange(len(rows)) + 0.5, rows)
    left.set(title=f"{title}: {unit}", xlabel=values.columns.name, ylabel=values.index.name)
    left.tick_params(length=0, rotation=0)
    # Heat maps count rows from the top; weights grow upwards.
    left.invert_yaxis()
    if chosen[0] in values.index and chosen[1] in values.columns:
        corner = values.columns.get_loc(chosen[1]), values.index.get_loc(chosen[0])
        left.add_patch(Rectangle(corner, 1, 1, fill=False, ec=_FRAME, lw=2.5))
    ends = {}
    for k, column in enumerate(values.columns):
        line = values[column]
        (drawn,) = right.plot(values.index, line, marker=_MARKERS[k % 4], ms=4)
        name = f"{values.columns.name} = {column:g}"
        ends[name] = values.index[-1], line.iloc[-1], drawn.get_color()
    if majority is not None:
        right.axhline(majority, color=INK, lw=0.9, ls="--", zorder=0)
        right.annotate(
            f"majority {majority:.1f}", (0, majority), (3, 3), textcoords="offset points",
            xycoords=right.get_yaxis_transform(), fontsize=8, color=INK,
        )  # fmt: skip
    right.set_xscale("log")
    right.set_xticks(values.index, rows)
    right.minorticks_off()
    right.set(xlabel=values.index.name, ylabel=sentence(unit))
    right.grid(axis="y")
    low, high = right.get_ylim()
    label_ends(right, ends, 0.075 * (high - low))
    return figure
