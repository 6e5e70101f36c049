"""Ingest of a cohort into a clip store: every night is decoded once, in worker processes."""

import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from tqdm import tqdm

from sacd.data.check import night_problems
from sacd.data.cohort import Cohort, Night, read_cohort, stated_offset
from sacd.data.eeg import Channel, open_channel, read_eeg
from sacd.data.events import clip_table, read_events
from sacd.data.problems import CohortError
from sacd.data.rows import Rows
from sacd.data.store import FORMAT, ClipStore, StoreConfig
from sacd.data.twins import same_recordings
from sacd.data.unusable import EEG_REASONS, clip_losses
from sacd.data.video import probe, read_clips
from sacd.files import (
    atomic_folder,
    read_json,
    remove_leftovers,
    sha256,
    sha256_json,
    write_json,
    write_parquet,
)
from sacd.stages import CLIP_S, STAGES, UNSCORED
from sacd.workers import parallel_map

SHARDS = ("video.npy", "eeg.npy", "clips.parquet")
_TRUTH = "_truth.npz"


def ingest(
    root: Path | str, store: Path | str, config: StoreConfig, workers: int = 1, code: str = ""
) -> ClipStore:
    """Bring a store up to date with a cohort; only missing, damaged or changed nights are decoded.

    Each night is written to a temporary folder and renamed when complete, so an interrupted ingest
    continues where it stopped. Sources count as unchanged if size and modification time are the
    same, or else if the SHA-256 is. Files of the store are always compared by SHA-256.

    Args:
        root: the cohort.
        store: folder of the store, created if it does not exist.
        config: nights made with another config are decoded again.
        workers: nights decoded in parallel, each in its own process; the bytes do not depend on it.
        code: fingerprint of the code that decides the bytes; nights made by other code are decoded
            again.

    Raises:
        CohortError: the first problem. Finished nights stay; nothing is left of the others.
    """
    cohort, store = read_cohort(root), Path(store)
    for _, problem in same_recordings(cohort.nights):
        raise problem
    store.mkdir(parents=True, exist_ok=True)
    with FileLock(store / ".lock"):
        remove_leftovers(store)
        todo = []
        for night in cohort.nights:
            if not _current(night, cohort.root, store / night.subject, config, code):
                todo.append(night)
        if todo:
            # A store without a manifest counts as unfinished.
            (store / "manifest.json").unlink(missing_ok=True)
            try:
                _ingest_nights(todo, cohort.root, store, config, workers, code)
            finally:  # workers that Ctrl-C ended cannot clean up
                remove_leftovers(store)
        subjects = {night.subject for night in cohort.nights}
        for old in store.glob("sub-*/night.json"):
            if old.parent.name not in subjects:
                shutil.rmtree(old.parent)
        _write_manifest(cohort, store, config)
    return ClipStore(store)


def _ingest_nights(
    nights: list[Night], root: Path, store: Path, config: StoreConfig, workers: int, code: str
) -> None:
    workers = min(workers, len(nights))
    # FFmpeg uses all cores (0) when only one night is decoded at a time.
    threads = 0 if workers <= 1 else 1
    decode = partial(
        _ingest_night, root=root, store=store, config=config, threads=threads, code=code
    )
    try:
        with tqdm(total=len(nights), desc="ingest", unit="night", disable=None) as bar:
            for _ in parallel_map(decode, nights, workers):
                bar.update()
    except ChildProcessError:
        open_nights = [n.subject for n in nights if (store / f".{n.subject}.partial").is_dir()]
        # A worker that is killed tells nothing: the folder that it left says what it was reading.
        which = " or ".join(open_nights) or "a night"
        problem = f"a process ended while it read {which}: killed, or out of memory"
        raise CohortError(
            root, problem, "free memory or say WORKERS=1; finished nights stay"
        ) from None


def _ingest_night(
    night: Night, root: Path, store: Path, config: StoreConfig, threads: int, code: str
) -> None:
    """Decode one night into `<store>/<subject>`, completely or not at all."""
    try:
        _read_night(night, root, store, config, threads, code)
    except OSError as error:
        if error.filename is not None:
            raise
        # A full disk names no file.
        message = f"{error.strerror or error}, while this night is read and written"
        raise OSError(error.errno, message, str(store / night.subject)) from error


def _read_night(
    night: Night, root: Path, store: Path, config: StoreConfig, threads: int, code: str
) -> None:
    for level, problem in night_problems(night, config):
        if level == "error":  # clips that a warning is about are dropped and counted
            raise problem
    with atomic_folder(store / night.subject) as folder:
        # Hashed before decoding: a source that changes meanwhile does not count as unchanged.
        sources = {
            _key(path, root): _stamp(path) | {"sha256": sha256(path)}
            for path in _sources(night, root)
        }
        facts = _write_shards(night, folder, config, threads)
        record = {
            "format": FORMAT,
            "config": config.model_dump(),
            "code": code,
            "sources": sources,
            "files": {name: sha256(folder / name) for name in SHARDS},
        }
        write_json(folder / "night.json", record | facts)


def _write_shards(night: Night, folder: Path, config: StoreConfig, threads: int) -> dict[str, Any]:
    """Write the arrays and the clip table of a night; returns the facts for night.json."""
    raw = open_channel(night.eeg, config.channel)
    offset, info = stated_offset(night.video) or 0.0, probe(night.video)
    table = clip_table(read_events(night.events))
    unscored = int((table["stage"] == UNSCORED).sum())
    table = table[table["stage"] != UNSCORED]
    reasons = clip_losses(raw, config.eeg_rate, table["onset_s"].to_numpy())
    lost = {why: table["stage"][reasons == why] for why in EEG_REASONS}
    table = table[reasons == ""]
    kept = _write_arrays(night, folder, config, raw, table["onset_s"], offset, threads)
    lost["video"] = table["stage"][~kept]
    table = table[kept].reset_index(drop=True)
    if table.empty:
        problem = "covers no scored clip completely"
        raise CohortError(night.video, problem, "correct StartOffset or add the missing video")
    # A dropped clip leaves a hole: the clips on its two sides are no longer one block.
    new = (table["block"].diff() != 0) | (table["clip"].diff() != 1)
    table["block"] = new.cumsum() - 1
    write_parquet(folder / "clips.parquet", table)
    return {
        "clips": len(table),
        "dropped": {"unscored": unscored} | {why: len(stages) for why, stages in lost.items()},
        "lost": {why: _by_stage(stages) for why, stages in lost.items()},
        "stages": _by_stage(table["stage"]),
        "eeg": {"channel": raw.name, "rate": raw.rate},
        "video": {
            "rate": None if math.isnan(info.rate) else info.rate,  # JSON has no NaN
            "height": info.height,
            "width": info.width,
            "offset_s": offset,
        },
    }


def _write_arrays(
    night: Night,
    folder: Path,
    config: StoreConfig,
    raw: Channel,
    onsets: pd.Series,
    offset: float,
    threads: int,
) -> np.ndarray:
    """Write video and EEG of the clips that the video covers; returns which: `(n,)` bool.

    Both are written in the same step, so row k of one belongs to row k of the other.
    """
    eeg, samples = read_eeg(raw, config.eeg_rate), CLIP_S * config.eeg_rate
    starts = (onsets * config.eeg_rate).round().astype(int)
    size, frames = (config.height, config.width), config.parts * config.frames
    wanted = config.frames, size, config.sampling
    clips = read_clips(night.video, onsets.tolist(), *wanted, offset, threads, config.parts)
    kept = np.zeros(len(onsets), bool)
    with (
        Rows(folder / "video.npy", (frames, *size), np.uint8) as video_rows,
        Rows(folder / "eeg.npy", (samples,), np.float32) as eeg_rows,
    ):
        for k, (clip, start) in enumerate(zip(clips, starts, strict=True)):
            if clip is not None:
                video_rows.append(clip)
                eeg_rows.append(eeg[start : start + samples])
                kept[k] = True
    return kept


def _by_stage(stages: pd.Series) -> dict[str, int]:
    return {name: int((stages == k).sum()) for k, name in enumerate(STAGES)}


def _write_manifest(cohort: Cohort, store: Path, config: StoreConfig) -> None:
    nights, participants, truth = {}, [], {}
    for night in cohort.nights:
        record = nights[night.subject] = read_json(store / night.subject / "night.json")
        numbers = {"age": night.age, "weight_kg": night.weight_kg, "ahi": night.ahi}
        # JSON has no NaN: unknown numbers become null.
        known = {name: None if math.isnan(value) else value for name, value in numbers.items()}
        participants.append({"subject": night.subject, "sex": night.sex} | known)
        for key, source in record["sources"].items():
            if key.endswith(_TRUTH):
                truth[key] = source["sha256"]
    # Simulated nights only: a baseline reads their ground truth, so it is part of the identity.
    identity = [
        {subject: record["files"] for subject, record in nights.items()},
        participants,
        *([truth] if truth else []),
    ]
    manifest = {
        "format": FORMAT,
        "name": cohort.name,
        "fingerprint": sha256_json(identity),
        "config": config.model_dump(),
        "participants": participants,
        "nights": nights,
    }
    path = store / "manifest.json"
    if read_json(path) != manifest:
        write_json(path, manifest)


def _current(night: Night, root: Path, folder: Path, config: StoreConfig, code: str) -> bool:
    """Whether this config and code made the folder from these sources, and it is undamaged."""
    record = read_json(folder / "night.json")
    wanted = {"format": FORMAT, "config": config.model_dump(), "code": code}
    if any(record.get(key) != value for key, value in wanted.items()):
        return False
    try:
        # The cheap comparison first: checksums of the store read every byte of it.
        return _unchanged(record, _sources(night, root), root) and all(
            _undamaged(folder / name, record["files"][name]) for name in SHARDS
        )
    except (KeyError, TypeError, AttributeError):  # the record itself is damaged
        return False


def _unchanged(record: dict[str, Any], sources: list[Path], root: Path) -> bool:
    """Whether these are the files that a night was made from."""
    if {_key(path, root) for path in sources} != record["sources"].keys():
        return False
    # `account` needs these counts, which a record that somebody edited may lack.
    whole = {"unscored", *record["lost"]} == {*record["dropped"]}
    if not whole or record["stages"].keys() != set(STAGES):
        return False
    for path in sources:
        then = record["sources"][_key(path, root)]
        # A copied cohort has new times; only then are gigabytes of video hashed.
        same = all(then[k] == v for k, v in _stamp(path).items())
        if not same and (then["size"] != path.stat().st_size or then["sha256"] != sha256(path)):
            return False
    return True


def _undamaged(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest


def _sources(night: Night, root: Path) -> list[Path]:
    """Files that a night is made from, and the ground truth of a simulated one for a baseline."""
    truth = root / "derivatives" / "simulator" / f"{night.subject}{_TRUTH}"
    paths = (night.eeg, night.events, night.video, night.sidecar, truth)
    return [path for path in paths if path.is_file()]


def _key(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
