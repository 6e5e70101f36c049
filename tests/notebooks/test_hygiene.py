"""Notebooks as committed: no outputs, a parameters cell, known to the project and the README."""

import ast
import json
from pathlib import Path

import pytest

from sacd.experiments.items import NOTEBOOKS
from sacd.runs.notebook_inputs import parameters_of

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXECUTED = sorted((ROOT / "results" / "demo" / "notebooks").glob("*.ipynb"))


def test_every_notebook_is_known_and_every_known_one_exists():
    assert [f.stem for f in FILES] == sorted(NOTEBOOKS)
    readme = (ROOT / "README.md").read_text()
    assert all(f"notebooks/{f.name}" in readme for f in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_clean_and_parameterized(path):
    cells = json.loads(path.read_text())["cells"]
    first = "".join(cells[0]["source"])
    assert cells[0]["cell_type"] == "markdown"
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == len(ids)  # nbformat would replace one at random in the executed copy
    assert all(word in first for word in ("Time", "Memory", "GPU"))
    code = [c for c in cells if c["cell_type"] == "code"]
    assert all(not c["outputs"] and c["execution_count"] is None for c in code)
    assert "parameters" in code[0]["metadata"]["tags"]
    assert "profile" in parameters_of(path)
    for cell in code:
        tree = ast.parse("".join(cell["source"]))
        assert not any(isinstance(node, ast.ClassDef) for node in ast.walk(tree))
        assert all(len(n.body) <= 3 for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_opens_with_its_answer_made_from_results(path):
    code = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    tagged = [k for k, c in enumerate(code) if "answer" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1 and tagged[0] <= 3  # after parameters, session and its clips
    source = "".join(code[tagged[0]]["source"])
    assert "session.answer(" in source or "\nin_short(" in source  # no runs, no session


@pytest.mark.parametrize("path", EXECUTED, ids=lambda p: p.stem)
def test_executed_copies_tell_no_path_of_a_machine(path):
    assert "PosixPath(" not in path.read_text(encoding="utf-8"), (
        "the last line of a cell shows where files lie"
    )
