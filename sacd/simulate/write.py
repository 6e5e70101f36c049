"""Files of one simulated subject: EDF, events, H.264 video, and the simulator's truth."""

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
from sacd.simulate.physiology import GROSS, LIMB, Breather, blocks, breathing, movements
from sacd.simulate.settings import SimulateConfig, stream
from sacd.simulate.video import Light, Poses, Scene, frames
from sacd.stages import CLIP_S, STAGES, UNSCORED

START = datetime.date(2000, 1, 1), datetime.time(22, 0, 0)


@dataclass(frozen=True)
class Segment:
    """Consecutive clips of the night: its start in the file and in the night (s), and the labels."""

    at: float
    start: float
    labels: np.ndarray

    @property
    def seconds(self) -> float:
        return len(self.labels) * CLIP_S


def write(folder: Path, config: SimulateConfig, index: int, night: SimulatedNight) -> dict:
    """Write one subject's files below `folder`; the row of participants.tsv."""
    name = f"sub-{index + 1:0{max(2, len(str(config.n_subjects)))}d}"
    with threadpool_limits(1):  # the same bytes whatever the number of threads
        rng = {
            key: stream(config, index, key)
            for key in ("state", "blocks", "movement", "breathing", "eeg")
        }
        body = state(night.stages, rng["state"])
        moves = movements(night, body, rng["movement"])
        offset, segments = _segments(config, index, night, rng["blocks"])
        breather, head = Breather.draw(rng["breathing"]), Head.draw(rng["eeg"])
        breaths, samples = [], []
        for segment in segments:
            lead = max(0.0, -offset) + 1 if segment is segments[0] else 1.0
            stop = segment.start + segment.seconds + 1
            breaths.append(
                breathing(breather, night, body, segment.start - lead, stop, rng["breathing"])
            )
            count = int(segment.seconds * config.eeg_rate)
            samples.append(
                eeg(head, night, body, moves, segment.start, count, config.eeg_rate, rng["eeg"])
            )

        stem = f"{name}_task-sleep"
        for part in (f"{name}/eeg", f"{name}/video", "derivatives/simulator"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        _edf(
            folder / name / "eeg" / f"{stem}_eeg.edf",
            np.concatenate(samples),
            config.eeg_rate,
            name,
        )
        _events(segments, night).to_csv(
            folder / name / "eeg" / f"{stem}_events.tsv", sep="\t", index=False
        )
        times = _frame_times(config, segments, offset)
        _video(
            folder / name / "video" / f"{stem}_video.mp4",
            config,
            index,
            segments,
            times,
            breaths,
            moves,
        )
        side = {
            "StartOffset": offset,
            "FrameRate": config.fps_num / config.fps_den,
            "simulated": True,
        }
        (folder / name / "video" / f"{stem}_video.json").write_text(
            json.dumps(side, indent=2) + "\n"
        )
        truth = _truth(config, segments, times, offset, breaths, moves, night)
        np.savez(folder / "derivatives" / "simulator" / f"{name}_truth.npz", **truth)
    return {"participant_id": name, **night.person}


def _segments(
    config: SimulateConfig, index: int, night: SimulatedNight, rng: np.random.Generator
) -> tuple[float, list[Segment]]:
    """The video's offset in s and the pieces of the night that are kept.

    A camera started late is preceded by one unscored clip of EEG (calibration), so that it covers
    every scored clip.
    """
    draw = stream(config, index, "offset").random(2)
    started = draw[0] < p("video.start_offset_share")
    early = draw[1] < p("video.start_early_share")
    offset = (p("video.start_early_s") if early else p("video.start_late_s")) if started else 0.0
    segments, at = [], 0.0
    if offset > 0:
        segments.append(Segment(0.0, p("night.calibration_s"), np.array([UNSCORED])))
        at = float(CLIP_S)
    for first, count in blocks(len(night.stages), config.blocks, rng):
        segments.append(Segment(at, float(first * CLIP_S), night.stages[first : first + count]))
        at += count * CLIP_S
    return offset, segments


def _frame_times(config: SimulateConfig, segments: list[Segment], offset: float) -> np.ndarray:
    """Times (frames,) of the video's frames in s since the EEG's start."""
    stop = segments[-1].at + segments[-1].seconds
    return offset + np.arange(int(np.ceil((stop - offset) * config.fps_num / config.fps_den))) * (
        config.fps_den / config.fps_num
    )


def _of(segments: list[Segment], times: np.ndarray) -> list[np.ndarray]:
    """SimulatedNight times of the frames of each segment; frames before the EEG belong to the first."""
    number = np.searchsorted([segment.at for segment in segments[1:]], times + 1e-6, side="right")
    return [segment.start + times[number == i] - segment.at for i, segment in enumerate(segments)]


def _edf(path: Path, samples: np.ndarray, rate: int, name: str) -> None:
    limit = p("eeg.range")
    signal = EdfSignal(
        np.clip(samples, -limit, limit), rate, label="C3", physical_dimension="uV", physical_range=(-limit, limit),
    )  # fmt: skip
    patient, recording = (
        Patient(name=name),
        Recording(startdate=START[0], equipment_code="simulated"),
    )
    edf = Edf(
        [signal], patient=patient, recording=recording, starttime=START[1], data_record_duration=1
    )
    edf.write(path)


def _events(segments: list[Segment], night: SimulatedNight) -> pd.DataFrame:
    rows = []
    for i, segment in enumerate(segments):
        if i:
            rows.append((segment.at, 0.0, "boundary"))
        for k, label in enumerate(segment.labels):
            rows.append(
                (
                    segment.at + k * CLIP_S,
                    CLIP_S,
                    "unscored" if label == UNSCORED else STAGES[label],
                )
            )
        for event in night.events:
            onset = max(event.onset, segment.start)
            stop = min(event.onset + event.duration, segment.start + segment.seconds)
            if stop - onset >= 1:  # less than a second of an event at a cut says nothing
                rows.append(
                    (
                        round(onset - segment.start + segment.at, 1),
                        round(stop - onset, 1),
                        event.kind,
                    )
                )
    frame = pd.DataFrame(rows, columns=["onset", "duration", "trial_type"])
    return frame.sort_values("onset", kind="stable")


def _video(
    path: Path,
    config: SimulateConfig,
    index: int,
    segments: list,
    times: np.ndarray,
    breaths: list,
    moves,
) -> None:
    setting, camera = stream(config, index, "scene"), stream(config, index, "camera")
    scene = Scene(config.width, config.height, setting)
    light, poses = Light(scene, camera), Poses.draw(moves, setting)
    with av.open(str(path), "w", format="mp4") as file:
        video = file.add_stream("libx264", rate=Fraction(config.fps_num, config.fps_den))
        video.width, video.height, video.pix_fmt = config.width, config.height, "gray"
        video.codec_context.color_range = (
            ColorRange.JPEG
        )  # grey levels 0..255 are read as they were written
        # Faster presets with lookahead spend the bits elsewhere and lose a breath of one grey
        # level.
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
    config,
    segments: list,
    times: np.ndarray,
    offset: float,
    breaths: list,
    moves,
    night: SimulatedNight,
) -> dict:
    """Per clip: breathing and activity at the clip's frame times (NaN where the camera did not run), and facts."""
    per_clip = CLIP_S * config.fps_num // config.fps_den
    signals = []
    for here, breath in zip(_of(segments, times), breaths, strict=True):
        chest, abdomen = breath.at(here)
        signals.append(np.stack([(chest + abdomen) / 2, moves.activity(here)]))
    signal = np.concatenate(signals, axis=1)[:, times >= -1e-6]
    n = sum(len(segment.labels) for segment in segments)
    full = np.full((2, n * per_clip), np.nan, np.float32)
    full[:, -signal.shape[1] :] = signal
    starts = np.concatenate(
        [segment.start + np.arange(len(segment.labels)) * CLIP_S for segment in segments]
    )
    share = np.zeros(n)
    for event in night.respiratory():
        share += np.clip(
            np.minimum(starts + CLIP_S, event.onset + event.duration)
            - np.maximum(starts, event.onset),
            0,
            None,
        )
    inside = (moves.onset >= starts[:, None]) & (moves.onset < starts[:, None] + CLIP_S)
    counts = {
        name: (inside & (moves.kind == kind)).sum(1)
        for kind, name in ((GROSS, "gross"), (LIMB, "limb"), (2, "twitch"))
    }
    return {
        "breathing": full[0].reshape(n, per_clip), "activity": full[1].reshape(n, per_clip),
        "respiratory": (share / CLIP_S).astype(np.float32), "night_s": starts, **counts,
    }  # fmt: skip
