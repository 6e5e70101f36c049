"""Features of the baselines: band powers, differences within a night, true breathing."""

import numpy as np
import pandas as pd
import pytest

from sacd.simulate.cohort import night_of
from sacd.simulate.eeg import Head, eeg
from sacd.simulate.hypnogram import state
from sacd.simulate.physiology import movements
from sacd.simulate.settings import SimulateConfig, stream
from sacd.training.baselines import (
    BANDS_HZ,
    band_powers,
    signal_facts,
    true_signals,
    within_night,
    yasa_probabilities,
)

RATE = 128


@pytest.mark.parametrize("band", range(len(BANDS_HZ)))
def test_a_tone_has_its_power_in_its_band(band):
    low, high = BANDS_HZ[band]
    seconds = np.arange(30 * RATE) / RATE
    tone = 50 * np.sin(2 * np.pi * (low + high) / 2 * seconds)
    powers = band_powers(np.stack([tone, 2 * tone]), RATE)
    assert powers.shape == (2, len(BANDS_HZ))
    assert (powers.argmax(axis=1) == band).all()
    assert powers[1, band] - powers[0, band] == pytest.approx(np.log(4), abs=1e-3)


def test_the_level_of_a_night_is_removed():
    x = np.array([[1.0], [2.0], [4.0], [101.0], [102.0], [104.0]])
    subjects = np.repeat(["a", "b"], 3)
    assert within_night(x, subjects)[:, 1].tolist() == [-1, 0, 2, -1, 0, 2]
    assert (within_night(x, subjects)[:, :1] == x).all()


def test_the_breathing_rate_and_the_movement_of_a_clip_are_found():
    rate = 8
    seconds = np.arange(30 * rate) / rate
    breathing = np.stack([np.sin(2 * np.pi * 0.2 * seconds), 3 * np.sin(2 * np.pi * 0.4 * seconds)])
    activity = np.zeros_like(breathing)
    activity[1, :60] = 1.0  # a quarter of the clip
    facts = signal_facts(breathing, activity, rate)
    assert facts[:, 3] == pytest.approx([0.2, 0.4])  # strongest frequency in Hz
    assert facts[1, 0] == pytest.approx(3 * facts[0, 0], rel=1e-2)  # depth
    assert facts[:, 10].tolist() == [0.0, 0.25]  # mean activity
    assert np.isfinite(facts).all()


def test_the_truth_of_clips_is_that_of_their_places_in_the_night(tmp_path):
    folder = tmp_path / "derivatives" / "simulator"
    folder.mkdir(parents=True)
    breathing = np.arange(4 * 240.0).reshape(4, 240)  # four clips of 30 s at 8 Hz
    np.savez(folder / "sub-01_truth.npz", breathing=breathing, activity=-breathing)
    clips = pd.DataFrame({"subject": "sub-01", "clip": [3, 0]})
    found, activity, rate = true_signals(tmp_path, clips)
    assert (found == breathing[[3, 0]]).all() and (activity == -breathing[[3, 0]]).all()
    assert rate == 8
    with pytest.raises(ValueError, match=r"sub-02_truth\.npz is missing; this bound"):
        true_signals(tmp_path, clips.assign(subject="sub-02"))


@pytest.mark.slow
def test_yasa_stages_two_hours_of_a_simulated_night_far_better_than_chance():
    """A wrong unit or order of stages would leave it at chance, near the share of N2."""
    config, clips = SimulateConfig(n_subjects=1), 240
    night = night_of(config, (0, 0))
    body = state(night.stages, stream(config, 0, "state"))
    moves = movements(night, body, stream(config, 0, "movement"))
    rng = stream(config, 0, "eeg")
    samples = eeg(Head.draw(rng), night, body, moves, 0.0, clips * 30 * RATE, RATE, rng)
    p = yasa_probabilities(samples.reshape(clips, -1), RATE)
    stage = night.stages[:clips]
    assert p.shape == (clips, 5) and (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    scored = stage >= 0
    right = p.argmax(axis=1)[scored] == stage[scored]
    most = np.bincount(stage[scored]).max() / scored.sum()
    assert right.mean() > most + 0.3
