"""Result tables of errors: Fig. 6, and the cases of Figs. 11 to 13, as tidy lines.

As in `sacd.analysis.paper_tables`, `data` names the data behind the numbers.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sacd.analysis import cases, correlation, crossed, tables
from sacd.paper import printed as paper
from sacd.stages import STAGES


def fig6(cells: Mapping[str, pd.DataFrame], printed: Mapping[str, str], data: str) -> pd.DataFrame:
    """Cells of confusion matrices and of their differences.

    Args:
        cells: row -> table of `cases.confusion_shares`.
        printed: row -> row of Table II, whose recalls are the printed diagonal.
    """
    table = tables.stack("fig6", cells.items(), data, keep=["p_holm", "verdict"])
    recalls = {}
    for row, of_table2 in printed.items():
        for stage in STAGES:
            recalls[row, f"{stage} as {stage}"] = paper.value("table2", of_table2, stage)
    keys = zip(table["row"], table["column"], strict=True)
    table["paper_value"] = [recalls.get(key) for key in keys]
    return table


def fig11(change: pd.DataFrame, data: str) -> pd.DataFrame:
    """Clips corrected and introduced by distillation in %, of all clips and of each stage.

    Args:
        change: of `cases.corrected`.
    """
    named = change.assign(column=change["column"] + " (%)")
    return tables.stack("fig11", named.groupby("stage", sort=False), data, keep=["p_value"])


def movement_and_error(movement: pd.Series, accuracy: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho of movement and error rate over subjects, crossed with seeds.

    Args:
        movement: one value per subject.
        accuracy: in %, of each subject (row) in each seed (column).

    Returns:
        Two lines, rho (mean over the seeds) with its interval, and its p. Fewer than four subjects
        give NaN.
    """
    error, n = (100 - accuracy).to_numpy(float), len(accuracy)
    moved = movement[accuracy.index].to_numpy(float)
    # The channels of the correlation are seeds: (S, 1 group, K).
    total = correlation.rank_correlation(error[:, None], moved[None])[0, 0]
    left_out = correlation.without_each(error[:, None], moved)[:, 0]
    line = crossed.table(total[:, None], left_out[..., None])
    if n < 4:
        line["value"] = np.nan
    p = pd.DataFrame({"column": ["p"], "value": line["p_value"], "n_subjects": n})
    p["n_seeds"] = error.shape[1]
    return pd.concat([line.assign(column="rho of movement and error"), p], ignore_index=True)


def fig12(
    by_distance: pd.DataFrame, beside: pd.DataFrame, link: pd.DataFrame, data: str
) -> pd.DataFrame:
    """Errors by distance to a stage change, beside minus far, and against movement.

    Args:
        by_distance: of `cases.error_by_distance`.
        beside: of `cases.beside_minus_far`, indexed by method and by what is compared.
        link: of `movement_and_error`, for SACD.
    """
    names = {}
    for distance in by_distance["distance"].unique():
        reach = " or more" if distance == cases.FAR else ""
        names[distance] = f"error at distance {distance}{reach} (%)"
    named = by_distance.assign(column=by_distance["distance"].map(names))
    rates = tables.stack("fig12", named.groupby("method", sort=False), data)
    tested = []
    for method, gap in beside.groupby(level=0, sort=False):
        compared = gap.index.get_level_values(1)
        columns = [f"beside minus far of {of} (points)" for of in compared]
        tested.append((method, gap.assign(column=columns)))
    tested.append(("SACD", link))
    return pd.concat(
        [rates, tables.stack("fig12", tested, data, keep=crossed.COMPONENTS)], ignore_index=True
    )


def fig13(shares: pd.DataFrame, data: str) -> pd.DataFrame:
    """What each stage is mistaken for, in % of its clips.

    Args:
        shares: of `cases.confusion_shares`.
    """
    wrong = shares[shares["stage"] != shares["prediction"]]
    named = wrong.assign(column=wrong["prediction"])
    parts = [(f"true {stage}", named[named["stage"] == stage]) for stage in STAGES]
    return tables.stack("fig13", parts, data)
