"""Accuracy, macro-F1, kappa and recall per stage of predictions, in the paper's units.

A table of predictions has one row per clip and at least the columns `subject`, `stage` (true, 0..4)
and `prediction` (0..4). Accuracy, macro-F1 and recall are in %, kappa is a fraction, as the paper
prints them.
"""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sacd.stages import STAGES

METRICS: Final = ("accuracy", "macro_f1", "kappa", *STAGES)
"""Columns of Table II; the stages' columns are recall (the paper's "per-class accuracy")."""

F1: Final = tuple(f"F1 {stage}" for stage in STAGES)
"""Further columns: F1 of each stage."""

PERCENT: Final = frozenset((*METRICS, *F1)) - {"kappa"}

ERRORS: Final = tuple(f"{true} as {predicted}" for true in STAGES for predicted in STAGES)
"""Cells of a flattened confusion matrix, and columns of `tables/subjects.csv`.

Those on the diagonal, such as `N1 as N1`, are correct predictions.
"""


def confusion(stage: ArrayLike, prediction: ArrayLike) -> NDArray[np.int64]:
    """Numbers of clips `(5, 5)` by true stage (row) and predicted stage (column).

    Raises:
        ValueError: a label outside 0..4, for example of an unscored clip.
    """
    stage, prediction = np.asarray(stage), np.asarray(prediction)
    for name, labels in (("stage", stage), ("prediction", prediction)):
        if not np.isin(labels, range(len(STAGES))).all():
            bad = labels[~np.isin(labels, range(len(STAGES)))][0]
            raise ValueError(
                f"column {name!r} holds {bad}, not a stage 0..{len(STAGES) - 1}; "
                "drop unscored clips first"
            )
    cell = len(STAGES) * stage.astype(np.int64) + prediction.astype(np.int64)
    return np.bincount(cell, minlength=len(STAGES) ** 2).reshape(len(STAGES), len(STAGES))


def subject_confusions(predictions: pd.DataFrame) -> tuple[pd.Index, NDArray[np.int64]]:
    """Subjects `(S,)` in sorted order, and the confusion matrix of each `(S, 5, 5)`."""
    if missing := {"subject", "stage", "prediction"} - set(predictions):
        raise ValueError(f"predictions lack columns: {', '.join(sorted(missing))}")
    if predictions.empty:
        raise ValueError("the table of predictions is empty; at least one clip is needed")
    groups = predictions.groupby("subject", sort=True)
    matrices = [confusion(group["stage"], group["prediction"]) for _, group in groups]
    return pd.Index(groups.groups, name="subject"), np.stack(matrices)


def scores(matrix: ArrayLike) -> NDArray[np.float64]:
    """The eight `METRICS` `(..., 8)` of confusion matrices `(..., 5, 5)` (counts, any scale).

    Eqs. 14 to 16 of the paper. Macro-F1 is the mean over all five stages, and a stage that neither
    occurs nor is predicted has F1 = 0. The recall of a stage that never occurs is NaN, and so is
    kappa when chance agreement is 1.

    >>> scores(np.eye(5))[:3]
    array([100., 100.,   1.])
    """
    true, predicted, hits = _counts(matrix)
    n = true.sum(-1)
    # 0 / 0 is an answer here, not a mistake: NaN, or what `where` puts in its place.
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = hits.sum(-1) / n
        chance = (true * predicted).sum(-1) / n**2
        kappa = np.where(chance < 1, (accuracy - chance) / (1 - chance), np.nan)
        f1 = np.where(true + predicted > 0, 2 * hits / (true + predicted), 0.0).mean(-1)
        recall = np.where(true > 0, hits / true, np.nan)
    return np.concatenate([np.stack([100 * accuracy, 100 * f1, kappa], -1), 100 * recall], -1)


def stage_f1(matrix: ArrayLike) -> NDArray[np.float64]:
    """F1 of each stage `(..., 5)` in %, of confusion matrices `(..., 5, 5)`.

    It is NaN for a stage that never occurs.

    >>> stage_f1(np.eye(5)).tolist()
    [100.0, 100.0, 100.0, 100.0, 100.0]
    """
    true, predicted, hits = _counts(matrix)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(true > 0, 200 * hits / (true + predicted), np.nan)


def _counts(matrix: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Clips of each stage: true, predicted, and both; `(..., 5)` each."""
    matrix = np.asarray(matrix, float)
    return matrix.sum(-1), matrix.sum(-2), np.diagonal(matrix, axis1=-2, axis2=-1)


def summary(predictions: pd.DataFrame) -> dict[str, float]:
    """The eight `METRICS` of all clips pooled.

    >>> table = pd.DataFrame({"subject": "a", "stage": range(5), "prediction": [0, 2, 2, 3, 4]})
    >>> summary(table)["accuracy"], round(summary(table)["kappa"], 2)
    (80.0, 0.75)
    """
    pooled = subject_confusions(predictions)[1].sum(0)
    return dict(zip(METRICS, scores(pooled).tolist(), strict=True))


def by_subject(predictions: pd.DataFrame) -> pd.DataFrame:
    """The eight `METRICS` and the number of clips, one row per subject."""
    subjects, matrices = subject_confusions(predictions)
    return pd.DataFrame(scores(matrices), subjects, METRICS).assign(clips=matrices.sum((1, 2)))


def right_or_wrong(predictions: pd.DataFrame, unit: str = "group") -> pd.DataFrame:
    """Predictions of any classes in the form whose accuracy `sacd.analysis.stats` computes.

    Args:
        predictions: columns label and prediction (classes), and the column `unit`.
        unit: what plays the subject in intervals and tests.

    >>> table = pd.DataFrame({"group": list("aab"), "label": [7, 40, 3], "prediction": [7, 3, 3]})
    >>> round(summary(right_or_wrong(table))["accuracy"], 1)
    66.7
    """
    wrong = (predictions["label"] != predictions["prediction"]).astype(int)
    return pd.DataFrame({"subject": predictions[unit], "stage": 0, "prediction": wrong})
