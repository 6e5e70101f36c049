"""A results folder with made-up runs: what `reproduce` would have left, in a second."""

import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
from PIL import Image

from sacd.analysis import stats, tables
from sacd.experiments import record
from sacd.experiments.items import Notebook
from sacd.files import sha256, write_parquet
from sacd.runs import RunStore
from sacd.runs.notebook import record_of
from sacd.runs.notebook_copies import stamped

DATA = "simulated cohort, demo profile"
ROWS = {"-/R(2+1)D-18": 0.5, "AttnSleep/SACD": 0.8, "AttnSleep/CCL": 0.79}
"""Rows and the share of clips that each stages correctly."""


def predictions(correct: float, subjects: int, seed: int) -> pd.DataFrame:
    """40 clips per subject, about a share `correct` of them right; equal stages for all seeds."""
    stage = np.tile(np.arange(5), 8 * subjects)
    wrong = np.random.default_rng(seed).random(len(stage)) > correct
    names = np.repeat([f"sub-{n:02d}" for n in range(subjects)], 40)
    return pd.DataFrame(
        {"subject": names, "stage": stage, "prediction": (stage + wrong) % 5, "part": "test"}
    )


def _run(row: str, number: int, seed: int) -> SimpleNamespace:
    """As much of a `Run` as a manifest needs."""
    return SimpleNamespace(
        id=f"{number:08x}{seed:08x}",
        label=f"{row} {seed}",
        task="sacd.training.student:student",
        config=SimpleNamespace(seed=seed, method=SimpleNamespace(name="sacd")),
        inputs=(),
        settings=f"{number:04x}{seed:04x}",
        identity={"code": "e" * 16},
        data="d" * 64,
    )


class Space:
    """As much of a `Workspace` as a manifest needs."""

    def __init__(self, root, rows: dict[str, float], data: str, seeds: int, simulated: bool):
        self.results = root / "results" / "demo"
        self.data_name, self.profile = data, SimpleNamespace(name="demo")
        self.prepared = True
        self.frames_may_be_shown = simulated
        self.ucf51 = SimpleNamespace(simulated=False, prepared=False)
        clips = pd.DataFrame(
            {"subject": ["sub-00"] * 5, "onset_s": range(0, 150, 30), "stage": range(5)}
        )
        self.store = SimpleNamespace(clips=clips)
        self.runs = RunStore(root / "runs")
        self.rows = {
            row: [_run(row, number, seed) for seed in range(seeds)]
            for number, row in enumerate(rows)
        }

    def predictions(self, run):
        return pd.read_parquet(self.runs.folder(run) / "predictions.parquet")


def _write_runs(space: Space, rows: dict[str, float]) -> None:
    for row, share in rows.items():
        for run in space.rows[row]:
            folder = space.runs.folder(run)
            folder.mkdir(parents=True)
            table = predictions(share, 12, int(run.id, 16) % 1000)
            write_parquet(folder / "predictions.parquet", table)
            files = {"predictions.parquet": sha256(folder / "predictions.parquet")}
            (folder / "checksums.json").write_text(json.dumps(files))
            facts = {
                "git": {"commit": "c" * 40, "dirty": False},
                "started": "2026-01-01",
                "duration_s": 36.0,
            }
            facts |= {"peak_memory_mb": {"cpu": 1024.0}, "data": "d" * 64}
            facts["machine"] = {
                "cores": 2,
                "threads": 1,
                "cpu": "Made up, 2 GHz",
                "lock": "1" * 64,
            }
            (folder / "provenance.json").write_text(json.dumps(facts))


def make(
    root, monkeypatch, rows=None, data: str = DATA, seeds: int = 2, simulated: bool = True
) -> Space:
    """The folder after `reproduce`: an executed notebook, its table and figure, a manifest."""
    shown = Notebook(
        "20_table2_comparison",
        lambda w: w.rows,
        ("tables/table2.csv", "figures/a.png"),
        item="table2",
    )
    monkeypatch.setattr(record, "ITEMS", {"table2": shown})
    monkeypatch.setattr(record, "NOTEBOOKS", {"20_table2_comparison": shown})
    rows = rows or ROWS
    written = _written(tuple(rows.items()), data, seeds, simulated)
    shutil.copytree(written.name, root, dirs_exist_ok=True)
    return Space(root, rows, data, seeds, simulated)


@cache
def _written(
    rows: tuple[tuple[str, float], ...], data: str, seeds: int, simulated: bool
) -> TemporaryDirectory:
    """The files of one such folder, which are written once and copied for each test."""
    folder = TemporaryDirectory()
    space = Space(Path(folder.name), dict(rows), data, seeds, simulated)
    _write_runs(space, dict(rows))
    lines = [
        tables.rows(
            "table2",
            row,
            stats.intervals([space.predictions(r) for r in runs]),
            data,
        )
        for row, runs in space.rows.items()
    ]
    tables.write(pd.concat(lines), space.results / "tables", "table2")
    (space.results / "figures").mkdir()
    Image.new("RGB", (40, 20), "white").save(space.results / "figures" / "a.png")
    cells = [
        nbformat.v4.new_markdown_cell("# Table II\n[the tour](00_tour.ipynb)"),
        nbformat.v4.new_code_cell("1"),
    ]
    depends = {run.label: run.id for runs in space.rows.values() for run in runs}
    text = stamped(nbformat.v4.new_notebook(cells=cells), {"depends": depends}, {"data": data})
    (space.results / "notebooks").mkdir()
    copy = space.results / "notebooks" / "20_table2_comparison.ipynb"
    copy.write_text(text)
    facts = {
        "content": sha256(copy),
        "commit": "c" * 40,
        "dirty": False,
        "started": "2026-01-02",
        "duration_s": 4.0,
    }
    record_of(copy).write_text(json.dumps(facts))
    record.write_manifest(space)
    return folder
