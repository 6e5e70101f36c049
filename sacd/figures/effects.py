"""Figures of effects: differences to a reference with their uncertainty, and planes of two loss weights (Fig. 5)."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Rectangle

from sacd.figures.base import _INK, Figure, _styled
from sacd.figures.comparison import NAMES

_SEEN, _UNSEEN = "#D55E00", "#0072B2"
_LINES = ("o-", "s--", "D-.", "^:")


@_styled
def differences(table: pd.DataFrame, reference: str, metric: str = "kappa") -> Figure:
    """Difference of each row to a reference with its 95 % interval; the grey bar is what training seeds alone give.

    Args:
        table: of `sacd.analysis.stats.against`, indexed by row alone.
        reference: what the rows are compared with.
        metric: the one compared.
    """
    at = np.arange(len(table))
    value = table["difference"].to_numpy(float)
    reach = np.abs(table[["ci_low", "ci_high"]].to_numpy(float).T - value)
    figure = Figure((7.2, 1.5 + 0.27 * len(table)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=_INK, lw=0.8, zorder=0)
    if table["seed_noise"].notna().any():
        axes.barh(at, 2 * table["seed_noise"], left=-table["seed_noise"], height=0.7, color="#e0e0e0", zorder=0,
                  label="noise of training seeds")  # fmt: skip
    clear = (table["verdict"] != "inconclusive").to_numpy()
    for chosen, colour, marker, label in (
        (~clear, _UNSEEN, "o", "inconclusive"),
        (clear, _SEEN, "D", "changes the result (Holm p < 0.05, above seed noise)"),
    ):
        if chosen.any():
            axes.errorbar(
                value[chosen],
                at[chosen],
                xerr=np.nan_to_num(reach[:, chosen]),
                fmt=marker,
                color=colour,
                ms=5,
                capsize=2.5,
                lw=1.2,
                label=label,
            )
    axes.use_sticky_edges = False  # bars reach the frame otherwise
    axes.autoscale_view(scaley=False)
    axes.set_yticks(at, table.index)
    name = NAMES.get(metric, metric).replace("(%)", "(percentage points)")
    axes.set(xlabel=f"difference to {reference}: {name}", ylim=(len(table) - 0.4, -0.6))
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@_styled
def plane(
    values: pd.DataFrame,
    title: str,
    chosen: tuple[float, float],
    sd: float,
    limits: tuple[float, float],
    unit: str,
) -> Figure:
    """A metric over two weights as heat map and as lines.

    Args:
        values: metric, index and columns the two weights; their names label the axes.
        title: what is fixed.
        chosen: (index, column) of the paper's own point: framed; the band is its value +- 2 sd.
        sd: over the training seeds of that point; NaN draws no band.
        limits: of the colours, so that several planes share one scale.
        unit: name of the metric with its unit.
    """
    figure = Figure((7.2, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
    sns.heatmap(
        values.astype(float), annot=True, fmt=".1f", annot_kws={"size": 8}, cmap="cividis", vmin=limits[0],
        vmax=limits[1], square=True, linewidths=0.5, cbar=False, ax=left,
    )  # fmt: skip
    names = [[f"{x:g}" for x in axis] for axis in (values.columns, values.index)]
    left.set_xticks(np.arange(len(names[0])) + 0.5, names[0])
    left.set_yticks(np.arange(len(names[1])) + 0.5, names[1])
    left.set(title=f"{title}: {unit}", xlabel=values.columns.name, ylabel=values.index.name)
    left.tick_params(length=0, rotation=0)
    left.invert_yaxis()
    corner = values.columns.get_loc(chosen[1]), values.index.get_loc(chosen[0])
    left.add_patch(Rectangle(corner, 1, 1, fill=False, ec=_SEEN, lw=2.5))
    if np.isfinite(sd):
        own = values.loc[chosen]
        right.axhspan(
            own - 2 * sd,
            own + 2 * sd,
            color="#e0e0e0",
            lw=0,
            zorder=0,
            label="paper's point ± 2 sd over seeds",
        )
    for style, column in zip(_LINES, values.columns, strict=False):
        right.plot(
            values.index, values[column], style, ms=4, label=f"{values.columns.name} = {column:g}"
        )
    right.set_xscale("log")
    right.set_xticks(values.index, names[1])
    right.minorticks_off()
    right.set(xlabel=values.index.name, ylabel=unit)
    right.grid(axis="y")
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure
