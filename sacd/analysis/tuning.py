"""One weight on all terms of a method, chosen on the validation subjects (`24_tuning`)."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Final

import pandas as pd

from sacd.analysis import stats, tables
from sacd.analysis.stats import Predictions

ALONE: Final = "student alone"
AUC: Final = "validation AUC"
AUC_AT: Final = AUC + " at weight {:g}"
USED: Final = "weight used"
BEST: Final = "best weight of the grid"

Grid = Mapping[str, Mapping[float, Predictions]]
"""Method -> weight -> predictions of the validation clips."""


def best_weight(aucs: Mapping[float, float]) -> float:
    """The weight with the largest AUC; of equally good ones the nearest to 1, by its logarithm.

    >>> best_weight({0.1: 0.7, 1.0: 0.7, 10.0: 0.6}), best_weight({0.1: 0.6, 1.0: 0.6, 10.0: 0.7})
    (1.0, 10.0)
    """
    top = max(aucs.values())
    # Weights are ratios: 0.1 and 10 are equally far from 1.
    return min((w for w, auc in aucs.items() if auc == top), key=lambda weight: abs(log(weight)))


def table(alone: Predictions, grid: Grid, used: Mapping[str, float], data: str) -> pd.DataFrame:
    """Tidy lines: AUC of each method at each weight, the weight in use, and the best one.

    Args:
        alone: predictions of the validation clips by the untaught student.
        used: method -> its weight in every other notebook.
    """
    parts = [(ALONE, _auc(alone, AUC))]
    for method, by_weight in grid.items():
        lines = [_auc(found, AUC_AT.format(weight)) for weight, found in by_weight.items()]
        values = [line["value"].iloc[0] for line in lines]
        best = best_weight(dict(zip(by_weight, values, strict=True)))
        chosen = pd.DataFrame({"column": [USED, BEST], "value": [used[method], best]})
        numbers = pd.concat([*lines, chosen], ignore_index=True)
        parts.append((method, numbers))
    return tables.stack("tuning", parts, data)


def _auc(predictions: Predictions, name: str) -> pd.DataFrame:
    """The AUC and its interval over subjects, as one line named `name`."""
    numbers = stats.intervals(predictions)
    return numbers[numbers["column"] == "auc"].assign(column=name)


def curve(table: pd.DataFrame, method: str, weights: Sequence[float]) -> dict[float, float]:
    """AUC of a method by weight, from `table`."""
    lines = table[table["row"] == method].set_index("column")["value"]
    return {weight: float(lines[AUC_AT.format(weight)]) for weight in weights}


def weights_of(table: pd.DataFrame) -> pd.DataFrame:
    """The weight in use and the best one, indexed by method in the order of `table`."""
    lines = table[table["column"].isin([USED, BEST])]
    found = lines.pivot(index="row", columns="column", values="value")
    return found.loc[lines["row"].unique(), [USED, BEST]]


def in_short(table: pd.DataFrame, weights: Sequence[float]) -> str:
    """For how many methods the weight in use is the best of the grid, and which are the others."""
    found = weights_of(table)
    others = found[found[USED] != found[BEST]]
    n = len(found) - len(others)
    grid = ", ".join(f"{weight:g}" for weight in weights)
    text = f"**for {n} of {len(found)} methods the weight in use is the best of the grid** ({grid})"
    parts = []
    for method, line in others.iterrows():
        aucs = curve(table, method, weights)
        gap = "not in the grid"
        if line[USED] in aucs:
            gap = f"AUC {aucs[line[USED]] - aucs[line[BEST]]:+.4f}"
        parts.append(f"{method} uses {line[USED]:g} ({gap}), best is {line[BEST]:g}")
    return f"{text}; {'; '.join(parts)}." if parts else f"{text}."
