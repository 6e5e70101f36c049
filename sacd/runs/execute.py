"""Computes runs in parallel: each run once, long ones first, robust to workers that die."""

import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

from sacd.files import read_json, write_text
from sacd.runs.pools import Pool, open_pool, outcome_of
from sacd.runs.store import PROGRESS, Run, RunError, RunStore, with_inputs

log = logging.getLogger(__name__)
MOST_REFUSALS = 5
"""Times that a run may come to a worker that is lost or has other code, before it fails."""
ARRIVAL_S: Final = 10
"""Time after which a folder that another machine has written is visible here."""


class Failure(NamedTuple):
    """A run without results."""

    run: Run
    reason: str
    """Last lines of the traceback, or the failed run that this one needed."""
    log: Path | None
    """File with the whole traceback; None if the run was not started."""


@dataclass(frozen=True)
class Report:
    """What `execute` did with each run: computed now, found on disk, or failed."""

    done: tuple[Run, ...]
    hit: tuple[Run, ...]
    failed: tuple[Failure, ...]

    def __str__(self) -> str:
        lines = [
            f"{len(self.done)} runs computed, {len(self.hit)} found on disk, "
            f"{len(self.failed)} without results"
        ]
        for run, reason, path in self.failed:
            lines.append(f"FAILED {run.title}" + (f" (see {path})" if path else ""))
            lines += [f"    {line}" for line in reason.splitlines()]
        return "\n".join(lines)


def execute(
    runs: Iterable[Run],
    store: RunStore,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    resources: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> Report:
    """Compute the missing ones of `runs` and of the runs they read; existing results are verified.

    A failure stops only the runs that read the failed one.

    Args:
        workers: number of processes on this machine; 0: this process. Default: one per GPU, or one
            per core if there is no GPU.
        cluster: "tcp://host:port" of a Dask scheduler to use instead. Its workers need this package
            and the folder of the store.
        resources: passed to the tasks, and no part of a run's identity; "threads" per run is "1"
            if they do not say. `sacd.runs.device` adds the device.
        quiet: show no progress bar.

    Raises:
        RunError: the store cannot be written, or the cluster does not answer, or its workers
            write into another store.
    """
    store.open()
    # The id of this call tells a worker's repeated answer from a run that was there before.
    resources = {"threads": "1"} | dict(resources or {}) | {"call": uuid4().hex}
    plan = with_inputs(runs)
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        checked = pool.map(lambda run: _state(store, run), plan.values())
        states = dict(zip(plan, checked, strict=True))
    needed = _needed(runs, states)
    work = _Work(store, {}, [], [], {})
    for i, run in plan.items():
        state, reason = states[i]
        if i not in needed:
            continue
        if state == "done":
            work.hits.append(run)
        elif state == "conflict":
            work.failed[i] = Failure(run, reason, None)
        else:
            work.todo[i] = run
    work.log_reasons(states)
    if work.todo:
        with (
            open_pool(store, list(work.todo.values()), workers, cluster, resources) as pool,
            closing(_Bar(work.todo, quiet)) as bar,
        ):
            work.compute(pool, bar)
    failed = tuple(work.failed[i] for i in plan if i in work.failed)
    return Report(tuple(work.done), tuple(work.hits), failed)


def _state(store: RunStore, run: Run) -> tuple[str, str]:
    try:
        return store.state(run)
    except RunError as error:
        return "conflict", str(error)


def _needed(runs: Iterable[Run], states: Mapping[str, tuple[str, str]]) -> set[str]:
    """Ids of the requested runs, and of the inputs of those that must be computed."""
    needed: set[str] = set()
    waiting = list(runs)
    while waiting:
        run = waiting.pop()
        if run.id not in needed:
            needed.add(run.id)
            if states[run.id][0] != "done":
                waiting += [other for _, other in run.inputs]
    return needed


def _priorities(todo: Mapping[str, Run]) -> dict[str, float]:
    """Cost of the longest chain of runs that starts with each run: the critical path goes first."""
    priority = {i: run.cost for i, run in todo.items()}
    for run in reversed(todo.values()):  # readers before their inputs
        for _, needed in run.inputs:
            if needed.id in todo:
                chain = todo[needed.id].cost + priority[run.id]
                priority[needed.id] = max(priority[needed.id], chain)
    return priority


@dataclass
class _Work:
    """Runs to compute, and what became of them so far, by id."""

    store: RunStore
    todo: dict[str, Run]
    done: list[Run]
    hits: list[Run]
    failed: dict[str, Failure]

    def log_reasons(self, states: Mapping[str, tuple[str, str]]) -> None:
        """Log why runs are computed or not: many with the same reason in one line."""
        reasons: dict[str, list[str]] = {}
        for run in self.hits:
            reasons.setdefault(f"not computed, {states[run.id][1]}", []).append(run.title)
        known = self.store.identities() if self.todo else []
        for run in self.todo.values():
            state, reason = states[run.id]
            if state == "corrupt":
                log.warning("%s: %s; computing it again", run.title, reason)
            else:
                why = self.store.why_missing(run, known) if state == "missing" else reason
                reasons.setdefault(f"to compute, {why}", []).append(run.title)
        for reason, titles in reasons.items():
            few = len(titles) <= 3
            runs = ", ".join(titles) if few else f"{titles[0]} and {len(titles) - 1} more runs"
            log.info("%s: %s", runs, reason)

    def compute(self, pool: Pool, bar: "_Bar") -> None:
        """Start runs that are ready while there is room, and collect those that end."""
        priority = _priorities(self.todo)
        waiting = sorted(self.todo.values(), key=lambda run: -priority[run.id])
        started: dict[str, Any] = {}
        refusals: Counter[str] = Counter()
        before = {i: _mtime(self.store, run) for i, run in self.todo.items()}
        unfinished = set(self.todo)
        while waiting or started:
            for run in list(waiting):
                inputs = [other for _, other in run.inputs]
                if bad := [other for other in inputs if other.id in self.failed]:
                    needs = f"not run: it needs {bad[0].title}, which failed"
                    self.failed[run.id] = Failure(run, needs, None)
                    unfinished.discard(run.id)
                elif len(started) < pool.room and not any(o.id in unfinished for o in inputs):
                    started[run.id] = pool.submit(run, priority[run.id], bar.update)
                else:
                    continue
                waiting.remove(run)
            pool.wait(list(started.values()))
            for i in [i for i, handle in started.items() if handle.done()]:
                outcome, text = outcome_of(started.pop(i))
                if outcome == "refused" and refusals[i] < MOST_REFUSALS:
                    refusals[i] += 1
                    waiting.append(self.todo[i])  # for another worker: the pool leaves out this one
                    continue
                unfinished.discard(i)
                self._ended(self.todo[i], outcome, text)
            # A run that waits in a worker's queue has not yet written its progress file.
            running = [i for i in started if _mtime(self.store, self.todo[i]) != before[i]]
            for i in running:
                record = read_json(self.store.work(i) / PROGRESS)
                bar.update(i, record.get("share", 0.0), record.get("text", ""))
            computed = self.todo.keys() - unfinished - self.failed.keys()
            bar.show(len(computed), len(running), len(self.failed), unfinished)

    def _ended(self, run: Run, outcome: str, text: str) -> None:
        """Enter what became of a run; `text` is the traceback of a failure."""
        if outcome in ("failed", "refused"):
            path = self.store.failure(run)
            when = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
            with suppress(OSError):  # the disk may be full, and `text` then says so
                write_text(path, f"{when} {run.title}\n{text}\n")
            last = "\n".join(text.strip().splitlines()[-6:])
            self.failed[run.id] = Failure(run, last, path)
            return
        if not _arrived(self.store, run):
            raise RunError(
                f"{run.title}: its worker has finished it, but {self.store.folder(run)} is not "
                "here; the workers need the same run store, at the same path"
            )
        (self.done if outcome == "done" else self.hits).append(run)


def _arrived(store: RunStore, run: Run) -> bool:
    """Whether the folder of a run that a worker has finished is in the store."""
    done, end = store.folder(run) / "checksums.json", time.monotonic() + ARRIVAL_S
    while not done.is_file() and time.monotonic() < end:
        os.listdir(store.root)  # lets a network file system look again
        time.sleep(0.2)
    return done.is_file()


def _mtime(store: RunStore, run: Run) -> int:
    """When a run last wrote its progress, in ns; 0 if it has not started."""
    try:
        return (store.work(run) / PROGRESS).stat().st_mtime_ns
    except OSError:
        return 0


class _Bar:
    """One progress bar over all runs, weighted by their cost."""

    def __init__(self, todo: Mapping[str, Run], quiet: bool) -> None:
        from tqdm import tqdm  # slow to import

        self.todo, self.shares, self.text = todo, dict.fromkeys(todo, 0.0), ""
        self.counts = (0, 0, 0)  # done, running, failed
        # A terminal or a notebook gets a moving bar, a log file a line every 30 s.
        live = sys.stderr.isatty() or "ipykernel" in sys.modules
        self.bar = tqdm(
            desc=f"0/{len(todo)} runs", total=round(sum(run.cost for run in todo.values()), 6),
            disable=quiet, smoothing=0.1, miniters=0,
            bar_format="{desc} |{bar:20}| {percentage:3.0f}% {elapsed}<{remaining}{postfix}",
            **({} if live else {"mininterval": 30}),
        )  # fmt: skip
        self._draw()

    def close(self) -> None:
        self.bar.refresh()
        self.bar.close()

    def update(self, run_id: str, share: float, text: str) -> None:
        """Show the progress of one run."""
        done, running, failed = self.counts
        # While a run is computed in this process, nobody calls `show`.
        self.counts = (done, running or 1, failed)
        self.shares[run_id] = share
        self.text = f"{self.todo[run_id].label or run_id}: {text}"
        self._draw()

    def show(self, done: int, running: int, failed: int, unfinished: set[str]) -> None:
        """Show the counts after runs have started or ended."""
        self.counts = (done, running, failed)
        self.text = self.text if unfinished else ""
        self.shares |= {i: 1.0 for i in self.shares if i not in unfinished}
        self._draw()

    def _draw(self) -> None:
        done, running, failed = self.counts
        self.bar.set_description_str(
            f"{done}/{len(self.todo)} runs, {running} running, {failed} failed", refresh=False
        )
        self.bar.set_postfix_str(self.text[:60], refresh=False)
        cost = sum(self.todo[i].cost * share for i, share in self.shares.items())
        self.bar.update(cost - self.bar.n)
