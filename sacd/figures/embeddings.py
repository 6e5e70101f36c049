"""Figures of embeddings: correlation with the AHI (Fig. 7), maps of subjects and clips (Figs. 8 to 10)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from sacd.analysis.maps import DangerZone
from sacd.analysis.portrait import ClipPortrait
from sacd.figures.base import _INK, Figure, _styled
from sacd.stages import AHI_COLOURS, AHI_GROUPS, COLOURS, STAGES, ahi_group

_MARKERS = ("o", "s", "^", "D")


@_styled
def correlation_boxes(table: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Spearman's rho of the channels with the AHI and its groups, a box a stage (Fig. 7 a to e).

    Box: quartiles and median over channels; whiskers: 1.5 interquartile ranges; points beyond are
    drawn. The number above a box is that of the channels with q < 0.05.

    Args:
        table: of `sacd.analysis.ahi.correlations`.
        titles: what a panel is called, by target; targets that the table lacks stay an empty panel.
    """
    figure = Figure((7.2, 4.6), layout="constrained")
    axes = figure.subplot_mosaic([["a", "a", "b", "c"], ["a", "a", "d", "e"]], sharey=True)
    for panel, (target, title) in zip(axes.values(), titles.items(), strict=False):
        part = table[table["target"] == target].dropna(subset="rho")
        panel.set_title(title, fontsize=9 if target == "AHI" else 8)
        panel.axhline(0, color=_INK, lw=0.7, zorder=0)
        panel.set(xlim=(-0.6, len(STAGES) - 0.4), ylim=(-1, 1.12), yticks=np.arange(-1, 1.01, 0.5))
        panel.set_xticks(range(len(STAGES)), STAGES)
        panel.grid(axis="y")
        if part.empty:
            panel.text(
                0.5,
                0.5,
                "nobody, or everybody,\nis in this group",
                transform=panel.transAxes,
                ha="center",
            )
            continue
        for at, (stage, colour) in enumerate(COLOURS.items()):
            lines = part[part["stage"] == stage]
            if lines.empty:
                continue
            panel.boxplot(
                lines["rho"].to_numpy(), positions=[at], widths=0.6, patch_artist=True,
                boxprops={"facecolor": colour, "edgecolor": _INK, "lw": 0.7}, medianprops={"color": "black", "lw": 1.3},
                whiskerprops={"color": _INK, "lw": 0.7}, capprops={"color": _INK, "lw": 0.7},
                flierprops={"marker": ".", "ms": 2, "mec": _INK}, manage_ticks=False,
            )  # fmt: skip
            panel.text(
                at,
                1.02,
                f"{(lines['q'] < 0.05).sum()}",
                ha="center",
                va="bottom",
                fontsize=7,
                color=_INK,
            )
    for name in "abd":
        axes[name].set_ylabel("Spearman's rho")
        axes[name].tick_params(labelleft=True)
    axes["a"].set_xlim(-1.35, len(STAGES) - 0.4)
    axes["a"].text(-1.3, 1.02, "q < 0.05:", fontsize=7, va="bottom", color=_INK)
    return figure


def _bare(axes: Axes, coordinates: ArrayLike, margin: float = 0.06) -> None:
    """Square axes of a t-SNE map, without ticks: its units mean nothing."""
    coordinates = np.asarray(coordinates)
    low, high = coordinates.min(0), coordinates.max(0)
    middle, reach = (low + high) / 2, (0.5 + margin) * (high - low).max()
    axes.set(
        xticks=[],
        yticks=[],
        xlim=middle[0] + reach * np.r_[-1, 1],
        ylim=middle[1] + reach * np.r_[-1, 1],
    )
    axes.set_aspect("equal")
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)


@_styled
def subject_maps(
    panels: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]],
    new: Mapping[str, tuple] | None = None,
) -> Figure:
    """Maps of subjects, coloured by AHI group (Fig. 8); hollow: the network was not trained on the subject.

    Args:
        panels: title -> coordinates `(S, 2)`, AHI `(S,)` in events/h, held out `(S,)`.
        new: title -> coordinates `(2,)` and AHI of a subject that was placed in the finished map.
    """
    figure = Figure((7.2, 3.9), layout="constrained")
    for axes, (title, (coordinates, ahi, held_out)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        coordinates, held_out = np.asarray(coordinates), np.asarray(held_out, bool)
        group = np.array([ahi_group(a) for a in ahi])
        every = coordinates
        for g, (name, colour) in enumerate(AHI_COLOURS.items()):
            for rows, face in (
                ((group == g) & ~held_out, colour),
                ((group == g) & held_out, "none"),
            ):
                axes.scatter(
                    *coordinates[rows].T,
                    s=34,
                    marker=_MARKERS[g],
                    facecolor=face,
                    edgecolor=colour,
                    lw=1.3,
                )
            axes.scatter([], [], s=34, marker=_MARKERS[g], color=colour, label=name)
        axes.scatter([], [], s=34, facecolor="none", edgecolor=_INK, label="held out")
        if new and title in new:
            at, value = new[title]
            colour = AHI_COLOURS[AHI_GROUPS[ahi_group(value)]]
            axes.scatter(*at, s=170, marker="*", color=colour, edgecolor="black", lw=0.8, zorder=3)
            axes.scatter(
                [],
                [],
                s=110,
                marker="*",
                color="white",
                edgecolor="black",
                lw=0.8,
                label="new, placed",
            )
            every = np.vstack([coordinates, at])
        axes.set(title=title, xlabel="t-SNE 1", ylabel="t-SNE 2")
        _bare(axes, every)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return figure


def _zone(axes: Axes, zone: DangerZone) -> None:
    """The zone's outline, where the axes' limits are, with its entry in the legend."""
    x, y = (np.linspace(*limits, 150) for limits in (axes.get_xlim(), axes.get_ylim()))
    grid = np.stack(np.meshgrid(x, y), -1)
    share = np.nan_to_num(zone.share(grid.reshape(-1, 2)).reshape(len(y), len(x)))
    if share.max() >= zone.least:
        axes.contourf(
            x, y, share, [zone.least, 1.01], colors=[AHI_COLOURS["Severe"]], alpha=0.13, zorder=0
        )
        axes.contour(
            x,
            y,
            share,
            [zone.least],
            colors=[AHI_COLOURS["Severe"]],
            linewidths=1.2,
            linestyles="--",
        )
        axes.plot(
            [], [], color=AHI_COLOURS["Severe"], lw=1.2, ls="--", label="danger zone, estimated"
        )


@_styled
def clip_maps(panels: Mapping[str, ClipPortrait], ahi: pd.Series, new: str | None = None) -> Figure:
    """All clips of a few subjects in a stage, with the estimated danger zone (Fig. 9).

    Args:
        panels: title -> map of `sacd.analysis.portrait.clip_portrait`.
        ahi: events/h by subject.
        new: a subject placed in the finished maps, drawn as crosses.
    """
    figure = Figure((7.2, 4.1), layout="constrained")
    for axes, (title, portrait) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
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
        _bare(
            axes, np.vstack([portrait.fitted, guests[["x", "y"]].to_numpy()]), margin=0.15
        )  # room for the zone
        _zone(axes, portrait.zone)
    handles = {
        text: handle
        for axes in figure.axes
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=2)
    return figure


@_styled
def stage_maps(panels: Mapping[str, ArrayLike], stage: ArrayLike) -> Figure:
    """Clips of the same nights by their true stage, one map a method (Fig. 10).

    Args:
        panels: title -> coordinates `(n, 2)`; a second line of the title may hold measures.
        stage: `(n,)` stages 0..4.
    """
    stage = np.asarray(stage)
    figure = Figure((max(2.6 * len(panels), 3.6), 3.9), layout="constrained")
    size = float(np.clip(5000 / len(stage), 3, 18))
    order = np.random.default_rng(0).permutation(
        len(stage)
    )  # no stage is painted over by the next one
    colours = np.array([COLOURS[name] for name in STAGES])[stage]
    for axes, (title, coordinates) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        coordinates = np.asarray(coordinates)
        axes.scatter(*coordinates[order].T, s=size, c=colours[order], lw=0, alpha=0.8)
        axes.set_title(title, fontsize=8.5)
        axes.set(xlabel="t-SNE 1", ylabel="t-SNE 2")
        _bare(axes, coordinates)
    for k, (name, colour) in enumerate(COLOURS.items()):
        axes.scatter([], [], s=25, color=colour, label=f"{name} ({(stage == k).sum():,} clips)")
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=3 if len(panels) == 1 else 5,
        columnspacing=1,
    )
    return figure
