"""Figures of notebook 01: what is drawn of a batch, whatever its numbers."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from sacd.figures import method
from sacd.stages import COLOURS, STAGES

RNG = np.random.default_rng(0)
STAGE = np.array([0, 0, 1, 2, 2, 3, 3, 4])
N = len(STAGE)


def attention(node=0, source=5):
    weights = np.full((N, N), 0.1)
    np.fill_diagonal(weights, 0)
    weights[node, source] = 0.4
    return weights


def margins(d):
    grid = np.linspace(0, 4, 9)
    same = np.eye(len(d), dtype=bool)
    return {
        "matched": (np.stack([grid, grid]), np.stack([d[same], d[same]])),
        "mismatched": (
            np.stack([grid, np.maximum(0, 2 - grid)]),
            np.stack([d[~same], np.maximum(0, 2 - d[~same])]),
        ),
    }


def graph(graphs=3):
    d = RNG.uniform(0, 4, (graphs, graphs))
    return method.graph(attention(), 0, STAGE, d, margins(d)), d


SIMILARITY = np.linspace(-0.5, 0.5, 20)
BANK_STAGE = np.arange(20) % 5
CHOSEN = (BANK_STAGE != 0) & (SIMILARITY > 0.2)


def contrast():
    hinge = {"video anchor": np.full(N, 0.2), "EEG anchor": np.full(N, 0.1)}
    return method.contrast(SIMILARITY, BANK_STAGE, 0, CHOSEN, 0.1, 0.2, hinge, STAGE)


def divergences():
    p = RNG.dirichlet(np.ones(5), N)
    return method.divergences({"Student": p, "Teacher": p[::-1]}, np.full(N, 0.3), STAGE), p


def of_points(axes, k=0):
    return [to_hex(colour).upper() for colour in axes.collections[k].get_facecolors()]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: method.similarities({"a": np.eye(N), "b": -np.eye(N)}, STAGE),
        lambda: method.graph(attention(), 0, STAGE, np.eye(2), margins(np.eye(2))),
        contrast,
        lambda: method.divergences({"Student": np.eye(5)[STAGE]}, np.zeros(N), STAGE),
        lambda: method.step({"ce": 1.0, "sum": 1.5}, {"ce": 0.8, "sum": 1.2}),
    ],
)
def test_they_draw_and_save_equal_bytes(check_figure, draw):
    check_figure(draw)


def test_similarities_show_the_stages_of_the_clips_along_both_axes():
    figure = method.similarities({"a": np.eye(N), "b": -np.eye(N)}, STAGE)
    expected = [COLOURS[STAGES[s]].upper() for s in STAGE]
    for axes, cosine in zip(figure.axes, (np.eye(N), -np.eye(N)), strict=False):
        assert (axes.images[0].get_array() == cosine).all() and axes.images[0].get_clim() == (-1, 1)
        assert of_points(axes, 0) == of_points(axes, 1) == expected
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(STAGES)


def test_the_widest_message_has_the_highest_attention():
    figure, d = graph()
    left, middle, right = figure.axes
    widths = [line.get_linewidth() for line in left.lines]
    assert len(widths) == N - 1
    assert int(np.argmax(widths)) == 5 - 1, "the line of the node itself is missing before it"
    printed = [float(text.get_text()) for text in middle.texts]
    assert printed == [float(f"{value:.1f}") for value in d.ravel()]
    pairs = [line.get_xdata() for line in right.lines if line.get_marker() == "o"]
    assert sorted(np.concatenate(pairs)) == sorted(d.ravel())


def test_uniform_attention_is_drawn_with_equal_lines():
    uniform = (1 - np.eye(N)) / (N - 1)
    figure = method.graph(uniform, 2, STAGE, np.eye(2), margins(np.eye(2)))
    assert len({line.get_linewidth() for line in figure.axes[0].lines}) == 1


def test_contrast_tells_masked_from_chosen_entries():
    left, right = contrast().axes
    offsets = [points.get_offsets() for points in left.collections]
    drawn = {len(o): sorted(np.asarray(o)[:, 0]) for o in offsets if len(o)}
    masked, chosen = SIMILARITY[BANK_STAGE == 0], SIMILARITY[CHOSEN]
    rest = SIMILARITY[(BANK_STAGE != 0) & ~CHOSEN]
    assert drawn == {len(v): sorted(v) for v in (masked, chosen, rest)}
    rows = [np.asarray(o)[:, 1] for o in offsets if len(o) == len(masked)]
    assert (np.round(rows[0]) == 0).all(), "entries stay in the row of their stage"
    lines = [line.get_xdata()[0] for line in left.lines]
    assert lines == pytest.approx([0.1, -0.1]), "the positive, and the margin below it"
    tops = [bar.get_y() + bar.get_height() for bar in right.patches]
    assert tops == pytest.approx([0.2] * N + [0.3] * N)


def test_divergences_stack_the_probabilities_in_the_stages_colours():
    figure, p = divergences()
    student, _, last = figure.axes
    heights = np.array([bar.get_height() for bar in student.patches]).reshape(5, N)
    order = ["N3", "N2", "N1", "REM", "W"]  # from the bottom, as in the stacks of a night
    assert np.allclose(heights.T, p[:, [STAGES.index(name) for name in order]])
    faces = [to_hex(bar.get_facecolor()).upper() for bar in student.patches[::N]]
    assert faces == [COLOURS[name].upper() for name in order]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == order[::-1], "as from the top"
    assert last.get_ylim()[1] > np.log(2) and last.texts[0].get_text() == "ln 2"


def test_step_shows_both_values_of_every_term():
    before, after = {"ce": 1.0, "jsd": 0.25}, {"ce": 0.5, "jsd": 0.5}
    (axes,) = method.step(before, after).axes
    assert [bar.get_width() for bar in axes.patches] == [1.0, 0.25, 0.5, 0.5]
    assert [text.get_text() for text in axes.texts] == ["1.000", "0.250", "0.500", "0.500"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ce", "jsd"]
