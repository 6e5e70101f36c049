"""Video of a night: decoded once, in order, and thinned to a few small grey frames a clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from sacd.data.cohort import CohortError
from sacd.stages import CLIP_S

Sampling = Literal["spread", "consecutive"]
_EDGE_S = 1e-3
"""Containers round time stamps, to as little as 1 ms; a frame this much before a clip still begins it."""


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video says: rate in frames/s, duration in s (NaN if it does not say), size in pixels."""

    rate: float
    duration_s: float
    width: int
    height: int


def probe(path: Path) -> VideoInfo:
    """Header of a video whose first frame can be decoded.

    Raises:
        CohortError: cannot be opened, holds no picture, or says no frame rate.
    """
    fix = "re-encode it, for example `ffmpeg -i in -c:v libx264 -an out.mp4`"
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise CohortError(path, "holds no video", fix)
            stream = container.streams.video[0]
            first = next(container.decode(stream), None)
            rate = stream.average_rate or stream.guessed_rate
            if first is None or not rate:
                raise CohortError(
                    path,
                    "has no frame that can be decoded" if first is None else "has no frame rate",
                    fix,
                )
            if stream.duration:
                seconds = float(stream.duration * stream.time_base)
            else:
                seconds = container.duration / av.time_base if container.duration else float("nan")
            return VideoInfo(float(rate), seconds, first.width, first.height)
    except (av.FFmpegError, OSError) as error:
        raise CohortError(
            path, f"cannot be opened as video ({error.strerror or error})", fix
        ) from None


def read_clips(
    path: Path,
    onsets: Sequence[float],
    frames: int,
    size: tuple[int, int],
    sampling: Sampling = "spread",
    offset: float = 0.0,
    threads: int = 0,
) -> Iterator[np.ndarray | None]:
    """Frames of every clip, in one pass over the video, with the memory of one clip.

    `spread`: for a clip at onset o the frames nearest to `o + k * 30 / frames`. `consecutive`:
    native frames around the clip's middle, the paper's reading. No frame from outside the clip is
    ever taken.

    Args:
        onsets: s from the start of the EEG, ascending, 30 s apart or more.
        frames: kept a clip, at most as many as the video has in 30 s.
        size: height and width in pixels; resized by area, grey levels 0..255.
        offset: time of the first video frame minus the start of the EEG in s.
        threads: of the decoder; 0 leaves it to FFmpeg.

    Yields:
        `(frames, height, width)` uint8, or None for a clip that the video does not cover or where
        it has a gap of more than 1.5 frames at a wanted time; one for each onset.

    Raises:
        CohortError: cannot be decoded, carries no time stamps, or has too few frames.
    """
    rate = probe(path).rate
    if frames > CLIP_S * rate * 1.05:  # a header's mean rate is a little low where frames were lost
        problem = f"{rate:g} frames/s are {CLIP_S * rate:.0f} frames a clip, {frames} are wanted"
        raise CohortError(path, problem, "lower `frames`")
    spread = sampling == "spread"
    period = 1 / rate
    step, first = (CLIP_S / frames, 0.0) if spread else (period, CLIP_S / 2 - frames // 2 * period)
    slack = 1.5 * period
    shrink = VideoReformatter()
    grey = {
        "width": size[1],
        "height": size[0],
        "format": "gray",
        "interpolation": Interpolation.AREA,
        "threads": 1,
    }
    clip, k = np.empty((frames, *size), np.uint8), 0
    whole, done = True, 0
    for t, reach, frame in _shown(path, offset, period, threads):
        while done < len(onsets):
            start = onsets[done]
            if k == frames:
                if whole and t + period < start + CLIP_S - slack:
                    break  # the video has yet to reach the end of the clip
                yield clip if whole else None
                clip, k, whole, done = np.empty_like(clip), 0, True, done + 1
                continue
            due = start + first + k * step
            if t < start - _EDGE_S or (reach < due and (spread or k == 0)):
                break
            if abs(t - due) > slack or t > start + CLIP_S - _EDGE_S or offset > start + slack:
                k, whole = frames, False
                continue
            clip[k] = shrink.reformat(frame, **grey).to_ndarray()
            k += 1
            if not spread:
                break
        if done == len(onsets):
            return
    for _ in range(done, len(onsets)):
        yield None


def _shown(
    path: Path, offset: float, period: float, threads: int
) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """Time of each frame in s from the start of the EEG, the time up to which it is the nearest one, and the frame."""
    fix = "write it again, for example `ffmpeg -fflags +genpts -i in -c:v libx264 -an out.mp4`"
    last = origin = t = None
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if threads:
                stream.codec_context.thread_count = threads
            for frame in container.decode(stream):
                if frame.time is None:
                    raise CohortError(path, "has frames without time stamps", fix)
                origin = frame.time if origin is None else origin
                t = frame.time - origin + offset
                if last is not None:
                    if t <= last[0]:
                        continue  # a repeated time stamp
                    yield last[0], (last[0] + t) / 2, last[1]
                last = t, frame
            if last is not None:
                yield last[0], last[0] + period, last[1]
    except av.FFmpegError as error:
        at = 0.0 if t is None else t - offset
        raise CohortError(
            path, f"cannot be decoded after {at:.1f} s of video ({error.strerror})", fix
        ) from None
