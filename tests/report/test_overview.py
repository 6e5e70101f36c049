"""The summary figure is made from the results alone, and is no part of the manifest."""

import made_up_results
import pandas as pd
import pytest

from sacd.report import overview, verify
from sacd.results import OVERVIEW, listed_files


@pytest.fixture
def found(tmp_path, monkeypatch):
    return verify.verify(made_up_results.make(tmp_path, monkeypatch, seeds=3).results)


def test_the_rungs_are_those_of_table_ii_with_the_printed_numbers(found):
    ladder = overview.rungs(found.results)
    assert list(ladder.index) == ["video alone", "video taught by CCL", "video taught by SACD"]
    assert ladder["paper"].tolist() == [0.47, 0.56, 0.60]
    table = pd.read_csv(found.results / "tables" / "table2.csv").set_index(["row", "column"])
    assert ladder["value"].iloc[-1] == table.loc[("AttnSleep/SACD", "kappa"), "value"]


def test_every_claim_is_counted_once(found):
    counts = overview.verdicts_by_item(found)
    assert counts.to_numpy().sum() == len(found.claims) > 0
    assert "Table II" in counts.index


@pytest.mark.slow
def test_a_second_writing_gives_equal_bytes_that_the_manifest_does_not_list(found):
    before = listed_files(found.results)
    path = overview.write_overview(found)
    assert path == found.results / OVERVIEW and path.with_suffix(".pdf").is_file()
    first = path.read_bytes()
    assert overview.write_overview(found).read_bytes() == first
    assert listed_files(found.results) == before


def test_without_table_ii_there_is_no_figure(found):
    (found.results / "tables" / "table2.csv").unlink()
    assert overview.write_overview(found) is None
