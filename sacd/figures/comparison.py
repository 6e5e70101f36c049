"""Figures that compare methods: confusion matrices, training curves, metrics, EEG stagers."""

from collections.abc import Mapping
from itertools import cycle
from textwrap import fill
from typing import Any, Final

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from sacd.figures.base import INK, Figure, error_bars, legend_entries, sentence, styled
from sacd.metrics import F1
from sacd.stages import STAGES

NAMES: Final = {
    "accuracy": "accuracy (%)",
    "macro_f1": "macro-F1 (%)",
    "kappa": "Cohen's kappa",
    "auc": "macro AUC, one stage against the rest",
    "kappa_calibrated": "kappa after one bias a class",
    "macro_f1_calibrated": "macro-F1 after one bias a class (%)",
} | {stage: f"recall of {stage} (%)" for stage in STAGES}
"""Labels, with units, of `sacd.metrics.METRICS` and of the endpoints of `sacd.analysis.auc`.

`base.sentence` capitalises them.
"""

TERMS: Final = {
    "loss_ce": "cross-entropy (nats)",
    "loss_structure": r"$\lambda_1 L_D$ (squared distance)",
    "loss_contrastive": r"$\lambda_2 L_C$ (cosine)",
    "loss_jsd": r"$\lambda_3$ JSD (nats)",
    "loss_ccl_contrast": "CCL: contrast (nats)",
    "loss_ccl_divergence": "CCL: divergence (nats)",
    "loss_ccl_head": "CCL: loss of the head (nats)",
    "structure": "$L_D$ (squared distance)",
    "d_matched": "$d$, matched graphs (squared distance)",
    "d_mismatched": "$d$, mismatched graphs (squared distance)",
    "spread_video": "spread of video graphs (0..1)",
    "spread_eeg": "spread of EEG graphs (0..1)",
    "contrastive": "$L_C$, mean hinge (cosine)",
    "negatives": "valid negatives (number per anchor)",
    "active": "$L_C$, share of hinges above 0 (0..1)",
    "positive": "matched pair (cosine)",
    "jsd": "JSD (nats)",
    "retrieval_rank": "retrieval rank (0.5: chance)",
    "auc_graph": "graph matching (AUC)",
    "hinge": "hinge, fixed negatives (cosine)",
}
"""Labels of the quantities that training records, with units.

The prefix `validation_` of a name stands for held-out nights.
"""

_COLOURS = ("#000000", "#882255", "#44AA99", "#999933")  # none of them is the colour of a stage
_MARKERS = "osD^"


@styled
def confusion_matrices(matrices: Mapping[str, ArrayLike]) -> Figure:
    """Confusion matrices side by side (Fig. 6).

    Colour and first line of a cell are % of the true stage, the second line is the number of clips.
    """
    figure = Figure((0.7 + 2.9 * len(matrices), 3.3), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(matrices)))
    for axes, (name, matrix) in zip(panels, matrices.items(), strict=True):
        matrix = np.asarray(matrix, float)
        share = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        cells = zip(share.ravel(), matrix.ravel(), strict=True)
        text = np.array([f"{s:.0f}\n{n:,.0f}" for s, n in cells]).reshape(matrix.shape)
        mesh = sns.heatmap(
            share, annot=text, fmt="", annot_kws={"size": 7, "linespacing": 1.2}, vmin=0, vmax=100,
            cmap="Blues", square=True, cbar=False, linewidths=0.5, xticklabels=STAGES,
            yticklabels=STAGES, ax=axes,
        )  # fmt: skip
        axes.tick_params(length=0, rotation=0)
        axes.set(title=name, xlabel="Predicted stage", ylabel="True stage")
    figure.colorbar(mesh.collections[0], ax=figure.axes, label="% of the true stage", shrink=0.75)
    return figure


@styled
def curves(history: pd.DataFrame, levels: Mapping[str, tuple[str, float]] | None = None) -> Figure:
    """Training curves by epoch, in one panel per `term` with one line per `line`.

    Args:
        history: columns epoch, term (loss terms and monitored quantities), value, and line (method,
            seed or part of the data). The band is the range over rows of equal epoch, term and
            line.
        levels: term -> name and value of a dashed reference line.
    """
    terms, lines = history["term"].unique(), history["line"].unique()
    levels = levels or {}
    width = min(4, len(terms))
    height = -(-len(terms) // width)
    figure = Figure((max(1.8 * width, 3.6), 1.7 * height + 0.5), layout="constrained")
    panels = figure.subplots(height, width, sharex=True, squeeze=False).ravel()
    for axes in panels[len(terms) :]:
        axes.remove()
    for number, (axes, term) in enumerate(zip(panels, terms, strict=False)):
        of_term = history[history["term"] == term]
        for k, line in enumerate(lines):
            part = of_term[of_term["line"] == line].groupby("epoch")["value"]
            if not len(part):  # a baseline, for example, has fewer loss terms
                continue
            mean = part.mean()
            marker = "." if len(mean) < 8 else ""
            axes.plot(mean.index, mean, label=line, marker=marker, color=f"C{k}")
            axes.fill_between(mean.index, part.min(), part.max(), color=f"C{k}", alpha=0.2, lw=0)
        if term in levels:
            label, level = levels[term]
            reference = axes.axhline(level, color=INK, lw=1, ls="--")
            # In a legend, because it avoids the curves; text on the line would overlap them.
            axes.legend([reference], [label], fontsize=7, frameon=False)
        bare = term.removeprefix("validation_")
        name = TERMS.get(bare) or NAMES.get(bare, bare.replace("_", " "))
        axes.set_title(fill(sentence(name if bare == term else f"held out: {name}"), 16))
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        if number + width >= len(terms):
            axes.set_xlabel("Epoch")
            axes.tick_params(labelbottom=True)
    entries = legend_entries(figure)
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=min(len(entries), 5))
    return figure


@styled
def comparison(
    table: pd.DataFrame,
    column: str,
    bounds: Mapping[str, float] | None = None,
    printed: str = "printed (S3VE)",
) -> Figure:
    """One metric of a tidy table, in one row per method.

    Our value has its interval, the printed value is hollow, and bounds are vertical lines.

    Args:
        table: as `sacd.analysis.tables`; rows are drawn in its order from the top.
        column: a metric.
        bounds: name and value of bounds and baselines, in the same unit.
        printed: label of the printed values, with their data.
    """
    lines = table[table["column"] == column]
    at = np.arange(len(lines))
    figure = Figure((7.2, 1.3 + 0.24 * len(lines)), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(
        lines["value"].to_numpy(float), at, xerr=error_bars(lines), fmt="o", ms=5, capsize=2.5,
        lw=1.2, label="Ours, 95 % interval",
    )  # fmt: skip
    axes.plot(
        lines["paper_value"], at, "D", mfc="none", mec="#D55E00", ms=6, mew=1.2,
        label=sentence(printed),
    )  # fmt: skip
    dashes = ("--", ":", "-.", (0, (6, 1)), (0, (1, 4)), (0, (8, 3, 1, 1, 1, 3)))
    for (name, bound), dash in zip((bounds or {}).items(), cycle(dashes), strict=False):
        axes.axvline(bound, color=INK, lw=1.1, ls=dash, label=sentence(name), zorder=0)
    axes.set_yticks(at, lines["row"])
    axes.set(xlabel=sentence(NAMES.get(column, column)), ylim=(len(lines) - 0.4, -0.6))
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@styled
def subjects(a: pd.Series, b: pd.Series, metric: str = "kappa") -> Figure:
    """A metric of each subject under two methods; above the diagonal, the second is better.

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
    name = NAMES.get(metric, metric)
    axes.set(xlabel=f"{a.name}: {name}", ylabel=f"{b.name}: {name}")
    axes.set_title(f"Better in {better} of {len(both)} subjects")
    return figure


@styled
def kappa_ceiling(bounds: pd.DataFrame) -> Figure:
    """Printed kappas of Table II against the largest that accuracy and recalls allow.

    Args:
        bounds: of `sacd.paper.audit.kappa_bounds`.
    """
    at = np.arange(len(bounds))
    figure = Figure((7.2, 1.2 + 0.2 * len(bounds)), layout="constrained")
    axes = figure.subplots()
    for column, marker, size, label in (
        ("at_prior", "|", 9, "Largest, stages as in Fig. 2"),
        ("any_prior", "o", 4, "Largest, any stage distribution"),
    ):
        axes.plot(bounds[column], at, marker, color=INK, ms=size, mew=1.5, label=label)
    # Half a unit of the last printed digit may be rounding.
    over = bounds["kappa"] - 0.005 > bounds["any_prior"]
    for chosen, colour, label in (
        (~over, "#0072B2", "Printed"),
        (over, "#D55E00", "Printed, impossible"),
    ):
        axes.plot(
            bounds["kappa"][chosen], at[chosen], "D", mfc="none", mec=colour, ms=6, mew=1.3,
            label=label,
        )  # fmt: skip
    axes.set_yticks(at, bounds.index)
    axes.set(xlabel=NAMES["kappa"], ylim=(len(bounds) - 0.4, -0.6))
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@styled
def stagers(table: pd.DataFrame) -> Figure:
    """Metrics of the EEG stagers with 95 % intervals.

    Above: accuracy and kappa. Below: F1 and recall of each stage.

    Args:
        table: tidy, as `sacd.analysis.tables`; rows without a value (printed on other data) become
            lines in the first panel.
    """
    ours = table[table["value"].notna()]
    rows = list(ours["row"].unique())
    figure = Figure((7.2, 5.0), layout="constrained")
    (accuracy, kappa), (f1, recall) = figure.subplots(2, 2, height_ratios=[1, 1.5])
    for axes, column in ((accuracy, "accuracy"), (kappa, "kappa")):
        lines = ours[ours["column"] == column].set_index("row").reindex(rows)
        bars = error_bars(lines)
        for at, value in enumerate(lines["value"]):
            axes.errorbar(value, at, xerr=bars[:, [at]], ls="", **_marker(at))
        axes.set(ylim=(max(len(rows), 1) - 0.5, -0.5), title=sentence(NAMES[column]))
        axes.set_yticks(range(len(rows)), rows if axes is accuracy else [""] * len(rows))
        axes.grid(axis="x")
    printed = table[table["paper_value"].notna() & (table["column"] == "accuracy")]
    for line, dash in zip(printed.itertuples(), cycle(("--", ":")), strict=False):
        label = f"MC2SleepNet as printed, {line.row}: {line.paper_value:.1f} %"
        accuracy.axvline(line.paper_value, color=INK, lw=1, ls=dash, label=label, zorder=0)
    for axes, columns, title in ((f1, F1, "F1 (%)"), (recall, STAGES, "Recall (%)")):
        for number, row in enumerate(rows):
            lines = ours[ours["row"] == row].set_index("column").reindex(columns)
            at = np.arange(len(STAGES)) + 0.16 * (number - (len(rows) - 1) / 2)
            axes.errorbar(
                at, lines["value"], yerr=error_bars(lines), ls="", label=row, **_marker(number)
            )
        axes.set(title=title, ylim=(-3, 103), xlim=(-0.5, len(STAGES) - 0.5), xlabel="True stage")
        axes.set_xticks(range(len(STAGES)), STAGES)
        axes.grid(axis="y")
    (points, names), (printed, labels) = (a.get_legend_handles_labels() for a in (f1, accuracy))
    figure.legend(points + printed, names + labels, loc="outside upper center", ncols=3)
    return figure


def _marker(number: int) -> dict[str, Any]:
    """Style of the points of a row."""
    style = {"color": _COLOURS[number % 4], "marker": _MARKERS[number % 4]}
    return style | {"ms": 5, "capsize": 2, "lw": 1.1}
