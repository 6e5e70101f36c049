"""Runs on workers, and the stages of `make reproduce`."""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sacd.bench.measure import Row
from sacd.config import Config


class BurnConfig(Config):
    """One of several equal runs: multiply matrices as often as told."""

    seed: int
    rounds: int


def burn(config: BurnConfig, inputs: Mapping, folder: Path, resources: Mapping, progress: Callable) -> None:
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
    """Equal runs about as long as a training of the demo on two workers: share of the ideal time."""
    from sacd.runs import Run, RunStore, execute

    store = RunStore(folder / "runs")
    todo = [
        Run("sacd.bench.execution:burn", BurnConfig(seed=k, rounds=rounds), label=f"equal run {k}") for k in range(runs)
    ]
    start = time.perf_counter()
    execute(todo, store, workers=workers, quiet=True)
    spent = time.perf_counter() - start
    each = [json.loads((store.folder(run) / "provenance.json").read_text())["duration_s"] for run in todo]
    value = sum(each) / workers / spent
    detail = f"{runs} runs of {statistics.median(each):.1f} s, {spent:.0f} s in all, start of the workers included"
    return [Row(f"share of the ideal time, {workers} workers", value, "ratio", ">= 0.9", value >= 0.9, detail)]


def stages(folder: Path, notebooks: Sequence[str] = ("00_tour", "10_cohort")) -> list[Row]:
    """Time of each stage of `make reproduce PROFILE=smoke` for some notebooks, cold, 1 against 2 workers; then warm."""
    from sacd.experiments import NOTEBOOKS
    from sacd.reproduce import execute_notebooks
    from sacd.workspace import Workspace

    rows, totals = [], []
    for workers in (1, 2):
        root = folder / f"workers{workers}"
        total = time.perf_counter()
        for state in ("cold", "warm") if workers == 2 else ("cold",):
            marks = [time.perf_counter()]
            space = Workspace("smoke", root=root)
            space.prepare(workers)
            marks.append(time.perf_counter())
            runs = [run for name in notebooks for run in NOTEBOOKS[name].runs(space)]
            space.execute(runs, workers=workers, quiet=True)
            marks.append(time.perf_counter())
            if failed := execute_notebooks(space, notebooks, workers):
                raise ValueError(f"notebook {', '.join(failed)} failed; make tour PROFILE=smoke shows why")
            marks.append(time.perf_counter())
            if state == "cold":
                totals.append(time.perf_counter() - total)
            names = ("simulate and ingest", "train", "notebooks")
            for name, seconds in zip(names, np.diff(marks), strict=True):
                rows.append(Row(f"{name}, {state}, {workers} worker(s)", float(seconds), "s"))
            if state == "cold":
                rows += _by_task(root, workers)
    rows.append(
        Row("1 worker over 2 workers, cold, all stages", totals[0] / totals[1], "ratio", detail=", ".join(notebooks))
    )
    return rows


def _by_task(root: Path, workers: int) -> list[Row]:
    """Sum of the durations that the run records tell, by task."""
    spent: dict[str, list[float]] = {}
    for record in (root / "runs").glob("*/provenance.json"):
        task = json.loads((record.parent / "config.json").read_text())["identity"]["task"].partition(":")[2]
        spent.setdefault(task, []).append(json.loads(record.read_text())["duration_s"])
    return [
        Row(
            f"runs of the task {task}, {workers} worker(s)",
            sum(each),
            "s",
            detail=f"{len(each)} run(s), from the records",
        )
        for task, each in sorted(spent.items())
    ]
