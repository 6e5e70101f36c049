"""What is wrong with a cohort, all of it, in one table; nothing is decoded but a few windows and one frame a night."""

from pathlib import Path

import mne
import numpy as np
import pandas as pd

from sacd.data.cohort import (
    SLACK_S,
    CohortError,
    Night,
    clip_table,
    survey,
    survey_events,
    video_offset,
)
from sacd.data.eeg import open_channel, refuse_slow
from sacd.data.video import VideoInfo, probe
from sacd.stages import CLIP_S, UNSCORED

EEG_UV = (0.5, 1000.0)
"""Typical standard deviation of 30 s of scalp EEG lies far inside; outside, the file's unit is wrong."""
CLIPPED = 0.02
"""Largest share of samples at the extremes of a recording."""
Problem = tuple[str, CohortError]


def check(root: Path | str, channel: str = "C3", rate: int = 100) -> pd.DataFrame:
    """All problems of a cohort; an empty table means that it can be ingested whole.

    Args:
        root: the cohort's folder.
        channel: EEG channel wanted.
        rate: EEG rate wanted, in Hz.

    Returns:
        One row a problem: `subject`, `file`, `level` (`error`: refused; `warning`: clips are lost
        or a value is odd), `problem`, `fix`. Bad data never raises.
    """
    root = Path(root)
    cohort, found = survey(root)
    rows = [(subject, "error", problem) for subject, problem in found]
    for night in cohort.nights:
        rows += [
            (night.subject, level, problem)
            for level, problem in night_problems(night, channel, rate)
        ]
    table = [
        (subject, _relative(problem.file, root), level, problem.problem, problem.fix)
        for subject, level, problem in rows
    ]
    return pd.DataFrame(table, columns=["subject", "file", "level", "problem", "fix"])


def night_problems(night: Night, channel: str, rate: int) -> list[Problem]:
    """Problems of one night's files as `(level, problem)`."""
    found: list[Problem] = []

    def attempt(read, *args):
        try:
            return read(*args)
        except CohortError as problem:
            found.append(("error", problem))

    raw = attempt(open_channel, night.eeg, channel)
    video = attempt(probe, night.video)
    offset = attempt(video_offset, night)
    events, wrong = survey_events(night.events)
    found += [("error", problem) for problem in wrong]
    if raw is not None:
        attempt(refuse_slow, raw, night.eeg, rate)
        found += _cut(raw, night.eeg)
        found += attempt(_signal, raw, night.eeg) or []
        if not wrong:
            found += _times(night, events, raw.n_times / raw.info["sfreq"], video, offset)
    return found


def _cut(raw: "mne.io.BaseRaw", path: Path) -> list[Problem]:
    """Does the file hold all that its header promises? MNE goes by the file's size."""
    with path.open("rb") as file:
        header = file.read(256)
    promised, end = int(header[236:244]) * float(header[244:252]), raw.n_times / raw.info["sfreq"]
    if promised <= end + 1:  # a recorder that was never stopped promises -1 records
        return []
    problem = f"is cut: its header promises {promised:g} s, {end:g} s are there"
    return [("warning", CohortError(path, problem, "copy or export the recording again"))]


def _signal(raw: "mne.io.BaseRaw", path: Path) -> list[Problem]:
    """Is this an EEG, in its unit? From up to ten windows of 30 s spread over the night."""
    length = min(raw.n_times, int(CLIP_S * raw.info["sfreq"]))
    starts = np.unique(np.linspace(0, raw.n_times - length, 10).astype(int))
    try:
        windows = np.stack([raw.get_data(start=s, stop=s + length, units="uV")[0] for s in starts])
    except Exception as error:  # MNE raises whatever its reader stumbles over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CohortError(
            path, f"samples cannot be read ({reason})", "export the recording again"
        ) from None
    name = raw.ch_names[0]
    spread = float(np.median(windows.std(axis=1)))
    if spread == 0:
        return [("error", CohortError(path, f"{name} is flat", "choose a connected channel"))]
    low, high = EEG_UV
    if not low <= spread <= high:
        problem = (
            f"{name} has a standard deviation of {spread:.3g} uV, EEG has {low:g} to {high:g} uV"
        )
        return [
            (
                "error",
                CohortError(path, problem, "correct the unit in the EDF header (uV, mV or V)"),
            )
        ]
    share = float(np.mean((windows == windows.max()) | (windows == windows.min())))
    if share > CLIPPED:
        problem = f"{name} is clipped: {share:.0%} of its samples lie at its extremes, limit {CLIPPED:.0%}"
        return [("warning", CohortError(path, problem, "export with a wider physical range"))]
    return []


def _times(
    night: Night, events: pd.DataFrame, end: float, video: VideoInfo | None, offset: float | None
):
    """Do events, EEG (`end` in s) and video cover each other?"""
    found: list[Problem] = []
    clips = clip_table(events)
    onset = clips.loc[clips["stage"] != UNSCORED, "onset_s"]
    late = events["onset"] + events["duration"] > end + SLACK_S
    if late.any():
        problem = f"{late.sum()} events end after the EEG, the last at {(events['onset'] + events['duration']).max():g} s"
        found.append(
            (
                "warning",
                CohortError(
                    night.events, f"{problem}; it has {end:g} s", "are onsets from its start?"
                ),
            )
        )
    whole = onset + CLIP_S <= end + SLACK_S
    if not whole.any():
        problem = f"no scored clip lies within the EEG of {end:g} s"
        found.append(
            ("error", CohortError(night.events, problem, "count onsets from the start of the EEG"))
        )
    elif video and offset is not None and not np.isnan(video.duration_s):
        slack = 1.5 / video.rate
        stop = offset + video.duration_s
        seen = (onset >= offset - slack) & (onset + CLIP_S <= stop + slack)
        lost = int((whole & ~seen).sum())
        span = f"the video runs from {offset:g} to {stop:g} s of the EEG ({end:g} s)"
        if not (whole & seen).any():
            problem = CohortError(
                night.sidecar, f"{span}, no scored clip lies within", "correct StartOffset"
            )
            found.append(("error", problem))
        elif lost:
            fix = "nothing to do if these may be dropped; else add the missing video or correct StartOffset"
            found.append(
                ("warning", CohortError(night.video, f"{span}, {lost} scored clips are lost", fix))
            )
    return found


def _relative(path: Path | str, root: Path) -> str:
    path = Path(path)
    return (
        path.relative_to(root).as_posix()
        if path.is_relative_to(root) and path != root
        else str(path)
    )
