"""EEG stagers side by side: accuracy beside the printed ones, F1 and recall of each stage."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sacd.figures.base import _INK, Figure, _styled
from sacd.metrics import F1
from sacd.stages import STAGES

_COLOURS = ("#000000", "#882255", "#44AA99", "#999933")  # none of a stage's
_MARKERS = "osD^"


@_styled
def stagers(table: pd.DataFrame) -> Figure:
    """Accuracy and kappa of each stager (above), F1 and recall of each stage (below); bars are 95 % intervals.

    Args:
        table: tidy, as `analysis.tables`; rows without a value (printed on other data) become lines in the first panel.
    """
    ours = table[table["value"].notna()]
    rows = list(ours["row"].unique())
    figure = Figure((7.2, 5.0), layout="constrained")
    (accuracy, kappa), (f1, recall) = figure.subplots(2, 2, height_ratios=[1, 1.5])
    for axes, column, title in ((accuracy, "accuracy", "accuracy (%)"), (kappa, "kappa", "Cohen's kappa")):
        lines = ours[ours["column"] == column].set_index("row").reindex(rows)
        for at, (row, line) in enumerate(lines.iterrows()):
            _point(axes, line["value"], at, line, rows.index(row), vertical=False)
        axes.set(ylim=(max(len(rows), 1) - 0.5, -0.5), title=title)
        axes.set_yticks(range(len(rows)), rows if axes is accuracy else [""] * len(rows))
        axes.grid(axis="x")
    printed = table[table["paper_value"].notna() & (table["column"] == "accuracy")]
    for number, (_, line) in enumerate(printed.iterrows()):
        label = f"MC2SleepNet as printed, {line['row']}: {line['paper_value']:.1f} %"
        accuracy.axvline(line["paper_value"], color=_INK, lw=1, ls=("--", ":")[number % 2], label=label, zorder=0)
    for axes, columns, title in ((f1, F1, "F1 (%)"), (recall, STAGES, "recall (%)")):
        for number, row in enumerate(rows):
            lines = ours[ours["row"] == row].set_index("column").reindex(columns)
            shift = 0.16 * (number - (len(rows) - 1) / 2)
            for at, (_, line) in enumerate(lines.iterrows()):
                _point(axes, at + shift, line["value"], line, number, vertical=True, label=row if at == 0 else None)
        axes.set(title=title, ylim=(-3, 103), xlim=(-0.5, len(STAGES) - 0.5), xlabel="true stage")
        axes.set_xticks(range(len(STAGES)), STAGES)
        axes.grid(axis="y")
    found = [axes.get_legend_handles_labels() for axes in (f1, accuracy)]
    handles, labels = ([x for part in parts for x in part] for parts in zip(*found, strict=True))
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _point(
    axes: Axes, x: float, y: float, line: pd.Series, number: int, vertical: bool, label: str | None = None
) -> None:
    reach = np.nan_to_num(np.abs(line[["ci_low", "ci_high"]].to_numpy(float) - line["value"]))[:, None]
    style = {"color": _COLOURS[number % 4], "marker": _MARKERS[number % 4], "ms": 5, "capsize": 2, "lw": 1.1}
    axes.errorbar(x, y, **{"yerr" if vertical else "xerr": reach}, ls="", label=label, **style)
