import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.colors import to_rgb

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


@pytest.mark.parametrize("cmap", ["cividis", "Blues", "RdBu"])
def test_numbers_of_a_heat_map_stand_out_from_their_cells(cmap):
    """Contrast by WCAG of at least 4.5, also where cells are empty."""

    def luminance(colour):
        c = np.asarray(colour[:3])
        return np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [
            *(0.2126, 0.7152, 0.0722)
        ]

    values = np.arange(30.0).reshape(5, 6)
    values[1, 2] = np.nan
    axes = base.Figure().subplots()
    sns.heatmap(values, annot=True, fmt=".0f", cmap=cmap, vmin=0, vmax=29, ax=axes)
    base.readable_cells(axes)
    assert len(axes.texts) == 29
    for text in axes.texts:
        cell = colormaps[cmap](float(text.get_text()) / 29)
        low, high = sorted((luminance(to_rgb(text.get_color())), luminance(cell)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, text.get_text()


def test_legend_entries_name_each_line_once():
    figure = base.Figure()
    for axes in figure.subplots(1, 2):
        axes.plot([0, 1], label="a")
    axes.plot([1, 0], label="b")
    assert list(base.legend_entries(figure)) == ["a", "b"]


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.3))
def test_names_are_a_gap_apart_in_the_order_of_their_lines(wanted, gap):
    wanted = np.array(wanted)
    heights = base.spread(wanted, gap, 0.0, 1.0)
    assert heights.min() >= -1e-9 and heights.max() <= 1 + 1e-9
    order = np.argsort(wanted, kind="stable")
    room = min(gap, 1 / max(len(wanted) - 1, 1))
    assert (np.diff(heights[order]) >= room - 1e-9).all()


def test_names_with_room_stay_where_their_lines_end():
    wanted = np.array([0.9, 0.1, 0.5])
    assert base.spread(wanted, 0.1, 0.0, 1.0) == pytest.approx(wanted)


def test_slanted_names_of_near_lines_are_a_line_of_text_apart():
    figure = base.Figure((7.2, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0, 0.8)
    base.label_lines(axes, {"stratified random": -0.01, "majority": 0.0, "forest": 0.7})
    figure.draw_without_rendering()
    first, second, _ = axes.texts
    (x, _), (next_x, _) = (t.get_transform().transform(t.get_position()) for t in (first, second))
    apart = (next_x - x) * np.sin(np.radians(first.get_rotation())) * 72 / figure.dpi
    assert apart > 1.2 * first.get_fontsize()


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


def test_a_single_line_has_a_level_name():
    axes = base.Figure((6, 3)).subplots()
    axes.set_xlim(40, 90)
    base.label_lines(axes, {"majority": 45.2})
    (name,) = axes.texts
    assert name.get_text() == "majority 45.2" and name.get_rotation() == 0
    assert name.get_ha() == "left", "towards the middle"
