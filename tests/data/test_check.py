"""`check` lists every problem of a cohort, with file, level and fix."""

import json
import shutil

import pytest
from cohort_faults import ERRORS, NOISE, WARNINGS, edit
from cohort_files import REAL, paths, write_about, write_cohort, write_edf

from sacd.__main__ import main
from sacd.data.check import check


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("good") / "cohort", ("sub-01",))


@pytest.fixture
def cohort(good, tmp_path):
    return shutil.copytree(good, tmp_path / "cohort")


def test_good_cohort_has_no_problem(good):
    assert check(good).empty
    assert list(check(good).columns) == ["subject", "file", "level", "problem", "fix"]


@pytest.mark.parametrize("fault", [*ERRORS, *WARNINGS])
def test_check_names_every_fault(cohort, fault):
    level = "error" if fault in ERRORS else "warning"
    damage, file, problem = (ERRORS | WARNINGS)[fault]
    damage(cohort)
    table = check(cohort)
    hits = table[
        table["problem"].str.contains(problem, regex=False)
        & table["file"].str.contains(file, regex=False)
    ]
    assert hits["level"].tolist() == [level], table.to_string()
    assert hits["fix"].str.len().min() > 5
    assert not hits["problem"].str.contains("\n").any()


def test_check_lists_all_problems_of_all_nights(tmp_path):
    root = write_cohort(tmp_path, ("sub-01", "sub-02"))
    write_about(root, {"sub-01": 3, "sub-02": -1, "sub-03": 8})
    edit(paths(root, "sub-01")[1], "N2", "N7")
    write_edf(paths(root, "sub-02")[0], {"O1": (NOISE, 128)})
    paths(root, "sub-02")[2].with_suffix(".json").write_text(json.dumps({"StartOffset": None}))
    table = check(root)
    assert table[["subject", "level"]].values.tolist() == [
        ["sub-02", "error"],  # AHI
        ["sub-03", "error"],  # no files
        ["sub-01", "error"],  # N7
        ["sub-02", "error"],  # channel
        ["sub-02", "error"],  # offset
    ]


def test_check_of_no_folder(tmp_path):
    assert check(tmp_path / "none")["problem"].tolist() == ["is not a folder"]
    assert len(check(tmp_path)) == 2  # neither description nor participants


def test_real_eeg_is_plausible(cohort):
    source = REAL / "rsleep_psg_2min" / "subject1.edf"
    if not source.is_file():
        pytest.skip("no real data here")
    shutil.copy(source, paths(cohort, "sub-01")[0])
    assert check(cohort, "C3-M2").empty
    assert (
        check(cohort, "F")["problem"].str.contains("standard deviation of 0.34").all()
    )  # a ground electrode
    assert check(cohort, "SpO2")["problem"].str.contains("SpO2 B-B is sampled at 3 Hz").any()


def test_a_link_to_itself_is_one_line(tmp_path, capsys):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(SystemExit) as refused:
        main(["check", "--data", str(tmp_path / "a")])
    [line] = capsys.readouterr().err.splitlines()
    assert refused.value.code == 2 and "Symlink loop" in line and "give another path" in line
    assert check(tmp_path / "a")["problem"].tolist() == ["is not a folder"]


def test_the_command_shows_every_night_and_counts_subjects(good, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # a table is as wide as the screen
    assert main(["check", "--data", str(good)]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "scored" in out and "100%" in out and "needed for" in out
