"""Problems of a night's EEG for `check`: a cut file, a wrong unit, clips without a signal."""

from typing import Final

import numpy as np
import pandas as pd

from sacd.data.edf import JITTER_S
from sacd.data.eeg import Channel
from sacd.data.problems import CohortError, Problem
from sacd.data.unusable import BAD_S
from sacd.stages import CLIP_S, STAGES

EEG_UV: Final = (0.5, 1000.0)
"""Limits of the standard deviation of 30 s of scalp EEG. Typical values lie far inside; a value
outside means that the file states a wrong unit."""
ROUNDED_S: Final = 0.05
"""Onsets of records that differ by less from what their number says are rounded."""
CLIPPED: Final = 0.02
"""Largest accepted share of samples at the extremes of a recording."""


def cut(raw: Channel) -> list[Problem]:
    """A warning if the file is shorter or longer than its header says; its size is believed."""
    promised, there = (n * raw.file.record_s for n in (raw.file.promised, raw.file.records))
    # A recorder that was not stopped properly writes -1 records.
    if raw.file.promised < 0 or abs(promised - there) <= 1:
        return []
    what = "is cut" if there < promised else "is longer than stated"
    problem = f"{what}: its header promises {promised:g} s, {there:g} s are there"
    fix = "copy or export the recording again"
    return [("warning", CohortError(raw.file.path, problem, fix))]


def uneven(raw: Channel) -> list[Problem]:
    """A warning if records do not begin where the samples before them end."""
    off, onsets = 0.0, raw.file.onsets()
    for first, stop, onset in raw.pieces if onsets is not None else ():
        placed = onset + raw.file.record_s * np.arange(stop - first)
        off = max(off, np.abs(onsets[first:stop] - placed).max())
    # Further off are the records of a file that is contiguous by definition: its onsets are wrong.
    if not ROUNDED_S < off <= JITTER_S:
        return []
    problem = f"its records begin up to {off:.2g} s before or after the end of the ones before them"
    problem += f": their samples are joined, and none is more than {JITTER_S:g} s from its time"
    fix = "ignore it if that is exact enough, or export the recording again"
    return [("warning", CohortError(raw.file.path, problem, fix))]


def signal(raw: Channel) -> list[Problem]:
    """Problems of the signal itself, from up to ten windows of 30 s spread over the night."""
    per_window = max(1, round(CLIP_S / raw.file.record_s))
    length = min(raw.file.records, per_window)
    # Ten windows are read in a moment; a whole night takes seconds.
    starts = np.unique(np.linspace(0, raw.file.records - length, 10).astype(int))
    windows = np.stack([raw.microvolts(s, s + length) for s in starts])
    path, name, spreads = raw.file.path, raw.name, windows.std(axis=1)
    # Flat windows say nothing of the unit; `clip_losses` drops their clips.
    live = spreads > 0
    if not live.any():
        return [("error", CohortError(path, f"{name} is flat", "choose a connected channel"))]
    windows, spread = windows[live], float(np.median(spreads[live]))
    low, high = EEG_UV
    if not low <= spread <= high:
        problem = (
            f"{name} has a standard deviation of {spread:.3g} uV, EEG has {low:g} to {high:g} uV"
        )
        fix = "correct the unit in the EDF header (uV, mV or V)"
        return [("error", CohortError(path, problem, fix))]
    share = float(np.mean((windows == windows.max()) | (windows == windows.min())))
    if share > CLIPPED:
        at_extremes = f"{share:.0%} of its samples lie at its extremes"
        problem = f"{name} is clipped: {at_extremes}, limit {CLIPPED:.0%}"
        return [("warning", CohortError(path, problem, "export with a wider physical range"))]
    return []


def eeg_losses(raw: Channel, clips: pd.DataFrame, reasons: np.ndarray) -> list[Problem]:
    """A warning for each reason for which scored clips have no usable EEG."""
    gaps = raw.gaps
    pauses = ", ".join(f"{a:g} to {b:g} s" for a, b in gaps[:5]) + ", ..." * (len(gaps) > 5)
    told = {
        "gap": (
            f"was paused ({pauses})",
            "make sure that onsets count from the start of the EEG, pauses included",
        ),
        "flat": (
            f"{raw.name} is flat for {BAD_S} s or more",
            "choose a connected channel (hum of the mains is no signal)",
        ),
        "railed": (f"{raw.name} is saturated for {BAD_S} s or more", "choose another channel"),
        "stuck": (
            f"{raw.name} repeats the same samples for {BAD_S} s or more",
            "export it again, or look into the recorder: it wrote one buffer again and again",
        ),
    }
    found: list[Problem] = []
    for reason, (what, fix) in told.items():
        lost = clips["stage"][reasons == reason]
        if len(lost) or (reason == "gap" and gaps):
            stages = [f"{(lost == k).sum()} {STAGES[k]}" for k in sorted(lost.unique())]
            problem = f"{what}: {len(lost)} of {len(clips)} scored clips are lost"
            problem += f" ({', '.join(stages)})" if stages else ""
            level = "error" if (reasons != "").all() else "warning"
            found.append((level, CohortError(raw.file.path, problem, fix)))
    return found
