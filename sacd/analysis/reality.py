"""The simulator beside real nights: the same measures of both, night by night, and a verdict.

A table of nights has one row per night and columns (measure, column), such as ("share of sleep
(%)", "N2"). `summary` reduces it over nights, `compare` sets simulated beside real lines.
`reality.csv` holds the lines of the real nights, made by these functions from public data.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sacd.analysis import tables
from sacd.analysis.night_measures import POWER, SPREAD, Measures

FILE: Final = files(__package__) / "reality.csv"
INSIDE, SAME, LOW, HIGH = "inside the real spread", "not told apart", "too low", "too high"
UNSURE, ONE, NONE = "undecided", "real night inside the simulated spread", "no real data"
RESAMPLES: Final = 2000
_SUMMARY: Final = ["measure", "column", "value", "ci_low", "ci_high", "sd", "nights"]
_SOURCE: Final = ["dataset", "source", "licence", "recomputed"]


def nights_table(nights: Sequence[Measures]) -> pd.DataFrame:
    """Table of nights: one row per night, columns (measure, column)."""
    table = pd.DataFrame(nights)
    table.columns = pd.MultiIndex.from_tuples(table.columns, names=["measure", "column"])
    return table


def summary(nights: pd.DataFrame, sleepers: ArrayLike | None = None) -> pd.DataFrame:
    """Mean over nights of each measure, its 95 % interval, and the sd between nights.

    Where the table has band powers, `SPREAD` follows: the sd between nights as a value of its own.
    Intervals are percentile bootstraps over sleepers; fewer than five sleepers give none.

    Args:
        nights: of `nights_table`.
        sleepers: whose night it is, for each row; default: each night is another sleeper's.
    """
    owner = np.arange(len(nights)) if sleepers is None else np.asarray(sleepers)
    who, number = np.unique(owner, return_inverse=True)
    # How often each sleeper occurs in each resample; all nights of a sleeper come together.
    equal = np.full(len(who), 1 / len(who))
    drawn = np.random.default_rng(0).multinomial(len(who), equal, RESAMPLES)
    weights = drawn[:, number].astype(float)
    lines = []
    for measure, column in nights.columns:
        values = nights[measure, column].to_numpy(float)
        known = np.isfinite(values)
        values = values[known]
        mean = values.mean() if len(values) else np.nan
        sd = values.std(ddof=1) if len(values) > 1 else np.nan
        intervals = np.full((2, 2), np.nan)  # of the mean, of the sd
        # A percentile bootstrap of fewer sleepers is far too narrow.
        if len(np.unique(number[known])) >= 5:
            draws = np.stack(_weighted(values, weights[:, known]), axis=1)
            intervals = np.nanquantile(draws, [0.025, 0.975], axis=0).T
        lines.append((measure, column, mean, *intervals[0], sd, len(values)))
        if measure == POWER.format("N2"):
            lines.append((SPREAD, column, sd, *intervals[1], np.nan, len(values)))
    return pd.DataFrame(lines, columns=_SUMMARY)


def _weighted(values: NDArray, weights: NDArray) -> tuple[NDArray, NDArray]:
    """Means and standard deviations `(resamples,)` of resampled values."""
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = weights @ values / total
        # With weights as counts, n - 1 is the number of drawn nights minus one.
        square = weights @ values**2 / total - mean**2
        sd = np.sqrt(np.maximum(square, 0) * total / (total - 1))
    return mean, sd


def committed() -> pd.DataFrame:
    """Lines of real nights in `reality.csv`: columns of `summary`, dataset, source, licence."""
    with FILE.open(encoding="utf-8") as file:
        return pd.read_csv(file)


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the table of `compare` as `tables/simulator` in every format."""
    view = pd.DataFrame({"measure": table["row"], "of": table["column"]})
    for side, prefix, sd, nights in (
        ("simulated", "", "night_sd", "n_subjects"),
        ("real", "real_", "real_sd", "real_nights"),
    ):
        names = [f"{prefix}{name}" for name in ("value", "ci_low", "ci_high")] + [sd, nights]
        view[side] = [_cell(*numbers) for numbers in table[names].to_numpy(float)]
    view["verdict"] = table["verdict"]
    again = sorted(table.loc[table["recomputed"].eq(True), "dataset"].unique())
    numbers = f"{', '.join(again)} computed again" if again else "as committed"
    caption = (
        f"simulator. Data: {table['data'].iloc[0]}; ± sd between nights; [95 % interval, "
        "percentile bootstrap over sleepers]; n: nights. Inside: the simulated mean lies within "
        "one sd between real nights of the real mean. Verdicts are not corrected for the number "
        f"of lines. Real numbers: {numbers}; source and licence in simulator.csv."
    )
    return tables.write(table, folder, "simulator", view=view, caption=caption)


def _cell(value: float, low: float, high: float, sd: float, nights: float) -> str:
    if not np.isfinite(value):
        return ""
    text = f"{value:.2f}"
    if np.isfinite(sd):
        text += f" ± {sd:.2f}"
    if np.isfinite(low):
        text += f" [{low:.2f}, {high:.2f}]"
    return text + (f", n = {nights:.0f}" if np.isfinite(nights) else "")


def verdict(value: float, error: float, sd: float, real: pd.Series) -> str:
    """Where the simulated mean lies beside the real one.

    *Inside the real spread*: at most one sd between real nights away. *Too low* or *too high*:
    farther, and by more than 1.96 standard errors of the difference; *undecided*: farther, but not
    surely. A measure that is itself a spread has no sd: there *not told apart* is the
    opposite of too low and too high. One real night is compared with the spread of simulated ones
    (1.96 sd).

    Args:
        value, error, sd: simulated mean, its standard error, and the sd between nights.
        real: a line of `summary`.
    """
    gap = value - real["value"]
    if not np.isfinite(gap):
        return NONE
    side = HIGH if gap > 0 else LOW
    # One night has no spread of its own, so that of the simulated ones stands in.
    if real["nights"] == 1:
        return ONE if abs(gap) <= 1.96 * sd else side
    both = np.hypot(*np.nan_to_num([error, standard_error(real)]))
    tolerated = real["sd"] if np.isfinite(real["sd"]) else 0.0
    if tolerated and abs(gap) <= tolerated:
        return INSIDE
    if abs(gap) > 1.96 * both:
        return side
    return UNSURE if tolerated else SAME


def standard_error(line: pd.Series) -> float:
    """Of a line of `summary`: from its interval, or from the sd where it has none."""
    if np.isfinite(line["ci_low"]):
        return (line["ci_high"] - line["ci_low"]) / (2 * 1.96)
    return line["sd"] / np.sqrt(line["nights"])


def compare(simulated: pd.DataFrame, real: pd.DataFrame, data: str) -> pd.DataFrame:
    """Tidy lines of `sacd.analysis.tables`, one for each real line, with what is real beside it.

    Further columns: `measure`, `night_sd` (of the simulator), `real_value`, `real_ci_low`,
    `real_ci_high`, `real_sd`, `real_nights`, `dataset`, `source`, `licence`, `recomputed`, and
    `verdict`. A simulated line that no data set has stands alone.

    Args:
        simulated: of `summary`.
        real: of `reality_nights.real_lines`.
        data: the name of the simulated data.
    """
    lines = []
    for ours in simulated.to_dict("records"):
        same = (real["measure"] == ours["measure"]) & (real["column"] == ours["column"])
        theirs = real[same].to_dict("records") or [dict.fromkeys([*_SUMMARY, *_SOURCE], np.nan)]
        for their in theirs:
            line = {name: ours[name] for name in ("column", "value", "ci_low", "ci_high")}
            known = isinstance(their["dataset"], str)
            line["row"] = f"{ours['measure']}, {their['dataset']}" if known else ours["measure"]
            line |= {"n_subjects": ours["nights"], "night_sd": ours["sd"], "item": "simulator"}
            for name in ("value", "ci_low", "ci_high", "sd", "nights"):
                line[f"real_{name}"] = their[name]
            line |= {name: their[name] for name in _SOURCE}
            error = standard_error(pd.Series(ours))
            line["verdict"] = verdict(ours["value"], error, ours["sd"], pd.Series(their))
            lines.append(line | {"measure": ours["measure"], "data": data})
    table = pd.DataFrame(lines)
    return table.reindex(columns=[*tables.COLUMNS, *(c for c in table if c not in tables.COLUMNS)])
