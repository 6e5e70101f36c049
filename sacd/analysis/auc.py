"""Endpoints without an operating point: AUC, and predictions after one bias per class.

Methods that weight classes differently differ in accuracy, macro-F1 and kappa even where they rank
the clips alike. The AUC does not depend on such weights, and `calibrated` gives every method the
weights that suit it best on the validation subjects.
"""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sacd.metrics import METRICS, scores
from sacd.stages import STAGES

PROBABILITIES: Final = [f"p_{stage}" for stage in STAGES]
KAPPA: Final = METRICS.index("kappa")
_STEPS: Final = sorted(range(-20, 21), key=abs)
GRID: Final = np.array(_STEPS) / 10
"""Biases that are tried, -2 .. 2, the smallest first."""
SWEEPS: Final = 3


def macro_auc(
    stage: ArrayLike, probabilities: ArrayLike, subject: ArrayLike
) -> tuple[float, NDArray[np.float64]]:
    """Macro one-vs-rest AUC, 0..1, of all clips and of all clips but those of each subject.

    The mean is taken over the stages that occur and are not all clips. The AUC of a stage is the
    share of pairs (a clip of the stage, a clip of another) in which the first has the larger
    probability, ties counting half. Without a subject, the pairs that involve it are subtracted,
    which is exact and needs no second sorting; scikit-learn would sort once for each subject.

    Args:
        stage: `(n,)`, true stages 0..4.
        probabilities: `(n, 5)`.
        subject: `(n,)`.

    Returns:
        The AUC, and `(S,)` by subject in sorted order. NaN where no stage qualifies.
    """
    stage, probabilities = np.asarray(stage), np.asarray(probabilities, float)
    names, owner = np.unique(np.asarray(subject), return_inverse=True)
    whole, without = np.full(len(STAGES), np.nan), np.full((len(names), len(STAGES)), np.nan)
    for k in range(len(STAGES)):
        positive = stage == k
        won, involving = _won(probabilities[:, k], positive, owner, len(names))
        inside = np.bincount(owner[positive], minlength=len(names))
        outside = np.bincount(owner[~positive], minlength=len(names))
        pairs = inside.sum() * outside.sum()
        left = (inside.sum() - inside) * (outside.sum() - outside)
        if pairs:
            whole[k] = won / pairs
            np.divide(won - involving, left, out=without[:, k], where=left > 0)
    return mean_known(whole[None])[0], mean_known(without)


def _won(
    score: NDArray, positive: NDArray, owner: NDArray, n: int
) -> tuple[float, NDArray[np.float64]]:
    """Pairs won by the clips of a stage: all of them, and those that involve each subject `(n,)`.

    Args:
        score: `(clips,)`; positive: which clips have the stage; owner: subject 0 .. n - 1 of each.
    """
    rank = np.unique(score, return_inverse=True)[1]
    by_positive = _below(rank[positive], rank[~positive])
    by_negative = positive.sum() - _below(rank[~positive], rank[positive])
    # Ranks apart by subject: all clips of earlier subjects lie below, so these are taken off.
    apart = owner * (rank.max(initial=0) + 1) + rank
    others = np.bincount(owner[~positive], minlength=n)
    earlier = np.cumsum(others) - others
    own = _below(apart[positive], apart[~positive]) - earlier[owner[positive]]
    involving = np.bincount(owner[positive], by_positive - own, n)
    return by_positive.sum(), involving + np.bincount(owner[~positive], by_negative, n)


def _below(values: NDArray, others: NDArray) -> NDArray[np.float64]:
    """How many of `others` lie below each value; equal ones count half."""
    others = np.sort(others)
    left, right = (np.searchsorted(others, values, side) for side in ("left", "right"))
    return (left + right) / 2


def mean_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is known; NaN where nothing is.

    As `np.nanmean`, without its warning.
    """
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(-1) / known.sum(-1)


def biases(stage: ArrayLike, probabilities: ArrayLike) -> NDArray[np.float64]:
    """One bias per class `(5,)` on log p that maximises kappa; that of W is 0.

    Coordinate search: three times, each class in turn takes the best bias of `GRID` while the
    others are kept; of equally good ones the smallest. A common offset changes no prediction, so
    that of W is subtracted in the end.

    Args:
        stage: `(n,)`, true stages 0..4 of validation clips.
        probabilities: `(n, 5)`.
    """
    stage, logs, classes = np.asarray(stage), _logs(probabilities), len(STAGES)
    found = np.zeros(classes)
    for _ in range(SWEEPS):
        for k in range(classes):
            # Only the best of the other classes decides whether class k wins a clip, so a
            # bias of the grid costs one comparison instead of an argmax over classes.
            rivals = logs + found
            rivals[:, k] = -np.inf
            rival, best = rivals.argmax(1), rivals.max(1)
            matrices = []
            for bias in GRID:
                own = logs[:, k] + bias
                wins = (own > best) | ((own == best) & (k < rival))  # as argmax breaks ties
                cells = classes * stage + np.where(wins, k, rival)
                matrices.append(np.bincount(cells, minlength=classes**2))
            kappas = scores(np.reshape(matrices, (-1, classes, classes)))[:, KAPPA]
            found[k] = GRID[np.argmax(np.nan_to_num(kappas, nan=-np.inf))]
    return (found - found[0]).round(1)


def _logs(probabilities: ArrayLike) -> NDArray[np.float64]:
    probabilities = np.asarray(probabilities, float)
    # float32 softmax may give exact zeros.
    return np.log(np.maximum(probabilities, np.finfo(float).tiny))


def calibrated(validation: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """`test` with the column `calibrated`: its predictions after the `biases` of `validation`.

    Args:
        validation, test: predictions of one run with stage and p_W .. p_REM, of different subjects.
    """
    fitted = biases(validation["stage"], validation[PROBABILITIES])
    return test.assign(calibrated=(_logs(test[PROBABILITIES]) + fitted).argmax(1))
