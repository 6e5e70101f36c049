"""The manifest: what it lists, when it is written, what it notices."""

import json
import os
from types import SimpleNamespace

import made_up_results
import numpy as np
import pandas as pd
import pytest

from sacd import results
from sacd.experiments import record, reproduce
from sacd.files import sha256, write_parquet
from sacd.metrics import ERRORS, METRICS, scores, summary
from sacd.report.evidence import read_subjects
from sacd.runs.notebook import record_of


@pytest.fixture
def space(tmp_path, monkeypatch):
    return made_up_results.make(tmp_path, monkeypatch)


def test_every_file_has_its_checksum_and_maker(space):
    content = results.read_manifest(space.results)
    assert content["data"] == made_up_results.DATA and content["profile"] == "demo"
    makers = {name: entry["notebook"] for name, entry in content["files"].items()}
    assert makers == {
        "figures/a.png": "20_table2_comparison",
        "notebooks/20_table2_comparison.ipynb": "20_table2_comparison",
        "runs.csv": "reproduce",
        "tables/subjects.csv": "reproduce",
        **{f"tables/table2.{ending}": "20_table2_comparison" for ending in ("csv", "md", "tex")},
    }
    assert all(sha256(space.results / n) == e["sha256"] for n, e in content["files"].items())
    notebook = content["notebooks"]["20_table2_comparison"]
    assert len(notebook["runs"]) == 6 and list(notebook) == ["runs"]
    assert (
        content["machine"]["packages"]["numpy"] and "pinned" in content["machine"]["instructions"]
    )
    assert str(space.results.parent) not in json.dumps(content)


def test_subjects_hold_the_confusion_matrices(space):
    path = space.results / results.SUBJECTS
    assert not (pd.read_csv(path)[list(ERRORS)] == 0).any(axis=None), "zeros are left out"
    table = read_subjects(path)
    run = space.rows["AttnSleep/SACD"][1]
    lines = table[(table["row"] == "AttnSleep/SACD") & (table["seed"] == 1)]
    matrix = lines[list(ERRORS)].sum().to_numpy().reshape(5, 5)
    assert len(lines) == 12
    np.testing.assert_allclose(
        scores(matrix), [summary(space.predictions(run))[m] for m in METRICS]
    )


def test_runs_are_listed_with_what_they_depend_on(space):
    runs = pd.read_csv(space.results / results.RUNS, dtype=str)
    assert len(runs) == 6 and runs["run"].is_unique and set(runs["item"]) == {"table2"}
    assert set(zip(runs["data"], runs["code"], strict=True)) == {("d" * 12, "e" * 16)}
    assert runs["settings"].is_unique


def test_what_differs_when_computed_again_stands_in_the_record_alone(space):
    lines = pd.read_csv(space.results / record.RECORD, dtype=str)
    assert lines["kind"].tolist() == ["run"] * 6 + ["notebook"]
    runs = lines[lines["kind"] == "run"]
    assert set(zip(runs["duration_s"], runs["cpu"], strict=True)) == {("36.0", "Made up, 2 GHz")}
    assert lines["commit"].unique().tolist() == ["c" * 40] and set(runs["lock"]) == {"1" * 12}
    others = [
        path
        for path in space.results.rglob("*")
        if path.suffix in (".csv", ".json", ".ipynb", ".md")
    ]
    others = [
        path for path in others if path.name != record.RECORD and not path.name.startswith(".")
    ]
    assert others and not any(
        "c" * 40 in path.read_text() or "2026-01-0" in path.read_text() for path in others
    )


def test_computed_again_to_the_same_bytes_the_record_stays(space):
    before = {path.name: path.read_bytes() for path in space.results.iterdir() if path.is_file()}
    for run in (run for runs in space.rows.values() for run in runs):
        facts = space.runs.folder(run) / "provenance.json"
        facts.write_text(facts.read_text().replace("36.0", "47.0").replace("2 GHz", "3 GHz"))
    sidecar = record_of(space.results / "notebooks" / "20_table2_comparison.ipynb")
    sidecar.write_text(sidecar.read_text().replace("2026-01-02", "2026-02-03"))
    record.write_manifest(space)
    assert {
        path.name: path.read_bytes() for path in space.results.iterdir() if path.is_file()
    } == before


def test_lines_of_an_older_file_have_empty_text_in_newer_columns(space):
    runs, index = space.results / results.RUNS, space.results / results.MANIFEST
    before = sha256(runs)
    pd.read_csv(runs, dtype=str).drop(columns=["data", "code"]).to_csv(runs, index=False)
    index.write_text(index.read_text().replace(before, sha256(runs)))
    for run in space.rows["AttnSleep/CCL"]:
        (space.runs.folder(run) / "provenance.json").unlink()
    record.write_manifest(space)
    table = pd.read_csv(runs, dtype=str, keep_default_na=False)
    kept = table["row"] == "AttnSleep/CCL"
    assert kept.sum() == 2 and set(table.loc[kept, ["data", "code"]].to_numpy().ravel()) == {""}
    assert set(table.loc[~kept, "code"]) == {"e" * 16}


def test_a_second_time_nothing_is_written(space, monkeypatch):
    for path in space.results.rglob("*"):
        os.utime(path, (0, 0))  # whatever is written now is newer
    monkeypatch.setattr(record, "_by_subject", lambda *a: pytest.fail("computed again"))
    record.write_manifest(space)
    assert {path.stat().st_mtime_ns for path in space.results.rglob("*")} == {0}


def test_lines_of_runs_computed_elsewhere_stay_until_nobody_asks_for_them(space):
    files = [space.results / name for name in (results.RUNS, results.SUBJECTS)]
    before = [sorted(path.read_text().splitlines()) for path in files]
    for run in space.rows["AttnSleep/CCL"]:
        (space.runs.folder(run) / "provenance.json").unlink()
    record.write_manifest(space)
    assert [sorted(path.read_text().splitlines()) for path in files] == before
    space.prepared = False  # a fresh clone: which runs are asked for is not known without the data
    record.write_manifest(space)
    assert [sorted(path.read_text().splitlines()) for path in files] == before
    space.prepared = True
    del space.rows["AttnSleep/CCL"]
    record.write_manifest(space)
    assert len(pd.read_csv(files[0])) == 4 and len(pd.read_csv(files[1])) == 4 * 12


def test_the_order_of_lines_does_not_depend_on_what_was_computed_here(space):
    files = [space.results / name for name in (results.RUNS, results.SUBJECTS, record.RECORD)]
    before = [path.read_bytes() for path in files]
    for run in space.rows["-/R(2+1)D-18"]:  # the first row
        (space.runs.folder(run) / "provenance.json").unlink()
    record.write_manifest(space)
    assert [path.read_bytes() for path in files] == before
    space.prepared = False
    record.write_manifest(space)
    assert [path.read_bytes() for path in files] == before


def test_a_run_with_other_bytes_is_counted_again(space):
    run = space.rows["AttnSleep/CCL"][0]
    path = space.runs.folder(run) / "predictions.parquet"
    write_parquet(path, made_up_results.predictions(0.2, 12, 0))
    checksums = {path.name: sha256(path), "provenance.json": "of another day"}
    (path.parent / "checksums.json").write_text(json.dumps(checksums))
    before = pd.read_csv(space.results / results.RUNS, dtype=str)
    subjects = (space.results / results.SUBJECTS).read_text()
    shown = SimpleNamespace(data=lambda w: [], runs=lambda w: [run], frames=(), reads=())
    assert reproduce._depends(space, shown) == {run.label: f"{run.id} {space.runs.content(run)}"}
    record.write_manifest(space)
    after = pd.read_csv(space.results / results.RUNS, dtype=str)
    changed = before["content"] != after["content"]
    assert after[changed]["run"].tolist() == [run.id]
    assert (space.results / results.SUBJECTS).read_text() != subjects


def test_an_altered_subjects_file_is_made_again(space):
    path = space.results / results.SUBJECTS
    before = path.read_bytes()
    path.write_text("forged")
    record.write_manifest(space)
    assert path.read_bytes() == before


def test_missing_and_altered_files_are_named(space):
    assert results.altered(space.results) == []
    (space.results / "figures" / "a.png").unlink()
    with (space.results / "tables" / "table2.csv").open("a") as file:
        file.write("\n")
    missing, altered = results.altered(space.results)
    assert missing.startswith("figures/a.png: missing") and "20_table2_comparison" in missing
    assert altered.startswith("tables/table2.csv: altered")


def test_what_follows_from_the_rest_is_not_listed(space):
    for name in (
        "report/index.html",
        "notebooks/a.html",
        "notebooks/failed/a.ipynb",
        ".x/y",
        "verify.md",
        "z.csv",
    ):
        (space.results / name).parent.mkdir(exist_ok=True)
        (space.results / name).touch()
    listed = set(results.listed_files(space.results))
    assert listed - set(results.read_manifest(space.results)["files"]) == {"z.csv"}


def test_no_manifest_is_one_line(tmp_path):
    with pytest.raises(
        ValueError, match=r"MANIFEST\.json: missing or truncated; `make reproduce` writes it"
    ):
        results.altered(tmp_path)


def test_lines_of_an_item_that_has_another_name_by_now_go(space, monkeypatch):
    (notebook,) = record.NOTEBOOKS.values()
    renamed = notebook._replace(item="table3")
    monkeypatch.setattr(record, "ITEMS", {"table3": renamed})
    monkeypatch.setattr(record, "NOTEBOOKS", {"20_table2_comparison": renamed})
    record.write_manifest(space)
    for name in (results.RUNS, results.SUBJECTS):
        assert set(pd.read_csv(space.results / name)["item"]) == {"table3"}
