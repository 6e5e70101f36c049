from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from sacd.analysis import ahi, maps, portrait
from sacd.figures import embeddings
from sacd.stages import AHI_COLOURS, STAGES

TITLES = {"AHI": "(a)", "Normal": "(b)", "Mild": "(c)", "Moderate": "(d)", "Severe": "(e)"}


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def correlation_boxes():
    means = noise(12, 5, 20)
    means[:, 3] = np.nan  # nobody has N3
    return embeddings.correlation_boxes(
        ahi.correlations(
            means, ahi.targets(np.r_[np.full(6, 2.0), np.full(6, 40.0)]), permutations=20
        ),
        TITLES,
    )


def subject_maps():
    values = np.linspace(1, 60, 12)
    panel = (noise(12, 2), values, np.arange(12) < 4)
    return embeddings.subject_maps({"N2": panel, "N3": panel}, {"N2": (np.zeros(2), 70.0)})


def clip_maps():
    index = pd.Series({"a": 1.0, "b": 50.0, "c": 20.0})
    subject = np.repeat(["a", "b", "c"], 12)
    found = portrait.clip_portrait(noise(36, 5), subject, index, ["a", "b"])
    assert isinstance(found.zone, maps.DangerZone)
    return embeddings.clip_maps({"N2": found}, index, "c")


DRAW = {
    "correlation_boxes": correlation_boxes,
    "subject_maps": subject_maps,
    "clip_maps": clip_maps,
    "stage_maps": lambda: embeddings.stage_maps({"a": noise(50, 2)}, np.arange(50) % 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAW)
def test_every_figure_draws_names_its_data_and_saves_equal_bytes(name, check_figure):
    check_figure(DRAW[name])


def test_boxes_are_those_of_the_stages():
    panel, *others = correlation_boxes().axes
    assert [label.get_text() for label in panel.get_xticklabels()] == list(STAGES)
    assert len(panel.patches) == 4, "nobody has N3"
    empty = [axes for axes in others if any("No subject" in t.get_text() for t in axes.texts)]
    assert len(empty) == 2, "nobody is Mild or Moderate"


def test_the_danger_zone_is_in_the_legend_where_there_is_one():
    figure = clip_maps()
    outlines = sum(len(axes.collections) for axes in figure.axes)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert outlines > 3 and names.count("Danger zone, estimated") == 1


def _luminance(colour):
    """Relative luminance of WCAG 2.1."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_neighbouring_ahi_groups_have_a_contrast_of_two_and_their_own_marker():
    light = [0.05 + _luminance(colour) for colour in AHI_COLOURS.values()]
    assert all(a / b >= 2 for a, b in pairwise(light)), light
    assert len(set(embeddings._MARKERS)) == len(AHI_COLOURS)
