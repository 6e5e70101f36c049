"""Simulated cohort: subjects whose EEG and infrared video follow the same night, in the data contract's files."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from filelock import FileLock

from sacd.simulate import hypnogram, parameters, ucddb
from sacd.simulate.settings import SimulateConfig, stream
from sacd.stages import ahi_group

log = logging.getLogger(__name__)
GENERATOR = "sacd.simulate"
VERSION = 1
"""Raised when the same config gives other files than before, for people; the code's fingerprint tells it by itself."""


def simulate(
    root: Path,
    config: SimulateConfig,
    nights: Path | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    code: str = "",
) -> Path:
    """Write a cohort of simulated subjects into `root` (BIDS style), or find it there already.

    A cohort that other code, settings or nights made is made again; the old one stays until the new
    one is complete.

    Args:
        root: folder to write; complete or absent, never half made.
        config: seed and size.
        nights: folder of UCDDB's tables; its 25 real nights then drive the first subjects.
        workers: processes; the files do not depend on it.
        progress: called with (subjects done, subjects in all).
        code: fingerprint of the code that decides the files; what other code made is simulated
            again.

    Returns: `root`.
    Raises: ValueError if `root` holds what no simulator made, or `nights` is not UCDDB.
    """
    root = Path(root)
    if nights is not None:
        nights = ucddb.check(nights)
    description = _description(config, nights, code)
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_name(f".{root.name}.lock")):  # who comes second finds the cohort there
        if root.exists():
            before = _simulator(root)
            if before == description["Simulator"]:
                return root
            if not before:
                raise ValueError(f"{root} exists and is no simulated cohort: choose another folder")
            changed = [
                name for name in before if before[name] != description["Simulator"].get(name)
            ]
            log.warning(
                "%s: simulated again, for its %s changed", root, " and ".join(changed) or "record"
            )
        folder = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
        try:
            jobs = _jobs(config, nights)
            people = []
            for person in _rows(partial(_write, folder, config, nights), jobs, workers):
                people.append(person)
                if progress:
                    progress(len(people), len(jobs))
            columns = ["participant_id", "sex", "age", "weight_kg", "ahi", "source"]
            pd.DataFrame(people, columns=columns).to_csv(
                folder / "participants.tsv", sep="\t", index=False
            )
            (folder / "dataset_description.json").write_text(
                json.dumps(description, indent=2) + "\n"
            )
            folder.chmod(0o755)
            if root.exists():
                old = root.with_name(f".{root.name}.old")
                shutil.rmtree(
                    old, ignore_errors=True
                )  # of a process that died between the next two lines
                os.rename(root, old)
            os.rename(folder, root)
            shutil.rmtree(root.with_name(f".{root.name}.old"), ignore_errors=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return root


def night_of(
    config: SimulateConfig, job: tuple[int, str | int], nights: Path | None = None
) -> hypnogram.SimulatedNight:
    """The whole night of one subject, nothing rendered: `job` is its index and its UCDDB study or its AHI group."""
    index, source = job
    rng = stream(config, index, "night")
    return (
        ucddb.night(nights, source, rng)
        if isinstance(source, str)
        else hypnogram.semi_markov(source, rng)
    )


def _jobs(config: SimulateConfig, nights: Path | None) -> list[tuple[int, str | int]]:
    """(index, UCDDB study or AHI group) of every subject: real nights first, then those that fill the AHI groups."""
    real = (
        ucddb.subjects(nights)[: config.n_subjects]
        if nights is not None
        else pd.DataFrame({"PSG AHI": []})
    )
    taken = [ahi_group(float(ahi)) for ahi in real["PSG AHI"]]
    rest = hypnogram.groups(config.n_subjects - len(taken), taken, stream(config, 0, "groups"))
    return list(enumerate([*real.index.astype(str), *rest] if len(real) else rest))


def _simulator(root: Path) -> dict:
    """Which simulator made a cohort, as its description tells; empty for any other folder."""
    try:
        description = json.loads((root / "dataset_description.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return description.get("Simulator") or {}


def _rows(write: Callable[[tuple], dict], jobs: list, workers: int) -> Iterator[dict]:
    if workers == 1:
        yield from map(write, jobs)
    else:
        with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
            yield from pool.map(write, jobs)


def _write(
    folder: Path, config: SimulateConfig, nights: Path | None, job: tuple[int, str | int]
) -> dict:
    from sacd.simulate.write import write  # heavy imports only where a night is rendered

    return write(folder, config, job[0], night_of(config, job, nights))


def _description(config: SimulateConfig, nights: Path | None, code: str) -> dict:
    values = parameters.table()[["name", "stage", "value"]]
    real = None
    if nights is not None:
        files = sorted([*Path(nights).glob("ucddb*_*.txt"), Path(nights) / "SubjectDetails.xls"])
        real = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    simulator = {
        "version": VERSION,
        "code": code,
        "config": config.model_dump(),
        "parameters": hashlib.sha256(values.to_csv(index=False).encode()).hexdigest(),
        "nights": real,
    }
    name = "simulated cohort" + ("" if nights is None else " driven by real nights of UCDDB")
    return {
        "Name": name + ("; condensed nights" if config.blocks else ""),
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "simulated": True,
        "GeneratedBy": [
            {
                "Name": GENERATOR,
                "Version": str(VERSION),
                "Description": "simulated EEG and infrared video",
            }
        ],
        "Simulator": simulator,
    }
