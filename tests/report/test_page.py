"""The site is complete, current and self-contained."""

import os
import re
import shutil
from pathlib import Path

import made_up_results
import nbformat
import numpy as np
import pandas as pd
import pytest
from site_links import broken

from sacd.data.account import account
from sacd.experiments import record
from sacd.experiments.items import NOTEBOOKS
from sacd.paper.contents import CONTENTS
from sacd.report import cards, notebook_page, summary, verify
from sacd.report import page as report
from sacd.results import CHECK, INGEST

pytestmark = pytest.mark.slow  # builds the site

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def index(built):
    return (built / "report" / "index.html").read_text()


def build(results: Path) -> Path:
    found = verify.verify(results)
    verify.write(found)
    return report.build(found)


def test_the_page_shows_verdicts_figures_and_totals(results):
    (results / "report" / "of_a_notebook_that_is_gone.html").touch()
    text = build(results).read_text()
    assert "No number here is an S3VE result" in text
    assert (
        "9, each counted once" in text and "0.09 core-hours" in text and "1.0 GB of one run" in text
    )
    assert 'src="../figures/a.png"' in text and 'href="20_table2_comparison.html"' in text
    assert 'src="../figures/summary.png"' in text and 'href="../tables/table2.csv"' in text
    assert "needs S3VE" in text and ">holds<" in text and str(results.parent) not in text
    assert sorted(p.name for p in (results / "report").glob("*.html")) == [
        "20_table2_comparison.html",
        "index.html",
    ]
    wrong = broken(results / "report")
    assert wrong == ["20_table2_comparison.html: 00_tour.html"]  # the tour was not executed here


def test_the_page_shows_what_was_found_in_a_cohort_and_what_was_kept(tmp_path, monkeypatch):
    """The tables of the data lie among those of the items, and are none of these."""
    space = made_up_results.make(tmp_path, monkeypatch, seeds=3)
    results, name = space.results, "sub-<img src=x onerror=alert(1)>"
    assert "Recordings" not in build(results).read_text(), "a simulated cohort has no such tables"
    problem = pd.DataFrame(
        {
            "subject": ["", name],
            "file": [str(tmp_path / "lab"), "sub-1/eeg.edf"],
            "level": ["error", "warning"],
            "problem": ["too few", "2 events end after the EEG"],
            "fix": "mend it",
        }
    )
    problem.to_csv(results / CHECK, index=False)
    kept = {"W": 8, "N1": 1, "N2": 20, "N3": 5, "REM": 6}
    lost = {"eeg": {"W": 2}, "video": {"N2": 1}}
    night = {"stages": kept, "lost": lost, "dropped": {"unscored": 4}}
    table = account({"nights": {name: night}})
    for file in (INGEST, INGEST.replace(".csv", "-16-consecutive-frames.csv")):
        table.to_csv(results / file, index=False)
    record.write_manifest(space)
    found = verify.verify(results, against=results)
    assert not found.problems and not found.notes[0].startswith("tables/")
    for page in (report.build(found), results / "report.html"):
        text = page.read_text()
        assert "What check found (2)" in text and ">2 events end after the EEG<" in text
        assert text.count("(40 of 43 scored clips kept)</summary>") == 2
        assert "What ingest kept and dropped, 16 consecutive frames" in text
        assert ">8 of 10<" in text and ">20 of 21<" in text and ">lost: video<" in text
        assert "<img src=x" not in text and "sub-&lt;img src=x" in text
        assert str(tmp_path) not in text and ">lab<" in text
    assert '"../tables/ingest.csv"' in (results / "report" / "index.html").read_text()
    assert broken(results / "report") == ["20_table2_comparison.html: 00_tour.html"]


def test_every_item_has_one_card_and_every_claim_stands_once(built, index):
    found = verify.verify(built)
    assert re.findall(r'<article class="card" id="(\w+)"', index) == [i.target for i in CONTENTS]
    assert index.count('<li class="claim"') == len(found.claims) > 0
    for item in CONTENTS:
        assert index.count(f"<code>make {item.target}</code>") == 1
    assert index.count(cards.NOT_MADE) == len(CONTENTS) - 1, "one notebook was executed"


def test_pictures_have_alternative_texts(index):
    alts = re.findall(r"<img [^>]*?alt=\"([^\"]*)\"", index)
    assert len(alts) == 2 and all(len(alt) > 10 for alt in alts)
    assert "video alone" in alts[0], "the numbers of the summary figure"


def test_a_second_building_gives_equal_bytes(results):
    def contents():
        return {path.name: path.read_bytes() for path in (results / "report").iterdir()}

    first = contents()
    shutil.rmtree(results / "report")
    build(results)
    assert contents() == first


def test_a_figure_has_its_caption_or_the_title_of_its_item(index, results, monkeypatch):
    assert 'alt="Table II, the comparison.' in index
    monkeypatch.setattr(cards, "load_captions", lambda: {"a": "Errors <by> stage"})
    assert 'alt="Errors &lt;by&gt; stage.' in build(results).read_text()


def test_captions_are_those_of_figures_that_a_notebook_saves():
    sources = [path.read_text() for path in (ROOT / "notebooks").glob("*.ipynb")]
    captions = cards.load_captions()
    declared = [file for notebook in NOTEBOOKS.values() for file in notebook.files]
    figures = {Path(file).stem for file in declared if file.startswith("figures/")}
    assert figures <= captions.keys()
    for name in captions.keys() - figures:  # saved only for some data or readings
        assert any(f'\\"{name}\\"' in source for source in sources), name


def notebook(path: Path, *cells) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return path


def test_the_answer_is_that_of_the_notebook_without_its_prefix(tmp_path):
    title = nbformat.v4.new_markdown_cell("# A title\n\nWhat it does,\nin short. And more.")
    for said, wanted in (
        (
            "> **In short** (made-up data, n = 3): kappa **+0.2**, 1.5 times.\n> A second line.",
            "Kappa **+0.2**, 1.5 times. A second line.",
        ),
        ("> **In short**: **for 2 of 3** it is so.", "**For 2 of 3** it is so."),
    ):
        output = nbformat.v4.new_output("execute_result", {"text/markdown": said})
        answer = nbformat.v4.new_code_cell("1", metadata={"tags": ["answer"]}, outputs=[output])
        assert cards.answer_of(notebook(tmp_path / "a.ipynb", title, answer)) == wanted
    assert cards.answer_of(notebook(tmp_path / "b.ipynb", title)) == "What it does, in short."
    assert cards.answer_of(notebook(tmp_path / "c.ipynb")) == ""


def test_an_unknown_verdict_keeps_its_word():
    verdicts = pd.Series(["inconclusive", "fails", "holds", "fails"])
    assert list(summary.counts(verdicts).items()) == [("hold", 1), ("fail", 2), ("inconclusive", 1)]


def test_primary_comparisons_are_drawn_in_one_scale(index, results, monkeypatch):
    assert "Not computed yet in this folder" in index
    family = pd.DataFrame(
        {
            "comparison": ["SACD against KD", "the teacher against SACD"],
            "value": [-0.01, 0.18],
            "ci_low": [-0.02, 0.15],
            "ci_high": [0.01, 0.2],
            "p_holm": [0.4, 0.0001],
            "n_subjects": [120.0] * 2,
            "n_seeds": [8.0] * 2,
            "margin": [0.01, np.nan],
            "verdict": ["undecided", "better"],
            "needs": ["240 subjects x 12 seeds", ""],
        }
    )
    monkeypatch.setattr(report, "primary", lambda tables: family)
    first, second = report._primary(verify.verify(results))
    assert (first["low"], second["high"]) == report.PLOT and first["zero"] == second["zero"]
    assert first["low"] < first["at"] < first["zero"] < first["high"] < second["low"]
    text = build(results).read_text()
    assert "-0.010 [-0.020, +0.010]" in text and "needs 240 subjects x 12 seeds" in text
    assert "&lt; 0.001" in text and "120 subjects, 8 seeds" in text


def test_without_table_ii_the_page_is_built(results):
    (results / "tables" / "table2.csv").unlink()
    (results / "figures" / "summary.png").unlink(missing_ok=True)
    text = build(results).read_text()
    assert "tables/table2.csv: missing" in text and "summary.png" not in text


def test_only_what_changed_is_built_again(results, monkeypatch):
    folder = results / "report"
    for path in folder.iterdir():
        os.utime(path, (0, 0))  # whatever is written now is newer
    monkeypatch.setattr(notebook_page, "to_html", lambda *a: pytest.fail("nothing has changed"))
    build(results)
    assert {path.stat().st_mtime_ns for path in folder.iterdir()} == {0}


def test_problems_are_shown(results):
    (results / "figures" / "a.png").unlink()
    assert "figures/a.png: missing" in build(results).read_text()


def test_names_are_escaped(tmp_path, monkeypatch):
    results = made_up_results.make(tmp_path, monkeypatch, data="<script>alert(1)</script>").results
    assert "<script>alert" not in build(results).read_text()
