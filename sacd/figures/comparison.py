"""Figures of methods side by side: matrices, training curves, metrics beside the printed ones, EEG stagers."""

from collections.abc import Mapping
from itertools import cycle
from textwrap import fill
from typing import Final

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from sacd.figures.base import _INK, Figure, _styled
from sacd.metrics import F1
from sacd.stages import STAGES

NAMES: Final = {
    "accuracy": "accuracy (%)",
    "macro_f1": "macro-F1 (%)",
    "kappa": "Cohen's kappa",
} | {stage: f"recall of {stage} (%)" for stage in STAGES}
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

_COLOURS = ("#000000", "#882255", "#44AA99", "#999933")  # none of a stage's
_MARKERS = "osD^"


@_styled
def confusion_matrices(matrices: Mapping[str, ArrayLike]) -> Figure:
    """Confusion matrices side by side (Fig. 6): colour and first line are % of the true stage, second line clips."""
    figure = Figure((0.7 + 2.9 * len(matrices), 3.3), layout="constrained")
    for axes, (name, matrix) in zip(
        np.atleast_1d(figure.subplots(1, len(matrices))), matrices.items(), strict=True
    ):
        matrix = np.asarray(matrix, float)
        share = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        text = [
            [f"{s:.0f}\n{n:,.0f}" for s, n in zip(*line, strict=True)]
            for line in zip(share, matrix, strict=True)
        ]
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
def curves(history: pd.DataFrame, levels: Mapping[str, tuple[str, float]] | None = None) -> Figure:
    """Small multiples of training curves: one panel a `term` (titled by `TERMS`), one line a `line`, by epoch.

    Args:
        history: columns epoch, term (loss terms and monitored figures), value, and line (method,
            seed or part of the data); the band is the range over rows of equal epoch, term and
            line.
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
            part = history[(history["term"] == term) & (history["line"] == line)].groupby("epoch")[
                "value"
            ]
            if not len(part):
                continue
            mean = part.mean()
            (drawn,) = axes.plot(
                mean.index, mean, label=line, marker="." if len(mean) < 8 else "", color=f"C{k}"
            )
            axes.fill_between(
                mean.index, part.min(), part.max(), color=drawn.get_color(), alpha=0.2, lw=0
            )
        if term in (levels or {}):
            label, level = levels[term]
            # A legend looks for the place with the fewest curves; text on the line would lie on
            # them.
            axes.legend(
                [axes.axhline(level, color=_INK, lw=1, ls="--")], [label], fontsize=7, frameon=False
            )
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
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=min(len(handles), 5))
    return figure


@_styled
def comparison(
    table: pd.DataFrame,
    column: str,
    bounds: Mapping[str, float] | None = None,
    printed: str = "printed (S3VE)",
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
    axes.errorbar(
        value,
        at,
        xerr=np.nan_to_num(reach),
        fmt="o",
        ms=5,
        capsize=2.5,
        lw=1.2,
        label="ours, 95 % interval",
    )
    axes.plot(
        lines["paper_value"], at, "D", mfc="none", mec="#D55E00", ms=6, mew=1.2, label=printed
    )
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
    axes.set(
        xlabel=f"{a.name}: {NAMES.get(metric, metric)}",
        ylabel=f"{b.name}: {NAMES.get(metric, metric)}",
    )
    axes.set_title(f"better in {better} of {len(both)} subjects")
    return figure


@_styled
def grids(
    panels: Mapping[str, pd.DataFrame], unit: str = "accuracy (%)", digits: int = 1
) -> Figure:
    """Heat maps on one colour scale (Fig. 5); the axes' names are those of each frame's index and columns."""
    figure = Figure((0.9 + 2.7 * len(panels), 2.9), layout="constrained")
    values = np.concatenate([panel.to_numpy(float).ravel() for panel in panels.values()])
    low, high = np.nanmin(values), np.nanmax(values)
    for axes, (title, panel) in zip(
        np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True
    ):
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
def kappa_ceiling(bounds: pd.DataFrame) -> Figure:
    """Printed kappas of Table II against the largest that accuracy and recalls allow (`audit.kappa_bounds`)."""
    at = np.arange(len(bounds))
    figure = Figure((7.2, 1.2 + 0.2 * len(bounds)), layout="constrained")
    axes = figure.subplots()
    for column, marker, label in (
        ("at_prior", "|", "largest, stages as in Fig. 2"),
        ("any_prior", "o", "largest, any stage distribution"),
    ):
        axes.plot(
            bounds[column],
            at,
            marker,
            color=_INK,
            ms=9 if marker == "|" else 4,
            mew=1.5,
            label=label,
        )
    over = bounds["kappa"] - 0.005 > bounds["any_prior"]
    for chosen, colour, label in (
        (~over, "#0072B2", "printed"),
        (over, "#D55E00", "printed, impossible"),
    ):
        axes.plot(
            bounds["kappa"][chosen],
            at[chosen],
            "D",
            mfc="none",
            mec=colour,
            ms=6,
            mew=1.3,
            label=label,
        )
    axes.set_yticks(at, bounds.index)
    axes.set(xlabel=NAMES["kappa"], ylim=(len(bounds) - 0.4, -0.6))
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@_styled
def stagers(table: pd.DataFrame) -> Figure:
    """Accuracy and kappa of each stager (above), F1 and recall of each stage (below); bars are 95 % intervals.

    Args:
        table: tidy, as `analysis.tables`; rows without a value (printed on other data) become lines
            in the first panel.
    """
    ours = table[table["value"].notna()]
    rows = list(ours["row"].unique())
    figure = Figure((7.2, 5.0), layout="constrained")
    (accuracy, kappa), (f1, recall) = figure.subplots(2, 2, height_ratios=[1, 1.5])
    for axes, column, title in (
        (accuracy, "accuracy", "accuracy (%)"),
        (kappa, "kappa", "Cohen's kappa"),
    ):
        lines = ours[ours["column"] == column].set_index("row").reindex(rows)
        for at, (row, line) in enumerate(lines.iterrows()):
            _point(axes, line["value"], at, line, rows.index(row), vertical=False)
        axes.set(ylim=(max(len(rows), 1) - 0.5, -0.5), title=title)
        axes.set_yticks(range(len(rows)), rows if axes is accuracy else [""] * len(rows))
        axes.grid(axis="x")
    printed = table[table["paper_value"].notna() & (table["column"] == "accuracy")]
    for number, (_, line) in enumerate(printed.iterrows()):
        label = f"MC2SleepNet as printed, {line['row']}: {line['paper_value']:.1f} %"
        accuracy.axvline(
            line["paper_value"], color=_INK, lw=1, ls=("--", ":")[number % 2], label=label, zorder=0
        )
    for axes, columns, title in ((f1, F1, "F1 (%)"), (recall, STAGES, "recall (%)")):
        for number, row in enumerate(rows):
            lines = ours[ours["row"] == row].set_index("column").reindex(columns)
            shift = 0.16 * (number - (len(rows) - 1) / 2)
            for at, (_, line) in enumerate(lines.iterrows()):
                _point(
                    axes,
                    at + shift,
                    line["value"],
                    line,
                    number,
                    vertical=True,
                    label=row if at == 0 else None,
                )
        axes.set(title=title, ylim=(-3, 103), xlim=(-0.5, len(STAGES) - 0.5), xlabel="true stage")
        axes.set_xticks(range(len(STAGES)), STAGES)
        axes.grid(axis="y")
    found = [axes.get_legend_handles_labels() for axes in (f1, accuracy)]
    handles, labels = ([x for part in parts for x in part] for parts in zip(*found, strict=True))
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _point(
    axes: Axes,
    x: float,
    y: float,
    line: pd.Series,
    number: int,
    vertical: bool,
    label: str | None = None,
) -> None:
    reach = np.nan_to_num(np.abs(line[["ci_low", "ci_high"]].to_numpy(float) - line["value"]))[
        :, None
    ]
    style = {
        "color": _COLOURS[number % 4],
        "marker": _MARKERS[number % 4],
        "ms": 5,
        "capsize": 2,
        "lw": 1.1,
    }
    axes.errorbar(x, y, **{"yerr" if vertical else "xerr": reach}, ls="", label=label, **style)
