"""The simulator's numbers, from parameters.csv: value, range, source, and how it was checked."""

from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

from sacd.stages import STAGES

FILE = files(__package__) / "parameters.csv"


def table() -> pd.DataFrame:
    """The table of parameters.

    Returns:
        `name`, `stage` (empty if the value holds for every stage), `value`, `unit`, `low`, `high`,
        `source`, `checked`. The last says what the abstract of the source, or a page about it,
        states about the number: supported, conflict, ...
    """
    with FILE.open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False)


@cache
def _values() -> dict[str, float | np.ndarray]:
    values = {}
    for name, rows in table().groupby("name", sort=False):
        if len(rows) == 1 and rows.stage.iloc[0] == "":
            values[name] = float(rows.value.iloc[0])
        else:
            values[name] = rows.set_index("stage").value.loc[list(STAGES)].to_numpy(float)
            values[name].setflags(write=False)  # the cache hands out the array itself
    return values


def parameter(name: str) -> float | np.ndarray:
    """Value of a parameter: a number, or one per stage in the order of `STAGES`.

    >>> parameter("event.min_s"), parameter("breath.rate").shape
    (10.0, (5,))
    """
    return _values()[name]


def span(name: str) -> tuple[float, float]:
    """Both ends of a range: the rows `name`_from and `name`_to.

    >>> span("eeg.alpha")
    (8.0, 12.0)
    """
    return parameter(f"{name}_from"), parameter(f"{name}_to")
