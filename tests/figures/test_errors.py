import numpy as np
import pandas as pd
import pytest

from sacd.analysis import cases
from sacd.figures import errors


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


@pytest.mark.parametrize(
    ("value", "p_holm", "text"),
    [(3.4, 0.2, "+3"), (-3.4, 0.01, "-3*"), (0.2, 0.2, "0"), (-0.2, 0.2, "0"), (10, 0.2, "+10")],
)
def test_a_difference_has_its_sign_and_its_star(value, p_holm, text):
    assert errors._points(pd.Series({"value": value, "p_holm": p_holm})) == text
