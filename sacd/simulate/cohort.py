"""Simulated cohort: subjects whose EEG and infrared video follow the same night."""

import hashlib
import json
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
from filelock import FileLock

from sacd.files import atomic_folder, read_json, sha256, write_json
from sacd.simulate import hypnogram, parameters, ucddb
from sacd.simulate.settings import SimulateConfig, stream
from sacd.stages import ahi_group
from sacd.workers import parallel_map

log = logging.getLogger(__name__)
GENERATOR = "sacd.simulate"
VERSION = 1
"""For people: bump when the output changes for the same config. Programs compare the fingerprint of
the code."""
MADE = "derivatives/simulator/files.json"
"""SHA-256 of every file that the simulator wrote, by its path in the cohort."""

Job = tuple[int, str | int]
"""Index of a subject, and its UCDDB study (str) or its AHI group (int)."""


def simulate(
    root: Path, config: SimulateConfig, nights: Path | None = None, workers: int = 1, code: str = ""
) -> Path:
    """Write a cohort of simulated subjects into `root` (BIDS style), unless it is already there.

    A cohort made by other code, settings or nights is simulated again. The old one stays until the
    new one is complete.

    Args:
        root: folder to write, completely or not at all.
        config: seed and size.
        nights: folder of UCDDB's tables; its 25 real nights then drive the first subjects.
        workers: number of processes; the files do not depend on it.
        code: fingerprint of the code that decides the files.

    Returns:
        `root`.

    Raises:
        ValueError: `root` holds something that no simulator made, or `nights` is not UCDDB.
    """
    root = Path(root)
    if nights is not None:
        nights = ucddb.check(nights)
    description = _description(config, nights, code)
    root.parent.mkdir(parents=True, exist_ok=True)
    # A second process waits here, and then finds the cohort complete.
    with FileLock(root.with_name(f".{root.name}.lock")):
        if root.exists():
            # A user's own cohort is never written over.
            before, now = _simulator(root), description["Simulator"]
            if before == now and made_files(root):
                return root
            if not before:
                raise ValueError(f"{root} exists and is no simulated cohort: choose another folder")
            changed = [name for name in before if before[name] != now.get(name)]
            what = " and ".join(changed) or "list of files"
            log.warning("%s: simulated again, for its %s changed", root, what)
        with atomic_folder(root) as folder:
            people = list(_people(folder, config, nights, workers))
            columns = ["participant_id", "sex", "age", "weight_kg", "ahi", "source"]
            table = pd.DataFrame(people, columns=columns)
            table.to_csv(folder / "participants.tsv", sep="\t", index=False)
            text = json.dumps(description, indent=2) + "\n"
            (folder / "dataset_description.json").write_text(text)
            made = sorted(path for path in folder.rglob("*") if path.is_file())
            names = {path.relative_to(folder).as_posix(): sha256(path) for path in made}
            write_json(folder / MADE, names)
    return root


def night_of(
    config: SimulateConfig, job: Job, nights: Path | None = None
) -> hypnogram.SimulatedNight:
    """The complete night of one subject: stages, events and person; EEG and video not yet."""
    index, source = job
    rng = stream(config, index, "night")
    if isinstance(source, str):
        return ucddb.night(nights, source, rng)
    return hypnogram.semi_markov(source, rng)


def _jobs(config: SimulateConfig, nights: Path | None) -> list[Job]:
    """One job per subject: real nights first, then semi-Markov nights that fill the AHI groups."""
    studies, taken = [], []
    if nights is not None:
        real = ucddb.subjects(nights)[: config.n_subjects]
        # The groups that they fill are not drawn again.
        studies = list(real.index.astype(str))
        taken = [ahi_group(float(ahi)) for ahi in real["PSG AHI"]]
    rest = hypnogram.groups(config.n_subjects - len(taken), taken, stream(config, 0, "groups"))
    return list(enumerate([*studies, *rest]))


def made_files(root: Path) -> dict[str, str]:
    """SHA-256 of every file that the simulator wrote into a cohort; empty for any other folder.

    If the description was copied into another cohort, the hashes do not match the files there.
    """
    return read_json(root / MADE) if _simulator(root) else {}


def _simulator(root: Path) -> dict:
    """The simulator's record in a cohort's description; empty for any other folder."""
    return read_json(root / "dataset_description.json").get("Simulator") or {}


def _people(
    folder: Path, config: SimulateConfig, nights: Path | None, workers: int
) -> Iterator[dict]:
    """Write the files of all subjects; yields their rows of participants.tsv in order."""
    jobs = _jobs(config, nights)
    write = partial(_write, folder, config, nights)
    yield from parallel_map(write, jobs, min(workers, len(jobs)))


def _write(folder: Path, config: SimulateConfig, nights: Path | None, job: Job) -> dict:
    # Heavy imports, needed only where a night is rendered.
    from sacd.simulate.write import write

    return write(folder, config, job[0], night_of(config, job, nights))


def _description(config: SimulateConfig, nights: Path | None, code: str) -> dict:
    """Content of dataset_description.json; "Simulator" is what the files depend on."""
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
