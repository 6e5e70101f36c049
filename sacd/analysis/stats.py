"""Metrics of predictions with uncertainty over subjects, and paired comparisons of methods.

Everything works on confusion matrices per subject. The pooled metric of a resample is the metric of
the weighted sum of these matrices, so 2,000 resamples are one matrix product. The bootstrap, the
test and the verdict rule are those of `sacd.analysis.bootstrap`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sacd.analysis.bootstrap import (
    LEVEL,
    RESAMPLES,
    Estimate,
    correct,
    direction,
    noise_of,
    percentiles,
    ratios,
    resample_weights,
    seed_noise,
    sign_flip_p,
    verdict,
)
from sacd.metrics import METRICS, scores, subject_confusions
from sacd.stages import STAGES

Predictions = pd.DataFrame | Sequence[pd.DataFrame]
"""One table of predictions, or one per training seed over the same clips."""

Score = Callable[[NDArray], NDArray[np.float64]]
"""Metrics `(..., m)` of confusion matrices `(..., 5, 5)`, such as `sacd.metrics.scores`."""


def _matrices(predictions: Predictions) -> tuple[pd.Index, NDArray[np.float64]]:
    """Subjects `(S,)` and confusion matrices `(S, seeds, 5, 5)`."""
    tables = [predictions] if isinstance(predictions, pd.DataFrame) else list(predictions)
    if not tables:
        raise ValueError("no table of predictions given; at least one seed is needed")
    (subjects, first), *others = [subject_confusions(table) for table in tables]
    for seed, (index, matrix) in enumerate(others, start=1):
        if not index.equals(subjects) or (matrix.sum(2) != first.sum(2)).any():
            raise ValueError(
                f"seed {seed} was tested on other clips than seed 0; all seeds need the same split"
            )
    return subjects, np.stack([first, *(matrix for _, matrix in others)], 1).astype(float)


def _resampled(
    matrices: NDArray, resamples: int, seed: int, score: Score = scores
) -> NDArray[np.float64]:
    """Metrics `(resamples, m)` of resampled subjects, averaged over training seeds."""
    n, seeds = matrices.shape[:2]
    sums = resample_weights(n, resamples, seed) @ matrices.reshape(n, -1)
    return score(sums.reshape(resamples, seeds, 5, 5)).mean(1)


def intervals(
    predictions: Predictions,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    score: Score = scores,
    names: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """Each metric with its interval over subjects and its spread over training seeds.

    Args:
        predictions: one table, or one per seed; value and interval are those of the mean over
            seeds.
        resamples: number of bootstrap resamples of the subjects. The percentile interval is
            slightly too narrow below about 15 subjects.
        level: confidence level, 0..1.
        seed: of the resampling; equal seeds and subjects give the same resamples.
        score: other metrics than the eight of `sacd.metrics`.
        names: names of these metrics.

    Returns:
        One row per metric: column, value, ci_low, ci_high, sd (over seeds, n - 1; NaN for one
        seed), n_seeds, n_subjects. With a single subject the interval is NaN.
    """
    subjects, matrices = _matrices(predictions)
    per_seed = score(matrices.sum(0))
    low, high = np.full((2, len(names)), np.nan)
    if len(subjects) > 1:
        low, high = percentiles(_resampled(matrices, resamples, seed, score), level)
    return pd.DataFrame(
        {
            "column": names,
            "value": per_seed.mean(0),
            "ci_low": low,
            "ci_high": high,
            "sd": per_seed.std(0, ddof=1) if len(per_seed) > 1 else np.nan,
            "n_seeds": len(per_seed),
            "n_subjects": len(subjects),
        }
    )


def paired_difference(
    a: Predictions,
    b: Predictions,
    metric: str = "kappa",
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Metric of a minus metric of b on the same subjects, with a paired interval and p-value.

    The interval resamples the subjects of both methods together. The test swaps the two methods
    within subjects (matrices averaged over seeds first), which flips the sign of a subject's
    jackknife contribution `d - (1 - w) d_without`, where w is the subject's share of the clips. For
    accuracy this is the exact swap test. We do not take the pooled kappa of swapped subjects: a
    mixture of two very different methods has a kappa of its own, and its spread would hide the
    difference.

    Args:
        a: predictions of one method, in one or several seeds.
        b: predictions of another method for the same clips; the number of seeds may differ.
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
        return Estimate(difference, n_subjects=n)
    draws = [_resampled(matrices, resamples, seed)[:, column] for matrices in (first, second)]
    low, high = percentiles(draws[0] - draws[1], level)
    first, second = first.mean(1), second.mean(1)
    pooled = scores(first.sum(0)) - scores(second.sum(0))
    without = scores(first.sum(0) - first) - scores(second.sum(0) - second)
    # A recall depends on the clips of its stage alone, so only these make a subject's share.
    relevant = [STAGES.index(metric)] if metric in STAGES else slice(None)
    clips = first.sum(2)[:, relevant].sum(1)
    contributions = pooled[column] - (1 - clips / clips.sum()) * without[:, column]
    p_value = sign_flip_p(contributions, seed) if np.isfinite(contributions).all() else np.nan
    return Estimate(difference, low, high, p_value, n)


def supported_leads(
    rows: Mapping[str, Predictions], *, resamples: int = RESAMPLES, seed: int = 0
) -> set[tuple[str, str]]:
    """Cells (row, metric) that lead their column with support.

    A row leads if its difference to every other row is above 0 by `bootstrap.direction` (paired
    95 % interval and seed noise, without a correction for the number of rows).

    Args:
        rows: predictions of the same clips by method; leave out teachers and bounds, which do not
            compete with the students.
        resamples, seed: as in `intervals`.
    """
    matrices = {name: _matrices(predictions)[1] for name, predictions in rows.items()}
    if len(matrices) < 2 or len(next(iter(matrices.values()))) < 2:
        return set()
    names, leads = list(matrices), set()
    by_seed = [scores(m.sum(0)) for m in matrices.values()]
    values = np.stack([row.mean(0) for row in by_seed])
    draws = [_resampled(m, resamples, seed) for m in matrices.values()]
    for k, metric in enumerate(METRICS):
        if not np.isfinite(values[:, k]).all():
            continue
        best = int(values[:, k].argmax())
        ahead = []
        for other in range(len(names)):
            if other != best:
                low, high = percentiles(draws[best][:, k] - draws[other][:, k])
                noise = seed_noise(by_seed[best], by_seed[other])[k]
                gap = values[best, k] - values[other, k]
                ahead.append(direction(gap, low, high, noise) == 1)
        if all(ahead):
            leads.add((names[best], metric))
    return leads


def compare(
    tests: Mapping[str, Sequence[pd.DataFrame]],
    pairs: Sequence[tuple[str, str]],
    metric: str = "kappa",
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare pairs of rows: `paired_difference`, Holm correction over the pairs, and a verdict.

    Args:
        tests: row -> predictions of the same clips, one table per seed.
        pairs: (row, row it is compared with).
        metric: one of `sacd.metrics.METRICS`.

    Returns:
        Indexed by row and against: difference, ci_low, ci_high, p_value, n_subjects, p_holm,
        n_seeds ("3, 1"), seed_noise, and verdict ("better", "worse" or "inconclusive", see
        `bootstrap.direction`).
    """
    table = pd.DataFrame(
        [paired_difference(tests[a], tests[b], metric, seed=seed) for a, b in pairs],
        index=pd.MultiIndex.from_tuples(pairs, names=["row", "against"]),
        columns=["difference", *Estimate._fields[1:]],
    )
    column = METRICS.index(metric)
    names = {row for pair in pairs for row in pair}
    by_seed = {row: scores(_matrices(tests[row])[1].sum(0))[:, column] for row in names}
    table["p_holm"] = correct(table["p_value"])
    table["n_seeds"] = [f"{len(tests[a])}, {len(tests[b])}" for a, b in pairs]
    table["seed_noise"] = [float(seed_noise(by_seed[a], by_seed[b])) for a, b in pairs]
    directions = [
        direction(line.difference, line.ci_low, line.ci_high, line.seed_noise, line.p_holm)
        for line in table.itertuples()
    ]
    return table.assign(verdict=[verdict(d) for d in directions])


def against(
    tests: Mapping[str, Sequence[pd.DataFrame]],
    reference: str,
    metric: str = "kappa",
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """`compare` every other row with the row `reference`."""
    pairs = [(row, reference) for row in tests if row != reference]
    return compare(tests, pairs, metric, seed=seed)


def of_clips(values: Sequence[ArrayLike], subject: ArrayLike, *, seed: int = 0) -> pd.DataFrame:
    """`ratios` of a value that each clip has: the mean over clips, in one row.

    Args:
        values: `(n,)` per seed, over the same clips; a clip with NaN in any seed is left out.
        subject: `(n,)`.
    """
    values = np.stack([np.asarray(v, float) for v in values], 1)
    there = np.isfinite(values).all(1)
    names = np.asarray(subject)
    sums = pd.DataFrame(np.where(there[:, None], values, 0)).groupby(names).sum().to_numpy()
    clips = pd.Series(there.astype(float)).groupby(names).sum().to_numpy()
    return ratios(sums[:, :, None], clips[:, None], seed=seed)


def in_words(line: Any, above: str, below: str, digits: int = 1) -> str:
    """A difference as text, with its interval and its verdict by `bootstrap.direction`.

    Args:
        line: value, ci_low, ci_high; p_holm where there is one; seed_noise, or sd and n_seeds.

    >>> line = {"value": 2.0, "ci_low": -1, "ci_high": 5, "sd": 1, "n_seeds": 3}
    >>> in_words(pd.Series(line), "better", "worse")
    '+2.0 [-1.0, +5.0]: inconclusive'
    """
    p_value = getattr(line, "p_holm", 0.0)
    decided = direction(line.value, line.ci_low, line.ci_high, noise_of(line), p_value)
    interval = f"[{line.ci_low:+.{digits}f}, {line.ci_high:+.{digits}f}]"
    return f"{line.value:+.{digits}f} {interval}: {verdict(decided, above, below)}"
