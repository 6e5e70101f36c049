"""Students taught when few nights are scored, compared with untaught ones (`43_few_labels`).

Rows are named `<kind>, <number of labelled training subjects>`, as in
`sacd.experiments.rows.few_labels`: "alone, 12", "SACD, 12", "SACD by YASA, 12", "teacher, 12".
"""

from collections.abc import Iterable, Sequence
from typing import Final

import pandas as pd

from sacd.analysis.crossed import Verdict
from sacd.analysis.paper_tables import effect

ALONE: Final = "alone"
TEACHER: Final = "teacher"
BY_YASA: Final = " by YASA"
COLUMNS: Final = ("auc", "kappa_calibrated", "macro_f1_calibrated", "kappa", "accuracy")
"""Metrics of the table; first those without an operating point of the method's own."""


def kind_and_budget(row: str) -> tuple[str, int] | None:
    """What is trained, and on how many labelled subjects; None for rows without such a number.

    >>> kind_and_budget("SACD by YASA, 12"), kind_and_budget("baseline/YASA")
    (('SACD by YASA', 12), None)
    """
    kind, _, number = row.rpartition(", ")
    return (kind, int(number)) if kind and number.isdigit() else None


def budgets(rows: Iterable[str]) -> dict[str, list[int]]:
    """Kind of row -> its numbers of labelled subjects, ascending; kinds in their order."""
    found: dict[str, list[int]] = {}
    for row in rows:
        if known := kind_and_budget(row):
            found.setdefault(known[0], []).append(known[1])
    return {kind: sorted(set(numbers)) for kind, numbers in found.items()}


def taught(rows: Iterable[str]) -> list[str]:
    """Kinds of taught students: neither alone nor a teacher."""
    return [kind for kind in budgets(rows) if kind != ALONE and not kind.startswith(TEACHER)]


def pairs(rows: Iterable[str]) -> list[tuple[str, str]]:
    """Each taught row and the untaught one that it is compared with.

    First that of the same number of labels; then, for smaller numbers, that of the largest one.

    >>> pairs(["alone, 6", "KD, 6", "alone, 72", "KD, 72"])
    [('KD, 6', 'alone, 6'), ('KD, 72', 'alone, 72'), ('KD, 6', 'alone, 72')]
    """
    rows = list(rows)
    known = budgets(rows)
    students = [
        (kind, n) for n in known.get(ALONE, []) for kind in taught(rows) if n in known[kind]
    ]
    same = [(f"{kind}, {n}", f"{ALONE}, {n}") for kind, n in students]
    most = max(known.get(ALONE, [0]))
    fewer = [(f"{kind}, {n}", f"{ALONE}, {most}") for kind, n in students if n < most]
    return same + fewer


def reached(compared: pd.DataFrame, kind: str, most: int) -> int | None:
    """Smallest number of labels with which a kind is as good as the untaught one with `most`.

    As good is better, or equal within the margin. None: with no smaller number than `most`.

    Args:
        compared: of `stats.compare` over `pairs`.
    """
    for number in budgets(compared.index.get_level_values("row"))[kind]:
        pair = (f"{kind}, {number}", f"{ALONE}, {most}")
        as_good = (Verdict.BETTER, Verdict.EQUAL)
        if number < most and compared.loc[pair, "verdict"] in as_good:
            return number
    return None


def in_short(compared: pd.DataFrame, shown: int, methods: Sequence[str]) -> str:
    """The taught minus the untaught at `shown` labels, and the number that replaces all labels.

    Args:
        compared: AUC, of `stats.compare` over `pairs`.
        shown: number of labels; the smallest one of the table if it lacks this.
        methods: kinds whose difference is told.
    """
    known = budgets(compared.index.get_level_values("row"))
    numbers = sorted(set().union(*known.values()))
    most = numbers[-1]
    if len(numbers) == 1:
        return f"no number of labels of the grid is below the training set's {most} subjects."
    shown = shown if shown in numbers else numbers[0]
    told = []
    for kind in methods:
        line = compared.loc[(f"{kind}, {shown}", f"{ALONE}, {shown}")]
        told.append(f"{kind} {effect(line)}: **{line.verdict}**")
    fewest = {kind: reached(compared, kind, most) for kind in known}
    enough = [f"{kind} {number}" for kind, number in fewest.items() if number]
    never = [kind for kind, number in fewest.items() if not number]
    parts = [", ".join(enough)] if enough else []
    if never:
        parts.append(f"none of the numbers tried below {most} for {', '.join(never)}")
    return (
        f"AUC minus that of the student alone, {shown} labelled subjects: {'; '.join(told)}. "
        "Fewest labelled subjects with which a taught student is better than the untaught one "
        f"trained on all {most}, or equal within the margin: {'; '.join(parts)}."
    )
