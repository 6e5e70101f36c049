"""The one bootstrap over subjects, the one paired test and the one rule for a verdict.

Tables, claims and case studies all take their intervals and verdicts from here, so the same
difference has the same interval and the same verdict wherever it is shown. The unit is the subject,
because the clips of one night are not independent.
"""

from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

RESAMPLES: Final = 2000
LEVEL: Final = 0.95
"""Confidence level of every reported interval."""
ALPHA: Final = 0.05
"""Significance level of every reported test."""
INCONCLUSIVE: Final = "inconclusive"


class Estimate(NamedTuple):
    """A value with its interval and p-value over subjects; NaN where unknown or not computed."""

    value: float
    ci_low: float = np.nan
    ci_high: float = np.nan
    p_value: float = np.nan
    n_subjects: int = 0


def resample_weights(n: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """How often each of n subjects occurs in each resample `(resamples, n)`; each row sums to n.

    A metric of pooled clips depends on sums over subjects only, so all resamples are one matrix
    product with these weights. Two calls with equal arguments draw the same subjects, which is what
    pairs the intervals of two methods. (`scipy.stats.bootstrap` resamples single observations, not
    clusters of unequal size.)
    """
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)


def percentiles(draws: NDArray, level: float = LEVEL) -> NDArray[np.float64]:
    """Percentile interval `(2, ...)` of draws `(resamples, ...)`.

    Undefined draws (NaN, for example of a resample without the stage) are left out. If all are
    undefined, so is the interval.
    """
    defined = np.isfinite(draws).any(0)
    bounds = np.full((2, *draws.shape[1:]), np.nan)
    bounds[:, defined] = np.nanquantile(
        draws[:, defined], [(1 - level) / 2, (1 + level) / 2], axis=0
    )
    return bounds


def sign_flip_p(contributions: NDArray, seed: int = 0) -> float:
    """Two-sided p-value of a sum of subjects' contributions under random signs.

    All 2^S sign patterns where these are at most 9,999 (S <= 13), otherwise 9,999 random ones.
    """
    test = stats.permutation_test(
        (contributions,),
        lambda x, axis: x.sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def ratios(
    numerator: ArrayLike,
    denominator: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> pd.DataFrame:
    """Pooled ratios (share of clips, mean over clips) with interval over subjects and seed spread.

    For the difference of two methods on the same clips, pass the difference of their numerators:
    the interval is then paired, and `p_value` is that of swapping the two methods within subjects.

    Args:
        numerator: `(S, seeds, K)`, sums over the clips of each subject.
        denominator: `(S, K)`, clips of each subject; a subject may have none.
        resamples, level, seed: as in `stats.intervals`.

    Returns:
        K rows: value, ci_low, ci_high, sd, n_seeds, n_subjects (with a clip), p_value (two-sided,
        by sign flips over subjects; meaningful for differences only). NaN where no subject has a
        clip; no interval for one subject.
    """
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    n, seeds, k = numerator.shape
    mean = numerator.mean(1)
    weights = resample_weights(n, resamples, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_seed = numerator.sum(0) / denominator.sum(0)
        draws = (weights @ mean) / (weights @ denominator)
    known = (denominator > 0).sum(0)
    # Rounded, because verdicts depend on the sign of a bound and 0 may come out as 1e-16.
    low, high = np.where(known > 1, percentiles(draws, level).round(9), np.nan)
    p_values = [sign_flip_p(mean[:, i], seed) if known[i] > 1 else np.nan for i in range(k)]
    return pd.DataFrame(
        {
            "value": per_seed.mean(0).round(9),
            "ci_low": low,
            "ci_high": high,
            "sd": per_seed.std(0, ddof=1) if seeds > 1 else np.nan,
            "n_seeds": seeds,
            "n_subjects": known,
            "p_value": p_values,
        }
    )


def correct(p_values: ArrayLike, method: Literal["holm", "fdr_bh"] = "holm") -> NDArray[np.float64]:
    """p-values corrected by Holm (default) or Benjamini-Hochberg; NaN stays NaN and does not count.

    >>> correct([0.01, 0.04, np.nan]).tolist()
    [0.02, 0.04, nan]
    """
    p_values = np.asarray(p_values, float)
    corrected, known = p_values.copy(), np.isfinite(p_values)
    if known.any():
        corrected[known] = multipletests(p_values[known], method=method)[1]
    return corrected


def seed_noise(*rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two standard errors, over training seeds, of a sum or difference of the rows' means.

    Args:
        rows: `(seeds, ...)` values of each row. A row of a single seed borrows the largest variance
            of the others.

    Returns:
        `(...)`. NaN where no row has several seeds: the noise is then unknown, and no difference
        exceeds it.
    """
    known = [row.var(0, ddof=1) for row in rows if len(row) > 1]
    if not known:
        return np.full(rows[0].shape[1:], np.nan)
    largest = np.max(known, axis=0)
    return 2 * np.sqrt(
        sum((row.var(0, ddof=1) if len(row) > 1 else largest) / len(row) for row in rows)
    )


def noise_of(line: Any) -> float:
    """Seed noise of a table line: its `seed_noise` if it has one, else from `sd` and `n_seeds`."""
    if hasattr(line, "seed_noise"):
        return line.seed_noise
    return 2 * line.sd / np.sqrt(line.n_seeds)


def direction(
    value: float, ci_low: float, ci_high: float, noise: float, p_value: float = 0.0
) -> int:
    """The rule behind every verdict: 1 if a difference is above 0, -1 if below, 0 if undecided.

    A difference is decided if its interval excludes 0, its (corrected) p-value is below `ALPHA`,
    and it exceeds the noise of training seeds. The interval covers subjects only and knows nothing
    of seeds, hence the third condition. Anything NaN leaves the difference undecided.

    Args:
        p_value: omit it where the interval is the test.
    """
    if not p_value < ALPHA or np.isnan([value, ci_low, ci_high, noise]).any():
        return 0
    if ci_low > 0 and value > noise:
        return 1
    if ci_high < 0 and -value > noise:
        return -1
    return 0


def verdict(direction: int, above: str = "better", below: str = "worse") -> str:
    """The words for a `direction`: `above`, `below` or "inconclusive"."""
    return {1: above, -1: below, 0: INCONCLUSIVE}[direction]
