"""Few labels, from the store to the files: whose stages and whose video a training reads."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from cohort_files import write_noise

from sacd.config import (
    BackboneConfig,
    FitConfig,
    MethodConfig,
    SplitConfig,
    StudentConfig,
    TeacherConfig,
)
from sacd.data.ingest import ingest
from sacd.data.store import StoreConfig
from sacd.files import write_parquet
from sacd.losses.base import METHODS, Method
from sacd.stages import UNSCORED
from sacd.training import common
from sacd.training import teacher as stage_one
from sacd.training.student import student
from sacd.training.teacher import load_outputs, teacher

pytestmark = pytest.mark.slow
SPLIT, FEW = SplitConfig(), SplitConfig(labelled=2)
# 24 labelled and 60 training clips are multiples of the batch: every epoch has all.
FIT = FitConfig(
    epochs=2, batch=6, order="shuffled", optimizer="adamw", schedule="onecycle", select="last"
)


class Seen(Method):
    """Notes the rows of every batch, and the stages that it was given."""

    rows: dict[int, int] = {}  # noqa: RUF012

    def losses(self, batch):
        Seen.rows |= dict(zip(batch.index.tolist(), batch.labels.tolist(), strict=True))
        return {}


def quiet(share, text):
    pass


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Resources, the clips with part and known stage, and the folder of a teacher of two nights."""
    folder = tmp_path_factory.mktemp("few")
    write_noise(folder / "cohort", subjects=7)
    ingest(folder / "cohort", folder / "store", StoreConfig(height=16, width=16, frames=4))
    resources = {"store": str(folder / "store"), "cohort": str(folder / "cohort"), "device": "cpu"}
    _, clips = common.open_clips(resources, FEW)
    (folder / "teacher").mkdir()
    teacher(TeacherConfig(fit=FIT, split=FEW), {}, folder / "teacher", resources, quiet)
    return resources, clips, folder


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setitem(METHODS, "seen", f"{__name__}:Seen")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Seen.__module__])
    Seen.rows = {}
    return Seen


def train(place, split, name, inputs, out):
    resources, _, folder = place
    config = StudentConfig(
        backbone=BackboneConfig(width=0.0625),
        method=MethodConfig(name=name),
        fit=FIT,
        split=split,
    )
    (folder / out).mkdir()
    student(config, inputs, folder / out, resources, quiet)
    return folder / out


def test_only_labelled_training_subjects_have_a_known_stage(place):
    _, clips, _ = place
    known = clips[clips["known"] != UNSCORED]
    assert known["subject"].nunique() == 2 and set(known["part"]) == {"train"}
    assert (known["known"] == known["stage"]).all()
    assert clips.loc[clips["part"] == "train", "subject"].nunique() > 2


def test_a_taught_student_sees_every_training_clip_and_the_teachers_stages(place, seen):
    _, clips, folder = place
    out = train(place, FEW, "seen", {"teacher": folder / "teacher"}, "taught")
    rows = common.rows_of(clips, "train")
    told = load_outputs(folder / "teacher").logits.argmax(1).numpy()[rows]
    known = clips["known"].to_numpy()[rows]
    assert sorted(seen.rows) == list(range(len(rows)))
    expected = np.where(known == UNSCORED, told, known)
    assert [seen.rows[k] for k in range(len(rows))] == expected.tolist()
    held = pd.read_csv(out / "held_out.csv")
    assert len(held) == 1 and "part" not in held and {"kappa", "auc_ridge"} <= set(held)


def test_a_student_alone_sees_the_labelled_clips_only(place, seen):
    _, clips, _ = place
    out = train(place, FEW, "seen", {}, "alone")
    known = clips["known"].to_numpy()
    known = known[known != UNSCORED]
    assert [seen.rows[k] for k in range(len(seen.rows))] == known.tolist()
    assert len(pd.read_parquet(out / "predictions.parquet")) == len(clips), "it predicts all"


def test_a_teacher_by_yasa_learns_yasas_stages_of_all_training_clips(place, monkeypatch):
    resources, clips, folder = place
    staged = np.random.default_rng(0).integers(0, 5, len(clips))
    (folder / "yasa").mkdir()
    write_parquet(folder / "yasa" / "predictions.parquet", clips.assign(prediction=staged))
    given = []

    def note(trained, objective, *more, **settings):
        given.append(objective.labels)
        raise StopIteration

    monkeypatch.setattr(stage_one, "fit", note)
    config = TeacherConfig(fit=FIT, split=SPLIT, labels="yasa")
    with pytest.raises(StopIteration):
        teacher(config, {"yasa": folder / "yasa"}, folder, resources, quiet)
    rows = common.rows_of(clips, "train")
    assert torch.equal(given[0], torch.from_numpy(staged[rows]))
