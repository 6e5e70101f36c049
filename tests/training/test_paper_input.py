"""The profile `paper`'s way to see clips, in small: every task that reads video runs with it."""

import numpy as np
import pytest
from cohort_files import write_noise

from sacd.config import FitConfig
from sacd.experiments.profiles import PROFILES
from sacd.experiments.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    root = tmp_path_factory.mktemp("paper")
    smoke, paper = PROFILES["smoke"], PROFILES["paper"]
    short = FitConfig(epochs=1)
    own = paper.backbone.model_copy(update={"width": 0.125, "crop": 12})
    wanted = {"height": 12, "width": 16, "frames": 8, "sampling": "consecutive", "windows": 2}
    profile = smoke.model_copy(
        update={
            "store": smoke.store.model_copy(update=wanted),
            "backbone": own,
            "pretext": None,
            "student": short,
            "fusion": short,
            "finetune": short,
        }
    )
    write_noise(root / "cohort", fps=3)
    space = Workspace(profile, data=root / "cohort", root=root)
    space.prepare(1)
    return space


def test_students_fusion_and_reverse_run_from_files_to_predictions(space):
    runs = [space.fusion("A", True), space.reverse("ce", False), space.reverse("sacd", True)]
    report = space.execute(runs, workers=0, quiet=True)
    assert report.failed == ()
    for run in (*runs, space.student("r3d_18")):
        p = space.predictions(run).filter(like="p_").to_numpy()
        assert len(p) and np.allclose(p.sum(axis=1), 1, atol=1e-5)
