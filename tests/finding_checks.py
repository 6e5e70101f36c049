"""What a finding of `audit.csv` has to say, and the comparison with what it says."""

from typing import NamedTuple

import pytest

from sacd.paper import audit
from sacd.paper import printed as paper

NAN = float("nan")
FINDINGS = audit.findings().set_index("finding")


class Check(NamedTuple):
    """A finding recomputed from the printed numbers."""

    value: float
    paper_value: float
    holds: bool | None
    """Whether the claim agrees with the numbers; None where arithmetic alone does not decide."""
    quotes: tuple[str, ...]
    """Numbers that the sentences have to quote."""


def check(value=NAN, paper_value=NAN, holds=None, *quotes):
    return Check(float(value), float(paper_value), holds, tuple(map(str, quotes)))


def count(row, column="clips"):
    """A number of clips or subjects that the paper prints."""
    return paper.value("dataset", row, column)


def assert_finding(name, expected):
    """The row of `audit.csv` has the recomputed numbers in its columns and sentences."""
    line = FINDINGS.loc[name]
    assert [line["value"], line["paper_value"]] == pytest.approx(
        [expected.value, expected.paper_value], rel=1e-5, nan_ok=True
    )
    sentences = " | ".join(line[["claim", "computation", "result"]])
    assert [quote for quote in expected.quotes if quote not in sentences] == []
    if expected.holds is not None:
        assert (line["verdict"] == audit.CONSISTENT) == expected.holds


def findings_of(topics):
    return set(FINDINGS.index[FINDINGS["topic"].isin(topics)])
