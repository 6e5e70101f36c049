"""The clip store: every night decoded once into arrays that training maps into memory.

    <store>/sub-01/video.npy       (n, frames, height, width) uint8
    <store>/sub-01/eeg.npy         (n, 30 * rate) float32, uV
    <store>/sub-01/clips.parquet   one row a clip: clip, onset_s, stage, block; row k belongs to row
    k of the arrays <store>/sub-01/night.json      config, code, sources, checksums, what was
    dropped and why <store>/manifest.json          all of these, the cohort's name and participants;
    present only if all nights are

Kept are clips with a stage, whole EEG and whole video.
"""

import hashlib
import json
import math
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from filelock import FileLock
from pydantic import Field
from tqdm import tqdm

from sacd.config import Config
from sacd.data.check import night_problems
from sacd.data.cohort import (
    Cohort,
    CohortError,
    Night,
    clip_table,
    read_cohort,
    read_events,
    video_offset,
)
from sacd.data.eeg import open_channel, read_eeg
from sacd.data.video import Sampling, probe, read_clips
from sacd.files import sha256, write_json, write_parquet
from sacd.stages import CLIP_S, STAGES, UNSCORED

FORMAT = 1
"""Counted up when stores are read in another way than before. Other code of ingest is noticed without."""
SHARDS = ("video.npy", "eeg.npy", "clips.parquet")
_TRUTH = "_truth.npz"
Size = Annotated[int, Field(ge=1)]


class StoreConfig(Config):
    """What is kept of a night: EEG channel and rate in Hz, frame size in pixels, frames a clip and how they are chosen.

    `spread`: evenly over the 30 s. `consecutive`: neighbouring native frames from the clip's
    middle, as in the paper.
    """

    channel: str = "C3"
    eeg_rate: Size = 100
    height: Size
    width: Size
    frames: Size
    sampling: Sampling = "spread"


class ClipStore:
    """A finished store, read-only.

    Attributes:
        root, config, name: its folder, its settings, and the name of the cohort, to be told on
            every output.
        fingerprint: sha256 over the checksums of all shards, the participants and, of simulated
            nights, the truth: the identity of the data for runs. Equal bytes have the same,
                whichever code made them.
        participants: indexed by `subject`; sex, age (years), weight_kg, ahi (events/h).
        nights: subjects in the order of the cohort.
        clips: `subject`, `clip`, `onset_s`, `stage`, `block` (unique over the store), `row` (in the
            night's arrays).
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.manifest = _load(self.root / "manifest.json")
        if self.manifest.get("format") != FORMAT:
            raise CohortError(
                self.root, "is no clip store, or its ingest did not finish", "run the ingest again"
            )
        self.config = StoreConfig(**self.manifest["config"])
        self.name: str = self.manifest["name"]
        self.fingerprint: str = self.manifest["fingerprint"]
        self.participants = pd.DataFrame(self.manifest["participants"]).set_index("subject")
        numbers = ["age", "weight_kg", "ahi"]
        self.participants[numbers] = self.participants[numbers].astype(float)  # null is NaN
        self.nights = tuple(self.manifest["nights"])
        tables, blocks = [], 0
        for subject in self.nights:
            table = pd.read_parquet(self.root / subject / "clips.parquet")
            table = table.assign(
                subject=subject, block=table["block"] + blocks, row=np.arange(len(table))
            )
            blocks = int(table["block"].iloc[-1]) + 1
            tables.append(table)
        self.clips = pd.concat(tables, ignore_index=True)[
            ["subject", "clip", "onset_s", "stage", "block", "row"]
        ]

    def video(self, subject: str) -> np.memmap:
        """All clips of a night, `(n, frames, height, width)` uint8."""
        return np.load(self.root / subject / "video.npy", mmap_mode="r", allow_pickle=False)

    def eeg(self, subject: str) -> np.memmap:
        """All clips of a night, `(n, 30 * rate)` float32 in uV."""
        return np.load(self.root / subject / "eeg.npy", mmap_mode="r", allow_pickle=False)

    def gather(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Video and EEG of some rows of `clips`, in the order of the rows."""
        return self.gather_video(rows), self.gather_eeg(rows)

    def gather_video(self, rows: pd.DataFrame) -> np.ndarray:
        """`(len(rows), frames, height, width)` uint8 of some rows of `clips`, in their order."""
        c = self.config
        return self._gather(
            rows, self.video, np.empty((len(rows), c.frames, c.height, c.width), np.uint8)
        )

    def gather_eeg(self, rows: pd.DataFrame) -> np.ndarray:
        """`(len(rows), 30 * rate)` float32 in uV of some rows of `clips`, in their order."""
        return self._gather(
            rows, self.eeg, np.empty((len(rows), CLIP_S * self.config.eeg_rate), np.float32)
        )

    def _gather(self, rows: pd.DataFrame, read, out: np.ndarray) -> np.ndarray:
        subjects, places = rows["subject"].to_numpy(), rows["row"].to_numpy()
        for subject in pd.unique(subjects):
            at = np.flatnonzero(subjects == subject)
            out[at] = read(subject)[places[at]]
        return out

    def verify(self) -> list[str]:
        """Checksums of all shards, recomputed: one line for each that is damaged or missing."""
        return [
            f"{self.root / subject / name}: does not have the checksum of its ingest; run the ingest again"
            for subject, night in self.manifest["nights"].items()
            for name in _damaged(self.root / subject, night)
        ]


def ingest(
    root: Path | str, store: Path | str, config: StoreConfig, workers: int = 1, code: str = ""
) -> ClipStore:
    """Bring a store up to date with a cohort: only nights that are missing, damaged or changed are decoded.

    A night is written under a temporary name and moved when whole, so that an interrupted ingest
    goes on where it stopped. Sources are compared by size and time of change, where these differ by
    sha256; the store's files by sha256.

    Args:
        root: the cohort.
        store: folder of the store, made if it does not exist.
        config: a night made under another config, or by other code, is made again.
        workers: nights decoded at a time, each in its own process; does not change a byte.
        code: fingerprint of the code that decides the bytes, as the caller counts it.

    Raises:
        CohortError: the first problem; finished nights stay, of the others nothing is left.
    """
    cohort, store = read_cohort(root), Path(store)
    store.mkdir(parents=True, exist_ok=True)
    with FileLock(store / ".lock"):
        for left in store.glob(".*.partial"):
            shutil.rmtree(left)
        todo = [
            night
            for night in cohort.nights
            if not _current(night, cohort.root, store / night.subject, config, code)
        ]
        if todo:
            (store / "manifest.json").unlink(missing_ok=True)
            _ingest_nights(todo, cohort.root, store, config, workers, code)
        for old in store.glob("sub-*/night.json"):
            if old.parent.name not in {night.subject for night in cohort.nights}:
                shutil.rmtree(old.parent)
        _write_manifest(cohort, store, config)
    return ClipStore(store)


def _ingest_nights(
    nights: list[Night], root: Path, store: Path, config: StoreConfig, workers: int, code: str
) -> None:
    bar = tqdm(total=len(nights), desc="ingest", unit="night", disable=None)
    with bar:
        if workers <= 1 or len(nights) == 1:
            for night in nights:
                _ingest_night(night, root, store, config, 0, code)
                bar.update()
            return
        # Spawned, not forked: a fork of a process that has loaded torch or FFmpeg may hang.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            jobs = [
                pool.submit(_ingest_night, night, root, store, config, 1, code) for night in nights
            ]
            try:
                for job in as_completed(jobs):
                    job.result()
                    bar.update()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _ingest_night(
    night: Night, root: Path, store: Path, config: StoreConfig, threads: int, code: str
) -> None:
    """Decode one night into `<store>/<subject>`, whole or not at all."""
    for level, problem in night_problems(night, config.channel, config.eeg_rate):
        if level == "error":
            raise problem
    part, target = store / f".{night.subject}.partial", store / night.subject
    part.mkdir()
    try:
        sources = {
            _key(path, root): _stamp(path) | {"sha256": sha256(path)}
            for path in _sources(night, root)
        }
        facts = _write_shards(night, part, config, threads)
        files = {name: sha256(part / name) for name in SHARDS}
        record = {
            "format": FORMAT,
            "config": config.model_dump(),
            "code": code,
            "sources": sources,
            "files": files,
        }
        write_json(part / "night.json", record | facts)
        if target.exists():
            shutil.rmtree(target)
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_shards(night: Night, folder: Path, config: StoreConfig, threads: int) -> dict[str, Any]:
    """The three shards of a night; video and EEG of a clip are written in one step, so that they cannot part."""
    raw = open_channel(night.eeg, config.channel)
    eeg = read_eeg(raw, night.eeg, config.eeg_rate)
    offset, info = video_offset(night), probe(night.video)
    table = clip_table(read_events(night.events))
    dropped = {"unscored": int((table["stage"] == UNSCORED).sum()), "eeg": 0, "video": 0}
    table = table[table["stage"] != UNSCORED]
    samples = CLIP_S * config.eeg_rate
    starts = (table["onset_s"] * config.eeg_rate).round().astype(int)
    whole = starts + samples <= len(eeg)
    dropped["eeg"] = int((~whole).sum())
    table, starts = table[whole], starts[whole]
    kept = np.zeros(len(table), bool)
    size = (config.height, config.width)
    clips = read_clips(
        night.video,
        table["onset_s"].tolist(),
        config.frames,
        size,
        config.sampling,
        offset,
        threads,
    )
    with (
        _Rows(folder / "video.npy", (config.frames, *size), np.uint8) as video_rows,
        _Rows(folder / "eeg.npy", (samples,), np.float32) as eeg_rows,
    ):
        for k, (clip, start) in enumerate(zip(clips, starts, strict=True)):
            if clip is not None:
                video_rows.append(clip)
                eeg_rows.append(eeg[start : start + samples])
                kept[k] = True
    dropped["video"] = int((~kept).sum())
    table = table[kept].reset_index(drop=True)
    if table.empty:
        raise CohortError(
            night.video,
            "covers no scored clip whole",
            "correct StartOffset or add the missing video",
        )
    # A dropped clip leaves a hole: what lies on its two sides is no longer one block.
    new = (table["block"].diff() != 0) | (table["clip"].diff() != 1)
    table["block"] = new.cumsum() - 1
    write_parquet(folder / "clips.parquet", table)
    return {
        "clips": len(table),
        "dropped": dropped,
        "stages": {name: int((table["stage"] == k).sum()) for k, name in enumerate(STAGES)},
        "eeg": {"channel": raw.ch_names[0], "rate": raw.info["sfreq"]},
        "video": {
            "rate": info.rate,
            "height": info.height,
            "width": info.width,
            "offset_s": offset,
        },
    }


class _Rows:
    """An .npy file that grows row by row; its header, written last, has a fixed length."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type):
        self.file, self.shape, self.dtype, self.n = path.open("wb"), shape, np.dtype(dtype), 0

    def __enter__(self) -> "_Rows":
        self._header()
        return self

    def append(self, row: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(row, self.dtype).reshape(self.shape).data)
        self.n += 1

    def _header(self) -> None:
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.n, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def __exit__(self, *_: object) -> None:
        with self.file:
            self.file.seek(0)
            self._header()


def _write_manifest(cohort: Cohort, store: Path, config: StoreConfig) -> None:
    nights = {night.subject: _load(store / night.subject / "night.json") for night in cohort.nights}
    participants = [
        {"subject": n.subject, "sex": n.sex}
        | {
            c: None if math.isnan(v) else v
            for c, v in (("age", n.age), ("weight_kg", n.weight_kg), ("ahi", n.ahi))
        }
        for n in cohort.nights
    ]
    sources = {
        key: source["sha256"]
        for night in nights.values()
        for key, source in night["sources"].items()
    }
    truth = {key: sha for key, sha in sources.items() if key.endswith(_TRUTH)}
    identity = [
        {subject: night["files"] for subject, night in nights.items()},
        participants,
        *([truth] if truth else []),
    ]
    manifest = {
        "format": FORMAT,
        "name": cohort.name,
        "fingerprint": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
        "config": config.model_dump(),
        "participants": participants,
        "nights": nights,
    }
    path = store / "manifest.json"
    if _load(path) != manifest:
        write_json(path, manifest)


def _load(path: Path) -> dict[str, Any]:
    """A JSON object, empty if there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _current(night: Night, root: Path, folder: Path, config: StoreConfig, code: str) -> bool:
    """Was this folder made by this config and code from these sources, and is it undamaged?"""
    record = _load(folder / "night.json")
    if record.get("format") != FORMAT or record["config"] != config.model_dump():
        return False
    if record.get("code") != code:
        return False
    sources = {_key(path, root): path for path in _sources(night, root)}
    if sources.keys() != record["sources"].keys():
        return False
    for key, path in sources.items():
        then = record["sources"][key]
        same = all(then[k] == v for k, v in _stamp(path).items())
        if not same and (then["size"] != path.stat().st_size or then["sha256"] != sha256(path)):
            return False
    return not _damaged(folder, record)


def _damaged(folder: Path, record: dict[str, Any]) -> list[str]:
    return [
        n
        for n, sha in record["files"].items()
        if not (folder / n).is_file() or sha256(folder / n) != sha
    ]


def _sources(night: Night, root: Path) -> list[Path]:
    """Files that a night is made from, and the truth of a simulated one, which a bound reads."""
    truth = root / "derivatives" / "simulator" / f"{night.subject}{_TRUTH}"
    return [p for p in (night.eeg, night.events, night.video, night.sidecar, truth) if p.is_file()]


def _key(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
