"""Frozen settings of every kind of run; together with code and data they identify a run.

Resources (workers, device, cluster) are not settings and never change a run's id. The values of the
profiles `smoke`, `demo` and `paper` are in `sacd.experiments.profiles`.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Config(BaseModel):
    """Base of all settings: immutable; unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    added: ClassVar[tuple[str, ...]] = ()
    """Fields that are written only where they differ from their default.

    They were added later: runs that do not use them keep their settings and stay comparable.
    """

    @model_serializer(mode="wrap")
    def _written(self, write: Any) -> dict[str, Any]:
        found = write(self)
        for name in self.added:
            if getattr(self, name) == type(self).model_fields[name].default:
                del found[name]
        return found


class SplitConfig(Config):
    """Subject-wise split, stratified by AHI group.

    Paper V-A: 20 % of the subjects are the test set, and 20 % of the others the validation set.
    """

    seed: int = 0
    test: Share = 0.2
    validation: Share = 0.2
    labelled: Annotated[int, Field(ge=0)] = 0
    """Training subjects whose stages may be read; 0: all. The others give EEG and video only."""


class FitConfig(Config):
    """Optimizer settings of `sacd.training.fit.fit`.

    Defaults are the paper's (V-B); for the number of epochs and the milestones see reading A24.
    """

    epochs: Count = 80
    batch: Count = 16
    order: Literal["block", "shuffled"] = "block"
    blocks_per_batch: Count = 1
    """Blocks of `batch` consecutive clips per mini-batch; the paper uses 1 (reading A20)."""
    batches_per_epoch: Annotated[int, Field(ge=0)] = 0
    """Mini-batches after which an epoch ends, other ones in each epoch; 0: all."""
    optimizer: Literal["sgd", "adamw", "amsgrad"] = "sgd"
    """SGD with momentum 0.9, AdamW, or Adam with amsgrad, whose weight decay is an L2 penalty."""
    lr: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["multistep", "onecycle", "drop"] = "multistep"
    """Divided by 10 at 50 % and 75 % of the steps; one cycle; or divided by 10 after 10 epochs."""
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    """Maximum gradient norm; 0 disables clipping."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the networks' forward and backward pass (autocast); weights stay float32.

    On an H100 bfloat16 is faster. Its gradients are rougher, so compare kappa before using it.
    """
    select: Literal["best", "last"] = "best"
    """Keep the weights with the best validation kappa, or those of the last epoch.

    With "last", the validation subjects are not looked at during the training.
    """


class BackboneConfig(Config):
    """A video student from `sacd.models.registry`."""

    name: str = "r2plus1d_18"
    width: Positive = 1.0
    input: Literal["frames", "motion", "rgb"] = "frames"
    """Grey frames (one channel), `sacd.data.motion.motion` (two), or grey frames as red, green and
    blue, each with the mean and spread that the published weights expect (three)."""
    crop: Annotated[int, Field(ge=0)] = 0
    """Side in pixels of a square crop, the largest one in the centre for evaluation; 0: none."""
    crop_area: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Smallest area of a random crop in training, as a share of the largest square."""
    flips: Literal["four", "horizontal"] = "four"
    """One of four flips for a whole batch, or a horizontal one of half of the clips."""
    frozen: Annotated[int, Field(ge=0, le=4)] = 0
    """Number of pretrained stages that stay frozen and cached: 1 the stem, 2 also layer 1, ..."""
    centre: Literal["night", "start", "none"] = "night"
    """What is subtracted from the features of the frozen stages: their mean over the subject's
    night, over its first 10 minutes (which is known while the night lasts), or nothing."""
    options: dict[str, int | bool | str | tuple[int, ...]] = {}
    """Arguments of the builder: `stem_kernel`, `blocks`, ... for ours, `img_size` for timm's."""
    added: ClassVar[tuple[str, ...]] = ("crop", "crop_area", "flips")

    @model_validator(mode="after")
    def _cached_views_exist(self) -> Self:
        """Features of frozen stages are cached for the four flips of whole frames alone."""
        if self.frozen and (self.crop or self.flips != "four"):
            raise ValueError("frozen stages need crop 0 and flips 'four'")
        return self


class MotionConfig(Config):
    """Caches the student's input `sacd.data.motion.motion` for every clip; has no settings."""


class PretextConfig(Config):
    """Label-free pretraining on the video of the training subjects.

    It replaces the paper's pretraining on Kinetics-700 and Moments in Time.
    """

    backbone: BackboneConfig
    fit: FitConfig
    split: SplitConfig
    seed: int = 0


class PublishedConfig(Config):
    """A student with published weights (Kinetics-700, with or without Moments in Time)."""

    backbone: BackboneConfig
    weights: str
    """SHA-256 of the checkpoint at `resources["weights"]`."""


class EegTrainingConfig(Config):
    """Settings shared by everything that trains an EEG network of `sacd.models`."""

    fit: FitConfig
    seed: int = 0
    class_weights: bool = True
    """Weight the cross-entropy by AttnSleep's rule, computed from training labels only."""
    whiten: bool = False
    """Divide each night's EEG by its median spectrum (`sacd.data.whiten`)."""
    options: dict[str, float | int | str | bool] = {}
    """Arguments of the network's class in `sacd.models`."""


class TeacherConfig(EegTrainingConfig):
    """An EEG teacher, trained in stage one and frozen afterwards (reading A1)."""

    name: Literal["attnsleep", "deepsleepnet", "modified_sen", "mc2sleepnet"] = "attnsleep"
    split: SplitConfig
    labels: Literal["scored", "yasa"] = "scored"
    """Trained on the scored stages, or on those that YASA's published stager gives the EEG."""


class StagerConfig(EegTrainingConfig):
    """An EEG stager trained on all subject-wise folds but one, and tested on that one."""

    name: Literal["attnsleep", "deepsleepnet", "modified_sen", "mc2sleepnet"]
    source: Literal["cohort", "sleepedf"] = "cohort"
    folds: Annotated[int, Field(ge=2)]
    fold: Annotated[int, Field(ge=0)]
    subjects: Annotated[int, Field(ge=0)] = 0
    """Maximum number of subjects, drawn from all AHI groups; 0: all."""
    clips: Annotated[int, Field(ge=0)] = 0
    """Maximum clips per subject, in runs of 16 consecutive clips spread over the night; 0: all."""


class MethodConfig(Config):
    """A distillation method of `sacd.losses`, with the options that differ from its defaults."""

    name: str = "ce"
    weight: Positive = 1.0
    """Factor on all terms of the method; the cross-entropy keeps weight 1."""
    options: dict[str, float | int | str | bool] = {}


class StudentConfig(Config):
    """Training and evaluation of one video student."""

    backbone: BackboneConfig
    method: MethodConfig = MethodConfig()
    fit: FitConfig
    split: SplitConfig
    seed: int = 0
    class_weight_power: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Class weights are inverse stage frequencies to this power; 0: none, as in eq. 1."""


class FusionConfig(Config):
    """Late fusion of a trained EEG teacher and video student (Table IV, experiments A to D)."""

    head: Literal["A", "B"]
    """One (A) or three (B) fully connected layers."""
    finetune: bool
    """Train the encoders too (C fine-tunes A, D fine-tunes B)."""
    fit: FitConfig
    encoder_lr_multiplier: Positive = 0.1
    """Factor on the learning rate for the encoders, which start from trained weights."""
    split: SplitConfig
    seed: int = 0


class ReverseConfig(Config):
    """Distillation from video to EEG (Table IV, experiments E to G).

    Method `ce` continues the training of the EEG network without a teacher.
    """

    method: MethodConfig
    finetune: bool
    """Train the video network as well."""
    fit: FitConfig
    encoder_lr_multiplier: Positive = 0.1
    """Factor for both encoders, as in `FusionConfig`. Modules of the method start from random
    weights and have their own factors."""
    split: SplitConfig
    seed: int = 0


class BaselineConfig(Config):
    """A baseline without a network, or a bound from the simulator's true signals."""

    name: Literal[
        "majority",
        "stratified random",
        "band-power forest",
        "band-power forest by night",
        "YASA",
        "true signals",
        "true signals by night",
    ]
    split: SplitConfig
    seed: int = 0


class Ucf51TeacherConfig(Config):
    """The audio teacher CNN14, frozen after training.

    It has published weights and a linear head, or is trained on the sound of UCF51.
    """

    width: Positive = 1.0
    weights: str = ""
    """SHA-256 of the published checkpoint at `resources["cnn14"]`; empty: train from scratch."""
    fit: FitConfig
    seed: int = 0


class Ucf51StudentConfig(Config):
    """A video student trained from scratch on colour frames."""

    backbone: BackboneConfig
    method: MethodConfig = MethodConfig()
    fit: FitConfig
    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Smallest area of a random crop, as a share of the frame (CCL: 0.25)."""
    seed: int = 0


class NightFactsConfig(Config):
    """What is read of every clip before its night is staged: `sacd.training.night_facts`."""

    split: SplitConfig | None
    """None: a cohort of its own, all of whose subjects are for the test."""
    parts: tuple[Literal["train", "validation", "test"], ...]
    """Parts of the split whose clips are read."""


class NightEmbedConfig(Config):
    """Embeddings of whole nights by a trained student: `sacd.training.night:embed`."""

    backbone: BackboneConfig


class NightConfig(Config):
    """Heads that stage a clip with the clips around it: `sacd.training.night`."""

    reads: Literal["student", "pixels", "truth"]
    """A student's embeddings, alone and with pixels; pixels alone; or the simulator's truth."""
    epochs: Count = 20
    batch: Count = 32
    """Blocks of consecutive clips per step."""
    lr: Positive = 5e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    width: Count = 32
    components: Count = 32
    """Principal components of the embedding that are read."""
    drop: Share = 0.5
    split: SplitConfig
    seed: int = 0
