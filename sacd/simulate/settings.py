"""Size and seed of a simulated cohort, and the random streams of each subject."""

import numpy as np
from pydantic import Field, model_validator

from sacd.config import Config
from sacd.stages import CLIP_S


class SimulateConfig(Config):
    """Size and seed of a simulated cohort; parameters.csv describes the subjects."""

    seed: int = Field(0, ge=0)
    n_subjects: int = Field(ge=1)
    blocks: int = Field(
        0,
        ge=0,
        description="blocks of 16 consecutive clips kept per night; 0 keeps the whole night",
    )
    eeg_rate: int = Field(128, ge=80, description="Hz")
    fps_num: int = Field(32, ge=1, description="video frames/s, numerator")
    fps_den: int = Field(15, ge=1, description="video frames/s, denominator")
    width: int = Field(64, ge=32, multiple_of=2, description="pixels")
    height: int = Field(48, ge=24, multiple_of=2, description="pixels")

    @model_validator(mode="after")
    def _whole_clips(self) -> "SimulateConfig":
        if CLIP_S * self.fps_num % self.fps_den:
            raise ValueError(
                f"fps {self.fps_num}/{self.fps_den} gives no whole number of frames in {CLIP_S} s"
            )
        return self


def stream(config: SimulateConfig, index: int, purpose: str) -> np.random.Generator:
    """Random generator of one subject for one purpose.

    The streams are independent: how many numbers are drawn from one does not change another.
    """
    purposes = (
        "groups",
        "night",
        "state",
        "blocks",
        "movement",
        "breathing",
        "eeg",
        "scene",
        "camera",
        "offset",
    )
    seed = np.random.SeedSequence([config.seed, index, purposes.index(purpose)])
    return np.random.default_rng(seed)
