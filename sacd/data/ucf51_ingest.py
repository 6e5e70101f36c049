"""Ingest of UCF51: frames and sound of every video are decoded once into a store of arrays."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import pandas as pd
from av.video.reformatter import Interpolation, VideoReformatter
from filelock import FileLock
from tqdm import tqdm

from sacd.data.problems import CohortError
from sacd.data.ucf51 import (
    ABOUT,
    CLASSES,
    FORMAT,
    SOUND_RATE,
    WITHOUT_SOUND,
    Ucf51Store,
    Ucf51StoreConfig,
    find_videos,
)
from sacd.files import (
    atomic_folder,
    create_array,
    read_json,
    require_json,
    sha256,
    sha256_json,
    write_json,
    write_parquet,
)
from sacd.workers import parallel_map

ARRAYS: Final = ("frames.npy", "sound.npy")
TABLE: Final = "videos.parquet"
_CHUNK: Final = 16
"""Videos that a worker is given at a time."""


def ingest(
    root: Path | str, store: Path | str, config: Ucf51StoreConfig, workers: int = 1, code: str = ""
) -> Ucf51Store:
    """Decode every video of the 51 classes once; nothing is done if the store is up to date.

    Videos without sound (listed in `WITHOUT_SOUND`, or without an audio track) are dropped and
    reported in `dropped`.

    Args:
        root: UCF101, or a simulated set of the same layout.
        store: folder to write, completely or not at all.
        workers: number of processes; the bytes do not depend on it.
        code: fingerprint of the code that decides the bytes; a store made by other code is made
            again.

    Raises:
        CohortError: the first file that cannot be read.
    """
    root, store = Path(root), Path(store)
    store.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(store.with_name(f".{store.name}.lock")):
        videos = find_videos(root)
        stamps = []
        for path in videos["path"]:
            stat = path.stat()
            stamps.append((path.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns))
        sources = hashlib.sha256(repr(stamps).encode()).hexdigest()
        known = read_json(store / "manifest.json")
        wanted = {"format": FORMAT, "config": config.model_dump(), "code": code, "sources": sources}
        current = all(known.get(k) == v for k, v in wanted.items())
        # The store's own files are compared by content, the videos by size and time.
        if not current or known["files"] != _hashes(store):
            with atomic_folder(store) as folder:
                written = _write(videos, folder, config, workers)
                name = {"name": _name(root, len(written["classes"]))}
                write_json(folder / "manifest.json", wanted | written | name)
    return Ucf51Store(store)


def _write(
    videos: pd.DataFrame, folder: Path, config: Ucf51StoreConfig, workers: int
) -> dict[str, Any]:
    """Write the arrays and the table; returns what the manifest says of them."""
    listed = videos["video"].isin(WITHOUT_SOUND)
    dropped = dict.fromkeys(videos.loc[listed, "video"], "no audio embedding in CCL's archive")
    videos = videos[~listed]
    n, size = len(videos), (config.height, config.width, 3)
    frames_shape = (n, config.windows, config.frames, *size)
    arrays = (
        create_array(folder / ARRAYS[0], np.uint8, frames_shape),
        create_array(folder / ARRAYS[1], np.int16, (n, round(config.sound_s * SOUND_RATE))),
    )
    decoded = parallel_map(partial(_read, config), videos["path"], workers, _CHUNK)
    kept = []  # rows of `videos`; the arrays are filled without holes
    progress = tqdm(decoded, "ingest", n, unit="video", disable=None)
    for row, (frames, sound) in enumerate(progress):
        if sound is None:
            dropped[videos["video"].iloc[row]] = "no sound track"
            continue
        for array, value in zip(arrays, (frames, sound), strict=True):
            array[len(kept)] = value
        kept.append(row)
    for name, array in zip(ARRAYS, arrays, strict=True):
        array.flush()
        if len(kept) < n:
            _shorten(folder / name, array, len(kept))
    table = videos.iloc[kept]
    classes = sorted(set(table["name"]), key=CLASSES.index)
    table = table.assign(label=table["name"].map(classes.index))
    write_parquet(folder / TABLE, table[["video", "label", "group", "part"]])
    files = _hashes(folder)
    fingerprint = sha256_json(files)
    return {"classes": classes, "dropped": dropped, "files": files, "fingerprint": fingerprint}


def _shorten(path: Path, array: np.ndarray, n: int) -> None:
    """Keep the first n rows of an array's file."""
    short = path.with_suffix(".short")
    shorter = create_array(short, array.dtype, (n, *array.shape[1:]))
    for start in range(0, n, 256):  # in pieces: the array may be larger than the memory
        shorter[start : min(start + 256, n)] = array[start : min(start + 256, n)]
    shorter.flush()
    short.replace(path)


def _read(config: Ucf51StoreConfig, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    return read_frames(path, config), read_sound(path, config.sound_s)


def _name(root: Path, n: int) -> str:
    """Name of the data, for every output: where it is from, and how many classes if not all."""
    simulated = (root / ABOUT).exists()
    name = "UCF51 of UCF101"
    if simulated:
        fix = "simulate the videos again"
        name = require_json(root / ABOUT, fix, CohortError).get("Name", "simulated UCF51")
    if n == len(CLASSES):
        return name
    # Not "UCF101": printed accuracies are of all 51 classes, and `sacd.report.numbers` compares
    # with them only data that have that word in their name.
    return f"{name if simulated else 'part of UCF51'}, {n} of {len(CLASSES)} classes"


def _hashes(folder: Path) -> dict[str, str]:
    paths = [folder / name for name in (*ARRAYS, TABLE)]
    return {path.name: sha256(path) for path in paths if path.is_file()}


def read_frames(path: Path, config: Ucf51StoreConfig) -> np.ndarray:
    """Windows of a video, spread evenly from its first to its last frame.

    Each frame is reduced by area averaging until it just covers height x width, then cropped at
    the centre. A video shorter than a window is repeated.

    Deviation: CCL tests every window of 16 frames; here `windows` of them are kept.

    Returns:
        `(windows, frames, height, width, 3)` uint8.

    Raises:
        CohortError: the video cannot be decoded, or holds no frame.
    """
    h, w = config.height, config.width
    shrink, pictures = VideoReformatter(), []
    for frame in _decoded(path, "video"):
        # The larger scale: the picture covers the square, and what is over is cropped.
        scale = max(h / frame.height, w / frame.width)
        size = {
            "width": max(w, round(frame.width * scale)),
            "height": max(h, round(frame.height * scale)),
        }
        image = shrink.reformat(
            frame, format="rgb24", interpolation=Interpolation.AREA, threads=1, **size
        ).to_ndarray()
        top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
        pictures.append(image[top : top + h, left : left + w])
    if not pictures:
        raise CohortError(path, "holds no picture", "remove the file or fetch it again")
    spare = max(len(pictures) - (config.frames - 1) * config.stride - 1, 0)
    # Whole windows where the video is long enough; the modulo below repeats a shorter one.
    starts = np.linspace(0, spare, config.windows) if config.windows > 1 else np.array([spare / 2])
    at = starts.round().astype(int)[:, None] + config.stride * np.arange(config.frames)
    return np.stack(pictures)[at % len(pictures)]


def read_sound(path: Path, seconds: float) -> np.ndarray | None:
    """Mono sound at 32 kHz: the middle of a longer track, a shorter one repeated.

    Deviation: CCL's archive has one embedding per video, and does not say how much sound it was
    computed from; here it is `seconds` of each video.

    Returns:
        `(32000 * seconds,)` int16, or None if there is no audio track.

    Raises:
        CohortError: the track cannot be decoded, or nothing is in it: the file is damaged.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SOUND_RATE)
    parts = []
    for decoded in _decoded(path, "audio"):
        parts += [frame.to_ndarray()[0] for frame in resampler.resample(decoded)]
    if parts:  # flush what the resampler still holds
        parts += [frame.to_ndarray()[0] for frame in resampler.resample(None)]
    sound = np.concatenate(parts) if parts else np.empty(0, np.int16)
    # No sample may mean no track or a damaged one.
    if not len(sound):
        if _is_silent(path):
            return None
        raise CohortError(path, "its sound track is damaged", "fetch the file again")
    n = round(seconds * SOUND_RATE)
    start = max(len(sound) - n, 0) // 2
    return np.resize(sound[start : start + n], n)


def _is_silent(path: Path) -> bool:
    """Whether a file was made without sound: all of its streams are videos."""
    with av.open(str(path)) as container:
        return all(stream.type == "video" for stream in container.streams)


def _decoded(path: Path, kind: str) -> Iterator[Any]:
    """Frames of the first stream of a kind; none if there is no such stream."""
    try:
        with av.open(str(path)) as container:
            if streams := getattr(container.streams, kind):
                streams[0].codec_context.thread_count = 1
                yield from container.decode(streams[0])
    except (av.FFmpegError, OSError) as error:
        problem = f"its {kind} cannot be decoded ({error.strerror or error})"
        raise CohortError(path, problem, "remove the file or fetch it again") from None
