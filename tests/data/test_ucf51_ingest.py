"""Ingest of UCF51: the readers of frames and sound, what is read again, refusals."""

import json
import os

import numpy as np
import pytest
from cohort_files import REAL

from sacd.data.cohort import CohortError
from sacd.data.ucf51 import CLASSES, Ucf51Store, Ucf51StoreConfig
from sacd.data.ucf51_ingest import _name, ingest, read_frames, read_sound
from sacd.report.numbers import OWN_DATA
from sacd.simulate.ucf51 import write_avi

SMALL = Ucf51StoreConfig(height=16, width=16, frames=4, stride=2, windows=2, sound_s=0.5)
FILM = REAL / "video" / "nasa_13013.mp4"


def pictures(n, shape=(48, 64)):
    """Grey pictures, each of its own level."""
    return (np.full((*shape, 3), 10 + 4 * k, np.uint8) for k in range(n))


def tone(hz, seconds, rate=16_000):
    return (12_000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(
        np.int16
    )


def folder(root, names, sound=True):
    for name in names:
        path = root / "UCF-101" / name.split("_")[1] / f"{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_avi(path, pictures(12), 25, tone(440, 0.5) if sound else None)
    return root


def test_windows_spread_over_the_video(tmp_path):
    write_avi(tmp_path / "v.avi", pictures(40), 25)
    frames = read_frames(tmp_path / "v.avi", SMALL)
    assert frames.shape == (2, 4, 16, 16, 3) and frames.dtype == np.uint8
    number = (frames.mean((2, 3, 4)) - 10) / 4
    assert np.abs(number - [[0, 2, 4, 6], [33, 35, 37, 39]]).max() < 1.5
    middle = read_frames(tmp_path / "v.avi", SMALL.model_copy(update={"windows": 1}))
    assert abs((middle.mean() - 10) / 4 - 19.5) < 1.5


def test_a_short_video_is_repeated_and_a_wide_one_cut(tmp_path):
    wide = [
        np.hstack([np.zeros((32, 48, 3)), np.full((32, 32, 3), 200), np.zeros((32, 48, 3))]).astype(
            np.uint8
        )
    ] * 3
    write_avi(tmp_path / "v.avi", wide, 25)
    frames = read_frames(tmp_path / "v.avi", SMALL)
    assert frames.shape == (2, 4, 16, 16, 3)
    assert frames[:, :, 4:12, 4:12].min() > 150  # the middle of the picture, none of its dark sides


def test_sound_is_resampled_cut_and_repeated(tmp_path):
    write_avi(tmp_path / "v.avi", pictures(25), 25, tone(1000, 1.0))
    for seconds in (0.5, 2.0):
        sound = read_sound(tmp_path / "v.avi", seconds)
        assert sound.shape == (round(32_000 * seconds),) and sound.dtype == np.int16
        power = np.abs(np.fft.rfft(sound.astype(float)))
        assert np.fft.rfftfreq(len(sound), 1 / 32_000)[power.argmax()] == pytest.approx(1000, abs=5)
        assert (
            6000 < np.sqrt(np.mean(sound.astype(float) ** 2)) < 10_000
        )  # 12000 / sqrt 2, less the codec's silence


@pytest.mark.skipif(not FILM.exists(), reason="no real data")
def test_a_real_film_with_sound():
    frames, sound = read_frames(FILM, Ucf51StoreConfig(windows=3)), read_sound(FILM, 10.0)
    assert frames.shape == (3, 16, 112, 112, 3) and frames.std() > 5
    assert np.abs(np.diff(frames.astype(int), axis=0)).mean() > 1  # three places of the film
    assert sound.shape == (320_000,) and 100 < sound.std() < 20_000


def test_missing_sound_is_dropped_and_told(tmp_path):
    root = folder(
        tmp_path / "in", ["v_Archery_g01_c01", "v_Archery_g09_c01", "v_HandStandPushups_g14_c02"]
    )
    folder(root, ["v_Archery_g10_c01"], sound=False)
    store = ingest(root, tmp_path / "store", SMALL)
    assert store.videos["video"].tolist() == ["Archery_g01_c01", "Archery_g09_c01"]
    assert set(store.dropped) == {"Archery_g10_c01", "HandstandPushups_g14_c02"}
    assert store.frames.shape == (2, 2, 4, 16, 16, 3) and store.sound.shape == (2, 16_000)
    assert store.classes == ["Archery"] and store.name == "part of UCF51, 1 of 51 classes"


def test_ingest_reads_again_only_what_changed(tmp_path):
    root = folder(tmp_path / "in", ["v_Archery_g01_c01", "v_Archery_g09_c01"])
    first = ingest(root, tmp_path / "store", SMALL)
    os.utime(tmp_path / "store" / "manifest.json", (0, 0))  # it stays as old unless it is written
    assert ingest(root, tmp_path / "store", SMALL).fingerprint == first.fingerprint
    assert (tmp_path / "store" / "manifest.json").stat().st_mtime_ns == 0
    assert (
        ingest(root, tmp_path / "store", SMALL, code="other code").fingerprint == first.fingerprint
    )
    made_by = json.loads((tmp_path / "store" / "manifest.json").read_text())["code"]
    assert made_by == "other code" and (tmp_path / "store" / "manifest.json").stat().st_mtime_ns > 0
    (tmp_path / "store" / "sound.npy").write_bytes(b"damaged")
    assert ingest(root, tmp_path / "store", SMALL).fingerprint == first.fingerprint
    folder(root, ["v_Bowling_g08_c01"])
    assert ingest(root, tmp_path / "store", SMALL).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([], "no such folder"),
        (["v_YoYo_g01_c01"], "holds no video"),
        (["v_Archery_g09_c01"], "no video to test"),
        (["v_Archery_g01_c01"], "no video to train"),
    ],
)
def test_refused_in_one_line(tmp_path, names, problem):
    folder(tmp_path / "in", names)
    with pytest.raises(CohortError, match=problem) as error:
        ingest(tmp_path / "in", tmp_path / "store", SMALL)
    assert "\n" not in str(error.value) and str(tmp_path / "in") in str(error.value)


def test_a_broken_file_is_named_and_nothing_is_left(tmp_path):
    root = folder(tmp_path / "in", ["v_Archery_g01_c01", "v_Archery_g09_c01"])
    bad = root / "UCF-101" / "Archery" / "v_Archery_g08_c01.avi"
    bad.write_bytes(b"no video at all")
    with pytest.raises(CohortError, match=str(bad)) as error:
        ingest(root, tmp_path / "store", SMALL)
    assert "\n" not in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".store.lock", "in"]
    with pytest.raises(CohortError, match="did not finish"):
        Ucf51Store(tmp_path / "store")


def test_only_all_51_classes_are_called_what_verify_compares_with_the_paper(tmp_path):
    assert OWN_DATA["table3"] in _name(tmp_path, len(CLASSES))
    assert OWN_DATA["table3"] not in _name(tmp_path, len(CLASSES) - 1)


def test_a_damaged_sound_track_is_not_called_missing(tmp_path):
    path = tmp_path / "v.avi"
    write_avi(path, pictures(12), 25, tone(440, 0.5))
    path.write_bytes(path.read_bytes().replace(b"01wb", b"xxwb"))  # no packet of it is found
    with pytest.raises(CohortError, match=r"v\.avi: its sound track is damaged; fetch"):
        read_sound(path, 0.5)
