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
    names = ("-/R(2+1)D-18", "AttnSleep/SACD", "forest")
    rows = [tables.rows("table2", row, numbers, "simulated") for row in names]
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


def subjects():
    return comparison.subjects(pd.Series([0.1, 0.4], name="CE"), pd.Series([0.2, 0.3], name="SACD"))


DRAW = {
    "confusion_matrices": lambda: comparison.confusion_matrices({"SACD": np.eye(5) * 8}),
    "curves": lambda: comparison.curves(history()),
    "comparison": lambda: comparison.comparison(table(), "kappa", {"majority": 0.0}),
    "subjects": subjects,
    "kappa_ceiling": lambda: comparison.kappa_ceiling(bounds()),
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
    assert np.isnan(printed.get_xdata()[2])
    rows = [t.get_text() for t in axes.get_yticklabels()]
    assert rows == ["-/R(2+1)D-18", "AttnSleep/SACD", "forest"]
    assert axes.get_xlabel() == "Cohen's kappa"


def test_curves_have_readable_titles_with_units_and_a_reference_level():
    lines = pd.DataFrame({"epoch": [1, 2], "value": [0.5, 0.8], "line": "SACD"})
    terms = ("validation_auc_graph", "validation_kappa", "my_term")
    figure = comparison.curves(
        pd.concat([lines.assign(term=t) for t in terms]),
        {"validation_auc_graph": ("ridge", 0.72), "absent": ("x", 1)},
    )
    titles = [" ".join(axes.get_title("left").split()) for axes in figure.axes]
    assert titles == ["Held out: graph matching (AUC)", "Held out: Cohen's kappa", "My term"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 1]
    assert set(figure.axes[0].lines[1].get_ydata()) == {0.72}
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["ridge"]


def test_subjects_counts_those_in_which_the_second_method_is_better():
    (axes,) = subjects().axes
    assert axes.get_title("left") == "Better in 1 of 2 subjects"


def test_a_kappa_above_its_bound_is_marked_impossible():
    (axes,) = comparison.kappa_ceiling(bounds()).axes
    lines = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert lines["Printed"] == [0.4] and lines["Printed, impossible"] == [0.6]
