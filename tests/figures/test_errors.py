import numpy as np
import pandas as pd
import pytest

from sacd.analysis import cases
from sacd.figures import errors
from sacd.stages import STAGES


def table(seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"subject": np.repeat(list("abcd"), 20), "block": np.repeat(range(4), 20)}
    ).assign(
        clip=np.tile(np.arange(20), 4),
        stage=np.random.default_rng(0).integers(0, 4, 80),
        prediction=rng.integers(0, 5, 80),
    )


def confusion_comparison():
    a, b = table(1), table(2)
    difference = cases.confusion_shares([a], [b]).assign(p_holm=0.01)
    return errors.confusion_comparison(
        {"SACD": cases.confusion_shares([a]), "CCL": cases.confusion_shares([b])},
        {"SACD - CCL": difference},
        np.bincount(a["stage"], minlength=5),
    )


def where_errors_are():
    people = pd.DataFrame({"movement": [1.0, 2, 3], "error": [10.0, 30, 20]})
    return errors.where_errors_are(
        cases.error_by_distance({"a": [table(1)], "b": [table(2)]}), people, "(b)"
    )


DRAW = {
    "confusion_comparison": confusion_comparison,
    "where_errors_are": where_errors_are,
    "error_types": lambda: errors.error_types(cases.confusion_shares([table(3)]), "SACD"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAW)
def test_every_figure_draws_names_its_data_and_saves_equal_bytes(name, check_figure):
    check_figure(DRAW[name])


def test_the_numbers_drawn_are_those_given():
    figure = confusion_comparison()
    shares = cases.confusion_shares([table(1)])["value"].to_numpy()
    drawn = [t.get_text() for t in figure.axes[0].texts]
    # The table has no REM clip: its row is empty.
    assert drawn == [f"{v:.0f}" for v in shares if np.isfinite(v)] and len(drawn) == 20
    differences = [t.get_text() for t in figure.axes[2].texts]
    assert all(text.endswith("*") for text in differences if text)


def test_panels_have_letters_and_stages_their_number_of_clips():
    first, second, difference, *_ = confusion_comparison().axes
    titles = [axes.get_title("left") for axes in (first, second, difference)]
    assert titles == ["(a) SACD", "(b) CCL", "(c) SACD - CCL"]
    counts = np.bincount(table(1)["stage"], minlength=5)
    labels = [text.get_text() for text in first.get_yticklabels()]
    assert labels == [f"{stage}\n{n}" for stage, n in zip(STAGES, counts, strict=True)]


def test_one_colour_is_better_on_the_diagonal_and_beside_it():
    """More hits and fewer errors have one colour, fewer hits and more errors the other."""
    difference = confusion_comparison().axes[2]
    drawn = difference.collections[0].get_array().reshape(5, 5)
    gap = cases.confusion_shares([table(1)], [table(2)])["value"].to_numpy().reshape(5, 5)
    expected = np.where(np.eye(5, dtype=bool), gap, -gap)
    known = np.isfinite(gap)
    assert known.sum() == 20 and np.allclose(drawn[known], expected[known])


@pytest.mark.parametrize(
    ("value", "p_holm", "text"),
    [(3.4, 0.2, "+3"), (-3.4, 0.01, "-3*"), (0.2, 0.2, "0"), (-0.2, 0.2, "0"), (10, 0.2, "+10")],
)
def test_a_difference_has_its_sign_and_its_star(value, p_holm, text):
    assert errors._points(pd.Series({"value": value, "p_holm": p_holm})) == text
