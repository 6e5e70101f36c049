"""Fusion and reverse distillation on a cohort of noise: which networks learn, which files."""

import numpy as np
import pandas as pd
import pytest
import torch
from cohort_files import write_noise
from safetensors.torch import load_file

from sacd.config import (
    BackboneConfig,
    FitConfig,
    FusionConfig,
    MethodConfig,
    ReverseConfig,
    SplitConfig,
    StudentConfig,
    TeacherConfig,
)
from sacd.data.ingest import ingest
from sacd.data.store import StoreConfig
from sacd.files import write_json
from sacd.training import fusion as tasks
from sacd.training.student import student
from sacd.training.teacher import teacher

pytestmark = pytest.mark.slow
SPLIT = SplitConfig()
SHORT = FitConfig(epochs=1, batch=8, optimizer="adamw", lr=1e-2, schedule="onecycle", select="last")


def quiet(share, text):
    pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Store, and folders of a student (frames, nothing frozen or cached) and a teacher."""
    folder = tmp_path_factory.mktemp("fusion")
    write_noise(folder / "cohort")
    ingest(folder / "cohort", folder / "store", StoreConfig(height=16, width=16, frames=4))
    resources = {"store": str(folder / "store"), "cohort": str(folder / "cohort"), "device": "cpu"}
    inputs = {name: folder / name for name in ("student", "teacher")}
    configs = {
        "student": StudentConfig(backbone=BackboneConfig(width=0.0625), fit=SHORT, split=SPLIT),
        "teacher": TeacherConfig(fit=SHORT, split=SPLIT),
    }
    for name, task in (("student", student), ("teacher", teacher)):
        inputs[name].mkdir()
        write_json(
            inputs[name] / "config.json",
            {"identity": {"config": configs[name].model_dump(mode="json")}},
        )
        task(configs[name], {}, inputs[name], resources, quiet)
    return inputs, resources, folder


def run(trained, config):
    inputs, resources, folder = trained
    out = folder / f"run{len(list(folder.glob('run*')))}"
    out.mkdir()
    task = tasks.fusion if isinstance(config, FusionConfig) else tasks.reverse
    if config.finetune and task is tasks.fusion:
        inputs = inputs | {"head": run(trained, fused(config.head, False))}
    task(config, inputs, out, resources, quiet)
    return out


def fused(head, finetune, **fit):
    return FusionConfig(head=head, finetune=finetune, fit=SHORT.model_copy(update=fit), split=SPLIT)


def reversed_(method, finetune):
    options = {"layers": 1} if method == "sacd" else {}
    return ReverseConfig(
        method=MethodConfig(name=method, options=options), finetune=finetune, fit=SHORT, split=SPLIT
    )


def moved(now, before, part=""):
    """Whether any weight with the prefix `part` has changed; buffers do not count."""
    return any(
        not torch.equal(now[part + k], v)
        for k, v in before.items()
        if k.endswith("weight") and part + k in now
    )


def test_heads_on_frozen_encoders_train_nothing_but_the_head(trained):
    inputs, *_ = trained
    before = {name: (inputs[name] / "weights.safetensors").read_bytes() for name in inputs}
    out = run(trained, fused("A", False))
    assert set(load_file(out / "weights.safetensors")) == {"head.0.weight", "head.0.bias"}
    assert before == {name: (inputs[name] / "weights.safetensors").read_bytes() for name in inputs}
    logits = pd.read_parquet(out / "predictions.parquet")
    weights = load_file(out / "weights.safetensors")
    eeg = load_file(inputs["teacher"] / "outputs.safetensors")["embedding"]
    video = load_file(inputs["student"] / "embeddings.safetensors")["embedding"].float()
    expected = (
        torch.cat([eeg, video], 1) @ weights["head.0.weight"].T + weights["head.0.bias"]
    ).softmax(1)
    assert set(logits["part"]) == {"validation", "test"}, "the others are what it was trained on"
    key = ["subject", "clip"]
    rows = pd.read_parquet(inputs["student"] / "predictions.parquet")[key].reset_index()
    rows = logits[key].merge(rows, on=key, validate="one_to_one")["index"].to_numpy()
    assert len(rows) == len(logits)
    assert np.allclose(logits.filter(like="p_"), expected[rows], atol=1e-5)


@pytest.mark.parametrize(("head", "layers"), [("A", 1), ("B", 3)])
def test_fine_tuned_encoders_change_and_at_their_own_rate(trained, head, layers):
    inputs, *_ = trained
    weights = load_file(run(trained, fused(head, True, lr=1e-3)) / "weights.safetensors")
    assert sum(k.startswith("head.") and k.endswith("weight") for k in weights) == layers
    frozen = load_file(run(trained, fused(head, False)) / "weights.safetensors")
    far = [float((weights[k] - v).abs().max()) for k, v in frozen.items()]
    assert 0 < max(far) < 2e-2, "it goes on from the head of A or B"
    for part, name in (("video.", "student"), ("eeg.", "teacher")):
        before = load_file(inputs[name] / "weights.safetensors")
        assert moved(weights, before, part)
        # Adam moves a weight by about the rate a step: 1e-4 here, a tenth of the head's; 6 steps at
        # most.
        steps = [
            float((weights[part + k] - v).abs().max())
            for k, v in before.items()
            if k.endswith("weight")
        ]
        assert 0 < max(steps) < 3e-3


def test_a_and_c_stage_differently(trained):
    a, c = (
        pd.read_parquet(run(trained, fused("A", finetune)) / "predictions.parquet")
        for finetune in (False, True)
    )
    assert a[["subject", "clip", "part"]].equals(c[["subject", "clip", "part"]])
    chances = [column for column in a if column.startswith("p_")]
    assert len(chances) == 5 and np.abs(a[chances].to_numpy() - c[chances].to_numpy()).max() > 1e-2


@pytest.mark.parametrize(
    ("method", "finetune"), [("sacd", False), ("sacd", True), ("ccl", True), ("ce", False)]
)
def test_reverse_distillation_teaches_the_eeg_network(trained, method, finetune, monkeypatch):
    inputs, *_ = trained
    kept = {}
    whole = tasks._Trained.train
    monkeypatch.setattr(
        tasks._Trained, "train", lambda t, *a: (kept.update(video=t.video), whole(t, *a))
    )
    out = run(trained, reversed_(method, finetune))
    eeg, video = (
        load_file(inputs[name] / "weights.safetensors") for name in ("teacher", "student")
    )
    assert moved(load_file(out / "weights.safetensors"), eeg)
    assert moved(kept["video"].state_dict(), video) == finetune
    losses = {c for c in pd.read_csv(out / "metrics.csv") if c.startswith("loss_")}
    terms = {
        "sacd": {"structure", "contrastive", "jsd"},
        "ccl": {"ccl_contrast", "ccl_divergence", "ccl_head"},
        "ce": set(),
    }
    assert losses == {
        f"loss_{t}" for t in {"ce", *terms[method]} | ({"ce_video"} if finetune else set())
    }
    assert np.isfinite(pd.read_csv(out / "metrics.csv")).all().all()


def test_the_same_run_twice_gives_the_same_bytes(trained):
    first, second = (run(trained, reversed_("sacd", True)) for _ in range(2))
    assert (first / "weights.safetensors").read_bytes() == (
        second / "weights.safetensors"
    ).read_bytes()


def test_the_weight_of_a_method_counts_in_reverse_distillation_too(trained):
    """One step: the second would start from other weights."""
    found = {}
    for weight in (1.0, 3.0):
        config = reversed_("ccl", True)
        method = config.method.model_copy(update={"weight": weight})
        fit = config.fit.model_copy(update={"batches_per_epoch": 1})
        out = run(trained, config.model_copy(update={"method": method, "fit": fit}))
        found[weight] = pd.read_csv(out / "metrics.csv").iloc[0]
    for term in ("loss_ce", "loss_ce_video"):
        assert found[3.0][term] == pytest.approx(found[1.0][term], rel=1e-6)
    for term in ("loss_ccl_contrast", "loss_ccl_divergence"):
        assert found[3.0][term] == pytest.approx(3 * found[1.0][term], rel=1e-5)
        assert found[1.0][term] != 0
