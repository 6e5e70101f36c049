"""Biases, threshold and figures of a model, from its predictions of the sleepers who decide them.

A table of predictions has one row per clip: subject, stage (true, 0..4) and p_W .. p_REM.
"""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sacd.analysis.auc import PROBABILITIES, biases, macro_auc
from sacd.metrics import METRICS, confusion, scores, subject_confusions
from sacd.stages import STAGES

UNCERTAIN: Final = 0.3
"""Share of the validation clips that are marked as uncertain: the least confident ones."""
NIGHT_KAPPA: Final = "kappa of a night"


def calibrate(validation: pd.DataFrame) -> tuple[tuple[float, ...], float]:
    """Biases on the log-probabilities, and the confidence below which a clip is uncertain.

    Both see the validation subjects alone, so that figures of other subjects stay honest.
    """
    fitted = tuple(map(float, biases(validation["stage"], validation[PROBABILITIES])))
    confidence = calibrated(validation[PROBABILITIES], fitted).max(axis=1)
    return fitted, round(float(np.quantile(confidence, UNCERTAIN)), 4)


def calibrated(probabilities: ArrayLike, fitted: ArrayLike) -> NDArray[np.float64]:
    """Probabilities `(n, 5)` after the biases `(5,)`."""
    logs = np.log(np.maximum(np.asarray(probabilities, float), 1e-30)) + np.asarray(fitted)
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def figures(table: pd.DataFrame, fitted: ArrayLike, threshold: float) -> dict[str, float]:
    """Numbers of subjects and clips, and what the model reaches on them, 0..1.

    Accuracy, macro-F1, kappa and AUC of all clips; the median, the least and the largest kappa of
    a night; coverage (share of the clips that are certain), and accuracy of the certain and of the
    uncertain ones; recall of each stage.
    """
    p, stage = calibrated(table[PROBABILITIES], fitted), table["stage"].to_numpy()
    staged, certain = p.argmax(axis=1), p.max(axis=1) >= threshold
    right = staged == stage
    of = dict(zip(METRICS, scores(confusion(stage, staged)), strict=True))
    by_night = scores(subject_confusions(table.assign(prediction=staged))[1])
    kappas = by_night[:, METRICS.index("kappa")]
    # Of a night that has one stage only, and is staged so, kappa is undefined.
    kappas = kappas[np.isfinite(kappas)] if np.isfinite(kappas).any() else np.zeros(1)
    found = {
        "subjects": table["subject"].nunique(),
        "clips": len(table),
        "accuracy": right.mean(),
        "macro-F1": of["macro_f1"] / 100,
        "kappa": of["kappa"],
        f"{NIGHT_KAPPA}, median": np.median(kappas),
        f"{NIGHT_KAPPA}, least": kappas.min(),
        f"{NIGHT_KAPPA}, largest": kappas.max(),
        "AUC": macro_auc(stage, p, table["subject"])[0],
        "coverage": certain.mean(),
        "accuracy of certain clips": right[certain].mean() if certain.any() else 0.0,
        "accuracy of uncertain clips": right[~certain].mean() if (~certain).any() else 0.0,
    }
    for k, name in enumerate(STAGES):
        found[f"recall {name}"] = right[stage == k].mean() if (stage == k).any() else 0.0
    return {name: round(float(value), 4) for name, value in found.items()}
