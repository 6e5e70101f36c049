"""What `check` sees in the videos of a cohort: clips that would be lost, and odd pictures."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sacd.data.cohort import Night
from sacd.data.decode import decoded, listed
from sacd.data.picture import Pictures, glances, is_turned
from sacd.data.problems import CohortError, Problem
from sacd.data.video import Sampling, Shown, VideoInfo, choose, timed, too_slow
from sacd.stages import CLIP_S

DECODED_PIXELS = 5e9
"""A video of fewer pixels is decoded whole, which takes seconds; of others the packets are read."""
_GLANCES, _SIDE = 8, 24
"""Frames of a night that are looked at, and their size in pixels."""
DARK, SATURATED, FLAT = 20, 250, 1.5
"""Grey levels of 255: the brightest 1 % of a dark video lies below the first, half of a saturated
one above the second, and a flat one has a smaller standard deviation over all of its pictures."""
_SHORTEST = 0.1
"""A video that lasts for a smaller share of the clips after its start is taken for a time-lapse,
which plays faster than the night went by."""
_TURNED = (0.7, 0.3)
"""A turned picture must correlate with the other nights at least so much, and the picture as it is
at most so much."""


@dataclass
class Film:
    """What a video holds, found without reducing its frames.

    `end_s`: s from its first frame to the end of its last one. `whole`: for each onset, does it
    cover the clip? `gap`: time in s and length in s of its longest gap.
    """

    end_s: float
    whole: list[bool]
    gap: tuple[float, float] = (0.0, 0.0)


def survey_film(
    path: Path,
    info: VideoInfo,
    onsets: list[float],
    frames: int,
    sampling: Sampling,
    offset: float,
    windows: int = 1,
) -> Film:
    """Which clips ingest will find, by the same rules, without reducing frames.

    Raises:
        CohortError: the time stamps start again, or nothing can be read.
    """
    pixels = info.width * info.height * info.rate * info.duration_s
    source = decoded(path, 0) if pixels < DECODED_PIXELS else listed(path)
    film = Film(0.0, [])

    def noted(shown: Iterable[Shown]) -> Iterator[Shown]:
        for now in shown:
            film.end_s = now.t - offset + now.period
            length = 2 * (now.reach - now.t)
            if length > 2.5 * now.period and length > film.gap[1]:
                film.gap = now.t - offset, length
            yield now._replace(frame=None)  # so that its picture is freed

    shown = noted(timed(path, source, offset))
    clips = choose(shown, onsets, frames, sampling, offset, lambda _: 0, windows)
    film.whole = [clip is not None for clip in clips]
    for _ in shown:  # the rest, up to the end
        pass
    return film


def header_problems(path: Path, info: VideoInfo, frames: int, sampling: Sampling) -> list[Problem]:
    """What the header of a video tells beforehand."""
    found = []
    if slow := too_slow(info, frames, sampling):
        found.append(("error", CohortError(path, slow, "record at a higher rate")))
    elif sampling == "spread" and frames > CLIP_S * info.rate * 1.05:
        own = f"{info.rate:.3g} frames/s are {CLIP_S * info.rate:.0f} frames a clip"
        problem = f"{own}, {frames} are taken, so that some are taken twice"
        found.append(("warning", CohortError(path, problem, "record at a higher rate, or go on")))
    if info.videos > 1:
        problem = f"holds {info.videos} videos; the one of {info.width} x {info.height} is read"
        found.append(("warning", CohortError(path, problem, "remove the others if that is wrong")))
    return found


def shortest(onsets: Iterable[float], offset: float) -> float:
    """Shortest accepted duration in s of a video, by the clips that begin after it does."""
    return _SHORTEST * CLIP_S * sum(onset >= offset - 1 for onset in onsets)


def time_lapse(
    path: Path, film: Film, onsets: Iterable[float], offset: float
) -> CohortError | None:
    """A problem if the video is so much shorter than its clips that it may be a time-lapse."""
    limit = shortest(onsets, offset)
    if film.end_s >= limit:
        return None
    clips = limit / _SHORTEST
    problem = f"lasts {film.end_s:.4g} s, and the scored clips after its start {clips:.0f} s:"
    problem += f" {film.end_s / clips:.1%}, limit {_SHORTEST:.0%}"
    fix = "give a time-lapse, n times too fast, its true times (`ffmpeg -itsscale n -i in -c copy"
    fix += " out.mkv`); if the camera stopped, name the stages after it unscored"
    return CohortError(path, problem, fix)


def odd_pictures(nights: Iterable[Night]) -> list[tuple[str, Problem]]:
    """Warnings of dark, flat, saturated and turned videos, from a few frames of each night."""
    found, views = [], []
    for night in nights:
        try:
            view = _view(night.video)
        except (CohortError, OSError):
            continue  # told where the night is checked
        if view is None:
            continue
        if problem := _odd(view[1]):
            error = CohortError(night.video, problem, "look at it in a player, or go on")
            found.append((night.subject, ("warning", error)))
        views.append((night, *view))
    # The camera usually stays where it is: a night that differs from the others was turned.
    uprights = [aspect < 1 for _, aspect, _ in views]
    for k, (night, _, pictures) in enumerate(views):
        others = [v[2].mean(0) for j, v in enumerate(views) if j != k]
        # Of two nights nobody knows which one is turned.
        if len(others) < 2:
            break
        problem = ""
        if uprights[k] != (sum(uprights) > len(uprights) / 2):
            form = "upright" if uprights[k] else "wider than high"
            problem = f"its pictures are {form}, those of most nights are not"
        elif turn := _turned(pictures.mean(0), others):
            problem = f"its pictures seem {turn} against those of the other nights"
        if problem:
            fix = "turn it, for example by `ffmpeg -display_rotation`, if the camera was the same"
            found.append((night.subject, ("warning", CohortError(night.video, problem, fix))))
    return found


def _view(path: Path) -> tuple[float, np.ndarray] | None:
    """Width by height of the picture as it is shown, and a few small ones `(n, side, side)`."""
    reduce, small, aspect = Pictures(path, (_SIDE, _SIDE)), [], 1.0
    for frame in glances(path, _GLANCES):
        aspect = frame.width / frame.height
        if is_turned(frame):
            aspect = 1 / aspect
        small.append(reduce(frame))
    return (aspect, np.stack(small).astype(float)) if small else None


def _odd(pictures: np.ndarray) -> str:
    """What is odd about the brightness of pictures `(n, side, side)`."""
    bright, middle = np.quantile(pictures, 0.99), np.median(pictures)
    if bright < DARK:
        return f"is dark: 99 % of its pixels are below {bright:.0f} of 255"
    if middle > SATURATED:
        return f"is saturated: half of its pixels are at {middle:.0f} of 255 or above"
    if len(pictures) > 1 and pictures.std() < FLAT:
        return f"is flat: its pixels differ by {pictures.std():.1f} of 255"
    return ""


def _turned(picture: np.ndarray, others: list[np.ndarray]) -> str:
    """How a picture seems to be turned or mirrored against others; "" if it is not."""
    least, most = _TURNED
    mean = sum(_standard(other) for other in others)
    # Correlations: brightness and contrast differ from night to night.
    likeness = {"": _alike(picture, mean), "mirrored": _alike(picture[:, ::-1], mean)}
    for k in (1, 2, 3):
        likeness[f"turned by {90 * k} degrees"] = _alike(np.rot90(picture, k), mean)
    best = max(likeness, key=likeness.get)
    return best if likeness[best] >= least and likeness[""] <= most else ""


def _standard(picture: np.ndarray) -> np.ndarray:
    return (picture - picture.mean()) / (picture.std() + 1e-6)


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    return float((_standard(a) * _standard(b)).mean())
