import numpy as np
import pytest

from sacd.figures.ucf51 import examples


def draw():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 3, 12, 16, 3), np.uint8)
    sound = rng.integers(-9000, 9000, (2, 64_000), np.int16)
    return examples(frames, sound, ["a", "b"], 1.5)


@pytest.mark.slow
def test_every_figure_draws_names_its_data_and_saves_equal_bytes(check_figure):
    check_figure(draw)


def test_frames_have_their_time_and_the_sound_has_its_length():
    panels = draw().axes
    assert [axes.get_xlabel() for axes in panels[4:]] == ["0.0 s", "0.5 s", "1.0 s", "Time (s)"]
    assert [t.get_text() for t in panels[-1].get_xticklabels()] == ["0", "0.5", "1", "1.5"]
