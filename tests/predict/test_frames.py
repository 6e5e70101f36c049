from itertools import pairwise

import numpy as np
import pytest
from cohort_files import number, numbered, write_video
from films import cut

from sacd.data.cohort import CohortError
from sacd.data.store import StoreConfig
from sacd.data.video import read_clips
from sacd.predict.frames import clips_of

CONFIG = StoreConfig(height=24, width=32, frames=60)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """400 numbered frames in 100 s."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(path, (numbered(k) for k in range(400)), 4)
    return path


@pytest.mark.parametrize("start", [0.0, 12.3, -7.1, 30.0])
def test_whole_clips_are_those_of_the_ingest(film, start):
    mine = {clip.number: clip for clip in clips_of([film], start, CONFIG)}
    onsets = [30 * k for k in range(6)]
    theirs = read_clips(film, onsets, CONFIG.frames, (24, 32), offset=start)
    whole = 0
    for k, expected in enumerate(theirs):
        assert (k in mine and mine[k].whole) == (expected is not None)
        if expected is not None:
            assert np.array_equal(mine[k].frames, expected)
            whole += 1
    assert whole >= 2


def test_what_does_not_fill_a_clip_is_read_too(film):
    *_, last = clips_of([film], 0.0, CONFIG)
    # Of 100 s too the last frame is the nearest one.
    assert (last.number, last.whole, last.seen.sum()) == (3, False, 21)
    assert last.reached == pytest.approx(100)
    assert [number(f) for f in last.frames[:20]] == list(range(360, 400, 2))
    assert not last.frames[21:].any()


def test_parts_follow_each_other(film, tmp_path):
    parts = [cut(film, tmp_path / "a.mp4", 0, 190), cut(film, tmp_path / "b.mp4", 190, 400)]
    one, two = (list(clips_of(videos, 0.0, CONFIG)) for videos in ([film], parts))
    assert [c.number for c in one] == [c.number for c in two] == [0, 1, 2, 3]
    # The clip in which the first part ends is seen, but nobody knows what is missing in it.
    assert [c.whole for c in two] == [True, False, True, False]
    for a, b in zip(one, two, strict=True):
        assert b.seen.sum() >= a.seen.sum() - 1
        shown = [number(f) for f in b.frames[b.seen]]
        assert all(later >= earlier for earlier, later in pairwise(shown))


def test_skipped_clips_are_not_read_again(film):
    every, rest = (list(clips_of([film], 0.0, CONFIG, skip)) for skip in (0, 2))
    assert not rest[0].frames.any() and not rest[1].frames.any()
    for a, b in zip(every[2:], rest[2:], strict=True):
        assert np.array_equal(a.frames, b.frames) and a.whole == b.whole


def test_models_of_consecutive_frames_are_refused(film):
    config = CONFIG.model_copy(update={"sampling": "consecutive"})
    with pytest.raises(CohortError, match="consecutive"):
        list(clips_of([film], 0.0, config))
