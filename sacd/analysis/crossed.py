"""The one test of every difference: training seeds crossed with subjects, and the one verdict.

Tables, claims and case studies all take their intervals and verdicts from here, so the same
difference has the same interval and the same verdict wherever it is shown. Another training and
other sleepers would both give another number, so both are random: seeds play the readers and
subjects the cases of a multi-reader multi-case study (Dorfman, Berbaum and Metz 1992,
doi:10.1097/00004424-199209000-00015; Hillis 2007, doi:10.1002/sim.2532). The clips of one night are
not independent, so a subject is left out with all its clips.
"""

from collections.abc import Sequence
from enum import StrEnum
from math import ceil, floor, log10
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sacd.metrics import ERRORS, PERCENT

LEVEL: Final = 0.95
"""Confidence level of every reported interval."""
ALPHA: Final = 0.05
"""Significance level of every reported test."""
MIN_SUBJECTS: Final = 6
"""With fewer subjects nothing is decided: a jackknife of so few says little about others."""

POINTS: Final = 1.0
"""Margin of every percentage, in percentage points."""
MARGINS: Final = {"kappa": 0.02, "kappa_calibrated": 0.02, "auc": 0.01, "macro_f1_calibrated": 1.0}
"""Differences below these count as none; fixed before these results were computed."""

POWER: Final = 0.8
SEEDS: Final = (3, 5, 8, 15, 30)
"""Numbers of seeds among which `needed` looks."""
MOST_SUBJECTS: Final = 5000
SECOND_SEED: Final = "a second seed"


class Verdict(StrEnum):
    """What a difference says; the words of every table."""

    BETTER = "better"
    WORSE = "worse"
    EQUAL = "equal"
    UNDECIDED = "undecided"


class Estimate(NamedTuple):
    """A value with its interval and test; NaN where unknown or not computed."""

    value: float
    ci_low: float = np.nan
    ci_high: float = np.nan
    p_value: float = np.nan
    n_subjects: int = 0
    n_seeds: int = 1
    se: float = np.nan
    df: float = np.nan
    var_subject: float = np.nan
    """Variance components of one subject's pseudo-value, at least 0: between subjects (of one
    seed: with their interaction), between seeds, and of the interaction."""
    var_seed: float = np.nan
    var_residual: float = np.nan


COMPONENTS: Final = ("se", "df", "var_subject", "var_seed", "var_residual")
"""Columns by which a claim tests a line of a table for equality, and plans a design."""


def margin(column: str) -> float:
    """The difference below which two values of a column count as equal; NaN if it has none.

    >>> margin("accuracy"), margin("N1 as REM"), margin("kappa"), margin("silhouette")
    (1.0, 1.0, 0.02, nan)
    """
    if column in PERCENT or column in ERRORS or column.endswith(("(%)", "(points)")):
        return POINTS
    return MARGINS.get(column, np.nan)


def estimates(
    total: ArrayLike, left_out: ArrayLike, there: ArrayLike | None = None
) -> list[Estimate]:
    """Interval, test and variance components of statistics of pooled clips, averaged over seeds.

    Subject s has the pseudo-value `n total - (n - 1) left_out[s]` in each seed. With the mean
    squares of seeds R, subjects C and their interaction RC in this table of K seeds and n subjects,
    `E = MS_R + max(MS_C - MS_RC, 0)` and the squared standard error is `E / (n K)`. The degrees of
    freedom are `(K - 1) E / MS_R`, at most n - 1. Hillis has the square of `E / MS_R`; by
    simulation that rejects 7.4 % at 120 subjects and 3 seeds, because a small MS_R makes the error
    small and the degrees of freedom many at once, and ours 5.2 % (4 to 6 % from 3 seeds on). Two
    seeds reject up to 9 % where trainings differ much. One seed says nothing about others: its
    interval is that of subjects alone.

    Args:
        total: `(K, m)`, each statistic in each seed. For a difference of two rows, the difference
            of theirs, seed by seed.
        left_out: `(S, K, m)`, the same without the clips of one subject.
        there: `(S, m)`, False for subjects that have no clip that counts, such as one without N1
            for the recall of N1; default: all count.

    Returns:
        m estimates. The value is the mean of `total`, not of the pseudo-values. Fewer than two
        subjects, or a statistic that is undefined without one of them, have no interval.
    """
    total, left_out = np.asarray(total, float), np.asarray(left_out, float)
    there = np.ones(left_out[:, 0].shape, bool) if there is None else np.asarray(there, bool)
    return [_estimate(total[:, m], left_out[there[:, m], :, m]) for m in range(total.shape[1])]


def _estimate(total: NDArray, left_out: NDArray) -> Estimate:
    """One statistic: `total` `(K,)` and `left_out` `(n, K)`."""
    (n, k), value = left_out.shape, float(total.mean().round(9))
    pseudo = n * total - (n - 1) * left_out
    if n < 2 or not np.isfinite(pseudo).all():
        return Estimate(value, n_subjects=n, n_seeds=k)
    ms_seed, ms_subject, ms_both = mean_squares(pseudo.T)
    if k == 1:
        error, df, parts = ms_subject, n - 1.0, (ms_subject, np.nan, np.nan)
    else:
        # A variance component is not negative, but its estimate may be.
        error = ms_seed + max(ms_subject - ms_both, 0)
        df = n - 1.0
        if ms_seed > 0:
            df = min(df, float((k - 1) * error / ms_seed))
        parts = (max(ms_subject - ms_both, 0) / k, max(ms_seed - ms_both, 0) / n, ms_both)
    # Rounded, because verdicts depend on the sign of a bound and 0 may come out as 1e-16.
    se = float(np.sqrt(error / (n * k)).round(9))
    reach = float(se * stats.t.ppf((1 + LEVEL) / 2, df))
    low, high = round(value - reach, 9), round(value + reach, 9)
    return Estimate(value, low, high, _p_value(value, se, df), n, k, se, df, *parts)


def mean_squares(pseudo: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean squares of seeds, subjects and residual of pseudo-values `(K, n)`; 0 where K is 1."""
    k, n = pseudo.shape
    seeds, subjects = pseudo.mean(1), pseudo.mean(0)
    ms_subject = k * subjects.var(ddof=1)
    if k == 1:
        return 0.0, float(ms_subject), 0.0
    rest = pseudo - seeds[:, None] - subjects + pseudo.mean()
    ms_both = (rest**2).sum() / ((k - 1) * (n - 1))
    return float(n * seeds.var(ddof=1)), float(ms_subject), float(ms_both)


def _p_value(value: float, se: float, df: float) -> float:
    """Two-sided p of a value that is 0 in truth; without an error, any other value is certain."""
    if se == 0:
        return float(value == 0)
    return float(2 * stats.t.sf(abs(value) / se, df))


def table(total: ArrayLike, left_out: ArrayLike, there: ArrayLike | None = None) -> pd.DataFrame:
    """`estimates` as a table: their fields, and sd over seeds (n - 1; NaN for one seed)."""
    total = np.asarray(total, float)
    found = pd.DataFrame(estimates(total, left_out, there), columns=Estimate._fields)
    return found.assign(sd=total.std(0, ddof=1) if len(total) > 1 else np.nan)


def ratios(numerator: ArrayLike, denominator: ArrayLike) -> pd.DataFrame:
    """Pooled ratios (share of clips, mean over clips) by the crossed method.

    For the difference of two rows on the same clips, pass the difference of their numerators.

    Args:
        numerator: `(S, K, m)`, sums over the clips of each subject in each of K seeds.
        denominator: `(S, m)`, clips of each subject; a subject may have none.

    Returns:
        m rows with the columns of `table`; the p-value is meaningful for differences only.
    """
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    above, below = numerator.sum(0), denominator.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = above / below
        left_out = (above - numerator) / (below - denominator)[:, None]
    return table(total, left_out, denominator > 0)


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


def p_text(p_value: float) -> str:
    """A p value as text; empty if unknown.

    >>> p_text(0.25), p_text(3e-9), p_text(float("nan"))
    ('0.250', '< 0.001', '')
    """
    if np.isnan(p_value):
        return ""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def holm(p_value: float) -> str:
    """A p after Holm's correction as text.

    >>> holm(0.25), holm(3e-9)
    ('Holm p = 0.25', 'Holm p < 0.001')
    """
    return "Holm p < 0.001" if p_value < 0.001 else f"Holm p = {p_value:.2g}"


def shifted(estimate: Estimate, by: float) -> Estimate:
    """The estimate of the value minus `by`, to test a difference against a level other than 0."""
    value, low, high = (round(x - by, 9) for x in estimate[:3])
    p_value = _p_value(value, estimate.se, estimate.df) if np.isfinite(estimate.se) else np.nan
    return estimate._replace(value=value, ci_low=low, ci_high=high, p_value=p_value)


def within(estimate: Any, margin: float) -> bool:
    """Whether two one-sided tests at `ALPHA` place a value between -margin and margin."""
    if not _told(estimate) or not np.isfinite([margin, estimate.se]).all():
        return False
    reach = estimate.se * stats.t.ppf(1 - ALPHA, estimate.df)
    return bool(abs(estimate.value) + reach < margin)


def decide(estimate: Any, margin: float, p_value: float | None = None) -> Verdict:
    """The rule behind every verdict.

    A difference is decided if its interval excludes 0 and its (corrected) p-value is below `ALPHA`.
    Otherwise it is equal if it lies `within` the margin. A row of one seed decides nothing, as
    nobody knows what another training would give, and neither do fewer than `MIN_SUBJECTS`.

    Args:
        estimate: an `Estimate`, or a line of a table with its fields.
        margin: of the column; NaN: nothing counts as equal.
        p_value: corrected p-value in place of the estimate's own.
    """
    p_value = estimate.p_value if p_value is None else p_value
    if _told(estimate) and p_value < ALPHA:
        if estimate.ci_low > 0:
            return Verdict.BETTER
        if estimate.ci_high < 0:
            return Verdict.WORSE
    return Verdict.EQUAL if within(estimate, margin) else Verdict.UNDECIDED


def _told(estimate: Any) -> bool:
    """Whether an estimate may decide at all."""
    return estimate.n_seeds >= 2 and estimate.n_subjects >= MIN_SUBJECTS


def _target(margin: float) -> float:
    """Standard error with which a true difference of 0 is found within the margin at `POWER`."""
    return margin / (stats.norm.ppf(1 - ALPHA) + stats.norm.ppf(POWER))


def needed(estimate: Any, margin: float) -> tuple[int, int] | None:
    """The smallest design `(subjects, seeds)` that would show equality of equal rows.

    That is the fewest trainings times subjects whose standard error, by the variance components,
    lets two one-sided tests at `ALPHA` place a true difference of 0 within the margin with a
    probability of about `POWER`. None: not even `MOST_SUBJECTS` and 30 seeds, or unknown.
    """
    if not np.isfinite([margin, estimate.var_seed]).all():
        return None
    # More subjects lower every part of the error but that of the seeds.
    designs = []
    for seeds in SEEDS:
        left = _target(margin) ** 2 - estimate.var_seed / seeds
        if left > 0:
            subjects = ceil((estimate.var_subject + estimate.var_residual / seeds) / left)
            designs.append((max(subjects, MIN_SUBJECTS), seeds))
    possible = [design for design in designs if design[0] <= MOST_SUBJECTS]
    return min(possible, key=lambda design: (design[0] * design[1], design[1]), default=None)


def needs(estimate: Any, margin: float) -> str:
    """What an undecided difference would need, in words; empty where no margin is fixed.

    >>> parts = {"var_subject": 0.0025, "var_seed": 0.0002, "var_residual": 0.0036}
    >>> needs(Estimate(0.01, n_seeds=3, se=0.02, **parts), 0.02)
    'about 75 subjects x 8 seeds'
    """
    if estimate.n_seeds < 2:
        return SECOND_SEED
    if not np.isfinite([margin, estimate.se, estimate.var_seed]).all():
        return ""
    if estimate.se <= _target(margin) and estimate.n_subjects >= MIN_SUBJECTS:
        return "more than this design: the value lies between 0 and the margin"
    design = needed(estimate, margin)
    if design is None:
        return f"more than {MOST_SUBJECTS:,} subjects x {SEEDS[-1]} seeds"
    subjects, seeds = design
    unit = 10 ** max(floor(log10(subjects)) - 1, 0)  # two digits: a plan is no more exact
    return f"about {ceil(subjects / unit) * unit:,} subjects x {seeds} seeds"


def judged(table: pd.DataFrame, columns: str | Sequence[str]) -> pd.DataFrame:
    """A table of estimates with p_holm (over its lines), margin, verdict and needs.

    Args:
        columns: the quantity of each line, or of all, for `margin`.
    """
    names = [columns] * len(table) if isinstance(columns, str) else list(columns)
    table = table.assign(p_holm=correct(table["p_value"]), margin=[margin(x) for x in names])
    verdicts, texts = [], []
    for line in table.itertuples():
        verdict = decide(line, line.margin, line.p_holm)
        verdicts.append(verdict.value)
        texts.append(needs(line, line.margin) if verdict is Verdict.UNDECIDED else "")
    return table.assign(verdict=verdicts, needs=texts)
