"""The shipped model, and how a run becomes a model file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from sacd.analysis.night import TOP
from sacd.config import FitConfig
from sacd.experiments.night import heads, nights_of
from sacd.experiments.profiles import SMOKE
from sacd.experiments.workspace import Workspace
from sacd.files import FileError
from sacd.predict.measure import UNCERTAIN
from sacd.predict.model import SHIPPED, best, from_run, load, save
from sacd.stages import STAGES
from sacd.training.night_facts import of_pixels

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


def test_the_context_of_the_shipped_model_is_worth_it():
    context = load(SHIPPED).about.context
    assert abs(context.figures["validation"]["coverage"] - (1 - UNCERTAIN)) < 0.01
    nights, alone = (context.figures[name] for name in ("nights", "nights, one clip"))
    assert nights["subjects"] == alone["subjects"] >= 12 and nights["clips"] == alone["clips"]
    assert nights["kappa"] > 0.5 > alone["kappa"] + 0.1
    least, median, most = (nights[f"kappa of a night, {k}"] for k in ("least", "median", "largest"))
    assert least < median < most and least > alone["kappa of a night, least"]


def test_the_card_shows_the_figures_of_the_file():
    about, card = load(SHIPPED).about, (ROOT / "docs" / "model_card.md").read_text()
    assert about.run in card
    assert about.context.run in card
    columns = [about.figures["validation"], about.context.figures["validation"]]
    columns += [about.context.figures[name] for name in ("nights, one clip", "nights")]
    for name in about.figures["test"]:
        values = [column[name] for column in (*columns, about.figures["test"])]
        assert f"| {name} | {' | '.join(f'{value:g}' for value in values)} |" in card, name


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
        "nights": SMOKE.nights.model_copy(update={"n_subjects": 2, "blocks": 1}),
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
        expected = table.loc[table["subject"] == subject, P].to_numpy()
        assert np.allclose(unbiased(found, stager.about.biases), expected, atol=2e-3)


def unbiased(p, biases):
    """Probabilities before the calibration."""
    odds = np.exp(np.log(p) - biases)
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.slow
def test_a_run_of_heads_adds_the_context_that_it_had_in_training(space, tmp_path):
    nights_of(space).prepare(1)
    run = heads(space, space.student(seed=1), "student", 1)
    assert not space.execute([run], workers=0, quiet=True).failed
    save(from_run(space.runs.folder(run)), tmp_path / "m.safetensors")
    stager = load(tmp_path / "m.safetensors")
    about = stager.about
    assert (about.run, about.context.run) == (space.student(seed=1).id, run.id)
    inputs = {name: space.runs.folder(each) for name, each in run.inputs}
    embedding = load_file(inputs["embeddings"] / "embeddings.safetensors")["night"]
    facts = load_file(inputs["nights"] / "facts.safetensors")["pixels"]
    table = space.read(run, "predictions.parquet")
    table = table[table["rung"] == TOP].reset_index(drop=True)
    store = nights_of(space).store
    for subject, rows in table.groupby("subject").indices.items():
        expected = table.loc[rows, P].to_numpy()
        found = stager.context.probabilities(embedding[rows], facts[rows])
        assert np.allclose(unbiased(found, about.context.biases), expected, atol=1e-5)
        # From the frames too, by a student whose weights were rounded for the file.
        frames = store.gather_video(store.clips[store.clips["subject"] == subject])
        pixels, _ = of_pixels(frames, about.store.frames / 30)
        found = stager.in_context(stager.features(frames), pixels)
        assert np.allclose(unbiased(found, about.context.biases), expected, atol=2e-2)
    with pytest.raises(FileError, match="name the run of a video student"):
        from_run(inputs["nights"])


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


def test_the_best_run_is_that_of_the_validation_subjects(tmp_path):
    """By the rung that `predict` uses; the test nights have no say."""
    folders = [tmp_path / name for name in "abc"]
    for folder, kappa, other in zip(folders, (0.3, 0.5, 0.4), (0.6, 0.1, 0.2), strict=True):
        folder.mkdir()
        table = pd.DataFrame({"rung": ["one clip", TOP], "kappa": [other, kappa]})
        table.to_csv(folder / "validation.csv", index=False)
    assert best(folders) == best(folders[::-1]) == folders[1]
    with pytest.raises(FileError, match="was not computed"):
        best([*folders, tmp_path / "none"])


@pytest.mark.slow
def test_what_is_no_finished_student_is_refused(space, tmp_path):
    with pytest.raises(FileError, match="not a finished run"):
        from_run(tmp_path)
    with pytest.raises(FileError, match="name the run of a video student"):
        from_run(space.runs.folder(space.motion()))
