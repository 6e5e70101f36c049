"""Files of a staged night: CSV, BIDS tables, EDF+ annotations, statistics. Numbers, no picture."""

import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from edfio import Edf, EdfAnnotation, Recording

from sacd.analysis.auc import PROBABILITIES
from sacd.files import atomic, write_json, write_text
from sacd.metrics import METRICS, confusion, scores
from sacd.predict.model import About
from sacd.predict.night import Night, movements
from sacd.stages import CLIP_S, STAGES, UNSCORED

NOBODY: Final = datetime.date(1985, 1, 1)
"""Start of the EDF+ file: the standard's earliest date, as a video does not tell the real one."""
_EDF: Final = {UNSCORED: "Sleep stage ?", 4: "Sleep stage R"} | {
    k: f"Sleep stage {name}" for k, name in enumerate(STAGES[:4])
}
_YASA: Final = ("WAKE", "N1", "N2", "N3", "REM", "UNS")
"""YASA's names by label; the index -1 of `UNSCORED` gives the last one."""
UNITS: Final = {
    "TIB": "time in bed (min)",
    "SPT": "sleep period (min)",
    "TST": "total sleep time (min)",
    "SE": "sleep efficiency (%)",
    "SOL": "sleep onset latency (min)",
    "WASO": "wake after sleep onset (min)",
    "Lat_REM": "REM latency (min)",
    "%N1": "N1 (% of sleep)",
    "%N2": "N2 (% of sleep)",
    "%N3": "N3 (% of sleep)",
    "%REM": "REM (% of sleep)",
    "UNS": "not staged (min)",
}
"""Statistics of YASA that are written, and what they mean."""


def statistics(stage: np.ndarray) -> dict[str, float | None]:
    """Sleep statistics of consecutive clips (0..4 or `UNSCORED`) by YASA; None where undefined."""
    import yasa  # slow to import

    night = yasa.Hypnogram([_YASA[k] for k in stage], freq=f"{CLIP_S}s")
    found = night.sleep_statistics()
    numbers = {name: float(found[key]) for key, name in UNITS.items() if key in found}
    return {k: round(v, 2) if np.isfinite(v) else None for k, v in numbers.items()}


def agreement(stage: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Accuracy and macro-F1 (%) and kappa of clips that both have staged; None where undefined."""
    both = (stage != UNSCORED) & (other != UNSCORED)
    if not both.any():
        return {"clips": 0}
    values = scores(confusion(other[both], stage[both]))[:3]
    found = zip(METRICS[:3], values, strict=True)
    known = {name: round(float(v), 3) if np.isfinite(v) else None for name, v in found}
    return {"clips": int(both.sum())} | known


def names(stage: pd.Series) -> pd.Series:
    """Names of labels; "unscored" for `UNSCORED`."""
    return stage.map(dict(enumerate(STAGES)) | {UNSCORED: "unscored"})


def tables(folder: Path, night: Night, about: About, other: pd.DataFrame | None) -> None:
    """Write every table of a night into `folder`.

    Args:
        other: the same clips staged from the EEG; columns by and stage.
    """
    clips = night.clips.copy()
    clips.insert(2, "duration_s", CLIP_S)
    clips["stage"] = names(clips["stage"])
    clips["uncertain"] = clips["uncertain"].astype(int)
    if other is not None:
        clips["stage_eeg"] = names(other["stage"]).to_numpy()
    _table(folder / "hypnogram.csv", clips, ",")
    moved = movements(night)
    _bids(folder, clips, moved, night, about)
    _annotations(folder / "annotations.edf", night.clips, moved)


def _bids(
    folder: Path, clips: pd.DataFrame, moved: pd.DataFrame, night: Night, about: About
) -> None:
    """Write the night as BIDS tables, with the JSON files that explain them.

    `events.tsv` is one that `sacd.data.cohort` reads. BIDS has no `_hypnogram.tsv` yet; the one
    here has the columns of `_events.tsv`, and the probabilities.
    """
    rows = pd.DataFrame({"onset": clips["onset_s"].astype(float), "duration": float(CLIP_S)})
    stages = rows.assign(trial_type=clips["stage"])
    # An empty table beside it would turn the columns into objects.
    moving = moved.assign(trial_type="body movement")
    events = pd.concat([stages, moving]) if len(moving) else stages
    # Stable: a movement that starts with a clip stands below it.
    events = events.sort_values("onset", kind="stable")
    _table(folder / "sub-01_task-sleep_events.tsv", events, "\t")
    levels = dict.fromkeys(STAGES, "sleep stage (AASM), from the video")
    levels["unscored"] = "the video does not cover the clip"
    movement = {"body movement": "the picture changes more than twice as much as at rest"}
    types = {"trial_type": {"Levels": levels | movement}}
    write_json(folder / "sub-01_task-sleep_events.json", types)

    columns = ["stage", "uncertain", *PROBABILITIES]
    _table(folder / "sub-01_task-sleep_hypnogram.tsv", rows.join(clips[columns]), "\t")
    threshold = night.used(about).threshold
    said = {
        "stage": {"Description": "sleep stage of 30 s", "Levels": levels},
        "uncertain": {"Description": f"1: the largest probability is below {threshold}"},
        "Sources": "video alone",
        "Context": f"none: {night.alone}" if night.alone else "whole night",
        "Model": about.model_dump(mode="json"),
    }
    write_json(folder / "sub-01_task-sleep_hypnogram.json", said)


def _annotations(path: Path, clips: pd.DataFrame, moved: pd.DataFrame) -> None:
    """Write stages and movements as an EDF+ file without a signal, for viewers of recordings."""
    onsets = clips["onset_s"].astype(float)
    notes = [
        EdfAnnotation(onset, CLIP_S, _EDF[stage])
        for onset, stage in zip(onsets, clips["stage"], strict=True)
    ]
    notes += [EdfAnnotation(m.onset, m.duration, "Body movement") for m in moved.itertuples()]
    with atomic(path) as half:
        Edf([], recording=Recording(startdate=NOBODY), annotations=notes).write(half)


def _table(path: Path, table: pd.DataFrame, separator: str) -> None:
    text = table.round(4).to_csv(sep=separator, index=False, na_rep="n/a", lineterminator="\n")
    write_text(path, text)
