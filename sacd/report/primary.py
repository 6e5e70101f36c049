"""The primary family: five comparisons that were fixed before these results were computed.

All other comparisons are exploratory.
"""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from sacd.analysis.crossed import Verdict, correct, decide

ENDPOINT: Final = "auc"
"""It has no operating point: methods that weight stages differently do not differ in it."""

ALONE: Final = "SACD against the student alone"
ALONE_FEW: Final = "SACD against the student alone, 12 labelled subjects"

FAMILY: Final = (
    (ALONE, "table2_paired", "AttnSleep/SACD - -/R(2+1)D-18"),
    ("SACD against CCL", "table2_paired", "AttnSleep/SACD - AttnSleep/CCL"),
    ("SACD against KD", "table2_paired", "AttnSleep/SACD - AttnSleep/KD"),
    (ALONE_FEW, "few_labels_paired", "SACD, 12 - alone, 12"),
    ("the EEG teacher against SACD", "table2_paired", "teacher/AttnSleep - AttnSleep/SACD"),
)  # fmt: skip
"""Comparison, table and row."""


def primary(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The comparisons of `FAMILY` with Holm's correction among them.

    A comparison that was not computed counts in the correction as one with p = 1, so that the
    others do not change when it comes.

    Args:
        tables: result tables by name.

    Returns:
        One row per comparison that there is: comparison, value, ci_low, ci_high, p_value, p_holm,
        n_subjects, n_seeds, margin, verdict, needs.
    """
    lines = []
    for comparison, table, row in FAMILY:
        found = tables.get(table, pd.DataFrame({"row": [], "column": []}))
        found = found[(found["row"] == row) & (found["column"] == ENDPOINT)]
        line = found.iloc[0].to_dict() if len(found) else {"p_value": 1.0}
        lines.append(line | {"comparison": comparison, "there": len(found) > 0})
    family = pd.DataFrame(lines)
    family["p_holm"] = correct(family["p_value"])
    family = family[family["there"]]
    verdicts = []
    for line in family.itertuples():
        # The table corrects over all of its comparisons; here only those of the family count.
        verdicts.append(decide(line, line.margin, line.p_holm).value)
    columns = ["comparison", "value", "ci_low", "ci_high", "p_value", "p_holm"]
    columns += ["n_subjects", "n_seeds", "margin", "verdict", "needs"]
    family = family.assign(verdict=verdicts).reindex(columns=columns)
    undecided = family["verdict"] == Verdict.UNDECIDED
    return family.assign(needs=family["needs"].astype(object).where(undecided).fillna(""))
