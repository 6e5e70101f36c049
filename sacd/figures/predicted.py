"""Figure of a night that was staged from its video: stages, probabilities, movement, breathing."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from sacd.figures.base import INK, Figure, styled
from sacd.figures.nights import ORDER
from sacd.stages import CLIP_S, COLOURS, STAGES, UNSCORED

_GREY: Final = "#bdbdbd"
_RIGHT: Final = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "handlelength": 1}
"""Place of a legend: right of its axes."""


@styled
def predicted_night(clips: pd.DataFrame, beside: pd.DataFrame | None = None) -> Figure:
    """Stages of a night, their probabilities, seconds with movement, and breaths a minute.

    Args:
        clips: of `sacd.predict.night.Night`.
        beside: the same clips staged from another signal: its name in the column `by`, and stage.
    """
    onset = clips["onset_s"].to_numpy()
    unit, seconds = ("h", 3600) if len(clips) * CLIP_S > 7200 else ("min", 60)
    edges = np.append(onset, onset[-1] + CLIP_S) / seconds
    figure = Figure((7.2, 5.6), layout="constrained")
    above, shares, moves, breaths = figure.subplots(
        4, 1, sharex=True, height_ratios=[1.7, 1.1, 0.7, 0.7]
    )
    _stages(above, clips, edges, beside)
    low = np.zeros(len(clips))
    for name in ORDER:
        high = low + clips[f"p_{name}"].fillna(0).to_numpy()
        shares.stairs(high, edges, baseline=low, fill=True, color=COLOURS[name], label=name)
        low = high
    handles, names = shares.get_legend_handles_labels()
    shares.legend(handles[::-1], names[::-1], **_RIGHT)  # top to bottom, as stacked
    shares.set(ylim=(0, 1), ylabel="Probability")
    moves.stairs(clips["movement_s"].fillna(0).to_numpy(), edges, fill=True, color=INK)
    moves.set(ylim=(0, CLIP_S), ylabel="Movement\n(s of 30)", yticks=(0, 15, 30))
    middle = (edges[1:] + edges[:-1]) / 2
    rate = clips["breaths_per_minute"].to_numpy()
    regular = clips["breathing_regularity"].to_numpy() > 0.5
    breaths.plot(middle[regular], rate[regular], ".", ms=3, color=INK, label="Regular")
    breaths.plot(middle[~regular], rate[~regular], ".", ms=3, color=_GREY, label="Irregular")
    breaths.legend(**_RIGHT)
    breaths.set(ylim=(5, 43), ylabel="Breaths\nper min", xlabel=f"Time of the recording ({unit})")
    breaths.set_xlim(edges[0], edges[-1])
    for axes in (above, shares, moves, breaths):
        _grey_where(axes, edges, (clips["stage"] == UNSCORED).to_numpy())
    figure.align_ylabels()
    return figure


def _stages(
    axes: Axes, clips: pd.DataFrame, edges: np.ndarray, beside: pd.DataFrame | None
) -> None:
    """Stages as coloured bars, thin where uncertain; a line for those of another signal."""
    level = np.array([ORDER.index(name) for name in STAGES], float)
    if beside is not None:
        known = beside["stage"].to_numpy() != UNSCORED
        other = np.where(known, level[beside["stage"].to_numpy()], np.nan)
        label = f"Staged by {beside['by'].iloc[0]}"
        axes.stairs(other, edges, baseline=None, color=INK, lw=0.9, label=label)
    stage = clips["stage"].to_numpy()
    for k, (name, colour) in enumerate(COLOURS.items()):
        for sure in (False, True):
            at = np.flatnonzero((stage == k) & (clips["uncertain"].to_numpy() != sure))
            height = np.full(len(at), ORDER.index(name))
            axes.hlines(height, edges[at], edges[at + 1], color=colour, lw=5 if sure else 2)
    marks = axes.get_legend_handles_labels()[0]
    if (stage == UNSCORED).any():
        marks.append(Patch(color=_GREY, alpha=0.5, label="Not staged"))
    axes.set_yticks(range(5), ORDER)
    axes.set(ylim=(-0.5, 4.5), ylabel="Stage")
    axes.set_title("Stages from the video (thin where uncertain)", loc="left")
    if marks:
        axes.legend(handles=marks, **_RIGHT)


def _grey_where(axes: Axes, edges: np.ndarray, where: np.ndarray) -> None:
    """A grey band over each stretch of clips."""
    bounds = np.flatnonzero(np.diff(where, prepend=False, append=False))
    for first, last in zip(bounds[::2], bounds[1::2], strict=True):
        axes.axvspan(edges[first], edges[last], color=_GREY, alpha=0.5, lw=0, zorder=0)
