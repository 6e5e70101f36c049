"""A student of another library runs through a whole profile, from files to predictions."""

import pytest
from cohort_files import write_noise

from sacd.experiments.profiles import PROFILES
from sacd.experiments.workspace import Workspace


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    root = tmp_path_factory.mktemp("other")
    smoke = PROFILES["smoke"]
    short = {"epochs": 1, "blocks_per_batch": 1}
    profile = smoke.model_copy(
        update={
            "store": smoke.store.model_copy(update={"height": 32})
        }  # a patch of a ViT has 16 pixels
        | {
            "student": smoke.student.model_copy(update=short),
            "teacher": smoke.teacher.model_copy(update=short),
        }
    )
    write_noise(root / "cohort", clips=8, fps=3)
    space = Workspace(profile, data=root / "cohort", root=root)
    space.prepare(1)
    return space


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit", "pytorchvideo:x3d_xs"])
def test_any_student_is_taught_in_any_profile(space, name):
    run = space.student(name, method="sacd")
    assert "pretext" not in dict(run.inputs) and "motion" in dict(run.inputs)
    report = space.execute([run], workers=0, quiet=True)
    assert report.failed == ()
    assert len(space.predictions(run)) and space.read(run, "held_out.csv")["kappa"].notna().all()
    assert set(space.read(run, "metrics.csv")) >= {"loss_ce", "loss_structure", "loss_contrastive"}
