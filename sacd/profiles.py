"""The numbers of the profiles `smoke`, `demo` and `paper`, in one place. A profile never switches an algorithm off."""

from typing import Any

from pydantic import Field

from sacd.config import BackboneConfig, Config, Count, FitConfig, SplitConfig
from sacd.data.simulate import SimulateConfig
from sacd.data.store import StoreConfig


class Stagers(Config):
    """The EEG stagers of `42_mc2sleepnet`: training, folds, and how much of the data; see `StagerConfig`."""

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
    """None: no pretext; the student starts from published weights or at random."""
    teacher: FitConfig
    teachers: dict[str, bool] = Field(default_factory=dict)
    """Of `TeacherConfig`, for every teacher."""
    teacher_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of a teacher that differ from its defaults."""
    stagers: Stagers
    student: FitConfig
    class_weight_power: float = 0.0
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of a method that differ from its defaults."""
    seeds: Count = 3
    """Of the rows that are compared most: the students alone, CCL and SACD."""
    other_seeds: Count = 1
    """Of every other row."""


_NARROW = BackboneConfig(
    width=0.125,
    input="motion",
    frozen=2,
    options={"stem_kernel": 3},
)

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
    simulate=SimulateConfig(n_subjects=60, blocks=7),
    store=StoreConfig(height=24, width=32, frames=64),
    backbone=_NARROW,
    pretext=FitConfig(
        epochs=8, batch=32, order="shuffled", optimizer="adamw", lr=3e-3, schedule="onecycle", select="last"
    ),
    teacher=_TEACHER,
    teachers={"whiten": True, "class_weights": False},
    teacher_options={"attnsleep": {"drop": 0.1}},
    stagers=Stagers(
        fit=_TEACHER,
        folds=2,
        subjects=24,
        clips=112,
        options={  # all about as large as AttnSleep, which has one size
            "attnsleep": {"drop": 0.1},
            "deepsleepnet": {"width": 0.25},
            "modified_sen": {"width": 0.5},
            "mc2sleepnet": {"width": 0.25, "layers": 2, "depth": 2},
        },
    ),
    student=FitConfig(epochs=12, joined=4, optimizer="adamw", lr=2e-3, schedule="onecycle", clip_norm=1),
    class_weight_power=0.5,
    methods={"sacd": {"layers": 1}},
)

SMOKE = DEMO.model_copy(
    update={
        "name": "smoke",
        "simulate": SimulateConfig(n_subjects=16, blocks=2),
        "pretext": DEMO.pretext.model_copy(update={"epochs": 1}),
        "teacher": DEMO.teacher.model_copy(update={"epochs": 1}),
        "stagers": DEMO.stagers.model_copy(
            update={"fit": _TEACHER.model_copy(update={"epochs": 1}), "subjects": 8, "clips": 32}
        ),
        "student": DEMO.student.model_copy(update={"epochs": 2}),
        "seeds": 2,
    }
)

_PAPER_TEACHER = FitConfig(epochs=58, batch=128, order="shuffled", optimizer="adamw", lr=1e-3, weight_decay=1e-3)

PAPER = Profile(
    name="paper",
    simulate=SimulateConfig(n_subjects=105, blocks=0, fps_num=25, fps_den=1, width=320, height=240),
    store=StoreConfig(height=112, width=112, frames=16, sampling="consecutive"),
    backbone=BackboneConfig(),
    pretext=None,
    teacher=_PAPER_TEACHER,
    stagers=Stagers(fit=_PAPER_TEACHER, folds=10),
    student=FitConfig(),
    other_seeds=3,
)

PROFILES = {p.name: p for p in (SMOKE, DEMO, PAPER)}
