"""Figures of nights: hypnogram, spectra of the stages, the cohort (Fig. 2)."""

from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray
from scipy.signal import welch

from sacd.figures.base import INK, Figure, sentence, styled
from sacd.paper import printed as paper
from sacd.stages import AHI_COLOURS, AHI_GROUPS, CLIP_S, COLOURS, STAGES, ahi_group

_BAND_EDGES_HZ: Final = {"delta": 0.5, "theta": 4, "alpha": 8, "sigma": 12, "beta": 16}
"""Lower edges of the EEG bands."""
_HIGHEST_HZ: Final = 30.0
ORDER: Final = ("N3", "N2", "N1", "REM", "W")
"""Of a hypnogram: from deep sleep at the bottom to wakefulness."""


@styled
def night(
    start: ArrayLike,
    stage: ArrayLike,
    prediction: ArrayLike,
    probability: ArrayLike,
    axis: str = "time of the night",
) -> Figure:
    """One night: true and predicted stages above, predicted probabilities below.

    What was not recorded is a grey band, and no line crosses it. Long bands are cut short and say
    how long they are, because a condensed night would be mostly gaps.

    Args:
        start: `(n,)` increasing starts of the clips in s.
        stage, prediction: `(n,)` stages 0..4.
        probability: `(n, 5)`, rows sum to 1.
        axis: meaning of the times on the horizontal axis.
    """
    start = np.asarray(start, float)
    runs = np.split(np.arange(len(start)), np.flatnonzero(np.diff(start) > 1.5 * CLIP_S) + 1)
    hidden = np.diff(start)[[run[-1] for run in runs[:-1]]] / CLIP_S - 1  # clips not recorded
    # A gap in the figure takes at most 4 % of the recorded clips.
    widest = 0.04 * len(start)
    before = np.append(0, np.cumsum(np.minimum(hidden, widest)))
    left = np.arange(len(start)) + np.repeat(before, [len(run) for run in runs])
    figure = Figure((7.2, 3.3), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 0.9])
    level = np.array([ORDER.index(name) for name in STAGES], float)
    true, guess = (level[np.asarray(labels, int)] for labels in (stage, prediction))
    for run in runs:
        _run(above, below, left[run], true[run], np.asarray(probability, float)[run])
    for name, colour in COLOURS.items():
        at = left[guess == ORDER.index(name)]
        above.hlines(np.full(len(at), ORDER.index(name)), at, at + 1, color=colour, lw=4.5)
    for clips, (last, first) in zip(hidden, pairwise(runs), strict=True):
        band = left[last[-1]] + 1, left[first[0]]
        for axes in (above, below):
            axes.axvspan(*band, color="#ededed", lw=0)
        if clips > widest:
            above.text(
                np.mean(band), 2, f"{clips * CLIP_S / 60:,.0f} min not recorded", rotation=90,
                ha="center", va="center", fontsize=6.5, color="#666666",
            )  # fmt: skip
    wrong = 100 * np.mean(np.asarray(stage) != np.asarray(prediction))
    above.set(yticks=range(5), yticklabels=ORDER, ylim=(-0.5, 4.5), ylabel="Stage")
    above.set_title(f"True (line) and predicted (colour) stages; {wrong:.0f} % of clips differ")
    below.set(ylim=(0, 1), ylabel="Probability", xlim=(left[0], left[-1] + 1))
    handles, names = below.get_legend_handles_labels()
    of = dict(zip(names, handles, strict=True))
    order = ORDER[::-1]  # as in the axis above and in the stack
    below.legend(
        [of[name] for name in order], order, loc="center left", bbox_to_anchor=(1, 0.5),
        handlelength=1,
    )  # fmt: skip
    ticks = _ticks(start, left, runs)
    below.set_xticks(list(ticks), list(ticks.values()))
    below.set_xlabel(f"{sentence(axis)} (h:min)")
    figure.align_ylabels()
    return figure


def _run(above: Axes, below: Axes, left: NDArray, true: NDArray, probability: NDArray) -> None:
    """True stages and stacked probabilities of consecutive clips."""
    edges = np.append(left, left[-1] + 1)
    above.plot(np.repeat(edges, 2)[1:-1], np.repeat(true, 2), color=INK, lw=0.9, label="True")
    low = np.zeros(len(left) + 1)
    for name in ORDER:  # N3 at the bottom, as in the axis above
        share = probability[:, STAGES.index(name)]
        high = low + np.append(share, share[-1])  # the last step ends where the last clip ends
        below.fill_between(edges, low, high, step="post", color=COLOURS[name], lw=0, label=name)
        low = high


def _ticks(start: NDArray, left: NDArray, runs: list[NDArray]) -> dict[float, str]:
    """Place and label of the round times that were recorded, at most 12 of them."""
    found: dict[float, str] = {}
    for minutes in (1, 2, 4, 5, 10, 15, 30, 60, 120):
        found = {}
        for run in runs:
            first, last = start[run[0]], start[run[-1]] + CLIP_S
            last -= CLIP_S * (run[-1] != len(start) - 1)  # room for the first tick after a gap
            for k in range(int(-(-first // (60 * minutes))), int(last // (60 * minutes)) + 1):
                place = left[run[0]] + (60 * minutes * k - first) / CLIP_S
                found[float(place)] = f"{minutes * k // 60}:{minutes * k % 60:02d}"
        if len(found) <= 12:
            break
    return found


@styled
def spectra(eeg: ArrayLike, stages: ArrayLike, rate: float) -> Figure:
    """EEG spectrum of each stage, which Table I describes in words.

    Lines are medians over clips, bands reach from the lower to the upper quartile.

    Args:
        eeg: `(n, samples)` clips in µV.
        stages: `(n,)` stages 0..4.
        rate: in Hz.
    """
    # 4 s windows resolve 0.25 Hz, half of the lowest frequency shown.
    frequency, power = welch(np.asarray(eeg, float), rate, nperseg=int(4 * rate), axis=-1)
    here = (frequency >= 0.5) & (frequency <= _HIGHEST_HZ)
    # The floor keeps the logarithm of a flat clip finite.
    level = 10 * np.log10(np.maximum(power[:, here], 1e-12))
    figure = Figure((7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, edge in _BAND_EDGES_HZ.items():
        axes.axvline(edge, color="#cccccc", lw=0.8, zorder=0)
        above = axes.get_xaxis_transform()
        axes.text(edge + 0.15, 1.0, name, transform=above, fontsize=8, va="top", color=INK)
    for label, (name, colour) in enumerate(COLOURS.items()):
        chosen = level[np.asarray(stages) == label]
        if len(chosen):
            low, middle, high = np.quantile(chosen, [0.25, 0.5, 0.75], axis=0)
            axes.plot(frequency[here], middle, color=colour, label=f"{name} ({len(chosen):,})")
            axes.fill_between(frequency[here], low, high, color=colour, alpha=0.15, lw=0)
    axes.set(xlabel="Frequency (Hz)", ylabel="Power (dB re 1 µV²/Hz)", xlim=(0.5, _HIGHEST_HZ))
    axes.legend(title="Stage (clips)", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@styled
def cohort(participants: pd.DataFrame, stages: ArrayLike) -> Figure:
    """Sex, AHI groups and stages of a cohort in % of subjects and clips (Fig. 2).

    Hollow diamonds are the paper's shares. The number below each name is our count.

    Args:
        participants: one row per subject, columns sex (`M`, `F`) and ahi (events/h).
        stages: stage 0..4 of every clip.
    """
    group = participants["ahi"].map(ahi_group)
    sexes = {"male": "#7F7F7F", "female": "#BFBFBF"}
    of_sex = [(participants["sex"] == sex).sum() for sex in "MF"]
    of_group = [(group == g).sum() for g in range(len(AHI_GROUPS))]
    of_stage = np.bincount(np.asarray(stages, int), minlength=len(STAGES))
    content = (
        ("Sex", "subjects", sexes, of_sex),
        ("Apnea-hypopnea index", "subjects", AHI_COLOURS, of_group),
        ("Sleep stage", "clips", COLOURS, of_stage),
    )
    figure = Figure((7.2, 2.6), layout="constrained")
    panels = figure.subplots(1, 3, width_ratios=[2, 4, 5])
    for axes, (title, unit, colours, counts) in zip(panels, content, strict=True):
        share = 100 * np.array(counts) / sum(counts)
        printed = np.array([paper.value("dataset", name, unit) for name in colours])
        printed = 100 * printed / printed.sum()
        axes.bar(range(len(share)), share, color=colours.values(), width=0.7)
        axes.plot(printed, "D", mfc="white", mec="black", ms=5, label="S3VE, as printed")
        top = 1.12 * max(share.max(), printed.max())
        axes.set(title=title, ylabel=f"% of {unit}", ylim=(0, top))
        ticks = [f"{name}\n{n:,}" for name, n in zip(colours, counts, strict=True)]
        axes.set_xticks(range(len(share)), ticks)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right")
    return figure
