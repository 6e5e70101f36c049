"""Two computations of the same results: equal, within or outside the noise of retraining."""

import json
import shutil
import subprocess

import made_up_results
import pandas as pd
import pytest
from scipy import stats

from sacd.__main__ import _conclude
from sacd.analysis import tables
from sacd.report import drift
from sacd.results import FROM_PRETRAINING, RUNS, SUBJECTS

ROW = "AttnSleep/SACD"


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """The same results twice: as computed before, and here."""
    here = made_up_results.make(tmp_path / "here", monkeypatch, seeds=3).results
    shutil.copytree(here, tmp_path / "before")
    return tmp_path / "before", here


def compare(pair):
    before, here = pair
    return drift.drift(here, drift.folder(before))


def change(results, row, column, value, seeds=None):
    table = tables.read(results / "tables" / "table2.csv")
    cell = (table["row"] == row) & (table["column"] == column)
    table.loc[cell, "value"] += value
    tables.write(table, results / "tables", "table2")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_equal_results_are_equal_to_the_digit(pair):
    found = compare(pair)
    assert (
        not found.problems and set(found.numbers["verdict"]) == {drift.EQUAL} and found.claims.empty
    )
    assert found.numbers["primary"].sum() == 9  # three rows of PRIMARY are in the made-up table


def test_runs_with_the_same_bytes_are_counted(pair):
    assert "9 runs compared: 9 with the same bytes" in compare(pair).notes
    runs = pd.read_csv(pair[1] / RUNS, dtype=str)
    runs.loc[0, "content"] = "0" * 12
    runs.to_csv(pair[1] / RUNS, index=False)
    assert "9 runs compared: 8 with the same bytes" in compare(pair).notes


def test_the_noise_of_a_number_is_its_spread_over_seeds(pair):
    noise = compare(pair).numbers.set_index(["row", "column"])["noise"][ROW, "kappa"]
    table = tables.read(pair[0] / "tables" / "table2.csv")
    spread = table[table["column"] == "kappa"]["sd"]
    widest = max(
        (spread**2).mean() ** 0.5,
        table[(table["row"] == ROW) & (table["column"] == "kappa")]["sd"].item(),
    )
    # two means of three seeds each; 15 primary numbers share an error of 1 %
    assert noise == pytest.approx(widest * (2 / 3) ** 0.5 * 3.40, rel=0.01)
    change(pair[1], ROW, "kappa", 0.9 * noise)
    found = compare(pair)
    assert not found.problems and (found.numbers["verdict"] == drift.WITHIN).sum() == 1


def test_the_chance_of_the_pretraining_is_part_of_the_noise_of_a_row(pair):
    def noise():
        return compare(pair).numbers.set_index(["row", "column"])["noise"][ROW, "kappa"]

    seeds = noise()
    for results in pair:
        table = tables.read(results / "tables" / "table2.csv")
        alone = table[table["row"] == "-/R(2+1)D-18"].assign(item="readings")
        starts = []
        for number, shift in enumerate((0, -0.03, 0.03)):
            row = f"{FROM_PRETRAINING} {number}"
            starts.append(alone.assign(row=row, value=alone["value"] + shift))
        tables.write(pd.concat(starts), results / "tables", "readings")
        manifest = json.loads((results / "MANIFEST.json").read_text())
        manifest["files"]["tables/readings.csv"] = ""
        (results / "MANIFEST.json").write_text(json.dumps(manifest))
    # Two computations have one pretraining each; the three row means have an SD of 0.03.
    pretext = 0.03 * 2**0.5 * stats.norm.ppf(1 - drift.LEVEL / (2 * len(drift.PRIMARY)))
    assert noise() == pytest.approx((seeds**2 + pretext**2) ** 0.5, rel=0.01)


def test_only_a_primary_number_outside_the_noise_is_a_problem(pair):
    change(pair[1], ROW, "kappa", -0.4)
    change(pair[1], ROW, "REM", -60)
    found = compare(pair)
    assert [text.split(":")[0] for text in found.problems] == [f"table2, {ROW}, kappa"]
    outside = found.numbers[found.numbers["verdict"] == drift.OUTSIDE]
    assert set(outside["column"]) == {"kappa", "REM"}


def test_other_clips_and_other_settings_are_not_noise(pair):
    edit(
        pair[1] / "MANIFEST.json",
        json.loads((pair[1] / "MANIFEST.json").read_text())["clips"],
        "0" * 64,
    )
    assert compare(pair).problems == ["the clips or their stages differ: the data are not the same"]
    runs = pd.read_csv(pair[1] / RUNS, dtype=str)
    runs["settings"] = "f" * 8
    runs.to_csv(pair[1] / RUNS, index=False)
    assert (
        compare(pair)
        .problems[1]
        .startswith("9 of 9 runs have other settings, for example table2, -/R(2+1)D-18, seed 0")
    )


def test_other_code_and_other_pixels_are_noted_and_no_problem(pair):
    runs = pd.read_csv(pair[1] / RUNS, dtype=str)
    runs["data"], runs["code"] = "0" * 12, "1" * 16
    runs.to_csv(pair[1] / RUNS, index=False)
    found = compare(pair)
    assert not found.problems
    assert found.notes[1:] == [
        f"9 of 9 runs were computed with other {what} (by its hash)" for what in ("code", "data")
    ]


def test_a_missing_table_is_a_problem(pair):
    (pair[1] / "tables" / "table2.csv").unlink()
    assert (
        "tables/table2.csv: missing here, but among the results compared with"
        in compare(pair).problems
    )


def test_a_reversed_verdict_is_a_problem(pair):
    subjects = pair[1] / SUBJECTS
    table = pd.read_csv(subjects)
    names = {"-/R(2+1)D-18": ROW, ROW: "-/R(2+1)D-18"}
    table.assign(row=table["row"].replace(names)).to_csv(subjects, index=False)
    found = compare(pair)
    assert any("SACD is better than the video student alone" in text for text in found.problems)
    assert {"holds", "fails"} in [{line.before, line.now} for line in found.claims.itertuples()]


@pytest.mark.slow
def test_the_committed_results_are_the_default(pair, capsys):
    results = pair[1]
    root = results.parents[1]
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    assert _conclude(results, site=False) == 0
    assert "nothing to compare with" in capsys.readouterr().out
    for words in (["init", "-q"], ["add", "results"], ["commit", "-qm", "results"]):
        subprocess.run([*git, *words], check=True)
    assert _conclude(results, site=False) == 0
    assert "24 numbers compared: 24 equal to the digit" in capsys.readouterr().out
    change(results, ROW, "kappa", -0.4)
    assert _conclude(results, site=False) == 1
    assert _conclude(results, site=False, against=pair[0]) == 1


def test_the_output_fits_one_screen(pair, capsys):
    before, here = pair
    for name in list(json.loads((here / "MANIFEST.json").read_text())["files"]):
        (here / name).unlink()
    assert _conclude(here, site=False, against=before) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 50
    assert not [
        line for line in lines if len(line) > 80 and str(here) not in line
    ]  # a path is not broken
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) <= 11
    with pytest.raises(ValueError, match="not a results folder"):
        _conclude(here, site=False, against=here / "nowhere")
