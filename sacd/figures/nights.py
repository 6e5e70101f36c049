"""Figures of nights: hypnogram, clips with their frames, spectra of the stages, the cohort (Fig. 2)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from scipy.signal import welch

from sacd.figures.base import _INK, Figure, _styled
from sacd.paper import printed as paper
from sacd.stages import AHI_COLOURS, AHI_GROUPS, CLIP_S, COLOURS, STAGES, ahi_group


@_styled
def night(
    clip: ArrayLike,
    stage: ArrayLike,
    prediction: ArrayLike,
    probability: ArrayLike | None = None,
    signals: Mapping[str, ArrayLike] | None = None,
    axis: str = "time since the first epoch of the night",
) -> Figure:
    """One night: true and predicted stages, the predicted probabilities, and one strip for each signal.

    Args:
        clip: `(n,)` increasing positions of the clips in the night (clip 0 starts at 0 s); gaps
            stay empty.
        stage, prediction: `(n,)` stages 0..4.
        probability: `(n, 5)`, rows sum to 1.
        signals: `(n,)` each, one value a clip; the name says the unit, such as `delta power (dB)`.
        axis: what the hours below the panels count.
    """
    clip, signals = np.asarray(clip), signals or {}
    heights = [1.5] + [0.8] * (probability is not None) + [0.75] * len(signals)
    figure = Figure((7.2, 0.7 + sum(heights)), layout="constrained")
    panels = iter(
        np.atleast_1d(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    )
    every = np.arange(clip.min(), clip.max() + 2)
    hours = every * CLIP_S / 3600

    def spread(values: ArrayLike) -> NDArray[np.float64]:
        values = np.asarray(values, float)
        filled = np.full((len(every), *values.shape[1:]), np.nan)
        filled[clip - clip.min()] = values
        return filled

    order = ("N3", "N2", "N1", "REM", "W")
    level = np.array([order.index(name) for name in STAGES], float)
    axes = next(panels)
    true, guess = (spread(level[np.asarray(labels, int)]) for labels in (stage, prediction))
    axes.plot(np.repeat(hours, 2)[1:], np.repeat(true, 2)[:-1], color=_INK, lw=0.9, label="true")
    for name, colour in COLOURS.items():
        at = guess == order.index(name)
        axes.hlines(guess[at], hours[at], hours[at] + CLIP_S / 3600, color=colour, lw=4, alpha=0.75)
    wrong = 100 * np.mean(np.asarray(stage) != np.asarray(prediction))
    axes.set(yticks=range(5), yticklabels=order, ylim=(-0.5, 4.5), ylabel="stage")
    axes.set_title(f"true (line) and predicted (colour) stages; {wrong:.0f} % of clips differ")
    if probability is not None:
        axes = next(panels)
        below = np.zeros(len(every))
        filled = spread(probability)
        filled[-1] = filled[-2]  # where the last clip ends
        for label, name in enumerate(STAGES):
            above = below + filled[:, label]
            axes.fill_between(
                hours, below, above, step="post", color=COLOURS[name], lw=0, label=name
            )
            below = above
        axes.set(ylim=(0, 1), ylabel="probability")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1)
    for name, values in signals.items():
        axes = next(panels)
        axes.step(hours, spread(values), where="post", color=_INK, lw=0.7)
        axes.set_title(name, fontsize=8, weight="normal")
        axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.set(xlabel=f"{axis} (h)", xlim=(hours[0], hours[-1]))
    figure.align_ylabels()
    return figure


@_styled
def montage(
    eeg: Sequence[ArrayLike], rate: float, frames: Sequence[ArrayLike], titles: Sequence[str]
) -> Figure:
    """EEG of some clips beside frames of their video (Figs. 11 to 13), one row a clip.

    Args:
        eeg: `(samples,)` each, in uV.
        rate: of the EEG, in Hz.
        frames: `(k, H, W)` uint8 each, evenly spread over the clip; the caller sees to it that they
            may be shown.
        titles: stages and predictions of each clip.
    """
    shown = len(frames[0])
    figure = Figure((7.2, 0.5 + 1.05 * len(eeg)), layout="constrained")
    panels = figure.subplots(
        len(eeg), 1 + shown, squeeze=False, width_ratios=[3.2] + [3.8 / shown] * shown
    )
    reach = max(float(np.quantile(np.abs(signal), 0.999)) for signal in eeg)
    for line, signal, images, title in zip(panels, eeg, frames, titles, strict=True):
        line[0].plot(np.arange(len(signal)) / rate, signal, color=_INK, lw=0.4)
        line[0].set(ylim=(-reach, reach), xlim=(0, len(signal) / rate), ylabel="EEG (uV)")
        line[0].set_title(title, fontsize=8.5)
        for axes, image in zip(line[1:], images, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
    for axes in panels[:-1, 0]:
        axes.tick_params(labelbottom=False)
    panels[-1, 0].set_xlabel("time in the clip (s)")
    length = len(eeg[0]) / rate
    for number, axes in enumerate(panels[0][1:]):
        axes.set_title(
            f"{length * (number + 0.5) / shown:.0f} s", fontsize=8, weight="normal", loc="center"
        )
    figure.align_ylabels(panels[:, 0])
    return figure


@_styled
def spectra(eeg: ArrayLike, stages: ArrayLike, rate: float, highest: float = 30.0) -> Figure:
    """EEG spectrum of each stage (what Table I describes in words): median over clips, band from quartile to quartile.

    Args:
        eeg: `(n, samples)` clips in uV.
        stages: `(n,)` stages 0..4.
        rate: in Hz.
        highest: frequency shown, in Hz.
    """
    frequency, power = welch(np.asarray(eeg, float), rate, nperseg=int(4 * rate), axis=-1)
    here = (frequency >= 0.5) & (frequency <= highest)
    level = 10 * np.log10(np.maximum(power[:, here], 1e-12))
    figure = Figure((7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    for edge, name in zip(
        (0.5, 4, 8, 12, 16, highest), ("delta", "theta", "alpha", "sigma", "beta", ""), strict=True
    ):
        if edge < highest:
            axes.axvline(edge, color="#cccccc", lw=0.8, zorder=0)
            axes.text(
                edge + 0.15,
                1.0,
                name,
                transform=axes.get_xaxis_transform(),
                fontsize=8,
                va="top",
                color=_INK,
            )
    for label, (name, colour) in enumerate(COLOURS.items()):
        chosen = level[np.asarray(stages) == label]
        if len(chosen):
            low, middle, high = np.quantile(chosen, [0.25, 0.5, 0.75], axis=0)
            axes.plot(frequency[here], middle, color=colour, label=f"{name} ({len(chosen):,})")
            axes.fill_between(frequency[here], low, high, color=colour, alpha=0.15, lw=0)
    axes.set(xlabel="frequency (Hz)", ylabel="power (dB re 1 uV²/Hz)", xlim=(0.5, highest))
    axes.legend(title="stage (clips)", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@_styled
def cohort(participants: pd.DataFrame, stages: ArrayLike) -> Figure:
    """Sex, AHI groups and stages of a cohort (Fig. 2) in % of subjects and of clips; the paper's as hollow diamonds.

    The number under each name is the cohort's count.

    Args:
        participants: one row a subject, columns sex (`M`, `F`) and ahi (events/h).
        stages: stage 0..4 of every clip.
    """
    group = participants["ahi"].map(ahi_group)
    clips = np.bincount(np.asarray(stages, int), minlength=len(STAGES))
    panels = (
        (
            "sex",
            "subjects",
            {"male": "#7F7F7F", "female": "#BFBFBF"},
            [(participants["sex"] == s).sum() for s in "MF"],
        ),
        (
            "apnea-hypopnea index",
            "subjects",
            AHI_COLOURS,
            [(group == g).sum() for g in range(len(AHI_GROUPS))],
        ),
        ("sleep stage", "clips", COLOURS, clips),
    )
    figure = Figure((7.2, 2.6), layout="constrained")
    for axes, (title, unit, colours, counts) in zip(
        figure.subplots(1, 3, width_ratios=[2, 4, 5]), panels, strict=True
    ):
        share = 100 * np.array(counts) / sum(counts)
        printed = np.array([paper.value("dataset", name, unit) for name in colours])
        printed = 100 * printed / printed.sum()
        axes.bar(range(len(share)), share, color=colours.values(), width=0.7)
        axes.plot(printed, "D", mfc="white", mec="black", ms=5, label="S3VE, as printed")
        axes.set(
            title=title, ylabel=f"% of {unit}", ylim=(0, 1.12 * max(share.max(), printed.max()))
        )
        axes.set_xticks(
            range(len(share)), [f"{name}\n{n:,}" for name, n in zip(colours, counts, strict=True)]
        )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right")
    return figure
