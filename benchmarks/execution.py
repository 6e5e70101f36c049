"""Benchmarks of the run engine, and of the stages of `make reproduce`."""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.measure import Row
from sacd.config import Config
from sacd.files import read_json


class BurnConfig(Config):
    """One of several equal runs, which multiplies matrices `rounds` times."""

    seed: int
    rounds: int


def burn(
    config: BurnConfig, inputs: Mapping, folder: Path, resources: Mapping, progress: Callable
) -> None:
    """A run that only computes."""
    import torch

    x = torch.randn(600, 600, generator=torch.Generator().manual_seed(config.seed)) / 25
    y = x
    for k in range(config.rounds):
        y = torch.tanh(y @ x)
        if k % 100 == 0:
            progress(k / config.rounds, "burning")
    (folder / "sum.txt").write_text(f"{float(y.sum())}\n")


def grid(folder: Path, runs: int = 16, rounds: int = 2200, workers: int = 2) -> list[Row]:
    """Share of the ideal time when two workers compute runs as long as a training of the demo."""
    from sacd.runs import Run, RunStore, execute

    store = RunStore(folder / "runs")
    todo = [
        Run("benchmarks.execution:burn", BurnConfig(seed=k, rounds=rounds), label=f"equal run {k}")
        for k in range(runs)
    ]
    start = time.perf_counter()
    execute(todo, store, workers=workers, quiet=True)
    spent = time.perf_counter() - start
    each = [read_json(store.folder(run) / "provenance.json")["duration_s"] for run in todo]
    value = sum(each) / workers / spent
    told = f"{runs} runs of {statistics.median(each):.1f} s, {spent:.0f} s in all"
    detail = f"{told}, start of the workers included"
    measure = f"share of the ideal time, {workers} workers"
    return [Row(measure, value, "ratio", ">= 0.9", detail)]


def stages(folder: Path) -> list[Row]:
    """Time of each stage of `make reproduce PROFILE=smoke`, cold and warm, with 1 and 2 workers."""
    from sacd.experiments.workspace import CHECKOUT

    rows = [Row("set-up", _timed(["make", "setup", f"VENV={folder / 'venv'}"], CHECKOUT)[0], "s")]
    totals = {}
    for workers, state in ((1, "cold"), (2, "cold"), (2, "warm")):
        root = folder / f"workers{workers}"
        words = ["reproduce", "--profile", "smoke", "--root", str(root), "--workers", str(workers)]
        totals[workers, state], said = _timed([sys.executable, "-m", "sacd", *words], CHECKOUT)
        told = re.findall(r"([a-z ]+) (\d+) s[,;]", said.splitlines()[-1].rpartition(": ")[2])
        for name, seconds in (*told, ("all of it", totals[workers, state])):
            rows.append(Row(f"{name.strip()}, {state}, {workers} worker(s)", float(seconds), "s"))
        if state == "cold":
            rows += _by_task(root, workers)
    whole = rows[0].value + totals[2, "cold"]
    rows.append(Row("set-up and all of it, cold, 2 workers", whole, "s", "<= 300"))
    gained = totals[1, "cold"] / totals[2, "cold"]
    return [*rows, Row("1 worker over 2 workers, cold, all stages", gained, "ratio")]


def _timed(command: Sequence[str], folder: Path) -> tuple[float, str]:
    """Seconds that a command takes, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip()[-300:]
        raise ValueError(f"{' '.join(command)}: exit {done.returncode}: {said}")
    return time.perf_counter() - start, done.stdout.strip()


def _by_task(root: Path, workers: int) -> list[Row]:
    """Sum of the recorded durations of the runs, by task."""
    spent: dict[str, list[float]] = {}
    for record in (root / "runs").glob("*/provenance.json"):
        task = read_json(record.parent / "config.json")["identity"]["task"].partition(":")[2]
        spent.setdefault(task, []).append(read_json(record)["duration_s"])
    rows = []
    for task, each in sorted(spent.items()):
        detail = f"{len(each)} run(s), from the records"
        measure = f"runs of the task {task}, {workers} worker(s)"
        rows.append(Row(measure, sum(each), "s", detail=detail))
    return rows
