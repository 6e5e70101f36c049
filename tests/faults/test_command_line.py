"""Bad inputs of the command line itself: folders that are missing, damaged or read-only."""

import os
import tempfile
from pathlib import Path

import pytest
from bad_inputs import Bad, refuse

from sacd.__main__ import main


def nothing(_: Path) -> None:
    pass


def file_at(name: str):
    def make(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a file")

    return make


ROWS = [
    Bad(
        "results is a file",
        file_at("results"),
        ("reproduce", "--profile", "smoke", "--root", "{root}", "--only", "audit"),
        "error: .*results.*",
    ),
    Bad(
        "verify against no results",
        nothing,
        ("verify", "--profile", "smoke", "--root", "{root}", "--against", "{root}/other"),
        r"error: .*/other: not a results folder, it has no MANIFEST.json; name one that",
    ),
    Bad(
        "a cohort that is not there",
        nothing,
        ("check", "--profile", "smoke", "--root", "{root}", "--data", "{root}/cohort"),
        "error: .*/cohort: no such folder; say DATA=",
    ),
    Bad(
        "the simulated cohort is a file",
        file_at("data/smoke/cohort"),
        ("simulate", "--profile", "smoke", "--root", "{root}"),
        "error: .*/cohort exists and is no simulated cohort",
    ),
    Bad(
        "runs is a file",
        file_at("runs"),
        ("runs", "show", "abc", "--store", "{root}/runs"),
        "error: no run starts with 'abc' in .*/runs",
    ),
]


@pytest.mark.parametrize("bad", ROWS, ids=lambda bad: bad.name)
def test_a_bad_input_is_one_line_and_leaves_nothing(bad, tmp_path, capsys):
    refuse(bad, tmp_path, capsys)


@pytest.mark.parametrize("place", ["results/smoke", "results/smoke/tables"])
def test_read_only_results_are_noticed_before_anything_is_computed(
    tmp_path, capsys, monkeypatch, place
):
    """A folder that refuses new files; root may write anywhere, so the system's answer is faked."""
    (tmp_path / place).mkdir(parents=True)
    open_file = tempfile.TemporaryFile

    def denied(dir):
        if Path(dir) == tmp_path / place:
            raise PermissionError(13, "Permission denied", f"{dir}/x")
        return open_file(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", denied)
    prepared = "sacd.experiments.workspace.Workspace.prepare"
    monkeypatch.setattr(prepared, lambda *_: pytest.fail("something was computed"))
    code = main(["reproduce", "--profile", "smoke", "--root", str(tmp_path), "--only", "fig2"])
    [line] = capsys.readouterr().err.splitlines()
    assert code == 1
    assert line.startswith(f"error: {tmp_path / place}: cannot be written (Permission denied); ")
    assert sorted(os.listdir(tmp_path)) == ["results"]
