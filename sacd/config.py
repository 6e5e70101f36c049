"""Frozen settings. A run's identity is made of these; resources (workers, device, cluster) never are.

`PROFILES` at the foot is the only place with the numbers of `smoke`, `demo` and `paper`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Config(BaseModel):
    """Base of every setting: immutable, and a name that does not exist is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitConfig(Config):
    """Subject-wise split, stratified by AHI group (paper V-A: 80/20, and 20 % of the training subjects validate)."""

    seed: int = 0
    test: Share = 0.2
    validation: Share = 0.2


class FitConfig(Config):
    """How `sacd.training.fit.fit` optimises. Defaults are the paper's (V-B); epochs and milestones after A24."""

    epochs: Count = 80
    batch: Count = 16
    order: Literal["block", "shuffled"] = "block"
    blocks_per_batch: Count = 1
    """Blocks of `batch` consecutive clips that make one step; 1 is the paper's (A20)."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["multistep", "onecycle"] = "multistep"
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    """Largest gradient norm; 0 does not clip."""
    select: Literal["best", "last"] = "best"
    """Weights kept: those with the best validation kappa, or the last."""


class BackboneConfig(Config):
    """A video student of `sacd.models.registry`."""

    name: str = "r2plus1d_18"
    width: Positive = 1.0
    input: Literal["frames", "motion"] = "frames"
    """Grey frames (one channel), or `sacd.data.motion.motion` (two)."""
    frozen: Annotated[int, Field(ge=0, le=4)] = 0
    """Stages kept as pretrained and cached: 0 none, 1 the stem, 2 stem and layer 1, 3 ... and layer 2."""
    freeze_norm: bool = False
    """Keep batch-norm statistics as pretrained: they and block batches fight."""
    options: dict[str, int | bool | str | tuple[int, ...]] = {}
    """Of the student's builder: `stem_kernel`, `max_pool`, `strides_t`, ... of ours, `img_size` of some of timm's."""


class MotionConfig(Config):
    """The student's input `sacd.data.motion.motion` of every clip, computed once. Nothing to set."""


class PretextConfig(Config):
    """Label-free pretraining on the pixels of the training subjects; stands in for Kinetics-700 + Moments in Time."""

    backbone: BackboneConfig
    fit: FitConfig
    split: SplitConfig
    seed: int = 0


class PublishedConfig(Config):
    """A student filled with published weights (Kinetics-700, or that and Moments in Time)."""

    backbone: BackboneConfig
    weights: str
    """SHA-256 of the checkpoint, whose path is `resources["weights"]`."""


class TeacherConfig(Config):
    """An EEG teacher of `sacd.models.eeg`, trained in stage one, then frozen (A1)."""

    name: Literal["attnsleep", "deepsleepnet", "modified_sen", "mc2sleepnet"] = "attnsleep"
    fit: FitConfig
    stage_fits: dict[str, dict[str, float | int | str]] = {}
    """By training of a teacher that has more than one (MC2SleepNet): what differs from `fit` in it."""
    split: SplitConfig
    seed: int = 0
    class_weights: bool = True
    """Cross-entropy weighted by AttnSleep's rule, from training labels only."""
    whiten: bool = False
    """Divide each night's EEG by its own median spectrum (`sacd.data.whiten`)."""
    options: dict[str, float | int | str | bool] = {}
    """Of the teacher's class in `sacd.models`."""


class StagerConfig(Config):
    """An EEG stager trained on all subject-wise folds but one, and tested on that."""

    name: Literal["attnsleep", "deepsleepnet", "modified_sen", "mc2sleepnet"]
    source: Literal["cohort", "sleepedf"] = "cohort"
    fit: FitConfig
    stage_fits: dict[str, dict[str, float | int | str]] = {}
    folds: Annotated[int, Field(ge=2)]
    fold: Annotated[int, Field(ge=0)]
    subjects: Annotated[int, Field(ge=0)] = 0
    """At most as many, of all AHI groups; 0: all."""
    clips: Annotated[int, Field(ge=0)] = 0
    """At most as many of a subject, in runs of 16 consecutive ones spread over the nights; 0: all."""
    seed: int = 0
    class_weights: bool = True
    whiten: bool = False
    options: dict[str, float | int | str | bool] = {}
    """`stage_fits`, `class_weights`, `whiten` and `options` as in `TeacherConfig`."""


class MethodConfig(Config):
    """A distillation method of `sacd.losses` and the options that differ from its defaults."""

    name: str = "ce"
    options: dict[str, float | int | str | bool] = {}


class StudentConfig(Config):
    """One training of a video student and its evaluation."""

    backbone: BackboneConfig
    method: MethodConfig = MethodConfig()
    fit: FitConfig
    split: SplitConfig
    seed: int = 0
    class_weight_power: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Cross-entropy weights: inverse stage frequency to this power (0: none, the paper's eq. 1)."""


class FusionConfig(Config):
    """Late fusion of a trained EEG teacher and a trained video student (Table IV, experiments A to D)."""

    head: Literal["A", "B"]
    """One or three fully connected layers."""
    finetune: bool
    """Train the encoders too (C is A fine-tuned, D is B)."""
    fit: FitConfig
    encoder_lr_multiplier: Positive = 0.1
    """Learning rate of the fine-tuned encoders, as a factor on the head's: they start trained, the head does not."""
    split: SplitConfig
    seed: int = 0


class ReverseConfig(Config):
    """Distillation from video to EEG (Table IV, experiments E to G); `ce` is the EEG network trained on alone."""

    method: MethodConfig
    finetune: bool
    """Train the video network too."""
    fit: FitConfig
    encoder_lr_multiplier: Positive = 0.1
    """Learning rate of the encoders, as in `FusionConfig`; what the method adds starts at random
    and has the full one or its own."""
    split: SplitConfig
    seed: int = 0


class BaselineConfig(Config):
    """A classifier that frames the results: what no model can miss, and what the simulator's truth gives."""

    name: Literal[
        "majority",
        "stratified random",
        "band-power forest",
        "band-power forest by night",
        "true signals",
        "true signals by night",
    ]
    split: SplitConfig
    seed: int = 0


class Ucf51TeacherConfig(Config):
    """The audio teacher CNN14: published weights and a linear head, or trained on UCF51's own sound; then frozen."""

    width: Positive = 1.0
    weights: str = ""
    """SHA-256 of the published checkpoint, whose path is `resources["cnn14"]`; empty: trained here."""
    fit: FitConfig
    seed: int = 0


class Ucf51StudentConfig(Config):
    """A video student from scratch, on colour frames."""

    backbone: BackboneConfig
    method: MethodConfig = MethodConfig()
    fit: FitConfig
    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of the picture's area that a random crop keeps at least (CCL: 0.25)."""
    seed: int = 0
