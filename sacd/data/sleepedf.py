"""Sleep-EDF (cassette recordings) as a store: one EEG channel of both nights of each subject.

<store>/SC4001.npy     (n, 30 * rate) float32 in uV, one file per recording
<store>/clips.parquet  subject, recording, clip, onset_s, stage, block, row (in the file)
<store>/manifest.json  sources, code, checksums, why clips were dropped; written last
"""

import os
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from filelock import FileLock

from sacd.data.eeg import open_channel, read_eeg
from sacd.data.lab_scoring import edf_notes
from sacd.data.problems import CohortError
from sacd.data.scoring import recognise
from sacd.files import (
    atomic,
    read_json,
    remove_leftovers,
    sha256,
    sha256_json,
    write_json,
    write_parquet,
)
from sacd.stages import CLIP_S, STAGES, UNSCORED

CHANNEL: Final = "Fpz-Cz"
RATE: Final = 100
"""Hz, the sampling rate of the recordings."""

MARGIN_S: Final = 30 * 60
"""Wake that is kept before the first and after the last clip of sleep."""

NAME: Final = "Sleep-EDF cassette"
FORMAT: Final = 1
"""Bump when `ingest_sleepedf` changes what it writes."""

_PSG: Final = re.compile(r"(SC4\d\d)(\d)\w\d-PSG\.edf", re.IGNORECASE)


@dataclass(frozen=True)
class Recording:
    """One night; `name` is SC4ssN: subject ss (two digits), night N."""

    name: str
    psg: Path
    hypnogram: Path

    @property
    def subject(self) -> str:
        return self.name[:5]


class SleepEdf:
    """A store that `ingest_sleepedf` wrote, read-only.

    It has those members of `ClipStore` that the EEG stagers use.

    Attributes:
        clips: `subject`, `recording`, `clip` (position in the night, distinct over the nights of a
            subject), `onset_s`, `stage`, `block` (consecutive clips), `row`.
        dropped: recording -> reason -> number of clips.
    """

    name = NAME
    rate = RATE

    def __init__(self, root: Path | str):
        self.root = Path(root)
        manifest = _load(self.root)
        if not manifest:
            problem = "is no Sleep-EDF store, or its ingest did not finish"
            raise CohortError(self.root, problem, "run the ingest again")
        self.fingerprint: str = manifest["fingerprint"]
        self.dropped: dict[str, dict[str, int]] = {
            name: r["dropped"] for name, r in manifest["recordings"].items()
        }
        self.clips = pd.read_parquet(self.root / "clips.parquet")

    @cached_property
    def participants(self) -> pd.DataFrame:
        """Indexed by subject; `ahi` is NaN, as the recordings do not include it."""
        subjects = pd.Index(self.clips["subject"].unique(), name="subject")
        return pd.DataFrame({"ahi": np.nan}, subjects)

    def gather_eeg(self, rows: pd.DataFrame) -> np.ndarray:
        """`(len(rows), 30 * rate)` float32 in uV of some rows of `clips`, in their order."""
        out = np.empty((len(rows), CLIP_S * RATE), np.float32)
        recordings, places = rows["recording"].to_numpy(), rows["row"].to_numpy()
        for name in pd.unique(recordings):
            at = np.flatnonzero(recordings == name)
            eeg = np.load(self.root / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            out[at] = eeg[places[at]]
        return out


def recordings(folder: Path | str) -> list[Recording]:
    """All SC4ssNE0-PSG.edf below a folder, sorted by path, each with its hypnogram.

    The hypnogram is SC4ssNEx-Hypnogram.edf next to it, where x is the scorer.

    Raises:
        CohortError: there is no recording, one has no hypnogram or several, or a night is there
            twice.
    """
    folder = Path(folder)
    found: dict[str, Recording] = {}
    for psg in sorted(folder.rglob("*")):
        if not (match := _PSG.fullmatch(psg.name)):
            continue
        name = "".join(match.groups()).upper()
        if name in found:
            problem = f"is the night {name}, as is {found[name].psg}"
            raise CohortError(psg, problem, "keep one of the two: each would count")
        # The second letter is the scorer, so that it cannot be guessed.
        start = re.compile(rf"{name}\w\w-Hypnogram\.edf", re.IGNORECASE)
        scored = sorted(path for path in psg.parent.iterdir() if start.fullmatch(path.name))
        if not scored:
            raise CohortError(psg, "has no hypnogram", f"put {name}E?-Hypnogram.edf beside it")
        if len(scored) > 1:
            names = ", ".join(path.name for path in scored)
            raise CohortError(psg, f"has {len(scored)} hypnograms: {names}", "keep one scorer's")
        found[name] = Recording(name, psg, scored[0])
    if not found:
        fix = "give the folder sleep-cassette of Sleep-EDF Expanded"
        raise CohortError(folder, "holds no SC4ssNE0-PSG.edf", fix)
    return list(found.values())


def scored_clips(
    recording: Recording, samples: int, start: datetime | None = None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The clips of a night that are kept, and how many were dropped for which reason.

    R&K stages 3 and 4 become N3. Movement time and unknown stages are dropped. Wake is kept up to
    30 min before the first and after the last clip of sleep, as the authors of AttnSleep do.

    Args:
        samples: length of the EEG at `RATE`; clips beyond its end are dropped.
        start: start of the EEG. If given, `onset_s` counts from it rather than from the start of
            the hypnogram.

    Returns:
        `clip`, `onset_s`, `stage` 0..4, `block`; and counts of "movement", "unknown", "wake",
        "beyond the EEG".
    """
    path = recording.hypnogram
    notes = edf_notes(path, start)
    scoring = recognise([text for _, _, text in notes], path)
    if scoring.unknown:
        problem = f"has the stage {scoring.unknown[0]!r}"
        raise CohortError(path, problem, "known are W, 1, 2, 3, 4, R and ?")
    rows = []
    for onset, duration, text in notes:
        stage = scoring.stages.get(text)
        if stage is not None:
            movement = text.lower().startswith("movement")
            # A stage lasts k * 30 s; a duration of 29.999999 s is one clip.
            times = onset + CLIP_S * np.arange(int(duration / CLIP_S + 1e-6))
            rows += [(time, stage, movement) for time in times]
    table = pd.DataFrame(rows, columns=["onset_s", "stage", "movement"])
    table = table.sort_values("onset_s", ignore_index=True)
    table.insert(0, "clip", np.round(table["onset_s"] / CLIP_S).astype(int))
    # Movement and unknown stages are told apart only for the report.
    unscored = table["stage"] == UNSCORED
    dropped = {"movement": int((unscored & table["movement"]).sum())}
    dropped["unknown"] = int(unscored.sum()) - dropped["movement"]
    table = table[~unscored]
    asleep = table.loc[table["stage"] != STAGES.index("W"), "onset_s"]
    if asleep.empty:
        raise CohortError(path, "holds no sleep", "leave this recording out")
    # Recordings last about 20 h, most of them awake: W would outnumber all other stages.
    near = table["onset_s"].between(asleep.iloc[0] - MARGIN_S, asleep.iloc[-1] + MARGIN_S)
    first = (table["onset_s"] * RATE).round().astype(int)
    inside = (first >= 0) & (first + CLIP_S * RATE <= samples)
    dropped |= {"wake": int((~near).sum()), "beyond the EEG": int((near & ~inside).sum())}
    table = table[near & inside].reset_index(drop=True)
    # A clip that was dropped, or a pause, ends a block.
    new = np.abs(table["onset_s"].diff() - CLIP_S) > 0.5
    return table[["clip", "onset_s", "stage"]].assign(block=new.cumsum()), dropped


def ingest_sleepedf(folder: Path | str, store: Path | str, code: str = "") -> SleepEdf:
    """Bring a store up to date with a folder of Sleep-EDF; unchanged recordings are not read again.

    Args:
        code: fingerprint of the code that decides the bytes; recordings ingested by other code are
            read again.

    Raises:
        CohortError: the first problem. The store then has no manifest and counts as unfinished.
    """
    store = Path(store)
    found = recordings(folder)
    store.mkdir(parents=True, exist_ok=True)
    with FileLock(store / ".lock"):
        remove_leftovers(store)
        before = _load(store)
        old = pd.read_parquet(store / "clips.parquet") if before else pd.DataFrame()
        entries, tables = {}, []
        for night in found:
            sources = {}
            for source in (night.psg, night.hypnogram):
                stat = source.stat()
                sources[source.name] = [stat.st_size, stat.st_mtime_ns]
            made = {"sources": sources, "code": code}
            entry = before.get("recordings", {}).get(night.name, {})
            path = store / f"{night.name}.npy"
            if made.items() <= entry.items() and path.is_file() and sha256(path) == entry["sha256"]:
                table = old[old["recording"] == night.name]
            else:
                # Until the end the store counts as unfinished.
                (store / "manifest.json").unlink(missing_ok=True)
                table, dropped = _write(night, store)
                entry = made | {"sha256": sha256(path), "dropped": dropped}
            entries[night.name] = entry
            tables.append(table)
        if entries != _load(store).get("recordings"):  # the manifest is gone if one was read
            _finish(store, entries, tables)
    return SleepEdf(store)


def _write(night: Recording, store: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    raw = open_channel(night.psg, CHANNEL)
    eeg = read_eeg(raw, RATE)
    table, dropped = scored_clips(night, len(eeg), raw.file.start)
    first = (table["onset_s"] * RATE).round().astype(int).to_numpy()
    if table.empty:
        problem = f"none of its clips lies within the EEG ({len(eeg) / RATE:g} s)"
        raise CohortError(night.hypnogram, problem, "download both files again")
    clips = np.stack([eeg[k : k + CLIP_S * RATE] for k in first])
    if np.isnan(clips).any():
        pause = ", ".join(f"{a:g} to {b:g} s" for a, b in raw.gaps)
        raise CohortError(night.psg, f"has pauses ({pause})", "download it again")
    with atomic(store / f"{night.name}.npy") as temporary:
        np.save(temporary, clips, allow_pickle=False)
    # Far apart, so that clips of two nights of a subject never have the same number.
    number = int(night.name[5])
    table = table.assign(subject=night.subject, recording=night.name, row=np.arange(len(table)))
    return table.assign(clip=table["clip"] + 10_000 * number), dropped


def _finish(store: Path, entries: dict[str, Any], tables: list[pd.DataFrame]) -> None:
    """Write the table of all clips and the manifest; remove recordings that are no longer there."""
    blocks = 0
    for k, table in enumerate(tables):
        block = table["block"] - table["block"].min() + blocks
        tables[k] = table.assign(block=block)
        blocks = int(block.max()) + 1
    columns = ["subject", "recording", "clip", "onset_s", "stage", "block", "row"]
    write_parquet(store / "clips.parquet", pd.concat(tables, ignore_index=True)[columns])
    checksums = {name: entry["sha256"] for name, entry in entries.items()}
    identity = [sha256(store / "clips.parquet"), checksums]
    manifest = {"format": FORMAT, "fingerprint": sha256_json(identity), "recordings": entries}
    write_json(store / "manifest.json", manifest)
    for path in store.glob("SC4*.npy"):
        if path.stem not in entries:
            os.unlink(path)


def _load(store: Path) -> dict[str, Any]:
    manifest = read_json(store / "manifest.json")
    return manifest if manifest.get("format") == FORMAT else {}
