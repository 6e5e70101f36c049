"""Execution of several notebooks side by side, and what the command line makes of failures."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import toy_tasks

from sacd.__main__ import main
from sacd.config import Config, SplitConfig
from sacd.experiments import items as experiments
from sacd.experiments import reproduce
from sacd.experiments.places import claim, place_of
from sacd.paper import contents
from sacd.runs import Run


@pytest.fixture
def commands(monkeypatch):
    """Stands in for the commands of the notebooks: a dict name -> Python text."""
    texts = {}
    monkeypatch.setattr(
        reproduce,
        "_command",
        lambda w, name: [sys.executable, "-c", texts[name]] if texts[name] else [],
    )
    return texts


def _these(rows, w):
    return rows


class _Space:
    root = "."


# Says a line in two halves, and goes on once the other notebook has started: alone, it would wait
# for ever.
MEET = """
import pathlib, sys, time
me, other = pathlib.Path({folder!r}, {me!r}), pathlib.Path({folder!r}, {other!r})
me.touch()
sys.stdout.write({me!r} + " says "); sys.stdout.flush()
while not other.exists():
    time.sleep(0.01)
print("one line")
"""


def test_notebooks_run_side_by_side_and_their_lines_stay_whole(tmp_path, commands, capfd):
    texts = commands
    for me, other in ("ab", "ba"):
        texts[me] = MEET.format(folder=str(tmp_path), me=me, other=other)
    assert reproduce.execute_notebooks(_Space(), "ab", 2) == []
    assert sorted(capfd.readouterr().out.splitlines()) == ["a says one line", "b says one line"]


def test_one_worker_runs_them_one_after_another(tmp_path, commands):
    folder = str(tmp_path / "alone")  # of the other, still there, it would be an error
    commands |= dict.fromkeys(
        "ab", f"import os, time; os.mkdir({folder!r}); time.sleep(0.3); os.rmdir({folder!r})"
    )
    assert reproduce.execute_notebooks(_Space(), "ab", 1) == []


def test_a_notebook_waits_for_the_one_whose_file_it_reads(tmp_path, commands, monkeypatch):
    monkeypatch.setattr(reproduce, "AFTER", {"a": "b"})
    written = str(tmp_path / "written")
    commands["a"] = f"open({written!r})"
    commands["b"] = f"import time; time.sleep(0.5); open({written!r}, 'w')"
    assert reproduce.execute_notebooks(_Space(), "ab", 2) == []
    assert reproduce.execute_notebooks(_Space(), "a") == []  # the file is there: nobody to wait for


def test_failures_are_named_in_order_and_the_others_still_run(commands, capfd):
    texts = commands
    texts |= {
        "b": "raise SystemExit('b is wrong')",
        "a": "print('fine')",
        "c": "raise SystemExit(3)",
        "d": "",
    }
    assert reproduce.execute_notebooks(_Space(), ["c", "b", "a", "d", "b"]) == ["c", "b"]
    said = capfd.readouterr()
    assert said.out == "fine\n" and said.err.count("b is wrong") == 1


@pytest.mark.slow
def test_the_command_line_names_failed_notebooks_and_exits_with_1(tmp_path):
    text = (
        "import sys; import sacd.__main__ as command\n"
        "from sacd.experiments import reproduce, workspace\n"
        "reproduce.write_manifest = lambda w: None\n"
        "command._conclude = lambda *a, **k: 0\n"
        "workspace.Workspace.prepare = lambda *a: None\n"
        "workspace.Workspace.data_name = 'none'\n"
        "workspace.Workspace.execute = lambda *a, **k: type('R', (), {'failed': ()})()\n"
        "reproduce.execute_notebooks = lambda w, names, workers: ['41_paper_audit']\n"
        "words = ['reproduce', '--profile', 'smoke', '--only', '41_paper_audit', '--root']\n"
        "sys.exit(command.main([*words, sys.argv[1]]))"
    )
    done = subprocess.run([sys.executable, "-c", text, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1 and "failed notebooks: 41_paper_audit" in done.stderr, done.stderr


# Two processes: `a` is in the midst of its notebooks until `b` has ended its own and is about to
# hash what is there.
MAKE_J = """
import pathlib, sys, time
import sacd.__main__ as command
from sacd.experiments import reproduce, workspace
me, root = sys.argv[1], pathlib.Path(sys.argv[2])

def wait(name):
    while not (root / name).exists():
        time.sleep(0.01)

def notebooks(*a):
    if me == "b":
        wait("half a table")
        (root / "b has ended").touch()
    else:
        (root / "half a table").touch()
        wait("b has ended")
        time.sleep(0.5)
        (root / "half a table").unlink()
    return []

workspace.Workspace.data_name = "none"
workspace.Workspace.execute = lambda *a, **k: type("R", (), {"failed": ()})()
reproduce.execute_notebooks = notebooks
reproduce.write_manifest = lambda w: None
command._conclude = lambda *a, **k: int((root / "half a table").exists())
words = ["reproduce", "--profile", "smoke", "--only", "41_paper_audit", "--root", str(root)]
sys.exit(command.main(words))
"""


@pytest.mark.slow
def test_nobody_hashes_results_while_another_make_writes_them(tmp_path):
    both = [
        subprocess.Popen([sys.executable, "-c", MAKE_J, me, tmp_path], stderr=subprocess.PIPE)
        for me in "ab"
    ]
    assert [(process.communicate()[1], process.returncode) for process in both] == [(b"", 0)] * 2


def test_the_command_line_ends_with_each_failed_run_and_its_last_lines(
    tmp_path, monkeypatch, capsys
):
    run = Run("toy_tasks:fail", toy_tasks.Toy(seed=3), label="the third")
    made = {"20_table2_comparison": {"row": [run]}, "41_paper_audit": {}}
    notebooks = {
        name: experiments.Notebook(name, partial(_these, rows), (), lambda w: ())
        for name, rows in made.items()
    }
    monkeypatch.setattr(reproduce, "NOTEBOOKS", notebooks)
    known = [contents.Item(name, name, "") for name in made]
    monkeypatch.setattr(contents, "CONTENTS", known)
    monkeypatch.setattr(
        reproduce, "execute_notebooks", lambda w, names, workers: executed.extend(names) or []
    )
    monkeypatch.setattr(reproduce, "write_manifest", lambda w: None)
    monkeypatch.setattr("sacd.__main__._conclude", lambda *a, **k: 0)
    executed = []
    assert main(["reproduce", "--profile", "smoke", "--workers", "0", "--root", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert executed == ["41_paper_audit"] and "1 without results" in error
    assert "FAILED" in error and "the third" in error and "seed 3 does not converge" in error
    assert error.rstrip().endswith("not executed for want of these: 20_table2_comparison")


def test_what_is_beyond_the_paper_is_reproduced_only_where_it_is_asked_for(tmp_path, monkeypatch):
    made = ("paper", "beyond")
    known = [contents.Item(name, name, "", beyond=name == "beyond") for name in made]
    none = {name: experiments.Notebook(name, lambda w: {}, (), lambda w: ()) for name in made}
    executed = []
    monkeypatch.setattr(contents, "CONTENTS", known)
    monkeypatch.setattr(reproduce, "NOTEBOOKS", none)
    monkeypatch.setattr(
        reproduce, "execute_notebooks", lambda w, names, workers: executed.append(names) or []
    )
    monkeypatch.setattr(reproduce, "write_manifest", lambda w: None)
    monkeypatch.setattr("sacd.__main__._conclude", lambda *a, **k: 0)
    words = ["reproduce", "--profile", "smoke", "--workers", "0", "--root", str(tmp_path)]
    for more in ([], ["--only", "beyond"]):
        assert main([*words, *more]) == 0
    assert executed == [["paper"], ["beyond"]]


def test_a_notebook_is_told_the_seeds_that_were_asked_for(tmp_path, monkeypatch):
    """Told the profile's own number, it would apply it to all rows and ask for other runs."""
    monkeypatch.setattr(reproduce.Workspace, "data_name", "none")
    name = "20_table2_comparison"
    shown = experiments.Notebook(name, lambda w: {}, ())
    monkeypatch.setitem(experiments.NOTEBOOKS, name, shown)

    def told(seeds):
        command = reproduce._command(reproduce.Workspace("smoke", root=tmp_path, seeds=seeds), name)
        return json.loads(command[-1])["parameters"]["seeds"]

    assert (told(None), told(4)) == (0, 4)


def test_wanted_are_the_runs_of_all_notebooks_and_what_they_read(tmp_path, monkeypatch):
    read = Run("sacd.stages:label", Config())

    def runs(space):
        return {
            "row": [
                Run("sacd.stages:label", SplitConfig(seed=space.seeds), inputs=(("read", read),))
            ]
        }

    assert reproduce.wanted(tmp_path) is None
    lab = f"demo-{place_of('/site a/lab')}"
    for slug in ("smoke", "demo-nights", lab, "demo-copied", "other"):
        (tmp_path / "data" / slug / "store").mkdir(parents=True)
        (tmp_path / "data" / slug / "store" / "manifest.json").touch()
        if slug not in ("smoke", "demo-nights"):
            claim(tmp_path / "data" / slug, Path("/site a/lab"))
    seen = []
    monkeypatch.setattr(
        reproduce,
        "NOTEBOOKS",
        {
            name: experiments.Notebook(
                name, lambda w: seen.append(w.store_path.parent.name) or runs(w), ()
            )
            for name in "ab"
        },
    )
    wanted = reproduce.wanted(tmp_path)
    assert sorted(set(seen)) == [lab, "demo-nights", "smoke"]
    assert (
        wanted[read.id] == "a, b" and len(wanted) == 3
    )  # two numbers of seeds, and what both read
