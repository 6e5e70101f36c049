"""What a sleep laboratory reports of a night, predicted against true: statistics, the AHI."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats as distributions
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sacd.analysis import tables
from sacd.analysis.crossed import mean_squares
from sacd.stages import CLIP_S, STAGES

MINUTES: Final = CLIP_S / 60
STATISTICS: Final = {
    "TST": "total sleep time (min)",
    "SE": "sleep efficiency (%)",
    "SOL": "sleep onset latency (min)",
    "WASO": "wake after sleep onset (min)",
    "REM latency": "from sleep onset (min)",
    **{f"{stage} share": "of sleep (%)" for stage in STAGES[1:]},
}
_PENALTIES: Final = np.logspace(-1, 4, 11)


def sleep_statistics(stage: ArrayLike) -> dict[str, float]:
    """Sleep statistics of the stages 0..4 of consecutive clips from lights out to lights on.

    By the rules of the AASM, as `yasa.Hypnogram.sleep_statistics` has them (its latency of REM
    counts from lights out, ours from sleep onset). WASO ends with the last clip of sleep. NaN where
    a night has no sleep, or no REM.

    >>> found = sleep_statistics([0, 0, 1, 2, 0, 2, 4, 0])
    >>> [float(found[name]) for name in ("TST", "SOL", "WASO", "REM latency", "REM share")]
    [2.0, 1.0, 0.5, 2.0, 25.0]
    """
    stage = np.asarray(stage)
    asleep = np.flatnonzero(stage > 0)
    found = dict.fromkeys(STATISTICS, np.nan)
    found |= {"TST": len(asleep) * MINUTES, "SE": 100 * len(asleep) / len(stage)}
    if not len(asleep):
        return found
    onset, last = asleep[0], asleep[-1]
    rem = np.flatnonzero(stage == STAGES.index("REM"))
    found["SOL"] = onset * MINUTES
    found["WASO"] = float((stage[onset : last + 1] == 0).sum()) * MINUTES
    found["REM latency"] = (rem[0] - onset) * MINUTES if len(rem) else np.nan
    for k, name in enumerate(STAGES[1:], start=1):
        found[f"{name} share"] = 100 * float((stage == k).sum()) / len(asleep)
    return found


def by_night(predictions: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`sleep_statistics` of the true and of the predicted stages, a row per sleeper."""
    groups = predictions.sort_values(["subject", "onset_s"]).groupby("subject")
    both = []
    for column in ("stage", "prediction"):
        both.append(pd.DataFrame({name: sleep_statistics(x[column]) for name, x in groups}).T)
    return both[0], both[1]


def icc(true: ArrayLike, predicted: ArrayLike) -> float:
    """ICC(2,1): two-way random effects, absolute agreement, single measurement.

    `(MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n)` with k = 2 raters (Shrout and Fleiss
    1979, doi:10.1037/0033-2909.86.2.420). NaN for fewer than three pairs, or without any spread.
    """
    pairs = np.stack([np.asarray(true, float), np.asarray(predicted, float)], axis=1)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    n, k = pairs.shape
    if n < 3:
        return np.nan
    raters, between, rest = mean_squares(pairs.T)
    below = between + (k - 1) * rest + k * (raters - rest) / n
    return float((between - rest) / below) if below else np.nan


def agreement(true: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """Bland and Altman's bias with its 95 % interval and limits of agreement, ICC, and n.

    doi:10.1016/S0140-6736(86)90837-8. Pairs with a NaN are left out; n counts the others.
    """
    true, predicted = np.asarray(true, float), np.asarray(predicted, float)
    off = (predicted - true)[np.isfinite(true) & np.isfinite(predicted)]
    n = len(off)
    spread = float(off.std(ddof=1)) if n > 1 else np.nan
    bias = float(off.mean()) if n else np.nan
    reach = distributions.t.ppf(0.975, n - 1) * spread / np.sqrt(n) if n > 1 else np.nan
    return {
        "bias": bias,
        "ci_low": bias - reach,
        "ci_high": bias + reach,
        "loa_low": bias - 1.96 * spread,
        "loa_high": bias + 1.96 * spread,
        "icc": icc(true, predicted),
        "n": n,
    }


def agreements(pairs: Mapping[str, tuple[ArrayLike, ArrayLike]], data: str) -> pd.DataFrame:
    """Tidy lines of `agreement` of each quantity, and its true mean.

    Args:
        pairs: quantity -> true and predicted values of the nights.
    """
    parts = []
    for name, (true, predicted) in pairs.items():
        found = agreement(true, predicted)
        values = {key: found[key] for key in ("bias", "loa_low", "loa_high", "icc")}
        values = {"true mean": float(np.nanmean(np.asarray(true, float)))} | values
        numbers = pd.DataFrame({"column": list(values), "value": list(values.values())})
        of_bias = numbers["column"] == "bias"
        numbers["ci_low"] = np.where(of_bias, found["ci_low"], np.nan)
        numbers["ci_high"] = np.where(of_bias, found["ci_high"], np.nan)
        parts.append((name, numbers.assign(n_subjects=found["n"], n_seeds=1)))
    return tables.stack("night", parts, data)


def _of_breathing(clips: pd.DataFrame) -> tuple[pd.Index, NDArray[np.float64]]:
    """What a night's breathing and movement say of its events, a row per sleeper."""
    groups = clips.groupby("subject", sort=True)
    parts = [groups[name].quantile([0.1, 0.5]).unstack() for name in ("pause", "regularity")]
    parts += [groups["rate"].std(), groups["movement"].apply(lambda x: np.log(x + 0.1).mean())]
    table = pd.concat(parts, axis=1)
    return table.index, table.to_numpy(float)


def estimated_ahi(known: pd.DataFrame, ahi: Mapping[str, float], nights: pd.DataFrame) -> pd.Series:
    """AHI of each night, estimated from breathing and movement in the video alone.

    Ridge regression of log(1 + AHI) on quantiles of `pause` and `regularity`, the spread of the
    rate and the mean log movement; the penalty is chosen by leave-one-out among the known sleepers.

    Args:
        known: clips of training sleepers, with the columns of `sacd.training.night_facts.SUMMARY`.
        ahi: their AHI in events/h.
        nights: the same of the nights to estimate.

    Returns:
        Events/h by subject.
    """
    subjects, x = _of_breathing(known)
    # The AHI spans two decades, and its error grows with it.
    target = np.log1p([float(ahi[subject]) for subject in subjects])
    model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES)).fit(x, target)
    names, seen = _of_breathing(nights)
    return pd.Series(np.expm1(model.predict(seen)).clip(0), names, name="ahi")
