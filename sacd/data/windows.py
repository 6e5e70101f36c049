"""Several windows of consecutive frames in a clip, each in the middle of an equal part of it."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from sacd.stages import CLIP_S


def part_starts(onsets: Sequence[float], windows: int) -> list[float]:
    """Starts of the parts of all clips in s, `windows` equal ones a clip."""
    return [onset + k * CLIP_S / windows for onset in onsets for k in range(windows)]


def joined(parts: Iterator[list[Any] | None], windows: int) -> Iterator[list[Any] | None]:
    """Frames of each clip, window after window; None where one of its windows is missing."""
    while found := list(islice(parts, windows)):
        yield None if None in found else list(chain.from_iterable(found))


def frames_needed(frames: int, windows: int) -> int:
    """Frames that a clip must have: a window may lie one frame before or after its place."""
    return frames if windows == 1 else windows * (frames + 2)
