"""Files of one simulated subject: EDF, events, H.264 video, and the ground truth."""

import datetime
import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
from av.video.reformatter import ColorRange
from edfio import Edf, EdfSignal, Patient, Recording
from threadpoolctl import threadpool_limits

from sacd.simulate.eeg import Head, eeg
from sacd.simulate.hypnogram import SimulatedNight, state
from sacd.simulate.parameters import parameter as p
from sacd.simulate.physiology import (
    GROSS,
    LIMB,
    TWITCH,
    Breather,
    Breathing,
    Movements,
    blocks,
    breathing,
    movements,
)
from sacd.simulate.settings import SimulateConfig, stream
from sacd.simulate.video import Light, Poses, Scene, frames
from sacd.stages import CLIP_S, UNSCORED, stage_name

START = datetime.date(2000, 1, 1), datetime.time(22, 0, 0)


@dataclass(frozen=True)
class Segment:
    """Consecutive clips of the night."""

    at: float  # start in the files, in s
    start: float  # start in the night, in s since lights out
    labels: np.ndarray

    @property
    def seconds(self) -> float:
        return len(self.labels) * CLIP_S


def write(folder: Path, config: SimulateConfig, index: int, night: SimulatedNight) -> dict:
    """Write the files of one subject below `folder`; returns its row of participants.tsv."""
    digits = max(2, len(str(config.n_subjects)))
    name = f"sub-{index + 1:0{digits}d}"
    with threadpool_limits(1):  # the bytes must not depend on the number of threads
        purposes = ("state", "blocks", "movement", "breathing", "eeg")
        rng = {key: stream(config, index, key) for key in purposes}
        body = state(night.stages, rng["state"])
        moves = movements(night, body, rng["movement"])
        offset, segments = _segments(config, index, night, rng["blocks"])
        breather, head = Breather.draw(rng["breathing"]), Head.draw(rng["eeg"])
        breaths, samples = [], []
        for segment in segments:
            # A second more at both ends; a camera that starts early also films before the EEG.
            lead = max(0.0, -offset) + 1 if segment is segments[0] else 1.0
            first, stop = segment.start - lead, segment.start + segment.seconds + 1
            breaths.append(breathing(breather, night, body, first, stop, rng["breathing"]))
            count, rate = int(segment.seconds * config.eeg_rate), config.eeg_rate
            samples.append(eeg(head, night, body, moves, segment.start, count, rate, rng["eeg"]))

        stem = f"{name}_task-sleep"
        for part in (f"{name}/eeg", f"{name}/video", "derivatives/simulator"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        recording, film = folder / name / "eeg", folder / name / "video"
        _edf(recording / f"{stem}_eeg.edf", np.concatenate(samples), config.eeg_rate, name)
        events = _events(segments, night)
        events.to_csv(recording / f"{stem}_events.tsv", sep="\t", index=False)
        times = _frame_times(config, segments, offset)
        _video(film / f"{stem}_video.mp4", config, index, segments, times, breaths, moves)
        fps = config.fps_num / config.fps_den
        side = {"StartOffset": offset, "FrameRate": fps, "simulated": True}
        (film / f"{stem}_video.json").write_text(json.dumps(side, indent=2) + "\n")
        truth = _truth(config, segments, times, breaths, moves, night)
        np.savez(folder / "derivatives" / "simulator" / f"{name}_truth.npz", **truth)
    return {"participant_id": name, **night.person}


def _segments(
    config: SimulateConfig, index: int, night: SimulatedNight, rng: np.random.Generator
) -> tuple[float, list[Segment]]:
    """Offset of the video in s, and the parts of the night that are kept.

    If the camera starts late, the EEG begins with an unscored clip (calibration), so that the video
    still covers every scored clip.
    """
    draw = stream(config, index, "offset").random(2)
    started = draw[0] < p("video.start_offset_share")
    early = draw[1] < p("video.start_early_share")
    offset = 0.0
    if started:
        offset = p("video.start_early_s") if early else p("video.start_late_s")
    segments, at = [], 0.0
    if offset > 0:
        segments.append(Segment(0.0, p("night.calibration_s"), np.array([UNSCORED])))
        at = float(CLIP_S)
    for first, count in blocks(len(night.stages), config.blocks, rng):
        segments.append(Segment(at, float(first * CLIP_S), night.stages[first : first + count]))
        at += count * CLIP_S
    return offset, segments


def _frame_times(config: SimulateConfig, segments: list[Segment], offset: float) -> np.ndarray:
    """Times (frames,) of the frames of the video, in s from the start of the EEG."""
    stop = segments[-1].at + segments[-1].seconds
    count = int(np.ceil((stop - offset) * config.fps_num / config.fps_den))
    return offset + np.arange(count) * (config.fps_den / config.fps_num)


def _of(segments: list[Segment], times: np.ndarray) -> list[np.ndarray]:
    """Frame times of each segment, in s since lights out.

    Frames before the EEG belong to the first segment.
    """
    starts = [segment.at for segment in segments[1:]]
    number = np.searchsorted(starts, times + 1e-6, side="right")
    return [segment.start + times[number == i] - segment.at for i, segment in enumerate(segments)]


def _edf(path: Path, samples: np.ndarray, rate: int, name: str) -> None:
    limit = p("eeg.range")  # of the amplifier, in uV: int16 samples need a fixed range
    clipped, limits = np.clip(samples, -limit, limit), (-limit, limit)
    signal = EdfSignal(clipped, rate, label="C3", physical_dimension="uV", physical_range=limits)
    # A fixed date, so that equal cohorts have equal bytes.
    recording = Recording(startdate=START[0], equipment_code="simulated")
    edf = Edf(
        [signal],
        patient=Patient(name=name),
        recording=recording,
        starttime=START[1],
        data_record_duration=1,
    )
    edf.write(path)


def _events(segments: list[Segment], night: SimulatedNight) -> pd.DataFrame:
    """Rows of events.tsv: stages, boundaries, respiratory events and arousals."""
    rows = []
    for i, segment in enumerate(segments):
        if i:
            rows.append((segment.at, 0.0, "boundary"))
        for k, label in enumerate(segment.labels):
            rows.append((segment.at + k * CLIP_S, CLIP_S, stage_name(label)))
        for event in night.events:
            onset = max(event.onset, segment.start)
            stop = min(event.onset + event.duration, segment.start + segment.seconds)
            if stop - onset >= 1:  # less than a second of an event at a cut is dropped
                time = round(onset - segment.start + segment.at, 1)
                rows.append((time, round(stop - onset, 1), event.kind))
    frame = pd.DataFrame(rows, columns=["onset", "duration", "trial_type"])
    return frame.sort_values("onset", kind="stable")


def _video(
    path: Path,
    config: SimulateConfig,
    index: int,
    segments: list[Segment],
    times: np.ndarray,
    breaths: list[Breathing],
    moves: Movements,
) -> None:
    setting, camera = stream(config, index, "scene"), stream(config, index, "camera")
    scene = Scene(config.width, config.height, setting)
    light, poses = Light(scene, camera), Poses.draw(moves, setting)
    with av.open(str(path), "w", format="mp4") as file:
        video = file.add_stream("libx264", rate=Fraction(config.fps_num, config.fps_den))
        video.width, video.height, video.pix_fmt = config.width, config.height, "gray"
        # Full range: grey levels 0..255 are read as they were written.
        video.codec_context.color_range = ColorRange.JPEG
        # "ultrafast" has no lookahead. Presets with lookahead spend the bits elsewhere and lose a
        # breath of one grey level.
        video.options = {
            "crf": str(round(p("video.crf"))),
            "preset": "ultrafast",
            "tune": "grain",
            "threads": "1",
        }
        for here, breath in zip(_of(segments, times), breaths, strict=True):
            for chunk in frames(scene, light, poses, moves, breath, here, camera):
                for picture in chunk:
                    file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        file.mux(video.encode())


def _truth(
    config: SimulateConfig,
    segments: list[Segment],
    times: np.ndarray,
    breaths: list[Breathing],
    moves: Movements,
    night: SimulatedNight,
) -> dict:
    """Ground truth of every clip.

    Returns:
        `breathing`, `activity`: (clips, frames) at the frame times; NaN where the camera did not
        run yet. `respiratory`: share of the clip with respiratory events. `night_s`: start in the
        night. `gross`, `limb`, `twitch`: number of movements that begin in the clip.
    """
    per_clip = CLIP_S * config.fps_num // config.fps_den
    signals = []
    for here, breath in zip(_of(segments, times), breaths, strict=True):
        # The video shows both, so its breathing is their mean.
        chest, abdomen = breath.at(here)
        signals.append(np.stack([(chest + abdomen) / 2, moves.activity(here)]))
    signal = np.concatenate(signals, axis=1)[:, times >= -1e-6]
    n = sum(len(segment.labels) for segment in segments)
    # A video that starts late is aligned at the end.
    full = np.full((2, n * per_clip), np.nan, np.float32)
    full[:, -signal.shape[1] :] = signal
    starts = np.concatenate(
        [segment.start + np.arange(len(segment.labels)) * CLIP_S for segment in segments]
    )
    share = np.zeros(n)
    for event in night.respiratory():
        end = np.minimum(starts + CLIP_S, event.onset + event.duration)
        share += np.clip(end - np.maximum(starts, event.onset), 0, None)
    inside = (moves.onset >= starts[:, None]) & (moves.onset < starts[:, None] + CLIP_S)
    kinds = {"gross": GROSS, "limb": LIMB, "twitch": TWITCH}
    counts = {name: (inside & (moves.kind == kind)).sum(1) for name, kind in kinds.items()}
    return {
        "breathing": full[0].reshape(n, per_clip),
        "activity": full[1].reshape(n, per_clip),
        "respiratory": (share / CLIP_S).astype(np.float32),
        "night_s": starts,
        **counts,
    }
