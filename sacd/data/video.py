"""Video of a night: decoded once, in order, and reduced to a few small grey frames per clip."""

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
"""Containers round time stamps to 1 ms or finer; a frame that is earlier by less belongs to the
clip."""


@dataclass(frozen=True)
class VideoInfo:
    """Header of a video: rate in frames/s, duration in s (NaN if not stated), size in pixels."""

    rate: float
    duration_s: float
    width: int
    height: int


def probe(path: Path) -> VideoInfo:
    """Header of a video.

    Raises:
        CohortError: it cannot be opened, its first frame cannot be decoded, or it states no frame
            rate.
    """
    fix = "re-encode it, for example `ffmpeg -i in -c:v libx264 -an out.mp4`"
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise CohortError(path, "holds no video", fix)
            stream = container.streams.video[0]
            first = next(container.decode(stream), None)
            rate = stream.average_rate or stream.guessed_rate
            if first is None:
                raise CohortError(path, "has no frame that can be decoded", fix)
            if not rate:
                raise CohortError(path, "has no frame rate", fix)
            if stream.duration:
                seconds = float(stream.duration * stream.time_base)
            else:
                seconds = container.duration / av.time_base if container.duration else float("nan")
            return VideoInfo(float(rate), seconds, first.width, first.height)
    except (av.FFmpegError, OSError) as error:
        problem = f"cannot be opened as video ({error.strerror or error})"
        raise CohortError(path, problem, fix) from None


def read_clips(
    path: Path,
    onsets: Sequence[float],
    frames: int,
    size: tuple[int, int],
    sampling: Sampling = "spread",
    offset: float = 0.0,
    threads: int = 0,
) -> Iterator[np.ndarray | None]:
    """Frames of every clip, in one pass over the video, holding one clip in memory at a time.

    `spread`: for a clip at onset o the frames nearest to `o + k * 30 / frames`. `consecutive`:
    native frames around the middle of the clip, as in the paper. Frames outside the clip are never
    used.

    Args:
        onsets: s from the start of the EEG, ascending, 30 s apart or more.
        frames: number kept per clip, at most as many as the video has in 30 s.
        size: height and width in pixels; frames are resized by area averaging to grey levels
            0..255.
        offset: time of the first video frame minus the start of the EEG in s.
        threads: of the decoder; 0 lets FFmpeg decide.

    Yields:
        For each onset `(frames, height, width)` uint8; or None if the video does not cover the
        clip, or has a gap of more than 1.5 frames at a time that is needed.

    Raises:
        CohortError: the video cannot be decoded, has no time stamps, or has too few frames.
    """
    rate = probe(path).rate
    # The mean rate in the header is a little low if frames were lost.
    if frames > CLIP_S * rate * 1.05:
        problem = f"{rate:g} frames/s are {CLIP_S * rate:.0f} frames a clip, {frames} are wanted"
        raise CohortError(path, problem, "set `frames` (FRAMES=) lower")
    spread = sampling == "spread"
    period = 1 / rate
    if spread:
        step, first = CLIP_S / frames, 0.0
    else:
        step, first = period, CLIP_S / 2 - frames // 2 * period
    slack = 1.5 * period
    shrink = VideoReformatter()
    grey = {
        "width": size[1],
        "height": size[0],
        "format": "gray",
        "interpolation": Interpolation.AREA,
        "threads": 1,
    }
    # `done` clips are finished; the current one has k frames so far and no gap if `whole`.
    clip, k = np.empty((frames, *size), np.uint8), 0
    whole, done = True, 0
    for t, reach, frame in _shown(path, offset, period, threads):
        while done < len(onsets):
            start = onsets[done]
            if k == frames:
                if whole and t + period < start + CLIP_S - slack:
                    break  # the video must reach the end of the clip
                yield clip if whole else None
                clip, k, whole, done = np.empty_like(clip), 0, True, done + 1
                continue
            due = start + first + k * step
            # The frame is before the clip, or a later one is nearer to `due`.
            if t < start - _EDGE_S or (reach < due and (spread or k == 0)):
                break
            # A gap, a frame after the clip, or a video that starts within the clip.
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
    """For each frame: its time, the time until which it is the nearest frame, and the frame.

    Times are in s from the start of the EEG.
    """
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
