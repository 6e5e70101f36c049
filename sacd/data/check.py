"""All problems of a cohort in one table, found from its EEG and one frame per night."""

from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from sacd.data.cohort import Night, stated_offset, stray_folders, survey
from sacd.data.eeg import BAD_S, Channel, clip_losses, open_channel, refuse_slow
from sacd.data.events import COLUMNS, SLACK_S, clip_table, survey_events
from sacd.data.problems import CohortError, first_line
from sacd.data.texts import read_table, read_text
from sacd.data.video import VideoInfo, probe
from sacd.stages import CLIP_S, STAGES, UNSCORED

EEG_UV = (0.5, 1000.0)
"""Limits of the standard deviation of 30 s of scalp EEG. Typical values lie far inside; a value
outside means that the file states a wrong unit."""
CLIPPED = 0.02
"""Largest accepted share of samples at the extremes of a recording."""
FACTS: Final = ("subject", "hours", "scored", "coding", "video starts at")
"""Columns of `night_facts`."""
FEWEST_SUBJECTS: Final = 3
"""A split has training, validation and test subjects."""
Problem = tuple[str, CohortError]


def check(
    root: Path | str, channel: str = "C3", rate: int = 100, subjects: int = 0
) -> pd.DataFrame:
    """All problems of a cohort; an empty table means that it can be ingested whole.

    Args:
        root: the cohort's folder.
        channel: EEG channel wanted.
        rate: EEG rate wanted, in Hz.
        subjects: number of subjects that the caller needs at least.

    Returns:
        One row per problem: `subject`, `file`, `level`, `problem`, `fix`. The level is `error`
        (ingest refuses the night) or `warning` (clips are lost, or a value is unusual). Bad data
        never raises. `attrs["nights"]` is a table of `night_facts`.
    """
    root = Path(root)
    cohort, found = survey(root)
    rows = [(subject, "error", problem) for subject, problem in found]
    rows += [("", "warning", problem) for problem in stray_folders(cohort)]
    for name in ("participants.tsv", "dataset_description.json"):
        rows += [("", "warning", problem) for problem in _said(root / name)]
    if 0 < len(cohort.nights) < subjects:
        usable = f"subjects that can be used: {len(cohort.nights)}, needed for a split: {subjects}"
        fix = "add subjects, or mend those that are told here"
        rows.append(("", "error", CohortError(root, usable, fix)))
    facts = []
    for night in cohort.nights:
        try:
            problems = night_problems(night, channel, rate)
        except Exception as error:  # one bad night never hides the others
            problems = [("error", _odd(night.eeg, error))]
        rows += [(night.subject, level, problem) for level, problem in problems]
        facts.append(night_facts(night, channel))
    table = []
    for subject, level, problem in rows:
        file = _relative(problem.file, root)
        table.append((subject, file, level, problem.problem, problem.fix))
    found = pd.DataFrame(table, columns=["subject", "file", "level", "problem", "fix"])
    found.attrs["nights"] = pd.DataFrame(facts, columns=list(FACTS))
    return found


def night_facts(night: Night, channel: str) -> tuple[str, str, str, str, str]:
    """What is to be seen at a glance: subject, hours of EEG, share of them with a stage, coding of
    the stages, offset of the video. A value that cannot be read is `?`."""
    hours = share = coding = offset = "?"
    with suppress(Exception):  # `night_problems` tells what is wrong
        end = open_channel(night.eeg, channel).end_s
        hours = f"{end / 3600:.2f}"
        events = survey_events(night.events)
        coding = events.coding or "?"
        if not events.problems:
            scored = clip_table(events.events)["stage"] != UNSCORED
            share = f"{scored.sum() * CLIP_S / end:.0%}"
    with suppress(Exception):
        stated = stated_offset(night)
        offset = "0 (not stated)" if stated is None else f"{stated:g} s"
    return night.subject, hours, share, coding, offset


def night_problems(night: Night, channel: str, rate: int) -> list[Problem]:
    """Problems of one night's files as `(level, problem)`; whatever a reader raises is one."""
    found: list[Problem] = []

    def attempt(file, read, *args):
        try:
            return read(*args)
        except CohortError as problem:
            found.append(("error", problem))
        except Exception as error:
            found.append(("error", _odd(file, error)))

    raw = attempt(night.eeg, open_channel, night.eeg, channel)
    video = attempt(night.video, probe, night.video)
    stated = attempt(night.sidecar, lambda: [stated_offset(night)])
    offset = None if stated is None else stated[0] or 0.0
    if stated == [None] and night.sidecar.is_file():
        problem = "states no StartOffset, so the video is taken to start with the EEG"
        fix = 'write {"StartOffset": 0} if it does, else the seconds from the start of the EEG'
        found.append(("warning", CohortError(night.sidecar, problem, fix)))
    events = attempt(night.events, survey_events, night.events)
    if events is not None:
        found += [("error", problem) for problem in events.problems]
    for path in (night.events, night.sidecar):
        found += [("warning", problem) for problem in _said(path)]
    if raw is not None:
        attempt(night.eeg, refuse_slow, raw, night.eeg, rate)
        found += _cut(raw, night.eeg)
        wrong = attempt(night.eeg, _signal, raw, night.eeg)
        found += wrong or []
        unusable = wrong is None or any(level == "error" for level, _ in wrong)
        if events is not None and not events.problems:
            reasons = (
                None
                if unusable
                else attempt(
                    night.eeg, lambda: clip_losses(raw, rate, _scored(events.events)["onset_s"])
                )
            )
            found += _times(night, events.events, raw, reasons, video, offset)
    return found


def _odd(file: Path, error: Exception) -> CohortError:
    """An error that no reader foresees, as a problem of this file."""
    what = f"cannot be read ({type(error).__name__}: {first_line(error)})"
    return CohortError(file, what, "export it again; if that does not help, leave this night out")


def _scored(events: pd.DataFrame) -> pd.DataFrame:
    clips = clip_table(events)
    return clips[clips["stage"] != UNSCORED]


def _said(path: Path) -> list[CohortError]:
    """How a text was read, where that is not UTF-8, or a table is not separated by tabs."""
    try:
        if path.suffix.lower() == ".tsv":
            people = path.name == "participants.tsv"
            said = read_table(path, ("participant_id",) if people else COLUMNS).said
        else:
            said = read_text(path)[1]
    except CohortError:  # told elsewhere, or there is none
        return []
    fix = "look whether its names are right; saved as UTF-8 with tabs it is read without a doubt"
    return [CohortError(path, f"is read as {said}", fix)] if said else []


def _cut(raw: Channel, path: Path) -> list[Problem]:
    """A warning if the file is shorter or longer than its header says; its size is believed."""
    promised, there = (n * raw.file.record_s for n in (raw.file.promised, raw.file.records))
    # A recorder that was not stopped properly writes -1 records.
    if raw.file.promised < 0 or abs(promised - there) <= 1:
        return []
    what = "is cut" if there < promised else "is longer than stated"
    problem = f"{what}: its header promises {promised:g} s, {there:g} s are there"
    return [("warning", CohortError(path, problem, "copy or export the recording again"))]


def _signal(raw: Channel, path: Path) -> list[Problem]:
    """Problems of the signal itself, from up to ten windows of 30 s spread over the night."""
    per_window = max(1, round(CLIP_S / raw.file.record_s))
    length = min(raw.file.records, per_window)
    starts = np.unique(np.linspace(0, raw.file.records - length, 10).astype(int))
    windows = np.stack([raw.microvolts(s, s + length) for s in starts])
    name, spreads = raw.name, windows.std(axis=1)
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


def _eeg_losses(raw: Channel, clips: pd.DataFrame, reasons: np.ndarray) -> list[Problem]:
    """A warning for each reason for which scored clips have no usable EEG."""
    gaps = raw.gaps
    pauses = ", ".join(f"{a:g} to {b:g} s" for a, b in gaps[:5]) + ", ..." * (len(gaps) > 5)
    told = {
        "gap": (
            f"was paused ({pauses})",
            "make sure that onsets count from the start of the EEG, pauses included",
        ),
        "flat": (f"{raw.name} is flat for {BAD_S} s or more", "choose a connected channel"),
        "railed": (f"{raw.name} is saturated for {BAD_S} s or more", "choose another channel"),
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


def _times(
    night: Night,
    events: pd.DataFrame,
    raw: Channel,
    reasons: np.ndarray | None,
    video: VideoInfo | None,
    offset: float | None,
) -> list[Problem]:
    """Problems where events, EEG and video do not cover each other; `reasons`: `clip_losses`."""
    clips, end = _scored(events), raw.end_s
    found = [] if reasons is None else _eeg_losses(raw, clips, reasons)
    onset = clips["onset_s"]
    ends = events["onset"] + events["duration"]
    late = ends > end + SLACK_S
    if late.any():
        problem = f"{late.sum()} events end after the EEG, the last at {ends.max():g} s"
        fix = "are onsets from its start?"
        found.append(("warning", CohortError(night.events, f"{problem}; it has {end:g} s", fix)))
    whole = onset + CLIP_S <= end + SLACK_S
    if reasons is not None:
        whole &= reasons == ""
    if not whole.any() and any(level == "error" for level, _ in found):
        return found
    if not whole.any():
        problem = f"no scored clip lies within the EEG of {end:g} s"
        fix = "count onsets from the start of the EEG"
        found.append(("error", CohortError(night.events, problem, fix)))
    elif video and offset is not None and not np.isnan(video.duration_s):
        # As in `read_clips`: up to 1.5 frames may be missing.
        slack = 1.5 / video.rate
        stop = offset + video.duration_s
        seen = (onset >= offset - slack) & (onset + CLIP_S <= stop + slack)
        lost = int((whole & ~seen).sum())
        span = f"the video runs from {offset:g} to {stop:g} s of the EEG ({end:g} s)"
        if not (whole & seen).any():
            problem = f"{span}, no scored clip lies within"
            found.append(("error", CohortError(night.sidecar, problem, "correct StartOffset")))
        elif lost:
            problem = f"{span}, {lost} scored clips are lost"
            fix = "ignore it if these may be dropped; else add the video or correct StartOffset"
            found.append(("warning", CohortError(night.video, problem, fix)))
    return found


def _relative(path: Path | str, root: Path) -> str:
    path = Path(path)
    if path.is_relative_to(root) and path != root:
        return path.relative_to(root).as_posix()
    return str(path)
