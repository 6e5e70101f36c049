"""Calibration: is a network right as often as its probabilities say (reliability curve, ECE)?"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from sacd.analysis.auc import PROBABILITIES

BINS: Final = 10


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the clips whose highest probability lies in a bin (doi:10.1145/1102351.1102430).

    `BINS` bins of equal width reach from 0 to 1.

    Args:
        predictions: one row per clip: stage, prediction, p_W .. p_REM.

    Returns:
        One row for each bin that holds a clip: clips; confidence, the mean of their highest
        probabilities, and accuracy (0..1).
    """
    top = predictions[PROBABILITIES].max(axis=1)
    lines = pd.DataFrame(
        {
            "bin": np.minimum((BINS * top).astype(int), BINS - 1),
            "confidence": top,
            "accuracy": predictions["stage"] == predictions["prediction"],
        }
    )
    by_bin = lines.groupby("bin")
    means = by_bin[["confidence", "accuracy"]].mean()
    return means.assign(clips=by_bin.size())


def calibration_error(curve: pd.DataFrame) -> float:
    """Expected calibration error (0..1): mean |accuracy - confidence| of the bins, by their clips.

    Guo et al. 2017, arXiv:1706.04599, eq. 3.

    Args:
        curve: of `reliability`.

    >>> curve = {"confidence": [0.5, 0.9], "accuracy": [0.6, 0.5], "clips": [30, 10]}
    >>> round(calibration_error(pd.DataFrame(curve)), 3)
    0.175
    """
    gap = (curve["accuracy"] - curve["confidence"]).abs()
    return float((gap * curve["clips"]).sum() / curve["clips"].sum())


def pooled(curves: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """`reliability` of several seeds together, from their curves."""
    every = pd.concat(curves)
    sums = every[["confidence", "accuracy"]].mul(every["clips"], axis=0).groupby(level=0).sum()
    clips = every["clips"].groupby(level=0).sum()
    return sums.div(clips, axis=0).assign(clips=clips)
