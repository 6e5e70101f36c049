"""The identity of runs, and the store that keeps and verifies their results.

A task is a function `task(config, inputs, folder, resources, progress) -> None`:

- It writes its files into `folder`, which survives an interruption, so that it can resume from its
  own `checkpoint.pt` there.
- `inputs` maps names to the folders of finished runs.
- `resources` (store, device, threads, ...) are no part of a run's identity.
- It calls `progress(share, text)` to report how far it is.
"""

import difflib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from filelock import FileLock

from sacd.config import Config
from sacd.files import read_json, sha256, sync, write_json
from sacd.runs.device import device_kind
from sacd.runs.fingerprint import NO_BYTES, code_fingerprint, code_hashes

DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
CHECKPOINT: Final = re.compile(r"checkpoint.*\.pt")
"""Names of the files that a task resumes from; removed when it is done."""
PROGRESS: Final = "progress.json"
_OURS: Final = ("config.json", "provenance.json", "checksums.json")


class RunError(ValueError):
    """A run cannot be computed or its results are not valid; the message is for the user."""


@dataclass(frozen=True, eq=False)
class Run:
    """One computation: a task, its settings, its data, and the runs it reads.

    >>> from sacd.config import SplitConfig
    >>> a, b = (Run("sacd.stages:label", SplitConfig(seed=0), label=name) for name in "ab")
    >>> a == b, a == Run("sacd.stages:label", SplitConfig(seed=1))
    (True, False)
    """

    task: str
    """"module:function"."""
    config: Config
    data: str = ""
    """Fingerprint of the data store; empty if the task reads none."""
    inputs: tuple[tuple[str, "Run"], ...] = ()
    """Runs whose folders the task reads, by name; they run first."""
    modules: tuple[str, ...] = ()
    """"module:class" of what the task imports by name, such as its method or teacher."""
    label: str = ""
    """For listings and logs; like `cost` and `resources` no part of the identity."""
    cost: float = 1.0
    """Estimated duration; long runs start first."""
    resources: tuple[tuple[str, str], ...] = ()
    """Resources of this run, which override those of `execute`: the store of its `data`."""

    @property
    def entries(self) -> tuple[str, ...]:
        """Entry points of the run's code, for `code_fingerprint`."""
        return (self.task, *self.modules)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything the results depend on, as JSON values."""
        # A GPU gives other numbers; without the key, ids of the CPU stay what they were before.
        elsewhere = {} if device_kind() == "cpu" else {"device": device_kind()}
        return elsewhere | {
            "task": _short(self.task),
            "class": type(self.config).__qualname__,
            "config": self.config.model_dump(mode="json"),
            "data": self.data,
            "code": code_fingerprint(self.entries, NO_BYTES),
            "modules": [_short(name) for name in self.modules],
            "inputs": {name: run.id for name, run in self.inputs},
        }

    @cached_property
    def settings(self) -> str:
        """8 hex digits of `identity` without code and data, to compare runs between versions."""
        asked = {key: self.identity[key] for key in ("task", "class", "config", "modules")}
        asked["inputs"] = {name: run.settings for name, run in self.inputs}
        return _digest(asked)[:8]

    @cached_property
    def id(self) -> str:
        """16 hex digits of `identity`."""
        return _digest(self.identity)[:16]

    @property
    def title(self) -> str:
        return f"{self.id} {self.label or self.task}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __getstate__(self) -> dict[str, Any]:
        # Without the cached id: a cluster worker computes the id from its own code, which reveals
        # a different version.
        return {f.name: getattr(self, f.name) for f in fields(self)}


def with_inputs(runs: Iterable[Run]) -> dict[str, Run]:
    """The runs and all runs that they read, by id, each once, inputs first."""
    plan: dict[str, Run] = {}

    def visit(run: Run) -> None:
        if run.id not in plan:
            for _, needed in run.inputs:
                visit(needed)
            plan[run.id] = run

    for run in runs:
        visit(run)
    return plan


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _short(entry: str) -> str:
    """Last part of "package.module:name", so that moving a file makes no run stale."""
    return entry.rpartition(".")[2]


class State(NamedTuple):
    """`name` is "done", "partial", "missing" or "corrupt"; `reason` says why."""

    name: str
    reason: str


class RunStore:
    """A folder of runs.

    - `<id>/`: results of a finished run.
    - `.work/<id>/`: files of an unfinished run.
    - `failures/<id>.txt`: traceback of the last failed attempt.
    - `data/<fingerprint>.json`: manifest of the data of runs, whose provenance names it.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, run: Run | str) -> Path:
        """Folder of a finished run."""
        return self.root / (run if isinstance(run, str) else run.id)

    def work(self, run: Run | str) -> Path:
        """Folder of an unfinished run."""
        return self.root / ".work" / (run if isinstance(run, str) else run.id)

    def failure(self, run: Run) -> Path:
        """Traceback of the last failed attempt."""
        return self.root / "failures" / f"{run.id}.txt"

    def lock(self, run: Run | str) -> FileLock:
        """Lock held while a run is computed; the system releases it if the process dies."""
        (self.root / ".locks").mkdir(parents=True, exist_ok=True)
        return FileLock(self.root / ".locks" / f"{run if isinstance(run, str) else run.id}.lock")

    def open(self) -> None:
        """Create the folders.

        Raises:
            RunError: they cannot be written.
        """
        try:
            for name in (".work", ".locks", "failures"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            write_json(self.root / ".locks" / "writable.json", {})
        except OSError as error:
            raise RunError(explain_os_error(error, self.root)) from error

    def state(self, run: Run) -> State:
        """Whether a run has valid results; every file is read and hashed.

        Raises:
            RunError: the folder holds a run with another identity; the message shows the
                difference.
        """
        folder = self.folder(run)
        if folder.exists():
            _refuse_conflict(run, folder)
            return check(folder)
        if (work := self.work(run)).exists():
            share = read_json(work / PROGRESS).get("share", 0)
            return State("partial", f"interrupted at {share:.0%}")
        return State("missing", "never computed")

    def content(self, run: Run) -> str:
        """12 hex digits of what a finished run has computed; empty if there is none.

        Equal runs have equal ids on every machine, but equal content only where all bytes are.
        """
        checksums = read_json(self.folder(run) / "checksums.json")
        computed = {name: digest for name, digest in checksums.items() if name not in _OURS}
        return _digest(computed)[:12] if computed else ""

    def begin(self, run: Run) -> Path:
        """Work folder of a run; it may hold files of an interrupted attempt."""
        # Only a corrupt run has a results folder at this point.
        shutil.rmtree(self.folder(run), ignore_errors=True)
        work = self.work(run)
        work.mkdir(parents=True, exist_ok=True)
        for half_written in work.rglob(".*tmp*"):  # of `atomic`, and safetensors' `.tmpXXXXXX`
            half_written.unlink()
        _refuse_conflict(run, work)
        about = {"label": run.label, "entries": list(run.entries)}
        write_json(work / "config.json", {"identity": run.identity, "about": about})
        return work

    def finish(self, run: Run, provenance: Mapping[str, Any]) -> None:
        """Turn a work folder into a finished run: provenance, checksums, one rename."""
        work = self.work(run)
        (work / PROGRESS).unlink(missing_ok=True)
        checkpoints = [path for path in work.iterdir() if CHECKPOINT.fullmatch(path.name)]
        written = {path.name for path in work.iterdir()} - {path.name for path in checkpoints}
        if not written - set(_OURS):
            raise RunError(f"{run.title}: {run.task} ended without writing a file into its folder")
        write_json(work / "provenance.json", {**provenance, "code": code_hashes(run.entries)})
        files = [p for p in work.rglob("*") if p.is_file() and p not in checkpoints]
        names = sorted(path.relative_to(work).as_posix() for path in files)
        names = [name for name in names if name != "checksums.json"]  # of an interrupted `finish`
        for name in names:
            sync(work / name)
        write_json(work / "checksums.json", {name: sha256(work / name) for name in names})
        # Only now: a process killed before this line can still resume.
        for checkpoint in checkpoints:
            checkpoint.unlink()
        os.replace(work, self.folder(run))
        sync(self.root)
        self.failure(run).unlink(missing_ok=True)

    def why_missing(self, run: Run, known: Sequence[Mapping[str, Any]]) -> str:
        """Why a run is computed: what differs from one of the same settings, of `identities()`."""
        for other in known:
            if any(other.get(key) != run.identity[key] for key in ("task", "class", "config")):
                continue
            parts = ("data", "code", "inputs")
            changed = [key for key in parts if other.get(key) != run.identity[key]]
            if changed:
                return f"{', '.join(changed)} changed since an earlier run"
        return "never computed"

    def identities(self) -> list[dict[str, Any]]:
        """Identities of the runs on disk."""
        found = [read_json(folder / "config.json").get("identity") for folder in self.folders()]
        return [identity for identity in found if isinstance(identity, dict)]  # not the damaged

    def find(self, prefix: str) -> Path:
        """Folder of the one run whose id starts with `prefix`, finished or not, or a RunError."""
        folders = [folder for folder in self.folders() if folder.name.startswith(prefix)]
        # Reversed: of a run that is in both places, the finished folder wins.
        found = {folder.name: folder for folder in reversed(folders)}
        if len(found) != 1:
            what = f"{len(found)} runs start" if found else "no run starts"
            raise RunError(f"{what} with {prefix!r} in {self.root}; `runs list` shows the ids")
        return found.popitem()[1]

    def folders(self) -> list[Path]:
        """Folders of all runs, finished ones first."""
        folders: list[Path] = []
        for parent in (self.root, self.root / ".work"):
            if parent.is_dir():
                folders += sorted(parent.iterdir())
        return [folder for folder in folders if re.fullmatch("[0-9a-f]{16}", folder.name)]


def check(folder: Path) -> State:
    """Compare the files of a finished run with its checksums."""
    checksums = read_json(folder / "checksums.json")
    if not checksums:
        return State("corrupt", "checksums.json is missing or truncated")
    for name, expected in checksums.items():
        path = folder / name
        if not path.is_file():
            return State("corrupt", f"{name} is missing")
        if sha256(path) != expected:
            return State("corrupt", f"{name} was altered or truncated (checksum differs)")
    return State("done", f"checksums of {len(checksums)} files agree")


def explain_os_error(error: OSError, folder: Path) -> str:
    """One line that says what is wrong with a folder, and what to do."""
    if error.errno in DISK_FULL:
        full = f"{error.filename or folder}: the disk is full ({error.strerror})"
        return f"{full}; free some space and repeat the command: it continues"
    return (
        f"{error.filename or folder}: cannot be written ({error.strerror}); choose another folder "
        "or its permissions"
    )


def _refuse_conflict(run: Run, folder: Path) -> None:
    """Raise a RunError with a diff if a folder holds a run with another identity."""
    there = read_json(folder / "config.json").get("identity")
    if there is None or there == run.identity:
        return
    texts = [json.dumps(x, indent=1, sort_keys=True).splitlines() for x in (there, run.identity)]
    diff = "\n".join(difflib.unified_diff(*texts, "on disk", "asked for", lineterm="", n=0))
    raise RunError(
        f"{folder}: holds another run than its id says; move the folder away to compute it again\n"
        f"{diff}"
    )
