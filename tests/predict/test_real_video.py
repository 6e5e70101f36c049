"""A real sleeper who turns in bed, posed, filmed in near infrared; skipped without the video."""

import numpy as np
import pandas as pd
import pytest
from films import REAL, TURNS, likeness, pictures_in, some_frames

from sacd.__main__ import main

pytestmark = pytest.mark.skipif(not TURNS.is_file(), reason="real video absent")
RATE = 6.0
SLACK_S = 0.5
"""A label ends at a frame that somebody chose."""


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "out"
    assert main(["predict", str(TURNS), "--out", str(folder)]) == 0
    return folder


def labelled(names):
    """Onset and end in s of the labelled actions; 2 and 3 are turns, 6 and above lying still."""
    table = pd.read_csv(next(REAL.glob("*Labels.csv")))
    mine = table[(table["Subject"] == 9) & (table["Config"] == 1) & table["Label"].isin(names)]
    return (mine["InitFrame"] / RATE).to_numpy(), ((mine["EndFrame"] + 1) / RATE).to_numpy()


def test_movement_is_seen_where_the_sleeper_turns_and_not_where_nothing_moves(out):
    events = pd.read_csv(out / "sub-01_task-sleep_events.tsv", sep="\t")
    moved = events[events["trial_type"] == "body movement"]
    first, last = moved["onset"].to_numpy(), (moved["onset"] + moved["duration"]).to_numpy()
    onset, end = labelled([2, 3])
    seen = ((first < end[:, None]) & (last > onset[:, None])).any(axis=1)
    assert len(onset) == 6 and seen.mean() >= 0.9
    onset, end = labelled(range(6))
    near = (first < end[:, None] + SLACK_S) & (last > onset[:, None] - SLACK_S)
    minutes = 534 / RATE / 60
    assert (~near.any(axis=0)).sum() / minutes <= 1
    # Still stretches are not called movement: at most a tenth of them.
    onset, end = labelled(range(6, 10))
    over = np.minimum(last, end[:, None] - SLACK_S) - np.maximum(first, onset[:, None] + SLACK_S)
    assert np.maximum(over, 0).sum() <= 0.1 * (end - onset).sum()


def test_it_is_staged_to_the_end_and_says_how_little_that_means(out):
    found = pd.read_csv(out / "hypnogram.csv")
    assert list(found["stage"] != "unscored") == [True, True, False]  # 89 s
    assert "fewer than" in (out / "index.html").read_text()


def test_no_frame_of_it_is_in_any_output(out):
    pictures, frames = pictures_in(out), some_frames(TURNS, 250)
    assert len(pictures) == 2 and np.array_equal(*pictures)
    every = b"".join(p.read_bytes() for p in out.iterdir())
    for frame in frames:
        assert frame.tobytes() not in every
        assert likeness(pictures[0], frame) < 0.85
    spoilt = pictures[0].copy()
    spoilt[100:196, 100:228] = np.kron(frames[0], np.ones((4, 4)))
    assert likeness(spoilt, frames[0]) > 0.95
