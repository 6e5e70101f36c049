"""Readers of the simulated files, and the settings of the cohort that the tests share."""

import json
from fractions import Fraction
from pathlib import Path

import av
import mne
import numpy as np
import pandas as pd
import pytest

from sacd.simulate.settings import SimulateConfig
from sacd.stages import STAGES

NIGHTS = Path(__file__).resolve().parents[3] / "shared" / "realdata" / "ucddb_tables"
needs_nights = pytest.mark.skipif(
    not NIGHTS.is_dir(), reason="UCDDB's tables are not beside the repository"
)
# With this seed there are cameras that start early, late and in time.
CONFIG = SimulateConfig(n_subjects=6, blocks=2, seed=5)
SUBJECTS = [f"sub-{i:02d}" for i in range(1, 7)]
FRAMES = 64
"""Frames per clip."""


def read(root: Path, subject: str) -> tuple[pd.DataFrame, dict, dict]:
    """Events, sidecar of the video, ground truth."""
    stem = f"{subject}_task-sleep"
    events = pd.read_csv(root / subject / "eeg" / f"{stem}_events.tsv", sep="\t")
    side = json.loads((root / subject / "video" / f"{stem}_video.json").read_text())
    truth = root / "derivatives" / "simulator" / f"{subject}_truth.npz"
    with np.load(truth, allow_pickle=False) as file:
        return events, side, dict(file)


def clips_of(events: pd.DataFrame) -> pd.DataFrame:
    """Rows of the events that are clips."""
    return events[events.trial_type.isin([*STAGES, "unscored"])]


def open_eeg(root: Path, subject: str) -> mne.io.BaseRaw:
    path = root / subject / "eeg" / f"{subject}_task-sleep_eeg.edf"
    return mne.io.read_raw_edf(path, verbose="error")


def pictures_of(root: Path, subject: str) -> np.ndarray:
    """All frames of a video, (n, height, width)."""
    with av.open(str(root / subject / "video" / f"{subject}_task-sleep_video.mp4")) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        assert file.streams.video[0].average_rate == Fraction(CONFIG.fps_num, CONFIG.fps_den)
        return np.stack([frame.to_ndarray(format="gray") for frame in file.decode(video=0)])
