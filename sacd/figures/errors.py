"""Figures of errors: confusion matrices (Fig. 6), error rates and types (12, 13)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LinearSegmentedColormap

from sacd.analysis.cases import PRINTED_ERRORS
from sacd.figures.base import INK, Figure, error_bars, label_ends, readable_cells, styled
from sacd.stages import COLOURS, STAGES

_SIGNED: Final = LinearSegmentedColormap.from_list("signed", ["#D55E00", "white", "#0072B2"])
"""From worse to better."""
_MARKERS: Final = "os^D"


@styled
def confusion_comparison(
    shares: Mapping[str, pd.DataFrame],
    differences: Mapping[str, pd.DataFrame],
    clips: Sequence[int],
) -> Figure:
    """Normalised confusion matrices side by side, with their differences below (Fig. 6).

    In the differences one colour is better, which is more on the diagonal and less beside it, and
    another worse. A `*` marks a difference whose Holm-corrected p is below 0.05.

    Args:
        shares: method -> `sacd.analysis.cases.confusion_shares`.
        differences: title -> the same with `other`, and a column `p_holm`.
        clips: number of clips of each stage.
    """
    figure = Figure((7.4, 5.2), layout="constrained")
    width = max(len(shares), len(differences))
    above, below = figure.subplots(2, width, squeeze=False)
    stages = [f"{stage}\n{n:,}" for stage, n in zip(STAGES, clips, strict=True)]
    letters = iter("abcdefgh")
    reach = np.nanmax([1.0, *(np.abs(d["value"]).max() for d in differences.values())])
    # A cell beside the diagonal is an error, so fewer clips in it are better.
    better = np.where(np.eye(len(STAGES), dtype=bool), 1.0, -1.0)  # the sign of an improvement
    for row, tables, sign, annotate, style in (
        (above, shares, 1.0, _share, {"cmap": "Blues", "vmin": 0, "vmax": 100}),
        (below, differences, better, _points, {"cmap": _SIGNED, "vmin": -reach, "vmax": reach}),
    ):
        for axes, (title, table) in zip(row, tables.items(), strict=False):
            text = np.array([annotate(cell) for cell in table.itertuples()]).reshape(5, 5)
            sns.heatmap(
                sign * table["value"].to_numpy(float).reshape(5, 5), annot=text, fmt="",
                annot_kws={"size": 8}, cbar=False, square=True, linewidths=0.5,
                xticklabels=STAGES, yticklabels=stages if axes is row[0] else STAGES, ax=axes,
                **style,
            )  # fmt: skip
            readable_cells(axes)
            axes.tick_params(length=0, rotation=0)
            axes.set(title=f"({next(letters)}) {title}", xlabel="Predicted stage")
        row[0].set_ylabel("True stage, number of clips")
        for axes in row[len(tables) :]:
            axes.set_axis_off()
        # One colour bar for the row: all its panels have the same limits.
        for axes in row[: min(1, len(tables))]:
            bar = figure.colorbar(axes.collections[0], ax=list(row), shrink=0.8)
            bar.outline.set_visible(False)
            if row is above:
                bar.set_label("% of the true stage")
            else:
                bar.set_label("Worse        Points        Better")
                bar.ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    return figure


def _share(cell: Any) -> str:
    """Text of a cell in %; empty where the stage does not occur."""
    return "" if np.isnan(cell.value) else f"{cell.value:.0f}"


def _points(cell: Any) -> str:
    """Text of a difference in percentage points, with its star."""
    if np.isnan(cell.value):
        return ""
    number = f"{cell.value:+.0f}"
    # A difference that rounds to 0 has no direction.
    number = "0" if number in ("+0", "-0") else number
    return number + "*" * bool(cell.p_holm < 0.05)


@styled
def where_errors_are(by_distance: pd.DataFrame, subjects: pd.DataFrame, title: str) -> Figure:
    """Error rate by distance to a stage change, and by movement of the subject (Fig. 12 a and b).

    Args:
        by_distance: of `sacd.analysis.cases.error_by_distance`.
        subjects: one row per subject: movement (grey levels), error (%).
        title: of the second panel, with its correlation.
    """
    figure = Figure((7.2, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    names, ends = by_distance["method"].unique(), {}
    for k, name in enumerate(names):
        lines = by_distance[by_distance["method"] == name]
        at = lines["distance"] + 0.14 * (k - (len(names) - 1) / 2)  # side by side, not overlapping
        left.errorbar(
            at, lines["value"], error_bars(lines), marker=_MARKERS[k % len(_MARKERS)], ms=4.5,
            capsize=2, lw=1.2, elinewidth=0.8, color=f"C{k}", label=name,
        )  # fmt: skip
        ends[name] = at.iloc[-1], lines["value"].iloc[-1], f"C{k}"
    clips = by_distance.groupby("distance")["clips"].first()
    far = int(clips.index.max())
    ticks = [f"{d}{' or more' if d == far else ''}\n{n:,} clips" for d, n in clips.items()]
    left.set_xticks(clips.index, ticks)
    left.set(
        xlabel="Distance to the nearest stage change (clips)", ylabel="Error rate (% of clips)"
    )
    left.set(ylim=(0, None), title=f"(a) Stage transitions, {clips.sum():,} clips")
    left.grid(axis="y")
    label_ends(left, ends, 0.055 * left.get_ylim()[1])
    note = {"fontsize": 7.5, "color": INK, "transform": left.transAxes}
    left.text(0.02, 0.03, "Bars: 95 % interval over subjects", **note)
    right.plot(subjects["movement"], subjects["error"], "o", ms=5, alpha=0.85)
    right.set(xlabel="Change between frames\n(grey levels)", ylabel="Error rate (% of clips)")
    right.set_title(title, fontsize=8.5)
    right.grid()
    return figure


@styled
def error_types(shares: pd.DataFrame, method: str) -> Figure:
    """What each stage is mistaken for, in % of its clips with 95 % intervals (Fig. 13).

    A hollow diamond marks the most frequent error of the paper's model.

    Args:
        shares: of `sacd.analysis.cases.confusion_shares`.
        method: the method that made these errors.
    """
    figure = Figure((7.2, 3.1), layout="constrained")
    panels = figure.subplots(1, len(STAGES), sharey=True)
    wrong = shares[shares["stage"] != shares["prediction"]]
    top = np.nanmax([1.0, wrong["ci_high"].max(), wrong["value"].max()])
    for axes, stage in zip(panels, STAGES, strict=True):
        lines = wrong[wrong["stage"] == stage]
        at = np.arange(len(lines))
        value = lines["value"].to_numpy(float)
        height = np.nan_to_num(value)
        axes.bar(at, height, 0.75, color=[COLOURS[p] for p in lines["prediction"]])
        axes.errorbar(at, height, error_bars(lines), fmt="none", ecolor=INK, capsize=2, lw=1)
        axes.set_xticks(at, lines["prediction"])
        axes.set(title=f"True {stage}", ylim=(0, 1.12 * top))
        axes.grid(axis="y")
        if np.isnan(value).all():
            axes.text(0.5, 0.5, "No clip", transform=axes.transAxes, ha="center")
        axes.plot(
            list(lines["prediction"]).index(PRINTED_ERRORS[stage]), 1.06 * top, "D", mfc="white",
            mec="black", ms=5, label="Most frequent in the paper (Fig. 13)",
        )  # fmt: skip
    panels[0].set_ylabel("% of the clips of the stage")
    panels[2].set_xlabel(f"Wrong stage predicted by {method}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right")
    return figure
