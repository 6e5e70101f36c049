"""Figures of errors: confusion matrices and their differences (Fig. 6), where and how clips go wrong (Figs. 12, 13)."""

from collections.abc import Mapping
from textwrap import fill

import numpy as np
import pandas as pd
import seaborn as sns
from numpy.typing import ArrayLike

from sacd.analysis.cases import PRINTED_ERRORS
from sacd.data.store import ClipStore
from sacd.figures.base import _INK, Figure, _styled
from sacd.figures.nights import montage
from sacd.stages import COLOURS, STAGES

_LINES = (("o", "-"), ("s", "--"), ("^", ":"))


@_styled
def confusion_comparison(
    shares: Mapping[str, pd.DataFrame], differences: Mapping[str, pd.DataFrame]
) -> Figure:
    """Normalised confusion matrices side by side, below them their differences (Fig. 6).

    A `*` marks a difference whose Holm-corrected p is below 0.05.

    Args:
        shares: method -> `sacd.analysis.cases.confusion_shares`.
        differences: title -> the same with `other`, and a column `p_holm`.
    """
    figure = Figure((7.4, 5.0), layout="constrained")
    panels = figure.subplots(2, max(len(shares), len(differences)), squeeze=False)
    reach = np.nanmax([1.0, *(np.abs(d["value"]).max() for d in differences.values())])
    styles = (
        (shares, "Blues", (0, 100), "% of the true stage"),
        (differences, "PuOr", (-reach, reach), "percentage points (*: Holm p < 0.05)"),
    )
    for line, (tables, cmap, (low, high), unit) in zip(panels, styles, strict=True):
        mesh = None
        for axes, (title, table) in zip(line, tables.items(), strict=False):
            value = table["value"].to_numpy(float).reshape(5, 5)
            signed = tables is differences
            stars = (
                (table["p_holm"] < 0.05).to_numpy().reshape(5, 5)
                if signed
                else np.zeros((5, 5), bool)
            )
            form = "{:+.0f}{}" if signed else "{:.0f}{}"
            text = [
                [
                    ""
                    if np.isnan(v)
                    else form.format(v, "*" * int(s)).replace("+0", "0").replace("-0", "0")
                    for v, s in zip(*row, strict=True)
                ]
                for row in zip(value, stars, strict=True)
            ]
            mesh = sns.heatmap(
                value, annot=np.array(text), fmt="", annot_kws={"size": 8}, vmin=low, vmax=high, cmap=cmap, cbar=False,
                square=True, linewidths=0.5, xticklabels=STAGES, yticklabels=STAGES, ax=axes,
            )  # fmt: skip
            axes.tick_params(length=0, rotation=0)
            axes.set(title=title, xlabel="predicted stage", ylabel="true stage")
        for axes in line[len(tables) :]:
            axes.set_axis_off()
        if mesh is not None:
            figure.colorbar(mesh.collections[0], ax=list(line), label=unit, shrink=0.8)
    return figure


@_styled
def where_errors_are(by_distance: pd.DataFrame, subjects: pd.DataFrame, title: str) -> Figure:
    """Error rate by distance to a stage change, and by how much a subject moves (Fig. 12 a and b, quantified).

    Args:
        by_distance: of `sacd.analysis.cases.error_by_distance`.
        subjects: one row a subject: movement (grey levels), error (%).
        title: of the second panel, with its correlation.
    """
    figure = Figure((7.2, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    names = by_distance["method"].unique()
    for k, name in enumerate(names):
        lines = by_distance[by_distance["method"] == name]
        at = lines["distance"] + 0.14 * (k - (len(names) - 1) / 2)
        reach = np.abs(
            lines[["ci_low", "ci_high"]].to_numpy(float).T - lines["value"].to_numpy(float)
        )
        marker, style = _LINES[k % len(_LINES)]
        left.errorbar(
            at,
            lines["value"],
            np.nan_to_num(reach),
            marker=marker,
            ls=style,
            ms=5,
            capsize=2.5,
            lw=1.2,
            label=name,
        )
    clips = by_distance.groupby("distance")["clips"].first()
    far = int(clips.index.max())
    ticks = [f"{d}{' or more' if d == far else ''}\n{n:,} clips" for d, n in clips.items()]
    left.set_xticks(clips.index, ticks)
    left.set(xlabel="clips to the nearest stage change", ylabel="clips predicted wrongly (%)")
    left.set(ylim=(0, None), title=f"(a) stage transitions, {clips.sum():,} clips")
    left.grid(axis="y")
    left.legend(loc="lower left", title="95 % interval over subjects")
    right.plot(subjects["movement"], subjects["error"], "o", ms=5, alpha=0.85)
    right.set(xlabel="change between frames (grey levels)", ylabel="clips predicted wrongly (%)")
    right.set_title(title, fontsize=8.5)
    right.grid()
    return figure


@_styled
def error_types(shares: pd.DataFrame, method: str) -> Figure:
    """What each stage is taken for (Fig. 13): % of its clips by wrong predicted stage, with 95 % intervals.

    A hollow diamond marks the stage that the paper's model takes it for most often.

    Args:
        shares: of `sacd.analysis.cases.confusion_shares`.
        method: whose errors these are.
    """
    figure = Figure((7.2, 3.1), layout="constrained")
    panels = figure.subplots(1, len(STAGES), sharey=True)
    wrong = shares[shares["stage"] != shares["prediction"]]
    top = np.nanmax([1.0, wrong["ci_high"].max(), wrong["value"].max()])
    for axes, stage in zip(panels, STAGES, strict=True):
        lines = wrong[wrong["stage"] == stage]
        at = np.arange(len(lines))
        value = lines["value"].to_numpy(float)
        reach = np.nan_to_num(np.abs(lines[["ci_low", "ci_high"]].to_numpy(float).T - value))
        axes.bar(at, np.nan_to_num(value), 0.75, color=[COLOURS[p] for p in lines["prediction"]])
        axes.errorbar(at, np.nan_to_num(value), reach, fmt="none", ecolor=_INK, capsize=2, lw=1)
        axes.set_xticks(at, lines["prediction"])
        axes.set(title=f"true {stage}", ylim=(0, 1.12 * top))
        axes.grid(axis="y")
        if np.isnan(value).all():
            axes.text(0.5, 0.5, "no clip", transform=axes.transAxes, ha="center")
        printed = list(lines["prediction"]).index(PRINTED_ERRORS[stage])
        axes.plot(
            printed,
            1.06 * top,
            "D",
            mfc="white",
            mec="black",
            ms=5,
            label="most frequent in the paper (Fig. 13)",
        )
    panels[0].set_ylabel("% of the stage's clips")
    panels[2].set_xlabel(f"wrong stage predicted by {method}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right")
    return figure


def correspondence(store: ClipStore, rows: pd.DataFrame, titles: list[str], frames: bool) -> Figure:
    """EEG of some clips beside five frames of their video (Fig. 11), or alone where frames may not be shown.

    Args:
        store: of the clips.
        rows: of `store.clips`; none gives a figure that says so.
        titles: one a clip.
        frames: whether frames may be shown.
    """
    if rows.empty:
        return message("No clip of this kind.")
    eeg, rate = store.gather_eeg(rows), store.config.eeg_rate
    if not frames:
        return _eeg_alone(eeg, rate, titles)
    video = store.gather_video(rows)
    at = np.linspace(0, video.shape[1], 5, endpoint=False, dtype=int) + video.shape[1] // 10
    return montage(list(eeg), rate, list(video[:, at]), titles)


@_styled
def _eeg_alone(eeg: ArrayLike, rate: float, titles: list[str]) -> Figure:
    eeg = np.asarray(eeg, float)
    figure = Figure((7.2, 0.5 + 1.05 * len(eeg)), layout="constrained")
    reach = float(np.quantile(np.abs(eeg), 0.999))
    panels = figure.subplots(len(eeg), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, signal, title in zip(panels, eeg, titles, strict=True):
        axes.plot(np.arange(len(signal)) / rate, signal, color=_INK, lw=0.4)
        axes.set(ylim=(-reach, reach), xlim=(0, len(signal) / rate), ylabel="EEG (uV)")
        axes.set_title(title, fontsize=8.5)
    panels[-1].set_xlabel("time in the clip (s)")
    return figure


@_styled
def message(text: str) -> Figure:
    """A figure that says why there is none."""
    figure = Figure((7.2, 1.2), layout="constrained")
    figure.text(0.5, 0.6, fill(text, 95), ha="center", va="center", color=_INK)
    return figure
