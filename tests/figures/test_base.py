import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from sacd import files
from sacd.figures import base, comparison


def draw():
    return comparison.confusion_matrices({"SACD": np.eye(5) * 8, "CCL": np.ones((5, 5))})


def test_functions_leave_the_style_of_the_caller_alone():
    before = dict(mpl.rcParams)
    draw()
    assert dict(mpl.rcParams) == before


def test_the_label_has_the_numbers_that_are_known():
    for counts, text in (((), "toy"), ((1,), "toy   n = 1 subject"), ((2, 1), None)):
        figure = base.label_data(draw(), "toy", *counts)
        assert figure.texts[-1].get_text() == (text or "toy   n = 2 subjects, 1 clip")


def test_error_bars_are_lengths_and_unknown_intervals_have_none():
    table = pd.DataFrame({"value": [2.0, 5.0], "ci_low": [1.5, np.nan], "ci_high": [4.0, np.nan]})
    assert base.error_bars(table).tolist() == [[0.5, 0], [2, 0]]


def test_legend_entries_name_each_line_once():
    figure = base.Figure()
    for axes in figure.subplots(1, 2):
        axes.plot([0, 1], label="a")
    axes.plot([1, 0], label="b")
    assert list(base.legend_entries(figure)) == ["a", "b"]


@pytest.mark.slow
def test_saved_bytes_are_equal_in_another_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from sacd.figures import base, comparison\n"
        "figure = comparison.confusion_matrices({'a': np.arange(25).reshape(5, 5)})\n"
        "base.save(base.label_data(figure, 'd'), Path(sys.argv[1]), 'x')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True)
    figure = comparison.confusion_matrices({"a": np.arange(25).reshape(5, 5)})
    base.save(base.label_data(figure, "d"), tmp_path / "b", "x")
    for ending in ("png", "pdf"):
        first, second = (tmp_path / folder / f"x.{ending}" for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_an_interrupted_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        base.save(draw(), tmp_path, "x")
    assert not list(tmp_path.iterdir())
