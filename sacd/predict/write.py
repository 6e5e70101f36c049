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
from sacd.predict.model import About, about_json
from sacd.predict.night import Night, movements
from sacd.stages import CLIP_S, STAGES, UNSCORED

NOBODY: Final = datetime.date(1985, 1, 1)
"""Start of the EDF+ file: the standard's earliest date, as a video does not tell the real one."""
_EDF: Final = {UNSCORED: "Sleep stage ?", 4: "Sleep stage R"} | {
    k: f"Sleep stage {name}" for k, name in enumerate(STAGES[:4])
}
_YASA: Final = ("WAKE", "N1", "N2", "N3", "REM", "UNS")  # the last one for UNSCORED, -1
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

    `events.tsv` is one that `sacd.data.cohort` reads. BIDS has no `_hypnogram.tsv` yet; the one
    here has the columns of `_events.tsv`, and the probabilities; its JSON file explains them.

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

    rows = pd.DataFrame({"onset": clips["onset_s"].astype(float), "duration": float(CLIP_S)})
    rows["trial_type"] = clips["stage"]
    moved = movements(night).assign(trial_type="body movement")
    events = pd.concat([rows, moved]) if len(moved) else rows
    events = events.sort_values("onset", kind="stable")
    _table(folder / "sub-01_task-sleep_events.tsv", events, "\t")
    types = dict.fromkeys(STAGES, "sleep stage (AASM), from the video") | {
        "unscored": "the video does not cover the clip",
        "body movement": "the picture changes more than twice as much as at rest",
    }
    write_json(folder / "sub-01_task-sleep_events.json", {"trial_type": {"Levels": types}})

    columns = {"onset": rows["onset"], "duration": rows["duration"], "stage": clips["stage"]}
    hypnogram = pd.DataFrame(columns | {"uncertain": clips["uncertain"]})
    for name in PROBABILITIES:
        hypnogram[name] = clips[name]
    _table(folder / "sub-01_task-sleep_hypnogram.tsv", hypnogram, "\t")
    said = {
        "stage": {"Description": "sleep stage of 30 s", "Levels": dict(list(types.items())[:6])},
        "uncertain": {"Description": f"1: the largest probability is below {about.threshold}"},
        "Sources": "video alone",
        "Model": about_json(about),
    }
    write_json(folder / "sub-01_task-sleep_hypnogram.json", said)

    notes = [
        EdfAnnotation(onset, CLIP_S, _EDF[stage])
        for onset, stage in zip(rows["onset"], night.clips["stage"], strict=True)
    ]
    notes += [EdfAnnotation(m.onset, m.duration, "Body movement") for m in moved.itertuples()]
    with atomic(folder / "annotations.edf") as half:
        Edf([], recording=Recording(startdate=NOBODY), annotations=notes).write(half)


def _table(path: Path, table: pd.DataFrame, separator: str) -> None:
    text = table.round(4).to_csv(sep=separator, index=False, na_rep="n/a", lineterminator="\n")
    write_text(path, text)
