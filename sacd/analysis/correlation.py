"""Rank correlation of many channels with one value per subject, tested by permuting subjects."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from sacd.analysis.crossed import LEVEL, correct

TIE: Final = 1e-12
"""Two values that differ by less are equal but for rounding."""


def spearman(features: ArrayLike, values: ArrayLike, *, permutations: int) -> pd.DataFrame:
    """Spearman correlation of many channels with one value per subject, corrected (Fig. 7).

    Args:
        features: `(S, G, C)`: C channels of G groups (stages) for S subjects; NaN where a subject
            lacks the group.
        values: `(S,)`, for example the AHI in events/h, or 1 for the members of one AHI group and 0
            for the others.
        permutations: number of permutations of `values` over subjects. They give the null
            distribution of the largest |rho| of all groups and channels.
            (`scipy.stats.permutation_test` cannot take that maximum over groups in which different
            subjects are missing.)

    Returns:
        One row per channel: group, channel, n (subjects), rho, p (t approximation), q
        (Benjamini-Hochberg over all G x C), p_max (probability that the largest of all |rho|
        reaches this one under permutation; at least 1 / (permutations + 1)). A constant channel has
        NaN.
    """
    features, values = np.asarray(features, float), np.asarray(values, float)
    rho = rank_correlation(features, values[None])[0]
    shuffled = permuted(values, permutations)
    largest, tables = np.zeros(permutations), []
    for group in range(features.shape[1]):
        n = int(np.isfinite(features[:, group]).all(1).sum())
        null = rank_correlation(features[:, group : group + 1], shuffled)[:, 0]
        # The maximum over all groups corrects for all channels at once (Westfall and Young).
        largest = np.maximum(largest, np.nan_to_num(np.abs(null)).max(1))
        r = rho[group]
        # |rho| = 1 gives t = inf and p = 0; rounding may lift rho^2 above 1.
        with np.errstate(divide="ignore"):
            t = np.abs(r) * np.sqrt(max(n - 2, 0) / (1 - np.minimum(r**2, 1)))
        p = 2 * stats.t.sf(t, max(n - 2, 1))
        tables.append(
            pd.DataFrame({"group": group, "channel": np.arange(len(r)), "n": n, "rho": r, "p": p})
        )
    table = pd.concat(tables, ignore_index=True)
    # `permutation_p` of all channels at once: their null distribution is sorted only once.
    reached = permutations - np.searchsorted(np.sort(largest), table.rho.abs() - TIE)
    p_max = np.where(table.rho.notna(), (reached + 1) / (permutations + 1), np.nan)
    return table.assign(q=correct(table.p, "fdr_bh"), p_max=p_max)


def permuted(values: ArrayLike, permutations: int) -> NDArray[np.float64]:
    """`values` `(S,)` in random orders, `(permutations, S)`; the same ones at every call."""
    rows = np.tile(np.asarray(values, float), (permutations, 1))
    return np.random.default_rng(0).permuted(rows, axis=1)


def permutation_p(null: ArrayLike, value: float) -> float:
    """One-sided p-value: how often a permutation reaches the value, which counts as one of them.

    The tolerance counts ties as reached in spite of rounding.
    """
    null = np.asarray(null)
    return float(((null >= value - TIE).sum() + 1) / (len(null) + 1))


def rank_correlation(features: ArrayLike, values: ArrayLike) -> NDArray[np.float64]:
    """Spearman's rho `(P, G, C)` of channels `(S, G, C)` with each of P vectors of values `(P, S)`.

    Subjects whose group is NaN are left out of that group. Fewer than three subjects, or a constant
    channel, give NaN. We rank once and take one matrix product per group;
    `scipy.stats.spearmanr` would rank the 5 x 512 channels again for each of 1,000 permutations,
    and correlate channels with channels too.
    """
    features, values = np.asarray(features, float), np.asarray(values, float)
    if features.ndim != 3 or values.shape[1:] != features.shape[:1]:
        raise ValueError(
            f"features {features.shape} and values {values.shape} are not (S, G, C) and (P, S)"
        )
    rho = np.full((len(values), *features.shape[1:]), np.nan)
    for group in range(features.shape[1]):
        here = np.isfinite(features[:, group]).all(1)
        if here.sum() > 2:
            x = _standard(stats.rankdata(features[here, group].T, axis=1))
            y = _standard(stats.rankdata(values[:, here], axis=1))
            rho[:, group] = y @ x.T
    return rho


def without_each(features: ArrayLike, values: ArrayLike) -> NDArray[np.float64]:
    """`rank_correlation` `(S, G, C)` of channels with `values` `(S,)` without each subject in turn.

    The ranks of the others follow from those of all: whoever ranks above the subject moves down by
    one, and whoever ties with it by a half. Ranking again would take ten times as long.
    """
    features, values = np.asarray(features, float), np.asarray(values, float)
    every = rank_correlation(features, values[None])[0]
    rho = np.repeat(every[None], len(features), axis=0)
    for group in range(features.shape[1]):
        here = np.flatnonzero(np.isfinite(features[:, group]).all(1))
        x = stats.rankdata(features[here, group].T, axis=1)
        y = stats.rankdata(values[here])[None]
        for k, subject in enumerate(here):
            # Without the subject, fewer than three would be left.
            if len(here) < 4:
                rho[subject, group] = np.nan
                continue
            left_x, left_y = (_standard(_ranks_without(ranks, k)) for ranks in (x, y))
            rho[subject, group] = (left_y @ left_x.T)[0]
    return rho


def _ranks_without(ranks: NDArray, k: int) -> NDArray[np.float64]:
    """Ranks `(rows, n - 1)` within each row of `(rows, n)` once its entry k is gone."""
    own, others = ranks[:, k : k + 1], np.delete(ranks, k, axis=1)
    return others - (others > own) - (others == own) / 2


def rho_interval(rho: float, n: float) -> tuple[float, float]:
    """95 % interval of Spearman's rho of n subjects; NaN for n < 5.

    Fisher's z with variance (1 + rho^2 / 2) / (n - 3) (Bonett and Wright 2000,
    doi:10.1007/BF02294183). scipy has such an interval for Pearson's r only, and its variance
    1 / (n - 3) is too small for ranks.

    >>> [round(x, 2) for x in rho_interval(0.5, 30)]
    [0.15, 0.74]
    """
    if n < 5 or not abs(rho) < 1:
        return np.nan, np.nan
    reach = stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return float(np.tanh(np.arctanh(rho) - reach)), float(np.tanh(np.arctanh(rho) + reach))


def _standard(rows: NDArray) -> NDArray[np.float64]:
    """Rows centred and scaled to unit length, so that a dot product is a correlation.

    A constant row becomes NaN.
    """
    rows = rows - rows.mean(-1, keepdims=True)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.divide(rows, length, out=np.full_like(rows, np.nan), where=length > 1e-9)
