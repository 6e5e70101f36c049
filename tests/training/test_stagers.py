"""EEG stagers: the clips kept, folds without leakage, runs and figure of `42_mc2sleepnet`."""

import numpy as np
import pandas as pd
import pytest
import torch

from sacd.analysis import stats, tables
from sacd.config import FitConfig, StagerConfig
from sacd.experiments import rows as experiments
from sacd.experiments.workspace import Workspace
from sacd.figures import comparison
from sacd.metrics import F1, stage_f1
from sacd.training import stager as task
from sacd.training import teacher as teachers
from sacd.training.teacher import train_teacher

CLIPS = 20


class Store:
    """Six subjects in memory, in place of Sleep-EDF; every clip is a tone, one per stage."""

    rate, fingerprint = 100, "f00d"

    def __init__(self, root=None, subjects=6):
        stage = np.arange(CLIPS) % 5
        names = [f"SC{s}" for s in range(subjects)]
        nights = [
            pd.DataFrame({"subject": name, "clip": range(CLIPS), "stage": stage, "block": k})
            for k, name in enumerate(names)
        ]
        self.clips = pd.concat(nights, ignore_index=True).assign(onset_s=lambda t: 30.0 * t["clip"])
        self.participants = pd.DataFrame({"ahi": np.nan}, self.clips["subject"].unique())
        self.asked = []

    def gather_eeg(self, rows):
        self.asked.append(rows)
        hz = np.array([1, 4, 8, 13, 20])[rows["stage"].to_numpy()]
        noise = np.random.default_rng(0).normal(0, 5, (len(rows), 3000))
        return (30 * np.sin(2 * np.pi * hz[:, None] * np.arange(3000) / 100) + noise).astype(
            np.float32
        )


FIT = FitConfig(
    epochs=6,
    batch=16,
    order="shuffled",
    optimizer="adamw",
    lr=3e-3,
    schedule="onecycle",
    select="last",
)


def run(folder, monkeypatch, name="modified_sen", fold=0, fit=FIT, **more):
    store = Store()
    monkeypatch.setattr(task, "SleepEdf", lambda path: store)
    folder.mkdir()
    config = StagerConfig(
        name=name, source="sleepedf", fit=fit, folds=2, fold=fold, options={"width": 0.25}, **more
    )
    shares = []
    resources = {"sleepedf": "", "device": "cpu"}
    task.stager(config, {}, folder, resources, lambda share, text: shares.append(share))
    return (
        pd.read_parquet(folder / "predictions.parquet"),
        pd.read_csv(folder / "metrics.csv"),
        shares,
    )


def test_every_subject_is_tested_once_by_a_network_not_trained_on_it(tmp_path, monkeypatch):
    seen = []
    whole = task.train_teacher

    def spy(config, eeg, clips, *more):
        seen.append(clips.groupby("part")["subject"].unique())
        return whole(config, eeg, clips, *more)

    monkeypatch.setattr(task, "train_teacher", spy)
    tested = [run(tmp_path / str(fold), monkeypatch, fold=fold)[0] for fold in range(2)]
    for parts, table in zip(seen, tested, strict=True):
        assert set(table["subject"]) == set(parts["test"]) and (table["part"] == "test").all()
        assert not set(parts["test"]) & {*parts["train"], *parts["validation"]}
        assert not set(parts["train"]) & set(parts["validation"])
    both = pd.concat(tested)
    assert sorted(both["subject"].unique()) == [f"SC{s}" for s in range(6)]
    assert not both.duplicated(["subject", "clip"]).any() and len(both) == 6 * CLIPS
    assert (both["stage"] == both["prediction"]).mean() > 0.5  # tones can be told from each other


def test_class_weights_see_training_labels_only(tmp_path, monkeypatch):
    """AttnSleep's own code counts the labels of the tested fold as well."""
    given, used, parts = [], [], []
    rule, whole, entropy = (
        teachers.class_weights,
        task.train_teacher,
        torch.nn.functional.cross_entropy,
    )

    def spy(config, eeg, clips, *more):
        parts.append(clips)
        return whole(config, eeg, clips, *more)

    monkeypatch.setattr(task, "train_teacher", spy)
    monkeypatch.setattr(
        teachers, "class_weights", lambda labels: given.append(labels.tolist()) or rule(labels)
    )
    store = Store()
    store.clips["stage"] = (
        store.clips["block"] + store.clips["clip"] % 2
    ) % 5  # subjects differ in their stages
    monkeypatch.setattr(task, "SleepEdf", lambda path: store)
    fit = FIT.model_copy(update={"epochs": 1})
    config = StagerConfig(
        name="modified_sen", source="sleepedf", fit=fit, folds=2, fold=0, options={"width": 0.125}
    )
    monkeypatch.setattr(
        torch.nn.functional,
        "cross_entropy",
        lambda x, y, w=None: used.append(w) or entropy(x, y, w),
    )
    task.stager(config, {}, tmp_path, {"sleepedf": "", "device": "cpu"}, lambda share, text: None)
    (clips,) = parts
    train = clips.loc[clips["part"] == "train", "stage"].tolist()
    assert given == [train] and len(train) < len(clips)
    assert rule(clips["stage"].tolist()).tolist() != rule(train).tolist(), (
        "else the test could not tell"
    )
    assert any(w is not None and w.tolist() == rule(train).tolist() for w in used)


@pytest.mark.slow
def test_the_contrast_is_not_selected_by_a_classifier_that_does_not_learn(tmp_path, monkeypatch):
    selects, whole = [], teachers.fit

    def spy(model, objective, blocks, config, **more):
        selects.append(config.select)
        return whole(model, objective, blocks, config, **more)

    monkeypatch.setattr(teachers, "fit", spy)
    fit = FIT.model_copy(update={"epochs": 1, "order": "block", "batch": 4, "select": "best"})
    run(tmp_path / "a", monkeypatch, name="mc2sleepnet", fit=fit)
    assert selects == ["last", "best", "best"]


@pytest.mark.slow
def test_mc2sleepnet_has_three_trainings_and_needs_neighbours(tmp_path, monkeypatch):
    fit = FIT.model_copy(update={"epochs": 1, "order": "block", "batch": 4, "blocks_per_batch": 2})
    table, history, shares = run(tmp_path / "a", monkeypatch, name="mc2sleepnet", fit=fit)
    assert history["stage"].tolist() == ["contrast", "sequence", "finetune"]
    assert shares == sorted(shares) and shares[-1] == 1 and len(table) == 3 * CLIPS
    with pytest.raises(ValueError, match="mc2sleepnet needs neighbouring clips"):
        run(tmp_path / "b", monkeypatch, name="mc2sleepnet")
    assert train_teacher is task.train_teacher


def test_only_the_clips_that_are_asked_for_are_read(tmp_path, monkeypatch):
    fit = FIT.model_copy(update={"epochs": 1})
    table, *_ = run(tmp_path / "a", monkeypatch, fit=fit, subjects=4, clips=16)
    assert table["subject"].nunique() == 2 and len(table) == 2 * 16


def test_runs_are_consecutive_and_spread():
    clips = pd.DataFrame(
        {"subject": ["a"] * 100 + ["b"] * 20, "block": [0] * 70 + [1] * 30 + [2] * 20}
    )
    clips["clip"] = np.arange(120)
    assert task.spread_runs(clips, 0) is clips
    kept = task.spread_runs(clips, 48)
    for _, rows in kept.groupby("block"):
        assert (
            (rows["clip"].diff().dropna() == 1).all()
            and len(rows) <= 16
            and rows["subject"].nunique() == 1
        )
    first = kept[kept["subject"] == "a"].groupby("block")["clip"].min().tolist()
    short = task.spread_runs(clips.assign(block=np.arange(120) // 3), 48)
    assert short.groupby("subject").size().to_dict() == {"a": 46, "b": 20}, (
        "more of them where they are short"
    )
    assert (
        first == [0, 48, 86] and len(kept[kept["subject"] == "b"]) == 20
    )  # runs of 70: 16 16 16 16 6, of 30: 16 14


def test_the_runs_of_the_notebook(tmp_path, monkeypatch):
    space = Workspace("paper", root=tmp_path, sleepedf=tmp_path)
    space.__dict__["eeg_store"] = Store(subjects=12)
    rows = experiments.mc2sleepnet(space)
    assert list(rows) == ["MC2SleepNet", "AttnSleep", "DeepSleepNet", "Modified-SEN"]
    assert (
        all(len(runs) == 10 for runs in rows.values())
        and len({r.id for runs in rows.values() for r in runs}) == 40
    )
    config = rows["MC2SleepNet"][3].config
    assert (config.fold, config.folds, config.fit.order, config.fit.blocks_per_batch) == (
        3,
        10,
        "block",
        8,
    )
    assert config.source == "sleepedf" and rows["AttnSleep"][0].config.fit.order == "shuffled"
    space.__dict__["eeg_store"] = Store(subjects=5)
    assert {run.config.folds for run in experiments.mc2sleepnet(space)["AttnSleep"]} == {5}
    space.__dict__["eeg_store"] = Store(subjects=3)
    assert not any(experiments.mc2sleepnet(space).values())


def predictions(rng, subjects=5, stages=5):
    stage = rng.integers(0, stages, 40 * subjects)
    guess = np.where(rng.random(len(stage)) < 0.6, stage, rng.integers(0, 5, len(stage)))
    return pd.DataFrame(
        {"subject": np.repeat(range(subjects), 40), "stage": stage, "prediction": guess}
    )


def test_f1_of_a_stage_with_its_interval():
    table = predictions(np.random.default_rng(0))
    found = stats.intervals(table, score=stage_f1, names=F1).set_index("column")
    for k, name in enumerate(F1):
        true, said = table["stage"] == k, table["prediction"] == k
        assert found.at[name, "value"] == pytest.approx(
            200 * (true & said).sum() / (true.sum() + said.sum())
        )
        assert found.at[name, "ci_low"] <= found.at[name, "value"] <= found.at[name, "ci_high"]
    macro = stats.intervals(table).set_index("column").at["macro_f1", "value"]
    assert found["value"].mean() == pytest.approx(macro)
    assert np.isnan(stage_f1(np.diag([1, 1, 1, 1, 0]))[4])


@pytest.mark.parametrize("stages", [5, 4])
def test_figure_shows_every_row_and_both_printed_values(stages):
    table = predictions(np.random.default_rng(1), stages=stages)
    numbers = pd.concat([stats.intervals(table), stats.intervals(table, score=stage_f1, names=F1)])
    unknown = pd.DataFrame({"column": ["accuracy"], "value": [np.nan]})
    tidy = pd.concat(
        [
            tables.rows("mc2sleepnet", name, numbers, "made up")
            for name in ("MC2SleepNet", "AttnSleep")
        ]
        + [tables.rows("mc2sleepnet", name, unknown, "printed") for name in ("SleepEDF-78", "SHHS")]
    )
    assert tidy["paper_value"].dropna().tolist() == [84.6, 88.6]
    figure = comparison.stagers(tidy)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (
        labels[:2] == ["MC2SleepNet", "AttnSleep"]
        and sum("as printed" in text for text in labels) == 1
    )
    accuracy = figure.axes[0]
    drawn = [line.get_xdata()[0] for line in accuracy.get_lines() if line.get_color() == "#8a8a8a"]
    assert drawn == [84.6, 88.6]
    named = " ".join(text.get_text() for text in accuracy.texts)
    assert "SleepEDF-78" in named and "SHHS" in named
    assert [t.get_text() for t in accuracy.get_yticklabels()] == ["MC2SleepNet", "AttnSleep"]
    points = [line.get_ydata() for line in figure.axes[2].get_lines() if line.get_marker() in "os"]
    assert [np.isfinite(np.asarray(y, float)).sum() for y in points] == [stages, stages]
    empty = comparison.stagers(tidy[tidy["value"].isna()])  # nothing measured: still a figure
    assert len(empty.legends[0].get_texts()) == 1
