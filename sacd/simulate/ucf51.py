"""Simulated UCF51: small AVI files with sound, named and split like those of UCF101.

An object oscillates, and a knock sounds at each turning point. The class determines direction, rate
and shape. The sound makes the class easy to tell: direction, rate and shape set the pitch, rhythm
and timbre of the knocks. The video makes it hard: directions are 18 degrees apart while the camera
tilts, shapes are a few pixels large, and a second object oscillates independently and silently.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import av
import numpy as np
from filelock import FileLock
from pydantic import Field

from sacd.config import Config
from sacd.data.ucf51 import ABOUT, CLASSES
from sacd.files import atomic_folder, read_json
from sacd.workers import parallel_map

VERSION = 1
"""Bump when the output changes for the same config."""
RATES_HZ = (0.9, 1.3, 1.9, 2.7)
ANGLES = np.deg2rad((9, 27, 45, 63, 81))
PITCHES_HZ = (380.0, 600.0, 950.0, 1500.0, 2400.0)
GROUPS = range(1, 26)
FPS, WIDTH, HEIGHT = 25, 64, 48
SOUND_RATE = 16_000
"""Hz. Differs from the teacher's rate, so that the reader resamples as it does for real files."""


class SimulatedUcf51(Config):
    """Size and seed of the set.

    The first `classes` of the 51 in alphabetical order, `clips` per group (of 25), `seconds` per
    video.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    classes: Annotated[int, Field(ge=2, le=len(CLASSES))] = len(CLASSES)
    clips: Annotated[int, Field(ge=1)] = 1
    seconds: Annotated[float, Field(ge=0.5)] = 2.0


def simulate_ucf51(root: Path, config: SimulatedUcf51, workers: int = 1) -> Path:
    """Write the set into `root`, completely or not at all, unless it is already there.

    The bytes do not depend on `workers`. The last clip of the first class has no sound track, like
    some videos of UCF101.

    Raises:
        ValueError: `root` holds something else.
    """
    root = Path(root)
    about = {
        "Name": "simulated UCF51",
        "simulated": True,
        "Simulator": {"version": VERSION} | config.model_dump(),
    }
    root.parent.mkdir(parents=True, exist_ok=True)
    # A second process waits here, and then finds the set complete.
    with FileLock(root.with_name(f".{root.name}.lock")):
        if root.exists():
            if read_json(root / ABOUT) == about:
                return root
            raise ValueError(
                f"{root} exists and is not this simulated UCF51: move it, or choose another folder"
            )
        with atomic_folder(root) as folder:
            jobs = [(label, group) for label in range(config.classes) for group in GROUPS]
            for _ in parallel_map(partial(_write_group, folder, config), jobs, workers, chunk=8):
                pass
            (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
    return root


def _write_group(root: Path, config: SimulatedUcf51, job: tuple[int, int]) -> None:
    """Write the videos of one group of one class; `job` is (label, group)."""
    label, group = job
    folder = root / "UCF-101" / CLASSES[label]
    folder.mkdir(parents=True, exist_ok=True)
    place = np.random.default_rng([config.seed, label, group])
    scene = _Scene(place)
    for clip in range(1, config.clips + 1):
        rng = np.random.default_rng([config.seed, label, group, clip])
        rate, phase = RATES_HZ[label // 15] * rng.uniform(0.94, 1.06), rng.uniform(0, 2 * np.pi)
        pictures = scene.film(label, rate, phase, config.seconds, rng)
        # UCF101 has a few videos without sound; readers must meet one.
        silent = (label, group, clip) == (0, GROUPS[-1], config.clips)
        sound = None
        if not silent:
            sound = _knocks(label, rate, phase, config.seconds, place.uniform(0.2, 0.6), rng)
        name = f"v_{CLASSES[label]}_g{group:02d}_c{clip:02d}.avi"
        write_avi(folder / name, pictures, FPS, sound, SOUND_RATE)


class _Scene:
    """What the clips of a group have in common: place, light, colours, camera."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.y, self.x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        slope = rng.normal(0, 0.3, (2, 3))
        base = rng.uniform(50, 90, 3)
        ground = base + self.y[..., None] * slope[0] + self.x[..., None] * slope[1]
        self.ground = ground.astype(np.float32)
        self.colours = rng.uniform((170, 110), (255, 160), (3, 2)).T
        self.centre = np.array([WIDTH, HEIGHT]) / 2 + rng.normal(0, 4, 2)
        self.reach, self.size = rng.uniform(10, 15), rng.uniform(5.5, 7.5)
        self.tilt, self.noise = rng.normal(0, np.deg2rad(6)), rng.uniform(3, 8)

    def film(
        self, label: int, rate: float, phase: float, seconds: float, rng: np.random.Generator
    ) -> Iterator[np.ndarray]:
        """Frames `(HEIGHT, WIDTH, 3)` uint8.

        The oscillation is mirrored at random, so that left and right carry no information.
        """
        t = np.arange(round(seconds * FPS)) / FPS
        side, angle = rng.choice((-1, 1)), ANGLES[label // 3 % 5] + self.tilt
        way = self.reach * np.sin(2 * np.pi * rate * t + phase)
        at = self.centre + way[:, None] * (side * np.cos(angle), np.sin(angle))
        other, turn = rng.choice(RATES_HZ), rng.uniform(0, np.pi)
        home = self.centre + rng.normal(0, 8, 2)
        shift = 7 * np.sin(2 * np.pi * other * t + rng.uniform(0, 6))
        bystander = home + shift[:, None] * (np.cos(turn), np.sin(turn))
        for here, there in zip(at, bystander, strict=True):
            picture = self.ground.copy()
            picture[self._inside(0, there, 3.0)] = self.colours[1]
            picture[self._inside(label % 3, here, self.size)] = self.colours[0]
            picture += self.noise * rng.standard_normal((HEIGHT, WIDTH, 1), np.float32)
            yield picture.clip(0, 255).astype(np.uint8)

    def _inside(self, shape: int, centre: np.ndarray, size: float) -> np.ndarray:
        """Pixels of a disc (0), ring (1) or cross (2), as a mask."""
        dx, dy = np.abs(self.x - centre[0]), np.abs(self.y - centre[1])
        if shape == 2:
            return (np.minimum(dx, dy) < size / 4) & (np.maximum(dx, dy) < 1.2 * size)
        distance = np.hypot(dx, dy)
        return (distance < size) & (distance >= (0.55 * size if shape else 0))


def _knocks(
    label: int, rate: float, phase: float, seconds: float, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Sound `(n,)` int16: noise, and a knock at each turning point.

    The direction sets the pitch, the shape the timbre.
    """
    n = round(seconds * SOUND_RATE)
    t = np.arange(n) / SOUND_RATE
    turns = ((np.arange(-2, 4 * seconds * rate + 4) + 0.5) * np.pi - phase) / (2 * np.pi * rate)
    # Time since the last turning point, where the speed of the object is 0.
    since = t - turns[np.searchsorted(turns, t, side="right") - 1]
    pitch = PITCHES_HZ[label // 3 % 5] * rng.uniform(0.95, 1.05)
    wave = 2 * np.pi * pitch * since
    timbres = (
        np.sin(wave),
        np.sign(np.sin(wave)) * 0.7,
        0.7 * (np.sin(wave) + np.sin(1.5 * wave)),
    )
    signal = timbres[label % 3] * np.exp(-since / 0.06) + noise * rng.normal(0, 0.3, n)
    return (signal / 4 * 32767 * rng.uniform(0.4, 1)).clip(-32768, 32767).astype(np.int16)


def write_avi(
    path: Path, pictures, fps: int, sound: np.ndarray | None = None, rate: int = SOUND_RATE
) -> None:
    """AVI with MPEG-4 video and an MP3 track, like the files of UCF101.

    Args:
        pictures: frames `(H, W, 3)` uint8.
        sound: mono, int16; None for a file without a track.
        rate: of the sound, in Hz.
    """
    # "bitexact" leaves out the version of FFmpeg, so that equal input gives equal bytes.
    with av.open(str(path), "w", format="avi", options={"fflags": "+bitexact"}) as file:
        video = file.add_stream(
            "mpeg4", rate=fps, options={"flags": "+bitexact", "qscale": "4", "threads": "1"}
        )
        video.pix_fmt = "yuv420p"
        if sound is not None:
            quick = {"compression_level": "9"}
            audio = file.add_stream(
                "libmp3lame", rate=rate, layout="mono", format="s16p", options=quick
            )
        for k, picture in enumerate(pictures):
            if k == 0:
                video.height, video.width = picture.shape[:2]
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(video.encode())
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(sound[None], format="s16p", layout="mono")
            frame.sample_rate = rate
            file.mux(audio.encode(frame))
            file.mux(audio.encode())
