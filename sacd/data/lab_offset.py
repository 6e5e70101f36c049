"""When the video of a lab's night began: by the table, a sidecar, or the name of the video."""

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sacd.data.cohort import stated_offset
from sacd.data.lab_edf import date_is_blank
from sacd.data.lab_files import STAMP
from sacd.data.lab_notes import after
from sacd.data.problems import CohortError

_CLOSE_S = 1.0
"""Starts that differ by less are equal: names hold whole seconds."""
_OTHER_STAMP = re.compile(
    r"(?<!\d)\d\d[-_.]?\d\d[-_.]?20\d\d[T _-]*\d\d"  # the day first, or the month
    r"|(?<!\d)20\d{6}[T _-]?\d{4}(?!\d)"  # no seconds
    r"|(?<!\d)([01]?\d|2[0-3])[-_.:h][0-5]\d[-_.:m][0-5]\d(?!\d)"  # a clock, or a date
    r"|(?<!\d)1\d{9}(\d{3})?(?!\d)"  # seconds or ms since 1970
)
"""What may be a time in a name and has two readings, or is not exact."""


def offset_of(
    row: dict[str, str], video: Path, eeg: Path, start: datetime, zone: ZoneInfo | None
) -> tuple[float, list[str]]:
    """Start of the video minus start of the EEG in s, and what was assumed.

    The table counts before a sidecar beside the video, and that before the video's name.

    Args:
        row: of the table of subjects.
        eeg: the recording; a folder that holds it too says nothing of the video.
        start: of the EEG.

    Raises:
        CohortError: a time that cannot be read, two that contradict each other, or a name that may
            hold a time and has two readings.
    """
    stated: dict[str, float] = {}
    if row["video_offset_s"]:
        try:
            stated["video_offset_s"] = float(row["video_offset_s"].replace(",", "."))
        except ValueError:
            problem = f"video_offset_s {row['video_offset_s']!r} is not a number of seconds"
            raise CohortError(video, problem, "correct it in the table") from None
    if row["video_start"]:
        stated["video_start"] = _after(row["video_start"], video, start, zone)
    beside = stated_offset(video)
    if beside is not None:
        stated["its JSON file"] = beside
    if stated:
        if max(stated.values()) - min(stated.values()) > _CLOSE_S:
            both = ", ".join(f"{name} says {value:g} s" for name, value in stated.items())
            raise CohortError(video, f"has two starts: {both}", "keep the right one")
        name, value = next(iter(stated.items()))
        return value, [f"video's start by {name}"] if name == "its JSON file" else []
    text = _named_time(video, eeg, row["subject"], start, bool(row["eeg_start"]))
    if not text:
        return 0.0, ["video assumed to start with the EEG: no video_start or video_offset_s"]
    return _after(text, video, start, zone), [f"video_start from its name: {text}"]


def _after(text: str, video: Path, start: datetime, zone: ZoneInfo | None) -> float:
    try:
        return after(text, start, zone)
    except ValueError as error:
        problem = f"its start cannot be told from {text!r} ({error})"
        raise CohortError(video, problem, "write 2024-03-01T22:00:05 or 22:00:05") from None


def _named_time(video: Path, eeg: Path, subject: str, start: datetime, dated: bool) -> str:
    """The time in the name of a video, or of a folder of its own; empty if there is none.

    Raises:
        CohortError: something there may be a time, and cannot be read as one.
    """
    own = [video.stem]
    for above in video.parents:
        if eeg.is_relative_to(above):
            break
        own.append(above.name)
    for name in own:
        plain = name.replace(subject, "#")  # a subject may be called like a date
        for found in STAMP.finditer(plain):
            year, month, day, hour, minute, second = found.groups()
            if second is None:
                continue
            clock = f"{hour}:{minute}:{second}"
            # UTC, as phones and cloud recorders write it.
            mark = "Z" if plain[found.end() :].startswith("Z") else ""
            # Where the EEG has no true date, the clock alone can be compared.
            if mark or not date_is_blank(start) or dated:
                return f"{year}-{month}-{day} {clock}{mark}"
            return clock
        if other := _OTHER_STAMP.search(plain):
            problem = f"its name holds {other[0]!r}, which may say when it began"
            fix = "give video_start (2024-03-01T22:00:05), or video_offset_s (0: with the EEG)"
            raise CohortError(video, problem, fix)
    return ""
