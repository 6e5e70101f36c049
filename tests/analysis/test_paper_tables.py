"""Tables of the paper's items, made from small made-up inputs."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from sacd.analysis import crossed, paper_tables, stats, tables
from sacd.analysis.crossed import Estimate
from sacd.stages import STAGES

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
    table = paper_tables.fig5(numbers, planes, DATA, columns=["accuracy"])
    assert table["row"].tolist() == ["a: 0.5/1/1", "b: 0.5/1/1", "b: 10/1/1"]
    assert table["value"].tolist() == pytest.approx([80, 80, 60])


def cells(**more):
    """Two cells of a confusion matrix."""
    table = pd.DataFrame({"stage": ["W", "W"], "prediction": ["W", "N1"], "value": [70.0, 30.0]})
    return table.assign(column=["W as W", "W as N1"], **more)


def test_fig6_prints_recalls_on_the_diagonal_only():
    given = {"SACD": cells(), "SACD - CCL": cells(p_holm=0.2, verdict="undecided")}
    table = paper_tables.fig6(given, {"SACD": "AttnSleep/SACD"}, DATA)
    assert line_of(table, "SACD", "W as W")["paper_value"] == 75.6
    assert table["paper_value"].notna().sum() == 1
    assert line_of(table, "SACD - CCL", "W as N1")["p_holm"] == 0.2


def test_fig7_strength_is_the_mean_over_seeds_and_the_largest_p():
    numbers = {"median_rho": [0.1, 0.3], "mean_abs": 0.2, "null_mean_abs": 0.1, "above": 3}
    numbers |= {"null_above": 1.0, "p_mean_abs": [0.2, 0.05]}
    index = pd.MultiIndex.from_tuples(
        [("SACD", 0, "N2"), ("SACD", 1, "N2")], names=["method", "seed", "stage"]
    )
    table = paper_tables.fig7_strength(pd.DataFrame(numbers, index), {"N2": 9}, DATA)
    assert (table["row"] == "SACD: N2").all()
    rho = line_of(table, "SACD: N2", "median rho")
    assert rho["value"] == pytest.approx(0.2)
    assert rho["sd"] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert (rho["n_seeds"], rho["n_subjects"]) == (2, 9)
    p = line_of(table, "SACD: N2", "p (mean |rho|)")
    assert p["value"] == 0.2 and np.isnan(p["sd"])


def test_fig7_contrast_and_counts():
    estimate = Estimate(0.2, 0.1, 0.3, 0.01, 9, 2, 0.04, 5.0)
    contrast = paper_tables.fig7_contrast("SACD: N2 and N3", estimate, DATA).iloc[0]
    assert contrast[["value", "ci_high", "n_seeds", "se"]].tolist() == [0.2, 0.3, 2, 0.04]
    counts = paper_tables.fig7_counts(9, 5, 512, DATA)
    assert counts["value"].tolist() == [9, 5, 512]


def test_fig8_shows_hits_beside_chance():
    hits = pd.DataFrame(
        {"value": 50.0, "ci_low": 30.0, "ci_high": 70.0}, index=[("N2", "held out")]
    )
    hits = hits.assign(chance=25.0, p_value=0.04, n=8)
    table = paper_tables.fig8({"N2": 12}, {"N2": 20}, hits, DATA)
    assert line_of(table, "N2", "channels")[["value", "n_subjects"]].tolist() == [12, 20]
    gain = line_of(table, "N2: leave one out, held out", "right group minus chance (points)")
    assert gain[["value", "ci_low", "ci_high"]].tolist() == [25, 5, 45]
    assert paper_tables.fig8({}, {}, pd.DataFrame(), DATA).columns.tolist() == tables.COLUMNS


def test_fig9_has_an_interval_for_rho_and_none_for_p():
    told = pd.DataFrame({"value": 0.5, "ci_low": 0.1, "ci_high": 0.8}, index=[("N3", "all others")])
    table = paper_tables.fig9(told.assign(p_value=0.02, n_subjects=16), DATA)
    assert table["row"].tolist() == ["N3, all others"] * 2
    assert table["value"].tolist() == [0.5, 0.02]
    assert table["ci_low"].notna().tolist() == [True, False]
    assert paper_tables.fig9(pd.DataFrame(), DATA).empty


def test_fig10_measures_and_differences_agree():
    subject = np.repeat(["a", "b", "c"], 4)
    rng = np.random.default_rng(0)
    values = {key: rng.random(12) for key in [("SACD", 0), ("SACD", 1), ("CCL", 0), ("CCL", 1)]}
    measures = {"purity (%)": values}
    measured = paper_tables.fig10_measures(measures, ["SACD", "CCL"], 2, subject)
    apart = paper_tables.fig10_differences(measures, "SACD", ["CCL"], 2, subject)
    means = measured.set_index("row")["value"]
    assert means["SACD"] == pytest.approx(np.mean([values["SACD", 0], values["SACD", 1]]))
    assert apart["value"].tolist() == pytest.approx([means["SACD"] - means["CCL"]])
    assert apart["p_holm"].tolist() == apart["p_value"].tolist()  # one test: nothing to correct
    assert apart["n_seeds"].tolist() == [2] and apart["margin"].tolist() == [1.0]
    assert apart["verdict"].tolist() == ["undecided"], "three subjects decide nothing"
    table = paper_tables.fig10(measured, apart, 40.0, 3, DATA)
    assert table["row"].tolist() == ["SACD", "CCL", "SACD - CCL", "chance"]
    assert line_of(table, "chance", "purity (%)")["value"] == 40


def test_fig11_names_stage_and_column():
    change = pd.DataFrame({"stage": ["all", "N1"], "column": ["net", "net"], "value": [2.0, -1.0]})
    table = paper_tables.fig11(change, DATA)
    assert line_of(table, "N1", "net (%)")["value"] == -1


@pytest.fixture
def link():
    movement = pd.Series([4.0, 1.0, 3.0, 2.0, 9.0], index=list("abcde"))
    accuracy = pd.DataFrame({0: [70, 90, 80, 85, 50], 1: [72, 60, 80, 81, 90]}, index=list("abcde"))
    return movement, accuracy


def test_movement_and_error_is_spearman_of_each_seed_and_crossed(link):
    movement, accuracy = link

    def rho_of(people, seed):
        return spearmanr(movement[people], -accuracy.loc[people, seed])[0]

    everybody = list(movement.index)
    table = paper_tables.movement_and_error(movement, accuracy)
    total = np.array([rho_of(everybody, seed) for seed in accuracy])
    left = [[rho_of([x for x in everybody if x != out], s) for s in accuracy] for out in everybody]
    expected = crossed.estimates(total[:, None], np.array(left)[..., None])[0]
    line, p = table.iloc[0], table.iloc[1]
    assert line[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(expected[:3])
    assert line["value"] == pytest.approx(total.mean()) and p["value"] == expected.p_value
    assert line["sd"] == pytest.approx(np.std(total, ddof=1))


def test_movement_and_error_of_three_subjects_is_unknown(link):
    movement, accuracy = link
    table = paper_tables.movement_and_error(movement.head(3), accuracy.head(3))
    assert table["value"].isna().all() and table["n_subjects"].tolist() == [3, 3]


def test_fig12_joins_distance_place_and_movement(link):
    by_distance = pd.DataFrame({"method": "SACD", "distance": [1, 5], "value": [40.0, 20.0]})
    beside = pd.concat({"SACD": pd.DataFrame({"value": [20.0]}, index=["all clips"])})
    table = paper_tables.fig12(by_distance, beside, paper_tables.movement_and_error(*link), DATA)
    assert table["column"].tolist() == [
        "error at distance 1 (%)",
        "error at distance 5 or more (%)",
        "beside minus far of all clips (points)",
        "rho of movement and error",
        "p",
    ]


def test_fig13_leaves_out_the_diagonal():
    table = paper_tables.fig13(cells(), DATA)
    assert table[["row", "column", "value"]].to_numpy().tolist() == [["true W", "N1", 30.0]]
    assert set(table["row"]) <= {f"true {stage}" for stage in STAGES}
