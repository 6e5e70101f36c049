import csv
from pathlib import Path

import numpy as np
import pytest

from sacd.data.pixels import MOVING, breathing, movement, rhythm
from sacd.data.video import read_clips
from sacd.simulate.cohort import night_of
from sacd.simulate.hypnogram import state
from sacd.simulate.physiology import Breather, movements
from sacd.simulate.physiology import breathing as breaths_of
from sacd.simulate.settings import SimulateConfig, stream
from sacd.simulate.video import Light, Poses, Scene, frames

REAL = Path(__file__).resolve().parents[3] / "shared" / "realdata"
RATE, FRAMES, CLIPS = 32 / 15, 64, 60


def filmed(index):
    """Half an hour of a simulated night as the store keeps it, and the truth of every frame."""
    config = SimulateConfig(seed=5, n_subjects=8)
    night = night_of(config, (index, index % 4))
    rng = {name: stream(config, index, name) for name in ("state", "movement", "breathing")}
    body = state(night.stages, rng["state"])
    moves = movements(night, body, rng["movement"])
    setting, camera = stream(config, index, "scene"), stream(config, index, "camera")
    scene = Scene(64, 48, setting)
    light, poses = Light(scene, camera), Poses.draw(moves, setting)
    start, count = 3600.0, CLIPS * FRAMES
    times = start + np.arange(count) / RATE
    breath = breaths_of(
        Breather.draw(rng["breathing"]), night, body, start - 1, times[-1] + 1, rng["breathing"]
    )
    film = np.concatenate(list(frames(scene, light, poses, moves, breath, times, camera)))
    small = film.reshape(count, 24, 2, 32, 2).mean(axis=(2, 4)).astype(np.uint8)
    chest, abdomen = breath.at(times)
    truth = (moves.activity(times), (chest + abdomen) / 2)
    return small.reshape(CLIPS, FRAMES, 24, 32), *(x.reshape(CLIPS, FRAMES) for x in truth)


@pytest.fixture(scope="module")
def film():
    parts = zip(*(filmed(index) for index in range(8)), strict=True)
    clips, activity, breath = (np.concatenate(part) for part in parts)
    trace = movement(clips, RATE)
    return clips, activity, breath, trace, breathing(clips, RATE, trace)


@pytest.mark.slow
def test_movements_of_the_body_are_seen_and_little_else(film):
    _, activity, _, trace, _ = film
    largest, strength = trace.max(axis=1), activity.max(axis=1)
    strong, still = largest[strength > 0.6], largest[strength == 0]
    assert len(strong) >= 20 and (strong > MOVING).mean() >= 0.7
    assert (still > MOVING).mean() <= 0.1
    # Of a clip with such a movement and a still one, the former changes more.
    assert (strong[:, None] > still).mean() >= 0.9


def test_a_movement_is_seen_when_it_happens(film):
    _, activity, _, trace, _ = film
    strong = activity > 0.6
    near = strong | np.roll(strong, 1, axis=1)  # the trace looks back by one frame
    assert np.median(trace[near]) > MOVING > np.quantile(trace[activity == 0], 0.97)


def test_breaths_a_minute_are_those_of_the_truth(film):
    _, activity, truth, _, found = film
    true_rate, true_regularity = rhythm(truth, RATE)
    still = activity.max(axis=1) == 0
    assert (abs(found.rate - true_rate)[still] < 1).mean() >= 0.95
    assert (abs(found.rate - true_rate) < 1).mean() >= 0.9
    assert np.corrcoef(found.regularity, true_regularity)[0, 1] > 0.8


def test_the_wave_is_the_breath(film):
    _, _, truth, _, found = film
    alike = [
        abs(np.corrcoef(wave, breath)[0, 1]) for wave, breath in zip(found.wave, truth, strict=True)
    ]
    assert np.median(alike) > 0.9


def made_up(depth, hertz=0.25, rate=RATE, seconds=30.0, noise=0.5, seed=0):
    """A textured picture, a part of which moves with the breath."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(rate * seconds)) / rate
    body = np.zeros((24, 32))
    body[6:18, 8:20] = np.random.default_rng(3).normal(1, 0.3, (12, 12))
    wave = np.sin(2 * np.pi * hertz * t)[:, None, None]
    still = np.random.default_rng(1).uniform(60, 180, (24, 32))
    return still + depth * wave * body + rng.normal(0, noise, (len(t), 24, 32))


def test_depth_grows_with_the_breath():
    shallow, deep = (breathing(made_up(depth), RATE) for depth in (2.0, 4.0))
    assert deep.depth / shallow.depth == pytest.approx(2, abs=0.2)
    assert shallow.rate == pytest.approx(15, abs=0.3) and deep.regularity > 0.8


@pytest.mark.parametrize("rate", [4.0, 12.5])
def test_any_frame_rate_gives_the_same_breath(rate):
    assert breathing(made_up(3.0, 0.3, rate), rate).rate == pytest.approx(18, abs=0.3)


def test_no_breath_is_irregular_and_shallow():
    none, some = (breathing(made_up(depth), RATE) for depth in (0.0, 3.0))
    assert none.regularity < 0.6 < some.regularity and none.depth < some.depth / 3


def test_equal_frames_and_flicker_are_no_movement():
    still = np.full((64, 24, 32), 90, np.uint8)
    assert (movement(still, RATE) == 1).all()
    assert np.isnan(breathing(still, RATE).rate)
    gain = np.random.default_rng(0).normal(1, 0.05, (64, 1, 1))
    assert movement(made_up(1.0) * gain, RATE).max() < MOVING


def test_one_clip_is_read_like_several():
    clips = np.stack([made_up(2.0, seed=k) for k in range(3)])
    together = breathing(clips, RATE)
    alone = breathing(clips[1], RATE)
    assert alone.rate == together.rate[1] and np.allclose(alone.wave, together.wave[1], atol=1e-6)
    assert np.allclose(movement(clips[1], RATE), movement(clips, RATE)[1])


def test_what_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="shape"):
        movement(np.zeros((24, 32)), RATE)
    with pytest.raises(ValueError, match="breathing needs 10 s"):
        breathing(made_up(2.0, seconds=8), RATE)
    with pytest.raises(ValueError, match="breathing needs"):
        breathing(made_up(2.0, rate=1.0), 1.0)
    with pytest.raises(ValueError, match=r"more than 0\.47 s"):
        movement(np.zeros((2, 24, 32)), 5.0)


@pytest.mark.skipif(not (REAL / "ir_bed_video").is_dir(), reason="real video absent")
def test_a_real_sleeper_who_turns_is_seen_turning():
    folder = REAL / "ir_bed_video"
    video = folder / "Infrared_TEST_FULL_SEQUENCE_subject09_config1.mp4"
    onsets = [0.0, 30.0]
    clips = read_clips(video, onsets, 180, (24, 32))
    trace = np.concatenate([movement(clip, 6.0) for clip in clips])
    labels = next(folder.glob("*Labels.csv")).read_text().splitlines()
    turns = [  # labels 2 and 3: to the left and to the right
        (int(row["InitFrame"]), int(row["EndFrame"]))
        for row in csv.DictReader(labels)
        if (row["Subject"], row["Config"]) == ("9", "1")
        and row["Label"] in "23"
        and int(row["EndFrame"]) < len(trace)
    ]
    seen = [trace[first : last + 1].max() > MOVING for first, last in turns]
    assert len(turns) >= 4 and np.mean(seen) >= 0.9


@pytest.mark.skipif(not (REAL / "santa_fe_b").is_dir(), reason="real breathing absent")
def test_the_rhythm_of_a_real_chest_is_that_of_its_peaks():
    from sacd.analysis.night_measures import breaths  # another method, from peaks

    file = next((REAL / "santa_fe_b").glob("SFI*.txt"))
    chest = np.loadtxt(file, comments="%")[:, 1]
    clips = chest[: len(chest) // 60 * 60].reshape(-1, 60)
    rate, regularity = rhythm(clips, 2.0)
    known = breaths(clips.ravel(), 2)
    steady = (known["variation"] < 15).to_numpy() & (regularity > 0.5)
    assert steady.sum() > 50
    assert np.median(abs(rate - known["rate"])[steady]) < 1
