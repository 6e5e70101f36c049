"""Settings of the profiles `smoke`, `demo` and `paper`. All profiles run the same algorithms."""

from typing import Any

from pydantic import Field

from sacd.config import BackboneConfig, Config, Count, FitConfig, SplitConfig
from sacd.data.store import StoreConfig
from sacd.data.ucf51 import Ucf51StoreConfig
from sacd.simulate.settings import SimulateConfig
from sacd.simulate.ucf51 import SimulatedUcf51


class Ucf51Profile(Config):
    """Settings of Table III.

    Deviation: the paper says R(2+1)D-18; the code that it builds on (CCL's) trains one block a
    stage, 10 layers, from scratch, and so do we.
    """

    simulate: SimulatedUcf51
    store: Ucf51StoreConfig
    backbone: BackboneConfig = BackboneConfig(options={"blocks": (1, 1, 1, 1)})
    smallest_crop: float = 0.25
    teacher_width: float = 1.0
    teacher: FitConfig
    student: FitConfig
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of a method. Name those that a reading varies even where they equal the default."""


class Stagers(Config):
    """EEG stagers of `42_mc2sleepnet`: training, folds, share of the data; see `StagerConfig`."""

    fit: FitConfig
    folds: Count
    subjects: int = 0
    clips: int = 0
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Of a stager's class."""


class Profile(Config):
    """All settings of one size of the project."""

    name: str
    simulate: SimulateConfig
    store: StoreConfig
    split: SplitConfig = SplitConfig()
    backbone: BackboneConfig
    pretext: FitConfig | None
    """None: students start from published weights in `weights`, or at random without them."""
    teacher: FitConfig
    teachers: dict[str, bool] = Field(default_factory=dict)
    """Of `TeacherConfig`, for every teacher."""
    teacher_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of a teacher that differ from its defaults."""
    teacher_fits: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Changes to `teacher` and to `stagers.fit` for one EEG network."""
    stagers: Stagers
    student: FitConfig
    fusion: FitConfig
    """Heads on frozen embeddings (Table IV, A and B)."""
    finetune: FitConfig
    """Fine-tuning of trained encoders (Table IV, C to G)."""
    grid: dict[str, Any] = Field(default_factory=dict)
    """Changes to `student` for the grids of Fig. 5, whose many runs may have to be shorter."""
    class_weight_power: float = 0.0
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of a method. Name those that a reading varies even where they equal the default."""
    method_weights: dict[str, float] = Field(default_factory=dict)
    """Method -> factor on all of its terms, chosen in `24_tuning`; 1 where none is given."""
    seeds: Count = 3
    """Of the rows that are compared most: the student alone, KD, CCL, SACD and Table V."""
    other_seeds: Count = 1
    """Of every other row but those of Fig. 5, which have one."""
    nights: SimulateConfig
    """Whole nights of further sleepers, on which `45_night` is tested."""
    night: dict[str, Any] = Field(default_factory=dict)
    """Of `NightConfig`, where it differs from the defaults."""
    ucf51: Ucf51Profile


_NARROW = BackboneConfig(
    width=0.125,
    input="motion",
    frozen=3,
    options={"stem_kernel": 3, "init": "looks_linear"},
)

_SHUFFLED = FitConfig(
    epochs=10,
    batch=32,
    order="shuffled",
    optimizer="adamw",
    lr=3e-3,
    weight_decay=1e-2,
    schedule="onecycle",
    clip_norm=1,
    select="last",
)
_NARROW_UCF51 = Ucf51Profile(
    simulate=SimulatedUcf51(classes=12, clips=2, seconds=1.3),
    store=Ucf51StoreConfig(height=24, width=32, frames=8, stride=4, windows=1, sound_s=1.3),
    backbone=BackboneConfig(width=0.125, options={"stem_kernel": 3, "blocks": (1, 1, 1, 1)}),
    smallest_crop=0.6,
    teacher_width=0.0625,
    teacher=_SHUFFLED.model_copy(update={"epochs": 20}),  # at 12 it still guesses
    student=_SHUFFLED,
    methods={"sacd": {"layers": 1}},
)
_SMALL: dict[str, dict[str, Any]] = {  # all about as large as AttnSleep, which has one size
    "attnsleep": {"drop": 0.1},
    "deepsleepnet": {"width": 0.25},
    "modified_sen": {"width": 0.5},
    "mc2sleepnet": {"width": 0.25, "layers": 2, "depth": 2},
}
_TEACHER = FitConfig(
    epochs=4,
    batch=32,
    order="shuffled",
    optimizer="adamw",
    lr=2e-3,
    weight_decay=1e-2,
    schedule="onecycle",
    clip_norm=5,
    select="last",
)

DEMO = Profile(
    name="demo",
    simulate=SimulateConfig(n_subjects=210, blocks=4),
    store=StoreConfig(height=24, width=32, frames=64),
    # 73 subjects for training, 17 for validation, 120 for the test: what a comparison can decide
    # depends on the number of test subjects, and a test subject costs a fifth of a training one.
    split=SplitConfig(test=4 / 7, validation=0.2),
    backbone=_NARROW,
    pretext=FitConfig(
        epochs=8,
        batch=32,
        order="shuffled",
        optimizer="adamw",
        lr=3e-3,
        schedule="onecycle",
        select="last",
    ),
    teacher=_TEACHER,
    teachers={"whiten": True, "class_weights": False},
    teacher_options=_SMALL,
    stagers=Stagers(
        fit=_TEACHER,
        folds=2,
        subjects=30,
        clips=64,
        options=_SMALL,
    ),
    # Chosen on the validation subjects, kappa and AUC of the student alone: 8 blocks of 16
    # consecutive clips a step 0.21 and 0.762, 128 shuffled clips 0.30 and 0.785, both for 4 epochs;
    # 5 epochs 0.32 and 0.790. Batches of 64 and rates of 3e-3 to 1e-2 differ by less than seeds do.
    student=FitConfig(
        epochs=5,
        batch=128,
        order="shuffled",
        optimizer="adamw",
        lr=6e-3,
        schedule="onecycle",
        clip_norm=1,
        select="last",
    ),
    fusion=FitConfig(
        epochs=10,
        batch=64,
        order="shuffled",
        optimizer="adamw",
        lr=1e-3,
        schedule="onecycle",
        select="last",
    ),
    finetune=FitConfig(
        epochs=1,
        batch=64,
        order="shuffled",
        batches_per_epoch=24,
        optimizer="adamw",
        lr=5e-4,
        schedule="onecycle",
        clip_norm=1,
        select="last",
    ),
    grid={"epochs": 1},
    methods={"sacd": {"layers": 1}},
    # The best of 0.1, 1 and 10 by the AUC of the validation subjects, before the matrix products
    # became NumPy's. 24_tuning has today's table, in which CCL and FitNet would take 0.1.
    method_weights={
        "c2kd": 0.1,
        "ccl": 10.0,
        "cmc": 0.1,
        "crd": 0.1,
        "dist": 0.1,
        "ifd": 0.1,
        "logit_std": 0.1,
        "pkt": 0.1,
        "sacd": 0.1,
    },
    seeds=8,
    other_seeds=3,
    nights=SimulateConfig(seed=1000, n_subjects=12),
    ucf51=_NARROW_UCF51,
)

SMOKE = DEMO.model_copy(
    update={
        "name": "smoke",
        "simulate": SimulateConfig(
            n_subjects=10, blocks=2, seed=2
        ),  # every stage in every part of the split
        "split": SplitConfig(),
        "pretext": DEMO.pretext.model_copy(update={"epochs": 1}),
        "teacher": DEMO.teacher.model_copy(update={"epochs": 1}),
        "stagers": DEMO.stagers.model_copy(
            update={"fit": _TEACHER.model_copy(update={"epochs": 1}), "subjects": 8, "clips": 32}
        ),
        "student": DEMO.student.model_copy(update={"epochs": 1}),
        "fusion": DEMO.fusion.model_copy(update={"epochs": 1}),
        "finetune": DEMO.finetune.model_copy(update={"epochs": 1}),
        "grid": {"epochs": 1},
        "nights": SimulateConfig(seed=1000, n_subjects=3, blocks=2),
        "night": {"epochs": 2},
        "seeds": 2,
        "other_seeds": 1,
        "ucf51": _NARROW_UCF51.model_copy(
            update={
                "simulate": SimulatedUcf51(classes=4, clips=1, seconds=1.3),
                "teacher": _SHUFFLED.model_copy(update={"epochs": 2}),
                "student": _SHUFFLED.model_copy(update={"epochs": 2}),
            }
        ),
    }
)

_PAPER_TEACHER = FitConfig(
    epochs=58, batch=128, order="shuffled", optimizer="adamw", lr=1e-3, weight_decay=1e-3
)

PAPER = Profile(
    name="paper",
    simulate=SimulateConfig(n_subjects=105, blocks=0, fps_num=25, fps_den=1, width=320, height=240),
    # Pictures of 320 x 240, as in the paper, with their short side resized to 112.
    store=StoreConfig(height=112, width=150, frames=16, sampling="consecutive", windows=3),
    backbone=BackboneConfig(input="rgb", crop=112, crop_area=0.25, flips="horizontal"),
    pretext=None,
    teacher=_PAPER_TEACHER,
    # As its authors train it (github.com/emadeldeen24/AttnSleep), but for the paper's 58 epochs.
    teacher_fits={"attnsleep": {"optimizer": "amsgrad", "schedule": "drop"}},
    stagers=Stagers(fit=_PAPER_TEACHER, folds=10),
    student=FitConfig(),
    fusion=FitConfig(epochs=100, order="shuffled"),
    finetune=FitConfig(),
    other_seeds=3,
    nights=SimulateConfig(seed=1000, n_subjects=12, fps_num=25, fps_den=1, width=320, height=240),
    methods={"sacd": {"layers": 3}},
    ucf51=Ucf51Profile(
        simulate=SimulatedUcf51(clips=5, seconds=7),
        store=Ucf51StoreConfig(),
        teacher=_SHUFFLED.model_copy(update={"epochs": 60, "batch": 64, "lr": 1e-3}),
        student=FitConfig(epochs=300, order="shuffled", select="last"),
    ),
)

PROFILES = {p.name: p for p in (SMOKE, DEMO, PAPER)}
