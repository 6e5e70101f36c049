"""Computes one run in the current process; this is the part of the engine that workers execute."""

import errno
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from sacd.files import read_json, write_json
from sacd.runs.device import device_kind, make_deterministic
from sacd.runs.fingerprint import NO_BYTES, code_fingerprint
from sacd.runs.provenance import (
    edited_since_import,
    git_state,
    machine,
    peak_memory_mb,
    reset_peak_memory,
)
from sacd.runs.store import DISK_FULL, PROGRESS, Run, RunError, RunStore, explain_os_error

Listener = Callable[[str, float, str], None]
"""Called with the id of a run, the share done and a line of text."""


def compute(
    root: str, run: Run, run_id: str, resources: Mapping[str, str], listener: Listener | None = None
) -> tuple[str, str]:
    """Compute one run in this process, or wait for the process that is computing it.

    Returns:
        "done", "hit" (another process computed it) or "failed", and the traceback of a failure.
    """
    store = RunStore(root)
    try:
        # The client's id holds the hash of its code: results of other code must not get that name.
        if run.id != run_id:
            raise RunError(
                f"{run_id}: this worker has other code than the client; check out the same commit "
                "on both and restart the worker"
            )
        if edited := edited_since_import(run.entries):
            raise RunError(
                f"{', '.join(edited)}: edited after this process imported it; restart the process"
            )
        with store.lock(run):
            if store.state(run).name == "done":
                # A worker that dies loses its answers, so Dask repeats runs that this very
                # call of `execute` has computed.
                record = read_json(store.folder(run) / "provenance.json")
                return "done" if record.get("call") == resources.get("call") else "hit", ""
            _compute(store, run, resources, listener)
        return "done", ""
    except RunError as error:
        return "failed", str(error)
    except OSError as error:
        if error.errno in DISK_FULL or (
            error.errno == errno.EACCES and str(error.filename).startswith(root)
        ):
            return "failed", explain_os_error(error, store.root)
        return "failed", traceback.format_exc()
    except (Exception, SystemExit) as error:
        if "(os error 28)" in str(error):  # a full disk; safetensors raises its own error type
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), store.root)
            return "failed", explain_os_error(full, store.root)
        return "failed", traceback.format_exc()


def _compute(
    store: RunStore, run: Run, resources: Mapping[str, str], listener: Listener | None
) -> None:
    work = store.begin(run)
    inputs = {name: store.folder(other) for name, other in run.inputs}
    for name, folder in inputs.items():
        if not folder.is_dir():
            raise RunError(
                f"{run.title}: its input {name} is not in {store.root}; all workers need the same "
                "run store"
            )
    progress = _Progress(run, work, resources.get("call"), listener)
    modules = [import_module(name.partition(":")[0]) for name in run.entries]
    task = getattr(modules[0], run.task.partition(":")[2])
    # An edit between hashing and importing would train other code than the id says.
    if code_fingerprint(run.entries, NO_BYTES) != run.identity["code"]:
        raise RunError(f"{run.title}: its code changed during the import; repeat the command")
    _keep_data_manifest(store, run)
    record = progress.record | {"git": git_state()}
    reset_peak_memory()
    resources = {**resources, **dict(run.resources), "device": device_kind()}
    if resources["device"] == "cuda" and "torch" in sys.modules:
        make_deterministic()
    with _threads(int(resources["threads"])):
        task(run.config, inputs, work, resources, progress)
        record |= {"duration_s": progress.spent(), "peak_memory_mb": peak_memory_mb()}
        record |= {"machine": machine()}
    try:
        record |= {"data": run.data, "data_manifest": _keep_data_manifest(store, run)}
    except RunError:
        shutil.rmtree(work)  # partly computed from the other data, so it must not be resumed
        raise
    store.finish(run, record | {"id": run.id, "resources": {"threads": resources["threads"]}})


class _Progress:
    """What a task calls with its share; keeps start, attempts and time over interruptions."""

    def __init__(self, run: Run, work: Path, call: str | None, listener: Listener | None) -> None:
        self.run, self.file, self.listener = run, work / PROGRESS, listener
        earlier = read_json(self.file)
        started = earlier.get("started") or datetime.now(UTC).isoformat(timespec="seconds")
        attempts = earlier.get("attempts", 0) + 1
        self.record = {"started": started, "attempts": attempts, "call": call}
        self.before, self.start = earlier.get("duration_s", 0.0), time.monotonic()
        self.written: float | None = None
        self(earlier.get("share", 0.0), earlier.get("text", ""))

    def spent(self) -> float:
        """Seconds, of all attempts."""
        return round(self.before + time.monotonic() - self.start, 2)

    def __call__(self, share: float, text: str = "") -> None:
        # A step may take milliseconds, and each write is synced to the disk.
        if self.written is None or time.monotonic() - self.written >= 0.5:
            self.written = time.monotonic()
            now = {"share": min(max(share, 0.0), 1.0), "text": text, "duration_s": self.spent()}
            write_json(self.file, self.record | now)
        if self.listener:
            self.listener(self.run.id, share, text)


def _keep_data_manifest(store: RunStore, run: Run) -> str | None:
    """Copy the manifest of the run's data into the run store, since an ingest may replace it.

    Returns:
        Its path in the run store; None if the run reads no data store.

    Raises:
        RunError: the data are not those in the run's id, since two cohorts share a folder or a
            night was replaced.
    """
    kept = None
    for _, path in run.resources:  # resources that are no data store have no fingerprint
        manifest = read_json(Path(path) / "manifest.json")
        if manifest.get("fingerprint", run.data) != run.data:
            raise RunError(f"{run.title}: {path} holds other data by now; repeat the command")
        if manifest.get("fingerprint"):
            kept = f"data/{run.data}.json"
            if not (store.root / kept).exists():
                write_json(store.root / kept, manifest)
    return kept


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Set the threads of BLAS, OpenMP and torch.

    Sums depend on the number of threads; a notebook must give the same bits as a worker.
    """
    from threadpoolctl import threadpool_limits  # slow to import

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    with threadpool_limits(number):
        if torch:
            torch.set_num_threads(number)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)
