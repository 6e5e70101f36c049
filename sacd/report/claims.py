"""Judges the ordering claims of the paper's text (`claims.csv`) by the crossed test of the tables.

A claim is one or several inequalities between sides such as `ours@N1,N2,N3 - v3@N1,N2,N3`. A term
is a row, `@`, and a quantity or several to average; a side may also be 0. A quantity is a column of
the item's table, or an error such as `REM as N1` in % of the clips of the true stage. `>` compares
two sides; `~` says that they differ by less than `MARGIN`. `each` fills the names in braces, and
every combination is a further inequality.

Each inequality is for the claim, against it, equal (the difference lies within the margin of its
quantity), or undecided. A claim holds if all are for it, so each is tested at 5 %
(intersection-union test). It fails if any is against it, which is tested at 5 % divided by their
number. Intervals and tests are those of the tables (`sacd.analysis.crossed`): training seeds
crossed with subjects, in the seeds that all rows of an inequality have. A row of one seed decides
nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from sacd.analysis import crossed
from sacd.analysis.crossed import Estimate, Verdict, decide
from sacd.paper import printed as paper
from sacd.report.evidence import Cells, Subjects, Table

HOLDS: Final = "holds"
FAILS: Final = "fails"
EQUAL: Final = "equal within the margin"
UNDECIDED: Final = "undecided"
CONTRADICTS: Final = "paper contradicts itself"
MISSING: Final = "missing"

MARGIN: Final = 2.0
"""Percentage points within which `~` calls two values alike, as the claims say; wider than
`crossed.POINTS`."""

_JUDGED: Final = ("paper", "ours", "parts", "weakest", "n", "needs", "verdict")
"""Columns that judging adds to a claim."""

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


class State(StrEnum):
    """How an inequality stands."""

    FOR = "for"
    AGAINST = "against"
    EQUAL = "equal"
    UNDECIDED = "undecided"


_WEAKEST_FIRST: Final = [State.AGAINST, State.UNDECIDED, State.EQUAL, State.FOR]


class Part(NamedTuple):
    """One inequality, with the difference of its sides."""

    said: str
    """In words, such as "accuracy: SACD > CCL"."""
    relation: str
    printed: float
    """By the paper's numbers; NaN where they are not printed."""
    estimate: Estimate
    margin: float
    """Below which the sides count as equal; NaN where none is fixed."""
    state: State
    points: bool
    """Whether the sides are percentages, so that they differ by points."""

    def as_text(self, value: float) -> str:
        """A difference with its sign; the digits depend on the quantity alone, so columns align."""
        return f"{value:+z.2f}" if self.points else f"{value:+z.3f}"


@cache
def load() -> tuple[Claim, ...]:
    """All claims, in the paper's order."""
    path = Path(__file__).with_name("claims.csv")
    lines = pd.read_csv(path, dtype=str, keep_default_na=False)
    return tuple(Claim(*line) for line in lines.itertuples(index=False))


def inequalities(claim: Claim) -> Iterator[tuple[str, Side, str, Side]]:
    """Text, left side, ">" or "~", and right side of each inequality.

    An inequality that compares a side with itself is left out.

    >>> test = "ours@kappa > {v}@kappa"
    >>> claim = Claim("table5", "table5", "VI-A", "each loss helps", test, "v=v1 v2")
    >>> [text for text, *_ in inequalities(claim)]
    ['ours@kappa > v1@kappa', 'ours@kappa > v2@kappa']
    """
    names = dict(pair.split("=") for pair in claim.each.split("; ")) if claim.each else {}
    texts = []
    for values in product(*(words.split() for words in names.values())):
        texts += claim.test.format(**dict(zip(names, values, strict=True))).split("; ")
    # One without a brace is the same in every combination, and counts once.
    for text in dict.fromkeys(texts):
        left, relation, right = re.split(r" ([>~]) ", text)
        if left != right:
            yield text, _side(left), relation, _side(right)


def _side(text: str) -> Side:
    """Terms of one side; the first counts positive, all others are subtracted.

    Names of rows contain " - " too ("SACD - CCL"), so only one with an "@" behind it separates
    terms. A side that is 0 has no terms.
    """
    terms = re.findall(r"(.+?)@(.+?)(?: - (?=.*@)|$)", text)
    signs = [1] + [-1] * (len(terms) - 1)
    return [(sign, row, names.split(",")) for sign, (row, names) in zip(signs, terms, strict=False)]


def _in_words(left: Side, relation: str, right: Side) -> str:
    """An inequality for readers; a quantity that all terms share stands in front.

    >>> _in_words([(1, "SACD", ["macro_f1"])], ">", [(1, "CCL", ["macro_f1"])])
    'macro-F1: SACD > CCL'
    >>> _in_words([(1, "ours", ["N1", "N2"]), (-1, "v3", ["N1", "N2"])], "~", [(1, "v3", ["W"])])
    'ours (N1, N2) - v3 (N1, N2) ~ v3 (W)'
    """
    quantities = {", ".join(names) for _, _, names in [*left, *right]}
    shared = quantities.pop() if len(quantities) == 1 else ""
    texts = []
    for side in (left, right):
        terms = [row if shared else f"{row} ({', '.join(names)})" for _, row, names in side]
        texts.append(" - ".join(terms) or "0")
    text = f"{texts[0]} {relation} {texts[1]}"
    return (f"{shared}: {text}" if shared else text).replace("macro_f1", "macro-F1")


def judge(subjects: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Judge every claim by our data.

    Args:
        subjects: `tables/subjects.csv`.
        tables: tidy tables by item; they decide claims about items without subjects, by the
            intervals of the table.

    Returns:
        One row per claim: item, where, claim, paper and ours (the number; of several parts, how
        many have the claimed sign), parts (how many are in which state), weakest (part, of a claim
        of several), n, needs (of an undecided claim, what its worst part would need), verdict
        ("missing" where a row does not exist yet).
    """
    samples = {item: Subjects(lines) for item, lines in subjects.groupby("item")}
    lines = []
    for claim in load():
        source = samples.get(claim.data)
        if source is None and claim.data in tables and claim.test.endswith("> 0"):
            source = Table(tables[claim.data])
        line = {"item": claim.item, "where": claim.where, "claim": claim.claim}
        lines.append(line | _judged(claim, source))
    return pd.DataFrame(lines)


def _judged(claim: Claim, source: Subjects | Table | None) -> dict[str, str]:
    """Columns paper to verdict of a claim."""
    wanted = list(inequalities(claim))
    terms = [term for _, left, _, right in wanted for term in left + right]
    cells = {(row, name) for _, row, names in terms for name in names}
    rows = {row for row, _ in cells}
    if absent := source.absent(cells) if source else sorted(rows):
        missing = f"not computed: {', '.join(absent)}"
        return dict.fromkeys(_JUDGED, "") | {"n": missing, "verdict": MISSING}
    parts = []
    for _, left, relation, right in wanted:
        difference = _difference(left, right)
        estimate = source.estimate(difference)
        margin = MARGIN if relation == "~" else crossed.margin(difference[0][2])
        state = _state(relation, estimate, margin, len(wanted))
        said = _in_words(left, relation, right)
        printed = _printed(claim, left, right)
        points = crossed.margin(difference[0][2]) == crossed.POINTS
        parts.append(Part(said, relation, printed, estimate, margin, state, points))
    known = [part for part in parts if np.isfinite(part.printed)]
    agree = sum(_agrees(part, part.printed) for part in known)
    weakest = min(parts, key=_strength)
    printed, ours, detail = f"{weakest.printed:+.3g}", _as_text(weakest), ""
    if len(parts) > 1:
        detail = f"{weakest.said}: {ours}"
        printed = f"same direction {agree}/{len(known)}"
        same = sum(_agrees(part, part.estimate.value) for part in parts)
        ours = f"same direction {same}/{len(parts)}"
    states = [part.state for part in parts]
    judgement = _verdict(states)
    return {
        "paper": printed if known else "",
        "ours": ours,
        "parts": ", ".join(f"{state} {states.count(state)}" for state in State),
        "weakest": detail,
        "n": source.describe(rows),
        "needs": _needs(parts) if judgement == UNDECIDED else "",
        # A claim that the paper's own numbers deny is not held against our data.
        "verdict": CONTRADICTS if agree < len(known) else judgement,
    }


def _verdict(states: Sequence[State]) -> str:
    """Verdict of a claim from the states of its parts."""
    if State.AGAINST in states:
        return FAILS  # one part is enough, whatever else is undecided
    if State.UNDECIDED in states:
        return UNDECIDED
    return EQUAL if State.EQUAL in states else HOLDS


def _needs(parts: Sequence[Part]) -> str:
    """What the undecided part that needs most would need, see `crossed.needs`."""
    worst, most = "", -1.0
    for part in parts:
        if part.state is not State.UNDECIDED:
            continue
        if part.estimate.n_seeds < 2:
            return crossed.SECOND_SEED
        design = crossed.needed(part.estimate, part.margin)
        size = np.inf if design is None else design[0] * design[1]
        text = crossed.needs(part.estimate, part.margin)
        if text and size > most:
            worst, most = text, size
    return worst


def _agrees(part: Part, value: float) -> bool:
    """Whether a value of the difference, printed or ours, has the sign of the inequality."""
    return abs(value) <= MARGIN if part.relation == "~" else value > 0


def _strength(part: Part) -> tuple[int, float]:
    """Sort key: state, then lower bound; no interval counts as the weakest."""
    low = part.estimate.ci_low
    return _WEAKEST_FIRST.index(part.state), low if np.isfinite(low) else -np.inf


def _as_text(part: Part) -> str:
    """The difference of a part with its interval and unit."""
    estimate = part.estimate
    value = part.as_text(estimate.value) if np.isfinite(estimate.value) else "not defined"
    if not np.isfinite(estimate.ci_low):
        return f"{value} [no interval]"
    unit = " points" if part.points else ""
    return f"{value} [{part.as_text(estimate.ci_low)}, {part.as_text(estimate.ci_high)}]{unit}"


def _printed(claim: Claim, left: Side, right: Side) -> float:
    """Difference of the sides by the printed numbers; NaN where one is not printed."""
    cells = _difference(left, right)
    total = sum(weight * _paper(claim.data, row, name) for weight, row, name in cells)
    return round(total, 6)  # 0.3 - 0.1 - 0.2 has to be 0


def _paper(item: str, row: str, name: str) -> float:
    """A printed number, or NaN.

    The rows of Fig. 5 are listed by panel; a point in several panels has one value.
    """
    for listed in (row, f"a: {row}", f"b: {row}", f"c: {row}"):
        value = paper.value(item, listed, name)
        if np.isfinite(value):
            return value
    return np.nan


def _difference(left: Side, right: Side) -> Cells:
    """Left minus right as weight, row and quantity of single values."""
    terms = [*left, *((-sign, row, names) for sign, row, names in right)]
    return [(sign / len(names), row, name) for sign, row, names in terms for name in names]


def _state(relation: str, estimate: Estimate, margin: float, parts: int) -> State:
    """How an inequality stands, as one of several parts of a claim.

    `~` is for the claim if the difference is above `-margin` and below `margin` (two one-sided
    tests), and against it if it is decidedly beyond one of them.
    """
    bonferroni = estimate.p_value * parts
    if relation == "~":
        if crossed.within(estimate, margin):
            return State.FOR
        above, below = (crossed.shifted(estimate, level) for level in (margin, -margin))
        # At a margin of NaN nothing is equal, so that only the interval and the test decide.
        beyond = decide(above, np.nan, above.p_value * parts) is Verdict.BETTER
        beyond |= decide(below, np.nan, below.p_value * parts) is Verdict.WORSE
        return State.AGAINST if beyond else State.UNDECIDED
    if decide(estimate, np.nan) is Verdict.BETTER:
        return State.FOR
    if decide(estimate, np.nan, bonferroni) is Verdict.WORSE:
        return State.AGAINST
    return State.EQUAL if crossed.within(estimate, margin) else State.UNDECIDED
