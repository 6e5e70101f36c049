"""Computes runs in parallel: longest first, each run once, whatever dies on the way."""

import logging
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from sacd.files import write_text
from sacd.runs.pools import Pool, open_pool
from sacd.runs.store import PROGRESS, Run, RunError, RunStore, read_json

log = logging.getLogger(__name__)


class Failure(NamedTuple):
    """A run without results."""

    run: Run
    reason: str
    """Its last lines, or which run it would have needed."""
    log: Path | None
    """The whole traceback; None if it was not started."""


@dataclass(frozen=True)
class Report:
    """What `execute` did with each run: computed now, found on disk, or failed."""

    done: tuple[Run, ...]
    hit: tuple[Run, ...]
    failed: tuple[Failure, ...]

    def __str__(self) -> str:
        lines = [
            f"{len(self.done)} runs computed, {len(self.hit)} found on disk, {len(self.failed)} without results"
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
    """Compute what is missing of `runs` and of the runs that they read; results that are there are checked, then kept.

    Args:
        workers: processes on this machine; default one a core, or one a GPU where there are any; 0:
            in this process.
        cluster: "tcp://host:port" of a Dask scheduler instead; its workers need this package and
            the store's folder.
        resources: handed to the tasks, no part of a run's identity. "device" ("auto": the GPU if
            there is one) and "threads" (a run; "1") have defaults.
        keep_going: a failed run stops only the runs that read it.
        quiet: no progress bar.

    Raises:
        RunError: the store cannot be written, or the cluster does not answer.
    """
    store.open()
    resources = {"device": "auto", "threads": "1"} | dict(resources or {}) | {"call": uuid4().hex}
    plan = _closure(runs)
    with ThreadPoolExecutor() as pool:
        states = dict(
            zip(plan, pool.map(lambda run: _state(store, run), plan.values()), strict=True)
        )
    needed = _needed(runs, states)
    todo = {
        i: run
        for i, run in plan.items()
        if i in needed and states[i][0] not in ("done", "conflict")
    }
    hits = [plan[i] for i in plan if i in needed and states[i][0] == "done"]
    failed = {
        i: Failure(plan[i], states[i][1], None)
        for i in plan
        if i in needed and states[i][0] == "conflict"
    }
    _say_why(store, hits, todo, states)
    done: list[Run] = []
    if todo:
        with (
            open_pool(store, list(todo.values()), workers, cluster, resources) as pool,
            _Bar(todo, quiet) as bar,
        ):
            _work_off(store, pool, todo, done, hits, failed, bar, keep_going)
    order = {i: n for n, i in enumerate(plan)}
    return Report(
        tuple(done), tuple(hits), tuple(sorted(failed.values(), key=lambda f: order[f.run.id]))
    )


def _closure(runs: Iterable[Run]) -> dict[str, Run]:
    """The runs and all that they read, by id, each once, inputs first."""
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
    """Ids to look at: what was asked for, and inputs of what has to be computed."""
    needed: set[str] = set()
    waiting = list(runs)
    while waiting:
        run = waiting.pop()
        if run.id not in needed:
            needed.add(run.id)
            if states[run.id][0] != "done":
                waiting += [other for _, other in run.inputs]
    return needed


def _say_why(
    store: RunStore, hits: list[Run], todo: Mapping[str, Run], states: Mapping[str, tuple[str, str]]
) -> None:
    for run in hits:
        log.info("%s: not computed, %s", run.title, states[run.id][1])
    known = store.identities() if todo else []
    for run in todo.values():
        state, reason = states[run.id]
        if state == "corrupt":
            log.warning("%s: %s; computing it again", run.title, reason)
        else:
            log.info(
                "%s: to compute, %s",
                run.title,
                store.why_missing(run, known) if state == "missing" else reason,
            )


def _priorities(todo: Mapping[str, Run]) -> dict[str, float]:
    """Length of the longest chain of runs that starts with each: the critical path goes first."""
    priority = {i: run.cost for i, run in todo.items()}
    for run in reversed(todo.values()):  # inputs come before their readers in a plan
        for _, needed in run.inputs:
            if needed.id in todo:
                priority[needed.id] = max(
                    priority[needed.id], todo[needed.id].cost + priority[run.id]
                )
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
    """Start what is ready while there is room, collect what ends; until nothing is left."""
    priority = _priorities(todo)
    waiting = sorted(todo.values(), key=lambda run: -priority[run.id])
    started: dict[str, Any] = {}
    before = {i: _mtime(store, run) for i, run in todo.items()}
    open_ids = set(todo)
    while waiting or started:
        for run in list(waiting):
            bad = [other for _, other in run.inputs if other.id in failed]
            if bad or (failed and not keep_going):
                reason = (
                    f"not run: it needs {bad[0].title}, which failed"
                    if bad
                    else "not run: another run failed"
                )
                failed[run.id] = Failure(run, reason, None)
            elif len(started) < pool.room and not any(
                other.id in open_ids for _, other in run.inputs
            ):
                started[run.id] = pool.submit(run, priority[run.id], bar.tell)
            else:
                continue
            waiting.remove(run)
            open_ids -= failed.keys()
        pool.wait(list(started.values()))
        for i in [i for i, handle in started.items() if handle.done()]:
            outcome, text = _outcome(started.pop(i))
            open_ids.discard(i)
            if outcome == "failed":
                path = store.failure(todo[i])
                with suppress(OSError):  # the disk may be full, which is then what `text` says
                    write_text(
                        path, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC {todo[i].title}\n{text}\n"
                    )
                failed[i] = Failure(todo[i], "\n".join(text.strip().splitlines()[-6:]), path)
            else:
                (done if outcome == "done" else hits).append(todo[i])
        running = {
            i: run for i, run in todo.items() if i in started and _mtime(store, run) != before[i]
        }
        for i, run in running.items():
            record = read_json(store.work(run) / PROGRESS)
            bar.tell(i, record.get("share", 0.0), record.get("text", ""))
        bar.show(
            len(todo) - len(open_ids | failed.keys() & todo.keys()),
            len(running),
            len(failed),
            open_ids,
        )


def _mtime(store: RunStore, run: Run) -> int:
    path = store.work(run) / PROGRESS
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _outcome(handle: Any) -> tuple[str, str]:
    try:
        return handle.result()
    except (
        Exception
    ) as error:  # the task's own errors come back as text: this is the worker, or the cluster
        if type(error).__name__ == "KilledWorker":
            return (
                "failed",
                "its worker process died again and again: out of memory, or a crash in native code",
            )
        return "failed", f"{type(error).__name__}: {error}"


class _Bar:
    """One progress bar over all runs, weighted by their cost."""

    def __init__(self, todo: Mapping[str, Run], quiet: bool) -> None:
        from tqdm import tqdm  # slow to import

        self.todo, self.shares, self.text = todo, dict.fromkeys(todo, 0.0), ""
        self.counts = (0, 0, 0)
        # A log file gets a line every 30 s; a terminal or a notebook a bar that moves.
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

    def tell(self, run_id: str, share: float, text: str) -> None:
        """A run got so far."""
        done, running, failed = self.counts
        self.counts = (done, running or 1, failed)  # in this process the loop is not there to count
        self.shares[run_id] = share
        self.text = f"{self.todo[run_id].label or run_id}: {text}"
        self._draw()

    def show(self, done: int, running: int, failed: int, unfinished: set[str]) -> None:
        """Runs ended or started."""
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
        self.bar.update(
            sum(self.todo[i].cost * share for i, share in self.shares.items()) - self.bar.n
        )
