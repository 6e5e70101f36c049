"""Figure of the simulator beside real nights (`44_simulator_and_reality`)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sacd.analysis.night_measures import CHANGE, MOVING, POWER, RATE, SHARE, SPREAD
from sacd.figures.base import INK, Figure, legend_above, styled
from sacd.stages import STAGES

_SIMULATED = "#0072B2"
_COLOURS = {
    "sleep-accel": "#D55E00",
    "UCDDB": "#009E73",
    "Santa Fe B": "#CC79A7",
    "Sleep-EDF Fpz-Cz": "#E69F00",
}
"""Data set -> its colour."""


@styled
def simulator(table: pd.DataFrame) -> Figure:
    """Simulated beside real nights in six panels; bars are the sd between nights.

    Where a measure is itself a spread, bars are its 95 % interval.

    Args:
        table: of `sacd.analysis.reality.compare`.
    """
    figure = Figure((10.4, 6.6), layout="constrained")
    axes = figure.subplots(2, 3)
    hypnogram = table[(table["measure"] == SHARE) | (table["column"] == "sleep efficiency (%)")]
    hypnogram = hypnogram.replace({"column": {"sleep efficiency (%)": "efficiency"}})
    _beside(axes[0, 0], hypnogram, "(a) Stages (% of sleep), efficiency (%)")
    stays = []
    for stage in STAGES:  # the diagonal of the transition matrix
        same = (table["measure"] == CHANGE.format(stage)) & (table["column"] == stage)
        stays.append(table[same])
    _beside(axes[0, 1], pd.concat(stays), "(b) Next clip has the same stage (%)")
    _beside(axes[0, 2], table[table["measure"] == MOVING], "(c) Clips with movement (%)")
    breath = table[(table["measure"] == RATE) & (table["column"] != "sd over clips")]
    _beside(axes[1, 0], breath, "(d) Breaths per minute")
    n2 = table[table["measure"] == POWER.format("N2")]
    _beside(axes[1, 1], n2, "(e) Power in N2 (log10 µV$^2$/Hz)")
    spread = table[table["measure"] == SPREAD]
    _beside(axes[1, 2], spread, "(f) Sd between nights of (e)", bars="ci")
    legend_above(figure, 3)
    return figure


def _beside(axes: Axes, lines: pd.DataFrame, title: str, bars: str = "sd") -> None:
    """Points of the simulator and, right of them, of each data set, by column."""
    columns = list(dict.fromkeys(lines["column"]))
    datasets = list(dict.fromkeys(lines["dataset"].dropna()))
    # A measure has one line for each data set, each with the same simulated numbers.
    ours = lines.drop_duplicates("column").set_index("column").loc[columns]
    series = [("Simulated", _SIMULATED, "o", ours, "", "night_sd", "n_subjects")]
    for dataset in datasets:
        theirs = lines[lines["dataset"] == dataset].set_index("column").reindex(columns)
        colour = _COLOURS.get(dataset, INK)
        series.append((dataset, colour, "D", theirs, "real_", "real_sd", "real_nights"))
    step = 0.22
    for number, (name, colour, marker, values, prefix, sd, nights) in enumerate(series):
        at = np.arange(len(columns)) + step * (number - (len(series) - 1) / 2)
        middle = values[f"{prefix}value"].to_numpy(float)
        length = np.tile(values[sd].to_numpy(float), (2, 1))
        if bars == "ci":
            ends = values[[f"{prefix}ci_low", f"{prefix}ci_high"]].to_numpy(float).T
            length = np.abs(ends - middle)
        count = int(np.nanmax(values[nights].to_numpy(float)))
        word = "nights" if count > 1 else "night"
        axes.errorbar(
            at, middle, yerr=np.nan_to_num(length), fmt=marker, color=colour, ms=4.5, lw=1.2,
            capsize=2, label=f"{name} ({count} {word})",
        )  # fmt: skip
    axes.set_xticks(np.arange(len(columns)), columns)
    axes.set_xlim(-0.6, len(columns) - 0.4)
    axes.set_title(title, loc="left")
