"""Runs of the tuning and of few labels, and what the recipes' further arguments change."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sacd.analysis import few_labels as few
from sacd.experiments.items import NOTEBOOKS
from sacd.experiments.rows import few_labels, flat, tuning
from sacd.experiments.workspace import Workspace

PEOPLE = pd.DataFrame({"ahi": np.tile([2.0, 10, 20, 50], 25)}, [f"sub-{k:03d}" for k in range(100)])
METHODS = ["KD", "SACD", "CCL"]


@pytest.fixture
def w(tmp_path, monkeypatch):
    """The demo on 100 subjects, 36 of them for training; no store is read."""
    store = SimpleNamespace(fingerprint="store", participants=PEOPLE)
    monkeypatch.setattr(Workspace, "store", property(lambda self: store))
    return Workspace("demo", root=tmp_path)


def teacher_of(run):
    return dict(run.inputs)["teacher"]


def ids(runs):
    return {run.id for run in runs}


def test_the_defaults_of_the_recipes_are_the_runs_of_before(w):
    taught = w.student(method="sacd")
    assert taught == w.student(method="sacd", weight=None, labelled=0, labels="scored")
    assert teacher_of(taught) == w.teacher() == w.teacher(labelled=0, labels="scored")
    assert taught.config.split.labelled == 0 and "yasa" not in dict(w.teacher().inputs)


def test_a_weight_changes_one_setting_and_the_profile_gives_it_where_none_is_named(w, monkeypatch):
    plain = w.student(method="kd", weight=1.0)
    heavy = w.student(method="kd", weight=10.0)
    assert (plain.config.method.weight, heavy.config.method.weight) == (1, 10)
    same = heavy.config.method.model_copy(update={"weight": 1.0})
    assert heavy.config.model_copy(update={"method": same}) == plain.config
    assert heavy.id != plain.id and "weight=10.0" in heavy.label
    profile = w.profile.model_copy(update={"method_weights": {"kd": 10.0}})
    monkeypatch.setattr(w, "profile", profile)
    assert w.student(method="kd").id == heavy.id
    assert w.student(method="kd", weight=1.0).id == plain.id
    assert w.student(method="sacd").config.method.weight == 1


def test_labelled_subjects_are_the_students_and_its_teachers(w):
    run = w.student(method="sacd", labelled=6)
    assert run.config.split.labelled == teacher_of(run).config.split.labelled == 6
    assert teacher_of(run) == w.teacher(labelled=6)
    assert w.student(labelled=6).config.split.labelled == 6
    assert "labelled=6" in run.label and "6 labelled" in teacher_of(run).label


def test_yasa_teaches_without_a_label_of_ours_whatever_the_student_knows(w):
    runs = [w.student(method="sacd", labelled=n, labels="yasa") for n in (0, 6)]
    teacher = teacher_of(runs[0])
    assert teacher == teacher_of(runs[1]) == w.teacher(labels="yasa")
    assert teacher.config.labels == "yasa" and teacher.config.split.labelled == 0
    assert dict(teacher.inputs) == {"yasa": w.baseline("YASA")}
    assert [run.config.split.labelled for run in runs] == [0, 6]


def test_every_method_is_tuned_over_the_same_weights_at_one_seed(w):
    notebook = NOTEBOOKS["24_tuning"]
    rows = notebook.rows(w)
    assert rows["student alone"] == [w.student()] and len(rows) == 1 + 11 * 3
    assert len(ids(flat(rows))) == len(flat(rows)) == len(rows)
    seen = {}
    for row, (run,) in rows.items():
        method = run.config.method
        assert run.config.seed == 0
        if row != "student alone":
            assert teacher_of(run) == w.teacher()
            seen.setdefault(method.name, []).append(method.weight)
    assert len(seen) == 11 and set(map(tuple, seen.values())) == {(0.1, 1.0, 10.0)}
    some = tuning(w, ["SACD"], [1.0])
    assert list(some) == ["student alone", "SACD x 1"]
    assert some["SACD x 1"] == rows["SACD x 1"]


def test_few_labels_names_who_knows_what(w):
    rows = few_labels(w, [6, 0], METHODS)
    assert list(rows) == [
        *("alone, 6", "KD, 6", "KD by YASA, 6", "SACD, 6", "SACD by YASA, 6"),
        *("CCL, 6", "CCL by YASA, 6", "teacher, 6"),
        *("alone, 36", "KD, 36", "KD by YASA, 36", "SACD, 36", "SACD by YASA, 36"),
        *("CCL, 36", "CCL by YASA, 36", "teacher, 36", "teacher by YASA, all", "baseline/YASA"),
    ]
    for kind in ("alone", "teacher", *METHODS, "KD by YASA"):
        assert few.budgets(rows)[kind] == [6, 36], "the analysis reads these names"
    assert few.taught(rows) == ["KD", "KD by YASA", "SACD", "SACD by YASA", "CCL", "CCL by YASA"]
    assert rows["alone, 36"] == [w.student(seed=k) for k in range(5)], "shared with Table II"
    assert rows["SACD, 36"] == [w.student(method="sacd", seed=k) for k in range(5)]
    assert rows["teacher, 6"] == [teacher_of(rows["KD, 6"][0])]
    assert rows["teacher by YASA, all"] == [teacher_of(rows["CCL by YASA, 6"][0])]
    assert rows["teacher by YASA, all"] == [teacher_of(rows["CCL by YASA, 36"][0])]
    assert {run.config.split.labelled for run in rows["SACD by YASA, 6"]} == {6}
    assert len({run.label for run in flat(rows)}) == len(ids(flat(rows))) == len(flat(rows))


def test_few_subjects_are_seen_for_as_many_steps_up_to_four_times_the_epochs(w):
    rows = few_labels(w, [4, 18, 0], ["KD"])
    whole = w.profile.student
    for number, times in ((4, 4), (18, 2), (36, 1)):
        longer = whole.model_copy(update={"epochs": times * whole.epochs})
        assert rows[f"alone, {number}"][0].config.fit == longer
        teacher = rows[f"teacher, {number}"][0].config.fit
        assert teacher.epochs == times * w.profile.teacher.epochs
        assert rows[f"KD, {number}"][0].config.fit == whole, "it learns from all subjects"


def test_numbers_that_exceed_the_training_subjects_are_left_out(w):
    rows = few_labels(w, [36, 100, 0], ["KD"])
    assert list(rows) == [
        *("alone, 36", "KD, 36", "KD by YASA, 36", "teacher, 36"),
        *("teacher by YASA, all", "baseline/YASA"),
    ]
    assert rows["alone, 36"][0].config.split.labelled == 0


def test_no_row_has_more_seeds_than_the_profile_gives(w, monkeypatch):
    monkeypatch.setattr(w, "seeds", 2)
    assert {len(runs) for row, runs in few_labels(w, [6], METHODS).items() if ", 6" in row} == {
        1,
        2,
    }
