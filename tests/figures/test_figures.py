import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from sacd import files
from sacd.analysis import tables
from sacd.figures import base, comparison, nights
from sacd.stages import COLOURS, STAGES

RNG = np.random.default_rng(0)
N = 60
LABELS = RNG.integers(0, 5, N)
GUESS = np.where(RNG.random(N) < 0.6, LABELS, RNG.integers(0, 5, N))


def table():
    numbers = pd.DataFrame(
        {"column": ["kappa"], "value": [0.3], "ci_low": [0.2], "ci_high": [0.45]}
    )
    rows = [
        tables.rows("table2", row, numbers, "simulated")
        for row in ("-/R(2+1)D-18", "AttnSleep/SACD", "forest")
    ]
    return pd.concat(rows, ignore_index=True)


def history():
    grid = pd.MultiIndex.from_product(
        [range(1, 5), ["total", "L_D", "L_C", "JSD", "spread"], ["SACD", "CE"]]
    )
    frame = grid.to_frame(index=False, name=["epoch", "term", "line"])
    return frame.assign(value=1 / frame["epoch"])


def bounds():
    return pd.DataFrame(
        {"kappa": [0.6, 0.4], "at_prior": [0.5, 0.5], "any_prior": [0.55, 0.55]}, index=["a", "b"]
    )


DRAW = {
    "confusions": lambda: comparison.confusion_matrices(
        {"SACD": np.eye(5) * 8, "CCL": np.ones((5, 5))}
    ),
    "night": lambda: nights.night(
        np.r_[5:35, 50:80], LABELS, GUESS, RNG.dirichlet(np.ones(5), N), {"x (uV)": LABELS}
    ),
    "curves": lambda: comparison.curves(history()),
    "cohort": lambda: nights.cohort(
        pd.DataFrame({"sex": list("MMF"), "ahi": [1.0, 15, 40]}), LABELS
    ),
    "spectra": lambda: nights.spectra(RNG.standard_normal((N, 3000)), LABELS, 100),
    "comparison": lambda: comparison.comparison(table(), "kappa", {"majority": 0.0}),
    "subjects": lambda: comparison.subjects(
        pd.Series([0.1, 0.4], name="CE"), pd.Series([0.2, 0.3], name="SACD")
    ),
    "grids": lambda: comparison.grids(
        {"a": pd.DataFrame(np.eye(4)), "b": pd.DataFrame(np.ones((4, 4)))}
    ),
    "montage": lambda: nights.montage(
        RNG.standard_normal((2, 3000)), 100, np.zeros((2, 4, 12, 16), "uint8"), ["p", "q"]
    ),
    "kappa_ceiling": lambda: comparison.kappa_ceiling(bounds()),
}


@pytest.fixture(scope="module")
def drawn():
    return {name: draw() for name, draw in DRAW.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAW)
def test_every_figure_draws_names_its_data_and_saves(name, drawn, tmp_path):
    figure = drawn[name]
    base.label_data(figure, "simulated cohort, smoke profile", subjects=1, clips=1200)
    labels = [
        " ".join(t.get_text().split()) for t in figure.texts
    ]  # on two lines where the figure is narrow
    assert any(
        "simulated cohort, smoke profile n = 1 subject, 1,200 clips" in label for label in labels
    )
    png, pdf = base.save(figure, tmp_path / "new", name)
    assert png.stat().st_size > 5000 and b"matplotlib.org" not in png.read_bytes()
    assert pdf.read_bytes().startswith(b"%PDF") and b"CreationDate" not in pdf.read_bytes()
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_functions_leave_the_style_of_the_caller_alone():
    before = dict(mpl.rcParams)
    DRAW["confusions"]()
    assert dict(mpl.rcParams) == before


@pytest.mark.slow
def test_saved_bytes_are_equal_in_another_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; import numpy as np; from sacd.figures import base as f, comparison as c;"
        "x = c.confusion_matrices({'a': np.arange(25).reshape(5, 5)}); f.label_data(x, 'd');"
        "f.save(x, Path(sys.argv[1]), 'x')"
    )
    for folder in ("a", "b"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / folder)], check=True)
    for ending in ("png", "pdf"):
        assert (tmp_path / "a" / f"x.{ending}").read_bytes() == (
            tmp_path / "b" / f"x.{ending}"
        ).read_bytes()


def test_confusion_shows_shares_of_the_true_stage_and_clips():
    matrix = np.zeros((5, 5), int)
    matrix[0, :2] = 30, 10
    axes = comparison.confusion_matrices({"x": matrix}).axes[0]
    texts = [t.get_text() for t in axes.texts]
    assert texts[:2] == ["75\n30", "25\n10"] and len(texts) == 25
    assert [t.get_text() for t in axes.get_yticklabels()] == list(STAGES)


def test_night_leaves_gaps_empty_and_uses_the_stage_colours(drawn):
    axes = drawn["night"].axes[0]
    (line,) = axes.lines
    x, y = line.get_data()
    assert np.isnan(y[(x > 36 / 120) & (x < 49 / 120)]).all() and np.nanmax(y) <= 4
    assert len(axes.collections) == len(COLOURS)


def test_comparison_draws_ours_and_the_printed_values(drawn):
    axes = drawn["comparison"].axes[0]
    printed = next(line for line in axes.lines if line.get_label().startswith("printed"))
    assert printed.get_xdata()[:2] == pytest.approx([0.47, 0.60]) and np.isnan(
        printed.get_xdata()[2]
    )
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        "-/R(2+1)D-18",
        "AttnSleep/SACD",
        "forest",
    ]


def test_curves_have_readable_names_with_units_and_the_level_to_hold_them_against():
    lines = pd.DataFrame({"epoch": [1, 2], "value": [0.5, 0.8], "line": "SACD"})
    terms = ("validation_auc_graph", "validation_kappa", "my_term")
    figure = comparison.curves(
        pd.concat([lines.assign(term=t) for t in terms]),
        {"validation_auc_graph": ("ridge", 0.72), "absent": ("x", 1)},
    )
    titles = [" ".join(axes.get_title("left").split()) for axes in figure.axes]
    assert titles == ["held out: graph matching (AUC)", "held out: Cohen's kappa", "my term"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 1]
    assert set(figure.axes[0].lines[1].get_ydata()) == {0.72}
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["ridge"]


def test_spectra_peak_where_the_signal_is():
    t = np.arange(3000) / 100
    eeg = 20 * np.sin(2 * np.pi * 10 * t) + RNG.standard_normal((6, 3000))
    axes = nights.spectra(eeg, [2] * 6, 100).axes[0]
    line = next(line for line in axes.lines if line.get_label().startswith("N2"))
    assert line.get_xdata()[np.argmax(line.get_ydata())] == pytest.approx(10)
    assert sum(line.get_label().startswith(STAGES) for line in axes.lines) == 1


def test_an_interrupted_save_leaves_nothing(drawn, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        base.save(drawn["grids"], tmp_path, "x")
    assert not list(tmp_path.iterdir())
