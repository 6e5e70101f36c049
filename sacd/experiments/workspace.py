"""A profile on a cohort: where its files lie, and the runs that tables and figures are made of."""

import ast
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file

from sacd.config import (
    BackboneConfig,
    BoundConfig,
    FitConfig,
    FusionConfig,
    MethodConfig,
    MotionConfig,
    PretextConfig,
    PublishedConfig,
    ReverseConfig,
    StagerConfig,
    StudentConfig,
    TeacherConfig,
)
from sacd.data.cohort import read_cohort
from sacd.data.sleepedf import SleepEdf, ingest_sleepedf
from sacd.data.store import ClipStore, ingest
from sacd.experiments.profiles import PROFILES, Profile
from sacd.experiments.ucf51 import Ucf51Workspace
from sacd.files import sha256
from sacd.losses import METHODS
from sacd.models import PUBLISHED, TEACHERS
from sacd.runs import Report, Run, RunStore, code_fingerprint, execute, reader_fingerprint
from sacd.runs.provenance import source_file
from sacd.simulate.cohort import simulate

CHECKOUT = Path(__file__).resolve().parents[2]
STUDENTS = {"R(2+1)D-18": "r2plus1d_18", "R3D-18": "r3d_18"}
_COSTS = {"attnsleep": 180, "mc2sleepnet": 165, "ce": 20, "sacd": 40}
"""Seconds that a run of the demo takes, as measured: the longest are begun first."""


def _in_sequence(fit: FitConfig) -> FitConfig:
    """The same steps in batches of 16 consecutive clips, which MC2SleepNet reads as sequences."""
    return fit.model_copy(update={"order": "block", "batch": 16, "joined": max(1, fit.batch // 16)})


def _defaults(where: str) -> dict[str, Any]:
    """Plain defaults of the options of a class `module:Class`, from its source: to import it takes seconds of torch."""
    module, _, name = where.partition(":")
    path = source_file(module)
    return _parsed_defaults(path, name, path.stat().st_mtime_ns)


@cache
def _parsed_defaults(path: Path, name: str, edited: int) -> dict[str, Any]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    body = [node for c in tree.body if isinstance(c, ast.ClassDef) and c.name == name for node in c.body]
    found = {}
    for args in (node.args for node in body if isinstance(node, ast.FunctionDef) and node.name == "__init__"):
        for arg, default in zip(args.args[::-1], args.defaults[::-1], strict=False):
            with suppress(ValueError):  # an expression
                found[arg.arg] = ast.literal_eval(default)
    return found


class Workspace:
    """One profile on one cohort: where its files are, and the runs that its items are made of.

    Args:
        profile: "smoke", "demo" or "paper", or a profile of your own.
        data: folder of a cohort that exists; without it the profile's simulated cohort is used.
        nights: folder of the UCDDB tables; real stages and respiratory events then drive the simulated cohort.
        root: folder that holds `data/`, `runs/` and `results/`; default: the checkout that this package lies in.
        seeds: seeds a row, instead of the profile's.
        ucf101: folder of UCF101's videos, for Table III; without it they are simulated too.
        sleepedf: folder of Sleep-EDF's cassette recordings, for the EEG stagers; without it they use the cohort's EEG.
    """

    def __init__(
        self,
        profile: str | Profile = "demo",
        data: str | Path | None = None,
        nights: str | Path | None = None,
        root: str | Path | None = None,
        seeds: int | None = None,
        ucf101: str | Path | None = None,
        sleepedf: str | Path | None = None,
    ) -> None:
        if isinstance(profile, str) and profile not in PROFILES:
            raise ValueError(f"profile {profile!r} is unknown; known: {', '.join(PROFILES)}")
        self.profile = PROFILES[profile] if isinstance(profile, str) else profile
        self.asked_seeds = seeds or 0
        """Seeds asked for in place of the profile's; 0: none. What a notebook is told."""
        self.seeds = seeds or self.profile.seeds
        """Seeds of the rows that are compared most: the students alone, CCL and SACD."""
        self.other_seeds = seeds or self.profile.other_seeds
        """Seeds of every other row."""
        self.root = Path(root) if root else CHECKOUT
        self.nights = Path(nights) if nights else None
        self.sleepedf = Path(sleepedf) if sleepedf else None
        self.sleepedf_path = self.root / "data" / "sleepedf"
        slug = self.profile.name + (f"-{Path(data).resolve().name}" if data else "-nights" if nights else "")
        self.cohort = Path(data) if data else self.root / "data" / slug / "cohort"
        self.simulated = not data
        self.store_path = self.root / "data" / slug / "store"
        self.results = self.root.resolve() / "results" / slug
        self.runs = RunStore(self.root / "runs")
        videos = self.root / "data" / self.profile.name
        self.ucf51 = Ucf51Workspace(self.profile, videos, Path(ucf101) if ucf101 else None)
        """Videos and runs of Table III."""
        self.clips = ""
        """How the clips were taken from the video, where that is not the profile's way; part of every label."""
        self.original = self
        """The workspace that this one differs from in its clips alone: its teachers serve both."""

    def with_clips(self, frames: int, sampling: str) -> "Workspace":
        """The same cohort with other frames of every clip: a store, and so runs, of its own; `prepare()` makes it.

        The EEG of every clip is the same, and so are the teachers.
        """
        if (frames, sampling) in self._others:
            return self._others[frames, sampling]
        other = self._others[frames, sampling] = copy(self)
        for cached in ("store", "_others", "_starts"):
            other.__dict__.pop(cached, None)
        store = self.profile.store.model_copy(update={"frames": frames, "sampling": sampling})
        if store != self.profile.store:
            other.profile = self.profile.model_copy(update={"store": store})
            other.clips = f"{frames} {sampling} frames"
            other.store_path = self.store_path.with_name(f"store-{frames}-{sampling}")
        return other

    @cached_property
    def _others(self) -> dict[tuple[int, str], "Workspace"]:
        """Made by `with_clips`; a store is read once."""
        return {}

    @cached_property
    def _starts(self) -> dict[str, Run | None]:
        """Made by `pretext`: hundreds of runs share them."""
        return {}

    def prepare(self, workers: int | None = None) -> None:
        """Simulate the cohort if it is the profile's own, and ingest it; both only where something is missing."""
        workers = workers or os.cpu_count() or 1
        if self.simulated:
            self.simulate(workers)
        code = reader_fingerprint(ClipStore.__module__)
        ingest(self.cohort, self.store_path, self.profile.store, workers=workers, code=code)
        if self.sleepedf:
            code = reader_fingerprint(SleepEdf.__module__)
            ingest_sleepedf(self.sleepedf, self.sleepedf_path, code)

    def simulate(self, workers: int = 1) -> Path:
        """Write the profile's simulated cohort, where it is not there yet; returns its folder."""
        # Settings stand in the cohort's description with their values.
        code = code_fingerprint([simulate.__module__], without=("sacd.config",))
        settings = self.profile.simulate
        return simulate(self.cohort, settings, nights=self.nights, workers=workers, code=code)

    @property
    def prepared(self) -> bool:
        """Whether `prepare()` made the store."""
        return (self.store_path / "manifest.json").is_file()

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
        places = {"store": self.store_path, "cohort": self.cohort, "sleepedf": self.sleepedf_path}
        resources = {name: str(path.resolve()) for name, path in places.items()} | self.ucf51.resources
        return execute(flat, self.runs, resources=resources, **options)

    # --- single runs ---

    def _run(self, task: str, config: Any, **more: Any) -> Run:
        more["label"] += f" ({self.clips})" if self.clips else ""
        where = (("store", str(self.store_path.resolve())),)
        return Run(task=f"sacd.training.{task}", config=config, data=self.store.fingerprint, resources=where, **more)

    @cached_property
    def weights(self) -> dict[str, tuple[Path, str]]:
        """By student: path and SHA-256 of its published weights, as far as they lie in `data/weights`."""
        found = {name: self.root / "data" / "weights" / file for name, file in PUBLISHED.items()}
        return {name: (path.resolve(), sha256(path)) for name, path in found.items() if path.is_file()}

    def pretext(self, student: str = "r2plus1d_18") -> Run | None:
        """What every run of a student starts from: the profile's label-free pretraining, or published weights.

        None where a profile has no pretext and the student's file is not in `data/weights`, and for a student of
        another library: it starts at random.
        """
        if student not in self._starts:
            self._starts[student] = self._start(student)
        return self._starts[student]

    def _backbone(self, student: str) -> BackboneConfig:
        """The profile's backbone; a network of another library has its own layers, and takes the same input."""
        own = self.profile.backbone
        if student in STUDENTS.values():
            return own.model_copy(update={"name": student})
        options = {}
        if student.startswith("timm:"):
            from timm import get_pretrained_cfg  # takes seconds, for this case alone

            known = get_pretrained_cfg(student.removeprefix("timm:"))
            if known and known.fixed_input_size:
                store, half = self.profile.store, 2 if own.input == "motion" else 1
                options["img_size"] = (store.height // half, store.width // half)
        return BackboneConfig(name=student, input=own.input, options=options)

    def _start(self, student: str) -> Run | None:
        if student not in STUDENTS.values():
            return None
        p, backbone = self.profile, self._backbone(student)
        if not p.pretext:
            if student not in self.weights:
                return None
            path, digest = self.weights[student]
            return Run(
                "sacd.training.pretext:published",
                PublishedConfig(backbone=backbone, weights=digest),
                resources=(("weights", str(path)),),
                label=f"published weights {student}",
            )
        config = PretextConfig(backbone=backbone, fit=p.pretext, split=p.split)
        inputs = (("motion", self.motion()),) if backbone.input == "motion" else ()
        return self._run("pretext:pretext", config, inputs=inputs, label=f"pretext {student}", cost=300)

    def motion(self) -> Run:
        """The student's input of every clip."""
        return self._run("pretext:motion", MotionConfig(), label="motion", cost=5)

    def teacher(self, name: str = "attnsleep", seed: int = 0) -> Run:
        """An EEG teacher, trained and frozen."""
        p = self.profile
        options = p.teacher_options.get(name, {})
        fit = _in_sequence(p.teacher) if name == "mc2sleepnet" else p.teacher
        config = TeacherConfig(name=name, fit=fit, split=p.split, seed=seed, options=options, **p.teachers)
        modules = (TEACHERS[name],)
        cost = _COSTS.get(name, 35)
        return self.original._run("teacher:teacher", config, modules=modules, label=f"teacher {name}", cost=cost)

    def student(
        self,
        student: str = "r2plus1d_18",
        method: str = "ce",
        teacher: str = "attnsleep",
        seed: int = 0,
        fit: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Run:
        """A student trained by a method; `fit` changes the profile's `FitConfig`, `options` go to the method.

        Args:
            student: a name of `sacd.models.registry`, also of another library.
        """
        p = self.profile
        backbone = self._backbone(student)
        config = StudentConfig(
            backbone=backbone,
            method=self._method(method, options),
            fit=FitConfig(**p.student.model_dump() | dict(fit or {})),
            split=p.split,
            seed=seed,
            class_weight_power=p.class_weight_power,
        )
        inputs = [("pretext", run)] if (run := self.pretext(student)) else []
        if backbone.input == "motion" and not backbone.frozen:
            inputs.append(("motion", self.motion()))
        if method != "ce":
            inputs.append(("teacher", self.teacher(teacher)))
        changed = "".join(f" {key}={value}" for key, value in sorted({**(fit or {}), **options}.items()))
        return self._run(
            "student:student",
            config,
            inputs=tuple(inputs),
            modules=(METHODS[method],),
            label=f"{student} {method}{f' {teacher}' if method != 'ce' else ''}{changed} seed {seed}",
            cost=_COSTS.get(method, 25) * (2.5 if student == "r3d_18" else 1) * config.fit.epochs / p.student.epochs,
        )

    def _method(self, name: str, options: Mapping[str, Any]) -> MethodConfig:
        """The profile's options and these, without those that are the method's defaults: equal runs have equal ids."""
        known = _defaults(METHODS[name])
        given = self.profile.methods.get(name, {}) | options
        return MethodConfig(name=name, options={k: v for k, v in given.items() if k not in known or v != known[k]})

    def fusion(self, head: str, release: bool, seed: int = 0) -> Run:
        """A head on both trained encoders (Table IV, A to D); released, it goes on from the frozen ones' head."""
        p = self.profile
        fit = p.released if release else p.fusion
        config = FusionConfig(head=head, release=release, fit=fit, split=p.split, seed=seed)
        label = f"fusion {head} {'released' if release else 'frozen'} seed {seed}"
        inputs = (*self._trained(seed), *([("head", self.fusion(head, False, seed))] if release else []))
        return self._run("fusion:fusion", config, inputs=inputs, label=label, cost=65 if release else 8)

    def reverse(self, method: str, release: bool, seed: int = 0, **options: Any) -> Run:
        """The EEG teacher taught by the video student (Table IV, E to G)."""
        p = self.profile
        config = ReverseConfig(
            method=self._method(method, options),
            release=release,
            fit=p.released,
            split=p.split,
            seed=seed,
        )
        label = f"reverse {method} {'released' if release else 'frozen'} seed {seed}"
        modules = (METHODS[method],)
        return self._run(
            "fusion:reverse",
            config,
            inputs=self._trained(seed),
            modules=modules,
            label=label,
            cost=75 if release else 60,
        )

    def _trained(self, seed: int) -> tuple[tuple[str, Run], ...]:
        """Table IV's baselines (V-D: R3D-18 alone and AttnSleep) and what the former reads."""
        student = self.student("r3d_18", seed=seed)
        return (("student", student), ("teacher", self.teacher()), *student.inputs)

    def bound(self, name: str) -> Run:
        """A classifier that frames the results."""
        return self._run("bound:bound", BoundConfig(name=name, split=self.profile.split), label=f"bound {name}", cost=5)

    @cached_property
    def eeg_store(self) -> ClipStore | SleepEdf:
        """What the EEG stagers are trained on: Sleep-EDF where its folder is given, else the cohort."""
        return SleepEdf(self.sleepedf_path) if self.sleepedf else self.store

    def stagers(self, name: str) -> list[Run]:
        """An EEG stager, cross-validated: one run a fold; none where the data hold fewer than 4 subjects."""
        p, store = self.profile.stagers, self.eeg_store
        subjects = min(len(store.participants), p.subjects or len(store.participants))
        folds = min(p.folds, subjects)
        place, path = ("sleepedf", self.sleepedf_path) if self.sleepedf else ("store", self.store_path)
        common = {
            "name": name,
            "source": "sleepedf" if self.sleepedf else "cohort",
            "fit": _in_sequence(p.fit) if name == "mc2sleepnet" else p.fit,
            "folds": folds,
            "subjects": p.subjects,
            "clips": p.clips,
            "options": p.options.get(name, {}),
            **self.profile.teachers,
        }
        return [
            Run(
                task="sacd.training.stager:stager",
                config=StagerConfig(fold=fold, **common),
                data=store.fingerprint,
                modules=(TEACHERS[name],),
                resources=((place, str(path.resolve())),),
                label=f"stager {name} fold {fold + 1} of {folds}",
                cost=_COSTS.get(name, 35) / 4,
            )
            for fold in range(folds if subjects >= 4 else 0)
        ]

    # --- results ---

    def read(self, run: Run, name: str) -> pd.DataFrame:
        """A table that a finished run wrote: `predictions.parquet`, `metrics.csv` or `held_out.csv`."""
        path = self.runs.folder(run) / name
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)

    def predictions(self, run: Run, part: str = "test") -> pd.DataFrame:
        """Predicted clips of one part of the split, one row a clip."""
        table = self.read(run, "predictions.parquet")
        return table[table["part"] == part].reset_index(drop=True)

    def embeddings(self, run: Run) -> NDArray[np.float32]:
        """Embeddings `(n, 512)` of all clips of the store, in its order."""
        return load_file(self.runs.folder(run) / "embeddings.safetensors")["embedding"].astype(np.float32)

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
                facts |= facts["git"]
                lines.append(
                    {"row": row, "run": run.id, "seed": getattr(run.config, "seed", None)}
                    | {k: facts.get(k) for k in ("commit", "dirty", "started", "duration_s", "peak_memory_mb")}
                )
        return pd.DataFrame(lines)
