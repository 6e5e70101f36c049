"""What a user gives to `make` and to the command line: taken as data, and checked at the door."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sacd.__main__ import COMMANDS, main
from sacd.predict.cli import COMMANDS as PREDICT

ROOT = Path(__file__).resolve().parents[2]
PATHS = (
    "/lab/a b",
    "/lab/$HOME/$x",
    "/lab/`touch HARM`",
    "/lab/a;touch HARM",
    "/lab/$(touch HARM)",
    '/lab/it\'s "quoted"',
    "/lab/a&touch HARM|cat",
    "/lab/*?[a]~#",
    "/lab/睡眠",
    "/lab/a\\b",
    "-lab",
    "/lab/%s%n",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The Makefile with a Python that prints its arguments, one a line."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "<$word>"; done\n')
    python.chmod(0o755)
    (root / ".venv" / ".ready").touch()
    return root


def said(checkout, *words):
    done = subprocess.run(
        ["make", "-s", *words], cwd=checkout, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not (checkout / "HARM").exists()
    return done.stdout.splitlines()


@pytest.mark.parametrize("path", PATHS)
def test_a_path_reaches_python_as_it_is(checkout, path):
    words = said(checkout, "reproduce", f"DATA={path}", f"SLEEPEDF={path}", f"UCF101={path}")
    assert words == [
        *("<-m>", "<sacd>", "<reproduce>", "<--profile=demo>"),
        *(f"<--{name}={path}>" for name in ("data", "ucf101", "sleepedf")),
    ]
    assert f"<--against={path}>" in said(checkout, "verify", f"AGAINST={path}")
    assert f"<--nights={path}>" in said(checkout, "simulate", f"NIGHTS={path}")


def test_words_and_numbers_reach_it_too(checkout):
    words = said(checkout, "fig5", "WORKERS=2; touch HARM", "SEEDS=$(HARM)", "CLUSTER=tcp://a:1 b")
    assert words[3:] == [
        "<--profile=demo>",
        "<--cluster=tcp://a:1 b>",
        "<--workers=2; touch HARM>",
        "<--seeds=$(HARM)>",
        "<--only>",
        "<fig5>",
    ]
    assert said(checkout, "bench", "ONLY=ingest $(HARM) *")[2:] == [
        "<--only=ingest>",
        "<--only=$(HARM)>",
        "<--only=*>",
    ]
    assert said(checkout, "bench") == ["<-m>", "<benchmarks>"]


def test_a_folder_of_the_environment_with_a_space_is_refused(checkout):
    done = subprocess.run(
        ["make", "runs", "VENV=a b"], cwd=checkout, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "VENV=a b: give a folder whose name has no spaces" in (
        done.stderr
    )


@pytest.mark.parametrize("command", [*COMMANDS, *PREDICT])
def test_every_command_explains_its_options(capsys, command):
    """A bare per cent sign in a help text would end in a traceback."""
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    said = capsys.readouterr().out
    assert left.value.code == 0 and said.startswith(f"usage: sacd {command} ") and "%%" not in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["reproduce", "--workers=-1"], "argument --workers: '-1' is no whole number from 0 to"),
        (["reproduce", "--workers=two"], "argument --workers: 'two' is no whole number"),
        (["reproduce", "--workers=1.5"], "argument --workers: '1.5' is no whole number"),
        (["reproduce", "--workers=10000"], "argument --workers: '10000' is no whole number"),
        (["reproduce", "--seeds=0"], "argument --seeds: '0' is no whole number from 1 to 9999"),
        (["reproduce", "--seeds=-1"], "argument --seeds: '-1' is no whole number from 1 to 9999"),
        (["reproduce", "--seeds="], "argument --seeds: '' is no whole number"),
        (["reproduce", "--cluster=host:8786"], "'host:8786' is not tcp://host:port or tls://"),
        (["reproduce", "--cluster=http://h:1"], "'http://h:1' is not tcp://host:port"),
        (["reproduce", "--cluster=tcp://h"], "'tcp://h' is not tcp://host:port"),
        (["reproduce", "--profile=tiny"], "argument --profile: invalid choice: 'tiny'"),
        (["reproduce", "--only=fig99"], "no item 'fig99'; known: "),
        (["reproduce", "--data={tmp}/absent"], "{tmp}/absent: no such folder; say DATA="),
        (["check", "--data={tmp}/absent"], "{tmp}/absent: no such folder; say DATA="),
        (["check", "--data={tmp}/loop"], "argument --data: '{tmp}/loop' (Symlink loop"),
        (["check", "--data={tmp}/\udcff"], "is not UTF-8; give another path"),
        (["check", "--data={tmp}/a\0b"], "embedded null byte"),
        (["check", "--data={tmp}/file"], "{tmp}/file: no such folder"),
        (["reproduce", "--ucf101={tmp}/absent"], "{tmp}/absent: no such folder; correct UCF101="),
        (["reproduce", "--sleepedf={tmp}/no"], "{tmp}/no: no such folder; correct SLEEPEDF="),
        (["simulate", "--nights={tmp}/no"], "{tmp}/no: no such folder; correct NIGHTS="),
        (["simulate", "--data={tmp}/lab"], "simulate reads no cohort and writes into none"),
        (["simulate", "--data={tmp}/absent"], "simulate reads no cohort and writes into none"),
        (["reproduce", "--data={tmp}/lab", "--nights={tmp}/lab"], "leave one of them out"),
        (["verify", "--against={tmp}/lab", "--root={tmp}/r"], "no MANIFEST.json"),
        (["reproduce", "--dat={tmp}/lab"], "unrecognized arguments: --dat="),
        (["fly"], "argument command: invalid choice: 'fly'"),
    ],
)
def test_a_wrong_argument_is_one_line_and_leaves_nothing(tmp_path, capsys, words, line):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "night.edf").write_text("a lab's")
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    words = [word.format(tmp=tmp_path) for word in words]
    if words[0] not in ("fly", "verify"):
        words.append(f"--root={tmp_path / 'root'}")
    try:
        code = main(words)
    except SystemExit as left:
        code = left.code
    [said] = capsys.readouterr().err.splitlines()
    assert code in (1, 2) and said.startswith("error: ") and line.format(tmp=tmp_path) in said
    assert "delete" not in said and "remove" not in said
    made = {path.name for path in tmp_path.rglob("*")} - set(before)
    assert made <= {"r", "results", "demo", ".lock"}
