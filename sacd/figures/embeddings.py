"""Figures of embeddings: correlation with the AHI (Fig. 7), t-SNE maps (Figs. 8 to 10)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from sacd.analysis.maps import LEAST, DangerZone
from sacd.analysis.portrait import ClipPortrait
from sacd.figures.base import INK, Figure, legend_above, styled
from sacd.stages import AHI_COLOURS, AHI_GROUPS, COLOURS, STAGES, ahi_group

_MARKERS = ("o", "s", "^", "D")


@styled
def correlation_boxes(table: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Spearman's rho of channels with the AHI and its groups, one box per stage (Fig. 7 a to e).

    Boxes show quartiles and median over channels, whiskers 1.5 interquartile ranges, points what
    lies beyond. The number above a box counts the channels with q < 0.05.

    Args:
        table: of `sacd.analysis.ahi.correlations`.
        titles: title of each panel by target; a target that the table lacks has an empty panel.
    """
    figure = Figure((7.2, 4.6), layout="constrained")
    axes = figure.subplot_mosaic([["a", "a", "b", "c"], ["a", "a", "d", "e"]], sharey=True)
    for panel, (target, title) in zip(axes.values(), titles.items(), strict=False):
        part = table[table["target"] == target].dropna(subset="rho")
        panel.set_title(title, fontsize=9 if target == "AHI" else 8)
        panel.axhline(0, color=INK, lw=0.7, zorder=0)
        panel.set(xlim=(-0.6, len(STAGES) - 0.4), ylim=(-1, 1.12), yticks=np.arange(-1, 1.01, 0.5))
        panel.set_xticks(range(len(STAGES)), STAGES)
        panel.grid(axis="y")
        if part.empty:
            text = "No subject, or every\nsubject, is in this group"
            panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", fontsize=7)
            continue
        for at, (stage, colour) in enumerate(COLOURS.items()):
            lines = part[part["stage"] == stage]
            if lines.empty:
                continue
            panel.boxplot(
                lines["rho"].to_numpy(), positions=[at], widths=0.6, patch_artist=True,
                boxprops={"facecolor": colour, "edgecolor": INK, "lw": 0.7},
                medianprops={"color": "black", "lw": 1.3},
                whiskerprops={"color": INK, "lw": 0.7}, capprops={"color": INK, "lw": 0.7},
                flierprops={"marker": ".", "ms": 2, "mec": INK}, manage_ticks=False,
            )  # fmt: skip
            count = (lines["q"] < 0.05).sum()
            panel.text(at, 1.02, f"{count}", ha="center", va="bottom", fontsize=7, color=INK)
    for name in "abd":
        axes[name].set_ylabel("Spearman's rho")
        axes[name].tick_params(labelleft=True)
    # Room for the label of the counts, left of the first box.
    axes["a"].set_xlim(-1.35, len(STAGES) - 0.4)
    axes["a"].text(-1.3, 1.02, "q < 0.05:", fontsize=7, va="bottom", color=INK)
    return figure


def _bare(axes: Axes, coordinates: ArrayLike, margin: float = 0.06) -> None:
    """Square axes of a t-SNE map, without ticks because its units have no meaning."""
    coordinates = np.asarray(coordinates)
    low, high = coordinates.min(0), coordinates.max(0)
    # One scale for both axes: distances of a map have the same meaning in each direction.
    middle, reach = (low + high) / 2, (0.5 + margin) * (high - low).max()
    (left, bottom), (right, top) = middle - reach, middle + reach
    axes.set(xticks=[], yticks=[], xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.spines[["top", "right"]].set_visible(True)


@styled
def subject_maps(
    panels: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]],
    new: Mapping[str, tuple] | None = None,
) -> Figure:
    """Maps of subjects, coloured by AHI group (Fig. 8); held-out subjects are hollow.

    Args:
        panels: title -> coordinates `(S, 2)`, AHI `(S,)` in events/h, held out `(S,)`.
        new: title -> coordinates `(2,)` and AHI of a subject placed in the finished map.
    """
    figure = Figure((7.2, 3.9), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, (coordinates, ahi, held_out)) in zip(row, panels.items(), strict=True):
        coordinates, held_out = np.asarray(coordinates), np.asarray(held_out, bool)
        group = np.array([ahi_group(a) for a in ahi])
        every = coordinates
        for g, (name, colour) in enumerate(AHI_COLOURS.items()):
            style = {"s": 30, "marker": _MARKERS[g]}
            here = group == g
            for rows, face in ((here & ~held_out, colour), (here & held_out, "none")):
                points = coordinates[rows].T
                axes.scatter(*points, **style, facecolor=face, edgecolor=colour, lw=1.3)
            axes.scatter([], [], **style, color=colour, label=name)
        # Empty, for the legend alone.
        axes.scatter([], [], s=34, facecolor="none", edgecolor=INK, label="Held out")
        if new and title in new:
            at, value = new[title]
            colour = AHI_COLOURS[AHI_GROUPS[ahi_group(value)]]
            star = {"marker": "*", "edgecolor": "black", "lw": 0.8}
            axes.scatter(*at, s=170, color=colour, zorder=3, **star)
            axes.scatter([], [], s=110, color="white", label="New, placed", **star)
            every = np.vstack([coordinates, at])
        axes.set_title(title, fontsize=8.5)  # at the default size the right one would be cut
        axes.set(xlabel="t-SNE 1", ylabel="t-SNE 2")
        _bare(axes, every)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return figure


def _zone(axes: Axes, zone: DangerZone) -> None:
    """Outline of the zone within the limits of the axes, with its entry in the legend."""
    x, y = (np.linspace(*limits, 150) for limits in (axes.get_xlim(), axes.get_ylim()))
    grid = np.stack(np.meshgrid(x, y), -1)
    share = np.nan_to_num(zone.share(grid.reshape(-1, 2)).reshape(len(y), len(x)))
    if share.max() < LEAST:
        return
    colour = AHI_COLOURS["Severe"]
    axes.contourf(x, y, share, [LEAST, 1.01], colors=[colour], alpha=0.13, zorder=0)
    axes.contour(x, y, share, [LEAST], colors=[colour], linewidths=1.2, linestyles="--")
    axes.plot([], [], color=colour, lw=1.2, ls="--", label="Danger zone, estimated")


@styled
def clip_maps(panels: Mapping[str, ClipPortrait], ahi: pd.Series, new: str | None = None) -> Figure:
    """All clips of a few subjects in one stage, with the estimated danger zone (Fig. 9).

    Args:
        panels: title -> map of `sacd.analysis.portrait.clip_portrait`.
        ahi: events/h by subject.
        new: subject whose clips were placed in the finished maps; drawn as crosses.
    """
    figure = Figure((7.2, 4.1), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, portrait) in zip(row, panels.items(), strict=True):
        for name in sorted(set(portrait.subject), key=lambda s: ahi[s]):
            g = ahi_group(ahi[name])
            colour = AHI_COLOURS[AHI_GROUPS[g]]
            points = portrait.fitted[portrait.subject == name]
            text = f"{name}: {AHI_GROUPS[g]}, AHI {ahi[name]:.1f}/h"
            axes.scatter(
                *points.T, s=15, marker=_MARKERS[g], color=colour, alpha=0.85, lw=0, label=text
            )
        guests = portrait.placed[portrait.placed["subject"] == new]
        if len(guests):
            text = f"{new}, placed: {AHI_GROUPS[ahi_group(ahi[new])]}, AHI {ahi[new]:.1f}/h"
            axes.scatter(
                guests["x"], guests["y"], s=26, marker="x", color="black", lw=1, label=text
            )
        axes.set(title=title, xlabel="t-SNE 1", ylabel="t-SNE 2")
        points = np.vstack([portrait.fitted, guests[["x", "y"]].to_numpy()])
        _bare(axes, points, margin=0.15)  # room for the zone
        _zone(axes, portrait.zone)
    legend_above(figure, 2)
    return figure


@styled
def stage_maps(panels: Mapping[str, ArrayLike], stage: ArrayLike) -> Figure:
    """Clips of the same nights by true stage, one map per method (Fig. 10).

    Args:
        panels: title -> coordinates `(n, 2)`; a second line of the title may hold measures.
        stage: `(n,)` stages 0..4.
    """
    stage = np.asarray(stage)
    figure = Figure((max(2.6 * len(panels), 4.8), 3.9), layout="constrained")
    # Large dots of many clips would cover each other.
    size = float(np.clip(5000 / len(stage), 3, 18))
    # In random order, so that no stage is painted over by the next one.
    order = np.random.default_rng(0).permutation(len(stage))
    colours = np.array([COLOURS[name] for name in STAGES])[stage]
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, coordinates) in zip(row, panels.items(), strict=True):
        coordinates = np.asarray(coordinates)
        axes.scatter(*coordinates[order].T, s=size, c=colours[order], lw=0, alpha=0.8)
        axes.set_title(title, fontsize=8.5)
        axes.set(xlabel="t-SNE 1", ylabel="t-SNE 2")
        _bare(axes, coordinates)
    for k, (name, colour) in enumerate(COLOURS.items()):
        axes.scatter([], [], s=25, color=colour, label=f"{name} ({(stage == k).sum():,} clips)")
    legend_above(figure, 3 if len(panels) == 1 else 5, columnspacing=1)
    return figure
