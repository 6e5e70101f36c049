"""Videos as labs have them: which clips are read and with which pictures, and what `check` says.

Each case is a video (and what was done to it), the clips that ingest must keep, and the line that
`check` must print; "" means none. A clip holds pictures of its own brightness, so that a clip with
the pictures of another one is found.
"""

import re
import shutil

import numpy as np
import pytest
from cohort_files import REAL, numbered, write_video
from video_cases import READ, REFUSED, noise, noisy
from video_files import TIMES, level, picture, turn, write_film, write_night, zeros

from sacd.data.check import check
from sacd.data.cohort import CohortError
from sacd.data.decode import decoded, listed
from sacd.data.ingest import ingest
from sacd.data.look import odd_pictures
from sacd.data.store import StoreConfig
from sacd.data.video import read_clips

pytestmark = pytest.mark.slow  # encodes videos

SAMPLINGS = [("spread", 64), ("consecutive", 16)]


@pytest.fixture
def night(tmp_path):
    """Root of a cohort of one night, and its video's path without an extension."""
    root = tmp_path / "cohort"
    return root, write_night(root)


def lines(root, frames, sampling):
    return [
        f"{r.level} {r.file}: {r.problem}"
        for r in check(root, "C3", 100, frames, sampling).itertuples()
    ]


@pytest.mark.parametrize("case", READ)
def test_the_right_pictures_are_read_and_losses_are_said(night, tmp_path, case):
    (root, stem), (write, kept, line) = night, READ[case]
    write(stem)
    for sampling, frames in SAMPLINGS:
        config = StoreConfig(height=24, width=32, frames=frames, sampling=sampling)
        store = ingest(root, tmp_path / sampling, config)
        assert (store.clips["onset_s"] / 30).tolist() == kept, sampling
        for k, clip in zip(kept, store.video("sub-01"), strict=True):
            pictures = clip[:, 10:22, 2:14].mean((1, 2))
            assert np.abs(pictures - level(30 * k)).max() < 6, (sampling, k, pictures)
            assert clip[:, 2:22, 20:].mean() < 12 and clip[:, 1:4, 1:6].mean() > 235, sampling
        said = lines(root, frames, sampling)
        problems = [text for text in said if "taken twice" not in text]
        assert len(problems) == (1 if line else 0) and line in "".join(problems), said
        assert not re.search("error", "".join(said)), said


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_one_line_and_leaves_nothing(night, tmp_path, case):
    (root, stem), (write, line) = night, REFUSED[case]
    write(stem)
    said = lines(root, 64, "spread")
    assert any(text.startswith("error") and line in text for text in said), said
    config = StoreConfig(height=24, width=32, frames=64)
    with pytest.raises(CohortError, match=line if "(" not in line else re.escape(line)) as caught:
        ingest(root, tmp_path / "store", config)
    assert "\n" not in str(caught.value) and "; " in str(caught.value)
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".lock"]


@pytest.mark.parametrize(("speed", "asked"), [(1.5, False), (2.5, True)])
def test_a_video_of_less_than_half_the_night_may_play_too_fast(night, speed, asked):
    root, stem = night
    write_film(stem.with_suffix(".mkv"), stamps=[t / speed for t in TIMES])
    [fix] = check(root)["fix"]
    assert ("play faster than the night" in fix) == asked


def corners(path):
    [clip] = read_clips(path, [0], 4, (48, 48))
    quarter = clip.mean(0).reshape(2, 24, 2, 24).mean((1, 3))
    return quarter.round(-1).astype(int).tolist()


# The picture's left half is 40 and its top left white; matrix, and the quarters that are shown.
TURNS = {
    "not": ((1, 0, 0, 1), lambda x: x),
    "90 clockwise": ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    "180": ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    "270 clockwise": ((0, -1, 1, 0), lambda x: np.rot90(x)),
    "mirrored": ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda x: x[::-1]),
    "transposed": ((0, 1, 1, 0), lambda x: x.T),
    "transposed the other way": ((0, -1, -1, 0), lambda x: x[::-1, ::-1].T),
}


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_turned_video_is_read_as_players_show_it(tmp_path, name, suffix):
    straight = write_film(tmp_path / f"a{suffix}", image=picture)
    turned = shutil.copy(straight, tmp_path / f"b{suffix}")
    matrix, shown = TURNS[name]
    turn(turned, matrix)
    assert corners(turned) == shown(np.array(corners(straight))).tolist()


def shaded(second, height=48, width=64):
    y, x = np.mgrid[:height, :width]
    return (60 + 2 * y + x + 10 * np.sin(second)).clip(0, 255).astype(np.uint8)


ODD = {
    "dark": (lambda *a: shaded(*a) // 20, "is dark"),
    "saturated": (lambda *a: np.full((48, 64), 254, np.uint8), "is saturated"),
    "flat": (lambda *a: np.full((48, 64), 90, np.uint8), "is flat"),
    "upside down": (lambda *a: shaded(*a)[::-1, ::-1], "seem turned by 180 degrees"),
    "upright": (
        lambda *a: np.full((64, 48), 90, np.uint8) + np.arange(48, dtype=np.uint8),
        "upright",
    ),
    "like the others": (shaded, ""),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_pictures_are_said(tmp_path, case):
    from sacd.data.cohort import Night  # a night of a video alone

    image, line = ODD[case]
    nights = []
    for k in range(4):
        path = tmp_path / f"{k}.mp4"
        shape = (64, 48) if case == "upright" and k == 2 else (48, 64)
        write_film(path, TIMES[:50], image=image if k == 2 else shaded, shape=shape)
        nights.append(Night(f"sub-{k}", path, path, path, "n/a", 0, 0, 0))
    found = [(subject, error.problem) for subject, (_, error) in odd_pictures(nights)]
    assert [subject for subject, _ in found] == (["sub-2"] if line else [])
    assert not line or line in found[0][1]


def test_threads_do_not_change_what_is_read_of_a_damaged_video(tmp_path):
    path = write_film(tmp_path / "v.mp4", image=noisy)
    zeros(path, 45)
    noise(path)
    one, many = ([t for t, _ in decoded(path, threads)] for threads in (1, 4))
    assert one == many and len(one) < len(TIMES)


def test_packets_alone_tell_the_same_as_frames(tmp_path):
    path = write_film(tmp_path / "v.mp4")
    zeros(path, 45)
    assert [t for t, _ in listed(path)] == sorted(t for t, _ in decoded(path))
    write_video(tmp_path / "n.mkv", (numbered(n) for n in range(400)), 8)
    assert len(list(listed(tmp_path / "n.mkv"))) == 400


def test_a_real_infrared_video_is_read():
    [path] = (REAL / "ir_bed_video").glob("*.mp4") if (REAL / "ir_bed_video").is_dir() else [None]
    if path is None:
        pytest.skip("no real data here")
    clips = list(read_clips(path, [0, 29.5, 59.5], 64, (48, 64)))
    assert [clip is not None for clip in clips] == [True, True, False]
    assert all(clip.std() > 5 for clip in clips[:2])
