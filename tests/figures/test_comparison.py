import numpy as np
import pandas as pd
import pytest

from sacd.analysis import tables
from sacd.figures import comparison
from sacd.stages import STAGES


def table():
    numbers = pd.DataFrame(
        {"column": ["kappa"], "value": [0.3], "ci_low": [0.2], "ci_high": [0.45]}
    )
    seeds = {
        "-/R(2+1)D-18": 8,
        "AttnSleep/KD": 8,
        "AttnSleep/SACD": 3,
        "teacher/AttnSleep": 3,
    }
    rows = [
        tables.rows("table2", row, numbers, "simulated").assign(n_seeds=n)
        for row, n in seeds.items()
    ]
    return pd.concat(rows, ignore_index=True)


TERMS = ("total", "L_D", "L_C", "JSD", "spread")


def histories(terms=TERMS, methods=("SACD", "CE")):
    """One seed of each method; every term falls."""
    history = pd.DataFrame({"epoch": range(1, 5)})
    for term in terms:
        history[term] = 1 / history["epoch"]
    return {method: [history] for method in methods}


DRAW = {
    "confusion_matrices": lambda: comparison.confusion_matrices({"SACD": np.eye(5) * 8}),
    "curves": lambda: comparison.curves(histories(), TERMS),
    "comparison": lambda: comparison.comparison(table(), "kappa", {"majority": 0.0}),
    "stagers": lambda: comparison.stagers(table()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAW)
def test_every_figure_draws_names_its_data_and_saves_equal_bytes(name, check_figure):
    check_figure(DRAW[name])


def test_confusion_shows_shares_of_the_true_stage_and_clips():
    matrix = np.zeros((5, 5), int)
    matrix[0, :2] = 30, 10
    axes = comparison.confusion_matrices({"x": matrix}).axes[0]
    texts = [t.get_text() for t in axes.texts]
    assert texts[:2] == ["75\n30", "25\n10"] and len(texts) == 25
    assert [t.get_text() for t in axes.get_yticklabels()] == list(STAGES)


def test_comparison_draws_ours_and_the_printed_values():
    axes = comparison.comparison(table(), "kappa", {"majority": 0.0}).axes[0]
    printed = next(line for line in axes.lines if line.get_label() == "Printed (S3VE)")
    assert printed.get_xdata()[:2] == pytest.approx([0.47, 0.60])
    assert np.isnan(printed.get_xdata()[2:]).all()
    assert axes.get_xlabel() == "Cohen's kappa; bars: 95 % interval"


def test_rows_stand_under_their_teacher_and_methods_beyond_the_paper_apart():
    figure = comparison.comparison(table(), "kappa", {"majority": 0.0})
    axes = figure.axes[0]
    rows = [(t.get_text(), t.get_fontweight() == "bold") for t in axes.get_yticklabels()]
    assert rows == [
        *(("Video student alone", True), ("R(2+1)D-18", False), ("Taught by AttnSleep", True)),
        *(("SACD", False), ("Taught by AttnSleep, beyond the paper", True), ("KD", False)),
        *(("Frozen teachers", True), ("AttnSleep", False)),
    ]
    printed = next(line for line in axes.lines if line.get_label() == "Printed (S3VE)")
    assert printed.get_ydata().tolist() == [1, 3, 5, 7]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Here, 8 seeds", "Here, 3 seeds", "Printed (S3VE)"]


def test_baselines_and_the_student_alone_are_named_lines():
    axes = comparison.comparison(table(), "kappa", {"majority": 0.0, "forest": 0.3}).axes[0]
    names = [text.get_text() for text in axes.texts]
    assert names == ["majority 0.00", "forest 0.30", "R(2+1)D-18 alone 0.30"]
    upright = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    assert upright == [0.0, 0.3, 0.3]
    (band,) = axes.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((0.2, 0.45))


def test_terms_of_a_pair_share_a_panel_and_are_named_at_their_ends():
    terms = ("active", "d_matched", "d_mismatched")
    figure = comparison.curves(histories(terms, ["SACD"]), terms)
    assert len(figure.axes) == 2
    single, shared = figure.axes
    assert not single.texts and [t.get_text() for t in shared.texts] == ["matched", "mismatched"]
    assert [line.get_linestyle() for line in shared.lines] == ["-", "--"]


def test_curves_have_readable_titles_with_units():
    terms = ("validation_auc_graph", "validation_kappa", "my_term")
    figure = comparison.curves(histories(terms), terms)
    titles = [" ".join(axes.get_title("left").split()) for axes in figure.axes]
    assert titles == ["Held out: graph matching (AUC)", "Held out: Cohen's kappa", "My term"]


def test_curves_show_the_weighted_losses_as_mean_and_range_of_the_seeds():
    first = pd.DataFrame({"epoch": [1, 2], "loss_ce": [1.0, 0.5], "rank": [0.5, 0.9]})
    second = first.assign(loss_ce=[3.0, 1.5])
    taught = first.assign(loss_jsd=[0.2, 0.1])
    figure = comparison.curves({"alone": [first, second], "taught": [taught]})
    cross_entropy, jsd = figure.axes  # and no panel of the rank
    alone, other = cross_entropy.lines
    assert alone.get_ydata() == pytest.approx([2.0, 1.0])
    assert other.get_ydata() == pytest.approx([1.0, 0.5])
    band = cross_entropy.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.5, 3.0)
    assert [line.get_label() for line in jsd.lines] == ["taught"]


def test_printed_values_of_the_stagers_are_named_at_their_lines():
    row = pd.DataFrame({"column": ["accuracy"], "value": [60.0], "ci_low": [50], "ci_high": [70]})
    ours = tables.rows("mc2sleepnet", "forest", row, "simulated")
    printed = ours.assign(value=np.nan, paper_value=84.6, row="SHHS")
    both = pd.concat([ours, printed, printed.assign(paper_value=88.6, row="other")])
    figure = comparison.stagers(both)
    assert [text.get_text() for text in figure.axes[0].texts] == ["SHHS 84.6", "other 88.6"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["forest", "MC2SleepNet as printed"]


def test_the_stagers_stand_beside_the_majority():
    figure = comparison.stagers(table().assign(column="accuracy", value=60.0), 45.0)
    accuracy = figure.axes[0]
    (line,) = [line for line in accuracy.lines if line.get_label() == "Majority"]
    assert line.get_xdata()[0] == 45.0 and accuracy.get_xlim()[0] < 45
    assert "Majority" in [text.get_text() for text in figure.legends[0].get_texts()]
