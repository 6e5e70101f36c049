"""The generated parts of the READMEs are up to date with docstrings and committed results."""

from pathlib import Path

import made_up_results
import pytest

from sacd.report import readme, verify
from sacd.report.summary import claims_markdown
from sacd.results import MANIFEST
from sacd.simulate import parameters

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HOW = "outdated; `python -m sacd report --readme` generates it"


def test_deviations_are_those_of_the_docstrings():
    text = (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")
    assert readme.filled(text, deviations=readme.deviations()) == text, HOW
    marked = sum(path.read_text().count("Deviation: ") for path in (ROOT / "sacd").rglob("*.py"))
    assert len(readme.deviations().splitlines()) == marked > 10


def test_the_map_lists_every_module_with_its_first_line():
    text = (ROOT / "sacd" / "README.md").read_text(encoding="utf-8")
    assert readme.filled(text, map=readme.modules()) == text, HOW
    modules = [path for path in (ROOT / "sacd").rglob("*.py") if path.name != "__init__.py"]
    assert readme.modules().count("](") == len(modules)
    assert not [line for line in readme.modules().splitlines() if line.endswith((")", "** "))]


@pytest.mark.slow
def test_results_are_those_of_the_demo():
    if not (ROOT / "results" / "demo" / MANIFEST).is_file():
        pytest.skip("results/demo has no manifest yet")
    found = verify.verify(ROOT / "results" / "demo")
    assert readme.filled(README, **readme.results(found)) == README, HOW
    assert (ROOT / "results" / "demo" / "CLAIMS.md").read_text() == claims_markdown(found), HOW


def test_the_readme_is_short_and_has_its_parts():
    lines = README.splitlines()
    assert len(lines) <= 120
    parts = ("Run it", "The paper's items", "Limits", "A night from video alone")
    parts += ("Your own nights", "Add a method", "Explore, clusters")
    assert [line[3:] for line in lines if line.startswith("## ")] == list(parts)


def test_docs_count_the_checked_sources_as_the_table_does():
    kinds = parameters.table()["checked"].str.extract(
        r"^(supported|conflict|number|paper|not checked|no literature)"
    )[0]
    n = kinds.value_counts()
    supported = f"of {len(kinds)} numbers it supports {n['supported']}"
    sentences = (
        f"{supported} and **conflicts with {n['conflict']}**",
        f"{n['number']} are not in the abstract, {n['paper']} name a paper that was not found, "
        f"{n['not checked']} a book, {n['no literature']} are design choices",
    )
    told = " ".join((ROOT / "docs" / "simulator.md").read_text().split())
    assert n.sum() == len(kinds)
    assert all(sentence in told for sentence in sentences)


def test_a_deviation_ends_with_its_paragraph(tmp_path):
    package = tmp_path / "sacd"
    package.mkdir()
    marker = "Deviation" + ":"
    docstring = f'"""One line. {marker} two\n    lines.\n\n    Args: none.\n    """'
    source = f'"""A module."""\ndef f():\n    {docstring}\n'
    (package / "a.py").write_text(source)
    assert readme.deviations(package) == "- [a.py](../sacd/a.py) `f`: two lines."


def test_the_claims_show_what_fails_and_never_that_simulated_data_reproduce(tmp_path, monkeypatch):
    rows = {"-/R(2+1)D-18": 0.9, "AttnSleep/SACD": 0.6, "AttnSleep/CCL": 0.6}
    made = made_up_results.make(tmp_path, monkeypatch, rows, seeds=3)
    text = claims_markdown(verify.verify(made.results))
    (better,) = [
        line
        for line in text.splitlines()
        if line.startswith("| SACD is better than the video student alone (AttnSleep) |")
    ]
    assert better.endswith("| fails |")
    assert "| same direction 3/3 | same direction 0/3 |" in better
    assert "`make table2`" in text and "reproduced" not in text


def test_a_missing_marker_is_one_line():
    with pytest.raises(
        ValueError, match="markers '<!-- x: -->' and '<!-- end of x -->' occur 0 times"
    ):
        readme.filled("nothing", x="new")
