"""All problems of a cohort in one table, from its EEG and one pass over each video."""

from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from sacd.data.cohort import Night, stated_offset, stray_folders, survey
from sacd.data.eeg import Channel, open_channel, refuse_slow
from sacd.data.eeg_problems import Problem, cut, eeg_losses, signal, uneven
from sacd.data.events import COLUMNS, SLACK_S, clip_table, survey_events
from sacd.data.look import (
    Film,
    header_problems,
    odd_pictures,
    shortest,
    survey_film,
    time_lapse,
)
from sacd.data.offset import refuse_unread
from sacd.data.problems import CohortError
from sacd.data.sidecar import doubts
from sacd.data.store import StoreConfig
from sacd.data.texts import read_table, read_text
from sacd.data.twins import same_recordings
from sacd.data.unusable import clip_losses
from sacd.data.video import Sampling, VideoInfo, probe
from sacd.data.windows import frames_needed
from sacd.stages import CLIP_S, STAGES, UNSCORED

FACTS: Final = ("subject", "hours", "scored", "coding", "video starts at")
"""Columns of `night_facts`."""
FEWEST_SUBJECTS: Final = 3
"""A split has training, validation and test subjects."""


def check(
    root: Path | str,
    channel: str = "C3",
    rate: int = 100,
    frames: int = 16,
    sampling: Sampling = "spread",
    subjects: int = 0,
    windows: int = 1,
) -> pd.DataFrame:
    """All problems of a cohort; an empty table means that it can be ingested whole.

    Args:
        root: the cohort's folder.
        channel: EEG channel wanted.
        rate: EEG rate wanted, in Hz.
        frames, sampling, windows: frames wanted of a clip, as in `sacd.data.store.StoreConfig`.
        subjects: number of subjects that the caller needs at least.

    Returns:
        One row per problem: `subject`, `file`, `level`, `problem`, `fix`. The level is `error`
        (ingest refuses the night) or `warning` (clips are lost, or a value is unusual). Bad data
        never raises. `attrs["nights"]` is a table of `night_facts`.
    """
    root = Path(root)
    config = StoreConfig(
        channel=channel, eeg_rate=rate, height=1, width=1,  # of any size
        frames=frames, sampling=sampling, windows=windows,
    )  # fmt: skip
    cohort, found = survey(root)
    rows = [(subject, "error", problem) for subject, problem in found]
    rows += [("", "warning", problem) for problem in stray_folders(cohort)]
    for name in ("participants.tsv", "dataset_description.json"):
        rows += [("", "warning", problem) for problem in _said(root / name)]
    # Without any night the table says already what is wrong with each.
    if 0 < len(cohort.nights) < subjects:
        usable = f"subjects that can be used: {len(cohort.nights)}, needed for a split: {subjects}"
        fix = "add subjects, or mend those that are told here"
        rows.append(("", "error", CohortError(root, usable, fix)))
    rows += [(subject, "error", problem) for subject, problem in same_recordings(cohort.nights)]
    facts = []
    for night in cohort.nights:
        try:
            problems = night_problems(night, config, survey=True)
        except Exception as error:  # one bad night never hides the others
            problems = [("error", _odd(night.eeg, error))]
        rows += [(night.subject, level, problem) for level, problem in problems]
        facts.append(night_facts(night, channel))
    try:
        rows += [(subject, *problem) for subject, problem in odd_pictures(cohort.nights)]
    except Exception as error:  # nor does a look at their pictures
        rows.append(("", "error", _odd(root, error)))
    table = []
    for subject, level, problem in rows:
        file = _relative(problem.file, root)
        table.append((subject, file, level, problem.problem, problem.fix))
    found = pd.DataFrame(table, columns=["subject", "file", "level", "problem", "fix"])
    found.attrs["nights"] = pd.DataFrame(facts, columns=list(FACTS))
    return found


def night_facts(night: Night, channel: str) -> tuple[str, str, str, str, str]:
    """One row of facts: subject, hours of EEG, share of them with a stage, coding of the stages,
    offset of the video. A value that cannot be read is `?`.
    """
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
        stated = stated_offset(night.video)
        offset = "0 (not stated)" if stated is None else f"{stated:g} s"
    return night.subject, hours, share, coding, offset


def night_problems(night: Night, config: StoreConfig, survey: bool = False) -> list[Problem]:
    """Problems of one night's files as `(level, problem)`; whatever a reader raises is one.

    Args:
        survey: read the whole video; else its header alone, as ingest reads it afterwards, unless
            that states too short a video, or nothing.
    """
    found: list[Problem] = []

    def attempt(file, read, *args):
        try:
            return read(*args)
        except CohortError as problem:
            found.append(("error", problem))
        except Exception as error:  # of a library, on a file that no test foresaw
            found.append(("error", _odd(file, error)))

    raw = attempt(night.eeg, open_channel, night.eeg, config.channel)
    video = attempt(night.video, probe, night.video)
    # In a list: None means that the sidecar cannot be read, [None] that it states no offset.
    stated = attempt(night.sidecar, lambda: [stated_offset(night.video)])
    offset = None if stated is None else stated[0] or 0.0
    if stated == [None] and night.sidecar.is_file():
        problem = "states no StartOffset, so the video is taken to start with the EEG"
        fix = 'write {"StartOffset": 0} if it does, else the seconds from the start of the EEG'
        found.append(("warning", CohortError(night.sidecar, problem, fix)))
    if stated == [None]:
        attempt(night.video, refuse_unread, night)
    elif stated:
        found += [("warning", problem) for problem in doubts(night.sidecar)]
    events = attempt(night.events, survey_events, night.events)
    if events is not None:
        found += [("error", problem) for problem in events.problems]
        found += [("warning", problem) for problem in events.doubts]
    for path in (night.events, night.sidecar):
        found += [("warning", problem) for problem in _said(path)]
    scored = None if events is None or events.problems else _scored(events.events)
    if video is not None:
        needed = frames_needed(config.frames, config.parts)
        found += header_problems(night.video, video, needed, config.sampling)
    film = None
    if video is not None and offset is not None and scored is not None:
        onsets = scored["onset_s"]
        if survey or not video.duration_s >= shortest(onsets, offset):
            wanted = onsets.tolist(), config.frames, config.sampling, offset, config.parts
            film = attempt(night.video, survey_film, night.video, video, *wanted)
            video = None if film is None else video  # told: its header says nothing more
    if raw is None:
        return found
    attempt(night.eeg, refuse_slow, raw, config.eeg_rate)
    found += cut(raw) + uneven(raw)
    wrong = attempt(night.eeg, signal, raw)
    found += wrong or []
    if scored is not None:
        reasons = None
        # Of a signal in a wrong unit every second looks flat or railed: that is told once.
        if wrong is not None and not any(level == "error" for level, _ in wrong):
            onsets = scored["onset_s"]
            reasons = attempt(night.eeg, clip_losses, raw, config.eeg_rate, onsets)
        found += _times(night, events.events, raw, reasons, video, offset, film)
    return found


def _odd(file: Path, error: Exception) -> CohortError:
    """An error that no reader foresees, as a problem of this file."""
    kind = type(error).__name__
    what = f"cannot be read ({kind}: {(str(error) or kind).splitlines()[0]})"
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


def _times(
    night: Night,
    events: pd.DataFrame,
    raw: Channel,
    reasons: np.ndarray | None,
    video: VideoInfo | None,
    offset: float | None,
    film: Film | None,
) -> list[Problem]:
    """Problems where events, EEG and video do not cover each other.

    Args:
        reasons: from `clip_losses`, None if the EEG cannot be judged.
        film: what the video holds; without it its header is believed.
    """
    clips, end = _scored(events), raw.end_s
    found = [] if reasons is None else eeg_losses(raw, clips, reasons)
    ends = events["onset"] + events["duration"]
    # A first sign that onsets count from another zero, such as lights out or midnight.
    late = ends > end + SLACK_S
    if late.any():
        problem = f"{late.sum()} events end after the EEG, the last at {ends.max():g} s"
        fix = "are onsets from its start?"
        found.append(("warning", CohortError(night.events, f"{problem}; it has {end:g} s", fix)))
    whole = clips["onset_s"] + CLIP_S <= end + SLACK_S
    if reasons is not None:
        whole &= reasons == ""
    # Of a file that was cut the header tells how long it was.
    promised = max(end, raw.file.promised * raw.file.record_s)
    beyond = int((clips["onset_s"] + CLIP_S > promised + SLACK_S).sum())
    if whole.any() and beyond > len(clips) / 2:
        problem = f"has {beyond} of {len(clips)} scored clips after the end of the EEG ({end:g} s)"
        fix = "count onsets and durations in s, from the start of the EEG"
        found.append(("error", CohortError(night.events, problem, fix)))
    if not whole.any():
        # An error of the EEG says already why no clip is left.
        if not any(level == "error" for level, _ in found):
            problem = f"no scored clip lies within the EEG of {end:g} s"
            fix = "count onsets from the start of the EEG"
            found.append(("error", CohortError(night.events, problem, fix)))
    elif video and offset is not None and not (film is None and np.isnan(video.duration_s)):
        found += _coverage(night, clips, whole, end, video, offset, film)
    return found


def _coverage(
    night: Night,
    clips: pd.DataFrame,
    whole: pd.Series,
    end: float,
    video: VideoInfo,
    offset: float,
    film: Film | None,
) -> list[Problem]:
    """A problem if the video does not show all scored clips that have EEG (`whole`)."""
    onset = clips["onset_s"]
    # As in `read_clips`: up to 1.5 frames may be missing.
    slack = 1.5 / video.rate if video.rate > 0 else 1.0
    stop = offset + (film.end_s if film else video.duration_s)
    # A header may state any duration: what reads the frames finds their end by itself.
    until = stop if film else np.inf
    covered = (onset >= offset - slack) & (onset + CLIP_S <= until + slack)
    seen = np.array(film.whole, bool) if film else covered
    lost = whole & ~seen
    span = f"the video runs from {offset:g} to {stop:g} s of the EEG ({end:g} s)"
    if film and (short := time_lapse(night.video, film, onset[whole], offset)):
        return [("error", short)]
    if not (whole & covered).any():
        problem = f"{span}, no scored clip lies within"
        return [("error", CohortError(night.sidecar, problem, "correct StartOffset"))]
    if not (whole & seen).any():
        problem = f"{span}, {_gap(film, offset)}: no scored clip is covered"
        return [("error", CohortError(night.video, problem, "record at a steady rate"))]
    if not lost.any():
        return []
    where = f", {_gap(film, offset)}" if (lost & covered).any() else ""
    n = f"{lost.sum()} scored clips are lost ({_by_stage(clips['stage'][lost], clips['stage'])})"
    fix = "ignore it if these may be dropped; else add the video or correct StartOffset"
    # A few frames/s that play at 25 make a video this short; so does a camera that stopped.
    if stop - offset < end / 2:
        fix += " (does it play faster than the night went by? then give it its true times)"
    return [("warning", CohortError(night.video, f"{span}{where}, {n}", fix))]


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
