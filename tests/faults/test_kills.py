"""Every part of the chain may be ended at any moment: equal bytes, no orphan, nothing left over.

`make faults` ends 50 victims; `make test` a few. Where, is drawn by a seed from the changes that a
part makes to files, so that no clock and no load decides it. Trainings with real networks are
killed in `test_killed_runs.py`.
"""

import shutil
import signal
import subprocess
from pathlib import Path

import kills
import made_up_results
import pytest
from notebook_files import notebook, write

PARTS = ("simulate", "ingest", "train", "notebooks", "report")
TIMED = ("provenance.json", "checksums.json", "progress.json", "/.a.json", "/.b.json", ".lock")
"""Files that hold times, or nothing."""


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Makes what a part starts from: a function of part and folder."""

    def make(part: str, root: Path) -> Path:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        if part == "ingest":
            if not (tmp_path / "simulated").exists():
                (tmp_path / "simulated").mkdir()
                assert kills.run("simulate", tmp_path / "simulated").code == 0
            shutil.copytree(tmp_path / "simulated", root, dirs_exist_ok=True)
        if part == "notebooks":
            for name in "ab":
                source = tmp_path / f"{name}.ipynb"
                if not source.exists():  # its cells have random names
                    notebook(source, write(root / "results" / f"{name}.txt"))
                shutil.copy(source, root)
        if part == "report":
            if not (tmp_path / "made").exists():
                made_up_results.make(tmp_path / "made", monkeypatch, seeds=2)
            shutil.copytree(tmp_path / "made" / "results", root / "results")
        return root

    return make


def end_and_finish(part: str, root: Path, fresh, endings) -> None:
    """End a part at each of these moments, one after the other; then it finishes.

    Its bytes equal those of a part that was left alone. A part that goes on where it was ended has
    fewer changes left than it had: if it finishes instead of being ended, it begins anew.
    """
    alone = kills.run(part, fresh(part, root))
    assert alone.code == 0 and "Traceback" not in alone.said, alone.said
    assert alone.network == "", "the chain needs no network"
    wanted = kills.tree(root, TIMED)
    assert kills.leftovers(root) == [] and len(wanted) > 1
    fresh(part, root)
    for last, by in endings(alone.changes):
        ended = kills.run(part, root, last, by)
        if ended.code == 0:
            found = kills.tree(root, TIMED)
            assert {name: found.get(name) for name in wanted} == wanted
            ended = kills.run(part, fresh(part, root), last, by)
        if by == signal.SIGKILL:
            assert ended.code == -signal.SIGKILL, f"{by!r} at {last}: {ended.said}"
        else:
            assert ended.code in (128 + by, 130, 0), f"{by!r} at {last}: {ended.said}"
            assert "Traceback" not in ended.said, f"{by!r} at {last}: {ended.said}"
    last = kills.run(part, root)
    assert last.code == 0 and "Traceback" not in last.said, last.said
    now = kills.tree(root, TIMED)
    assert now.keys() == wanted.keys()
    assert [name for name in wanted if now[name] != wanted[name]] == []
    assert kills.leftovers(root) == []


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_ended_ten_times_ends_with_the_same_bytes(part, tmp_path, fresh):
    seed = PARTS.index(part)
    end_and_finish(part, tmp_path / "root", fresh, lambda n: kills.moments(seed, n, 10))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["simulate", "notebooks"])
def test_a_part_that_is_killed_in_the_middle_ends_with_the_same_bytes(part, tmp_path, fresh):
    """Of `make test`."""
    end_and_finish(part, tmp_path / "root", fresh, lambda n: [(n // 2, signal.SIGKILL)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "by", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.faults)]
)
def test_ctrl_c_says_in_one_line_what_is_kept_and_how_to_go_on(by, tmp_path, fresh):
    root = fresh("simulate", tmp_path / "root")
    ended = kills.run("simulate", root, 10, by)
    [line] = [line for line in ended.said.splitlines() if line]
    assert line.startswith("stopped: a cohort is written whole or not at all, so nothing of it")
    assert line.endswith(f"-m sacd simulate --profile smoke --root {root} --workers 2")
    assert ended.code == 128 + by
    assert not [p for p in (root / "data" / "smoke").iterdir() if p.name != ".cohort.lock"]


def test_an_orphan_would_be_found(tmp_path, monkeypatch):
    """That the test above can fail: a process that outlives its victim."""
    monkeypatch.setattr(kills, "PATIENCE_S", 0)
    orphan = subprocess.Popen(
        ["cat"],
        env={"VICTIM_MARK": "of this test"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    try:
        # An answer proves that it runs. Right after its start /proc may still show no environment.
        orphan.stdin.write(b"ready\n")
        assert orphan.stdout.readline() == b"ready\n"
        with pytest.raises(AssertionError, match=r"orphans: \['cat'\]"):
            kills.end_of_family("of this test")
    finally:
        orphan.kill()
        orphan.communicate()
