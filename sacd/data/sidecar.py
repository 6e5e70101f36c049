"""The JSON file beside a video: when the video began, and what else there may be a time of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sacd.data.problems import CohortError
from sacd.data.texts import read_object, without_accents

_OFFSETS: Final = {
    "starttime", "startoffset", "videostarttime", "videostartoffset", "videooffset", "videostart",
    "offset",
}  # fmt: skip
"""Keys that state the offset, without case and separators: BIDS' own, and others."""
_SECONDS: Final = ("s", "sec", "second", "seconds", "sekunden", "secondes")
_LIKE_A_TIME: Final = re.compile(
    r"offset|delay|start|onset|begin|shift|sync|latency|time|clock|first|align|skew|origin(?!al)|"
    r"before|after|ahead|preroll|gap|skip|trim|seek|pts$|seconds?$|trigger|marker|flash|^led(on)?$|"
    r"^(video|eeg)?(lag|lead$|zero|delta|dt|t0|$)|(?<!f)lags?(s|sec|ms)?$|"
    r"^t(\d*|s|sec|ms)$|^t(video|cam|eeg|rec|first|frame)|"
    r"versatz|verschieb|verzo|verzug|zeit|uhr|anfang|nullpunkt|"  # German
    r"decal|retard|debut|heure|temps|desfas|retras|inici|comienzo|hora|tiempo|"  # French, Spanish
    r"ritard|inizi|scart|tempo|vertrag|verschuiv|tijd"  # Italian, Dutch
)
_NO_OFFSET: Final = re.compile(
    "acqui|date|framerate|framesper|perframe|framecount|offrames|nframes|framesize|frametime|"
    "framedur|frameint|framep|keyframe|repeti|echo|drift|base|scale|resol|timeout|lapse"
)
"""Keys of numbers that are no offset, although they look like a time."""
_NO_START: Final = re.compile(
    "zone|utc|dura|dauer|length|exposure|belicht|export|modif|convert|version|interval"
)
"""Keys of what is no start of the video, whatever the value."""
_SHIFTS: Final = re.compile("offset|delay|shift|latency|^lag|^(video)?start(time)?$")
_TIME: Final = re.compile(
    r"(PT?)?[+-]?\d[\d\s.,:/TZ+-]*(ms|s|secs?|seconds?|min|frames?|[ap]m)?", re.I
)
_CLOCK: Final = re.compile(r"\d:\d\d")


def sidecar_offset(path: Path) -> float | None:
    """Time of the first video frame minus the start of the EEG in s; None if the file states none.

    Raises:
        CohortError: it states two offsets, none that is a number, or a time under a key that is
            not known.
    """
    fix = 'write {"StartOffset": seconds from the start of the EEG to the first video frame}'
    sidecar = read_object(path, fix)
    stated = [(key, value) for key, value in sidecar.items() if _plain(key) in _OFFSETS]
    for key, value in stated:
        if type(value) not in (int, float) or not abs(value) <= 1e6:  # also True and NaN
            wrong = f"{key} {repr(value)[:20]} is not a number of seconds from -1e6 to 1e6"
            raise CohortError(path, wrong, fix)
    for key, value in sidecar.items():
        # A number in ms would be read as one in s.
        if stated and "unit" in _plain(key) and str(value).lower() not in _SECONDS:
            raise CohortError(path, f"has {key} {value!r}, and offsets are in s", fix)
    unread = _unread(sidecar)
    if stated:
        # BIDS' key and our own may both be there, or one deeper down; then they must agree.
        stated += [(key, value) for key, value in unread if _shifts(key, value)]
        if len({value for _, value in stated}) > 1:
            both = ", ".join(f"{key} {value!r}" for key, value in dict.fromkeys(stated))
            raise CohortError(path, f"states two offsets: {both}", "keep one")
        return float(stated[0][1])
    # An offset that is overlooked shifts every label of the night against its video.
    for key, value in unread:
        problem = f"has no StartOffset, and {key} {repr(value)[:40]} may say when the video starts"
        raise CohortError(path, problem, fix)
    return None


def doubts(path: Path) -> list[CohortError]:
    """What else may say when the video starts, beside an offset that is read.

    Raises:
        CohortError: as `sidecar_offset`.
    """
    if sidecar_offset(path) is None:
        return []
    found = []
    for key, value in _unread(read_object(path, "")):
        problem = f"has {key} {repr(value)[:40]}, which may be a time of the video and is not read"
        found.append(CohortError(path, problem, "look whether the offset takes it into account"))
    return found


def _unread(sidecar: dict[str, Any]) -> list[tuple[str, Any]]:
    """Keys that are not known and look like a time, with a time or a number (not 0) for a value."""
    others = {key: value for key, value in sidecar.items() if _plain(key) not in _OFFSETS}
    return [(key, value) for key, value in _items(others) if value and _may_be_start(key, value)]


def _may_be_start(key: str, value: Any) -> bool:
    """Whether this may say when the video starts. A clock time may do so under any key."""
    text = value.strip() if isinstance(value, str) else ""
    last = _plain(key.rpartition(".")[2])
    if not (type(value) in (int, float) or _TIME.fullmatch(text)) or _NO_START.search(last):
        return False
    named = any(_LIKE_A_TIME.search(_plain(part)) for part in key.split("."))
    return bool(_CLOCK.search(text)) or (named and not _NO_OFFSET.search(last))


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", without_accents(key).lower())


def _shifts(key: str, value: Any) -> bool:
    """Whether a key says by how many seconds the video is shifted."""
    last = _plain(key.rpartition(".")[2])
    return bool(_SHIFTS.search(last) and "frame" not in last and type(value) is not str)


def _items(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested objects and lists, each with its key below those of the objects above."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _items(inner, f"{above}.{key}" if above else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _items(inner, above)
    else:
        yield above, value
