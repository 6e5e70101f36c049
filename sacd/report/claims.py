"""Ordering claims of the paper's text, from `claims.csv`, judged by paired statistics over subjects.

A claim is one or several inequalities between sides such as `ours@N1,N2,N3 - v3@N1,N2,N3`: row,
`@`, a quantity or the mean of several; or 0. A quantity is a column of the item's table or an error
such as `REM as N1`, in % of the clips of the true stage. `>` compares; `~` says that the sides
differ by less than `MARGIN`. `each` fills the names in braces: every combination is one more
inequality.

All inequalities of a claim have to hold, so each is tested at 5 % (intersection-union); that one of
them is turned round is tested at 5 % divided by their number. Intervals resample subjects, all rows
together, of means over seeds. They know nothing of training seeds: a difference within two standard
errors by the spread over seeds decides nothing (of `~`, its distance from `MARGIN`), nor does one
whose rows have a single seed each.
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

from sacd.analysis.stats import seed_noise
from sacd.metrics import ERRORS, METRICS, scores
from sacd.paper import printed as paper

HOLDS: Final = "claim holds"
FAILS: Final = "claim fails"
INCONCLUSIVE: Final = "inconclusive"
CONTRADICTS: Final = "paper contradicts itself"
MISSING: Final = "missing"

LEVEL: Final = 0.05
MARGIN: Final = 2.0
"""Points (%) within which two values count as equal."""
MIN_SUBJECTS: Final = 6
"""Subjects; with fewer not even a result that all of them share is significant at 5 % (2 / 2^5 > 0.05)."""
_DRAWS: Final = 4000

Side = list[tuple[int, str, list[str]]]
"""Sign, row and quantities (their mean) of each term."""


class Claim(NamedTuple):
    """A sentence of the paper as inequalities."""

    item: str
    """Table or figure that it is said of."""
    data: str
    """Item whose rows decide it: a confusion matrix is told by the runs of Table II."""
    where: str
    claim: str
    test: str
    each: str


class Part(NamedTuple):
    """One inequality, with the difference of its sides."""

    text: str
    printed: float
    """By the paper's numbers; NaN where they are not printed."""
    value: float
    low: float
    high: float
    state: int
    """1 holds, -1 is turned round, 0 cannot be told."""


@cache
def load() -> tuple[Claim, ...]:
    """All claims, in the paper's order."""
    with resources.files(__package__).joinpath("claims.csv").open(encoding="utf-8") as file:
        return tuple(
            Claim(*line)
            for line in pd.read_csv(file, dtype=str, keep_default_na=False).itertuples(False)
        )


def inequalities(claim: Claim) -> Iterator[tuple[str, Side, str, Side]]:
    """Text, left side, ">" or "~", right side of each inequality; one that compares a side with itself is left out.

    >>> claim = Claim("table5", "table5", "VI-A", "each loss helps", "ours@kappa > {v}@kappa", "v=v1 v2")
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
    """Every claim beside the data.

    Args:
        subjects: `tables/subjects.csv`.
        tables: tidy tables by item; they decide claims whose item has no subjects, by their own
            intervals.

    Returns:
        One row a claim: item, where, claim, paper, ours, n, verdict ("missing" where a row does not
            exist yet).
    """
    samples = {item: _Subjects(lines) for item, lines in subjects.groupby("item")}
    lines = []
    for claim in load():
        differences = (
            _Table(tables[claim.data])
            if claim.data in tables and claim.test.endswith("> 0")
            else None
        )
        source = samples.get(claim.data) or differences
        lines.append(
            {"item": claim.item, "where": claim.where, "claim": claim.claim}
            | _judged(claim, source)
        )
    return pd.DataFrame(lines)


def _judged(claim: Claim, source: "_Subjects | _Table | None") -> dict[str, str]:
    wanted = list(inequalities(claim))
    cells = {
        (row, name)
        for _, left, _, right in wanted
        for _, row, names in left + right
        for name in names
    }
    rows = {row for row, _ in cells}
    if absent := source.absent(cells) if source else sorted(rows):
        return {
            "paper": "",
            "ours": "",
            "n": f"not computed: {', '.join(absent)}",
            "verdict": MISSING,
        }
    parts = [
        Part(text, _printed(claim, *sides), *source.part(*sides, len(wanted)))
        for text, *sides in wanted
    ]
    known = [part for part in parts if np.isfinite(part.printed)]
    agree = [p for p in known if (abs(p.printed) <= MARGIN if " ~ " in p.text else p.printed > 0)]
    states = [part.state for part in parts]
    weakest = min(parts, key=lambda p: (p.state, p.low if np.isfinite(p.low) else -np.inf))
    interval = (
        f"[{weakest.low:+.3g}, {weakest.high:+.3g}]"
        if np.isfinite(weakest.low)
        else "[no interval]"
    )
    value = f"{weakest.value:+.3g}" if np.isfinite(weakest.value) else "not defined"
    printed, ours = f"{weakest.printed:+.3g}", f"{value} {interval}"
    if len(parts) > 1:
        printed = f"{len(agree)} of {len(known)} parts"
        ours = (
            f"{sum(s > 0 for s in states)} of {len(parts)} parts; weakest: {weakest.text}: {ours}"
        )
    return {
        "paper": printed if known else "",
        "ours": ours,
        "n": source.describe(rows),
        "verdict": CONTRADICTS
        if len(agree) < len(known)
        else {1: HOLDS, 0: INCONCLUSIVE, -1: FAILS}[min(states)],
    }


def _printed(claim: Claim, left: Side, relation: str, right: Side) -> float:
    """Difference of the sides by the printed numbers, without the noise of binary fractions."""
    cells = _difference(left, right)
    return round(sum(weight * _paper(claim.data, row, name) for weight, row, name in cells), 6)


def _paper(item: str, row: str, name: str) -> float:
    """A printed number; those of Fig. 5 stand under one of its panels, equal where under several."""
    names = (row, f"a: {row}", f"b: {row}", f"c: {row}")
    return next((x for x in (paper.value(item, n, name) for n in names) if np.isfinite(x)), np.nan)


def _difference(left: Side, right: Side) -> list[tuple[float, str, str]]:
    """Left minus right as weight, row and quantity of single values."""
    terms = [*left, *((-sign, row, names) for sign, row, names in right)]
    return [(sign / len(names), row, name) for sign, row, names in terms for name in names]


def _state(relation: str, value: float, noise: float, interval: NDArray, strict: NDArray) -> int:
    """1, 0 or -1 of a difference, its noise by seeds, a 95 % interval and one at the level of the reverse."""
    if not np.isfinite([value, noise, *interval, *strict]).all():
        return 0
    if relation == ">":
        return 0 if abs(value) <= noise else 1 if interval[0] > 0 else -1 if strict[1] < 0 else 0
    if max(abs(interval)) < MARGIN and abs(value) + noise < MARGIN:
        return 1
    return -1 if (strict[0] > MARGIN or strict[1] < -MARGIN) and abs(value) - noise > MARGIN else 0


class _Subjects:
    """Confusion matrices of the subjects (of Table III: groups of videos) of one item, resampled together."""

    def __init__(self, lines: pd.DataFrame) -> None:
        self._unit = "groups of videos" if (lines["item"] == "table3").all() else "subjects"
        self._lines = dict(iter(lines.groupby("row", sort=False)))
        self._names = sorted(lines["subject"].unique())
        n = len(self._names)
        draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), _DRAWS)
        self._weights = np.vstack([np.ones(n), draws])
        self._quantities: dict[str, NDArray[np.float64]] = {}
        self._seeds: dict[str, NDArray[np.float64]] = {}

    def absent(self, cells: Iterable[tuple[str, str]]) -> list[str]:
        return sorted({row for row, _ in cells} - self._lines.keys())

    def describe(self, rows: Iterable[str]) -> str:
        seeds = sorted({self._lines[row]["seed"].nunique() for row in rows})
        number = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
        return f"{len(self._names)} {self._unit}, paired; seeds a row: {number}"

    def _draws(self, row: str) -> NDArray[np.float64]:
        """All quantities, mean over seeds: of all subjects, then of each resample."""
        if row not in self._quantities:
            counts = self._lines[row].pivot(index="subject", columns="seed", values=list(ERRORS))
            counts = counts.reindex(self._names).to_numpy(
                float
            )  # NaN where a row was tested on other subjects
            pooled = (self._weights @ counts).reshape(len(self._weights), 5, 5, -1)
            pooled = np.moveaxis(pooled, -1, 1)  # (draws, seeds, true, predicted)
            with np.errstate(invalid="ignore", divide="ignore"):
                shares = (100 * pooled / pooled.sum(-1, keepdims=True)).reshape(
                    *pooled.shape[:2], -1
                )
            values = np.concatenate([scores(pooled), shares], -1)
            self._seeds[row], self._quantities[row] = values[0], values.mean(1)
        return self._quantities[row]

    def part(
        self, left: Side, relation: str, right: Side, parts: int
    ) -> tuple[float, float, float, int]:
        names = (*METRICS, *ERRORS)
        cells = _difference(left, right)
        value, *draws = sum(
            weight * self._draws(row)[:, names.index(name)] for weight, row, name in cells
        )
        draws = np.array(draws)[np.isfinite(draws)]
        if len(self._names) < MIN_SUBJECTS or not np.isfinite(value) or not len(draws):
            return float(value), np.nan, np.nan, 0
        interval, strict = (np.quantile(draws, [a / 2, 1 - a / 2]) for a in (LEVEL, LEVEL / parts))
        state = _state(relation, value, self._seed_noise(cells), interval, strict)
        return float(value), float(interval[0]), float(interval[1]), state

    def _seed_noise(self, cells: list[tuple[float, str, str]]) -> float:
        names, by_row = (*METRICS, *ERRORS), {}
        for weight, row, name in cells:
            by_row[row] = by_row.get(row, 0) + weight * self._seeds[row][:, names.index(name)]
        return float(seed_noise(*by_row.values()))


class _Table:
    """Values and intervals of a tidy table whose rows are differences or correlations already: compared with 0."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table.drop_duplicates(["row", "column"]).set_index(["row", "column"])

    def absent(self, cells: Iterable[tuple[str, str]]) -> list[str]:
        return sorted(
            f"{row}@{name}" for row, name in cells if (row, name) not in self._table.index
        )

    def describe(self, rows: Iterable[str]) -> str:
        numbers = sorted({int(n) for n in self._table.loc[list(rows), "n_subjects"].dropna()})
        return f"{' to '.join(map(str, dict.fromkeys(numbers[:1] + numbers[-1:])))} subjects, intervals of the table"

    def part(
        self, left: Side, relation: str, right: Side, parts: int
    ) -> tuple[float, float, float, int]:
        ((_, row, name),) = _difference(left, right)
        line = self._table.loc[(row, name)]
        interval = np.array([line["ci_low"], line["ci_high"]], float)
        noise = line.get(
            "seed_noise", np.nan
        )  # of a difference; of a row by itself from its own spread
        noise = 2 * line["sd"] / np.sqrt(line["n_seeds"]) if np.isnan(noise) else noise
        enough = line["n_subjects"] >= MIN_SUBJECTS
        state = _state(relation, line["value"], noise, interval, interval) if enough else 0
        return float(line["value"]), float(interval[0]), float(interval[1]), state
