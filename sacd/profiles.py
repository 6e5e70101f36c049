"""The numbers of the profiles `smoke`, `demo` and `paper`, in one place. A profile never switches an algorithm off."""

from typing import Any

from pydantic import Field

from sacd.config import BackboneConfig, Config, Count, FitConfig, SplitConfig
from sacd.data.simulate import SimulateConfig
from sacd.data.store import StoreConfig


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
    student: FitConfig
    fusion: FitConfig
    """Heads on frozen embeddings (Table IV, A and B)."""
    released: FitConfig
    """Trained encoders that go on training (Table IV, C to G)."""
    grid: dict[str, Any] = Field(default_factory=dict)
    """What the grids of Fig. 5 change of `student`: so many runs may have to be shorter."""
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

DEMO = Profile(
    name="demo",
    simulate=SimulateConfig(n_subjects=60, blocks=7),
    store=StoreConfig(height=24, width=32, frames=64),
    backbone=_NARROW,
    pretext=FitConfig(
        epochs=8, batch=32, order="shuffled", optimizer="adamw", lr=3e-3, schedule="onecycle", select="last"
    ),
    teacher=FitConfig(
        epochs=4,
        batch=32,
        order="shuffled",
        optimizer="adamw",
        lr=2e-3,
        weight_decay=1e-2,
        schedule="onecycle",
        clip_norm=5,
        select="last",
    ),
    teachers={"whiten": True, "class_weights": False},
    teacher_options={"attnsleep": {"drop": 0.1}},
    student=FitConfig(epochs=12, joined=4, optimizer="adamw", lr=2e-3, schedule="onecycle", clip_norm=1),
    fusion=FitConfig(epochs=20, batch=64, order="shuffled", optimizer="adamw", lr=1e-3, schedule="onecycle"),
    released=FitConfig(epochs=4, joined=4, optimizer="adamw", lr=2e-3, schedule="onecycle", clip_norm=1),
    grid={"epochs": 6},
    class_weight_power=0.5,
    methods={"sacd": {"layers": 1}},
)

SMOKE = DEMO.model_copy(
    update={
        "name": "smoke",
        "simulate": SimulateConfig(n_subjects=16, blocks=2),
        "pretext": DEMO.pretext.model_copy(update={"epochs": 1}),
        "teacher": DEMO.teacher.model_copy(update={"epochs": 1}),
        "student": DEMO.student.model_copy(update={"epochs": 2}),
        "fusion": DEMO.fusion.model_copy(update={"epochs": 2}),
        "released": DEMO.released.model_copy(update={"epochs": 1}),
        "grid": {"epochs": 1},
        "seeds": 2,
    }
)

PAPER = Profile(
    name="paper",
    simulate=SimulateConfig(n_subjects=105, blocks=0, fps_num=25, fps_den=1, width=320, height=240),
    store=StoreConfig(height=112, width=112, frames=16, sampling="consecutive"),
    backbone=BackboneConfig(),
    pretext=None,
    teacher=FitConfig(epochs=58, batch=128, order="shuffled", optimizer="adamw", lr=1e-3, weight_decay=1e-3),
    student=FitConfig(),
    fusion=FitConfig(epochs=100, order="shuffled"),
    released=FitConfig(),
    other_seeds=3,
)

PROFILES = {p.name: p for p in (SMOKE, DEMO, PAPER)}
