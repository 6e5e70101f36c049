"""Small cohorts for tests: EDF by edfio, H.264 by PyAV; each video frame encodes its number."""

import json
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import av
import edfio
import numpy as np
import pandas as pd

REAL = Path(__file__).resolve().parents[2] / "shared" / "realdata"


def write_edf(
    path: Path, signals: dict[str, tuple[np.ndarray, float]], unit: str = "uV", limit: float = 1000
) -> None:
    """EDF file; `signals` maps a channel to its samples and rate in Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(
        [
            edfio.EdfSignal(
                x, rate, label=name, physical_dimension=unit, physical_range=(-limit, limit)
            )
            for name, (x, rate) in signals.items()
        ]
    ).write(path)


def numbered(n: int) -> np.ndarray:
    """A 32 x 64 image of frame number n: 16 blocks, one per bit, bright if it is set."""
    bits = (n >> np.arange(16)) & 1
    return np.kron(bits.reshape(2, 8), np.ones((16, 8))).astype(np.uint8) * 160 + 40


def number(frame: np.ndarray) -> int:
    """Frame number of an image of any size that 2 x 8 blocks divide."""
    blocks = frame.reshape(2, frame.shape[0] // 2, 8, frame.shape[1] // 8).mean((1, 3))
    return int(((blocks.ravel() > 120) << np.arange(16)).sum())


def write_video(path: Path, frames, rate: int, ticks: Iterable[int] | None = None) -> None:
    """H.264 video of grey images that are 1 / rate s apart, or at the given multiples of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        container.metadata["title"] = path.stem  # no two subjects have the same file
        options = {"qp": "8", "preset": "veryfast", "threads": "1"}
        if path.suffix == ".avi":
            options["bf"] = "0"  # AVI cannot hold B-frames: it has no presentation times
        stream = container.add_stream("libx264", rate=rate, options=options)
        for k, picture in zip(ticks or count(), frames, strict=False):
            if not stream.codec_context.is_open:
                stream.height, stream.width = picture.shape
            frame = av.VideoFrame.from_ndarray(picture, format="gray")  # `encode` converts it
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_events(path: Path, rows: list[tuple[float, float, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["onset", "duration", "trial_type"]).to_csv(
        path, sep="\t", index=False
    )


def paths(root: Path, subject: str) -> tuple[Path, Path, Path]:
    """EEG, events and video of a night."""
    stem = f"{subject}_task-sleep_"
    eeg = root / subject / "eeg"
    return (
        eeg / f"{stem}eeg.edf",
        eeg / f"{stem}events.tsv",
        root / subject / "video" / f"{stem}video.mp4",
    )


def write_about(root: Path, ahi: dict[str, float], name: str = "made for a test") -> None:
    """dataset_description.json and participants.tsv."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": name, "BIDSVersion": "1.10.0"})
    )
    rows = [(subject, "F", 50, "n/a", value) for subject, value in ahi.items()]
    table = pd.DataFrame(rows, columns=["participant_id", "sex", "age", "weight_kg", "ahi"])
    table.to_csv(root / "participants.tsv", sep="\t", index=False)


def write_cohort(root: Path, subjects: tuple[str, ...] = ("sub-01", "sub-02")) -> Path:
    """Two short nights: three clips, EEG at 128 Hz, video at 4 frames/s."""
    write_about(root, dict.fromkeys(subjects, 12.5))
    for k, subject in enumerate(subjects):
        rng = np.random.default_rng(k)
        eeg, events, video = paths(root, subject)
        eog = (rng.normal(0, 9, 64 * 90), 64)
        write_edf(eeg, {"EOG": eog, "EEG C3-M2": (rng.normal(0, 20, 128 * 90), 128)})
        write_events(events, [(0, 30, "W"), (30, 60, "N2"), (41, 12, "hypopnea")])
        write_video(video, (numbered(n) for n in range(360)), 4)
    return root


def write_noise(cohort, subjects=5, clips=12, rate=128, fps=1):
    """Subjects with AHI 20 whose EEG and video are noise; the stages take turns."""
    ahi = {f"sub-{k:02d}": 20.0 for k in range(1, subjects + 1)}
    write_about(cohort, ahi)
    for subject in ahi:
        rng = np.random.default_rng(int(subject[-2:]))
        eeg, events, video = paths(cohort, subject)
        write_edf(eeg, {"C3": (rng.normal(0, 20, clips * 30 * rate), rate)})
        stages = ("W", "N1", "N2", "N3", "REM")
        write_events(events, [(30 * k, 30, stages[k % 5]) for k in range(clips)])
        frames = rng.integers(0, 255, ((clips + 1) * 30 * fps, 32, 32)).astype(np.uint8)
        write_video(video, frames, fps)
