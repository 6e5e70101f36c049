"""Table III: teacher and students on a simulated set, through the tasks of the runs."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from sacd.analysis import stats
from sacd.config import (
    BackboneConfig,
    FitConfig,
    MethodConfig,
    Ucf51StudentConfig,
    Ucf51TeacherConfig,
)
from sacd.data.ucf51 import Ucf51StoreConfig
from sacd.data.ucf51_ingest import ingest
from sacd.experiments import rows as experiments
from sacd.experiments.workspace import Workspace
from sacd.files import sha256
from sacd.metrics import right_or_wrong
from sacd.models.audio import CNN14
from sacd.paper import printed as paper
from sacd.simulate.ucf51 import SimulatedUcf51, simulate_ucf51, write_avi
from sacd.training.ucf51 import crop_and_flip, linear_head, student, teacher

pytestmark = pytest.mark.slow  # trains

FIT = FitConfig(
    epochs=1, batch=16, order="shuffled", optimizer="adamw", schedule="onecycle", select="last"
)
STUDENT = Ucf51StudentConfig(
    backbone=BackboneConfig(width=0.125, options={"stem_kernel": 3, "blocks": (1, 1, 1, 1)}),
    fit=FIT,
)


def quiet(share, text):
    pass


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Store of 7 classes (more than sleep has stages) and a teacher's run."""
    base = tmp_path_factory.mktemp("table3")
    root = simulate_ucf51(base / "videos", SimulatedUcf51(classes=7, seconds=0.6))
    config = Ucf51StoreConfig(height=16, width=16, frames=4, stride=3, windows=2, sound_s=0.5)
    resources = {"ucf51": str(ingest(root, base / "store", config).root), "device": "cpu"}
    (base / "teacher").mkdir()
    teacher(Ucf51TeacherConfig(width=1 / 32, fit=FIT), {}, base / "teacher", resources, quiet)
    return base, resources


def test_teacher_writes_outputs_of_all_videos(made):
    outputs = load_file(made[0] / "teacher" / "outputs.safetensors")
    predictions = pd.read_parquet(made[0] / "teacher" / "predictions.parquet")
    assert outputs["embedding"].shape == (174, 512) and outputs["logits"].shape == (174, 7)
    assert predictions["prediction"].tolist() == outputs["logits"].argmax(1).tolist()


@pytest.mark.parametrize("method", ["ce", "fitnet", "pkt", "rkd", "crd", "cmc", "ccl", "sacd"])
def test_every_method_trains_on_more_classes_than_stages(made, tmp_path, method):
    base, resources = made
    inputs = {} if method == "ce" else {"teacher": base / "teacher"}
    config = STUDENT.model_copy(update={"method": MethodConfig(name=method)})
    student(config, inputs, tmp_path, resources, quiet)
    history = pd.read_csv(tmp_path / "metrics.csv")
    terms = [c for c in history if c.startswith("loss_")]
    assert len(terms) > (method != "ce") and np.isfinite(history[terms].to_numpy()).all()
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(predictions) == 174 and predictions["prediction"].between(0, 6).all()
    assert load_file(tmp_path / "embeddings.safetensors")["embedding"].shape == (174, 512)


def test_a_student_is_the_same_twice_and_another_with_another_seed(made, tmp_path):
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        student(STUDENT.model_copy(update={"seed": seed}), {}, tmp_path / name, made[1], quiet)
        files.append((tmp_path / name / "weights.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


def test_published_weights_make_the_teacher_and_another_file_is_refused(made, tmp_path):
    state = CNN14(527, 1 / 32).state_dict()
    path = tmp_path / "Cnn14_emb512_mAP=0.420.pth"
    torch.save({"model": {k.replace("fc.", "fc_audioset."): v for k, v in state.items()}}, path)
    config, resources = (
        Ucf51TeacherConfig(width=1 / 32, weights=sha256(path), fit=FIT),
        made[1] | {"cnn14": str(path)},
    )
    teacher(config, {}, tmp_path, resources, quiet)
    kept = load_file(tmp_path / "weights.safetensors")
    assert torch.equal(
        kept["conv_block3.conv1.weight"], state["conv_block3.conv1.weight"]
    )  # frozen
    assert load_file(tmp_path / "outputs.safetensors")["logits"].shape == (174, 7)
    with pytest.raises(ValueError, match="is not the checkpoint"):
        teacher(config.model_copy(update={"weights": "0" * 64}), {}, tmp_path, resources, quiet)


@pytest.mark.parametrize("classes", [[0, 1, 2], [1, 3]])
def test_linear_head_is_the_logistic_regression(classes):
    rng = np.random.default_rng(0)
    labels = rng.choice(classes, 60)
    x = rng.normal(0, 0.5, (60, 8)).astype(np.float32) + 3 * np.eye(8, dtype=np.float32)[labels]
    guess = linear_head(x, labels, 5)(torch.from_numpy(x)).argmax(1).numpy()
    assert set(guess) <= set(classes) and np.mean(guess == labels) > 0.95


def test_crops_are_of_the_clip_and_flips_mirror_it():
    x = torch.linspace(0, 1, 16).expand(8, 3, 2, 16, 16).clone()
    same = crop_and_flip(x, 1.0, torch.Generator().manual_seed(0))
    mirrored = [torch.allclose(row, x[0].flip(-1), atol=1e-5) for row in same]
    assert all(
        m or torch.allclose(row, x[0], atol=1e-5) for m, row in zip(mirrored, same, strict=True)
    )
    assert 0 < sum(mirrored) < 8
    cut = crop_and_flip(x, 0.25, torch.Generator().manual_seed(0))
    reach = cut.amax((1, 2, 3, 4)) - cut.amin((1, 2, 3, 4))
    assert (reach < 0.99).all() and (reach > 0.45).all()
    assert torch.equal(cut[:, :, 0], cut[:, :, 1])  # frames of a clip alike


def test_accuracy_of_any_classes_with_groups_resampled():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"group": rng.integers(0, 40, 400), "label": rng.integers(0, 51, 400)})
    table["prediction"] = table["label"].where(rng.random(400) < 0.6, 50 - table["label"])
    numbers = stats.intervals(right_or_wrong(table)).set_index("column").loc["accuracy"]
    assert numbers["value"] == pytest.approx(100 * np.mean(table["label"] == table["prediction"]))
    assert numbers["ci_low"] < numbers["value"] < numbers["ci_high"] and numbers["n_subjects"] == 40


def test_runs_of_table3(tmp_path):
    space = Workspace("smoke", root=tmp_path, seeds=1)
    space.ucf51.prepare(1)
    rows = experiments.table3(space)
    assert list(rows) == [*paper.table("table3").index, "teacher/CNN14"]
    runs = [run for row in rows.values() for run in row]
    assert len({run.id for run in runs}) == len(runs) == 9
    assert all(dict(run.inputs).get("teacher") == rows["teacher/CNN14"][0] for run in rows["SACD"])
    assert space.ucf51.data_name == "simulated UCF51, 4 of 51 classes, smoke profile"
    assert space.ucf51.resources.keys() == {"ucf51"}


def test_a_method_s_own_rates_reach_the_optimizer(monkeypatch):
    """SACD's graph networks have their own learning rate; all students train by `distil`."""
    from sacd.losses.base import Method
    from sacd.models.output import Output
    from sacd.training import distil

    class Slow(Method):
        def __init__(self, context):
            super().__init__(context)
            self.head, self.lr_multipliers = torch.nn.Linear(2, 2), {"head": 1e-9}

        def losses(self, batch):
            return {"slow": self.head(batch.student.embedding).square().mean()}

    class Student(torch.nn.Linear):
        def forward(self, x):
            return Output(x, super().forward(x))

    monkeypatch.setattr(distil, "build", lambda name, context: Slow(context))
    net = Student(2, 2)
    before = net.weight.detach().clone()
    x = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    fit = FIT.model_copy(update={"weight_decay": 0.0, "lr": 0.1})
    torch.manual_seed(0)
    start = torch.nn.Linear(2, 2).weight.detach().clone()
    torch.manual_seed(0)
    method, _ = distil.distil(
        net,
        MethodConfig(),
        fit,
        lambda rows, g: x[rows],
        (x[:, 0] > 0).long(),
        None,
        np.arange(32),
        seed=0,
    )
    assert torch.allclose(method.head.weight, start, atol=1e-6)
    assert not torch.allclose(net.weight, before, atol=1e-3)


def test_a_folder_of_real_videos_with_published_weights(tmp_path):
    videos = tmp_path / "UCF101"
    for group in (1, 9):
        path = videos / "Archery" / f"v_Archery_g{group:02d}_c01.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_avi(path, np.zeros((30, 48, 64, 3), np.uint8), 25, np.zeros(16_000, np.int16))
    torch.save({"model": {"weight": torch.zeros(1)}}, videos / "Cnn14_emb512_mAP=0.420.pth")
    space = Workspace("smoke", root=tmp_path, ucf101=videos).ucf51
    space.prepare(1)
    assert (
        not space.simulated and space.data_name == "part of UCF51, 1 of 51 classes, smoke profile"
    )
    assert space.teacher().config.weights == sha256(videos / "Cnn14_emb512_mAP=0.420.pth")
    assert space.teacher().config.width == 1 and space.resources["cnn14"].endswith(".pth")
    assert space.store_path != Workspace("smoke", root=tmp_path).ucf51.store_path
