"""Every number that the paper prints, beside ours where we have one, with a verdict.

A number counts as reproduced only if it comes from the recordings that the paper used. No number of
a simulated cohort does, however close it is.
"""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from sacd.analysis import tables
from sacd.paper import audit
from sacd.paper import printed as paper
from sacd.paper.contents import items
from sacd.report import claims

REPRODUCED: Final = "reproduced"
DIFFERS: Final = "differs"
NEEDS: Final = {"table3": "needs UCF101", "mc2sleepnet": "needs Sleep-EDF or SHHS"}
"""Verdict on items whose printed numbers come from other data than S3VE."""
NEEDS_S3VE: Final = "needs S3VE"
OWN_DATA: Final = {"table3": "UCF101", "mc2sleepnet": "Sleep-EDF"}
"""Data set that an item's printed numbers come from; S3VE for all other items."""
ALONE: Final = "no counterpart in our results"
"""A printed number that we do not measure: a setting, or a fact about the paper's cohort."""
NOT_YET: Final = "not computed yet"
AS_CELL: Final = "repeated in the text, compared under its table"
AS_CLAIM: Final = "a difference, judged as a claim"

SAME_CELL: Final = 0.05
"""Largest difference between a table's cell and the text that quotes it, in the cell's unit."""
COLUMNS: Final = [
    *("item", "row", "column", "paper", "ours", "ci_low", "ci_high", "difference", "verdict")
]

Cell = tuple[str, str, str]
"""Item, row and column of a printed number."""


def is_simulated(data: str, simulated: Collection[str] | None) -> bool:
    """Whether data of this name are simulated.

    Args:
        simulated: names of the simulated data, from the manifest. A manifest that does not have
            them counts all data as simulated, so that no number is called reproduced by mistake.
    """
    return simulated is None or data in simulated


def numbers(
    found: Mapping[str, pd.DataFrame], simulated: Collection[str] | None = None
) -> pd.DataFrame:
    """All printed numbers with their verdicts: first those that our tables have too.

    Args:
        found: tidy tables by name.
        simulated: as in `is_simulated`.

    Returns:
        `COLUMNS`; ours, ci_low, ci_high and difference are NaN where there is no counterpart.
    """
    compared = _compared(found, simulated)
    cells = compared.set_index(["item", "row", "column"])["paper"].to_dict()
    printed = paper.load().rename(columns={"value": "paper"})
    keys = zip(printed["item"], printed["row"], printed["column"], strict=True)
    alone = printed[[key not in cells for key in keys]]
    reasons = [_uncompared(line, found, cells) for line in alone.itertuples(index=False)]
    alone = alone.assign(verdict=reasons).reindex(columns=COLUMNS)
    return pd.concat([compared, alone], ignore_index=True)


def _compared(found: Mapping[str, pd.DataFrame], simulated: Collection[str] | None) -> pd.DataFrame:
    """`COLUMNS` of the numbers that the paper prints and our tables have."""
    # The audit's table holds printed numbers on both sides.
    parts = [table[tables.COLUMNS] for name, table in found.items() if name != "audit"]
    lines = pd.concat(parts or [pd.DataFrame(columns=tables.COLUMNS)])
    lines = lines[lines["value"].notna() & lines["paper_value"].notna()].reset_index(drop=True)
    refuted = _refuted(found.get("audit"))
    verdicts = [_verdict(line, refuted, simulated) for line in lines.itertuples(index=False)]
    lines = lines.rename(columns={"paper_value": "paper", "value": "ours"})
    lines["difference"] = lines["ours"] - lines["paper"]
    lines["verdict"] = pd.Series(verdicts, dtype=str)
    return lines[COLUMNS]


def _verdict(line: NamedTuple, refuted: Collection[Cell], simulated: Collection[str] | None) -> str:
    """Verdict on a number of ours that the paper prints too."""
    if (line.item, line.row, line.column) in refuted:
        return claims.CONTRADICTS
    data = str(line.data)
    if is_simulated(data, simulated) or OWN_DATA.get(line.item, "S3VE") not in data:
        return NEEDS.get(line.item, NEEDS_S3VE)
    low, high = (line.value, line.value) if np.isnan(line.ci_low) else (line.ci_low, line.ci_high)
    # The paper's own value lies anywhere within half of its last printed digit.
    rounding = paper.rounding(line.column)
    return REPRODUCED if low - rounding <= line.paper_value <= high + rounding else DIFFERS


def _uncompared(line: NamedTuple, found: Collection[str], cells: Mapping[Cell, float]) -> str:
    """Why a printed number has no counterpart in our tables."""
    if line.item in items() and line.item not in found:
        return NOT_YET
    if line.item in NEEDS:
        return NEEDS[line.item]
    quoted = paper.quoted().get((line.item, line.row))
    if quoted is None:
        return ALONE
    column = line.column.removesuffix(paper.FROM).removesuffix(paper.TO)
    if quoted.lower and column == line.column:
        # "SACD gains 2.1 points over CCL": the difference of two rows, not one of its end points.
        return AS_CLAIM if _is_claimed(quoted, column) else ALONE
    row = quoted.lower if line.column.endswith(paper.FROM) else quoted.upper
    cell = cells.get((quoted.table, row, column), np.nan)
    return AS_CELL if abs(cell - line.paper) < SAME_CELL else ALONE


def _is_claimed(quoted: paper.Quoted, column: str) -> bool:
    """Whether a claim compares the two rows of a quoted difference in this quantity."""
    rows = {quoted.upper, quoted.lower}
    return any(
        quoted.table == data and rows <= known and column in quantities
        for data, known, quantities in _compared_by_claims()
    )


@cache
def _compared_by_claims() -> list[tuple[str, set[str], set[str]]]:
    """Item, rows and quantities of each inequality of the claims."""
    compared = []
    for claim in claims.load():
        for _, left, _, right in claims.inequalities(claim):
            rows = {row for _, row, _ in left + right}
            quantities = {name for _, _, names in left + right for name in names}
            compared.append((claim.data, rows, quantities))
    return compared


def _refuted(table: pd.DataFrame | None) -> set[Cell]:
    """Printed cells that other printed numbers refute, by the audit's table."""
    if table is None:
        return set()
    contradicting = table.loc[table["verdict"].isin([audit.CONTRADICTS, audit.IMPOSSIBLE]), "row"]
    cells = audit.refuted()
    cells = cells.loc[cells["finding"].isin(contradicting), ["item", "row", "column"]]
    return set(cells.itertuples(index=False, name=None))
