"""How single runs are configured: teacher, student, fusion, stager, baseline."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from sacd.config import (
    BackboneConfig,
    BaselineConfig,
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
from sacd.data.sleepedf import SleepEdf
from sacd.data.splits import split_subjects
from sacd.data.store import ClipStore
from sacd.experiments.profiles import Profile
from sacd.files import sha256
from sacd.losses import METHODS
from sacd.models import PUBLISHED, TEACHERS
from sacd.runs import Run

PAPER_STUDENTS = {"R(2+1)D-18": "r2plus1d_18", "R3D-18": "r3d_18"}
_COSTS = {"attnsleep": 180, "mc2sleepnet": 165, "ce": 20, "sacd": 40}
"""Measured seconds of a run of the demo. The longest runs are started first."""
MOST_REPEATS = 4


def _fit_of(teacher: str, fit: FitConfig) -> FitConfig:
    """MC2SleepNet reads batches as sequences: as many clips a step, 16 consecutive ones a block."""
    blocks = {"order": "block", "batch": 16, "blocks_per_batch": max(1, fit.batch // 16)}
    return fit.model_copy(update=blocks) if teacher == "mc2sleepnet" else fit


class Recipes:
    """Makes runs without computing them; `Workspace` adds the places of data and results."""

    profile: Profile
    root: Path
    store: ClipStore
    store_path: Path
    eeg_store: ClipStore | SleepEdf
    sleepedf: Path | None
    sleepedf_path: Path
    clips: str
    original: "Recipes"

    @cached_property
    def _starts(self) -> dict[tuple[str, int], Run | None]:
        """Cache of `pretext`: hundreds of runs share its results, and each id takes a hash."""
        return {}

    def _run(self, task: str, config: Any, **more: Any) -> Run:
        more["label"] += f" ({self.clips})" if self.clips else ""
        more["resources"] = (("store", str(self.store_path.resolve())),)
        return Run(f"sacd.training.{task}", config, self.store.fingerprint, **more)

    @cached_property
    def weights(self) -> dict[str, tuple[Path, str]]:
        """Student -> path and SHA-256 of its published weights, if they lie in `weights`.

        `data/weights`, where earlier versions looked, is read too.
        """
        found = {}
        for name, file in PUBLISHED.items():
            for folder in (self.root / "weights", self.root / "data" / "weights"):
                if name not in found and (folder / file).is_file():
                    found[name] = ((folder / file).resolve(), sha256(folder / file))
        return found

    def pretext(self, student: str = "r2plus1d_18", seed: int = 0) -> Run | None:
        """Starting point of every run of a student: label-free pretraining, or published weights.

        None where a profile has no pretext and the student's file is not in `weights`, and for
        a student of another library: it starts at random.

        Args:
            seed: of the pretraining; published weights have none.
        """
        if (student, seed) not in self._starts:
            self._starts[student, seed] = self._start(student, seed)
        return self._starts[student, seed]

    def repeats_pretext(self, student: str) -> bool:
        """Whether another seed would pretrain a student anew."""
        return self.pretext(student) != self.pretext(student, seed=1)

    def _backbone(self, student: str) -> BackboneConfig:
        """The profile's backbone; other libraries keep their layers and get its input."""
        own = self.profile.backbone
        if student in PAPER_STUDENTS.values():
            return own.model_copy(update={"name": student})
        options = {}
        if student.startswith("timm:"):
            from timm import get_pretrained_cfg  # takes seconds, for this case alone

            known = get_pretrained_cfg(student.removeprefix("timm:"))
            if known and known.fixed_input_size:
                store, half = self.profile.store, 2 if own.input == "motion" else 1  # it is pooled
                size = (own.crop, own.crop) if own.crop else (store.height, store.width)
                options["img_size"] = (size[0] // half, size[1] // half)
        return BackboneConfig(
            name=student,
            input=own.input,
            crop=own.crop,
            crop_area=own.crop_area,
            flips=own.flips,
            options=options,
        )

    def _start(self, student: str, seed: int) -> Run | None:
        if student not in PAPER_STUDENTS.values():
            return None
        p, backbone = self.profile, self._backbone(student)
        if p.pretext:
            config = PretextConfig(backbone=backbone, fit=p.pretext, split=p.split, seed=seed)
            label = f"pretext {student}" + (f" seed {seed}" if seed else "")
            more = {"label": label, "cost": 300 if student == "r3d_18" else 150}
            inputs = (("motion", self.motion()),) if backbone.input == "motion" else ()
            return self._run("pretext:pretext", config, inputs=inputs, **more)
        if student not in self.weights:
            return None
        path, digest = self.weights[student]
        config = PublishedConfig(backbone=backbone, weights=digest)
        task, where = "sacd.training.pretext:published", (("weights", str(path)),)
        return Run(task, config, resources=where, label=f"published weights {student}")

    def motion(self) -> Run:
        """The student's input of every clip."""
        return self._run("pretext:motion", MotionConfig(), label="motion", cost=5)

    def teacher(
        self, name: str = "attnsleep", seed: int = 0, labelled: int = 0, labels: str = "scored"
    ) -> Run:
        """An EEG teacher, trained and frozen.

        Args:
            labelled: number of training subjects whose stages it is trained on; 0: all.
            labels: `yasa` trains it on the stages that YASA gives, without any label of ours.
        """
        if name not in TEACHERS:
            raise ValueError(f"teacher {name!r} is unknown; known: {', '.join(TEACHERS)}")
        p = self.profile
        options = p.teacher_options.get(name, {})
        fit = _fit_of(name, self._longer(self._own_fit(p.teacher, name), labelled))
        split = p.split.model_copy(update={"labelled": labelled})
        config = TeacherConfig(
            name=name, fit=fit, split=split, seed=seed, labels=labels, options=options, **p.teachers
        )
        label = f"teacher {name}"
        label += f" on {labelled} labelled subjects" if labelled else ""
        label += " on YASA's stages" if labels == "yasa" else ""
        # The profile's own clips: other frames have the same EEG, and so the same teacher.
        own = self.original
        inputs = (("yasa", own.baseline("YASA")),) if labels == "yasa" else ()
        more = {"modules": (TEACHERS[name],), "label": label, "cost": _COSTS.get(name, 35)}
        return own._run("teacher:teacher", config, inputs=inputs, **more)

    def _own_fit(self, fit: FitConfig, name: str) -> FitConfig:
        """`fit` with the profile's changes for one EEG network."""
        return fit.model_copy(update=self.profile.teacher_fits.get(name, {}))

    def _longer(self, fit: FitConfig, labelled: int) -> FitConfig:
        """More epochs where only `labelled` training subjects are seen, for as many steps.

        At most `MOST_REPEATS` times as many epochs: few subjects, repeated more often, are
        memorised.
        """
        if not labelled:
            return fit
        part = split_subjects(self.store.participants, self.profile.split)
        repeats = min(MOST_REPEATS, (part == "train").sum() / labelled)
        return fit.model_copy(update={"epochs": round(fit.epochs * repeats)})

    def student(
        self,
        student: str = "r2plus1d_18",
        method: str = "ce",
        teacher: str = "attnsleep",
        seed: int = 0,
        fit: Mapping[str, Any] | None = None,
        weight: float | None = None,
        labelled: int = 0,
        labels: str = "scored",
        centre: str = "night",
        pretext: int = 0,
        **options: Any,
    ) -> Run:
        """A student trained with a distillation method; its label says what is not the profile's.

        Args:
            student: a name of `sacd.models.registry`, also of another library.
            fit: changes to the profile's `FitConfig`.
            weight: factor on all terms of the method, in place of the profile's.
            labelled: number of training subjects whose stages the student and its teacher read; 0:
                all. A taught student learns from the others' EEG and video too; one alone sees the
                labelled subjects for as many steps, see `_longer`.
            labels: of the teacher, see `teacher`.
            centre: of the student's input, see `BackboneConfig`.
            pretext: seed of the pretraining.
            options: of the method.
        """
        p = self.profile
        backbone = self._backbone(student).model_copy(update={"centre": centre})
        own = p.student if method != "ce" else self._longer(p.student, labelled)
        config = StudentConfig(
            backbone=backbone,
            method=self._method(method, weight, options),
            fit=FitConfig(**own.model_dump() | dict(fit or {})),
            split=p.split.model_copy(update={"labelled": labelled}),
            seed=seed,
            class_weight_power=p.class_weight_power,
        )
        inputs = [("pretext", run)] if (run := self.pretext(student, pretext)) else []
        if backbone.input == "motion" and not backbone.frozen:
            inputs.append(("motion", self.motion()))  # frozen stages: the pretext has cached theirs
        if method != "ce":
            scored = labelled if labels == "scored" else 0
            inputs.append(("teacher", self.teacher(teacher, labelled=scored, labels=labels)))
        asked = {"weight": weight, "labelled": labelled, "labels": labels, "centre": centre}
        asked["pretext"] = pretext
        usual = {"weight": None, "labelled": 0, "labels": "scored", "centre": "night", "pretext": 0}
        changed = {key: value for key, value in asked.items() if value != usual[key]}
        shown = {**(fit or {}), **options, **changed}
        settings = "".join(f" {key}={value}" for key, value in sorted(shown.items()))
        taught = f" {teacher}" if method != "ce" else ""
        cost = _COSTS.get(method, 25) * config.fit.epochs / p.student.epochs
        more = {
            "modules": (METHODS[method],),
            "label": f"{student} {method}{taught}{settings} seed {seed}",
            "cost": cost * 2.5 if student == "r3d_18" else cost,
        }
        return self._run("student:student", config, inputs=tuple(inputs), **more)

    def _method(self, name: str, weight: float | None, options: Mapping[str, Any]) -> MethodConfig:
        """The profile's weight and options of a method, or these."""
        if name not in METHODS:
            raise ValueError(f"method {name!r} is unknown; known: {', '.join(METHODS)}")
        p = self.profile
        return MethodConfig(
            name=name,
            weight=p.method_weights.get(name, 1.0) if weight is None else weight,
            options=p.methods.get(name, {}) | dict(options),
        )

    def fusion(self, head: str, finetune: bool, seed: int = 0) -> Run:
        """A head on both trained encoders (Table IV, A to D).

        Fine-tuning starts from the head that was trained on the frozen encoders.
        """
        p = self.profile
        fit = p.finetune if finetune else p.fusion
        config = FusionConfig(head=head, finetune=finetune, fit=fit, split=p.split, seed=seed)
        label = f"fusion {head} {'fine-tuned' if finetune else 'frozen'} seed {seed}"
        inputs, cost = self._trained(seed), 8
        if finetune:
            inputs, cost = (*inputs, ("head", self.fusion(head, False, seed))), 65
        return self._run("fusion:fusion", config, inputs=inputs, label=label, cost=cost)

    def reverse(self, method: str, finetune: bool, seed: int = 0, **options: Any) -> Run:
        """The EEG teacher taught by the video student (Table IV, E to G)."""
        p = self.profile
        taught = self._method(method, None, options)
        config = ReverseConfig(
            method=taught, finetune=finetune, fit=p.finetune, split=p.split, seed=seed
        )
        label = f"reverse {method} {'fine-tuned' if finetune else 'frozen'} seed {seed}"
        more = {"modules": (METHODS[method],), "label": label, "cost": 75 if finetune else 60}
        return self._run("fusion:reverse", config, inputs=self._trained(seed), **more)

    def _trained(self, seed: int) -> tuple[tuple[str, Run], ...]:
        """Table IV's baselines (V-D: R3D-18 alone and AttnSleep) and what the former reads."""
        student = self.student("r3d_18", seed=seed)
        return (("student", student), ("teacher", self.teacher()), *student.inputs)

    def baseline(self, name: str) -> Run:
        """A reference classifier: majority, random, band powers ..."""
        config = BaselineConfig(name=name, split=self.profile.split)
        return self._run("baselines:baseline", config, label=f"baseline {name}", cost=5)

    def stagers(self, name: str) -> list[Run]:
        """A cross-validated EEG stager, one run per fold; none with fewer than 4 subjects."""
        p, store = self.profile.stagers, self.eeg_store
        subjects = min(len(store.participants), p.subjects or len(store.participants))
        folds = min(p.folds, subjects)
        source, place, path = "cohort", "store", self.store_path
        if self.sleepedf:
            source, place, path = "sleepedf", "sleepedf", self.sleepedf_path
        common = {
            "name": name,
            "source": source,
            "fit": _fit_of(name, self._own_fit(p.fit, name)),
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
