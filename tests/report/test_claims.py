"""Claims: their notation, and how they are judged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sacd.analysis import stats, tables
from sacd.metrics import ERRORS, subject_confusions
from sacd.paper import printed as paper
from sacd.report import claims
from sacd.report.claims import CONTRADICTS, EQUAL, FAILS, HOLDS, MISSING, UNDECIDED, Claim


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
    [(0.8, 0.6, 2.0, HOLDS), (0.6, 0.8, 2.0, FAILS), (0.70, 0.70, 8.0, UNDECIDED)],
)
def test_the_data_decide(monkeypatch, a, b, spread, verdict):
    line = judged(monkeypatch, subjects({"a": right(a), "b": right(b)}, spread=spread))
    assert line.verdict == verdict and line.n == "12 subjects, paired; seeds per row: 2"
    line = judged(monkeypatch, subjects({"a": right(a), "b": right(b)}, spread=spread, seeds=1))
    assert line.verdict == UNDECIDED and line.needs == "a second seed"
    assert line.parts == "for 0, against 0, equal 0, undecided 1"


def test_few_subjects_decide_nothing(monkeypatch):
    rows = {"a": right(0.9), "b": right(0.2)}
    assert judged(monkeypatch, subjects(rows, n=5)).verdict == UNDECIDED
    assert judged(monkeypatch, subjects(rows, n=6)).verdict == HOLDS


def test_a_claim_of_several_parts_needs_all_and_fails_by_one(monkeypatch):
    rows = {"a": right(0.8), "b": right(0.6), "c": right(0.9)}
    table = subjects(rows, spread=2.0)
    assert judged(monkeypatch, table, "a@accuracy > b@accuracy; a@kappa > b@kappa").verdict == HOLDS
    line = judged(monkeypatch, table, "a@accuracy > {o}@accuracy", "o=b c")
    assert line.verdict == FAILS and line.ours == "same direction 1/2"
    assert line.parts == "for 1, against 1, equal 0, undecided 0" and line.needs == ""
    assert line.weakest.startswith("accuracy: a > c: ")


def test_a_claim_whose_undecided_parts_are_none_may_be_equal(monkeypatch):
    rows = {"a": right(0.8), "b": right(0.6), "c": right(0.8)}
    table = subjects(rows, n=40, spread=0.5, seeds=4)
    line = judged(monkeypatch, table, "a@accuracy > {o}@accuracy", "o=b c")
    assert line.verdict == EQUAL and line.parts == "for 1, against 0, equal 1, undecided 0"
    assert line.weakest.startswith("accuracy: a > c: ") and line.needs == ""


def test_an_undecided_claim_says_what_its_neediest_part_needs(monkeypatch):
    rows = {"a": right(0.6), "b": right(0.6), "c": right(0.6)}
    calm, wild = (subjects(rows, spread=spread, seeds=6) for spread in (4.0, 12.0))
    table = pd.concat([calm[calm["row"] != "c"], wild[wild["row"] == "c"]])
    both = judged(monkeypatch, table, "a@N1 > {o}@N1", "o=b c")
    b, c = (judged(monkeypatch, table, f"a@N1 > {o}@N1") for o in "bc")
    assert both.verdict == b.verdict == c.verdict == UNDECIDED
    assert both.needs == c.needs != b.needs and " subjects x " in both.needs


def test_a_reversal_is_corrected_for_the_number_of_parts_and_a_lead_is_not(monkeypatch):
    table = subjects({"a": right(0.70), "b": right(0.66)}, spread=3.0, seeds=3)
    more, less = "a@accuracy > b@accuracy", "b@accuracy > a@accuracy"
    lines = [(text, *claims.inequalities(Claim("", "", "", "", text, ""))) for text in (more, less)]
    for text, (_, left, relation, right_) in lines:
        estimate = claims.Subjects(table).estimate(claims._difference(left, right_))
        parts = int(0.05 / estimate.p_value) + 1  # just enough that p times parts is above 5 %
        wanted = "for" if text == more else "against"
        assert claims._state(relation, estimate, 1.0, 1) == wanted
        kept = claims._state(relation, estimate, 1.0, parts)
        assert kept == (wanted if text == more else "undecided")


def test_errors_and_differences_of_differences(monkeypatch):
    less = right(0.8)
    less[1] = [60, 20, 10, 5, 5]
    table = subjects({"a": right(0.8), "b": less}, spread=1.0, seeds=4)
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
    assert judged(monkeypatch, shuffled).verdict == UNDECIDED


def test_seeds_that_differ_decide_nothing(monkeypatch):
    """All subjects agree; only the seeds vary, by 1 or by 10 points."""
    for move, verdict in ((0.01, HOLDS), (0.10, UNDECIDED)):
        seeds = [
            subjects({"a": right(0.75 + d), "b": right(0.70 - d)}, seeds=1).assign(seed=seed)
            for seed, d in enumerate((-move, 0.0, move))
        ]
        line = judged(monkeypatch, pd.concat(seeds))
        assert line.verdict == verdict
        alone = pd.concat(seeds).query("row == 'a' or seed == 1")
        assert judged(monkeypatch, alone).needs == "a second seed", "one seed is shared"


def test_an_equality_is_judged_at_its_own_margin(monkeypatch):
    """All subjects agree; a is 4 or 0 points above b, and its seeds differ by 0 or 6 points."""
    for gap, move, verdict in ((4, 0, FAILS), (4, 3, UNDECIDED), (0, 0, HOLDS), (0, 3, UNDECIDED)):
        a = [
            subjects({"a": right((70 + gap + d) / 100)}, seeds=1).assign(seed=k)
            for k, d in enumerate((-move, move))
        ]
        line = judged(
            monkeypatch, pd.concat([*a, subjects({"b": right(0.70)})]), "a@accuracy ~ b@accuracy"
        )
        assert line.verdict == verdict, (gap, move)
        assert bool(line.needs) == (verdict == UNDECIDED)


def test_rows_of_other_subjects_decide_nothing(monkeypatch):
    table = pd.concat([subjects({"a": right(0.9)}), subjects({"b": right(0.2)}, n=11)])
    assert judged(monkeypatch, table).verdict == UNDECIDED


def test_what_is_not_computed_is_missing(monkeypatch):
    line = judged(monkeypatch, subjects({"a": right(0.9)}))
    assert line.verdict == MISSING and line.n == "not computed: b"


def test_a_table_with_intervals_decides_where_there_are_no_subjects(monkeypatch):
    table = pd.DataFrame({"row": ["a - b", "c"], "column": "accuracy", "value": [10.0, 50.0]})
    table = table.assign(ci_low=[6, 47], ci_high=[14, 53], n_subjects=[12, 9], n_seeds=3)

    def verdict(**changes):
        tables = {"table2": table.assign(**changes)}
        return judged(monkeypatch, pd.DataFrame({"item": []}), "a - b@accuracy > 0", tables=tables)

    assert verdict().verdict == HOLDS
    assert verdict().n == "12 subjects, intervals of the table; seeds: 3"
    assert verdict(value=[-10, 50], ci_low=[-14, 47], ci_high=[-6, 53]).verdict == FAILS
    assert verdict(ci_low=[-2, 47]).verdict == UNDECIDED
    assert verdict(n_subjects=5).verdict == UNDECIDED
    assert verdict(ci_low=np.nan, ci_high=np.nan).verdict == UNDECIDED
    assert verdict(n_seeds=1).verdict == UNDECIDED and verdict(n_seeds=1).needs == "a second seed"
    near = {"value": [0.1, 50], "ci_low": [-0.4, 47], "ci_high": [0.6, 53]}
    assert verdict(**near).verdict == UNDECIDED, "the table does not tell its standard error"
    assert verdict(**near, se=0.2, df=9.0).verdict == EQUAL
    other = {"table2": table.assign(column="kappa")}
    line = judged(monkeypatch, pd.DataFrame({"item": []}), "a - b@accuracy > 0", tables=other)
    assert line.verdict == MISSING and line.n == "not computed: a - b@accuracy", (
        "the row is there, the column is not"
    )
    two_rows = judged(monkeypatch, pd.DataFrame({"item": []}), tables={"table2": table})
    assert two_rows.verdict == MISSING, "rows of a table are not paired"


def test_a_difference_has_the_interval_of_the_tables():
    """Claims see confusion matrices of `subjects.csv`, tables the predictions themselves."""
    rng, tests, lines = np.random.default_rng(0), {}, []
    stage = rng.integers(0, 5, 480)
    names = np.repeat([f"s{k}" for k in range(12)], 40)
    for row, share in (("a", 0.6), ("b", 0.5)):
        tests[row] = []
        for seed in range(3):
            guess = np.where(rng.random(480) < share, stage, rng.integers(0, 5, 480))
            table = pd.DataFrame({"subject": names, "stage": stage, "prediction": guess})
            tests[row].append(table)
            of_subjects = zip(*subject_confusions(table), strict=True)
            lines += [("table2", row, seed, s, *matrix.ravel()) for s, matrix in of_subjects]
    source = claims.Subjects(
        pd.DataFrame(lines, columns=["item", "row", "seed", "subject", *ERRORS])
    )
    for metric in ("accuracy", "kappa", "N1"):
        estimate = source.estimate([(1, "a", metric), (-1, "b", metric)])
        expected = stats.paired_difference(tests["a"], tests["b"], metric)
        assert estimate == pytest.approx(expected)


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
            printed = claims._printed(claim, left, right)
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
    printed = [
        [claims._printed(c, left, right) for _, left, _, right in claims.inequalities(c)]
        for c in fig5
    ]
    refuted = [c.claim for c, values in zip(fig5, printed, strict=True) if np.nanmin(values) < 0]
    assert refuted == [
        "lambda1 = 0.5: (0.5, 1) is the worst",
        "lambda3 = 1: (0.5, 0.1) is the worst",
    ]


def _rows(sides):
    return [row for side in (sides[0], sides[2]) for _, row, _ in side]


def test_one_network_is_held_against_every_training_of_the_other_row(monkeypatch):
    table = subjects({"teacher/A": right(0.8), "b": right(0.6)}, spread=2.0, seeds=3)
    table = table[(table["row"] != "teacher/A") | (table["seed"] == 0)]
    held = judged(monkeypatch, table, "teacher/A@accuracy > b@accuracy")
    assert held.verdict == HOLDS
    once = judged(monkeypatch, table.replace("teacher/A", "a"))
    assert once.verdict == UNDECIDED and once.needs == "a second seed"
