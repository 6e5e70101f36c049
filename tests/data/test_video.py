import av
import numpy as np
import pytest
from cohort_files import REAL, number, numbered, write_video

from sacd.data.cohort import CohortError
from sacd.data.video import probe, read_clips


def numbers(clip):
    return [number(frame) for frame in clip]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """100 s at 8 frames/s."""
    path = tmp_path_factory.mktemp("film") / "v.mp4"
    write_video(path, (numbered(n) for n in range(800)), 8)
    return path


def test_probe(film):
    info = probe(film)
    assert (info.rate, info.height, info.width) == (8, 32, 64)
    assert info.duration_s == pytest.approx(100)


@pytest.mark.parametrize("frames", [1, 15, 60, 64, 240])
def test_spread_takes_the_nearest_frame_to_each_wanted_time(film, frames):
    clips = list(read_clips(film, [0, 30, 60], frames, (16, 32)))
    for onset, clip in zip([0, 30, 60], clips, strict=True):
        wanted = onset + np.arange(frames) * 30 / frames
        got = np.array(numbers(clip)) / 8
        assert clip.shape == (frames, 16, 32) and clip.dtype == np.uint8
        assert np.abs(got - wanted).max() <= 1 / 16 + 1e-9
        assert onset <= got.min() and got.max() < onset + 30
    assert frames != 240 or numbers(clips[1]) == list(range(240, 480))


@pytest.mark.parametrize("frames", [1, 5, 16])
def test_consecutive_takes_native_frames_around_the_middle(film, frames):
    for onset, clip in zip(
        [3, 33], read_clips(film, [3, 33], frames, (32, 64), "consecutive"), strict=True
    ):
        middle = (onset + 15) * 8
        assert numbers(clip) == list(range(middle - frames // 2, middle - frames // 2 + frames))


@pytest.mark.parametrize("sampling", ["spread", "consecutive"])
@pytest.mark.parametrize("offset", [10.0, -10.0, 3.3, -3.3])
def test_offset_is_the_time_of_the_first_frame(film, offset, sampling):
    onsets = [0.0, 30.0, 60.0, 90.0]
    clips = list(read_clips(film, onsets, 60, (16, 32), sampling, offset))
    for onset, clip in zip(onsets, clips, strict=True):
        covered = offset <= onset + 0.2 and onset + 30 <= 100 + offset + 0.2
        assert (clip is not None) == covered
        if covered:
            times = np.array(numbers(clip)) / 8 + offset - onset
            wanted = np.arange(60) / 2 if sampling == "spread" else 15 + (np.arange(60) - 30) / 8
            assert np.abs(times - wanted).max() <= 1 / 8
            assert times.min() >= -1e-3  # even where a frame before the clip would be nearer


def test_late_video_spoils_no_later_clip(film):
    clips = list(read_clips(film, [0, 30, 60, 90, 120], 16, (16, 32), "consecutive", offset=85.0))
    assert [c is None for c in clips] == [True, True, True, False, False]
    assert numbers(clips[3]) == list(range(160 - 8, 160 + 8))


def test_gap_drops_its_clip_only(tmp_path):
    ticks = [*range(0, 300), *range(320, 720)]  # 2.5 s without frames from 37.5 s on
    write_video(tmp_path / "v.mp4", map(numbered, ticks), 8, ticks)
    clips = list(read_clips(tmp_path / "v.mp4", [0, 30, 60], 60, (16, 32)))
    assert [c is None for c in clips] == [False, True, False]
    assert numbers(clips[2]) == list(range(480, 720, 4))


def test_one_lost_frame_is_bridged(tmp_path):
    ticks = [k for k in range(240) if k != 100]
    write_video(tmp_path / "v.mp4", map(numbered, ticks), 8, ticks)
    [clip] = read_clips(tmp_path / "v.mp4", [0], 240, (16, 32))
    assert numbers(clip) == [n if n != 100 else 99 for n in range(240)]


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_other_containers(tmp_path, suffix):
    path = tmp_path / f"v{suffix}"
    write_video(path, (numbered(n) for n in range(240)), 8)
    [clip] = read_clips(path, [0], 60, (16, 32))
    assert numbers(clip) == list(range(0, 240, 4))


def test_resizing_is_the_mean_over_areas_in_full_range(tmp_path):
    y, x = np.mgrid[:48, :64]
    picture = (120 + 100 * np.sin(x / 5) * np.cos(y / 7)).astype(np.uint8)
    write_video(tmp_path / "v.mp4", [picture] * 32, 1)
    [clip] = read_clips(tmp_path / "v.mp4", [0], 4, (6, 8))
    assert np.abs(clip - picture.reshape(6, 8, 8, 8).mean((1, 3))).max() < 3


def test_more_frames_than_the_video_has_are_refused(film):
    with pytest.raises(
        CohortError,
        match=r"v\.mp4: 8 frames/s are 240 frames a clip, 300 consecutive ones are wanted; ",
    ):
        list(read_clips(film, [0], 300, (16, 32), "consecutive"))


def test_a_slow_video_repeats_frames(film, tmp_path):
    [clip] = read_clips(film, [0], 300, (16, 32))
    assert np.diff(numbers(clip)).tolist().count(0) == 60 and set(numbers(clip)) == {*range(240)}
    write_video(tmp_path / "v.mp4", map(numbered, range(70)), 1)
    clips = read_clips(tmp_path / "v.mp4", [3, 33], 64, (16, 32))
    for onset, clip in zip([3, 33], clips, strict=True):
        assert np.abs(np.array(numbers(clip)) - onset - np.arange(64) * 30 / 64).max() < 1
        assert set(numbers(clip)) == {*range(onset, onset + 30)}
    write_video(tmp_path / "slow.mp4", map(numbered, range(20)), 1, range(0, 100, 5))
    with pytest.raises(CohortError, match=r"0\.208 frames/s, at least 0\.5 are needed"):
        list(read_clips(tmp_path / "slow.mp4", [0], 64, (16, 32)))
    # A wrong rate in the header changes nothing.
    write_video(tmp_path / "slow.mkv", map(numbered, range(20)), 1, range(0, 60, 3))
    assert list(read_clips(tmp_path / "slow.mkv", [0], 64, (16, 32))) == [None]


def test_unreadable(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"not a video" * 100)
    with pytest.raises(CohortError, match=r"v\.mp4: cannot be opened as video"):
        probe(tmp_path / "v.mp4")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 16000), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(CohortError, match=r"a\.mp4: holds no video"):
        probe(tmp_path / "a.mp4")


def test_real_video_is_too_short_for_a_clip():
    path = REAL / "video" / "nasa_13013.mp4"
    if not path.is_file():
        pytest.skip("no real data here")
    # Of its two videos the larger one, as players do.
    assert probe(path).rate == pytest.approx(29.97, abs=0.01) and probe(path).height == 270
    assert probe(path).duration_s == pytest.approx(13.013) and probe(path).videos == 2
    assert list(read_clips(path, [0], 16, (45, 80))) == [None]
