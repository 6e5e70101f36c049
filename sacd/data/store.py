"""The clip store: EEG and video of every clip as arrays that training maps into memory.

    <store>/sub-01/video.npy      (n, parts * frames, height, width) uint8
    <store>/sub-01/eeg.npy        (n, 30 * rate) float32, uV
    <store>/sub-01/clips.parquet  clip, onset_s, stage, block; row k describes row k of the arrays
    <store>/sub-01/night.json     config, code, sources, checksums, why clips were dropped
    <store>/manifest.json         all of these, the cohort's name and participants; written last

The store holds every clip that has a stage, complete EEG and complete video. `sacd.data.ingest`
writes it.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from sacd.config import Config
from sacd.data.cohort import CohortError
from sacd.data.video import Sampling
from sacd.files import read_json
from sacd.stages import CLIP_S

FORMAT = 1
"""Bump when stores are read in another way. A change of the ingest's code is noticed without it."""
Size = Annotated[int, Field(ge=1)]


class StoreConfig(Config):
    """EEG channel, EEG rate in Hz, frame size in pixels, and which frames of a clip are kept.

    `sampling="spread"`: `frames` frames spread evenly over the 30 s. `"consecutive"`: neighbouring
    native frames around the middle of the clip, as in the paper; or `windows` times so many, around
    the middles of as many equal parts of the clip.
    """

    channel: str = "C3"
    eeg_rate: Size = 100
    height: Size
    width: Size
    frames: Size
    sampling: Sampling = "spread"
    windows: Size = 1
    added: ClassVar[tuple[str, ...]] = ("windows",)

    @property
    def parts(self) -> int:
        """Windows that are stored of a clip; frames that are spread are one."""
        return self.windows if self.sampling == "consecutive" else 1


class ClipStore:
    """A finished store, read-only.

    Attributes:
        root, config: its folder and its settings.
        name: name of the cohort; every output states it.
        fingerprint: identity of the data for runs: SHA-256 over the checksums of all arrays, the
            participants, and the ground truth of simulated nights. It depends on the bytes alone,
            not on the code that wrote them.
        participants: indexed by `subject`; sex, age (years), weight_kg, ahi (events/h).
        nights: subjects in the order of the cohort.
        clips: `subject`, `clip`, `onset_s`, `stage`, `block` (unique over the store), `row` (in the
            arrays of the night).
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.manifest: dict[str, Any] = read_json(self.root / "manifest.json")
        if self.manifest.get("format") != FORMAT:
            problem = "is no clip store, or its ingest did not finish"
            raise CohortError(self.root, problem, "run the ingest again")
        self.config = StoreConfig(**self.manifest["config"])
        self.name: str = self.manifest["name"]
        self.fingerprint: str = self.manifest["fingerprint"]
        self.participants = pd.DataFrame(self.manifest["participants"]).set_index("subject")
        numbers = ["age", "weight_kg", "ahi"]
        self.participants[numbers] = self.participants[numbers].astype(float)  # null is NaN
        self.nights = tuple(self.manifest["nights"])
        tables, blocks = [], 0
        for subject in self.nights:
            table = pd.read_parquet(self.root / subject / "clips.parquet")
            # Blocks count from 0 in every night.
            table = table.assign(
                subject=subject, block=table["block"] + blocks, row=np.arange(len(table))
            )
            blocks = int(table["block"].iloc[-1]) + 1
            tables.append(table)
        columns = ["subject", "clip", "onset_s", "stage", "block", "row"]
        self.clips = pd.concat(tables, ignore_index=True)[columns]

    def video(self, subject: str) -> np.memmap:
        """All clips of a night, `(n, frames, height, width)` uint8; of several windows the middle
        one."""
        return self.windows(subject)[:, self.config.parts // 2]

    def windows(self, subject: str) -> np.memmap:
        """All windows of all clips of a night, `(n, parts, frames, height, width)` uint8."""
        stored = np.load(self.root / subject / "video.npy", mmap_mode="r", allow_pickle=False)
        return stored.reshape(len(stored), self.config.parts, -1, *stored.shape[2:])

    def eeg(self, subject: str) -> np.memmap:
        """All clips of a night, `(n, 30 * rate)` float32 in uV."""
        return np.load(self.root / subject / "eeg.npy", mmap_mode="r", allow_pickle=False)

    def gather(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Video and EEG of some rows of `clips`, in the order of the rows."""
        return self.gather_video(rows), self.gather_eeg(rows)

    def gather_video(
        self, rows: pd.DataFrame, windows: np.ndarray | int | None = None
    ) -> np.ndarray:
        """`(len(rows), frames, height, width)` uint8 of some rows of `clips`, in their order.

        Args:
            windows: which window, of each row or of all; None: the middle one.
        """
        c = self.config
        out = np.empty((len(rows), c.frames, c.height, c.width), np.uint8)
        wanted = np.broadcast_to(c.parts // 2 if windows is None else windows, len(rows))
        return self._gather(rows, self.windows, out, wanted)

    def gather_eeg(self, rows: pd.DataFrame) -> np.ndarray:
        """`(len(rows), 30 * rate)` float32 in uV of some rows of `clips`, in their order."""
        out = np.empty((len(rows), CLIP_S * self.config.eeg_rate), np.float32)
        return self._gather(rows, self.eeg, out)

    def _gather(self, rows: pd.DataFrame, read, out: np.ndarray, windows=None) -> np.ndarray:
        subjects, places = rows["subject"].to_numpy(), rows["row"].to_numpy()
        # Night by night: one fancy index into each map reads only the rows that are asked for.
        for subject in pd.unique(subjects):
            at = np.flatnonzero(subjects == subject)
            wanted = places[at] if windows is None else (places[at], windows[at])
            out[at] = read(subject)[wanted]
        return out
