"""Every number the paper prints, from `printed.csv`, in the paper's own units.

Accuracy, macro-F1 and recall ("per-class accuracy") are in %, kappa is a fraction, AHI is in
events/h. Rows are `teacher/method` in Table II (`-/R(2+1)D-18` for a student alone), the method in
Table III, `A`..`G` in Table IV, `v0`..`v4` and `ours` in Table V; `row` of Fig. 5 is
`panel: lambda1/lambda2/lambda3`. Which of these numbers contradict each other is worked out in
`sacd.paper.audit`.
"""

from functools import cache
from importlib import resources

import pandas as pd


@cache
def _table() -> pd.DataFrame:
    with resources.files(__package__).joinpath("printed.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype={"row": str, "note": str}).set_index(
            ["item", "row", "column"], drop=False
        )


def load() -> pd.DataFrame:
    """All printed numbers: item, row, column, value, sd (NaN where none is printed), where (section or table), note."""
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
    grid = _table().loc[[item]].reset_index(drop=True)
    return grid.pivot(index="row", columns="column", values="value").loc[
        grid.row.unique(), grid.column.unique()
    ]
