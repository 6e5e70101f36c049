"""EEG stagers compared by cross-validation over subjects: one run a fold."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sacd.config import StagerConfig
from sacd.data.sleepedf import SleepEdf
from sacd.data.splits import fold_parts, subject_folds
from sacd.data.store import ClipStore
from sacd.data.whiten import whiten
from sacd.files import write_parquet
from sacd.training.common import Inputs, Resources, predictions, rows_of
from sacd.training.fit import Progress
from sacd.training.teacher import teacher_outputs, train_teacher

RUN = 16
"""Consecutive clips that are kept together: a sequence of MC2SleepNet."""


def spread_runs(clips: pd.DataFrame, at_most: int) -> pd.DataFrame:
    """`at_most` clips of each subject in runs of `RUN` consecutive ones, evenly over what there is; 0 keeps all.

    Each run is a block of its own then.
    """
    if not at_most:
        return clips
    place = clips.groupby("block").cumcount() // RUN
    run = clips.groupby([clips["block"], place], sort=False).ngroup()
    kept = []
    for _, rows in run.groupby(clips["subject"], sort=False):
        lengths = rows.value_counts(sort=False)  # unscored clips cut runs short
        number = min(len(lengths), max(1, int(at_most / lengths.mean())))
        chosen = lengths.iloc[np.linspace(0, len(lengths) - 1, number).round().astype(int)]
        kept += list(chosen.index[(chosen.cumsum() <= at_most) | (np.arange(number) == 0)])
    return clips.assign(block=run)[run.isin(kept)]


def stager(
    config: StagerConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Train an EEG stager on all folds but one; writes `metrics.csv` and the tested fold's `predictions.parquet`."""
    if config.source == "sleepedf":
        store: ClipStore | SleepEdf = SleepEdf(resources["sleepedf"])
        rate = store.rate
    else:
        store = ClipStore(resources["store"])
        rate = store.config.eeg_rate
    fold = subject_folds(store.participants["ahi"], config.folds, config.seed, config.subjects)
    part = fold_parts(fold, config.fold)
    clips = spread_runs(
        store.clips[store.clips["subject"].isin(part.index)], config.clips
    ).reset_index(drop=True)
    clips["part"] = clips["subject"].map(part)
    eeg = store.gather_eeg(clips)
    if config.whiten:
        eeg = whiten(eeg, clips["subject"].to_numpy(), rate)
    tensor = torch.from_numpy(eeg)[:, None]
    model, history = train_teacher(config, tensor, clips, rate, folder, resources, progress)
    history.to_csv(folder / "metrics.csv", index=False)
    rows = rows_of(clips, "test")
    outputs = teacher_outputs(model, tensor, clips, rows)
    write_parquet(folder / "predictions.parquet", predictions(clips.iloc[rows], outputs.logits))
