"""Computes runs in parallel: each run once, long ones first, robust to workers that die."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

from sacd.files import read_json, write_text
from sacd.runs.pools import Pool, open_pool, outcome_of
from sacd.runs.store import PROGRESS, Run, RunError, RunStore

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
            lines += [f"FAILED {run.title}" + (f" (see {path})" if path else ""), *_indent(reason)]
        return "\n".join(lines)


def _indent(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]


def execute(
    runs: Iterable[Run],
    store: RunStore,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    resources: Mapping[str, str] | None = None,
    keep_going: bool = True,
    quiet: bool = False,
) -> Report:
    """Compute the missing ones of `runs` and of the runs they read; existing results are verified.

    Args:
        workers: number of processes on this machine; 0: this process. Default: one per GPU, or one
            per core if there is no GPU.
        cluster: "tcp://host:port" of a Dask scheduler to use instead. Its workers need this package
            and the folder of the store.
        resources: passed to the tasks, and no part of a run's identity. Defaults: "device" is
            "auto" (a GPU if there is one), "threads" per run is "1".
        keep_going: after a failure, skip only the runs that read the failed one.
        quiet: show no progress bar.

    Raises:
        RunError: the store cannot be written, or the cluster does not answer, or its workers
            write into another store.
    """
    store.open()
    resources = {"device": "auto", "threads": "1"} | dict(resources or {}) | {"call": uuid4().hex}
    plan = _closure(runs)
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        checked = pool.map(lambda run: _state(store, run), plan.values())
        states = dict(zip(plan, checked, strict=True))
    needed = _needed(runs, states)
    todo: dict[str, Run] = {}
    hits: list[Run] = []
    failed: dict[str, Failure] = {}
    for i, run in plan.items():
        state, reason = states[i]
        if i not in needed:
            continue
        if state == "done":
            hits.append(run)
        elif state == "conflict":
            failed[i] = Failure(run, reason, None)
        else:
            todo[i] = run
    _log_reasons(store, hits, todo, states)
    done: list[Run] = []
    if todo:
        with (
            open_pool(store, list(todo.values()), workers, cluster, resources) as pool,
            _Bar(todo, quiet) as bar,
        ):
            _work_off(store, pool, todo, done, hits, failed, bar, keep_going)
    return Report(tuple(done), tuple(hits), tuple(failed[i] for i in plan if i in failed))


def _closure(runs: Iterable[Run]) -> dict[str, Run]:
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


def _log_reasons(
    store: RunStore, hits: list[Run], todo: Mapping[str, Run], states: Mapping[str, tuple[str, str]]
) -> None:
    """Log for every run why it is computed or not."""
    for run in hits:
        log.info("%s: not computed, %s", run.title, states[run.id][1])
    known = store.identities() if todo else []
    for run in todo.values():
        state, reason = states[run.id]
        if state == "corrupt":
            log.warning("%s: %s; computing it again", run.title, reason)
        else:
            why = store.why_missing(run, known) if state == "missing" else reason
            log.info("%s: to compute, %s", run.title, why)


def _priorities(todo: Mapping[str, Run]) -> dict[str, float]:
    """Cost of the longest chain of runs that starts with each run: the critical path goes first."""
    priority = {i: run.cost for i, run in todo.items()}
    for run in reversed(todo.values()):  # readers before their inputs
        for _, needed in run.inputs:
            if needed.id in todo:
                chain = todo[needed.id].cost + priority[run.id]
                priority[needed.id] = max(priority[needed.id], chain)
    return priority


def _work_off(
    store: RunStore,
    pool: Pool,
    todo: Mapping[str, Run],
    done: list[Run],
    hits: list[Run],
    failed: dict[str, Failure],
    bar: "_Bar",
    keep_going: bool,
) -> None:
    """Start runs that are ready while there is room, and collect those that end."""
    priority = _priorities(todo)
    waiting = sorted(todo.values(), key=lambda run: -priority[run.id])
    started: dict[str, Any] = {}
    refusals: dict[str, int] = {}
    before = {i: _mtime(store, run) for i, run in todo.items()}
    open_ids = set(todo)
    while waiting or started:
        for run in list(waiting):
            bad = [other for _, other in run.inputs if other.id in failed]
            ready = not any(other.id in open_ids for _, other in run.inputs)
            if bad:
                needs = f"not run: it needs {bad[0].title}, which failed"
                failed[run.id] = Failure(run, needs, None)
            elif failed and not keep_going:
                failed[run.id] = Failure(run, "not run: another run failed", None)
            elif ready and len(started) < pool.room:
                started[run.id] = pool.submit(run, priority[run.id], bar.update)
            else:
                continue
            waiting.remove(run)
            open_ids -= failed.keys()
        pool.wait(list(started.values()))
        for i in [i for i, handle in started.items() if handle.done()]:
            outcome, text = outcome_of(started.pop(i))
            if outcome == "refused" and (refused := refusals.get(i, 0)) < MOST_REFUSALS:
                refusals[i] = refused + 1
                waiting.append(todo[i])  # for another worker: the pool leaves out this one
                continue
            open_ids.discard(i)
            if outcome not in ("failed", "refused") and not _arrived(store, todo[i]):
                raise RunError(
                    f"{todo[i].title}: its worker has finished it, but {store.folder(i)} is not "
                    "here; the workers need the same run store, at the same path"
                )
            if outcome in ("failed", "refused"):
                path = store.failure(todo[i])
                when = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
                with suppress(OSError):  # the disk may be full, and `text` then says so
                    write_text(path, f"{when} {todo[i].title}\n{text}\n")
                failed[i] = Failure(todo[i], "\n".join(text.strip().splitlines()[-6:]), path)
            else:
                (done if outcome == "done" else hits).append(todo[i])
        # A run that waits in a worker's queue has not yet written its progress file.
        running = [i for i in started if _mtime(store, todo[i]) != before[i]]
        for i in running:
            record = read_json(store.work(todo[i]) / PROGRESS)
            bar.update(i, record.get("share", 0.0), record.get("text", ""))
        ended = len(todo) - len(open_ids | failed.keys() & todo.keys())
        bar.show(ended, len(running), len(failed), open_ids)


def _arrived(store: RunStore, run: Run) -> bool:
    """Whether the folder of a run that a worker has finished is in the store."""
    done, end = store.folder(run) / "checksums.json", time.monotonic() + ARRIVAL_S
    while not done.is_file() and time.monotonic() < end:
        os.listdir(store.root)  # lets a network file system look again
        time.sleep(0.2)
    return done.is_file()


def _mtime(store: RunStore, run: Run) -> int:
    """When a run last wrote its progress, in ns; 0 if it has not started."""
    path = store.work(run) / PROGRESS
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


class _Bar:
    """One progress bar over all runs, weighted by their cost."""

    def __init__(self, todo: Mapping[str, Run], quiet: bool) -> None:
        from tqdm import tqdm  # slow to import

        self.todo, self.shares, self.text = todo, dict.fromkeys(todo, 0.0), ""
        self.counts = (0, 0, 0)
        # A terminal or a notebook gets a moving bar, a log file a line every 30 s.
        live = sys.stderr.isatty() or "ipykernel" in sys.modules
        self.bar = tqdm(
            desc=f"0/{len(todo)} runs", total=round(sum(run.cost for run in todo.values()), 6),
            disable=quiet, smoothing=0.1, miniters=0,
            bar_format="{desc} |{bar:20}| {percentage:3.0f}% {elapsed}<{remaining}{postfix}",
            **({} if live else {"mininterval": 30}),
        )  # fmt: skip

    def __enter__(self) -> "_Bar":
        self._draw()
        return self

    def __exit__(self, *error: object) -> None:
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
