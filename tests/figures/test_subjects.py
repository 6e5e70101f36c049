"""Figures of subjects and of probabilities."""

import numpy as np
import pandas as pd
import pytest

from sacd.figures import subjects
from sacd.stages import STAGES


def by_subject():
    names = ["a", "b", "c"]
    before = pd.Series([0.1, 0.4, 0.2], index=names, name="CE")
    return subjects.by_subject(before, pd.Series([0.2, 0.3, 0.5], index=names, name="SACD"))


def predictions(seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(5, 0.7), 300)
    table = pd.DataFrame(p, columns=[f"p_{stage}" for stage in STAGES])
    return table.assign(stage=rng.integers(0, 5, 300), prediction=p.argmax(1))


def calibration():
    return subjects.calibration(
        {"alone": [predictions(0), predictions(1)], "SACD": [predictions(2)]}
    )


@pytest.mark.slow
@pytest.mark.parametrize("draw", [by_subject, calibration])
def test_every_figure_draws_names_its_data_and_saves_equal_bytes(draw, check_figure):
    check_figure(draw)


def test_subjects_are_counted_sorted_and_named():
    left, right = by_subject().axes
    assert left.get_title("left") == "(a) Better in 2 of 3 subjects"
    first, second = right.lines[:2]
    assert list(second.get_ydata()) == [0.2, 0.3, 0.5] and list(first.get_ydata()) == [
        0.1,
        0.4,
        0.2,
    ]
    named = [text.get_text() for text in right.texts]
    assert named == ["worst: a, 0.20", "median: b, 0.30", "best: c, 0.50"]


def test_every_seed_has_its_curve_and_every_method_its_error():
    figure = calibration()
    left, right = figure.axes
    assert len(left.lines) == 1 + 2 + 1 + 1 + 1, "diagonal, seeds and their mean, twice"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [name.partition(": ECE 0.")[0] for name in names[1:]] == ["alone", "SACD"]
    assert [sum(line.get_ydata()) for line in right.lines] == pytest.approx([100, 100])
