"""Tables of the paper's items, made from small made-up inputs."""

import numpy as np
import pandas as pd
import pytest

from sacd.analysis import paper_tables, stats, tables

DATA = "made-up data"


def predictions(wrong, subjects=6, clips=10):
    """Clips of all stages; the first `wrong` of each subject are predicted one stage too high."""
    stage = np.tile(np.arange(clips) % 5, subjects)
    missed = np.tile(np.arange(clips) < wrong, subjects)
    predicted = np.where(missed, (stage + 1) % 5, stage)
    subject = np.repeat([f"s{k}" for k in range(subjects)], clips)
    return pd.DataFrame({"subject": subject, "stage": stage, "prediction": predicted})


def line_of(table, row, column):
    return table.set_index(["row", "column"]).loc[(row, column)]


def test_metrics_has_every_metric_of_every_row():
    tests = {"v0": [predictions(4)], "ours": [predictions(2), predictions(0)]}
    table = paper_tables.metrics("table5", tests, DATA)
    assert list(table.columns) == tables.COLUMNS
    assert line_of(table, "v0", "accuracy")["value"] == pytest.approx(60)
    assert line_of(table, "ours", "accuracy")["value"] == pytest.approx(90)  # mean of 80 and 100
    assert line_of(table, "ours", "accuracy")["n_seeds"] == 2
    assert line_of(table, "ours", "accuracy")["paper_value"] == 64.4
    only = paper_tables.metrics("table5", tests, DATA, columns=["kappa"])
    assert only["column"].tolist() == ["kappa", "kappa"]


def test_teachers_beside_compares_each_teacher_with_each_baseline():
    baselines = {"baseline/forest": predictions(4)}
    teachers = {"teacher/a": predictions(0), "teacher/b": predictions(4)}
    table = paper_tables.teachers_beside(baselines, teachers)
    assert table.index.tolist() == [
        ("teacher/a", "baseline/forest"),
        ("teacher/b", "baseline/forest"),
    ]
    first = table.iloc[0]
    assert first["kappa"] == pytest.approx(1)
    assert first["difference"] == pytest.approx(first["kappa"] - first["kappa_baseline"])
    assert table.iloc[1]["difference"] == pytest.approx(0)


def test_curve_ends_counts_the_seeds_that_fall_and_rise():
    histories = [
        pd.DataFrame({"hinge": [3.0, 9.0, 1.0], "rank": [0.5, 0.5, 0.5]}),
        pd.DataFrame({"hinge": [5.0, 0.0, 7.0], "rank": [0.5, 0.9, 0.9]}),
    ]
    table = paper_tables.curve_ends(histories, {"hinge": "Hinge", "absent": "?", "rank": "Rank"})
    assert table.index.tolist() == ["Hinge", "Rank"]
    assert table.loc["Hinge"].tolist() == [4.0, 4.0, 1, 1, 2]
    assert table.loc["Rank", ["falls_in", "rises_in"]].tolist() == [0, 1]
    assert paper_tables.curve_ends(histories, {"absent": "?"}).empty


def test_stagers_have_f1_and_the_printed_accuracy_of_other_data():
    tests = {"MC2SleepNet": predictions(0)}
    table = paper_tables.stagers(tests, DATA, ["SHHS"])
    assert line_of(table, "MC2SleepNet", "F1 N2")["value"] == pytest.approx(100)
    elsewhere = line_of(table, "SHHS", "accuracy")
    assert np.isnan(elsewhere["value"]) and elsewhere["paper_value"] == 88.6
    assert elsewhere["data"] == "SHHS, as printed"


def test_a_printed_difference_holds_or_fails_only_where_ours_is_decided():
    pairs = [("SACD", "CCL"), ("CCL", "FitNet"), ("PKT", "FitNet")]
    compared = pd.DataFrame(
        {"difference": [1.0, -2.0, 3.0], "verdict": ["better", "worse", "undecided"]},
        pd.MultiIndex.from_tuples(pairs, names=["row", "against"]),
    )
    table = paper_tables.beside_printed("table3", compared, "accuracy")
    assert table.index.tolist() == ["SACD - CCL", "CCL - FitNet", "PKT - FitNet"]
    assert (table["printed"].iloc[:2] > 0).all()  # in the paper, SACD > CCL > FitNet
    assert table["verdict"].tolist() == ["holds", "fails", "undecided"]


def test_fig2_counts_subjects_and_clips():
    people = pd.DataFrame({"sex": ["M", "F", "F"], "ahi": [1.0, 40.0, 50.0]})
    table = paper_tables.fig2(people, pd.Series([0, 2, 2, 4]), DATA).set_index("row")
    assert table.loc["female", "value"] == 2
    assert table.loc[["Normal", "Mild", "Severe"], "value"].tolist() == [1, 0, 2]
    assert table.loc[["W", "N2"], "column"].tolist() == ["clips", "clips"]
    assert table.loc[["W", "N2", "N3"], "value"].tolist() == [1, 2, 0]
    assert (table["n_subjects"] == 3).all()


@pytest.fixture
def four():
    people = {"sex": ["F"], "age": [50.0], "weight_kg": [61.5], "ahi": [44.0], "group": ["Severe"]}
    return pd.DataFrame(people, index=["sub-01"])


def test_table6_has_the_papers_subject_of_the_same_group(four):
    table = paper_tables.table6(four, DATA)
    assert table["value"].tolist() == [50, 61.5, 44]
    assert (table["group"] == "Severe").all()
    theirs = paper_tables.printed_subjects().loc["Severe"]
    assert theirs["ahi"] > 30
    assert table["paper_value"].tolist() == [theirs["age"], theirs["weight_kg"], theirs["ahi"]]


def test_table6_names_say_who_stands_beside_whom(four):
    theirs = paper_tables.printed_subjects().loc["Severe"]
    name = paper_tables.table6_names(four)["sub-01"]
    assert name == f"sub-01, F: Severe; {theirs['subject']}, {theirs['sex']}, in the paper"


def test_fig5_repeats_a_point_in_each_of_its_panels():
    numbers = {
        "0.5/1/1": stats.intervals(predictions(2)),
        "10/1/1": stats.intervals(predictions(4)),
    }
    planes = {"a": ["0.5/1/1"], "b": ["0.5/1/1", "10/1/1"]}
    table = paper_tables.fig5(numbers, planes, DATA)
    assert set(table["column"]) == {"accuracy", "macro_f1", "kappa"}
    accuracy = table[table["column"] == "accuracy"]
    assert accuracy["row"].tolist() == ["a: 0.5/1/1", "b: 0.5/1/1", "b: 10/1/1"]
    assert accuracy["value"].tolist() == pytest.approx([80, 80, 60])
