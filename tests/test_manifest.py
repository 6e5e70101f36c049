"""The manifest: what it lists, when it is written, what it notices."""

import json
import os

import made_up_results
import numpy as np
import pandas as pd
import pytest

from sacd import manifest
from sacd.claims import ERRORS
from sacd.files import sha256
from sacd.metrics import METRICS, scores, summary


@pytest.fixture
def space(tmp_path, monkeypatch):
    return made_up_results.make(tmp_path, monkeypatch)


def test_every_file_has_its_checksum_and_maker(space):
    content = manifest.read_manifest(space.results)
    assert content["data"] == made_up_results.DATA and content["profile"] == "demo"
    makers = {name: entry["notebook"] for name, entry in content["files"].items()}
    assert makers == {
        "figures/a.png": "20_comparison",
        "notebooks/20_comparison.ipynb": "20_comparison",
        "runs.csv": "reproduce",
        "tables/subjects.csv": "reproduce",
        **{f"tables/table2.{ending}": "20_comparison" for ending in ("csv", "md", "tex")},
    }
    assert all(sha256(space.results / n) == e["sha256"] for n, e in content["files"].items())
    notebook = content["notebooks"]["20_comparison"]
    assert len(notebook["runs"]) == 6 and notebook["commit"] == "c" * 40 and notebook["date"].endswith("UTC")
    assert content["machine"]["packages"]["numpy"]
    assert str(space.results.parent) not in json.dumps(content)


def test_subjects_hold_the_confusion_matrices(space):
    table = pd.read_csv(space.results / manifest.SUBJECTS)
    run = space.rows["AttnSleep/SACD"][1]
    lines = table[(table["row"] == "AttnSleep/SACD") & (table["seed"] == 1)]
    matrix = lines[list(ERRORS)].sum().to_numpy().reshape(5, 5)
    assert len(lines) == 12
    np.testing.assert_allclose(scores(matrix), [summary(space.predictions(run))[m] for m in METRICS])


def test_runs_are_listed_with_their_cost(space):
    runs = pd.read_csv(space.results / manifest.RUNS)
    assert len(runs) == 6 and runs["run"].is_unique and set(runs["item"]) == {"table2"}
    assert runs[["duration_s", "peak_cpu_mb", "seed"]].max().tolist() == [36.0, 1024.0, 1]


def test_runs_name_their_data_processor_and_lock(space):
    runs = pd.read_csv(space.results / manifest.RUNS, dtype=str)
    assert set(zip(runs["data"], runs["cpu"], runs["lock"], strict=True)) == {("d" * 12, "Made up, 2 GHz", "1" * 12)}


def test_lines_of_an_older_file_have_empty_text_in_newer_columns(space):
    runs, index = space.results / manifest.RUNS, space.results / manifest.MANIFEST
    before = sha256(runs)
    pd.read_csv(runs, dtype=str).drop(columns=["data", "cpu", "lock"]).to_csv(runs, index=False)
    index.write_text(index.read_text().replace(before, sha256(runs)))
    for run in space.rows["AttnSleep/CCL"]:
        (space.runs.folder(run) / "provenance.json").unlink()
    manifest.write_manifest(space)
    table = pd.read_csv(runs, dtype=str, keep_default_na=False)
    kept = table["row"] == "AttnSleep/CCL"
    assert kept.sum() == 2 and set(table.loc[kept, ["data", "cpu", "lock"]].to_numpy().ravel()) == {""}
    assert set(table.loc[~kept, "lock"]) == {"1" * 12}


def test_a_second_time_nothing_is_written(space, monkeypatch):
    for path in space.results.rglob("*"):
        os.utime(path, (0, 0))  # whatever is written now is newer
    monkeypatch.setattr(manifest, "_by_subject", lambda *a: pytest.fail("computed again"))
    manifest.write_manifest(space)
    assert {path.stat().st_mtime_ns for path in space.results.rglob("*")} == {0}


def test_lines_of_runs_computed_elsewhere_stay_until_nobody_asks_for_them(space):
    files = [space.results / name for name in (manifest.RUNS, manifest.SUBJECTS)]
    before = [sorted(path.read_text().splitlines()) for path in files]
    for run in space.rows["AttnSleep/CCL"]:
        (space.runs.folder(run) / "provenance.json").unlink()
    manifest.write_manifest(space)
    assert [sorted(path.read_text().splitlines()) for path in files] == before
    space.prepared = False  # a fresh clone: which runs are asked for is not known without the data
    manifest.write_manifest(space)
    assert [sorted(path.read_text().splitlines()) for path in files] == before
    space.prepared = True
    del space.rows["AttnSleep/CCL"]
    manifest.write_manifest(space)
    assert len(pd.read_csv(files[0])) == 4 and len(pd.read_csv(files[1])) == 4 * 12


def test_a_run_computed_anew_replaces_its_line(space):
    run = space.rows["AttnSleep/CCL"][0]
    facts = space.runs.folder(run) / "provenance.json"
    facts.write_text(facts.read_text().replace("36.0", "47.0"))
    manifest.write_manifest(space)
    runs = pd.read_csv(space.results / manifest.RUNS)
    assert sorted(runs["duration_s"]) == [36.0] * 5 + [47.0] and runs["run"].is_unique


def test_an_altered_subjects_file_is_made_again(space):
    path = space.results / manifest.SUBJECTS
    before = path.read_bytes()
    path.write_text("forged")
    manifest.write_manifest(space)
    assert path.read_bytes() == before


def test_missing_and_altered_files_are_named(space):
    assert manifest.altered(space.results) == []
    (space.results / "figures" / "a.png").unlink()
    with (space.results / "tables" / "table2.csv").open("a") as file:
        file.write("\n")
    missing, altered = manifest.altered(space.results)
    assert missing.startswith("figures/a.png: missing") and "20_comparison" in missing
    assert altered.startswith("tables/table2.csv: altered")


def test_what_follows_from_the_rest_is_not_listed(space):
    for name in ("report/index.html", "notebooks/a.html", "notebooks/failed/a.ipynb", ".x/y", "verify.md", "z.csv"):
        (space.results / name).parent.mkdir(exist_ok=True)
        (space.results / name).touch()
    listed = set(manifest.listed_files(space.results))
    assert listed - set(manifest.read_manifest(space.results)["files"]) == {"z.csv"}


def test_no_manifest_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"MANIFEST\.json: missing or truncated; `make reproduce` writes it"):
        manifest.altered(tmp_path)


def test_lines_of_an_item_that_has_another_name_by_now_go(space, monkeypatch):
    (notebook,) = manifest.NOTEBOOKS.values()
    monkeypatch.setattr(manifest, "ITEMS", {"table3": notebook.rows})
    monkeypatch.setattr(manifest, "NOTEBOOKS", {"20_comparison": notebook._replace(item="table3")})
    manifest.write_manifest(space)
    for name in (manifest.RUNS, manifest.SUBJECTS):
        assert set(pd.read_csv(space.results / name)["item"]) == {"table3"}
