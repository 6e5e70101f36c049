"""Figure of the simulator beside real nights."""

import numpy as np
import pytest

from sacd.analysis import reality, reality_nights
from sacd.figures import base
from sacd.figures import reality as figures


@pytest.fixture(scope="module")
def table():
    """The real nights themselves in the simulator's place."""
    real = reality_nights.real_lines({})
    ours = real.drop_duplicates(["measure", "column"])
    return reality.compare(ours.assign(nights=7), real, "made-up nights")


@pytest.mark.slow
def test_every_number_is_drawn_and_counted(table, tmp_path):
    figure = figures.simulator(table)
    assert len(figure.axes) == 6 and all(axes.get_title(loc="left") for axes in figure.axes)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:2] == ["Simulated (7 nights)", "sleep-accel (31 nights)"]
    assert "Santa Fe B (1 night)" in names
    spread = table[table["measure"] == reality.SPREAD]
    ours, theirs = figure.axes[5].containers
    np.testing.assert_allclose(ours[0].get_ydata(), spread["value"])
    np.testing.assert_allclose(theirs[0].get_ydata(), spread["real_value"])
    assert base.save(base.label_data(figure, "made-up nights"), tmp_path, "f")[0].stat().st_size


def test_colours_are_known_for_every_data_set():
    drawn = {name for name in reality.committed()["dataset"] if "scorers" not in name}
    assert drawn == set(figures._COLOURS)
