"""The shipped model, and how a run becomes a model file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sacd.analysis.auc import macro_auc
from sacd.config import FitConfig
from sacd.experiments.profiles import SMOKE
from sacd.experiments.workspace import Workspace
from sacd.files import FileError
from sacd.predict.model import SHIPPED, UNCERTAIN, best, from_run, load, save
from sacd.stages import STAGES

P = [f"p_{name}" for name in STAGES]
ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_model_is_small_and_says_what_it_is():
    about = load(SHIPPED).about
    assert SHIPPED.stat().st_size <= 3e6
    assert "simulated" in about.data and "sacd" in about.label
    validation, test = about.figures["validation"], about.figures["test"]
    assert abs(validation["coverage"] - (1 - UNCERTAIN)) < 0.01
    assert test["accuracy of certain clips"] > test["accuracy of uncertain clips"]
    assert test["subjects"] >= 100 and 0.15 < test["kappa"] < 0.6 and test["AUC"] > 0.7


def test_the_card_shows_the_figures_of_the_file():
    about, card = load(SHIPPED).about, (ROOT / "docs" / "model_card.md").read_text()
    assert about.run in card
    for name, value in about.figures["test"].items():
        assert f"| {name} | " in card and f" {value:g} |" in card, name


@pytest.mark.parametrize("content", [b"", b"text", b"\x10\0\0\0\0\0\0\0{}              "])
def test_another_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(FileError, match="is not a model of this program") as caught:
        load(tmp_path / "m.safetensors")
    assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match="is missing"):
        load(tmp_path / "none.safetensors")


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A cohort of few sleepers, and two students of it."""
    fit = FitConfig(epochs=1, batch=16, optimizer="adamw", lr=1e-3, select="last")
    small = {
        "simulate": SMOKE.simulate.model_copy(update={"blocks": 1}),
        "pretext": fit.model_copy(update={"order": "shuffled"}),
        "student": fit,
    }
    made = Workspace(SMOKE.model_copy(update=small), root=tmp_path_factory.mktemp("space"))
    made.prepare(1)
    report = made.execute([made.student(seed=k) for k in range(2)], workers=0, quiet=True)
    assert not report.failed
    return made


@pytest.mark.slow
def test_a_run_becomes_a_model_with_the_same_predictions(space, tmp_path):
    run = space.student(seed=1)
    save(from_run(space.runs.folder(run)), tmp_path / "m.safetensors")
    stager = load(tmp_path / "m.safetensors")
    assert stager.about.run == run.id and "simulated" in stager.about.data
    table = space.read(run, "predictions.parquet")
    for subject in space.store.nights[:3]:
        clips = space.store.clips[space.store.clips["subject"] == subject]
        found = stager.probabilities(stager.features(space.store.gather_video(clips)))
        raw = np.log(found) - stager.about.biases
        raw = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
        expected = table.loc[table["subject"] == subject, P].to_numpy()
        assert np.allclose(raw, expected, atol=2e-3)


@pytest.mark.slow
def test_threshold_and_coverage_come_from_the_validation_subjects(space):
    folder = space.runs.folder(space.student(seed=0))
    about = from_run(folder).about
    table = pd.read_parquet(folder / "predictions.parquet")
    known = table[table["part"] == "validation"]
    odds = known[P].to_numpy(float) * np.exp(about.biases)
    top = (odds / odds.sum(axis=1, keepdims=True)).max(axis=1)
    assert about.figures["validation"]["coverage"] == pytest.approx(
        (top >= about.threshold).mean(), abs=0.04
    )
    assert about.figures["validation"]["clips"] == len(known)


@pytest.mark.slow
def test_the_best_run_is_that_of_the_validation_subjects(space):
    folders = [space.runs.folder(space.student(seed=k)) for k in range(2)]
    tables = [pd.read_parquet(folder / "predictions.parquet") for folder in folders]
    known = [table[table["part"] == "validation"] for table in tables]
    aucs = [macro_auc(table["stage"], table[P], table["subject"])[0] for table in known]
    assert best(folders) == best(folders[::-1]) == folders[int(np.argmax(aucs))]
    with pytest.raises(FileError, match="was not computed"):
        best([*folders, folders[0] / "none"])


@pytest.mark.slow
def test_what_is_no_finished_student_is_refused(space, tmp_path):
    with pytest.raises(FileError, match="not a finished run"):
        from_run(tmp_path)
    with pytest.raises(FileError, match="name the run of a video student"):
        from_run(space.runs.folder(space.motion()))
