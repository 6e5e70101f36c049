"""Figures that compare methods: confusion matrices, training curves, metrics, EEG stagers."""

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from textwrap import fill
from typing import Any, Final

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from sacd.escape import counted
from sacd.figures.base import (
    INK,
    Figure,
    error_bars,
    label_ends,
    label_lines,
    legend_above,
    readable_cells,
    sentence,
    styled,
)
from sacd.figures.labels import NAMES, PAIRS, panel_title, row_name
from sacd.metrics import F1
from sacd.stages import STAGES

_HEADINGS: Final = {
    "-": "Video student alone",
    "teacher": "Frozen teachers",
    "control": "Controls",
}
"""Headings of the rows that are no taught students."""
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
        # A stage without clips stays a row of zeros.
        share = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        cells = zip(share.ravel(), matrix.ravel(), strict=True)
        text = np.array([f"{s:.0f}\n{n:,.0f}" for s, n in cells]).reshape(matrix.shape)
        mesh = sns.heatmap(
            share, annot=text, fmt="", annot_kws={"size": 7, "linespacing": 1.2}, vmin=0, vmax=100,
            cmap="Blues", square=True, cbar=False, linewidths=0.5, xticklabels=STAGES,
            yticklabels=STAGES, ax=axes,
        )  # fmt: skip
        readable_cells(axes)
        axes.tick_params(length=0, rotation=0)
        axes.set(title=sentence(row_name(name)), xlabel="Predicted stage", ylabel="True stage")
    figure.colorbar(mesh.collections[0], ax=figure.axes, label="% of the true stage", shrink=0.75)
    return figure


@styled
def curves(
    histories: Mapping[str, Sequence[pd.DataFrame]], terms: Collection[str] | None = None
) -> Figure:
    """Training curves by epoch, a panel for each term, with one line per method.

    A line is the mean over seeds and its band their range. Terms of `PAIRS` share a panel: the
    first is solid, the second dashed, and their names stand at their ends.

    Args:
        histories: method -> `metrics.csv` of each seed: epoch, loss terms, monitored quantities.
        terms: columns that are shown; default: the weighted loss terms, `loss_...`.
    """
    panels: dict[str, list[str]] = {}
    for term in _columns(histories):
        if term in terms if terms is not None else term.startswith("loss_"):
            panels.setdefault(panel_title(term), []).append(term)
    # Four panels are as wide as a page allows.
    width = min(4, len(panels))
    height = -(-len(panels) // width)
    figure = Figure((max(1.8 * width, 3.6), 1.6 * height + 0.8), layout="constrained")
    grid = figure.subplots(height, width, sharex=True, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.remove()
    for number, (axes, (title, shown)) in enumerate(zip(grid, panels.items(), strict=False)):
        _curves(axes, histories, shown)
        axes.set_title(fill(title, 20), fontsize=8.5)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        if number + width >= len(panels):
            axes.set_xlabel("Epoch")
            axes.tick_params(labelbottom=True)
    legend_above(figure, 5)
    return figure


def _columns(histories: Mapping[str, Sequence[pd.DataFrame]]) -> dict[str, None]:
    """Columns of all histories, each once, in the order in which they occur."""
    columns: dict[str, None] = {}
    for seeds in histories.values():
        for history in seeds:
            columns |= dict.fromkeys(history.columns)
    return columns


def _curves(
    axes: Axes, histories: Mapping[str, Sequence[pd.DataFrame]], terms: Sequence[str]
) -> None:
    """One panel of `curves`."""
    ends = {}
    for term, dash in zip(terms, ("-", "--"), strict=False):
        for k, (method, seeds) in enumerate(histories.items()):
            parts = [history.set_index("epoch")[term] for history in seeds if term in history]
            if not parts:  # a baseline, for example, has fewer loss terms
                continue
            by_epoch = pd.concat(parts).groupby(level=0)
            mean, style = by_epoch.mean(), {"color": f"C{k}"}
            marker = "." if len(mean) < 8 else ""
            axes.plot(mean.index, mean, label=method, marker=marker, ls=dash, **style)
            axes.fill_between(mean.index, by_epoch.min(), by_epoch.max(), alpha=0.2, lw=0, **style)
            name = PAIRS.get(term.removeprefix("validation_"), ("", ""))[1]
            ends.setdefault(name, (mean.index[-1], mean.iloc[-1], INK))
    if len(terms) > 1:
        low, high = axes.get_ylim()
        label_ends(axes, ends, 0.12 * (high - low))


@styled
def comparison(
    table: pd.DataFrame,
    column: str,
    bounds: Mapping[str, float],
    printed: str = "printed (S3VE)",
) -> Figure:
    """One metric of a tidy table, one line per method, grouped by teacher.

    Our value has its interval and, by number of seeds, a marker of its own; the printed value is
    hollow. Baselines and bounds are vertical lines with their names above. The grey band is the
    interval of the first student alone, so that one sees which methods are above it.

    Args:
        table: as `sacd.analysis.tables`; the part of a row's name before "/" is its group, and
            within a group the order is that of the table. Rows that the paper lacks follow in a
            group of their own.
        column: a metric.
        bounds: name and value of the bounds and baselines, in the same unit.
        printed: label of the printed values, with their data.
    """
    lines, labels = _grouped(table[table["column"] == column])
    figure = Figure((7.2, 1.5 + 0.165 * len(labels)), layout="constrained")
    axes = figure.subplots()
    yardsticks = dict(bounds)
    alone = lines[lines["row"].str.startswith("-/")].head(1)
    for student in alone.itertuples():
        yardsticks[f"{student.row[2:]} alone"] = student.value
        axes.axvspan(student.ci_low, student.ci_high, color="#ececec", lw=0, zorder=-1)
    _values(axes, lines, sentence(printed))
    _headings(axes, labels)
    name = sentence(NAMES.get(column, column))
    axes.set(xlabel=f"{name}; bars: 95 % interval", ylim=(len(labels) - 0.4, -0.6))
    label_lines(axes, yardsticks)
    handles, names = axes.get_legend_handles_labels()
    # Matplotlib puts lines before error bars; ours come first.
    order = np.argsort([not name.startswith("Here") for name in names], kind="stable")
    figure.legend(
        [handles[k] for k in order], [names[k] for k in order], loc="outside upper center",
        ncols=len(names),
    )  # fmt: skip
    return figure


def _values(axes: Axes, lines: pd.DataFrame, printed: str) -> None:
    """Our values, a marker for each number of seeds, and the printed ones."""
    counts = sorted(lines["n_seeds"].unique(), reverse=True)
    for count, marker in zip(counts, cycle(_MARKERS), strict=False):
        here = lines[lines["n_seeds"] == count]
        axes.errorbar(
            here["value"].to_numpy(float), here["at"], xerr=error_bars(here), ls="", marker=marker,
            color="#0072B2", ms=4.5, capsize=2, lw=1,
            label=f"Here, {counted(count, 'seed')}",
        )  # fmt: skip
    if lines["paper_value"].notna().any():
        axes.plot(
            lines["paper_value"], lines["at"], "D", mfc="none", mec="#D55E00", ms=5, mew=1.1,
            label=printed,
        )  # fmt: skip


def _headings(axes: Axes, labels: Sequence[tuple[str, bool]]) -> None:
    """Names of the rows; headings are bold, with a line above all but the first."""
    axes.set_yticks(np.arange(len(labels)), [name for name, _ in labels])
    for at, (tick, (_, heading)) in enumerate(zip(axes.get_yticklabels(), labels, strict=True)):
        tick.set_fontweight("bold" if heading else "normal")
        if heading and at:
            axes.axhline(at - 0.5, color="#d0d0d0", lw=0.6, zorder=-2)
    axes.tick_params(axis="y", length=0)


def _grouped(lines: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, bool]]]:
    """Lines of a figure with headings.

    Returns:
        The rows in the order of the figure, with `at`, their height; and for every height the label
        and whether it is a heading.
    """
    group = lines["row"].str.partition("/")[0].where(lines["row"].str.contains("/"), "")
    in_paper = lines["paper_value"].notna()
    parts, labels = [], []
    for name in group.unique():
        here = group == name
        beyond = here & ~in_paper if (here & in_paper).any() else here & False
        for chosen, addition in ((here & ~beyond, ""), (beyond, ", beyond the paper")):
            rows = lines[chosen]
            if rows.empty:
                continue
            if name:
                labels.append((_HEADINGS.get(name, f"Taught by {name}") + addition, True))
            parts.append(rows.assign(at=len(labels) + np.arange(len(rows))))
            labels += [(row_name(row.removeprefix(f"{name}/")), False) for row in rows["row"]]
    return pd.concat(parts), labels


@styled
def stagers(table: pd.DataFrame, majority: float | None = None) -> Figure:
    """Metrics of the EEG stagers with 95 % intervals.

    Above: accuracy and kappa. Below: F1 and recall of each stage.

    Args:
        table: tidy, as `sacd.analysis.tables`; rows without a value (printed on other data) become
            lines in the first panel.
        majority: accuracy in % of always guessing the most frequent stage, a line if given.
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
    if majority is not None:
        accuracy.axvline(majority, color=INK, lw=0.9, ls="--", label="Majority", zorder=0)
    printed = table[table["paper_value"].notna() & (table["column"] == "accuracy")]
    for number, line in enumerate(printed.itertuples()):
        label = "_" * (number > 0) + "MC2SleepNet as printed"  # once in the legend
        accuracy.axvline(line.paper_value, color="#8a8a8a", lw=0.8, label=label, zorder=0)
        accuracy.text(
            line.paper_value, 0.03, f"{line.row} {line.paper_value:.1f}", rotation=90, fontsize=7,
            ha="right", va="bottom", color=INK, transform=accuracy.get_xaxis_transform(),
        )  # fmt: skip
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
