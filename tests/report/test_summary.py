"""The short answer: status lines, one row per item, all claims."""

import made_up_results
import pandas as pd
import pytest

from sacd.report import summary, verify
from sacd.report.primary import ALONE, ALONE_FEW


@pytest.fixture
def found(tmp_path, monkeypatch):
    rows = {"-/R(2+1)D-18": 0.9, "AttnSleep/SACD": 0.6, "AttnSleep/CCL": 0.6}
    return verify.verify(made_up_results.make(tmp_path, monkeypatch, rows, seeds=3).results)


def test_an_item_shows_printed_and_measured_numbers_and_how_its_claims_stand(found):
    lines = summary.by_item(found).set_index("item")
    table2 = lines.loc["Table II, the comparison"]
    assert table2["paper"] == "52.5 / 62.3 / 64.4"
    measured = [float(number) for number in table2["here"].split(" / ")]
    assert measured[0] == pytest.approx(90, abs=3) and measured[2] == pytest.approx(60, abs=5)
    assert table2["command"] == "`make table2`"
    own = found.claims[found.claims["item"] == "table2"]["verdict"].value_counts()
    assert f"{own['fails']} fail" in table2["claims"], "the student alone is better here"
    assert lines.loc["Table III, audio to video on UCF51", "here"] == "– / – / –"


def test_every_claim_is_listed_once_with_its_weakest_part(found):
    text = summary.claims_markdown(found)
    for line in found.claims.itertuples():
        assert text.count(f"| {line.claim} |") == (found.claims["claim"] == line.claim).sum()
    assert "made up" not in text and f"**{found.data}**" in text


def test_the_status_says_what_was_found(found, monkeypatch):
    compared = {"comparison": [ALONE], "verdict": ["undecided"]}
    compared |= {"value": [0.02], "ci_low": [-0.01], "ci_high": [0.05], "n_subjects": [12.0]}
    monkeypatch.setattr(summary, "primary", lambda tables: pd.DataFrame(compared))
    reproduced, runs, what, primary, claimed, _ = summary.status(found)
    assert "nothing of S3VE" in reproduced and "in 1 notebooks, on simulated sleepers" in runs
    assert "12 test subjects" in what and "always the same" not in what, "it has no baselines"
    assert "SACD cannot be told, by these data, from video alone." in what
    assert "SACD against the student alone +0.020 [-0.010, +0.050], undecided" in primary
    assert claimed.count("fail") == 1


def test_the_audit_in_a_sentence():
    findings = pd.DataFrame({"verdict": ["holds", "paper contradicts itself", "holds"]})
    assert summary.audited(findings) == "Of 3 checks, 1 find a contradiction, 2 find none."


def test_without_comparisons_the_status_says_so(found):
    assert "not computed yet" in summary.status(found)[3]


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("better", " better than"), ("worse", " worse than"), ("equal", "neither better nor worse")],
)
def test_the_answer_follows_the_verdict(verdict, said):
    family = pd.DataFrame({"comparison": [ALONE], "verdict": [verdict]})
    assert said in summary._answer(family)
    assert summary._answer(family.iloc[:0]) == ""


def test_the_answer_tells_few_labels_apart():
    family = pd.DataFrame({"comparison": [ALONE, ALONE_FEW], "verdict": ["equal", "better"]})
    assert summary._answer(family) == (
        "With every training subject scored, video taught by SACD stages sleep neither "
        "better nor worse than video alone; with only 12 scored, it stages sleep better than "
        "video alone."
    )
