"""Frames of a whole recording on a grid of clips, one clip in memory at a time.

Unlike `sacd.data.video.read_clips`, which drops a clip that the video does not cover, this gives
what there is of it: movement is measured to the last frame.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sacd.data.cohort import CohortError
from sacd.data.store import StoreConfig
from sacd.data.video import EDGE_S, Pictures, decoded, probe, timed, too_slow
from sacd.stages import CLIP_S


@dataclass
class Clip:
    """Frames of one clip of the recording."""

    number: int
    """Onset in clips from the start of the recording."""
    frames: NDArray[np.uint8]
    """`(T, H, W)`; zero where no frame was seen."""
    seen: NDArray[np.bool_]
    """`(T,)`."""
    whole: bool
    """Whether `read_clips` would return it: every frame was seen."""
    reached: float
    """Time of the last frame so far, in s from the start of the recording."""


def clips_of(
    videos: Sequence[Path], start: float, config: StoreConfig, skip: int = 0, threads: int = 0
) -> Iterator[Clip]:
    """Clips of a recording that lies in one file or in several that follow each other.

    Args:
        start: time of the first frame in s from the start of the recording, where clip 0 begins.
        skip: clips with a lower number are known; their frames are decoded and thrown away, since
            after a seek a camera's file does not always give the same frames.

    Yields:
        Every clip that the recording touches, in order.

    Raises:
        CohortError: a file cannot be decoded, or has too few frames a second.
    """
    pending: Clip | None = None
    for video in videos:
        for clip in _of_one(video, start, config, skip, threads):
            if pending is not None and pending.number == clip.number:
                clip = _joined(pending, clip)
            elif pending is not None:
                yield pending
            pending = clip
        if pending is not None:
            start = pending.reached
    if pending is not None:
        yield pending


def _joined(a: Clip, b: Clip) -> Clip:
    """A clip that lies in two files; it is not whole, as the gap between them is unknown."""
    frames = np.where(b.seen[:, None, None], b.frames, a.frames)
    return Clip(a.number, frames, a.seen | b.seen, False, b.reached)


def _of_one(
    path: Path, start: float, config: StoreConfig, skip: int, threads: int
) -> Iterator[Clip]:
    """Clips of one file: frame k of a clip is the one shown nearest to `k * step` after its onset.

    The rule and its tolerances are those of `sacd.data.video`, so that a whole clip has the frames
    that the student was trained on.
    """
    if config.sampling != "spread":
        problem = "cannot be staged by a model of consecutive frames"
        raise CohortError(path, problem, "give a model whose frames are spread over the clip")
    if problem := too_slow(probe(path), config.frames, config.sampling):
        raise CohortError(path, problem, "record at a higher rate")
    size, step = (config.height, config.width), CLIP_S / config.frames
    picture = Pictures(path, size)

    def empty(number: int) -> Clip:
        frames = np.zeros((config.frames, *size), np.uint8)
        onset = number * CLIP_S
        return Clip(number, frames, np.zeros(config.frames, bool), False, max(start, onset))

    # k counts the frames of the clip that are taken or known to be missing.
    clip, k = empty(max(0, int((start + EDGE_S) // CLIP_S))), 0
    for shown in timed(path, decoded(path, threads), start):
        small = None
        while True:  # one frame may serve several places, or close a clip and open the next
            onset = clip.number * CLIP_S
            if k == config.frames:
                if shown.t + shown.period < onset + CLIP_S - shown.slack:
                    break  # all places are filled; the clip ends with a later frame
                clip.whole = bool(clip.seen.all())
                clip.reached = min(shown.t + shown.period, onset + CLIP_S)
                yield clip
                clip, k = empty(clip.number + 1), 0
                continue
            due = onset + k * step
            # `reach` is halfway to the next frame, which comes after the clip's end if `last`.
            last = 2 * shown.reach - shown.t > onset + CLIP_S - EDGE_S
            # The frame is before the clip, or a later one of the clip is nearer to `due`.
            if shown.t < onset - EDGE_S or (shown.reach < due and not last):
                break
            if abs(shown.t - due) <= shown.slack and shown.t <= onset + CLIP_S - EDGE_S:
                clip.seen[k] = True
                if clip.number >= skip:
                    small = picture(shown.frame) if small is None else small
                    clip.frames[k] = small
            k += 1
        clip.reached = max(clip.reached, shown.t + shown.period)
    if clip.seen.any() or clip.reached > clip.number * CLIP_S:
        yield clip
