"""Figure of the audit."""

import pandas as pd
import pytest

from sacd.figures import audit


def draw(at_prior=0.5):
    bounds = {"kappa": [0.6, 0.4], "at_prior": [at_prior, 0.5], "any_prior": [0.55, 0.55]}
    return audit.kappa_ceiling(pd.DataFrame(bounds, index=["a", "b"]))


@pytest.mark.slow
def test_the_figure_draws_names_its_data_and_saves_equal_bytes(check_figure):
    check_figure(draw)


def test_a_kappa_above_its_bound_is_marked_impossible():
    (axes,) = draw().axes
    lines = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert lines["Printed"] == [0.4]
    assert lines["Printed, impossible even with rounding"] == [0.6]


def test_a_dot_left_of_its_bar_has_a_note():
    plain, odd = draw().axes[0], draw(at_prior=0.58).axes[0]
    assert not plain.texts and "The dot may lie left of the bar" in odd.texts[0].get_text()
    assert [tick.get_text() for tick in odd.get_yticklabels()] == ["* a", "b"]
