"""The table of items agrees with the Makefile, the notebooks and the experiments."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sacd.experiments.items import NOTEBOOKS
from sacd.paper.contents import CONTENTS, items, notebook_of

ROOT = Path(__file__).resolve().parents[2]


def test_make_has_a_target_for_every_item():
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    listed = re.search(r"^ITEMS := (.*)$", text, re.MULTILINE)[1].split()
    assert sorted(listed) == sorted(items())


def test_every_notebook_is_an_item_and_every_item_is_a_notebook():
    there = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    assert there == [item.notebook for item in CONTENTS] == list(NOTEBOOKS)


def test_names_are_unique():
    names = [name for item in CONTENTS for name in (item.target, *item.also)]
    assert len(names) == len(set(names)) == len(items())


def test_an_unknown_item_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"no item 'table9'; known: tour, method, fig2"):
        notebook_of("table9")


def test_help_needs_no_environment():
    """In isolated mode, neither this package nor any other can be imported."""
    command = [sys.executable, "-I", "-S", str(ROOT / "sacd" / "paper" / "contents.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "  fig8        Figs. 8 and 9, t-SNE of subjects and clips by AHI (also fig9)\n" in said
