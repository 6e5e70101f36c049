"""Judges the ordering claims of the paper's text (`claims.csv`) by paired statistics over subjects.

A claim is one or several inequalities between sides such as `ours@N1,N2,N3 - v3@N1,N2,N3`. A term
is a row, `@`, and a quantity or several to average; a side may also be 0. A quantity is a column of
the item's table, or an error such as `REM as N1` in % of the clips of the true stage. `>` compares
two sides; `~` says that they differ by less than `MARGIN`. `each` fills the names in braces, and
every combination is a further inequality.

A claim holds if all of its inequalities hold, so each is tested at 5 % (intersection-union test).
It fails if any inequality is reversed, which is tested at 5 % divided by their number. Intervals
resample the subjects of all rows together, for means over training seeds; they are those of the
tables (`sacd.analysis.bootstrap`). Intervals do not cover the variation between training seeds. A
difference within two standard errors over seeds is therefore inconclusive (for `~`: its distance
from `MARGIN`), and so is a difference between rows of a single seed each.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from itertools import product
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sacd.analysis import bootstrap
from sacd.analysis.bootstrap import Estimate, direction
from sacd.metrics import ERRORS, METRICS, scores
from sacd.paper import printed as paper

HOLDS: Final = "claim holds"
FAILS: Final = "claim fails"
INCONCLUSIVE: Final = bootstrap.INCONCLUSIVE
CONTRADICTS: Final = "paper contradicts itself"
MISSING: Final = "missing"

MARGIN: Final = 2.0
"""Percentage points within which two values count as equal."""
MIN_SUBJECTS: Final = 6
"""With fewer subjects, even a unanimous result is not significant at 5 % (2 / 2^5 > 0.05)."""

_QUANTITIES: Final = (*METRICS, *ERRORS)

Side = list[tuple[int, str, list[str]]]
"""Sign, row and quantities (to be averaged) of each term."""


class Claim(NamedTuple):
    """A sentence of the paper as inequalities."""

    item: str
    """Table or figure that the sentence is about."""
    data: str
    """Item whose rows decide the claim; claims about Fig. 6 use the runs of Table II."""
    where: str
    claim: str
    test: str
    each: str


class Part(NamedTuple):
    """One inequality, with the difference of its sides."""

    text: str
    printed: float
    """By the paper's numbers; NaN where they are not printed."""
    estimate: Estimate
    state: int
    """1: holds; -1: reversed; 0: undecided."""


@cache
def load() -> tuple[Claim, ...]:
    """All claims, in the paper's order."""
    with resources.files(__package__).joinpath("claims.csv").open(encoding="utf-8") as file:
        return tuple(
            Claim(*line)
            for line in pd.read_csv(file, dtype=str, keep_default_na=False).itertuples(False)
        )


def inequalities(claim: Claim) -> Iterator[tuple[str, Side, str, Side]]:
    """Text, left side, ">" or "~", and right side of each inequality.

    An inequality that compares a side with itself is left out.

    >>> test = "ours@kappa > {v}@kappa"
    >>> claim = Claim("table5", "table5", "VI-A", "each loss helps", test, "v=v1 v2")
    >>> [text for text, *_ in inequalities(claim)]
    ['ours@kappa > v1@kappa', 'ours@kappa > v2@kappa']
    """
    names = dict(pair.split("=") for pair in claim.each.split("; ")) if claim.each else {}
    choices = product(*(words.split() for words in names.values()))
    filled = [claim.test.format(**dict(zip(names, values, strict=True))) for values in choices]
    for text in dict.fromkeys(text for test in filled for text in test.split("; ")):
        left, relation, right = re.split(r" ([>~]) ", text)
        if left != right:
            yield text, _side(left), relation, _side(right)


def _side(text: str) -> Side:
    terms = re.findall(r"(.+?)@(.+?)(?: - (?=.*@)|$)", text)
    return [
        (-1 if number else 1, row, names.split(",")) for number, (row, names) in enumerate(terms)
    ]


def judge(subjects: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Judge every claim by our data.

    Args:
        subjects: `tables/subjects.csv`.
        tables: tidy tables by item; they decide claims about items without subjects, by the
            intervals of the table.

    Returns:
        One row per claim: item, where, claim, paper, ours, weakest (part, of a claim of several),
        n, verdict ("missing" where a row does not exist yet).
    """
    samples = {item: _Subjects(lines) for item, lines in subjects.groupby("item")}
    lines = []
    for claim in load():
        source = samples.get(claim.data)
        if source is None and claim.data in tables and claim.test.endswith("> 0"):
            source = _Table(tables[claim.data])
        line = {"item": claim.item, "where": claim.where, "claim": claim.claim}
        lines.append(line | _judged(claim, source))
    return pd.DataFrame(lines)


def _judged(claim: Claim, source: "_Subjects | _Table | None") -> dict[str, str]:
    """Columns paper, ours, weakest, n and verdict of a claim."""
    wanted = list(inequalities(claim))
    terms = [term for _, left, _, right in wanted for term in left + right]
    cells = {(row, name) for _, row, names in terms for name in names}
    rows = {row for row, _ in cells}
    if absent := source.absent(cells) if source else sorted(rows):
        missing = f"not computed: {', '.join(absent)}"
        return {"paper": "", "ours": "", "weakest": "", "n": missing, "verdict": MISSING}
    parts = []
    for text, *sides in wanted:
        estimate, state = source.part(*sides, len(wanted))
        parts.append(Part(text, _printed(claim, *sides), estimate, state))
    known = [part for part in parts if np.isfinite(part.printed)]
    agree = [part for part in known if _agrees(part)]
    state = min(part.state for part in parts)
    judgement = bootstrap.verdict(state, HOLDS, FAILS)
    weakest = min(parts, key=_strength)
    printed, ours, detail = f"{weakest.printed:+.3g}", _as_text(weakest.estimate), ""
    if len(parts) > 1:
        holding = sum(part.state > 0 for part in parts)
        printed = f"{len(agree)} of {len(known)} parts"
        detail = f"{weakest.text}: {ours}"
        ours = f"{holding} of {len(parts)} parts"
    return {
        "paper": printed if known else "",
        "ours": ours,
        "weakest": detail,
        "n": source.describe(rows),
        "verdict": CONTRADICTS if len(agree) < len(known) else judgement,
    }


def _agrees(part: Part) -> bool:
    """Whether the printed numbers satisfy an inequality."""
    return abs(part.printed) <= MARGIN if " ~ " in part.text else part.printed > 0


def _strength(part: Part) -> tuple[int, float]:
    """Sort key: state, then lower bound; no interval counts as the weakest."""
    low = part.estimate.ci_low
    return part.state, low if np.isfinite(low) else -np.inf


def _as_text(estimate: Estimate) -> str:
    value = f"{estimate.value:+.3g}" if np.isfinite(estimate.value) else "not defined"
    if not np.isfinite(estimate.ci_low):
        return f"{value} [no interval]"
    return f"{value} [{estimate.ci_low:+.3g}, {estimate.ci_high:+.3g}]"


def _printed(claim: Claim, left: Side, relation: str, right: Side) -> float:
    """Difference of the sides by the printed numbers, rounded: 0.3 - 0.1 - 0.2 has to be 0."""
    cells = _difference(left, right)
    return round(sum(weight * _paper(claim.data, row, name) for weight, row, name in cells), 6)


def _paper(item: str, row: str, name: str) -> float:
    """A printed number, or NaN.

    The rows of Fig. 5 are listed by panel; a point in several panels has one value.
    """
    names = (row, f"a: {row}", f"b: {row}", f"c: {row}")
    return next((x for x in (paper.value(item, n, name) for n in names) if np.isfinite(x)), np.nan)


def _difference(left: Side, right: Side) -> list[tuple[float, str, str]]:
    """Left minus right as weight, row and quantity of single values."""
    terms = [*left, *((-sign, row, names) for sign, row, names in right)]
    return [(sign / len(names), row, name) for sign, row, names in terms for name in names]


def _state(relation: str, estimate: Estimate, noise: float, strict: Estimate) -> int:
    """1, 0 or -1: whether an inequality holds, is undecided, or is reversed.

    `~` holds if the difference is below `MARGIN` and above `-MARGIN` (two one-sided tests). It is
    reversed if the difference is decidedly beyond one of them.

    Args:
        estimate: difference of the sides, with its 95 % interval.
        noise: of the training seeds.
        strict: the same difference with the interval that decides a reversal.
    """
    if relation == ">":
        if _beside(estimate, noise, 0) > 0:
            return 1
        return min(_beside(strict, noise, 0), 0)
    if _beside(estimate, noise, -MARGIN) > 0 and _beside(estimate, noise, MARGIN) < 0:
        return 1
    beyond = _beside(strict, noise, MARGIN) > 0 or _beside(strict, noise, -MARGIN) < 0
    return -1 if beyond else 0


def _beside(estimate: Estimate, noise: float, level: float) -> int:
    """`direction` of a difference from a level other than 0."""
    value, low, high = (x - level for x in estimate[:3])
    return direction(value, low, high, noise)


class _Subjects:
    """Confusion matrices of the subjects of one item, resampled together.

    The unit of Table III is the group of videos instead of the subject.
    """

    def __init__(self, lines: pd.DataFrame) -> None:
        self._unit = "groups of videos" if (lines["item"] == "table3").all() else "subjects"
        self._lines = dict(iter(lines.groupby("row", sort=False)))
        # In the order of `metrics.subject_confusions`, so that the tables draw the same resamples.
        self._subjects = sorted(lines["subject"].unique())
        n = len(self._subjects)
        self._weights = np.vstack([np.ones(n), bootstrap.resample_weights(n)])
        self._quantities: dict[str, NDArray[np.float64]] = {}
        self._seeds: dict[str, NDArray[np.float64]] = {}

    def absent(self, cells: Iterable[tuple[str, str]]) -> list[str]:
        return sorted({row for row, _ in cells} - self._lines.keys())

    def describe(self, rows: Iterable[str]) -> str:
        seeds = {self._lines[row]["seed"].nunique() for row in rows}
        return f"{len(self._subjects)} {self._unit}, paired; seeds a row: {_range(seeds)}"

    def _draws(self, row: str) -> NDArray[np.float64]:
        """All quantities, averaged over seeds: of all subjects first, then of each resample."""
        if row not in self._quantities:
            counts = self._lines[row].pivot(index="subject", columns="seed", values=list(ERRORS))
            # A row tested on other subjects gets NaN here, which makes its claims inconclusive.
            counts = counts.reindex(self._subjects).to_numpy(float)
            pooled = (self._weights @ counts).reshape(len(self._weights), 5, 5, -1)
            pooled = np.moveaxis(pooled, -1, 1)  # (draws, seeds, true, predicted)
            with np.errstate(invalid="ignore", divide="ignore"):
                shares = 100 * pooled / pooled.sum(-1, keepdims=True)
            shares = shares.reshape(*pooled.shape[:2], -1)
            values = np.concatenate([scores(pooled), shares], -1)
            self._seeds[row], self._quantities[row] = values[0], values.mean(1)
        return self._quantities[row]

    def part(self, left: Side, relation: str, right: Side, parts: int) -> tuple[Estimate, int]:
        """Difference of two sides, and whether it holds as one of several parts of a claim."""
        cells = _difference(left, right)
        value, *draws = sum(
            weight * self._draws(row)[:, _QUANTITIES.index(name)] for weight, row, name in cells
        )
        n = len(self._subjects)
        if n < MIN_SUBJECTS or not np.isfinite(value):
            return Estimate(float(value), n_subjects=n), 0
        draws = np.array(draws)
        estimate = Estimate(float(value), *map(float, bootstrap.percentiles(draws)), n_subjects=n)
        strict = Estimate(float(value), *bootstrap.percentiles(draws, 1 - bootstrap.ALPHA / parts))
        return estimate, _state(relation, estimate, self._seed_noise(cells), strict)

    def _seed_noise(self, cells: list[tuple[float, str, str]]) -> float:
        by_row: dict[str, NDArray[np.float64]] = {}
        for weight, row, name in cells:
            values = weight * self._seeds[row][:, _QUANTITIES.index(name)]
            by_row[row] = by_row.get(row, 0) + values
        return float(bootstrap.seed_noise(*by_row.values()))


class _Table:
    """A tidy table whose rows are already differences or correlations, to be compared with 0."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table.drop_duplicates(["row", "column"]).set_index(["row", "column"])

    def absent(self, cells: Iterable[tuple[str, str]]) -> list[str]:
        unknown = [cell for cell in cells if cell not in self._table.index]
        return sorted(f"{row}@{name}" for row, name in unknown)

    def describe(self, rows: Iterable[str]) -> str:
        numbers = {int(n) for n in self._table.loc[list(rows), "n_subjects"].dropna()}
        return f"{_range(numbers)} subjects, intervals of the table"

    def part(self, left: Side, relation: str, right: Side, parts: int) -> tuple[Estimate, int]:
        """A difference of the table, and its state; the table has one interval for any `parts`."""
        ((_, row, name),) = _difference(left, right)
        line = self._table.loc[(row, name)]
        if np.isnan(line.get("seed_noise", np.nan)):  # a row by itself has its own spread only
            line = line.drop("seed_noise", errors="ignore")
        numbers = [float(line[column]) for column in ("value", "ci_low", "ci_high")]
        n = line["n_subjects"]
        estimate = Estimate(*numbers, n_subjects=n)
        state = (
            _state(relation, estimate, bootstrap.noise_of(line), estimate)
            if n >= MIN_SUBJECTS
            else 0
        )
        return estimate, state


def _range(numbers: Iterable[int]) -> str:
    """The smallest and the largest of some counts.

    >>> _range([3, 1, 2]), _range([3, 3])
    ('1 to 3', '3')
    """
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"
