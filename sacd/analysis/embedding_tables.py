"""Result tables of embeddings: Figs. 7 to 9 (the AHI) and Fig. 10 (the stages), as tidy lines.

As in `sacd.analysis.paper_tables`, `data` names the data behind the numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from sacd.analysis import crossed, stats, tables
from sacd.analysis.crossed import Estimate

_STRENGTH: Final = {
    "median_rho": "median rho",
    "mean_abs": "mean |rho|",
    "null_mean_abs": "null mean |rho|",
    "p_mean_abs": "p (mean |rho|)",
    "above": "channels > 0.4",
    "null_above": "null channels > 0.4",
}
"""Columns of `ahi.strength` -> those of the table."""

Measures = Mapping[str, Mapping[tuple[str, int], ArrayLike]]
"""Measure -> (row, seed) -> its value for each clip `(n,)`."""


def fig7(
    by_run: pd.DataFrame,
    contrasts: Mapping[str, Estimate],
    present: pd.Series,
    subjects: int,
    channels: int,
    data: str,
) -> pd.DataFrame:
    """How strongly the channels of a stage correlate with the AHI, by method and stage.

    Then the contrasts of stages, and what the figure is made of.

    Args:
        by_run: tables of `ahi.strength`, indexed by method, seed and stage.
        contrasts: row -> mean |rho| of some stages minus that of the others, by `ahi.contrast`.
        present: number of subjects that have clips of a stage, by stage.
        subjects, channels: numbers of the cohort and of the embedding.
    """
    strengths = tables.stack("fig7", _strengths(by_run, present), data)
    named = []
    for row, estimate in contrasts.items():
        named.append((row, pd.DataFrame([estimate]).assign(column="mean |rho|")))
    tested = tables.stack("fig7", named, data, keep=crossed.COMPONENTS)
    values = {"subjects": subjects, "stages": int((present > 0).sum()), "channels": channels}
    counts = pd.DataFrame({"column": list(values), "value": list(values.values())})
    made_of = tables.rows("fig7", "all", counts.assign(n_subjects=subjects), data)
    return pd.concat([strengths, tested, made_of], ignore_index=True)


def _strengths(by_run: pd.DataFrame, present: pd.Series) -> list[tuple[str, pd.DataFrame]]:
    """Means over the seeds by row; of p-values, the largest, because they cannot be averaged."""
    long = by_run.rename(columns=_STRENGTH)[list(_STRENGTH.values())].reset_index()
    long = long.melt(["method", "seed", "stage"], var_name="column").dropna(subset="value")
    grouped = long.groupby(["method", "stage", "column"], sort=False)["value"]
    numbers = grouped.agg(["mean", "max", "std", "count"])
    is_p = numbers.index.get_level_values("column").str.startswith("p (")
    numbers["value"] = numbers["max"].where(is_p, numbers["mean"])
    numbers["sd"] = numbers["std"].where(~is_p)
    numbers["n_seeds"] = numbers["count"]
    parts = []
    for (method, stage), lines in numbers.groupby(level=["method", "stage"], sort=False):
        lines = lines.reset_index().assign(n_subjects=int(present[stage]))
        parts.append((f"{method}: {stage}", lines))
    return parts


def fig8(
    channels: Mapping[str, int], subjects: Mapping[str, int], hits: pd.DataFrame, data: str
) -> pd.DataFrame:
    """Selected channels by stage, and how often the neighbourhood gives the right AHI group.

    Args:
        channels: stage -> number of selected channels.
        subjects: stage -> number of subjects that have it.
        hits: of `portrait.hits`, indexed by stage and subjects ("all subjects", "held out").
    """
    parts = []
    for stage, number in channels.items():
        line = {"column": ["channels"], "value": [number], "n_subjects": [subjects[stage]]}
        parts.append((stage, pd.DataFrame(line).assign(n_seeds=1)))
    for (stage, who), line in hits.iterrows():
        gain = np.array([line.value, line.ci_low, line.ci_high]) - line.chance
        lines = [
            ("right group (%)", line.value, line.ci_low, line.ci_high),
            ("chance (%)", line.chance, None, None),
            ("right group minus chance (points)", *gain),
            ("p", line.p_value, None, None),
        ]
        numbers = pd.DataFrame(lines, columns=["column", "value", "ci_low", "ci_high"])
        numbers = numbers.assign(n_subjects=line.n, n_seeds=1)
        parts.append((f"{stage}: leave one out, {who}", numbers))
    return tables.stack("fig8", parts, data)


def fig9(told: pd.DataFrame, data: str) -> pd.DataFrame:
    """Correlation of the AHI with the share of clips in the danger zone.

    Args:
        told: estimates of `portrait.zone_correlation`, indexed by stage and subjects.
    """
    parts = []
    for (stage, who), line in told.iterrows():
        lines = [
            ("rho of clips in the zone and AHI", line.value, line.ci_low, line.ci_high),
            ("p", line.p_value, None, None),
        ]
        numbers = pd.DataFrame(lines, columns=["column", "value", "ci_low", "ci_high"])
        parts.append((f"{stage}, {who}", numbers.assign(n_subjects=line.n_subjects, n_seeds=1)))
    return tables.stack("fig9", parts, data)


def fig10_measures(
    measures: Measures, rows: Sequence[str], seeds: int, subject: ArrayLike
) -> pd.DataFrame:
    """Mean of each measure over the clips of each row: column, row, and those of `ratios`."""
    parts = []
    for column, values in measures.items():
        for row in rows:
            of_seeds = [values[row, seed] for seed in range(seeds)]
            numbers = stats.of_clips(of_seeds, subject)
            parts.append(numbers.assign(column=column, row=row))
    return pd.concat(parts, ignore_index=True)


def fig10_differences(
    measures: Measures, row: str, others: Sequence[str], seeds: int, subject: ArrayLike
) -> pd.DataFrame:
    """Each measure of `row` minus that of each other row, paired by clip and by seed.

    Returns:
        As `fig10_measures`, with the columns of `crossed.judged` (over all lines).
    """
    names = {other: f"{row} - {other}" for other in others}
    gaps = {}
    for column, values in measures.items():
        gaps[column] = {}
        for other, name in names.items():
            for seed in range(seeds):
                gaps[column][name, seed] = values[row, seed] - values[other, seed]
    table = fig10_measures(gaps, list(names.values()), seeds, subject)
    return crossed.judged(table, table["column"])


def fig10(
    measured: pd.DataFrame, differences: pd.DataFrame, chance: float, subjects: int, data: str
) -> pd.DataFrame:
    """Measures of each row, their differences, and the purity expected by chance in %."""
    line = {"column": ["purity (%)"], "row": "chance", "value": chance, "n_subjects": subjects}
    numbers = pd.concat([measured, differences, pd.DataFrame(line)], ignore_index=True)
    kept = [*crossed.COMPONENTS, "p_holm", "margin", "verdict", "needs"]
    return tables.stack("fig10", numbers.groupby("row", sort=False), data, keep=kept)
