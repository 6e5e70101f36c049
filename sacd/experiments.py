"""Which runs each table and figure needs, as data."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sacd.config import BoundConfig, MethodConfig, MotionConfig, PretextConfig, StudentConfig, TeacherConfig
from sacd.data.cohort import read_cohort
from sacd.data.simulate import simulate
from sacd.data.store import ClipStore, ingest
from sacd.losses.base import METHODS
from sacd.notebook_copies import to_html
from sacd.notebook_inputs import check_parameters, is_current, key_of, parameters_of
from sacd.profiles import PROFILES
from sacd.provenance import git_state
from sacd.runs import Report, Run, RunStore, execute

CHECKOUT = Path(__file__).resolve().parents[1]
STUDENTS = {"R(2+1)D-18": "r2plus1d_18", "R3D-18": "r3d_18"}
TEACHERS = {"AttnSleep": "attnsleep", "DeepSleepNet": "deepsleepnet", "Modified-SEN": "modified_sen"}
BOUNDS = ("majority", "stratified random", "band-power forest", "band-power forest by night", "true signals")


class Workspace:
    """One profile on one cohort: where its files are, and the runs that its items are made of.

    Args:
        profile: "smoke", "demo" or "paper".
        data: folder of a cohort that exists; without it the profile's simulated cohort is used.
        nights: folder of the UCDDB tables; real stages and respiratory events then drive the simulated cohort.
        root: folder that holds `data/`, `runs/` and `results/`; default: the checkout that this package lies in.
        seeds: seeds a row, instead of the profile's.
    """

    def __init__(
        self,
        profile: str = "demo",
        data: str | Path | None = None,
        nights: str | Path | None = None,
        root: str | Path | None = None,
        seeds: int | None = None,
    ) -> None:
        if profile not in PROFILES:
            raise ValueError(f"profile {profile!r} is unknown; known: {', '.join(PROFILES)}")
        self.profile = PROFILES[profile]
        self.seeds = seeds or self.profile.seeds
        self.root = Path(root) if root else CHECKOUT
        self.nights = Path(nights) if nights else None
        slug = profile + (f"-{Path(data).resolve().name}" if data else "-nights" if nights else "")
        self.cohort = Path(data) if data else self.root / "data" / slug / "cohort"
        self.simulated = not data
        self.store_path = self.root / "data" / slug / "store"
        self.results = self.root.resolve() / "results" / slug
        self.runs = RunStore(self.root / "runs")

    def prepare(self, workers: int | None = None) -> None:
        """Simulate the cohort if it is the profile's own, and ingest it; both only where something is missing."""
        workers = workers or os.cpu_count() or 1
        if self.simulated:
            simulate(self.cohort, self.profile.simulate, nights=self.nights, workers=workers)
        ingest(self.cohort, self.store_path, self.profile.store, workers=workers)

    @cached_property
    def store(self) -> ClipStore:
        """The clip store; `prepare()` makes it."""
        return ClipStore(self.store_path)

    @cached_property
    def data_name(self) -> str:
        """What every output says of its data, e.g. "simulated cohort, demo profile"."""
        return f"{read_cohort(self.cohort).name}, {self.profile.name} profile"

    def execute(self, runs: Mapping[str, list[Run]] | list[Run], **options: Any) -> Report:
        """Compute what is missing of `runs`; see `sacd.runs.execute`."""
        flat = [run for group in runs.values() for run in group] if isinstance(runs, Mapping) else runs
        resources = {"store": str(self.store_path.resolve()), "cohort": str(self.cohort.resolve())}
        return execute(flat, self.runs, resources=resources, **options)

    # --- single runs ---

    def _run(self, task: str, config: Any, **more: Any) -> Run:
        return Run(task=f"sacd.tasks.{task}", config=config, data=self.store.fingerprint, **more)

    def pretext(self, student: str = "r2plus1d_18") -> Run:
        """Label-free pretraining shared by every run of a student."""
        p = self.profile
        backbone = p.backbone.model_copy(update={"name": student})
        config = PretextConfig(backbone=backbone, fit=p.pretext, split=p.split)
        inputs = (("motion", self.motion()),) if backbone.input == "motion" else ()
        return self._run("pretext:pretext", config, inputs=inputs, label=f"pretext {student}", cost=100)

    def motion(self) -> Run:
        """The student's input of every clip."""
        return self._run("pretext:motion", MotionConfig(), label="motion", cost=30)

    def teacher(self, name: str = "attnsleep", seed: int = 0) -> Run:
        """An EEG teacher, trained and frozen."""
        p = self.profile
        options = p.teacher_options.get(name, {})
        config = TeacherConfig(name=name, fit=p.teacher, split=p.split, seed=seed, options=options, **p.teachers)
        return self._run("teacher:teacher", config, label=f"teacher {name}", cost=200)

    def student(
        self,
        student: str = "r2plus1d_18",
        method: str = "ce",
        teacher: str = "attnsleep",
        seed: int = 0,
        **options: Any,
    ) -> Run:
        """A student trained by a method; `options` go to the method."""
        p = self.profile
        config = StudentConfig(
            backbone=p.backbone.model_copy(update={"name": student}),
            method=MethodConfig(name=method, options=p.methods.get(method, {}) | options),
            fit=p.student,
            split=p.split,
            seed=seed,
            class_weight_power=p.class_weight_power,
        )
        inputs = [("pretext", self.pretext(student))] if p.pretext else []
        if p.backbone.input == "motion" and not p.backbone.frozen:
            inputs.append(("motion", self.motion()))
        if method != "ce":
            inputs.append(("teacher", self.teacher(teacher)))
        label = f"{student} {method}" + (f" {teacher}" if method != "ce" else "") + f" seed {seed}"
        module = METHODS[method].split(":")[0]
        return self._run(
            "student:student",
            config,
            inputs=tuple(inputs),
            modules=(module,),
            label=label,
            cost=20 if method == "ce" else 50,
        )

    def bound(self, name: str) -> Run:
        """A classifier that frames the results."""
        return self._run("bound:bound", BoundConfig(name=name, split=self.profile.split), label=f"bound {name}", cost=5)

    # --- items ---

    def table2(self) -> dict[str, list[Run]]:
        """Rows of Table II: both students alone, SACD with AttnSleep, one run a seed; the teacher; the bounds."""
        seeds = range(self.seeds)
        rows = {f"-/{label}": [self.student(name, seed=s) for s in seeds] for label, name in STUDENTS.items()}
        rows["AttnSleep/SACD"] = [self.student(method="sacd", seed=s) for s in seeds]
        rows["teacher/AttnSleep"] = [self.teacher("attnsleep")]
        names = [b for b in BOUNDS if b != "true signals" or (self.cohort / "derivatives" / "simulator").exists()]
        rows |= {f"bound/{name}": [self.bound(name)] for name in names}
        rows["control/SACD without propagation layers"] = [self.student(method="sacd", seed=0, layers=0)]
        return rows

    # --- results ---

    def read(self, run: Run, name: str) -> pd.DataFrame:
        """A table that a finished run wrote: `predictions.parquet`, `metrics.csv` or `held_out.csv`."""
        path = self.runs.folder(run) / name
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)

    def predictions(self, run: Run, part: str = "test") -> pd.DataFrame:
        """Predicted clips of one part of the split, one row a clip."""
        table = self.read(run, "predictions.parquet")
        return table[table["part"] == part].reset_index(drop=True)

    @property
    def frames_may_be_shown(self) -> bool:
        """Whether the sleepers are simulated: no frame of a real one reaches a result unless the user asks for it."""
        description = self.cohort / "dataset_description.json"
        return description.exists() and bool(json.loads(description.read_text()).get("simulated"))

    def provenance(self, rows: Mapping[str, list[Run]]) -> pd.DataFrame:
        """Which run made each row: id, seed, commit, duration, and whether its tree was clean."""
        lines = []
        for row, runs in rows.items():
            for run in runs:
                facts = json.loads((self.runs.folder(run) / "provenance.json").read_text())
                lines.append(
                    {"row": row, "run": run.id, "seed": getattr(run.config, "seed", None)}
                    | {k: facts.get(k) for k in ("commit", "dirty", "started", "duration_s", "peak_memory_mb")}
                )
        return pd.DataFrame(lines)

    def notebooks(self, names: Iterable[str]) -> list[str]:
        """Execute the notebooks that are not current, a process each; returns the names of those that failed."""
        return [name for name in names if not self._notebook(name)]

    def _notebook(self, name: str) -> bool:
        source = CHECKOUT / "notebooks" / f"{name}.ipynb"
        output = self.results / "notebooks" / source.name
        given = {
            "profile": self.profile.name,
            "data": "" if self.simulated else str(self.cohort.resolve()),
            "nights": str(self.nights.resolve()) if self.nights else "",
            "root": "" if self.root == CHECKOUT else str(self.root.resolve()),
            "seeds": self.seeds,
            "results": "results",
        }
        given = {key: value for key, value in given.items() if key in parameters_of(source)}
        if "results" in given:  # a notebook that needs no data only has to know its folder
            given["profile"] = self.results.name
        runs = {run.label: run.id for run in NOTEBOOKS[name].runs(self)}
        expects = [self.results / path for path in NOTEBOOKS[name].files]
        if is_current(output, key_of(source, check_parameters(source, given), runs), expects):
            return True
        command = [sys.executable, "-m", "sacd.notebooks", str(source), str(output)]
        stamp = {"profile": self.profile.name, "data": self.data_name, "commit": git_state()["commit"] or "none"}
        for flag, values in (("-p", given), ("-d", runs), ("-s", stamp)):
            command += [word for key, value in values.items() for word in (flag, key, str(value))]
        command += [word for path in expects for word in ("-e", str(path))]
        if subprocess.run(command, cwd=self.root).returncode:
            return False
        to_html(output)
        return True


class Notebook(NamedTuple):
    """What a notebook shows and writes."""

    runs: Callable[[Workspace], list[Run]]
    files: tuple[str, ...]
    """Under `results/<profile>/`."""


NOTEBOOKS = {
    "00_tour": Notebook(lambda w: [w.teacher(), w.student(), w.student(method="sacd")], ("figures/tour_night.png",)),
    "10_cohort": Notebook(lambda w: [], ("tables/table6.csv", "figures/fig2.png", "figures/table1_spectra.png")),
    "20_comparison": Notebook(
        lambda w: [run for runs in w.table2().values() for run in runs],
        (
            "tables/table2.csv",
            *(f"figures/table2_{n}.png" for n in ("kappa", "subjects", "confusion", "losses", "monitor")),
        ),
    ),
    "41_paper_audit": Notebook(lambda w: [], ("tables/audit.csv", "figures/audit.png")),
}
"""Every notebook, the runs that it shows and the files that it has to write."""
