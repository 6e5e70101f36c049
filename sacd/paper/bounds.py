"""Largest kappa and macro-F1 for given recalls, and the stage prior that several methods share.

Rates are fractions, and per-class accuracy is read as recall unless stated otherwise. `audit`
applies these bounds to the paper.
"""

from itertools import permutations, product
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog, minimize

from sacd.paper import printed as paper
from sacd.stages import STAGES

ROUNDING: Final = 0.0005
"""Half of the last printed digit of a percentage, as a fraction."""


def stage_prior() -> NDArray[np.float64]:
    """Share of each stage `(5,)` in Fig. 2."""
    clips = np.array([paper.value("dataset", stage, "clips") for stage in STAGES])
    return clips / clips.sum()


def largest_kappa(
    accuracy: float, recall: ArrayLike, prior: ArrayLike, rounding: float = 0.0
) -> float:
    """Largest kappa that this accuracy and these recalls allow at this stage prior; exact.

    kappa = (a - p) / (1 - p) decreases in the chance agreement p = sum_c prior_c predicted_c, so
    the largest kappa has the smallest p. The hits contribute sum_c prior_c^2 recall_c to p. The
    errors of stage c, prior_c (1 - recall_c), may be predicted as any other stage; they add least
    as the rarest one (errors of the rarest stage: as the second rarest). This solves the linear
    programme over all confusion matrices with these recalls.

    Args:
        accuracy, recall, prior: fractions; accuracy need not equal sum_c prior_c recall_c (in the
            paper it does not).
        rounding: accuracy and recalls may each be off by this much; p decreases with the recall
            of every stage but the rarest.

    >>> round(largest_kappa(0.644, [0.756, 0.510, 0.602, 0.593, 0.678], stage_prior()), 3)
    0.544
    """
    prior, recall = np.asarray(prior, float), np.asarray(recall, float)
    rarest, second = np.argsort(prior, kind="stable")[:2]
    recall = recall + np.where(np.arange(len(prior)) == rarest, rounding, -rounding)
    chance = _chance(prior, recall, rarest, second)
    return float((accuracy + rounding - chance) / (1 - chance))


def _chance(prior: NDArray, recall: NDArray, most: int, rest: int) -> float:
    """Chance agreement if all errors are predicted as stage `most`, those of `most` as `rest`."""
    errors = prior * (1 - recall)
    return (
        prior @ (prior * recall)
        + (errors.sum() - errors[most]) * prior[most]
        + errors[most] * prior[rest]
    )


def largest_kappa_any_prior(accuracy: float, recall: ArrayLike) -> float:
    """Largest kappa at any stage prior under which the recalls give this accuracy.

    Like `largest_kappa`, but maximised over the prior and the rounding too. For each pair of stages
    that receive the errors this is a smooth problem in prior and recalls; SLSQP solves it, starting
    from a prior without the first of the two. Kappa and its bound are invariant to transposing the
    confusion matrix, so the bound also holds if "per-class accuracy" means precision.
    """
    recall, k = np.asarray(recall, float), len(STAGES)
    best, one = -np.inf, np.repeat([1.0, 0.0], k)  # x holds the prior, then the recalls

    def gain(x: NDArray, sign: int) -> float:
        return ROUNDING + sign * (x[:k] @ x[k:] - accuracy)

    def slope(x: NDArray, sign: int) -> NDArray:
        return sign * np.r_[x[k:], x[:k]]

    constraints = [
        {"type": "eq", "fun": lambda x: x @ one - 1, "jac": lambda x: one},
        *({"type": "ineq", "fun": gain, "jac": slope, "args": (sign,)} for sign in (1, -1)),
    ]
    limits = [(0, 1)] * k + list(zip(recall - ROUNDING, recall + ROUNDING, strict=True))
    for pair in permutations(range(k), 2):

        def loss(x: NDArray, pair: tuple[int, int] = pair) -> float:
            chance = _chance(x[:k], x[k:], *pair)
            return -(x[:k] @ x[k:] - chance) / (1 - chance)

        start = np.r_[np.where(np.arange(k) == pair[0], 0, 1 / (k - 1)), recall]
        found = minimize(loss, start, method="SLSQP", bounds=limits, constraints=constraints)
        prior, rates = found.x[:k], found.x[k:]
        # SLSQP may stop outside the constraints; such a point bounds nothing.
        if abs(prior.sum() - 1) < 1e-6 and abs(prior @ rates - accuracy) < ROUNDING + 1e-6:
            best = max(best, -found.fun)
    return best


def largest_macro_f1(recall: ArrayLike, prior: ArrayLike) -> float:
    """Largest macro-F1 with these recalls at this prior.

    F1_c = 2 prior_c recall_c / (prior_c + predicted_c) is convex in the predicted shares, so at the
    maximum the errors of each stage all go to one other stage: 4^5 cases, all evaluated.
    """
    prior, recall = np.asarray(prior, float), np.asarray(recall, float)
    k = len(prior)
    others = [[stage for stage in range(k) if stage != true] for true in range(k)]
    targets = np.array(list(product(*others)))  # (4^5, true stage)
    errors = (prior * (1 - recall))[:, None]
    wrong = ((targets[:, :, None] == np.arange(k)) * errors).sum(1)  # (4^5, predicted stage)
    predicted = prior * recall + wrong
    return float((2 * prior * recall / (prior + predicted)).mean(1).max())


def common_prior(accuracy: ArrayLike, recall: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Stage prior `(5,)` that best explains the accuracies of several methods, and its worst miss.

    On one test set, accuracy = sum_c prior_c recall_c with the same prior for all methods. The
    linear programme minimises the largest absolute difference over methods; rounding to 0.1 %
    explains at most 2 x `ROUNDING`.

    Args:
        accuracy, recall: `(k,)` and `(k, 5)` fractions of k methods.
    """
    accuracy, recall = np.asarray(accuracy, float), np.asarray(recall, float)
    miss = -np.ones((len(accuracy), 1))
    found = linprog(
        [0] * 5 + [1],
        A_ub=np.block([[recall, miss], [-recall, miss]]),
        b_ub=np.r_[accuracy, -accuracy],
        A_eq=[[1] * 5 + [0]],
        b_eq=[1],
    )
    return found.x[:5], float(found.fun)
