"""Which runs the items ask for: counted on a workspace whose stores are never read."""

import re
from types import SimpleNamespace

import pytest

from sacd.experiments.items import CHECKOUT, ITEMS, NOTEBOOKS
from sacd.experiments.profiles import PROFILES
from sacd.experiments.rows import PAPER_LAMBDAS, PLANES, flat, planes, point_name, table2
from sacd.experiments.workspace import Workspace
from sacd.models.eeg import TEACHERS
from sacd.paper import printed as paper
from sacd.results import FROM_PRETRAINING
from sacd.runs.fingerprint import code_hashes
from sacd.runs.notebook_inputs import parameters_of


@pytest.fixture(params=["smoke", "paper"])
def w(request, tmp_path, monkeypatch):
    monkeypatch.setattr(
        Workspace, "store", property(lambda self: SimpleNamespace(fingerprint=self.store_path.name))
    )
    monkeypatch.setattr(Workspace, "prepare", lambda self, workers=None: None)
    return Workspace(request.param, root=tmp_path)


def ids(runs):
    return {run.id for run in runs}


@pytest.mark.parametrize("item", ["table4", "table5", "fig5", "readings"])
def test_labels_tell_the_runs_of_an_item_apart(w, item):
    runs = flat(ITEMS[item].rows(w))
    assert len({run.label for run in runs}) == len(ids(runs)) == len(runs)


def test_every_teacher_can_teach(w):
    """MC2SleepNet reads sequences, so its training refuses the others' shuffled clips."""
    for name in TEACHERS:
        fit = dict(w.student(method="sacd", teacher=name).inputs)["teacher"].config.fit
        if name == "mc2sleepnet":
            assert (fit.order, fit.batch, fit.blocks_per_batch) == (
                "block",
                16,
                w.profile.teacher.batch // 16,
            )
        else:
            own = w.profile.teacher_fits.get(name, {})
            assert fit == w.profile.teacher.model_copy(update=own)


def test_readings_repeat_the_pretraining_where_there_is_one(w):
    rows = ITEMS["readings"].rows(w)
    again = [row for row in rows if row.startswith(FROM_PRETRAINING)]
    assert len(again) == (4 if w.profile.pretext else 0)
    for row in again[1:]:
        number = row.removeprefix(FROM_PRETRAINING)
        for other, usual in ((row, again[0]), (f"default, pretraining{number}", "default")):
            for run, first in zip(rows[other], rows[usual], strict=False):
                assert run.config == first.config and run.inputs != first.inputs


def test_table4_starts_everything_from_the_two_baselines(w):
    rows = ITEMS["table4"].rows(w)
    assert set(paper.table("table4").index) | {"control/EEG trained on"} == set(rows)
    video, eeg = rows["R3D-18 (video)"], rows["AttnSleep (EEG)"][0]
    assert (
        video == ITEMS["table2"].rows(w)["-/R3D-18"] and video[0].config.backbone.name == "r3d_18"
    )
    for row in (*"ABCDEFG", "control/EEG trained on"):
        for seed, run in enumerate(rows[row]):
            inputs = dict(run.inputs)
            assert inputs["student"] == video[seed] and inputs["teacher"] == eeg
            assert run.config.fit == (w.profile.fusion if row in "AB" else w.profile.finetune)
            assert inputs.get("head") == {"C": rows["A"], "D": rows["B"]}.get(row, [None] * 9)[seed]
    finetune = {
        row: runs[0].config.finetune
        for row, runs in rows.items()
        if hasattr(runs[0].config, "finetune")
    }
    assert [row for row, tuned in finetune.items() if tuned] == ["C", "D", "F", "G"]
    assert [rows[row][0].config.method.name for row in "EFG"] == ["sacd", "sacd", "ccl"]


def test_table5_drops_one_term_at_a_time_and_shares_its_ends_with_table2(w):
    rows, others = ITEMS["table5"].rows(w), ITEMS["table2"].rows(w)
    assert rows["v0"] == others["-/R(2+1)D-18"] and rows["ours"] == others["AttnSleep/SACD"]
    assert set(paper.table("table5").index) | {"v4, other direction"} == set(rows)
    base = rows["ours"][0].config.method.options
    changed = {
        r: dict(runs[0].config.method.options.items() - base.items())
        for r, runs in rows.items()
        if r[1] in "1234"
    }
    assert changed == {
        "v1": {"weight_structure": 0.0},
        "v2": {"weight_jsd": 0.0},
        "v3": {"weight_contrastive": 0.0},
        "v4": {"directions": "video"},
        "v4, other direction": {"directions": "eeg"},
    }


def test_fig5_has_three_planes_of_sixteen_points_and_trains_shared_points_once(w):
    lambdas = parameters_of(ITEMS["fig5"].source)["lambdas"][1]
    points = planes(lambdas, ["a", "b", "c"])
    assert {panel: len(p) for panel, p in points.items()} == {"a": 16, "b": 16, "c": 16}
    for panel, fixed in PLANES.items():
        assert {p[fixed] for p in points[panel]} == {PAPER_LAMBDAS[fixed]}
        assert {x for p in points[panel] for x in p} == set(lambdas)
    rows = ITEMS["fig5"].rows(w)
    assert len(rows) == len(ids(flat(rows))) == len(flat(rows)) == 37
    assert {(run.config.seed, run.config.method.weight) for run in flat(rows)} == {(0, 1.0)}
    options = rows["0.1/1/10"][0].config.method.options
    weights = [options[f"weight_{term}"] for term in ("structure", "contrastive", "jsd")]
    assert weights == [0.1, 1.0, 10.0]
    for run in flat(rows):
        assert run.config.fit.model_dump() == w.profile.student.model_dump() | w.profile.grid
    printed = {row.partition(": ")[2] for row in paper.table("fig5").index if " - " not in row}
    assert printed <= set(rows), "every printed point is trained"


def test_a_reading_is_left_out_where_the_profile_has_it_anyway(w):
    rows = ITEMS["readings"].rows(w)
    layers = w.profile.methods["sacd"]["layers"]
    assert {r for r in rows if r.startswith("graph")} == {
        f"graph: {n} propagation layer{'s' * (n > 1)}" for n in (1, 3, 5) if n != layers
    }
    consecutive = w.profile.store.sampling == "consecutive"
    assert ("frames: 16 consecutive" in rows) == (not consecutive)
    assert rows["default"] == ITEMS["table2"].rows(w)["AttnSleep/SACD"]


def test_other_frames_have_a_store_a_motion_and_a_pretext_of_their_own_and_the_same_teacher(w):
    rows = ITEMS["readings"].rows(w)
    run, default = rows["frames: 16 over the 30 s"][0], rows["default"][0]
    assert dict(run.resources)["store"].endswith("store-16-spread")
    assert dict(default.resources)["store"] == str(w.store_path.resolve())
    assert run.config == default.config, "only the frames differ"
    for name, other in run.inputs:
        if name == "teacher":
            assert other == dict(default.inputs)[name], "its EEG is the same"
        else:
            assert other != dict(default.inputs)[name] and other.resources == run.resources


def test_grids_of_the_small_profiles_are_no_longer_than_a_whole_training():
    for name in ("smoke", "demo"):
        student, grid = PROFILES[name].student, PROFILES[name].grid
        short = student.model_copy(update=grid)
        assert grid and (
            short.epochs * short.blocks_per_batch <= student.epochs * student.blocks_per_batch
        )
    assert PROFILES["demo"].grid["epochs"] < PROFILES["demo"].student.epochs
    assert PROFILES["paper"].grid == {} and point_name((0.1, 10.0, 0.5)) == "0.1/10/0.5"


def test_a_run_names_the_module_of_its_teacher(w):
    """The teacher is imported by a string, which the fingerprint would not follow."""
    teachers = {
        runs[0].config.name: runs[0]
        for row, runs in ITEMS["table2"].rows(w).items()
        if row.startswith("teacher/")
    }
    assert "sacd.models.modified_sen:ModifiedSEN" in code_hashes(teachers["modified_sen"].entries)
    assert "sacd.models.modified_sen:ModifiedSEN" not in code_hashes(teachers["attnsleep"].entries)


def test_a_notebook_hands_its_parameters_to_its_rows(w):
    fig5, table2 = NOTEBOOKS["30_fig5_hyperparameters"], NOTEBOOKS["20_table2_comparison"]
    assert list(fig5.rows(w, lambdas=[0.5, 1.0], panels=["c"])) == [
        "0.5/0.5/1", "0.5/1/1", "1/0.5/1", "1/1/1",
    ]  # fmt: skip
    fewer = table2.rows(w, students=["R3D-18"], teachers=["AttnSleep"], methods=["SACD", "kd"])
    whole = table2.rows(w)
    assert fewer["AttnSleep/SACD"] == whole["AttnSleep/SACD"], "nothing that is there is trained"
    assert {row for row in fewer if row not in whole} == {"AttnSleep/kd"}
    assert fewer["AttnSleep/kd"][0].config.method.name == "kd"


@pytest.mark.parametrize(
    ("item", "changed", "reason"),
    [
        ("fig5", {"panels": ["d"]}, "panel 'd' is unknown; known: a, b, c"),
        ("table5", {"ablations": ["v9"]}, "ablation 'v9' is unknown; known: v1,"),
        ("readings", {"alternatives": ["x"]}, "reading 'x' is unknown; known: L_D: eq. 11"),
        ("table2", {"methods": ["x"]}, "method 'x' is unknown; known: ce,"),
        ("table2", {"teachers": ["x"]}, "teacher 'x' is unknown; known: attnsleep,"),
    ],
)
def test_an_unknown_row_is_refused_in_one_line(w, item, changed, reason):
    with pytest.raises(ValueError, match=f"^{reason}"):
        ITEMS[item].rows(w, **changed)


@pytest.mark.parametrize("w", ["paper"], indirect=True)
def test_the_page_on_scale_counts_these_runs(w):
    """Trainings per step in docs/scale.md: students, fusion and reverse; each counted once."""
    steps = [
        table2(w, ["R(2+1)D-18"], ["AttnSleep"], ["CCL", "SACD"], ["KD"]),
        *(ITEMS[item].rows(w) for item in ("table2", "table5", "table4", "fig5")),
        NOTEBOOKS["24_tuning"].rows(w),
        ITEMS["readings"].rows(w),
    ]
    networks = (":student", ":fusion", ":reverse")
    counted, seen = [], set()
    for rows in steps:
        trained = {run.id for run in flat(rows) if run.task.endswith(networks)}
        counted.append(len(trained - seen))
        seen |= trained
    page = (CHECKOUT / "docs" / "scale.md").read_text()
    lines = re.findall(r"^\| (?:\d\. |together)[^|]*\| (\d+) \|", page, re.MULTILINE)
    assert [int(number) for number in lines] == [*counted, sum(counted)]
