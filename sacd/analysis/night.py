"""The ladder of `45_night`: what context, breathing and movement add to one clip, against a bound.

Rows are named `<who>: <rung>`, for example "SACD: whole night + pixels". `who` is a student
("alone" or a method), "pixels" without a student, or "bound", the simulator's true signals.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sacd.analysis import stats, tables
from sacd.metrics import scores, subject_confusions

ALONE, PIXELS, BOUND = "alone", "pixels", "bound"
RUNGS: Final = (
    "one clip",
    "+-4 clips",
    "Markov model",
    "Viterbi",
    "whole night",
    "whole night + pixels",
    "4 clips before",
    "forward filter",
    "night so far",
    "night so far + pixels",
)
"""In the order of the ladder; first those that see later clips too."""
LIVE: Final = RUNGS[6:]
TOP: Final = "whole night + pixels"
AIM_KAPPA: Final = 0.55
AIM_SHARE: Final = 0.85
"""Aims of the top rung: kappa of five stages, and its share of the bound at the same rung."""
COLUMNS: Final = ("kappa", "macro_f1", "auc", "accuracy")
FOUR: Final = ("kappa_4", "macro_f1_4", "accuracy_4")
"""The same of four stages, N1 and N2 being light sleep."""

PUBLISHED: Final = pd.DataFrame(
    [
        ("SleepVST, video", 4, 0.71, "50 nights", "arXiv:2404.03831"),
        ("radio waves", 4, np.nan, "880 people, accuracy 80.5 %", "PMC11725512"),
        ("Sleepal, radar", 4, 0.695, "0.677 with apnea", "arXiv:2604.16442"),
        ("SleepFounder, heartbeat and breath", 5, 0.65, "", "doi:10.1101/2025.09.06.25335216"),
        ("SleepNetZero, mattress", 4, 0.589, "265 users; 0.718 on PSG", "arXiv:2410.22646"),
        ("Carter 2023, video", 4, 0.61, "50 people", "arXiv:2306.03711"),
        ("Video-PSG", 4, 0.62, "20 adults", "doi:10.1109/TBME.2024.3480813"),
        ("movement in video alone", 4, 0.26, "children; 0.24 to 0.28", "PMC9393414"),
    ],
    columns=["system", "stages", "kappa", "note", "source"],
)
"""Contactless stagers as their authors report them, each on other data: not comparable."""

Tests = Mapping[str, stats.Predictions]


def four_stages(matrix: NDArray) -> NDArray[np.float64]:
    """kappa, macro-F1 (%) and accuracy (%) of W, light sleep, N3 and REM, `(..., 3)`.

    Args:
        matrix: `(..., 5, 5)`, true by predicted.

    >>> four_stages(np.eye(5)[[0, 2, 1, 3, 4]]).tolist()
    [1.0, 100.0, 100.0]
    """
    joined = np.zeros((5, 4))
    joined[range(5), (0, 1, 1, 2, 3)] = 1
    four = joined.T @ np.asarray(matrix, float) @ joined
    # `scores` takes five stages; an empty fifth one changes neither accuracy nor kappa.
    padded = np.zeros((*four.shape[:-2], 5, 5))
    padded[..., :4, :4] = four
    accuracy, macro_f1, kappa = np.moveaxis(scores(padded)[..., :3], -1, 0)
    return np.stack([kappa, macro_f1 * 5 / 4, accuracy], axis=-1)  # the fifth has an F1 of 0


def by_rung(runs: Mapping[str, Sequence[pd.DataFrame]]) -> dict[str, list[pd.DataFrame]]:
    """Tables of predictions by `<who>: <rung>`, one per seed.

    Args:
        runs: who -> predictions of all rungs, with the column `rung`, one table per seed.
    """
    found = {}
    for who, seeds in runs.items():
        for rung in RUNGS:
            parts = [table[table["rung"] == rung] for table in seeds]
            if all(len(part) for part in parts):
                found[f"{who}: {rung}"] = [part.reset_index(drop=True) for part in parts]
    return found


def ladder(tests: Tests, data: str) -> pd.DataFrame:
    """Metrics of five and of four stages of every row, with intervals."""
    parts = []
    for row, predictions in tests.items():
        five = stats.intervals(predictions)
        five = five[five["column"].isin(COLUMNS)]
        four = stats.intervals(predictions, score=four_stages, names=FOUR)
        parts.append((row, pd.concat([five, four], ignore_index=True)))
    return tables.stack("night", parts, data)


def pairs(rows: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared: taught against untaught at every rung, and the steps of the ladder.

    >>> pairs(["alone: one clip", "KD: one clip", "KD: whole night"])
    [('KD: one clip', 'alone: one clip'), ('KD: whole night', 'KD: one clip')]
    """
    taught = [row for row in rows if not row.startswith((ALONE, PIXELS, BOUND))]
    untaught = [(row, f"{ALONE}: {row.partition(': ')[2]}") for row in taught]
    steps = []
    for row in rows:
        who, _, rung = row.partition(": ")
        before = {"whole night": "one clip", TOP: "whole night"}.get(rung)
        if before and who not in (PIXELS, BOUND):
            steps.append((row, f"{who}: {before}"))
    return [pair for pair in (*untaught, *steps) if set(pair) <= set(rows)]


def level(table: pd.DataFrame, row: str, column: str = "kappa") -> float:
    """Value of a row of `ladder`; NaN where it is missing."""
    found = table[(table["row"] == row) & (table["column"] == column)]["value"]
    return float(found.iloc[0]) if len(found) else np.nan


def bound_of(row: str) -> str:
    """The bound at the same rung; true signals have nothing to gain from pixels.

    >>> bound_of("SACD: whole night + pixels")
    'bound: whole night'
    """
    return f"{BOUND}: {row.partition(': ')[2].removesuffix(' + pixels')}"


def shares(table: pd.DataFrame) -> pd.Series:
    """kappa of each row of `ladder` as a share of the bound at the same rung."""
    rows = [row for row in table["row"].unique() if not row.startswith(BOUND)]
    bounds = {row: level(table, bound_of(row)) for row in rows}
    # A bound of 0 or below has nothing of which to take a share.
    return pd.Series(
        {row: level(table, row) / bounds[row] if bounds[row] > 0 else np.nan for row in rows}
    )


def best(held: Mapping[str, Sequence[pd.DataFrame]]) -> str:
    """The student's row of the top rung that the answer names.

    The one with the largest kappa of the validation sleepers, mean over seeds; test nights have no
    say.

    Args:
        held: who -> tables of `rung` and `kappa` of the validation sleepers, one per seed.
    """
    found = {}
    for who, seeds in held.items():
        top = [table.loc[table["rung"] == TOP, "kappa"].mean() for table in seeds]
        if np.isfinite(top).all():
            found[f"{who}: {TOP}"] = float(np.mean(top))
    return max(found, key=found.__getitem__)


def aims(table: pd.DataFrame, row: str) -> str:
    """Whether a row of `ladder` meets the aims, in words."""
    kappa, share = level(table, row), shares(table)[row]
    words = []
    named = ("kappa", "its share of the bound's kappa")
    for value, aim, what in zip((kappa, share), (AIM_KAPPA, AIM_SHARE), named, strict=True):
        met = "met" if value >= aim else "**missed**"  # also where it is unknown
        words.append(f"{what} {value:.2f} (our aim of {aim:.2f}: {met})")
    return f"{row}: {', '.join(words)}"


def sleepers(seeds: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """kappa of each test night, mean over seeds, with its rank (1: the best).

    Returns:
        Indexed by subject: kappa, kappa_4, rank, clips.
    """
    rows = []
    for table in seeds:
        subjects, matrices = subject_confusions(table)
        kappa = scores(matrices)[:, 2]
        four = four_stages(matrices)[:, 0]
        rows.append(pd.DataFrame({"kappa": kappa, "kappa_4": four}, subjects))
    found = sum(rows) / len(rows)
    rank = found["kappa"].rank(ascending=False, method="first").astype(int)
    return found.assign(rank=rank, clips=matrices.sum((1, 2)))


def typical(nights: pd.DataFrame) -> str:
    """The median night by kappa; of an even number, the better of the two in the middle."""
    ordered = nights.sort_values("rank")
    return str(ordered.index[(len(ordered) - 1) // 2])


def per_night(nights: pd.DataFrame, row: str, extra: Mapping[str, Any], data: str) -> pd.DataFrame:
    """Tidy lines of every test night, a row each.

    Args:
        nights: of `sleepers`; row: what staged them; extra: column -> values by subject.
    """
    full = nights.assign(**extra)
    parts = []
    for subject, line in full.iterrows():
        numbers = pd.DataFrame({"column": full.columns, "value": line.to_numpy(float)})
        parts.append((f"{subject}, {row}", numbers.assign(n_subjects=1)))
    return tables.stack("night", parts, data)
