"""Staging of the EEG that was recorded beside the video, by YASA's published stager."""

from pathlib import Path

import pandas as pd

from sacd.data.eeg import open_channel, read_eeg
from sacd.files import FileError
from sacd.stages import CLIP_S, UNSCORED
from sacd.training.baselines import yasa_probabilities

RATE = 100
"""Hz, that of YASA."""
LEAST_S = 300
"""YASA needs the statistics of a recording of some minutes."""


def staged(edf: Path, channel: str, clips: pd.Series) -> pd.DataFrame:
    """Stages of some clips of a recording, from one channel of its EEG.

    Args:
        clips: their numbers, from the start of the EEG.

    Returns:
        One row per clip: by ("YASA, <channel>"), and stage (`UNSCORED` where there is no EEG).

    Raises:
        CohortError: the file has no such channel or cannot be read.
        FileError: it is too short.
    """
    raw = open_channel(edf, channel)
    eeg = read_eeg(raw, RATE)
    n = len(eeg) // (RATE * CLIP_S)  # whole clips
    if n * CLIP_S < LEAST_S:
        problem = f"lasts {len(eeg) / RATE:.0f} s, YASA needs {LEAST_S} s"
        raise FileError(edf, problem, "give the whole recording, or leave --eeg out")
    found = yasa_probabilities(eeg[: n * RATE * CLIP_S].reshape(n, -1), RATE).argmax(axis=1)
    stages = pd.Series(found).reindex(clips.to_numpy()).fillna(UNSCORED).astype(int)
    return pd.DataFrame({"by": f"YASA, {raw.name}", "stage": stages.to_numpy()})
