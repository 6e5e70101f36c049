"""All problems of a cohort in one table, from a few EEG windows and one pass over each video."""

from pathlib import Path

import mne
import numpy as np
import pandas as pd

from sacd.data.cohort import (
    SLACK_S,
    CohortError,
    Night,
    clip_table,
    first_line,
    survey,
    survey_events,
    video_offset,
)
from sacd.data.eeg import open_channel, refuse_slow
from sacd.data.look import Film, header_problems, odd_pictures, survey_film
from sacd.data.video import Sampling, VideoInfo, probe
from sacd.stages import CLIP_S, STAGES, UNSCORED

EEG_UV = (0.5, 1000.0)
"""Limits of the standard deviation of 30 s of scalp EEG. Typical values lie far inside; a value
outside means that the file states a wrong unit."""
CLIPPED = 0.02
"""Largest accepted share of samples at the extremes of a recording."""
Problem = tuple[str, CohortError]


def check(
    root: Path | str,
    channel: str = "C3",
    rate: int = 100,
    frames: int = 16,
    sampling: Sampling = "spread",
) -> pd.DataFrame:
    """All problems of a cohort; an empty table means that it can be ingested whole.

    Args:
        root: the cohort's folder.
        channel: EEG channel wanted.
        rate: EEG rate wanted, in Hz.
        frames, sampling: frames wanted of a clip, as in `sacd.data.store.StoreConfig`.

    Returns:
        One row per problem: `subject`, `file`, `level`, `problem`, `fix`. The level is `error`
        (ingest refuses the night) or `warning` (clips are lost, or a value is unusual). Bad data
        never raises.
    """
    root = Path(root)
    cohort, found = survey(root)
    rows = [(subject, "error", problem) for subject, problem in found]
    for night in cohort.nights:
        for level, problem in night_problems(night, channel, rate, frames, sampling, True):
            rows.append((night.subject, level, problem))
    rows += [(subject, *problem) for subject, problem in odd_pictures(cohort.nights)]
    table = []
    for subject, level, problem in rows:
        file = _relative(problem.file, root)
        table.append((subject, file, level, problem.problem, problem.fix))
    return pd.DataFrame(table, columns=["subject", "file", "level", "problem", "fix"])


def night_problems(
    night: Night, channel: str, rate: int, frames: int, sampling: Sampling, survey: bool = False
) -> list[Problem]:
    """Problems of one night's files as `(level, problem)`.

    Args:
        survey: read the whole video; else its header alone, as ingest reads it afterwards.
    """
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
    if video is not None:
        found += header_problems(night.video, video, frames, sampling)
    film = None
    if survey and video is not None and offset is not None and not wrong:
        clips = clip_table(events)
        onsets = clips.loc[clips["stage"] != UNSCORED, "onset_s"].tolist()
        film = attempt(survey_film, night.video, video, onsets, frames, sampling, offset)
        video = None if film is None else video
    if raw is not None:
        attempt(refuse_slow, raw, night.eeg, rate)
        found += _cut(raw, night.eeg)
        found += attempt(_signal, raw, night.eeg) or []
        if not wrong:
            found += _times(night, events, raw.n_times / raw.info["sfreq"], video, offset, film)
    return found


def _cut(raw: "mne.io.BaseRaw", path: Path) -> list[Problem]:
    """A warning if the file is shorter than its header says; MNE looks at its size alone."""
    with path.open("rb") as file:
        header = file.read(256)
    # EDF header: number of data records, duration of a record in s.
    promised = int(header[236:244]) * float(header[244:252])
    end = raw.n_times / raw.info["sfreq"]
    if promised <= end + 1:  # a recorder that was not stopped properly writes -1 records
        return []
    problem = f"is cut: its header promises {promised:g} s, {end:g} s are there"
    return [("warning", CohortError(path, problem, "copy or export the recording again"))]


def _signal(raw: "mne.io.BaseRaw", path: Path) -> list[Problem]:
    """Problems of the signal itself, from up to ten windows of 30 s spread over the night."""
    length = min(raw.n_times, int(CLIP_S * raw.info["sfreq"]))
    starts = np.unique(np.linspace(0, raw.n_times - length, 10).astype(int))
    try:
        windows = np.stack([raw.get_data(start=s, stop=s + length, units="uV")[0] for s in starts])
    except Exception as error:  # MNE's readers raise exceptions of any type
        problem = f"samples cannot be read ({first_line(error)})"
        raise CohortError(path, problem, "export the recording again") from None
    name = raw.ch_names[0]
    spread = float(np.median(windows.std(axis=1)))
    if spread == 0:
        return [("error", CohortError(path, f"{name} is flat", "choose a connected channel"))]
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


def _times(
    night: Night,
    events: pd.DataFrame,
    end: float,
    video: VideoInfo | None,
    offset: float | None,
    film: Film | None,
) -> list[Problem]:
    """Problems where events, EEG (`end` in s) and video do not cover each other.

    Args:
        film: what the video holds; without it its header is believed.
    """
    found: list[Problem] = []
    clips = clip_table(events)
    onset = clips.loc[clips["stage"] != UNSCORED, "onset_s"]
    ends = events["onset"] + events["duration"]
    late = ends > end + SLACK_S
    if late.any():
        problem = f"{late.sum()} events end after the EEG, the last at {ends.max():g} s"
        fix = "are onsets from its start?"
        found.append(("warning", CohortError(night.events, f"{problem}; it has {end:g} s", fix)))
    whole = onset + CLIP_S <= end + SLACK_S
    if not whole.any():
        problem = f"no scored clip lies within the EEG of {end:g} s"
        fix = "count onsets from the start of the EEG"
        found.append(("error", CohortError(night.events, problem, fix)))
    elif video and offset is not None and not (film is None and np.isnan(video.duration_s)):
        # As in `read_clips`: up to 1.5 frames may be missing.
        slack = 1.5 / video.rate if video.rate > 0 else 1.0
        stop = offset + (film.end_s if film else video.duration_s)
        covered = (onset >= offset - slack) & (onset + CLIP_S <= stop + slack)
        seen = np.array(film.whole, bool) if film else covered
        lost = whole & ~seen
        stages = clips.loc[onset.index, "stage"]
        span = f"the video runs from {offset:g} to {stop:g} s of the EEG ({end:g} s)"
        if not (whole & covered).any():
            problem = f"{span}, no scored clip lies within"
            found.append(("error", CohortError(night.sidecar, problem, "correct StartOffset")))
        elif not (whole & seen).any():
            problem = f"{span}, {_gap(film, offset)}: no scored clip is covered"
            found.append(("error", CohortError(night.video, problem, "record at a steady rate")))
        elif lost.any():
            where = f", {_gap(film, offset)}" if (lost & covered).any() else ""
            n = f"{lost.sum()} scored clips are lost ({_by_stage(stages[lost], stages)})"
            fix = "ignore it if these may be dropped; else add the video or correct StartOffset"
            found.append(("warning", CohortError(night.video, f"{span}{where}, {n}", fix)))
    return found


def _gap(film: Film, offset: float) -> str:
    at, length = film.gap
    return f"with gaps or damage (the longest of {length:.3g} s, from {at + offset:.1f} s on)"


def _by_stage(lost: pd.Series, scored: pd.Series) -> str:
    """How many of which stage, e.g. "2 of 5 W": losing one stage biases what is learned."""
    counts = [(STAGES[k], int((lost == k).sum()), int((scored == k).sum())) for k in range(5)]
    return ", ".join(f"{n} of {m} {name}" for name, n, m in counts if n)


def _relative(path: Path | str, root: Path) -> str:
    path = Path(path)
    if path.is_relative_to(root) and path != root:
        return path.relative_to(root).as_posix()
    return str(path)
