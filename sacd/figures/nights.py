"""Figures of nights: hypnogram, clips with frames, spectra of the stages, the cohort (Fig. 2)."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.signal import welch

from sacd.figures.base import INK, Figure, sentence, styled
from sacd.paper import printed as paper
from sacd.stages import AHI_COLOURS, AHI_GROUPS, CLIP_S, COLOURS, STAGES, ahi_group

_BAND_EDGES_HZ: Final = {"delta": 0.5, "theta": 4, "alpha": 8, "sigma": 12, "beta": 16}
"""Lower edges of the EEG bands."""
_HIGHEST_HZ: Final = 30.0


@styled
def night(
    clip: ArrayLike,
    stage: ArrayLike,
    prediction: ArrayLike,
    probability: ArrayLike,
    axis: str = "time since the first epoch of the night",
) -> Figure:
    """One night: true and predicted stages above, predicted probabilities below.

    Args:
        clip: `(n,)` increasing positions of the clips in the night (clip 0 starts at 0 s); gaps
            stay empty.
        stage, prediction: `(n,)` stages 0..4.
        probability: `(n, 5)`, rows sum to 1.
        axis: meaning of the hours on the horizontal axis.
    """
    clip = np.asarray(clip)
    every = np.arange(clip.min(), clip.max() + 2)
    hours = every * CLIP_S / 3600

    def spread(values: ArrayLike) -> NDArray[np.float64]:
        """Values on the grid of all positions, NaN where there is no clip."""
        values = np.asarray(values, float)
        filled = np.full((len(every), *values.shape[1:]), np.nan)
        filled[clip - clip.min()] = values
        return filled

    figure = Figure((7.2, 3.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 0.8])
    order = ("N3", "N2", "N1", "REM", "W")  # from deep sleep at the bottom to wakefulness
    level = np.array([order.index(name) for name in STAGES], float)
    true, guess = (spread(level[np.asarray(labels, int)]) for labels in (stage, prediction))
    above.plot(np.repeat(hours, 2)[1:], np.repeat(true, 2)[:-1], color=INK, lw=0.9, label="True")
    for name, colour in COLOURS.items():
        at = guess == order.index(name)
        ends = hours[at] + CLIP_S / 3600
        above.hlines(guess[at], hours[at], ends, color=colour, lw=4, alpha=0.75)
    wrong = 100 * np.mean(np.asarray(stage) != np.asarray(prediction))
    above.set(yticks=range(5), yticklabels=order, ylim=(-0.5, 4.5), ylabel="Stage")
    above.set_title(f"True (line) and predicted (colour) stages; {wrong:.0f} % of clips differ")
    low = np.zeros(len(every))
    filled = spread(probability)
    filled[-1] = filled[-2]  # the last step ends where the last clip ends
    for label, name in enumerate(STAGES):
        high = low + filled[:, label]
        below.fill_between(hours, low, high, step="post", color=COLOURS[name], lw=0, label=name)
        low = high
    below.set(ylim=(0, 1), ylabel="Probability")
    below.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1)
    below.set(xlabel=f"{sentence(axis)} (h)", xlim=(hours[0], hours[-1]))
    figure.align_ylabels()
    return figure


@styled
def montage(
    eeg: Sequence[ArrayLike], rate: float, frames: Sequence[ArrayLike], titles: Sequence[str]
) -> Figure:
    """EEG of some clips beside frames of their video (Figs. 11 to 13), one row per clip.

    Args:
        eeg: `(samples,)` each, in µV.
        rate: of the EEG, in Hz.
        frames: `(k, H, W)` uint8 each, evenly spread over the clip. The caller makes sure that they
            may be shown.
        titles: stage and predictions of each clip.
    """
    shown = len(frames[0])
    figure = Figure((7.2, 0.5 + 1.05 * len(eeg)), layout="constrained")
    panels = figure.subplots(
        len(eeg), 1 + shown, squeeze=False, width_ratios=[3.2] + [3.8 / shown] * shown
    )
    reach = max(float(np.quantile(np.abs(signal), 0.999)) for signal in eeg)
    for line, signal, images, title in zip(panels, eeg, frames, titles, strict=True):
        line[0].plot(np.arange(len(signal)) / rate, signal, color=INK, lw=0.4)
        line[0].set(ylim=(-reach, reach), xlim=(0, len(signal) / rate), ylabel="EEG (µV)")
        line[0].set_title(title, fontsize=8.5)
        for axes, image in zip(line[1:], images, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
    for axes in panels[:-1, 0]:
        axes.tick_params(labelbottom=False)
    panels[-1, 0].set_xlabel("Time in the clip (s)")
    length = len(eeg[0]) / rate
    for number, axes in enumerate(panels[0][1:]):
        seconds = length * (number + 0.5) / shown
        axes.set_title(f"{seconds:.0f} s", fontsize=8, weight="normal", loc="center")
    figure.align_ylabels(panels[:, 0])
    return figure


@styled
def spectra(eeg: ArrayLike, stages: ArrayLike, rate: float) -> Figure:
    """EEG spectrum of each stage, which Table I describes in words.

    Lines are medians over clips, bands reach from the lower to the upper quartile.

    Args:
        eeg: `(n, samples)` clips in µV.
        stages: `(n,)` stages 0..4.
        rate: in Hz.
    """
    frequency, power = welch(np.asarray(eeg, float), rate, nperseg=int(4 * rate), axis=-1)
    here = (frequency >= 0.5) & (frequency <= _HIGHEST_HZ)
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
