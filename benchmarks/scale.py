"""Benchmark of a clip store as long as S3VE: opening it, and reading a training set from it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measure import Row
from sacd.data.store import FORMAT, StoreConfig
from sacd.files import write_json
from sacd.stages import CLIP_S

CLIPS = 154_573
"""Clips of S3VE (the paper, section V-A)."""
NIGHTS = 105

_READ = """
import json, sys, time
import torch
from sacd.data.batches import batches
from sacd.data.store import ClipStore
from sacd.runs.provenance import peak_memory_mb, reset_peak_memory

reset_peak_memory()
start = time.perf_counter()
store = ClipStore(sys.argv[1])
opened = time.perf_counter() - start
generator = torch.Generator().manual_seed(0)
blocks = store.clips["block"].to_numpy()
for number, rows in enumerate(batches(blocks, 16, "block", generator)):
    if number == int(sys.argv[2]):
        break
    store.gather_video(store.clips.iloc[rows.numpy()])
print(json.dumps({"open": opened, "mb": peak_memory_mb()["cpu"]}))
"""


def sparse_store(
    root: Path, clips: int = CLIPS, nights: int = NIGHTS, size: tuple[int, int] = (112, 112)
) -> Path:
    """A store whose arrays have their full length and hold zeros, which take no disk."""
    config = StoreConfig(height=size[0], width=size[1], frames=16, sampling="consecutive")
    lengths = np.full(nights, clips // nights)
    lengths[: clips % nights] += 1
    subjects = [f"sub-{number + 1:03d}" for number in range(nights)]
    for subject, n in zip(subjects, lengths.tolist(), strict=True):
        folder = root / subject
        folder.mkdir(parents=True)
        _zeros(folder / "video.npy", (n, config.frames, *size), np.uint8)
        _zeros(folder / "eeg.npy", (n, CLIP_S * config.eeg_rate), np.float32)
        columns = {
            "clip": np.arange(n),
            "onset_s": CLIP_S * np.arange(n, dtype=float),
            "stage": np.arange(n) % 5,
            "block": np.zeros(n, int),  # a night without a gap is one block
        }
        pd.DataFrame(columns).to_parquet(folder / "clips.parquet")
    person = {"sex": "F", "age": 50, "weight_kg": 70, "ahi": 10.0}
    manifest = {
        "format": FORMAT,
        "name": "zeros",
        "config": config.model_dump(mode="json"),
        "fingerprint": "zeros",
        "participants": [{"subject": subject} | person for subject in subjects],
        "nights": subjects,
    }
    write_json(root / "manifest.json", manifest)
    return root


def _zeros(path: Path, shape: tuple[int, ...], dtype: type) -> None:
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def long_store(
    folder: Path, clips: int = CLIPS, nights: int = NIGHTS, steps: int = 300
) -> list[Row]:
    """Time to open a store of `clips` clips, and memory of a loader that reads it."""
    store = sparse_store(folder / "store", clips, nights)
    command = [sys.executable, "-c", _READ, str(store), str(steps)]
    # A process of its own: its peak is that of the reading alone.
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    size = f"{clips:,} clips of {nights} nights, 16 frames of 112x112, all zeros"
    gigabytes = measured["mb"] / 1000
    return [
        Row("opening a store", measured["open"], "s", "<= 1", size),
        Row(f"memory of a loader after {steps} batches", gigabytes, "GB", "<= 2"),
    ]
