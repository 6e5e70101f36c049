"""What is read of every clip before its night is staged: pixels, and the simulator's truth."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sacd.config import NightFactsConfig
from sacd.data.pixels import breathing, movement
from sacd.data.store import ClipStore
from sacd.files import save_tensors, write_parquet
from sacd.stages import CLIP_S
from sacd.training.baselines import signal_facts, true_signals
from sacd.training.common import Inputs, Resources, open_clips
from sacd.training.fit import Progress

SUMMARY = ("rate", "depth", "regularity", "movement", "pause")
"""Columns of the table of clips that people read: breaths a minute, depth, regularity (see
`sacd.data.pixels`), the largest movement in units of rest, and how far breathing sinks: its mean
size in the quietest eighth of the clip, over that in the largest."""
EIGHTHS = 8


def of_pixels(frames: NDArray, rate: float) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Facts of breathing and movement of clips, from their frames alone.

    Args:
        frames: `(n, T, H, W)`.
        rate: frames/s.

    Returns:
        `(n, F)`: `signal_facts` of the wave of the breath and the trace of movement, which are also
        those of the bound, and `SUMMARY`; and the table of `SUMMARY`.
    """
    # Both `signal_facts` and the pauses average over eighths of a clip, which must be equal.
    frames = frames[:, : frames.shape[1] // EIGHTHS * EIGHTHS]
    trace = movement(frames, rate)
    breath = breathing(frames, rate, trace)
    size = np.abs(breath.wave).reshape(len(frames), EIGHTHS, -1).mean(axis=2)
    pause = size.min(axis=1) / (size.max(axis=1) + 1e-9)
    columns = [breath.rate, breath.depth, breath.regularity, trace.max(axis=1), pause]
    summary = np.nan_to_num(np.stack(columns, axis=1))
    # A breath changes a grey level by about 1 %, and movement has a long tail.
    moved = np.log(trace.clip(0.1, 100))
    facts = signal_facts(100 * breath.wave, moved, rate)
    deep = np.log(summary[:, 1:2] + 1e-6)
    found = np.hstack([facts, summary[:, [0, 2]], deep, moved.max(axis=1, keepdims=True)])
    return found.astype(np.float32), pd.DataFrame(summary, columns=list(SUMMARY))


def of_truth(cohort: Path, clips: pd.DataFrame) -> NDArray[np.float32]:
    """`signal_facts` of the true breathing and movement of the clips of one simulated subject."""
    breath, activity, rate = true_signals(cohort, clips)
    # The networks that read these facts, unlike the trees of the bound, cannot read NaN.
    return signal_facts(np.nan_to_num(breath), np.nan_to_num(activity), rate).astype(np.float32)


def facts(
    config: NightFactsConfig,
    inputs: Inputs,
    folder: Path,
    resources: Resources,
    progress: Progress,
) -> None:
    """Write `facts.safetensors` (`pixels`, and `truth` of a simulated cohort) and `clips.parquet`.

    The rows are the clips of `config.parts`, in the order of the store; the table has `row`, their
    places in the store, the part of the split, and `SUMMARY`.
    """
    if config.split is None:
        store = ClipStore(Path(resources["store"]))
        clips = store.clips.assign(part="test")
    else:
        store, clips = open_clips(resources, config.split)
    # `row` of the store counts within a night; `night` indexes embeddings of the whole store.
    clips = clips.rename(columns={"row": "place"}).assign(row=np.arange(len(clips)))
    clips = clips[clips["part"].isin(config.parts)]
    rate = store.config.frames / CLIP_S
    cohort = Path(resources["cohort"])
    simulated = (cohort / "derivatives" / "simulator").is_dir()
    pixels, truth, tables, done = [], [], [], 0
    for subject, night in clips.groupby("subject", sort=False):
        video = store.video(subject)
        for start in range(0, len(night), 64):
            rows = night.iloc[start : start + 64]
            found, table = of_pixels(video[rows["place"].to_numpy()], rate)
            pixels.append(found)
            tables.append(table.set_index(rows.index))
        if simulated:
            truth.append(of_truth(cohort, night))
        done += len(night)
        progress(done / len(clips), f"pixels of {subject}")
    tensors = {"pixels": np.concatenate(pixels)}
    if simulated:
        tensors["truth"] = np.concatenate(truth)
    save_tensors(folder / "facts.safetensors", tensors)
    columns = ["subject", "clip", "onset_s", "stage", "block", "part", "row"]
    write_parquet(folder / "clips.parquet", clips[columns].join(pd.concat(tables)))
