"""Claims: their notation, and how they are judged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sacd.analysis import tables
from sacd.metrics import ERRORS
from sacd.paper import printed as paper
from sacd.report import claims
from sacd.report.claims import CONTRADICTS, FAILS, HOLDS, INCONCLUSIVE, MISSING, Claim


def subjects(
    rows: dict[str, np.ndarray], n: int = 12, spread: float = 0.0, seeds: int = 2
) -> pd.DataFrame:
    """Confusion matrices around the expected ones in `rows`, with noise of size `spread`."""
    generator, lines = np.random.default_rng(1), []
    for row, matrix in rows.items():
        for seed in range(seeds):
            for subject in range(n):
                counts = (
                    np.maximum(matrix + spread * generator.normal(size=(5, 5)), 0).round().ravel()
                )
                lines.append(("table2", row, seed, f"s{subject}", *counts))
    return pd.DataFrame(lines, columns=["item", "row", "seed", "subject", *ERRORS])


def right(share: float) -> np.ndarray:
    """100 clips per stage, a share of them correct, the errors spread evenly."""
    return np.full((5, 5), 25 * (1 - share)) + np.eye(5) * (100 * share - 25 * (1 - share))


def judged(monkeypatch, table, test="a@accuracy > b@accuracy", each="", tables=None, item="table2"):
    monkeypatch.setattr(claims, "load", lambda: (Claim(item, item, "VI", "a claim", test, each),))
    return claims.judge(table, tables or {}).iloc[0]


@pytest.mark.parametrize(
    ("a", "b", "spread", "verdict"),
    [(0.8, 0.6, 2.0, HOLDS), (0.6, 0.8, 2.0, FAILS), (0.70, 0.70, 8.0, INCONCLUSIVE)],
)
def test_the_data_decide(monkeypatch, a, b, spread, verdict):
    line = judged(monkeypatch, subjects({"a": right(a), "b": right(b)}, spread=spread))
    assert line.verdict == verdict and line.n == "12 subjects, paired; seeds a row: 2"
    line = judged(monkeypatch, subjects({"a": right(a), "b": right(b)}, spread=spread, seeds=1))
    assert line.verdict == INCONCLUSIVE, "the effect of another seed is unknown"


def test_few_subjects_decide_nothing(monkeypatch):
    rows = {"a": right(0.9), "b": right(0.2)}
    assert judged(monkeypatch, subjects(rows, n=5)).verdict == INCONCLUSIVE
    assert judged(monkeypatch, subjects(rows, n=6)).verdict == HOLDS


def test_a_claim_of_several_parts_needs_all_and_fails_by_one(monkeypatch):
    rows = {"a": right(0.8), "b": right(0.6), "c": right(0.9)}
    table = subjects(rows, spread=2.0)
    assert judged(monkeypatch, table, "a@accuracy > b@accuracy; a@kappa > b@kappa").verdict == HOLDS
    line = judged(monkeypatch, table, "a@accuracy > {o}@accuracy", "o=b c")
    assert line.verdict == FAILS and line.ours == "1 of 2 parts"
    assert line.weakest.startswith("a@accuracy > c@accuracy: ")


def test_errors_and_differences_of_differences(monkeypatch):
    less = right(0.8)
    less[1] = [60, 20, 10, 5, 5]
    table = subjects({"a": right(0.8), "b": less}, spread=1.0)
    assert judged(monkeypatch, table, "b@N1 as W > b@N1 as N2; b@W > b@N1").verdict == HOLDS
    assert judged(monkeypatch, table, "a@N1 - b@N1 > a@W,REM - b@W,REM").verdict == HOLDS
    assert judged(monkeypatch, table, "a@W ~ b@W").verdict == HOLDS
    assert judged(monkeypatch, table, "a@N1 ~ b@N1").verdict == FAILS


def test_pairs_matter(monkeypatch):
    """Subjects differ much more than the methods, but the methods differ alike in each subject."""
    ease = np.linspace(0.3, 0.9, 12)
    lines = pd.concat(
        subjects({"a": right(e + 0.02), "b": right(e)}, n=1).assign(subject=f"s{i}")
        for i, e in enumerate(ease)
    )
    assert judged(monkeypatch, lines).verdict == HOLDS
    shuffled = lines.copy()
    names = [f"s{(5 * i) % 12}" for i in range(12)]
    shuffled.loc[shuffled["row"] == "b", "subject"] = np.repeat(names, 2)  # of two seeds
    assert judged(monkeypatch, shuffled).verdict == INCONCLUSIVE


def test_a_difference_within_the_noise_of_seeds_decides_nothing(monkeypatch):
    """All subjects agree; only the seeds vary, by 1 or by 10 points."""
    for move, verdict in ((0.01, HOLDS), (0.10, INCONCLUSIVE)):
        seeds = [
            subjects({"a": right(0.75 + d), "b": right(0.70 - d)}, seeds=1).assign(seed=seed)
            for seed, d in enumerate((-move, 0.0, move))
        ]
        assert judged(monkeypatch, pd.concat(seeds)).verdict == verdict
        alone = pd.concat(seeds).query(
            "row == 'a' or seed == 1"
        )  # b has one seed: it is given a's variance
        assert judged(monkeypatch, alone).verdict == verdict


def test_an_equality_needs_its_distance_from_the_margin_above_the_noise_of_seeds(monkeypatch):
    """All subjects agree; a is 4 or 0 points above b, and its seeds differ by 0 or 6 points."""
    for gap, move, verdict in (
        (4, 0, FAILS),
        (4, 3, INCONCLUSIVE),
        (0, 0, HOLDS),
        (0, 3, INCONCLUSIVE),
    ):
        a = [
            subjects({"a": right((70 + gap + d) / 100)}, seeds=1).assign(seed=k)
            for k, d in enumerate((-move, move))
        ]
        line = judged(
            monkeypatch, pd.concat([*a, subjects({"b": right(0.70)})]), "a@accuracy ~ b@accuracy"
        )
        assert line.verdict == verdict, (gap, move)


def test_rows_of_other_subjects_decide_nothing(monkeypatch):
    table = pd.concat([subjects({"a": right(0.9)}), subjects({"b": right(0.2)}, n=11)])
    assert judged(monkeypatch, table).verdict == INCONCLUSIVE


def test_what_is_not_computed_is_missing(monkeypatch):
    line = judged(monkeypatch, subjects({"a": right(0.9)}))
    assert line.verdict == MISSING and line.n == "not computed: b"


def test_a_table_with_intervals_decides_where_there_are_no_subjects(monkeypatch):
    table = pd.DataFrame(
        {
            "row": ["a - b", "c"],
            "column": "accuracy",
            "value": [10.0, 50.0],
            "ci_low": [6, 47],
            "ci_high": [14, 53],
        }
        | {"n_subjects": [12, 9], "n_seeds": 3, "sd": [1.0, np.nan]}
    )

    def verdict(**changes):
        tables = {"table2": table.assign(**changes)}
        return judged(monkeypatch, pd.DataFrame({"item": []}), "a - b@accuracy > 0", tables=tables)

    assert verdict().verdict == HOLDS and verdict().n == "12 subjects, intervals of the table"
    assert verdict(value=[-10, 50], ci_low=[-14, 47], ci_high=[-6, 53]).verdict == FAILS
    assert verdict(ci_low=[-2, 47]).verdict == INCONCLUSIVE
    assert verdict(n_subjects=5).verdict == INCONCLUSIVE
    assert verdict(ci_low=np.nan, ci_high=np.nan).verdict == INCONCLUSIVE
    assert verdict(sd=9.0).verdict == INCONCLUSIVE, (
        "10 is within two standard errors, 2 x 9 / sqrt(3)"
    )
    assert verdict(sd=np.nan).verdict == INCONCLUSIVE, "one seed"
    assert (
        verdict(seed_noise=11.0).verdict == INCONCLUSIVE
        and verdict(sd=9.0, seed_noise=1.0).verdict == HOLDS
    )
    other = {"table2": table.assign(column="kappa")}
    line = judged(monkeypatch, pd.DataFrame({"item": []}), "a - b@accuracy > 0", tables=other)
    assert line.verdict == MISSING and line.n == "not computed: a - b@accuracy", (
        "the row is there, the column is not"
    )
    two_rows = judged(monkeypatch, pd.DataFrame({"item": []}), tables={"table2": table})
    assert two_rows.verdict == MISSING, "rows of a table are not paired"


def test_a_difference_has_the_interval_of_the_tables():
    """Claims and the committed `*_paired.csv` draw the same resamples."""
    folder = Path(__file__).parents[2] / "results" / "demo" / "tables"
    lines = pd.read_csv(folder / "subjects.csv")
    for item in ("table2", "table3", "fig5"):
        source = claims._Subjects(lines[lines["item"] == item])
        for line in tables.read(folder / f"{item}_paired.csv").itertuples():
            a, b = line.row.split(" - ")
            sides = [(1, a, [line.column])], ">", [(1, b, [line.column])]
            estimate, _ = source.part(*sides, parts=1)
            ours = [float(f"{number:.6g}") for number in estimate[:3]]
            assert ours == [line.value, line.ci_low, line.ci_high], line.row


def test_every_claim_that_a_table_decides_finds_its_row_there():
    folder = Path(__file__).parents[2] / "results" / "demo" / "tables"
    decided = [claim for claim in claims.load() if claim.test.endswith("> 0")]
    for claim in decided:
        table = tables.read(folder / f"{claim.data}.csv").set_index(["row", "column"])
        cells = [
            (row, n)
            for _, left, *_ in claims.inequalities(claim)
            for _, row, names in left
            for n in names
        ]
        assert cells and not [cell for cell in cells if cell not in table.index], claim.claim
    assert len(decided) > 8


def test_table_3_is_paired_over_groups_of_videos(monkeypatch):
    line = judged(
        monkeypatch,
        subjects({"a": right(0.9), "b": right(0.2)}).assign(item="table3"),
        item="table3",
    )
    assert line.verdict == HOLDS and "groups of videos, paired" in line.n


def test_a_claim_that_the_printed_numbers_refute(monkeypatch):
    rows = {"AttnSleep/FitNet": right(0.9), "AttnSleep/SACD": right(0.5)}
    line = judged(
        monkeypatch, subjects(rows), "AttnSleep/FitNet@accuracy > AttnSleep/SACD@accuracy"
    )
    assert line.verdict == CONTRADICTS and line.paper == "-8.3"


def test_every_claim_names_what_the_paper_prints():
    """The printed tables support all claims but one, so none is written the wrong way round."""
    for claim in claims.load():
        for text, left, relation, right in claims.inequalities(claim):
            cells = [(row, name) for _, row, names in left + right for name in names]
            printed = claims._printed(claim, left, relation, right)
            if claim.data.startswith("fig") or any(name in ERRORS for _, name in cells):
                continue
            assert np.isfinite(printed), (claim.claim, text)
            if claim.claim == "CRD and CCL are the strongest rivals" and "IFD@kappa" in text:
                assert printed < 0, "Table II gives IFD the larger kappa"
                continue
            assert abs(printed) <= claims.MARGIN if relation == "~" else printed > 0, (
                claim.claim,
                text,
                printed,
            )
    rows = {
        row
        for claim in claims.load()
        for _, *sides in claims.inequalities(claim)
        for row in _rows(sides)
    }
    assert {"0.5/10/10", "v4", "AttnSleep (EEG)", "SACD"} <= rows
    assert {row[3:] for row in paper.table("fig5").index.drop("b: 0.5/1/1 - 1/1/1")} <= rows
    fig5 = [claim for claim in claims.load() if claim.data == "fig5"]
    printed = [[claims._printed(c, *sides) for _, *sides in claims.inequalities(c)] for c in fig5]
    refuted = [c.claim for c, values in zip(fig5, printed, strict=True) if np.nanmin(values) < 0]
    assert refuted == [
        "lambda1 = 0.5: (0.5, 1) is the worst",
        "lambda3 = 1: (0.5, 0.1) is the worst",
    ]


def _rows(sides):
    return [row for side in (sides[0], sides[2]) for _, row, _ in side]
