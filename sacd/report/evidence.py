"""What decides a claim: confusion matrices of an item's subjects, or lines of its table."""

from collections.abc import Iterable
from functools import reduce
from pathlib import Path
from typing import Final, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sacd.analysis import crossed
from sacd.analysis.crossed import Estimate
from sacd.analysis.stats import Measured, of_matrices, trained_once
from sacd.metrics import ERRORS, METRICS, scores

QUANTITIES: Final = (*METRICS, *ERRORS)
"""What a claim may compare: overall metrics, recall per stage, and the shares of a true stage."""

Cells = list[tuple[float, str, str]]
"""Weight, row and quantity of the values that a difference sums up."""


def read_subjects(source: Path | TextIO) -> pd.DataFrame:
    """`tables/subjects.csv`: item, row, seed, subject, and `ERRORS`; an empty cell is no clip."""
    table = pd.read_csv(source)
    cells = list(ERRORS)
    return table.assign(**table[cells].fillna(0).astype(int))


class Subjects:
    """Confusion matrices of the subjects of one item.

    The unit of Table III is the group of videos instead of the subject.
    """

    def __init__(self, lines: pd.DataFrame) -> None:
        self._unit = "groups of videos" if (lines["item"] == "table3").all() else "subjects"
        self._lines = dict(iter(lines.groupby("row", sort=False)))
        self._subjects = sorted(lines["subject"].unique())
        self._rows: dict[str, tuple[pd.Index, Measured]] = {}

    def absent(self, cells: Iterable[tuple[str, str]]) -> list[str]:
        return sorted({row for row, _ in cells} - self._lines.keys())

    def describe(self, rows: Iterable[str]) -> str:
        seeds = {self._lines[row]["seed"].nunique() for row in rows}
        return f"{len(self._subjects)} {self._unit}, paired; seeds per row: {_range(seeds)}"

    def _row(self, row: str) -> tuple[pd.Index, Measured]:
        """Seeds and quantities of a row."""
        if row not in self._rows:
            counts = self._lines[row].pivot(index="subject", columns="seed", values=list(ERRORS))
            seeds = counts.columns.get_level_values("seed").unique()
            # A row tested on other subjects gets NaN here, which leaves its claims undecided.
            counts = counts.reindex(self._subjects)
            matrices = counts.to_numpy(float).reshape(len(counts), 5, 5, -1)
            matrices = np.moveaxis(matrices, -1, 1)  # (S, K, 5, 5)
            self._rows[row] = seeds, of_matrices(counts.index, matrices, _values, QUANTITIES)
        return self._rows[row]

    def estimate(self, cells: Cells) -> Estimate:
        """Weighted sum of quantities, in the seeds that all of their rows have.

        A row that is one network (`stats.trained_once`) stands against every seed of the others.
        """
        names = {row for _, row, _ in cells}
        once = {row for row in names if trained_once(row) and len(self._row(row)[0]) == 1}
        once = once if names - once else set()
        trained = [self._row(row)[0] for row in sorted(names - once)]
        seeds = reduce(pd.Index.intersection, trained)
        # Each is a weighted sum over cells: (K,), (S, K) and, as a subject counts if it has clips
        # for any of them, (S,).
        total = left_out = there = 0
        for weight, name, quantity in cells:
            (own, row), q = self._row(name), QUANTITIES.index(quantity)
            shared = own.get_indexer(seeds) if name not in once else [0] * len(seeds)
            total = total + weight * row.total[shared, q]
            left_out = left_out + weight * row.left_out[:, shared, q]
            there = there | (row.clips[:, q] != 0)  # NaN counts as there
        if seeds.empty:
            return Estimate(np.nan, n_subjects=len(self._subjects), n_seeds=0)
        return crossed.estimates(total[:, None], left_out[..., None], there[:, None])[0]


def _values(matrices: NDArray) -> NDArray[np.float64]:
    """`QUANTITIES` `(..., q)` of confusion matrices `(..., 5, 5)`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = 100 * matrices / matrices.sum(-1, keepdims=True)
    return np.concatenate([scores(matrices), shares.reshape(*shares.shape[:-2], -1)], -1)


class Table:
    """A tidy table whose rows are already differences or correlations, to be compared with 0.

    The interval of the table is the test, one for any number of parts.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table.drop_duplicates(["row", "column"]).set_index(["row", "column"])

    def absent(self, cells: Iterable[tuple[str, str]]) -> list[str]:
        unknown = [cell for cell in cells if cell not in self._table.index]
        return sorted(f"{row}@{name}" for row, name in unknown)

    def describe(self, rows: Iterable[str]) -> str:
        lines = self._table.loc[list(rows)]
        numbers, seeds = ({int(n) for n in lines[c].dropna()} for c in ("n_subjects", "n_seeds"))
        return f"{_range(numbers)} subjects, intervals of the table; seeds: {_range(seeds)}"

    def estimate(self, cells: Cells) -> Estimate:
        """A difference of the table, as far as it tells; its interval is the test."""
        ((_, row, name),) = cells
        line = self._table.loc[(row, name)]
        known = {field: line.get(field, np.nan) for field in Estimate._fields}
        # With p = 0 the interval alone decides, whatever the number of parts.
        return Estimate(**known | {"p_value": 0.0})


def _range(numbers: Iterable[int]) -> str:
    """The smallest and the largest of some counts.

    >>> _range([3, 1, 2]), _range([3, 3])
    ('1 to 3', '3')
    """
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"
