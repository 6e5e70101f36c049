"""Figures: each function takes tables or arrays and returns a `Figure`, without touching pyplot or the caller's style.

`label_data` names the data and its size on the figure; `save` writes PNG and PDF, byte for byte equal on re-run.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import resources
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any, Final, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import figure as mpl_figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.signal import welch

from sacd.files import atomic
from sacd.paper import printed as paper
from sacd.stages import AHI_COLOURS, AHI_GROUPS, CLIP_S, COLOURS, STAGES, ahi_group

STYLE: Final = str(resources.files(__package__).joinpath("style.mplstyle"))

NAMES: Final = {"accuracy": "accuracy (%)", "macro_f1": "macro-F1 (%)", "kappa": "Cohen's kappa"} | {
    stage: f"recall of {stage} (%)" for stage in STAGES
}
"""Axis labels of `sacd.metrics.METRICS`, with units."""

TERMS: Final = {
    "loss_ce": "cross-entropy (nats)",
    "loss_structure": r"$\lambda_1 L_D$ (squared distance)",
    "loss_contrastive": r"$\lambda_2 L_C$ (cosine)",
    "loss_jsd": r"$\lambda_3$ JSD (nats)",
    "loss_ccl_contrast": "CCL: contrast (nats)",
    "loss_ccl_divergence": "CCL: divergence (nats)",
    "loss_ccl_head": "CCL: loss of its head (nats)",
    "structure": "$L_D$ (squared distance)",
    "d_matched": "d, matched graphs (squared distance)",
    "d_mismatched": "d, mismatched graphs (squared distance)",
    "spread_video": "spread of video graphs (0..1)",
    "spread_eeg": "spread of EEG graphs (0..1)",
    "contrastive": "$L_C$, mean hinge (cosine)",
    "negatives": "valid negatives (number an anchor)",
    "active": "$L_C$, hinges above 0 (share)",
    "positive": "matched pair (cosine)",
    "jsd": "JSD (nats)",
    "retrieval_rank": "retrieval (rank, 0.5: chance)",
    "auc_graph": "graph matching (AUC)",
    "hinge": "hinge, fixed negatives (cosine)",
}
"""Titles of what training monitors, with units; `validation_` before a name stands for held-out nights."""

_INK: Final = "#333333"


def _png(figure: mpl_figure.Figure, **options: Any) -> bytes:
    """PNG of 256 colours, surfaces off by 2 of 255 at most: a third of the bytes, which notebooks hold as well."""
    with mpl.style.context(STYLE), io.BytesIO() as full, io.BytesIO() as small:
        figure.savefig(full, format="png", **options)
        image = Image.open(full)
        image.convert("RGB").quantize(256, kmeans=9, dither=Image.Dither.NONE).save(
            small, "png", optimize=True, dpi=image.info["dpi"]
        )
        return small.getvalue()


class Figure(mpl_figure.Figure):
    """A matplotlib figure that a notebook shows by itself, without pyplot having been told of it."""

    def _repr_png_(self) -> bytes:
        return _png(self, dpi=100)


_P = ParamSpec("_P")


def _styled(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    @wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with mpl.style.context(STYLE):
            return draw(*args, **kwargs)

    return styled


def label_data(figure: Figure, data: str, subjects: int | None = None, clips: int | None = None) -> Figure:
    """Write along the foot which data made the figure, and how much of it; call it once, after drawing."""
    counts = ((subjects, "subject"), (clips, "clip"))
    size = [f"{n:,} {word}{'s' * (n != 1)}" for n, word in counts if n is not None]
    with mpl.style.context(STYLE):
        narrow = figure.get_figwidth() < 5.5  # else the name of the data would run off the edge
        text = data + (("\n" if narrow else "   ") + f"n = {', '.join(size)}" if size else "")
        inch = 1 / figure.get_figheight()
        foot = (0.36 if narrow and size else 0.22) * inch
        figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot))
        figure.text(0.995, 0.07 * inch, text, ha="right", va="bottom", fontsize=7.5, style="italic", color=_INK)
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `<name>.png` and `<name>.pdf` under `folder`, atomically and without dates or versions of software.

    The layout is solved once, its places rounded: the solver's last bits differ from call to call, the files may not.
    """
    with mpl.style.context(STYLE):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6), which="original")
    png, pdf = written = [Path(folder) / f"{name}.{ending}" for ending in ("png", "pdf")]
    with atomic(png) as half:
        half.write_bytes(_png(figure))
    with atomic(pdf) as half, mpl.style.context(STYLE):
        figure.savefig(half, metadata={"CreationDate": None, "Producer": None})
    return written


@_styled
def confusions(matrices: Mapping[str, ArrayLike]) -> Figure:
    """Confusion matrices side by side (Fig. 6): colour and first line are % of the true stage, second line clips."""
    figure = Figure((0.7 + 2.9 * len(matrices), 3.3), layout="constrained")
    for axes, (name, matrix) in zip(np.atleast_1d(figure.subplots(1, len(matrices))), matrices.items(), strict=True):
        matrix = np.asarray(matrix, float)
        share = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        text = [[f"{s:.0f}\n{n:,.0f}" for s, n in zip(*line, strict=True)] for line in zip(share, matrix, strict=True)]
        mesh = sns.heatmap(
            share,
            annot=np.array(text),
            fmt="",
            annot_kws={"size": 7, "linespacing": 1.2},
            vmin=0,
            vmax=100,
            cmap="Blues",
            square=True,
            cbar=False,
            linewidths=0.5,
            xticklabels=STAGES,
            yticklabels=STAGES,
            ax=axes,
        )
        axes.tick_params(length=0, rotation=0)
        axes.set(title=name, xlabel="predicted stage", ylabel="true stage")
    figure.colorbar(mesh.collections[0], ax=figure.axes, label="% of the true stage", shrink=0.75)
    return figure


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
        clip: `(n,)` increasing positions of the clips in the night (clip 0 starts at 0 s); gaps stay empty.
        stage, prediction: `(n,)` stages 0..4.
        probability: `(n, 5)`, rows sum to 1.
        signals: `(n,)` each, one value a clip; the name says the unit, such as `delta power (dB)`.
        axis: what the hours below the panels count.
    """
    clip, signals = np.asarray(clip), signals or {}
    heights = [1.5] + [0.8] * (probability is not None) + [0.75] * len(signals)
    figure = Figure((7.2, 0.7 + sum(heights)), layout="constrained")
    panels = iter(np.atleast_1d(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)))
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
            axes.fill_between(hours, below, above, step="post", color=COLOURS[name], lw=0, label=name)
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
def curves(history: pd.DataFrame, levels: Mapping[str, tuple[str, float]] | None = None) -> Figure:
    """Small multiples of training curves: one panel a `term` (titled by `TERMS`), one line a `line`, by epoch.

    Args:
        history: columns epoch, term (loss terms and monitored figures), value, and line (method, seed or part of the
            data); the band is the range over rows of equal epoch, term and line.
        levels: term -> name and value of a dashed line to hold its curves against.
    """
    terms, lines = history["term"].unique(), history["line"].unique()
    width = min(4, len(terms))
    height = -(-len(terms) // width)
    figure = Figure((max(1.8 * width, 3.6), 1.7 * height + 0.5), layout="constrained")
    panels = figure.subplots(height, width, sharex=True, squeeze=False).ravel()
    for axes in panels[len(terms) :]:
        axes.remove()
    for number, (axes, term) in enumerate(zip(panels, terms, strict=False)):
        for k, line in enumerate(lines):  # not every line has every term
            part = history[(history["term"] == term) & (history["line"] == line)].groupby("epoch")["value"]
            if not len(part):
                continue
            mean = part.mean()
            (drawn,) = axes.plot(mean.index, mean, label=line, marker="." if len(mean) < 8 else "", color=f"C{k}")
            axes.fill_between(mean.index, part.min(), part.max(), color=drawn.get_color(), alpha=0.2, lw=0)
        if term in (levels or {}):
            label, level = levels[term]
            # A legend looks for the place with the fewest curves; text on the line would lie on them.
            axes.legend([axes.axhline(level, color=_INK, lw=1, ls="--")], [label], fontsize=7, frameon=False)
        bare = term.removeprefix("validation_")
        name = TERMS.get(bare) or NAMES.get(bare, bare.replace("_", " "))
        axes.set_title(fill(name if bare == term else f"held out: {name}", 16))
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        if number + width >= len(terms):
            axes.set_xlabel("epoch")
            axes.tick_params(labelbottom=True)
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=min(len(handles), 5))
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
        ("sex", "subjects", {"male": "#7F7F7F", "female": "#BFBFBF"}, [(participants["sex"] == s).sum() for s in "MF"]),
        ("apnea-hypopnea index", "subjects", AHI_COLOURS, [(group == g).sum() for g in range(len(AHI_GROUPS))]),
        ("sleep stage", "clips", COLOURS, clips),
    )
    figure = Figure((7.2, 2.6), layout="constrained")
    for axes, (title, unit, colours, counts) in zip(figure.subplots(1, 3, width_ratios=[2, 4, 5]), panels, strict=True):
        share = 100 * np.array(counts) / sum(counts)
        printed = np.array([paper.value("dataset", name, unit) for name in colours])
        printed = 100 * printed / printed.sum()
        axes.bar(range(len(share)), share, color=colours.values(), width=0.7)
        axes.plot(printed, "D", mfc="white", mec="black", ms=5, label="S3VE, as printed")
        axes.set(title=title, ylabel=f"% of {unit}", ylim=(0, 1.12 * max(share.max(), printed.max())))
        axes.set_xticks(range(len(share)), [f"{name}\n{n:,}" for name, n in zip(colours, counts, strict=True)])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right")
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
    for edge, name in zip((0.5, 4, 8, 12, 16, highest), ("delta", "theta", "alpha", "sigma", "beta", ""), strict=True):
        if edge < highest:
            axes.axvline(edge, color="#cccccc", lw=0.8, zorder=0)
            axes.text(edge + 0.15, 1.0, name, transform=axes.get_xaxis_transform(), fontsize=8, va="top", color=_INK)
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
def comparison(
    table: pd.DataFrame, column: str, bounds: Mapping[str, float] | None = None, printed: str = "printed (S3VE)"
) -> Figure:
    """One metric of a tidy table, a row a method: ours with its interval, the printed value hollow, bounds as lines.

    Args:
        table: as `sacd.analysis.tables`; rows are drawn in its order from the top.
        column: a metric.
        bounds: name and value of what frames the results, in the same unit.
        printed: label of the printed values, with their data.
    """
    lines = table[table["column"] == column]
    at = np.arange(len(lines))
    figure = Figure((7.2, 1.3 + 0.24 * len(lines)), layout="constrained")
    axes = figure.subplots()
    value = lines["value"].to_numpy(float)
    reach = np.abs(lines[["ci_low", "ci_high"]].to_numpy(float).T - value)
    axes.errorbar(value, at, xerr=np.nan_to_num(reach), fmt="o", ms=5, capsize=2.5, lw=1.2, label="ours, 95 % interval")
    axes.plot(lines["paper_value"], at, "D", mfc="none", mec="#D55E00", ms=6, mew=1.2, label=printed)
    dashes = ("--", ":", "-.", (0, (6, 1)), (0, (1, 4)), (0, (8, 3, 1, 1, 1, 3)))
    for (name, bound), dash in zip((bounds or {}).items(), cycle(dashes), strict=False):
        axes.axvline(bound, color=_INK, lw=1.1, ls=dash, label=name, zorder=0)
    axes.set_yticks(at, lines["row"])
    axes.set(xlabel=NAMES.get(column, column), ylim=(len(lines) - 0.4, -0.6))
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@_styled
def subjects(a: pd.Series, b: pd.Series, metric: str = "kappa") -> Figure:
    """A metric of each subject under two methods; above the diagonal the second is better.

    Args:
        a, b: metric by subject; their names label the axes.
    """
    both = pd.concat([a, b], axis=1, join="inner").dropna()
    figure = Figure((3.6, 3.6), layout="constrained")
    axes = figure.subplots()
    low, high = both.min().min(), both.max().max()
    margin = 0.06 * (high - low or 1)
    axes.axline((low, low), slope=1, color="#999999", lw=0.8)
    axes.plot(both.iloc[:, 0], both.iloc[:, 1], "o", ms=5, alpha=0.8)
    better = int((both.iloc[:, 1] > both.iloc[:, 0]).sum())
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
    axes.set(xlabel=f"{a.name}: {NAMES.get(metric, metric)}", ylabel=f"{b.name}: {NAMES.get(metric, metric)}")
    axes.set_title(f"better in {better} of {len(both)} subjects")
    return figure


@_styled
def grids(panels: Mapping[str, pd.DataFrame], unit: str = "accuracy (%)", digits: int = 1) -> Figure:
    """Heat maps on one colour scale (Fig. 5); the axes' names are those of each frame's index and columns."""
    figure = Figure((0.9 + 2.7 * len(panels), 2.9), layout="constrained")
    values = np.concatenate([panel.to_numpy(float).ravel() for panel in panels.values()])
    low, high = np.nanmin(values), np.nanmax(values)
    for axes, (title, panel) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
        mesh = sns.heatmap(
            panel.astype(float), annot=True, fmt=f".{digits}f", annot_kws={"size": 8}, vmin=low, vmax=high,
            cmap="cividis", square=True, cbar=False, linewidths=0.5, ax=axes,
        )  # fmt: skip
        axes.set(title=title, xlabel=panel.columns.name, ylabel=panel.index.name)
        axes.tick_params(length=0, rotation=0)
        axes.invert_yaxis()
    figure.colorbar(mesh.collections[0], ax=figure.axes, label=unit, shrink=0.75)
    return figure


@_styled
def montage(eeg: Sequence[ArrayLike], rate: float, frames: Sequence[ArrayLike], titles: Sequence[str]) -> Figure:
    """EEG of some clips beside frames of their video (Figs. 11 to 13), one row a clip.

    Args:
        eeg: `(samples,)` each, in uV.
        rate: of the EEG, in Hz.
        frames: `(k, H, W)` uint8 each, evenly spread over the clip; the caller sees to it that they may be shown.
        titles: stages and predictions of each clip.
    """
    shown = len(frames[0])
    figure = Figure((7.2, 0.5 + 1.05 * len(eeg)), layout="constrained")
    panels = figure.subplots(len(eeg), 1 + shown, squeeze=False, width_ratios=[3.2] + [3.8 / shown] * shown)
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
        axes.set_title(f"{length * (number + 0.5) / shown:.0f} s", fontsize=8, weight="normal", loc="center")
    figure.align_ylabels(panels[:, 0])
    return figure


@_styled
def kappa_ceiling(bounds: pd.DataFrame) -> Figure:
    """Printed kappas of Table II against the largest that accuracy and recalls allow (`audit.kappa_bounds`)."""
    at = np.arange(len(bounds))
    figure = Figure((7.2, 1.2 + 0.2 * len(bounds)), layout="constrained")
    axes = figure.subplots()
    for column, marker, label in (
        ("at_prior", "|", "largest, stages as in Fig. 2"),
        ("any_prior", "o", "largest, any stage distribution"),
    ):
        axes.plot(bounds[column], at, marker, color=_INK, ms=9 if marker == "|" else 4, mew=1.5, label=label)
    over = bounds["kappa"] - 0.005 > bounds["any_prior"]
    for chosen, colour, label in ((~over, "#0072B2", "printed"), (over, "#D55E00", "printed, impossible")):
        axes.plot(bounds["kappa"][chosen], at[chosen], "D", mfc="none", mec=colour, ms=6, mew=1.3, label=label)
    axes.set_yticks(at, bounds.index)
    axes.set(xlabel=NAMES["kappa"], ylim=(len(bounds) - 0.4, -0.6))
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return figure
