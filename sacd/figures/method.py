"""Figures of SACD on one batch: similarities, graphs, hard negatives, divergence, one step."""

from collections.abc import Mapping
from math import log

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy
from numpy.typing import ArrayLike, NDArray

from sacd.figures.base import INK, Figure, legend_above, legend_entries, styled
from sacd.figures.nights import ORDER
from sacd.stages import COLOURS, STAGES

_PALE = "#bdbdbd"
"""Second colour beside `INK`; no stage has it."""


def _colours(stage: ArrayLike) -> list[str]:
    """Colour of each stage 0..4."""
    return [COLOURS[STAGES[s]] for s in np.asarray(stage, int)]


def _clip_axis(axes: Axes, stage: ArrayLike) -> None:
    """Clips 1..n along the x axis, each with a square in the colour of its stage below it."""
    n = len(np.asarray(stage))
    below = offset_copy(axes.get_xaxis_transform(), axes.figure, y=-6, units="points")
    axes.scatter(
        range(n), np.zeros(n), s=34, marker="s", color=_colours(stage), clip_on=False,
        transform=below,
    )  # fmt: skip
    axes.set(xlim=(-0.6, n - 0.4), xlabel="Clip of the batch")
    axes.set_xticks(range(n), range(1, n + 1))
    axes.tick_params(axis="x", length=0, pad=12)


@styled
def similarities(panels: Mapping[str, ArrayLike], stage: ArrayLike) -> Figure:
    """Cosine of every two clips of a batch, one matrix for each modality.

    Args:
        panels: title -> cosines `(n, n)`.
        stage: `(n,)` stages 0..4, shown as squares along both axes.
    """
    n = len(np.asarray(stage))
    figure = Figure((7.2, 3.9), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, cosine) in zip(row, panels.items(), strict=True):
        image = axes.imshow(np.asarray(cosine), cmap="PuOr", vmin=-1, vmax=1)
        for x, y in ((np.arange(n), np.full(n, -1.2)), (np.full(n, -1.2), np.arange(n))):
            axes.scatter(x, y, s=34, marker="s", color=_colours(stage), clip_on=False)
        axes.set_title(title, pad=14)
        axes.set(xlabel="Clip of the batch", xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
        numbered = range(0, n, 3)
        axes.set_xticks(numbered, [k + 1 for k in numbered])
        axes.set_yticks(numbered, [k + 1 for k in numbered])
        axes.tick_params(axis="y", length=0, pad=16)
    figure.colorbar(image, ax=row, shrink=0.8, label="Cosine similarity")
    for label in np.unique(np.asarray(stage, int)):
        name = STAGES[label]
        row[0].scatter([], [], s=40, marker="s", color=COLOURS[name], label=name)
    legend_above(figure, 5)
    return figure


@styled
def graph(
    attention: ArrayLike,
    node: int,
    stage: ArrayLike,
    distance: ArrayLike,
    margins: Mapping[str, tuple[ArrayLike, ArrayLike]],
) -> Figure:
    """A graph of clips, the distances of graph vectors, and the pair margin of these distances.

    Args:
        attention: `(n, n)`, row i sums to 1 over the clips j that send a message to i.
        node: the clip i whose messages are drawn.
        stage: `(n,)` stages 0..4.
        distance: `(G, G)`, video graph i to EEG graph j; the first graph is that of the batch.
        margins: label -> loss of matched and of mismatched pairs, in this order: a curve `(2, m)`
            of distances and losses, and the pairs `(2, p)` on it.
    """
    figure = Figure((7.2, 3.1), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    _messages(left, np.asarray(attention, float), node, stage)

    d = np.asarray(distance, float)
    middle.imshow(d, cmap="Greys", vmin=0, vmax=4)
    for (i, j), value in np.ndenumerate(d):
        shade = "white" if value > 2.6 else "black"
        middle.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=7.5, color=shade)
    names = ["now", *(f"{k}" for k in range(1, len(d)))]
    middle.set_xticks(range(len(d)), names)
    middle.set_yticks(range(len(d)), names)
    middle.set(xlabel="EEG graph", ylabel="Video graph")
    middle.set_title("Distance $d$")

    for (label, (curve, pairs)), colour in zip(margins.items(), (INK, "#009E73"), strict=True):
        right.plot(*np.asarray(curve), color=colour, lw=1.2, label=label)
        right.plot(*np.asarray(pairs), "o", ms=4, mfc="none", mec=colour, ls="")
    highest = max(np.asarray(curve)[1].max() for curve, _ in margins.values())
    right.set(xlabel="Distance $d$", ylabel="Loss of the pair", ylim=(-0.2, 1.45 * highest))
    right.set_title("Pair margin")
    right.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    right.set_box_aspect(1)
    right.legend(loc="upper left", handlelength=1.2)
    return figure


def _messages(axes: Axes, attention: NDArray[np.float64], node: int, stage: ArrayLike) -> None:
    """Clips on a circle; lines to `node`, as wide and dark as their attention."""
    n = len(attention)
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    place = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    weights = np.delete(attention[node], node)
    low, high = weights.min(), weights.max()
    for j in range(n):
        if j != node:
            share = (attention[node, j] - low) / max(high - low, 1e-12)
            ends = place[[j, node]].T
            axes.plot(*ends, color=INK, lw=0.4 + 2 * share, alpha=0.3 + 0.6 * share, zorder=1)
    size = np.where(np.arange(n) == node, 150, 70)
    axes.scatter(*place.T, s=size, c=_colours(stage), edgecolor=INK, lw=0.6, zorder=2)
    for k, (x, y) in enumerate(1.22 * place):
        axes.text(x, y, f"{k + 1}", ha="center", va="center", fontsize=7.5, color=INK)
    for label in np.unique(np.asarray(stage, int)):
        name = STAGES[label]
        axes.scatter([], [], s=40, color=COLOURS[name], edgecolor=INK, lw=0.6, label=name)
    axes.legend(loc="center", ncols=1, handletextpad=0.2, bbox_to_anchor=(-0.12, 0.5), borderpad=0)
    axes.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal")
    axes.set_axis_off()
    axes.set_title(f"Messages to clip {node + 1}")
    axes.text(0, -1.55, f"$\\alpha$ from {low:.3f} to {high:.3f}", ha="center", fontsize=8)


@styled
def contrast(
    similarity: ArrayLike,
    bank_stage: ArrayLike,
    stage: int,
    chosen: ArrayLike,
    positive: float,
    margin: float,
    hinge: Mapping[str, ArrayLike],
    clip_stage: ArrayLike,
) -> Figure:
    """One anchor against the entries of a bank, and the mean hinge of every clip of the batch.

    Args:
        similarity, bank_stage: `(m,)` cosine to the anchor and stage of each entry.
        stage: of the anchor; entries of this stage are masked.
        chosen: `(m,)` bool, the K hardest.
        positive: cosine of the anchor and its synchronous partner.
        margin: in cosine; entries above `positive - margin` have a hinge above 0.
        hinge: direction -> `(n,)` mean hinge of each clip.
        clip_stage: `(n,)` stages of the clips.
    """
    similarity, bank_stage = np.asarray(similarity, float), np.asarray(bank_stage, int)
    chosen = np.asarray(chosen, bool)
    figure = Figure((7.2, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    # The golden ratio spreads the entries of a stage evenly over its row without a random number.
    height = bank_stage + 0.62 * ((np.arange(len(similarity)) * 0.618034) % 1 - 0.5)
    colours = np.array(_colours(bank_stage))
    own = bank_stage == stage
    rest = ~own & ~chosen
    left.scatter(
        similarity[own], height[own], s=12, marker="x", lw=0.8, color=_PALE,
        label="masked (stage of the anchor)",
    )  # fmt: skip
    left.scatter(
        similarity[rest], height[rest], s=14, facecolor="none", edgecolor=colours[rest], lw=0.7
    )
    left.scatter([], [], s=14, facecolor="none", edgecolor=INK, lw=0.7, label="not chosen")
    left.scatter(similarity[chosen], height[chosen], s=18, color=colours[chosen])
    left.scatter([], [], s=18, color=INK, label=f"{chosen.sum()} hardest")
    left.axvline(positive, color=INK, lw=1.2, label=r"$S(F_n^v, F_n^s)$")
    left.axvline(positive - margin, color=INK, lw=1.2, ls="--", label=r"$S - \alpha$")
    left.set(xlabel="Cosine to the anchor", ylabel="Stage of the entry", ylim=(4.5, -0.5))
    left.set_yticks(range(len(STAGES)), STAGES)
    left.set_title(f"Video anchor of stage {STAGES[stage]}, EEG bank")

    below = np.zeros(len(np.asarray(clip_stage)))
    for (direction, values), colour in zip(hinge.items(), (INK, _PALE), strict=True):
        values = np.asarray(values, float)
        right.bar(range(len(values)), values, bottom=below, color=colour, label=direction)
        below = below + values
    right.set(ylabel="Mean hinge (cosine)", ylim=(0, max(1.05 * below.max(), 1e-6)))
    right.grid(axis="y")
    right.set_title("$L_C$ of each clip")
    _clip_axis(right, clip_stage)
    legend_above(figure, 4)
    return figure


@styled
def divergences(panels: Mapping[str, ArrayLike], jsd: ArrayLike, stage: ArrayLike) -> Figure:
    """Stage probabilities of student and teacher, and their divergence, clip by clip.

    Args:
        panels: title -> probabilities `(n, 5)`.
        jsd: `(n,)` divergences in nats.
        stage: `(n,)` true stages, shown as squares.
    """
    jsd = np.asarray(jsd, float)
    figure = Figure((7.2, 4.4), layout="constrained")
    rows = figure.subplots(len(panels) + 1, 1, sharex=True)
    for axes, (title, p) in zip(rows, panels.items(), strict=False):
        below = np.zeros(len(jsd))
        for name in ORDER:  # as in the stacks of a night
            height = np.asarray(p, float)[:, STAGES.index(name)]
            style = {"width": 0.85, "color": COLOURS[name], "label": name}
            axes.bar(range(len(jsd)), height, bottom=below, **style)
            below = below + height
        axes.set(ylim=(0, 1), ylabel="Probability")
        axes.set_title(title)
        axes.tick_params(axis="x", length=0)
    rows[-1].bar(range(len(jsd)), jsd, width=0.85, color=INK)
    rows[-1].axhline(log(2), color=INK, lw=0.8, ls="--")
    rows[-1].text(len(jsd) - 0.3, log(2), "ln 2", va="center", fontsize=8, color=INK)
    rows[-1].set(ylim=(0, 0.75), ylabel="JSD (nats)")
    rows[-1].set_title("Divergence; squares: true stage")
    _clip_axis(rows[-1], stage)
    entries = legend_entries(figure)
    # From left to right as from the top of a stack to its bottom.
    names = list(reversed(ORDER))
    figure.legend([entries[name] for name in names], names, loc="outside upper center", ncols=5)
    return figure


@styled
def step(before: Mapping[str, float], after: Mapping[str, float]) -> Figure:
    """Weighted terms of the loss before and after an optimizer step.

    Args:
        before, after: term -> value; the same terms in the same order.
    """
    figure = Figure((7.2, 2.6), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(before))
    for shift, (label, values), colour in zip(
        (-0.19, 0.19), {"before": before, "after": after}.items(), (_PALE, INK), strict=True
    ):
        bars = axes.barh(place + shift, list(values.values()), 0.36, color=colour, label=label)
        axes.bar_label(bars, fmt="%.3f", padding=3, fontsize=8)
    axes.set_yticks(place, list(before))
    axes.set(ylim=(len(before) - 0.5, -0.5), xlabel="Weighted loss")
    axes.set_xlim(0, 1.12 * max(*before.values(), *after.values()))
    axes.tick_params(axis="y", length=0)
    legend_above(figure, 2)
    return figure
