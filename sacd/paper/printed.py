"""Every number the paper prints, from `printed.csv`, in the paper's own units.

Accuracy, macro-F1 and recall ("per-class accuracy") are in %, kappa is a fraction, AHI is in
events/h. Rows are `teacher/method` in Table II (`-/R(2+1)D-18` for a student alone), the method in
Table III, `A`..`G` in Table IV, `v0`..`v4` and `ours` in Table V, and
`panel: lambda1/lambda2/lambda3` in Fig. 5. `sacd.paper.audit` lists the numbers that contradict
each other.
"""

from functools import cache
from importlib import resources
from typing import NamedTuple

import pandas as pd

FROM = "_from"
TO = "_to"
"""Suffixes of a column: the end points of a difference that the text quotes."""


class Quoted(NamedTuple):
    """Cells of a table that the text (or Fig. 5) quotes, by itself or as the difference of two."""

    table: str
    upper: str
    """Row quoted, or the row that is subtracted from."""
    lower: str
    """Row that is subtracted; empty where the text quotes one row."""


def read_csv(name: str, dtype: dict[str, type] | None = None) -> pd.DataFrame:
    """A CSV of this folder; numbers stay numbers, empty cells are NaN."""
    with resources.files(__package__).joinpath(name).open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=dtype)


@cache
def _table() -> pd.DataFrame:
    table = read_csv("printed.csv", {"row": str, "note": str})
    return table.set_index(["item", "row", "column"], drop=False)


def load() -> pd.DataFrame:
    """All printed numbers: item, row, column, value, sd (NaN if none), where (section), note."""
    return _table().reset_index(drop=True)


def value(item: str, row: str, column: str) -> float:
    """One printed number, in the paper's units; NaN where the paper prints none.

    >>> value("table2", "AttnSleep/SACD", "accuracy"), value("table2", "AttnSleep/SACD", "kappa")
    (64.4, 0.6)
    """
    key = (item, row, column)
    return float(_table().at[key, "value"]) if key in _table().index else float("nan")


def table(item: str) -> pd.DataFrame:
    """One item as a grid, rows and columns in printed order.

    >>> table("table5").loc["ours", "REM"]
    np.float64(67.8)
    """
    lines = _table().loc[[item]].reset_index(drop=True)
    grid = lines.pivot(index="row", columns="column", values="value")
    return grid.loc[lines["row"].unique(), lines["column"].unique()]


def rounding(column: str) -> float:
    """Half of the last printed digit of a column, in its unit."""
    return 0.005 if column == "kappa" else 0.05


@cache
def quoted() -> dict[tuple[str, str], Quoted]:
    """By item and row of `printed.csv`: the table and rows that the number was quoted from.

    >>> quoted()["text", "F - G"]
    Quoted(table='table4', upper='F', lower='G')
    """
    lines = read_csv("quoted.csv").fillna("").itertuples(index=False)
    return {(x.item, x.row): Quoted(x.table, x.upper, x.lower) for x in lines}
