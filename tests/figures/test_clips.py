"""Figures of clips: what is drawn of EEG, movement, breathing and frames."""

import numpy as np
import pandas as pd
import pytest

from sacd.analysis import cases
from sacd.figures import clips

RNG = np.random.default_rng(0)
EEG = 40 * RNG.standard_normal((2, 3000))
VIDEO = RNG.integers(0, 255, (2, 16, 12, 16), np.uint8)
ROWS = pd.DataFrame({"subject": ["a", "b"], "clip": [3, 1], "row": [0, 1]})


class _Store:
    """Stands in for a clip store of two clips."""

    class config:
        eeg_rate = 100

    def gather_eeg(self, rows):
        return EEG[: len(rows)]

    def gather_video(self, rows):
        return VIDEO[: len(rows)]


@pytest.fixture
def cohort(tmp_path):
    folder = tmp_path / "derivatives" / "simulator"
    folder.mkdir(parents=True)
    for number, subject in enumerate("ab"):
        breathing = 10 * number + np.arange(5)[:, None] + np.zeros((5, 64))
        np.savez(folder / f"{subject}_truth.npz", breathing=breathing, night_s=np.arange(5))
    return tmp_path


def images(figure):
    return [image for axes in figure.axes for image in axes.images]


def lines(figure, colour):
    of = [line for axes in figure.axes for line in axes.lines if line.get_color() == colour]
    return [line.get_ydata() for line in of]


@pytest.mark.slow
@pytest.mark.parametrize("frames", [True, False])
def test_every_figure_draws_names_its_data_and_saves_equal_bytes(check_figure, frames):
    check_figure(lambda: clips.montage(EEG, 100, VIDEO, ["p", "q"], None, frames))


@pytest.mark.slow
def test_a_message_draws_names_its_data_and_saves_equal_bytes(check_figure):
    check_figure(lambda: clips.message("No clip."))


def test_frames_only_if_they_may_be_shown(cohort):
    shown, hidden = (
        clips.correspondence(_Store(), ROWS, ["x", "y"], frames, cohort) for frames in (True, False)
    )
    assert len(images(shown)) == 4 and not images(hidden)
    frame, change = (image.get_array() for image in images(shown)[:2])
    assert (frame == VIDEO[0, 8]).all()
    expected = np.abs(np.diff(VIDEO[0].astype(float), axis=0)).mean(0)
    np.testing.assert_allclose(change, expected)


def test_movement_is_the_change_from_frame_to_frame(cohort):
    figure = clips.correspondence(_Store(), ROWS, ["x", "y"], False, cohort)
    moving = lines(figure, clips._MOVING)
    assert [len(trace) for trace in moving] == [15, 15]
    assert [trace.mean() for trace in moving] == pytest.approx(cases.movement(VIDEO))


def test_breathing_is_that_of_the_clip_and_only_where_it_is_known(cohort, tmp_path_factory):
    known = clips.correspondence(_Store(), ROWS, ["x", "y"], False, cohort)
    assert [trace.mean() for trace in lines(known, clips._BREATH)] == [3, 11]
    real = tmp_path_factory.mktemp("real")
    assert clips.truth(real, "a") == {}
    assert not lines(clips.correspondence(_Store(), ROWS, ["x", "y"], False, real), clips._BREATH)


def test_the_scale_bar_is_as_long_as_it_says(cohort):
    figure = clips.correspondence(_Store(), ROWS, ["x", "y"], False, cohort)
    (wave,) = [axes for axes in figure.axes if axes.get_title("left") == "x"]
    bar = wave.lines[1].get_ydata()
    assert wave.texts[0].get_text() == f"{bar[1] - bar[0]:g} µV" == "100 µV"


def test_without_clips_the_figure_says_so(cohort):
    figure = clips.correspondence(_Store(), ROWS[:0], [], True, cohort)
    assert "No clip" in figure.texts[0].get_text()
