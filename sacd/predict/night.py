"""Reads a recording and stages it: clip by clip, resumable, in bounded memory."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from sacd.analysis.auc import PROBABILITIES
from sacd.data.pixels import BREATH_HZ, LAG_S, MOVING, movement
from sacd.data.video import probe
from sacd.files import FileError, atomic, read_json, sha256_json, write_json
from sacd.predict.context import LEAST_CLIPS, AboutContext
from sacd.predict.frames import Clip, clips_of
from sacd.predict.model import About, Stager
from sacd.stages import CLIP_S, UNSCORED
from sacd.training.night_facts import of_pixels

BATCH: Final = 32
"""Clips that are computed, and kept for a resume, at a time: 16 min of video."""
_JOIN_S: Final = 1.0
_Piece = Mapping[str, NDArray]


@dataclass(frozen=True)
class Night:
    """A staged recording.

    Attributes:
        clips: one row per clip of the recording, without a hole: clip, onset_s, stage (0..4, or
            `UNSCORED`), p_W .. p_REM and confidence (0..1, NaN if unscored), uncertain, seen (share
            of its frames), movement_s (s with movement), breaths_per_minute and
            breathing_regularity (NaN where there is none).
        trace: `(n, T)` change of the picture in units of its rest, NaN where it was not seen; see
            `sacd.data.pixels.movement`.
        rate: of the frames, in frames/s.
        alone: why each clip was staged by itself; empty if the whole night was the context.
    """

    clips: pd.DataFrame
    trace: NDArray[np.float32]
    rate: float
    alone: str

    def used(self, about: About) -> About | AboutContext:
        """What of a model staged the night, with its threshold and figures."""
        return about if self.alone else about.context


def predict(
    videos: Sequence[Path], stager: Stager, cache: Path, start: float = 0.0, threads: int = 0
) -> Night:
    """Stage a recording that lies in one or several files.

    Args:
        videos: files that follow each other.
        cache: folder of what was computed already, for a resume; holds features and numbers, and
            never a frame. The caller removes it.
        start: time of the first frame in s from the start of the recording.
        threads: of the decoder; 0 lets FFmpeg decide.

    Raises:
        CohortError: a video cannot be used.
        FileError: the videos hold no whole clip.
    """
    rate = stager.about.store.frames / CLIP_S
    pieces = _open(cache, videos, stager, start)
    done = sum(len(piece["number"]) for piece in pieces)
    first = int(pieces[0]["number"][0]) if done else 0
    total = sum(probe(video).duration_s for video in videos)
    bar = tqdm(
        desc="video",
        total=None if math.isnan(total) else round(total / 60, 1),
        unit=" min",
        disable=None,
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} min of video, {remaining} left",
    )
    with bar:
        read = clips_of(videos, start, stager.about.store, first + done, threads)
        new = (clip for clip in _counted(read, bar, start) if clip.number >= first + done)
        while batch := list(islice(new, BATCH)):
            piece = _compute(batch, stager, rate)
            # A piece is complete or absent, so an interrupted run goes on with the next one.
            with atomic(cache / f"{len(pieces):05d}.npz") as half:
                np.savez(half, **piece)
            pieces.append(piece)
    every = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
    if not every["whole"].any():
        problem = f"covers no whole clip of {CLIP_S} s"
        raise FileError(videos[0], problem, f"give a video of {CLIP_S} s or more, better a night")
    return _staged(every, stager, rate)


def _counted(clips: Iterator[Clip], bar: tqdm, start: float) -> Iterator[Clip]:
    for clip in clips:
        yield clip
        bar.update((clip.reached - start) / 60 - bar.n)


def _compute(batch: list[Clip], stager: Stager, rate: float) -> _Piece:
    frames = np.stack([clip.frames for clip in batch])
    seen = np.stack([clip.seen for clip in batch])
    whole = np.array([clip.whole for clip in batch])
    features = stager.features(frames)  # those of incomplete clips are left out in `_staged`
    pairs = zip(frames, seen, strict=True)
    trace = np.stack([_trace(of_clip, shown, rate) for of_clip, shown in pairs])
    breaths = rhythm = np.full(len(batch), np.nan)
    pixels = np.zeros((len(batch), 0), np.float32)
    if rate > 2 * BREATH_HZ[1]:  # Nyquist: fewer frames show no breath
        pixels, found = of_pixels(frames, rate)
        # A clip without a breath has the rate 0 there.
        breaths = found["rate"].where(found["rate"] > 0).to_numpy()
        rhythm = found["regularity"].to_numpy()
    return {
        "number": np.array([clip.number for clip in batch]),
        "whole": whole,
        "seen": seen.mean(axis=1),
        "features": features,
        "pixels": pixels,
        "trace": trace,
        "breaths": np.where(whole, breaths, np.nan),
        "regularity": np.where(whole, rhythm, np.nan),
    }


def _trace(frames: NDArray, seen: NDArray, rate: float) -> NDArray[np.float32]:
    """Movement over one clip; of an incomplete one, over its longest stretch without a hole."""
    trace = np.full(len(seen), np.nan, np.float32)
    stretches = np.split(np.arange(len(seen)), np.flatnonzero(np.diff(seen)) + 1)
    longest = max((s for s in stretches if seen[s[0]]), key=len, default=np.arange(0))
    if len(longest) > max(1, round(LAG_S * rate)):
        trace[longest] = movement(frames[longest], rate)
    return trace


def _open(cache: Path, videos: Sequence[Path], stager: Stager, start: float) -> list[_Piece]:
    """Pieces that were computed from the same files by the same model; others are removed."""
    asked = {
        "model": stager.about.model_dump(mode="json"),
        "file": stager.digest,
        "start": start,
        "videos": [[path.stat().st_size, path.stat().st_mtime_ns] for path in videos],
    }
    identity = {"identity": sha256_json(asked)}
    cache.mkdir(parents=True, exist_ok=True)
    if read_json(cache / "identity.json") != identity:
        # Of another model or video: the pieces would be mixed up with the new ones.
        for old in cache.iterdir():
            old.unlink()
        write_json(cache / "identity.json", identity)
    pieces: list[_Piece] = []
    for k in count():
        path = cache / f"{k:05d}.npz"
        if not path.is_file():
            return pieces
        with np.load(path, allow_pickle=False) as file:
            pieces.append(dict(file))


def _staged(every: _Piece, stager: Stager, rate: float) -> Night:
    """The night from all of its pieces; a clip that no frame touches gets a row too."""
    number, whole = every["number"], every["whole"]
    places = number - number[0]
    n = int(places[-1]) + 1

    def over(values: NDArray, of: NDArray = places, empty: float = np.nan) -> NDArray:
        """One value for every clip of the night, from those of some clips."""
        out = np.full((n, *values.shape[1:]), empty, float)
        out[of] = values
        return out

    alone = _alone(stager, int(whole.sum()))
    seen = [every[name][whole] for name in ("features", "pixels")]
    p = over(stager.probabilities(seen[0]) if alone else stager.in_context(*seen), places[whole])
    known = np.isfinite(p[:, 0])
    # argmax refuses no NaN but would take the first for the largest, hence nan_to_num.
    stage = np.where(known, np.nan_to_num(p).argmax(axis=1), UNSCORED)
    confidence = p.max(axis=1)
    about = stager.about if alone else stager.about.context
    clip = number[0] + np.arange(n)
    table = pd.DataFrame({"clip": clip, "onset_s": CLIP_S * clip, "stage": stage})
    for k, name in enumerate(PROBABILITIES):
        table[name] = p[:, k]
    table = table.assign(
        confidence=confidence,
        uncertain=known & (confidence < about.threshold),
        seen=over(every["seen"], empty=0.0),
        movement_s=_seconds(over(every["trace"]), rate),
        breaths_per_minute=over(every["breaths"]),
        breathing_regularity=over(every["regularity"]),
    )
    return Night(table, over(every["trace"]).astype(np.float32), rate, alone)


def _alone(stager: Stager, clips: int) -> str:
    """Why the whole clips of a night have no context; empty if they have."""
    if stager.context is None:
        return "the model file has no head that reads a whole night"
    if clips < LEAST_CLIPS:
        return f"fewer than {LEAST_CLIPS} clips are too few to be each other's context"
    return ""


def _seconds(trace: NDArray, rate: float) -> NDArray[np.float64]:
    """Seconds with movement of each clip; NaN where it was not seen."""
    known = np.isfinite(trace)
    seconds = (np.nan_to_num(trace) > MOVING).sum(axis=1) / rate
    return np.where(known.any(axis=1), seconds, np.nan)


def movements(night: Night) -> pd.DataFrame:
    """When the body moves: onset and duration in s from the start of the recording.

    Movements that are less than `_JOIN_S` apart are one.
    """
    moving = (np.nan_to_num(night.trace) > MOVING).ravel()
    # `diff` of booleans is true where they change: a start and an end in turn.
    edges = np.flatnonzero(np.diff(moving, prepend=False, append=False))
    first, last = edges[::2] / night.rate, edges[1::2] / night.rate
    apart = np.flatnonzero(first[1:] - last[:-1] >= _JOIN_S)
    if not len(first):
        return pd.DataFrame({"onset": [], "duration": []})
    starts, ends = np.append(0, apart + 1), np.append(apart, len(first) - 1)
    onset = first[starts] + night.clips["onset_s"].iloc[0]
    return pd.DataFrame({"onset": onset, "duration": last[ends] - first[starts]}).round(3)
