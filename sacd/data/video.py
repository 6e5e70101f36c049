"""Video of a night: decoded once, in order, and reduced to a few small grey frames per clip.

Frames are chosen by the time at which they are shown. A gap is judged against the rate around it:
cameras with automatic exposure slow down in the dark, and then no frame is missing.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import numpy as np

from sacd.data.decode import decoded, films, first_stamps, open_film
from sacd.data.picture import Pictures
from sacd.data.problems import CohortError
from sacd.data.windows import frames_needed, joined, part_starts
from sacd.stages import CLIP_S

Sampling = Literal["spread", "consecutive"]
SLOWEST_S = 2.0
"""Longest accepted time between frames; breathing, of 0.2 to 0.3 Hz, is not seen in fewer."""
EDGE_S = 1e-3
"""Containers round time stamps to 1 ms or finer; a frame that is earlier by less belongs to the
clip."""
_AROUND = 12
"""Intervals before and after a frame that give the rate around it."""
_STRAY_S = 1.0
"""A time stamp that leaps ahead by more, and back with the next frame, is wrong."""
_BACK = 4
"""So many frames in a row that are earlier than one before: time stamps have started again."""


@dataclass(frozen=True)
class VideoInfo:
    """Header of a video, which may be wrong.

    Rate in frames/s and duration in s (NaN if not stated), size in pixels, number of videos in the
    file.
    """

    rate: float
    duration_s: float
    width: int
    height: int
    videos: int = 1


class Shown(NamedTuple):
    """A frame, or None in its place, with its time in s from the start of the EEG."""

    t: float
    reach: float
    """Time until which it is the nearest frame."""
    period: float
    """Time between frames around it, s."""
    frame: Any

    @property
    def slack(self) -> float:
        """Largest accepted distance in s from the time that is wanted: one frame may be lost."""
        return min(1.5 * self.period, SLOWEST_S / 2 + EDGE_S)


def probe(path: Path) -> VideoInfo:
    """Header of a video.

    Raises:
        CohortError: it cannot be opened, none of its first frames can be decoded, or the time of
            the first one stands apart from the others.
    """
    with open_film(path) as (container, stream):
        # Some containers state neither a mean rate nor the duration of the stream.
        rate = stream.average_rate or stream.guessed_rate
        if stream.duration:
            seconds = float(stream.duration * stream.time_base)
        else:
            seconds = container.duration / av.time_base if container.duration else math.nan
        videos = len(films(container))
    (start, first), *second = islice(decoded(path), 2)
    _refuse_apart(path, [t - start for t, _ in second])
    rate = float(rate) if rate else math.nan
    return VideoInfo(rate, seconds, first.width, first.height, videos)


def _refuse_apart(path: Path, second: list[float]) -> None:
    """Raise CohortError if the first time stamp is far from the next: all times count from it.

    A lost frame or broken packets make no such gap, and two frames at their usual distance prove
    a pause behind them.

    Args:
        second: time of the second whole frame after the first one, if there is one.
    """
    # Packets stand in the order of decoding, in which the first frame is the first all the same.
    first, *rest = first_stamps(path) or [0.0]
    later = sorted({t for t in rest if t > first})
    gap = later[0] - first if later else 0.0
    usual = _usual([b - a for a, b in pairwise(later)] or [gap])
    if second and second[0] < -_STRAY_S:
        gap = second[0]
    elif gap <= max(2.5 * usual, usual + _STRAY_S):
        return
    problem = f"the time stamp of its first frame is {first:g} s, of the next one {first + gap:g} s"
    problem += f": wrong, and all others {abs(gap):.1f} s off"
    problem += ", or right and then a pause" if gap > 0 else ""
    fix = "cut the first frame off, and state the start of the video as that of the next one"
    raise CohortError(path, problem, fix)


def read_clips(
    path: Path,
    onsets: Sequence[float],
    frames: int,
    size: tuple[int, int],
    sampling: Sampling = "spread",
    offset: float = 0.0,
    threads: int = 0,
    windows: int = 1,
) -> Iterator[np.ndarray | None]:
    """Frames of every clip, in one pass over the video, holding one clip in memory at a time.

    `spread`: for a clip at onset o the frames nearest to `o + k * 30 / frames`; a slow video
    repeats frames. `consecutive`: native frames around the middle of the clip, or of each of
    `windows` equal parts of it. Frames outside the clip are never used.

    Args:
        onsets: s from the start of the EEG, ascending, 30 s apart or more.
        frames: number kept per clip, or per window.
        size: height and width in pixels; frames are resized by area averaging to grey levels
            0..255, and turned as players show them.
        offset: time of the first video frame minus the start of the EEG in s.
        threads: of the decoder; 0 lets FFmpeg decide. It does not change the result.

    Yields:
        For each onset `(windows * frames, height, width)` uint8; or None if the video does not
        cover the clip, or has a gap at a time that is needed: over one and a half frames from it.

    Raises:
        CohortError: the video cannot be decoded, has no time stamps, has time stamps that start
            again, or has too few frames.
    """
    if problem := too_slow(probe(path), frames_needed(frames, windows), sampling):
        fix = "record at a higher rate, or set `frames` (FRAMES=) lower"
        raise CohortError(path, problem, fix)
    picture = Pictures(path, size)
    shown = timed(path, decoded(path, threads), offset)
    for chosen in choose(shown, onsets, frames, sampling, offset, picture, windows):
        yield None if chosen is None else np.stack(chosen)


def too_slow(info: VideoInfo, frames: int, sampling: Sampling) -> str:
    """What is wrong if a video states too low a rate for so many frames of a clip, else ""."""
    if sampling == "spread":
        # The mean rate in the header counts pauses too: it is refused only far below the limit.
        slow = info.rate < 0.5 / SLOWEST_S
        return f"{info.rate:.3g} frames/s, at least {1 / SLOWEST_S:g} are needed" if slow else ""
    # The mean rate in the header is a little low if frames were lost.
    if not frames > CLIP_S * info.rate * 1.05:
        return ""
    own = f"{info.rate:g} frames/s are {CLIP_S * info.rate:.0f} frames a clip"
    return f"{own}, {frames} consecutive ones are wanted"


def choose(
    shown: Iterator[Shown],
    onsets: Sequence[float],
    frames: int,
    sampling: Sampling,
    offset: float,
    take: Callable[[Any], Any],
    windows: int = 1,
) -> Iterator[list[Any] | None]:
    """For each onset what `take` makes of the frames of the clip, or None; see `read_clips`."""
    if sampling == "spread":
        return _spread(shown, onsets, frames, offset, take)
    starts, length = part_starts(onsets, windows), CLIP_S / windows
    return joined(_consecutive(shown, starts, frames, offset, take, length), windows)


def _spread(shown, onsets, frames, offset, take) -> Iterator[list[Any] | None]:
    # `done` clips are finished; the current one has the frames `found` and no gap if `whole`.
    step, found, whole, done = CLIP_S / frames, [], True, 0
    for now in shown:
        (t, reach, period, frame), slack, picture = now, now.slack, None
        while done < len(onsets):
            start = onsets[done]
            if len(found) == frames or not whole:
                if whole and t + period < start + CLIP_S - slack:
                    break  # the video must reach the end of the clip
                yield found if whole else None
                found, whole, done = [], True, done + 1
                continue
            due = start + len(found) * step
            # The frame is before the clip, or a later one of the clip is nearer to `due`.
            last = 2 * reach - t > start + CLIP_S - EDGE_S
            if t < start - EDGE_S or (reach < due and not last):
                break
            # A gap, a frame after the clip, or a video that starts within the clip.
            if abs(t - due) > slack or t > start + CLIP_S - EDGE_S or offset > start + slack:
                whole = False
                continue
            # A slow video gives one frame to several times: it is reduced once.
            picture = take(frame) if picture is None else picture
            found.append(picture)
        if done == len(onsets):
            return
    for _ in range(done, len(onsets)):
        yield None


def _consecutive(shown, onsets, frames, offset, take, length) -> Iterator[list[Any] | None]:
    # The frames up to now; then those of the current clip, from the one nearest to its middle on.
    held, run, done = deque(maxlen=frames // 2 + 1), [], 0
    for now in shown:
        held.append(now)
        while done < len(onsets):
            start = onsets[done]
            if not run and now.reach < start + length / 2:
                break
            if not run:
                run = list(held)
            elif len(run) < frames and now.t > run[-1].t:
                run.append(now)
            within = now.t < start + length - EDGE_S
            if within and (len(run) < frames or now.t + now.period < start + length - now.slack):
                break  # the video must reach the end of the clip
            whole = len(run) == frames and _unbroken(run, start, frames // 2, offset, length)
            yield [take(one.frame) for one in run] if whole else None
            run, done = [], done + 1
        if done == len(onsets):
            return
    for _ in range(done, len(onsets)):
        yield None


def _unbroken(run: list[Shown], start: float, middle: int, offset: float, length: float) -> bool:
    """Whether these frames are the neighbours of the middle of a clip, without a gap."""
    if offset > start + run[0].slack or run[0].t < start - EDGE_S:
        return False
    if run[-1].t > start + length - EDGE_S:
        return False
    if abs(run[middle].t - (start + length / 2)) > run[middle].slack:
        return False
    # One lost frame makes an interval of two periods.
    return all(b.t - a.t <= 2.5 * max(a.period, b.period) for a, b in pairwise(run))


def timed(path: Path, frames: Iterable[tuple[float, Any]], offset: float) -> Iterator[Shown]:
    """Frames with the rate around them.

    It is the larger one of the usual intervals before and after, so that neither a lost frame nor
    a change of the rate counts as a gap.

    Raises:
        CohortError: time stamps start again.
    """
    # The rate around a frame is known only when the frames after it are read.
    past: deque[float] = deque(maxlen=_AROUND)
    ahead: deque[tuple[float, Any]] = deque()
    ordered = _in_order(path, frames)
    ended = False
    while True:
        while not ended and len(ahead) <= _AROUND:
            item = next(ordered, None)
            ended = item is None
            if item is not None:
                ahead.append(item)
        if not ahead:
            return
        coming = [b - a for (a, _), (b, _) in pairwise(ahead)]
        period = max(_usual(past or coming), _usual(coming or past))
        t, frame = ahead.popleft()
        after = coming[0] if coming else 2 * period  # the last frame is shown for a while
        yield Shown(t + offset, t + offset + after / 2, period, frame)
        past.append(after)


def _usual(intervals: Sequence[float]) -> float:
    """The usual interval between frames, apart from the longest one, which may be a gap.

    At least half of the time passes in intervals that are as long or longer. Cameras that send
    frames in bursts have short and long ones.
    """
    rest = sorted(intervals)[:-1] or list(intervals)
    passed, half = 0.0, sum(rest) / 2
    for interval in rest:
        passed += interval
        if passed >= half:
            return interval
    return 0.0


def _in_order(path: Path, frames: Iterable[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    """Frames with rising times: repeated and single wrong time stamps are left out.

    Raises:
        CohortError: time stamps start again. How much time passed before is not known.
    """
    before, last, early = -math.inf, None, []
    slipped = 0.0
    for t, frame in frames:
        if last is None or t > last[0]:
            slipped += last[0] - early[0] if len(early) > 1 else 0.0
            if last is not None:
                yield last
                before = last[0]
            last, early = (t, frame), []
        elif t > before and last[0] - before > _STRAY_S and last[0] - t > _STRAY_S:
            last = t, frame  # the one before leapt ahead
        elif t < last[0] and not (early and t <= early[-1]):
            early.append(t)
        restarts = len(early) > 1 and last[0] - early[0] > _STRAY_S
        if restarts or len(early) >= _BACK or slipped > _STRAY_S:
            at = f"after {last[0]:.1f} s of video they go back to {(early or [t])[0]:.1f} s"
            problem = f"its time stamps start again: {at}, and how long the pause was is not known"
            fix = (
                "cut it there and keep one part with its StartOffset, or join the parts at their "
                "true times, for example with `ffmpeg -f concat`"
            )
            raise CohortError(path, problem, fix)
    if last is not None:
        yield last
