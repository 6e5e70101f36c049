"""Figures of subjects and of probabilities: who is staged well, and how sure a network may be."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sacd.analysis.calibration import calibration_error, pooled, reliability
from sacd.figures.base import INK, Figure, sentence, styled
from sacd.figures.labels import NAMES, row_name

_FIRST, _SECOND = "#8a8a8a", "#0072B2"


@styled
def by_subject(a: pd.Series, b: pd.Series) -> Figure:
    """Kappa of each subject under two methods, and all subjects in its order.

    Left: above the diagonal, the second method is better. Right: subjects sorted by the second
    method; its best, median and worst are named.

    Args:
        a, b: kappa by subject; their names are rows of a table and label the axes.
    """
    both = pd.concat([a, b], axis=1, join="inner").dropna()
    figure = Figure((7.2, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.35])
    low, high = both.min().min(), both.max().max()
    margin = 0.06 * (high - low or 1)
    limits = low - margin, high + margin
    size = 4.5 if len(both) < 60 else 3
    left.axline((low, low), slope=1, color=_FIRST, lw=0.8)
    left.plot(both.iloc[:, 0], both.iloc[:, 1], "o", ms=size, alpha=0.8, color=_SECOND)
    better = int((both.iloc[:, 1] > both.iloc[:, 0]).sum())
    name = sentence(NAMES["kappa"])
    first, second = row_name(str(a.name)), row_name(str(b.name))
    # Equal axes, so that distance from the diagonal is the difference.
    left.set(xlim=limits, ylim=limits, aspect="equal")
    left.set(xlabel=f"{name}\n{first}", ylabel=f"{name}\n{second}")
    left.set_title(f"(a) Better in {better} of {len(both)} subjects")
    ordered = both.sort_values(both.columns[1])
    at = np.arange(1, len(both) + 1)
    right.plot(at, ordered.iloc[:, 0], "o", ms=size, mfc="none", mec=_FIRST, label=first)
    right.plot(at, ordered.iloc[:, 1], "o", ms=size, color=_SECOND, label=second)
    # Values ascend, so no data lie in the upper left half: names stand there, with lines.
    marked = {
        "worst": (0, (0.03, 0.45), (0, 0)),
        "median": (len(both) // 2, (0.12, 0.7), (0.5, 0)),
        "best": (len(both) - 1, (0.45, 0.93), (1, 0.5)),
    }
    for word, (k, place, corner) in marked.items():
        value = ordered.iloc[k, 1]
        right.plot(at[k], value, "o", ms=size + 4, mfc="none", mec=INK, mew=1)
        line = {"arrowstyle": "-", "color": INK, "lw": 0.6, "shrinkB": 4, "relpos": corner}
        right.annotate(
            f"{word}: {ordered.index[k]}, {value:.2f}", (at[k], value), place, fontsize=7.5,
            textcoords="axes fraction", va="center", color=INK, arrowprops=line,
        )  # fmt: skip
    right.set(xlabel=f"Subjects, sorted by {second}", ylabel=name)
    right.set_ylim(limits[0], limits[1] + margin)
    right.grid(axis="y")
    right.set_title("(b) Every subject")
    right.legend(loc="lower right")
    return figure


@styled
def calibration(tests: Mapping[str, Sequence[pd.DataFrame]]) -> Figure:
    """Reliability curves: how often methods are right, by how sure they are.

    Thick: all seeds together, thin: each seed. Below the diagonal a method is too sure. Legend:
    expected calibration error, mean over seeds. Right: where the clips are.

    Args:
        tests: method -> predictions, one table per seed.
    """
    figure = Figure((7.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.1, 1])
    left.plot([0, 1], [0, 1], color=_FIRST, lw=0.8, label="perfectly calibrated")
    for k, (name, predictions) in enumerate(tests.items()):
        seeds, colour = [reliability(table) for table in predictions], f"C{k}"
        every, error = pooled(seeds), np.mean([calibration_error(curve) for curve in seeds])
        for curve in seeds:
            left.plot(curve["confidence"], curve["accuracy"], color=colour, lw=0.5, alpha=0.5)
        label = f"{row_name(name)}: ECE {error:.3f}"
        style = {"color": colour, "marker": "os^D"[k % 4], "ms": 4}
        left.plot(every["confidence"], every["accuracy"], lw=1.6, label=label, **style)
        share = 100 * every["clips"] / every["clips"].sum()
        right.plot(every["confidence"], share, label=name, **style)
    left.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal", title="(a) Reliability")
    left.set(xlabel="Highest probability of a clip", ylabel="Share of correct clips")
    left.grid()
    right.set(xlim=(0, 1), ylim=(0, None), title="(b) Clips", ylabel="% of all clips")
    right.set_xlabel("Highest probability of a clip")
    right.grid(axis="y")
    names = left.get_legend_handles_labels()
    figure.legend(*names, loc="outside upper center", ncols=3, fontsize=7.5)
    return figure
