"""A number altered in the results stays an error, whatever is executed afterwards."""

import json

import made_up_results
import pytest

from sacd import results
from sacd.experiments import record
from sacd.runs.notebook_copies import stamped
from sacd.runs.notebook_inputs import hashes_of, read_notebook

COPY = "notebooks/20_table2_comparison.ipynb"
TABLE = "tables/table2.csv"


@pytest.fixture(params=["copy lists its files", "copy of an older version"])
def space(request, tmp_path, monkeypatch):
    space = made_up_results.make(tmp_path, monkeypatch)
    if request.param == "copy lists its files":
        execute(space)
        record.write_manifest(space)
    return space


def execute(space, word="1"):
    """The notebook is executed again: its copy lists its files as they are now."""
    path = space.results / COPY
    notebook = read_notebook(path)
    notebook["cells"][-1]["source"] = word
    before = notebook["metadata"]["sacd"]
    files = [space.results / name for name in (TABLE, "figures/a.png")]
    kept = {"depends": before["depends"], "results": hashes_of(files)}
    notebook["cells"] = [c for c in notebook["cells"] if c.get("id") != "stamp"]
    path.write_text(stamped(notebook, kept, before["stamp"]))


def append(path):
    if path.suffix == ".ipynb":
        path.write_text(path.read_text().replace("# Table II", "# Table II, forged"))
    else:
        path.write_bytes(path.read_bytes() + b"\n")


def remove(path):
    path.unlink()


@pytest.mark.parametrize("harm", [append, remove])
@pytest.mark.parametrize("name", [TABLE, "tables/table2.md", "figures/a.png", COPY])
def test_what_was_altered_or_removed_stays_an_error(space, harm, name):
    path = space.results / name
    harm(path)
    before = results.altered(space.results)
    for _ in range(2):
        record.write_manifest(space)
        assert results.altered(space.results) == before
    assert len(before) == 1 and before[0].startswith(f"{name}: ")


def test_executed_again_its_new_files_are_entered(space):
    append(space.results / TABLE)
    execute(space, "2")
    record.write_manifest(space)
    assert results.altered(space.results) == []


def test_altered_after_it_was_executed_again_it_is_an_error_at_once(space):
    execute(space, "2")
    append(space.results / TABLE)
    record.write_manifest(space)
    [problem] = results.altered(space.results)
    assert problem.startswith(f"{TABLE}: altered")


def test_table_and_copy_altered_together_are_both_errors(space):
    append(space.results / TABLE)
    copy = json.loads((space.results / COPY).read_text())
    copy["cells"][0]["source"] = "forged"
    (space.results / COPY).write_text(json.dumps(copy))
    record.write_manifest(space)
    assert len(results.altered(space.results)) == 2


def test_a_file_that_no_notebook_makes_may_go(space):
    (space.results / "note.txt").write_text("mine")
    record.write_manifest(space)
    assert "note.txt" in results.read_manifest(space.results)["files"]
    (space.results / "note.txt").unlink()
    record.write_manifest(space)
    assert results.altered(space.results) == []
