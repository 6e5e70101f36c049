"""UCF51: the 51 classes of UCF101 whose videos have sound, split 1, read once into arrays.

    <UCF101>/.../v_ApplyEyeMakeup_g01_c01.avi   class, group (one source video, person or place),
    clip <store>/frames.npy       (n, windows, frames, height, width, 3) uint8
    <store>/sound.npy        (n, 32000 * sound_s) int16
    <store>/videos.parquet   video, label, group, part; row k belongs to row k of the arrays
    <store>/manifest.json    config, code, classes, name, sources, what was dropped; present only if
    all of it is

Source: Soomro et al. 2012, arXiv:1212.0402 (UCF101); the 51 classes are those of the audio features
of github.com/yanbeic/CCL (Chen et al., CVPR 2021), whose archive `embeddings` reads.
"""

import hashlib
import io
import json
import multiprocessing
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import av
import numpy as np
import pandas as pd
from av.video.reformatter import Interpolation, VideoReformatter
from filelock import FileLock
from pydantic import Field
from tqdm import tqdm

from sacd.config import Config
from sacd.data.cohort import CohortError
from sacd.files import create_array, sha256, write_json, write_parquet

_NAMES: Final = (
    "ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BasketballDunk BlowDryHair "
    "BlowingCandles BodyWeightSquats Bowling BoxingPunchingBag BoxingSpeedBag BrushingTeeth CliffDiving "
    "CricketBowling CricketShot CuttingInKitchen FieldHockeyPenalty FloorGymnastics FrisbeeCatch FrontCrawl Haircut "
    "HammerThrow Hammering HandstandPushups HandstandWalking HeadMassage IceDancing Knitting LongJump MoppingFloor "
    "ParallelBars PlayingCello PlayingDaf PlayingDhol PlayingFlute PlayingSitar Rafting ShavingBeard Shotput "
    "SkyDiving SoccerPenalty StillRings SumoWrestling Surfing TableTennisShot Typing UnevenBars WallPushups "
    "WritingOnBoard"
)
CLASSES: Final = tuple(_NAMES.split())
"""Sorted, so that a class is known by its position, as in CCL."""
TEST_GROUPS: Final = range(1, 8)
"""Groups tested by the official split 1; g08 to g25 are trained."""
WITHOUT_SOUND: Final = frozenset(
    [f"BasketballDunk_g15_c{k:02d}" for k in range(4, 8)]
    + [f"HandstandPushups_g14_c{k:02d}" for k in range(1, 5)]
)
"""Videos without an audio embedding in CCL's archive; they are dropped, as there (6,845 become 6,837)."""
SOUND_RATE: Final = 32_000
"""Hz, mono: what the audio teacher takes."""
FORMAT: Final = 1
SHARDS: Final = ("frames.npy", "sound.npy", "videos.parquet")
ABOUT: Final = "dataset_description.json"

_NAME = re.compile(r"v_(\w+)_g(\d\d)_c(\d\d)$")
_CLASS_OF = {
    name.lower(): name for name in CLASSES
}  # files say HandStandPushups where the folder says Handstand...
_SUFFIXES = (".avi", ".mp4", ".mkv")
Size = Annotated[int, Field(ge=1)]


class Ucf51StoreConfig(Config):
    """What is kept of a video: `windows` windows of `frames` frames, `stride` apart, and the sound of `sound_s` s."""

    height: Size = 112
    width: Size = 112
    frames: Size = 16
    stride: Size = 1
    windows: Size = 4
    sound_s: Annotated[float, Field(ge=0.4)] = 10.0


def parse(stem: str) -> tuple[str, int, int] | None:
    """Class, group and clip of a video's name; None for what is not of the 51 classes. Capitals do not matter.

    >>> parse("v_HandStandPushups_g14_c01"), parse("v_YoYo_g01_c01")
    (('HandstandPushups', 14, 1), None)
    """
    found = _NAME.match(stem)
    name = _CLASS_OF.get(found[1].lower()) if found else None
    return (name, int(found[2]), int(found[3])) if name else None


def list_videos(names: list[str]) -> pd.DataFrame:
    """Videos of the 51 classes among file stems, sorted: video (class_gNN_cNN), name, group (class_gNN), part."""
    rows = []
    for stem in names:
        if known := parse(stem):
            group = f"{known[0]}_g{known[1]:02d}"
            part = "test" if known[1] in TEST_GROUPS else "train"
            rows.append((f"{group}_c{known[2]:02d}", known[0], group, part, stem))
    table = pd.DataFrame(rows, columns=["video", "name", "group", "part", "stem"])
    return table.sort_values("video", ignore_index=True)


def find_videos(root: Path) -> pd.DataFrame:
    """`list_videos` of a UCF101 folder, however deep its files lie, with their `path`.

    Raises:
        CohortError: no folder, none of the 51 classes in it, the same video twice, or a part of the
            split is empty.
    """
    fix = "say UCF101=/path/to/UCF-101, the folder that holds the class folders"
    if not Path(root).is_dir():
        raise CohortError(root, "no such folder", fix)
    files = {p.stem: p for p in sorted(Path(root).rglob("v_*")) if p.suffix.lower() in _SUFFIXES}
    table = list_videos(list(files))
    if table.empty:
        raise CohortError(root, "holds no video v_<class>_gNN_cNN of the 51 classes", fix)
    if twice := table.loc[table["video"].duplicated(), "video"].tolist():
        raise CohortError(root, f"{twice[0]} is there twice", "keep one file of each video")
    for part, groups in (("train", "g08 to g25"), ("test", "g01 to g07")):
        if not (table["part"] == part).any():
            raise CohortError(
                root,
                f"holds no video to {part} (groups {groups} of split 1)",
                "add the missing files",
            )
    return table.assign(path=table["stem"].map(files))


def read_frames(path: Path, config: Ucf51StoreConfig) -> np.ndarray:
    """Windows of a video, evenly spread from its first to its last frame, `(windows, frames, height, width, 3)` uint8.

    Each frame is shrunk by area until it just covers height x width, then its middle is taken. A
    video shorter than a window is repeated. Deviation: CCL tests every window of 16 frames, here
    `windows` of them are kept.

    Raises:
        CohortError: cannot be decoded, or holds no frame.
    """
    h, w = config.height, config.width
    shrink, pictures = VideoReformatter(), []
    for frame in _decoded(path, "video"):
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
    starts = np.linspace(0, spare, config.windows) if config.windows > 1 else np.array([spare / 2])
    at = starts.round().astype(int)[:, None] + config.stride * np.arange(config.frames)
    return np.stack(pictures)[at % len(pictures)]


def read_sound(path: Path, seconds: float) -> np.ndarray | None:
    """Mono sound at 32 kHz, `(32000 * seconds,)` int16: the middle of a longer one, a shorter one repeated.

    None if there is no sound track, or nothing in it.

    Deviation: CCL's archive has one embedding a video, and does not say of how much sound; here
    `seconds` of each.

    Raises:
        CohortError: cannot be decoded.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SOUND_RATE)
    frames = (frame for decoded in _decoded(path, "audio") for frame in resampler.resample(decoded))
    parts = [frame.to_ndarray()[0] for frame in frames]
    if parts:
        parts += [frame.to_ndarray()[0] for frame in resampler.resample(None)]
    sound = np.concatenate(parts) if parts else np.empty(0, np.int16)
    if not len(sound):
        return None
    n = round(seconds * SOUND_RATE)
    start = max(len(sound) - n, 0) // 2
    return np.resize(sound[start : start + n], n)


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


class Ucf51Store:
    """A finished store, read-only.

    Attributes:
        config, name, classes, dropped: its settings, what to call the data, the classes there are,
            videos left out.
        fingerprint: identity of the data for runs.
        videos: `video`, `label` (position in `classes`), `group`, `part`.
        frames, sound: memory-mapped arrays, row k is that of `videos`.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)
        manifest = _manifest(self.root)
        if manifest.get("format") != FORMAT:
            raise CohortError(
                self.root, "is no UCF51 store, or its ingest did not finish", "run the ingest again"
            )
        self.config = Ucf51StoreConfig(**manifest["config"])
        self.name: str = manifest["name"]
        self.classes: list[str] = manifest["classes"]
        self.dropped: dict[str, str] = manifest["dropped"]
        self.fingerprint: str = manifest["fingerprint"]
        self.videos = pd.read_parquet(self.root / "videos.parquet")
        self.frames = np.load(self.root / "frames.npy", mmap_mode="r", allow_pickle=False)
        self.sound = np.load(self.root / "sound.npy", mmap_mode="r", allow_pickle=False)


def ingest(
    root: Path | str, store: Path | str, config: Ucf51StoreConfig, workers: int = 1, code: str = ""
) -> Ucf51Store:
    """Read every video of the 51 classes once; nothing is done where the store is that of these files and settings.

    Videos without sound, by `WITHOUT_SOUND` or because there is no track, are dropped and listed in
    `dropped`.

    Args:
        root: UCF101, or a simulated set of the same layout.
        store: folder to write, whole or not at all.
        workers: processes; does not change a byte.
        code: fingerprint of the code that decides the bytes; a store that other code made is made
            again.

    Raises:
        CohortError: the first file that cannot be read.
    """
    root, store = Path(root), Path(store)
    store.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(store.with_name(f".{store.name}.lock")):
        videos = find_videos(root)
        stamps = [
            (p.relative_to(root).as_posix(), p.stat().st_size, p.stat().st_mtime_ns)
            for p in videos["path"]
        ]
        sources = hashlib.sha256(repr(stamps).encode()).hexdigest()
        known = _manifest(store)
        wanted = {"format": FORMAT, "config": config.model_dump(), "code": code, "sources": sources}
        if any(known.get(k) != v for k, v in wanted.items()) or known["files"] != _hashes(store):
            part = Path(tempfile.mkdtemp(prefix=f".{store.name}.", dir=store.parent))
            try:
                written = _write(videos, part, config, workers)
                about = _about(root, written["classes"])
                write_json(part / "manifest.json", wanted | written | about)
                shutil.rmtree(store, ignore_errors=True)
                part.chmod(0o755)
                part.rename(store)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return Ucf51Store(store)


def _write(
    videos: pd.DataFrame, folder: Path, config: Ucf51StoreConfig, workers: int
) -> dict[str, Any]:
    """Write the arrays; what the manifest says of them."""
    listed = videos["video"].isin(WITHOUT_SOUND)
    dropped = dict.fromkeys(videos.loc[listed, "video"], "no audio embedding in CCL's archive")
    videos = videos[~listed]
    shapes = (
        (config.windows, config.frames, config.height, config.width, 3),
        (round(config.sound_s * SOUND_RATE),),
    )
    arrays = [
        create_array(folder / name, kind, (len(videos), *shape))
        for name, kind, shape in zip(SHARDS, (np.uint8, np.int16), shapes, strict=False)
    ]
    keep = []
    read = tqdm(
        _each(videos["path"], config, workers), "ingest", len(videos), unit="video", disable=None
    )
    for row, (frames, sound) in enumerate(read):
        if sound is None:
            dropped[videos["video"].iloc[row]] = "no sound track"
            continue
        for array, value in zip(arrays, (frames, sound), strict=True):
            array[len(keep)] = value
        keep.append(row)
    for name, array in zip(SHARDS, arrays, strict=False):
        array.flush()
        if len(keep) < len(videos):
            _shorten(folder / name, array, len(keep))
    table = videos.iloc[keep]
    classes = sorted(set(table["name"]), key=CLASSES.index)
    table = table.assign(label=table["name"].map(classes.index))
    write_parquet(folder / "videos.parquet", table[["video", "label", "group", "part"]])
    files = _hashes(folder)
    fingerprint = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return {"classes": classes, "dropped": dropped, "files": files, "fingerprint": fingerprint}


def _shorten(path: Path, array: np.ndarray, n: int) -> None:
    """Keep the first n rows of an array's file."""
    shorter = create_array(path.with_suffix(".short"), array.dtype, (n, *array.shape[1:]))
    for start in range(0, n, 256):
        shorter[start : min(start + 256, n)] = array[start : min(start + 256, n)]
    shorter.flush()
    path.with_suffix(".short").replace(path)


def _each(
    paths: pd.Series, config: Ucf51StoreConfig, workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    read = partial(_read, config)
    if workers <= 1:
        yield from map(read, paths)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = iter(paths)
        while some := list(
            islice(waiting, 64 * workers)
        ):  # not all at once: results wait in memory
            yield from pool.map(read, some, chunksize=16)


def _read(config: Ucf51StoreConfig, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    return read_frames(path, config), read_sound(path, config.sound_s)


def _about(root: Path, classes: list[str]) -> dict[str, str]:
    """What every output calls the data."""
    n, simulated = len(classes), (root / ABOUT).exists()
    name = json.loads((root / ABOUT).read_text())["Name"] if simulated else "UCF51 of UCF101"
    if n == len(CLASSES):
        return {"name": name}
    # Not "UCF101": printed accuracies are of all 51 classes, and `sacd.report.verify` goes by that
    # word.
    return {"name": f"{name if simulated else 'part of UCF51'}, {n} of {len(CLASSES)} classes"}


def _manifest(store: Path) -> dict[str, Any]:
    try:
        return json.loads((store / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}


def _hashes(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in SHARDS if (folder / name).is_file()}


def embeddings(archive: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Embeddings of the published audio teacher for every video with sound, as CCL ships them.

    Args:
        archive: `audiocnn14embed512_features.tar.gz`.

    Returns:
        `list_videos` of the archive with `label` (position in `CLASSES`), and `(n, 512)` float32,
        row by row.

    Raises:
        CohortError: holds no embedding.
    """
    vectors = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            stem = Path(member.name).name.removesuffix(".npy")
            if member.isfile() and parse(stem):  # "._*" are notes of a file system
                vectors[stem] = np.load(
                    io.BytesIO(tar.extractfile(member).read()), allow_pickle=False
                )
    table = list_videos(list(vectors))
    if table.empty:
        raise CohortError(
            archive, "holds no embedding of a video of the 51 classes", "fetch CCL's archive again"
        )
    return table.assign(label=table["name"].map(CLASSES.index)), np.stack(
        [vectors[s] for s in table["stem"]]
    )
