"""EEG stagers compared by cross-validation over subjects; each run is one fold."""

from pathlib import Path

import numpy as np
import pandas as pd

from sacd.config import StagerConfig
from sacd.data.sleepedf import SleepEdf
from sacd.data.splits import fold_parts, subject_folds
from sacd.data.store import ClipStore
from sacd.files import write_parquet
from sacd.training.common import Inputs, Resources, predictions, rows_of
from sacd.training.fit import Progress
from sacd.training.teacher import eeg_of, teacher_outputs, train_teacher

RUN = 16
"""Consecutive clips that are kept together: the sequence length of MC2SleepNet."""


def spread_runs(clips: pd.DataFrame, at_most: int) -> pd.DataFrame:
    """At most `at_most` clips per subject, in runs of `RUN` clips spread over the night.

    Each run of consecutive clips becomes a block of its own. `at_most` 0 keeps all clips.
    """
    if not at_most:
        return clips
    run_in_block = clips.groupby("block").cumcount() // RUN
    run = clips.groupby([clips["block"], run_in_block], sort=False).ngroup()
    kept = []
    for _, rows in run.groupby(clips["subject"], sort=False):
        lengths = rows.value_counts(sort=False)  # gaps of unscored clips shorten some runs
        number = min(len(lengths), max(1, int(at_most / lengths.mean())))
        chosen = lengths.iloc[np.linspace(0, len(lengths) - 1, number).round().astype(int)]
        fits = chosen.cumsum() <= at_most
        first = np.arange(number) == 0  # at least one run per subject
        kept += list(chosen.index[fits | first])
    # A run becomes a block: no batch may join clips between which others were left out.
    return clips.assign(block=run)[run.isin(kept)]


def stager(
    config: StagerConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Train an EEG stager on all folds but `config.fold`, and test it on that one.

    Writes `metrics.csv`, and `predictions.parquet` of the tested fold.
    """
    if config.source == "sleepedf":
        store: ClipStore | SleepEdf = SleepEdf(resources["sleepedf"])
        rate = store.rate
    else:
        store = ClipStore(resources["store"])
        rate = store.config.eeg_rate
    fold = subject_folds(store.participants["ahi"], config.folds, config.seed, config.subjects)
    part = fold_parts(fold, config.fold)
    used = store.clips[store.clips["subject"].isin(part.index)]
    clips = spread_runs(used, config.clips).reset_index(drop=True)
    clips["part"], clips["known"] = clips["subject"].map(part), clips["stage"]
    # Read after the choice of clips: whitening then knows the spectra of these clips only.
    eeg = eeg_of(config, store, clips, rate)
    model, history = train_teacher(config, eeg, clips, rate, folder, resources, progress)
    history.to_csv(folder / "metrics.csv", index=False)
    rows = rows_of(clips, "test")
    outputs = teacher_outputs(model, eeg, clips, rows)
    write_parquet(folder / "predictions.parquet", predictions(clips.iloc[rows], outputs.logits))
