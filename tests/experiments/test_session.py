"""What a notebook begins with: where its files go, and what it says of its rows."""

import subprocess
import sys

import pandas as pd
import pytest
from matplotlib.figure import Figure

from sacd.experiments.items import NOTEBOOKS, Notebook
from sacd.experiments.session import Session
from sacd.runs.notebook_inputs import parameters_of

NAME = "50_explore"


@pytest.fixture
def given(tmp_path, monkeypatch):
    """The notebook's own parameters, on an empty folder; it asks for no data and no run."""
    monkeypatch.setitem(NOTEBOOKS, NAME, Notebook(NAME, lambda w: {}, (), lambda w: ()))
    declared = parameters_of(NOTEBOOKS[NAME].source)
    return {name: default for name, (_, default) in declared.items()} | {"root": str(tmp_path)}


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.png"))


def draw(given):
    session = Session(NAME, given)
    session.data_name = "made-up data"
    session.show(Figure(layout="constrained"), "fig6", 3, 40)
    return session


def test_unchanged_parameters_write_to_the_results_of_the_profile(given, tmp_path):
    assert draw(given).changed == []
    assert draw(given | {"menus": False}).changed == [], "make turns the menus off"
    assert files(tmp_path) == ["results/demo/figures/fig6.png"]


def test_a_changed_parameter_never_touches_them(given, tmp_path, capsys):
    session = draw(given | {"subject": "sub-01", "perplexity": 12.0})
    assert session.changed == ["subject", "perplexity"]
    assert files(tmp_path) == ["results/scratch/demo/figures/fig6.png"]
    assert "changed: subject, perplexity; files go to" in capsys.readouterr().out


def test_other_data_and_other_seeds_have_results_of_their_own(given, tmp_path):
    draw(given | {"profile": "smoke"})
    draw(given | {"seeds": 5})
    assert files(tmp_path) == [
        "results/demo-5-seeds/figures/fig6.png",
        "results/smoke/figures/fig6.png",
    ]


def test_it_says_what_the_rows_were_tested_on(given):
    session = Session(NAME, given)
    session.data_name = "made-up data"
    session.tests = {"row": [pd.DataFrame({"subject": ["a", "a", "b"]})]}
    assert str(session) == "made-up data: tested on 2 subjects, 3 clips"


def test_an_answer_names_its_data(given):
    session = Session(NAME, given)
    session.data_name = "made-up data"
    assert session.answer("no effect.").data == "> **In short** (made-up data): no effect."


def test_a_session_starts_without_torch():
    code = "import sys, sacd.experiments.session; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
