"""Metrics of predictions with uncertainty, and paired comparisons of methods.

Everything works on each metric of all test clips, per training seed, and on the same without the
clips of one subject. Intervals, tests and verdicts are those of `sacd.analysis.crossed`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sacd.analysis.auc import PROBABILITIES, macro_auc
from sacd.analysis.crossed import Estimate, Verdict, decide, estimates, judged, ratios, table
from sacd.metrics import METRICS, scores, subject_confusions
from sacd.stages import STAGES

Predictions = pd.DataFrame | Sequence[pd.DataFrame]
"""One table of predictions, or one per training seed over the same clips."""

Score = Callable[[NDArray], NDArray[np.float64]]
"""Metrics `(..., m)` of confusion matrices `(..., 5, 5)`, such as `sacd.metrics.scores`."""

CALIBRATED: Final = {"kappa_calibrated": "kappa", "macro_f1_calibrated": "macro_f1"}
"""Metrics of the column `calibrated` -> those of `prediction`."""

TRAINED_ONCE: Final = ("teacher/", "baseline/", "bound/", "AttnSleep (EEG)")
"""Starts of the names of rows that are one network or classifier, not a way to train one.

All students of a teacher learn from the same one, and what is asked is how far they are from it.
"""


def trained_once(row: str) -> bool:
    """Whether a row is one network by definition, so that other seeds of it are no matter."""
    return row.startswith(TRAINED_ONCE)


class Measured(NamedTuple):
    """Metrics of one row: K seeds, S subjects, m metrics."""

    subjects: pd.Index
    names: tuple[str, ...]
    total: NDArray[np.float64]
    """`(K, m)`, of all clips."""
    left_out: NDArray[np.float64]
    """`(S, K, m)`, without the clips of one subject."""
    clips: NDArray[np.float64]
    """`(S, m)`, clips that count: of a recall, those of its stage."""


def _tables(predictions: Predictions) -> list[pd.DataFrame]:
    tables = [predictions] if isinstance(predictions, pd.DataFrame) else list(predictions)
    if not tables:
        raise ValueError("no table of predictions given; at least one seed is needed")
    return tables


def confusions(tables: Sequence[pd.DataFrame]) -> tuple[pd.Index, NDArray[np.float64]]:
    """Subjects `(S,)` and confusion matrices `(S, seeds, 5, 5)`.

    Raises:
        ValueError: the seeds were tested on different clips.
    """
    (subjects, first), *others = [subject_confusions(each) for each in tables]
    for seed, (index, matrix) in enumerate(others, start=1):
        if not index.equals(subjects) or (matrix.sum(2) != first.sum(2)).any():
            raise ValueError(
                f"seed {seed} was tested on other clips than seed 0; all seeds need the same split"
            )
    return subjects, np.stack([first, *(matrix for _, matrix in others)], 1).astype(float)


def of_matrices(
    subjects: pd.Index, matrices: NDArray[np.float64], score: Score, names: Sequence[str]
) -> Measured:
    """Metrics of a row from its confusion matrices `(S, K, 5, 5)`.

    Args:
        score: gives m metrics of a matrix; names: of these, such as "kappa", "N1", "N1 as REM".
    """
    # All seeds have the same clips, so the first one tells the true stages.
    pooled, of_stage = matrices.sum(0), matrices[:, 0].sum(2)
    clips = []
    for name in names:
        stage = name.removeprefix("F1 ").partition(" as ")[0]
        relevant = [STAGES.index(stage)] if stage in STAGES else slice(None)
        clips.append(of_stage[:, relevant].sum(1))
    # Counts add up over subjects, so leaving one out is a subtraction.
    left_out = score(pooled - matrices)
    return Measured(subjects, tuple(names), score(pooled), left_out, np.stack(clips, 1))


def measured(predictions: Predictions) -> Measured:
    """Every metric of a row, of all clips and without the clips of each subject.

    The eight of `sacd.metrics` of the column `prediction`; `auc` (`macro_auc`) where there are
    p_W .. p_REM; `kappa_calibrated` and `macro_f1_calibrated` where there is the column
    `calibrated`.

    Raises:
        ValueError: no table, or the seeds were tested on different clips.
    """
    tables = _tables(predictions)
    first = of_matrices(*confusions(tables), scores, METRICS)
    parts = [first]
    if all(set(PROBABILITIES) <= set(each) for each in tables):
        found = [macro_auc(each["stage"], each[PROBABILITIES], each["subject"]) for each in tables]
        total = np.array([whole for whole, _ in found])[:, None]
        left_out = np.stack([without for _, without in found], 1)[..., None]
        # Every clip counts for the AUC, as for the accuracy.
        parts.append(Measured(first.subjects, ("auc",), total, left_out, first.clips[:, :1]))
    if all("calibrated" in each for each in tables):
        again = [each.assign(prediction=each["calibrated"]) for each in tables]
        _, _, total, left_out, clips = of_matrices(*confusions(again), scores, METRICS)
        at = [METRICS.index(name) for name in CALIBRATED.values()]
        chosen = total[:, at], left_out[..., at], clips[:, at]
        parts.append(Measured(first.subjects, tuple(CALIBRATED), *chosen))
    names = sum((part.names for part in parts), ())
    joined = (np.concatenate([part[k] for part in parts], -1) for k in (2, 3, 4))
    return Measured(first.subjects, names, *joined)


def intervals(
    predictions: Predictions, *, score: Score | None = None, names: Sequence[str] = ()
) -> pd.DataFrame:
    """Each metric with its interval over seeds and subjects, and its spread over seeds.

    Args:
        predictions: one table, or one per seed; value and interval are those of the mean over
            seeds. Of one seed, the interval is that of subjects alone.
        score: other metrics than those of `measured`.
        names: names of these metrics.

    Returns:
        One row per metric: column and the columns of `crossed.table`. n_subjects are those with
        clips that count. With a single subject the interval is NaN.
    """
    tables = _tables(predictions)
    found = of_matrices(*confusions(tables), score, names) if score else measured(tables)
    numbers = table(found.total, found.left_out, found.clips > 0).drop(columns="p_value")
    return numbers.assign(column=found.names)


def repeated(row: Measured, seeds: int) -> Measured:
    """A row that is one network, compared with each of several trainings of another row."""
    total, left_out = row.total.repeat(seeds, 0), row.left_out.repeat(seeds, 1)
    return row._replace(total=total, left_out=left_out)


def _difference(a: Measured, b: Measured, metric: str) -> Estimate:
    """Metric of a minus metric of b in the seeds that both have."""
    for row in (a, b):
        if metric not in row.names:
            raise ValueError(f"metric {metric!r} is unknown; known: {', '.join(row.names)}")
    i, j = a.names.index(metric), b.names.index(metric)
    same = [row.clips[:, : len(METRICS)] for row in (a, b)]  # of all stages and of each
    if not a.subjects.equals(b.subjects) or (same[0] != same[1]).any():
        raise ValueError(
            "the two methods were tested on different clips; a paired test needs one test set"
        )
    seeds = min(len(a.total), len(b.total))
    total = a.total[:seeds, i] - b.total[:seeds, j]
    left_out = a.left_out[:, :seeds, i] - b.left_out[:, :seeds, j]
    return estimates(total[:, None], left_out[..., None], a.clips[:, [i]] > 0)[0]


def paired_difference(a: Predictions, b: Predictions, metric: str = "kappa") -> Estimate:
    """Metric of a minus metric of b on the same clips, seed by seed.

    Seed k of both rows shares initial weights and the order of batches. Where one row has more
    seeds, its further ones are left out.

    Args:
        metric: one of `measured`.

    Raises:
        ValueError: unknown metric, or a and b were tested on different clips.
    """
    return _difference(measured(a), measured(b), metric)


def supported_leads(rows: Mapping[str, Predictions]) -> set[tuple[str, str]]:
    """Cells (row, metric) that lead their column with support.

    A row leads if its difference to every other row is above 0 by `crossed.decide`, without a
    correction for the number of rows.

    Args:
        rows: predictions of the same clips by method; leave out teachers and bounds, which do not
            compete with the students.
    """
    known = {name: measured(predictions) for name, predictions in rows.items()}
    leads = set()
    if len(known) < 2:
        return leads
    # Only the row with the largest value can lead, so it alone is tested.
    for metric in next(iter(known.values())).names:
        if not all(metric in row.names for row in known.values()):
            continue
        values = {n: row.total[:, row.names.index(metric)].mean() for n, row in known.items()}
        if not np.isfinite(list(values.values())).all():
            continue
        best = max(values, key=values.get)
        gaps = [_difference(known[best], known[name], metric) for name in known if name != best]
        if all(decide(gap, np.nan) is Verdict.BETTER for gap in gaps):
            leads.add((best, metric))
    return leads


def compare(
    tests: Mapping[str, Predictions], pairs: Sequence[tuple[str, str]], metric: str = "kappa"
) -> pd.DataFrame:
    """Compare pairs of rows: `paired_difference`, Holm correction over the pairs, and a verdict.

    A row that is one network (`trained_once`) is held against every seed of the other row.

    Args:
        tests: row -> predictions of the same clips, one table per seed.
        pairs: (row, row it is compared with).
        metric: one of `measured`.

    Returns:
        Indexed by row and against: difference, ci_low, ci_high, p_value, p_holm, n_subjects,
        n_seeds (those that both rows have), sd (over seeds on these subjects, by the variance
        components), se, df, margin, verdict ("better", "worse", "equal" within the margin, or
        "undecided", see `crossed.decide`), and needs (what an undecided one would need).
    """
    # A row may stand in many pairs; the AUC is slow.
    known = {row: measured(tests[row]) for row in dict.fromkeys(sum(pairs, ()))}
    lines = []
    for pair in pairs:
        seeds = max(len(known[row].total) for row in pair)
        sides = []
        for row in pair:
            once = trained_once(row) and len(known[row].total) == 1
            sides.append(repeated(known[row], seeds) if once else known[row])
        lines.append(_difference(*sides, metric))
    index = pd.MultiIndex.from_tuples(pairs, names=["row", "against"])
    found = judged(pd.DataFrame(lines, index=index, columns=Estimate._fields), metric)
    shown = ["difference", "ci_low", "ci_high", "p_value", "p_holm", "n_subjects", "n_seeds"]
    shown += ["sd", "se", "df", "margin", "verdict", "needs"]
    by_seed = found["var_seed"] + found["var_residual"] / found["n_subjects"]
    found["sd"] = np.sqrt(by_seed.where(found["n_seeds"] > 1).astype(float))
    return found.rename(columns={"value": "difference"})[shown]


def against(
    tests: Mapping[str, Predictions], reference: str, metric: str = "kappa"
) -> pd.DataFrame:
    """`compare` every other row with the row `reference`."""
    return compare(tests, [(row, reference) for row in tests if row != reference], metric)


def sums(values: ArrayLike, subject: ArrayLike) -> NDArray[np.float64]:
    """Sums of clips' values `(n, m)` over each subject, `(S, m)`, subjects in sorted order."""
    return pd.DataFrame(values).groupby(np.asarray(subject)).sum().to_numpy()


def of_clips(values: Sequence[ArrayLike], subject: ArrayLike) -> pd.DataFrame:
    """`ratios` of a value that each clip has: the mean over clips, in one row.

    Args:
        values: `(n,)` per seed, over the same clips; a clip with NaN in any seed is left out.
        subject: `(n,)`.
    """
    values = np.stack([np.asarray(v, float) for v in values], 1)
    there = np.isfinite(values).all(1)
    above = sums(np.where(there[:, None], values, 0), subject)
    return ratios(above[:, :, None], sums(there.astype(float), subject))


def in_words(line: Any, above: str, below: str, digits: int = 1, margin: float = np.nan) -> str:
    """A difference as text, with its interval and its verdict by `crossed.decide`.

    Args:
        line: an `Estimate`, or a line with its fields; p_holm where there is one.
        margin: below which the two count as equal; NaN: never.

    >>> in_words(Estimate(2.0, -1.0, 5.0, 0.15, 20, 3, 1.4, 12.0), "better", "worse")
    '+2.0 [-1.0, +5.0]: undecided'
    """
    found = decide(line, margin, getattr(line, "p_holm", None))
    words = {Verdict.BETTER: above, Verdict.WORSE: below, Verdict.EQUAL: "equal within the margin"}
    interval = f"[{line.ci_low:+.{digits}f}, {line.ci_high:+.{digits}f}]"
    return f"{line.value:+.{digits}f} {interval}: {words.get(found, found.value)}"
