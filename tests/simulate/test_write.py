"""The simulated files: data contract, cuts of the night, EEG and video of the same breath."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulated_files import CONFIG, FRAMES, SUBJECTS, clips_of, open_eeg, pictures_of, read

from sacd.stages import CLIP_S, label


def test_files_keep_the_data_contract(cohort: Path) -> None:
    people = pd.read_csv(cohort / "participants.tsv", sep="\t")
    assert list(people) == ["participant_id", "sex", "age", "weight_kg", "ahi", "source"]
    assert list(people.participant_id) == SUBJECTS
    description = json.loads((cohort / "dataset_description.json").read_text())
    assert description["simulated"] is True and "condensed" in description["Name"]
    assert description["Simulator"]["config"] == CONFIG.model_dump()
    offsets = set()
    for subject in people.participant_id:
        events, side, truth = read(cohort, subject)
        offsets.add(side["StartOffset"])
        clips = clips_of(events)
        np.testing.assert_array_equal(clips.onset, np.arange(len(clips)) * CLIP_S)
        assert (clips.duration == CLIP_S).all()
        assert all(label(name) is not None for name in clips.trial_type)
        assert len(clips) == 16 * CONFIG.blocks + (side["StartOffset"] > 0)
        raw = open_eeg(cohort, subject)
        assert raw.ch_names == ["C3"] and raw.info["sfreq"] == CONFIG.eeg_rate
        assert raw.n_times == len(clips) * CLIP_S * CONFIG.eeg_rate
        assert 1e-6 < raw.get_data().std() < 2e-4  # in V: the unit is stated and read as uV
        pictures = pictures_of(cohort, subject)
        assert pictures.shape[1:] == (CONFIG.height, CONFIG.width) and pictures.dtype == np.uint8
        end = side["StartOffset"] + len(pictures) * CONFIG.fps_den / CONFIG.fps_num
        assert 0 <= end - len(clips) * CLIP_S < CONFIG.fps_den / CONFIG.fps_num
        assert truth["breathing"].shape == truth["activity"].shape == (len(clips), FRAMES)
        scored = clips.trial_type.to_numpy() != "unscored"
        # The camera runs during every scored clip.
        assert np.isfinite(truth["breathing"][scored]).all()
    assert min(offsets) < 0 < max(offsets) and 0 in offsets


def test_boundaries_stand_where_the_night_was_cut(cohort: Path) -> None:
    for subject in SUBJECTS:
        events, _, truth = read(cohort, subject)
        cuts = np.flatnonzero(np.diff(truth["night_s"]) != CLIP_S) + 1
        boundary = events[events.trial_type == "boundary"]
        np.testing.assert_array_equal(boundary.onset, cuts * CLIP_S)
        assert (boundary.duration == 0).all() and len(boundary) >= CONFIG.blocks - 1


@pytest.mark.slow
def test_breathing_of_the_right_clip_is_in_the_pixels(cohort: Path) -> None:
    """The leading components of the pixels follow the breathing of their clip, not of the next one.

    Whether the camera starts early, late or in time.
    """
    for subject in SUBJECTS:
        _, side, truth = read(cohort, subject)
        seconds = side["StartOffset"] + np.arange(10**5) * CONFIG.fps_den / CONFIG.fps_num
        first = int(side["StartOffset"] > 0)
        start = int(np.searchsorted(seconds, first * CLIP_S - 1e-6))
        breathing, activity = truth["breathing"][first:], truth["activity"][first:]
        pictures = pictures_of(cohort, subject)[start:]
        pictures = pictures[: len(breathing) * FRAMES].reshape(len(breathing), FRAMES, -1)
        pictures = pictures.astype(np.float32)
        own, other = [], []
        for k in range(len(breathing) - 1):
            if activity[k].any() or min(breathing[k].std(), breathing[k + 1].std()) < 0.1:
                continue
            still = np.median(pictures[k], 0)
            gain = np.median(pictures[k] / np.maximum(still, 1), 1, keepdims=True)
            change = pictures[k] / gain - still
            change -= change.mean(0)
            components = np.linalg.eigh(change @ change.T)[1][:, -3:].T
            for found, signal in ((own, breathing[k]), (other, breathing[k + 1])):
                correlations = [np.corrcoef(c, signal)[0, 1] for c in components]
                found.append(np.abs(correlations).max())
        assert np.median(own) > 0.5 and np.median(own) > np.median(other) + 0.15
