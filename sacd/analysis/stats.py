"""Uncertainty and tests with the subject as the unit: clips of one night are not independent.

Everything works on confusion matrices per subject: a pooled metric of resampled subjects is the
metric of the sum of their matrices, so 2,000 resamples are one matrix product.
(`scipy.stats.bootstrap` resamples single observations, not clusters of unequal size under a pooled
metric.) Tests and corrections are scipy's and statsmodels'.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sacd.metrics import METRICS, scores, subject_confusions
from sacd.stages import STAGES

Predictions = pd.DataFrame | Sequence[pd.DataFrame]
"""One table of predictions, or one per training seed over the same clips."""


class Paired(NamedTuple):
    """Result of `paired_difference`."""

    difference: float
    """Metric of a minus metric of b, in the metric's unit."""
    ci_low: float
    ci_high: float
    p_value: float
    """Two-sided, by the signs of the subjects' jackknife contributions."""
    n_subjects: int


def _matrices(predictions: Predictions) -> tuple[pd.Index, NDArray[np.float64]]:
    """Subjects `(S,)` and confusion matrices `(S, seeds, 5, 5)`."""
    tables = [predictions] if isinstance(predictions, pd.DataFrame) else list(predictions)
    if not tables:
        raise ValueError("no table of predictions given; at least one seed is needed")
    (subjects, first), *others = [subject_confusions(table) for table in tables]
    for seed, (index, matrix) in enumerate(others, start=1):
        if not index.equals(subjects) or (matrix.sum(2) != first.sum(2)).any():
            raise ValueError(
                f"seed {seed} was tested on other clips than seed 0; all seeds need one split"
            )
    return subjects, np.stack([first, *(matrix for _, matrix in others)], 1).astype(float)


Score = Callable[[NDArray], NDArray[np.float64]]
"""Metrics `(..., m)` of confusion matrices `(..., 5, 5)`, such as `sacd.metrics.scores`."""


def _resampled(
    matrices: NDArray, resamples: int, seed: int, score: Score = scores
) -> NDArray[np.float64]:
    """Metrics `(resamples, m)`, mean over seeds, of subjects drawn with replacement."""
    n, seeds = matrices.shape[:2]
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)
    return score((weights @ matrices.reshape(n, -1)).reshape(resamples, seeds, 5, 5)).mean(1)


def _percentiles(draws: NDArray, level: float) -> NDArray[np.float64]:
    """Bounds `(2, ...)`; draws without the stage (NaN) are left out, and all-NaN gives NaN."""
    defined = np.isfinite(draws).any(0)
    bounds = np.full((2, *draws.shape[1:]), np.nan)
    bounds[:, defined] = np.nanquantile(
        draws[:, defined], [(1 - level) / 2, (1 + level) / 2], axis=0
    )
    return bounds


def intervals(
    predictions: Predictions,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    score: Score = scores,
    names: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """Each of the eight metrics (or others) with its interval over subjects and its spread over seeds.

    Args:
        predictions: one table, or one per seed; with several, value and interval are those of the
            mean over seeds.
        resamples: of the subjects, with replacement; percentile interval (a little narrow below ~15
            subjects).
        level: of the interval, 0..1.
        seed: of the resampling; two calls with equal seed and subjects draw the same subjects.
        score, names: other metrics, and what they are called.

    Returns:
        One row a metric: column, value, ci_low, ci_high, sd (over seeds, n - 1; NaN for one seed),
        n_seeds, n_subjects. With a single subject the interval is NaN.
    """
    subjects, matrices = _matrices(predictions)
    per_seed = score(matrices.sum(0))
    low, high = np.full((2, len(names)), np.nan)
    if len(subjects) > 1:
        low, high = _percentiles(_resampled(matrices, resamples, seed, score), level)
    sd = per_seed.std(0, ddof=1) if len(per_seed) > 1 else np.nan
    return pd.DataFrame(
        {"column": names, "value": per_seed.mean(0), "ci_low": low, "ci_high": high, "sd": sd}
        | {"n_seeds": len(per_seed), "n_subjects": len(subjects)}
    )


def paired_difference(
    a: Predictions,
    b: Predictions,
    metric: str = "kappa",
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Paired:
    """Difference of two methods on the same subjects, its bootstrap interval, and a paired permutation test.

    The interval resamples subjects, both methods together, of the difference between means over
    seeds. The test swaps the two methods within subjects (matrices averaged over seeds first),
    which turns the sign of a subject's jackknife contribution, `d - (1 - w) d_without` with its
    share w of the clips: all 2^S signs where that is at most 9,999 (S <= 13), else 9,999 random
    ones. For accuracy this is the exact swap test. The pooled kappa of swapped subjects
    would not do: a mixture of two very different methods has a kappa of its own, whose spread hides
    them.

    Args:
        a, b: predictions of the same clips; the number of seeds may differ.
        metric: one of `sacd.metrics.METRICS`.
        resamples, level, seed: as in `intervals`.

    Raises:
        ValueError: unknown metric, or a and b were tested on different clips.
    """
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is unknown; known: {', '.join(METRICS)}")
    column = METRICS.index(metric)
    (subjects, first), (others, second) = _matrices(a), _matrices(b)
    if not subjects.equals(others) or (first[:, 0].sum(2) != second[:, 0].sum(2)).any():
        raise ValueError(
            "the two methods were tested on different clips; a paired test needs one test set"
        )
    n = len(subjects)
    difference = (scores(first.sum(0)).mean(0) - scores(second.sum(0)).mean(0))[column]
    if n < 2:
        return Paired(difference, np.nan, np.nan, np.nan, n)
    draws = [_resampled(matrices, resamples, seed)[:, column] for matrices in (first, second)]
    low, high = _percentiles(draws[0] - draws[1], level)
    first, second = first.mean(1), second.mean(1)
    pooled = scores(first.sum(0)) - scores(second.sum(0))
    without = scores(first.sum(0) - first) - scores(second.sum(0) - second)
    clips = first.sum(2)[:, [STAGES.index(metric)] if metric in STAGES else slice(None)].sum(1)
    moved = pooled[column] - (1 - clips / clips.sum()) * without[:, column]
    p_value = _sign_flip(moved, seed) if np.isfinite(moved).all() else np.nan
    return Paired(difference, low, high, p_value, n)


def supported_leads(
    rows: Mapping[str, Predictions], *, resamples: int = 2000, seed: int = 0
) -> set[tuple[str, str]]:
    """Cells (row, metric) that lead their column with support: the 95 % interval of the difference
    to every other row, paired over resampled subjects, lies above 0, and the difference above
    `seed_noise`.

    Args:
        rows: predictions of the same clips, a method each (teachers and bounds are not for the same
            race).
        resamples, seed: as in `intervals`.
    """
    matrices = {name: _matrices(predictions)[1] for name, predictions in rows.items()}
    if len(matrices) < 2 or len(next(iter(matrices.values()))) < 2:
        return set()
    by_seed = [scores(m.sum(0)) for m in matrices.values()]
    values = np.stack([row.mean(0) for row in by_seed])
    draws = np.stack(
        [_resampled(m, resamples, seed) for m in matrices.values()]
    )  # (rows, resamples, 8)
    names, leads = list(matrices), set()
    for k, metric in enumerate(METRICS):
        if np.isfinite(values[:, k]).all():
            best = int(values[:, k].argmax())
            others = [j for j in range(len(names)) if j != best]
            ahead = [_percentiles(draws[best, :, k] - draws[j, :, k], 0.95)[0] > 0 for j in others]
            ahead += [
                values[best, k] - values[j, k] > seed_noise(by_seed[best], by_seed[j])[k]
                for j in others
            ]
            if all(ahead):
                leads.add((names[best], metric))
    return leads


def seed_noise(*rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Twice the standard error, by training seeds, of a sum or difference of rows' means over seeds.

    Args:
        rows: `(seeds, ...)` values of each row. One of a single seed is given the largest variance
            of the others.

    Returns:
        `(...)`, NaN where no row has several seeds: chance is not known then, and no difference is
        above it.
    """
    known = [row.var(0, ddof=1) for row in rows if len(row) > 1]
    if not known:
        return np.full(rows[0].shape[1:], np.nan)
    largest = np.max(known, axis=0)
    return 2 * np.sqrt(
        sum((row.var(0, ddof=1) if len(row) > 1 else largest) / len(row) for row in rows)
    )


def compare(
    tests: Mapping[str, Sequence[pd.DataFrame]],
    pairs: Sequence[tuple[str, str]],
    metric: str = "kappa",
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Pairs of rows of an experiment: `paired_difference`, Holm over the pairs, and a verdict.

    The interval is over subjects and knows nothing of training seeds, so `seed_noise` stands beside
    it. `better` and `worse` need a corrected p below 0.05 and a difference above that noise; else,
    or where no seeds tell how large it is, `inconclusive`.

    Args:
        tests: row -> predictions of the same clips, one table a seed.
        pairs: (row, the one that it is compared with).
        metric: one of `sacd.metrics.METRICS`.

    Returns:
        Indexed by row and against: the fields of `Paired`, p_holm, n_seeds ("3, 1"), seed_noise,
            verdict.
    """
    table = pd.DataFrame(
        [paired_difference(tests[a], tests[b], metric, seed=seed) for a, b in pairs],
        index=pd.MultiIndex.from_tuples(pairs, names=["row", "against"]),
        columns=Paired._fields,
    )
    column = METRICS.index(metric)
    by_seed = {
        row: scores(_matrices(tests[row])[1].sum(0))[:, column] for pair in pairs for row in pair
    }
    table["p_holm"] = correct(table["p_value"])
    table["n_seeds"] = [f"{len(tests[a])}, {len(tests[b])}" for a, b in pairs]
    table["seed_noise"] = [float(seed_noise(by_seed[a], by_seed[b])) for a, b in pairs]
    clear = (table["p_holm"] < 0.05) & (table["difference"].abs() > table["seed_noise"])
    sign = np.where(table["difference"] > 0, "better", "worse")
    return table.assign(verdict=np.where(clear, sign, "inconclusive"))


def against(
    tests: Mapping[str, Sequence[pd.DataFrame]],
    reference: str,
    metric: str = "kappa",
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """`compare` of every other row with one of them."""
    return compare(
        tests, [(row, reference) for row in tests if row != reference], metric, seed=seed
    )


def correct(p_values: ArrayLike, method: Literal["holm", "fdr_bh"] = "holm") -> NDArray[np.float64]:
    """p-values corrected for their number: Holm (default) or Benjamini-Hochberg; NaN stays NaN and does not count.

    >>> correct([0.01, 0.04, np.nan]).tolist()
    [0.02, 0.04, nan]
    """
    p_values = np.asarray(p_values, float)
    corrected, known = p_values.copy(), np.isfinite(p_values)
    if known.any():
        corrected[known] = multipletests(p_values[known], method=method)[1]
    return corrected


def ratios(
    numerator: ArrayLike,
    denominator: ArrayLike,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Pooled ratios (share of clips, mean over clips) with their interval over subjects and spread over seeds.

    Resamples are counts of subjects, so that all K ratios are two matrix products;
    `scipy.stats.bootstrap` would hold a copy of the data for every resample. For the difference of
    two methods on the same clips give the difference of their numerators: the interval is then
    paired, and `p_value` is that of swapping the two within subjects.

    Args:
        numerator: `(S, seeds, K)`, sums over the clips of each subject.
        denominator: `(S, K)`, clips of each subject; a subject may have none.
        resamples, level, seed: as in `intervals`.

    Returns:
        K rows: value, ci_low, ci_high, sd, n_seeds, n_subjects (with a clip), p_value (two-sided,
        by flipping signs of subjects; means something for differences only). NaN where nobody has a
        clip; no interval for one subject.
    """
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    n, seeds, k = numerator.shape
    mean = numerator.mean(1)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_seed = numerator.sum(0) / denominator.sum(0)
        draws = (weights @ mean) / (weights @ denominator)
    known = (denominator > 0).sum(0)
    low, high = np.where(
        known > 1, _percentiles(draws, level).round(9), np.nan
    )  # no 1e-16 for 0: a sign is read off
    p_values = [_sign_flip(mean[:, i], seed) if known[i] > 1 else np.nan for i in range(k)]
    return pd.DataFrame(
        {"value": per_seed.mean(0).round(9), "ci_low": low, "ci_high": high}
        | {
            "sd": per_seed.std(0, ddof=1) if seeds > 1 else np.nan,
            "n_seeds": seeds,
            "n_subjects": known,
        }
        | {"p_value": p_values}
    )


def of_clips(values: Sequence[ArrayLike], subject: ArrayLike, *, seed: int = 0) -> pd.DataFrame:
    """`ratios` of a value that each clip has: the mean over clips, one row.

    Args:
        values: `(n,)` a seed, over the same clips; NaN where a clip has none (in any seed).
        subject: `(n,)`.
    """
    values = np.stack([np.asarray(v, float) for v in values], 1)
    there = np.isfinite(values).all(1)
    sums = (
        pd.DataFrame(np.where(there[:, None], values, 0))
        .groupby(np.asarray(subject))
        .sum()
        .to_numpy()
    )
    clips = pd.Series(there.astype(float)).groupby(np.asarray(subject)).sum().to_numpy()
    return ratios(sums[:, :, None], clips[:, None], seed=seed)


def in_words(line: Any, above: str, below: str, digits: int = 1) -> str:
    """A difference (value, ci_low, ci_high) with its verdict; an interval that holds 0, or is
    unknown, decides nothing, nor does a corrected p (`p_holm`, where there is one) of 0.05 or more,
    nor a value within the noise of training seeds (`seed_noise` of a difference of two methods,
    else two standard errors by `sd` and `n_seeds`), or one of unknown noise.

    >>> in_words(pd.Series({"value": 2.0, "ci_low": -1, "ci_high": 5, "sd": 1, "n_seeds": 3}), "better", "worse")
    '+2.0 [-1.0, +5.0]: inconclusive'
    """
    sure = (line.ci_low > 0 or line.ci_high < 0) and getattr(line, "p_holm", 0) < 0.05
    noise = line.seed_noise if hasattr(line, "seed_noise") else 2 * line.sd / np.sqrt(line.n_seeds)
    sure = sure and abs(line.value) > noise
    verdict = "inconclusive" if not sure else above if line.value > 0 else below
    return f"{line.value:+.{digits}f} [{line.ci_low:+.{digits}f}, {line.ci_high:+.{digits}f}]: {verdict}"


def _sign_flip(values: NDArray, seed: int) -> float:
    """Two-sided p of a sum under random signs: all 2^S where that is at most 9,999, else 9,999 random ones."""
    test = stats.permutation_test(
        (values,),
        lambda x, axis: x.sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)
