"""The code fingerprint changes with what is computed and with nothing else."""

import ast
import os
import shutil
import sys
from pathlib import Path

import pytest

import sacd
from sacd.experiments.items import NOTEBOOKS
from sacd.experiments.workspace import Workspace
from sacd.runs.fingerprint import _LEFT_OUT, code_fingerprint, code_hashes, entries_of, source_file

MAIN = '''"""Doc."""
from pkg_fp.helper import one
import pkg_fp.deep.leaf
from pkg_fp import deep
from . import sibling

TABLE: dict = {"a": "pkg_fp.lazy:L"}
UNUSED = 1

def f(x: int) -> int:
    """What f does."""
    if x < 0:
        raise ValueError(f"{x} is negative")
    return one(x) + sibling.S + deep.leaf.T

def g():
    from pkg_fp import lazy
    return lazy.L, TABLE
'''
FILES = {
    "__init__.py": "__version__ = '1'",
    "main.py": MAIN,
    "helper.py": (
        "def one(x):\n    return x * two()\n\n"
        "def two():\n    return 2\n\n"
        "def three():\n    return 3\n"
    ),
    "sibling.py": "S = 1\nCOLOUR = 'red'\n",
    "lazy.py": "L = 1",
    "other.py": "O = 1",
    "deep/__init__.py": "",
    "deep/leaf.py": "from ..sibling import S\nT = S + 1\n",
}
F = ["pkg_fp.main:f"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / "pkg_fp" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "pkg_fp"


def rewrite(path, old, new):
    text, before = path.read_text(), path.stat()
    assert old in text
    path.write_text(text.replace(old, new))
    os.utime(path, (before.st_atime, before.st_mtime + 10))  # coarse clocks would show no edit


def test_names_are_followed_across_modules_without_importing_them(package):
    reached = {"main:f", "helper:one", "helper:two", "sibling:S", "deep.leaf:T"}
    assert set(code_hashes(F)) == {f"pkg_fp.{name}" for name in reached}
    assert set(code_hashes(["pkg_fp.main:g"])) == {
        "pkg_fp.main:g",
        "pkg_fp.lazy:L",
    }  # not TABLE: it names entries
    assert "pkg_fp.main" not in sys.modules


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("main.py", "    return one", "    # a comment\n    return   one"),
        ("main.py", "What f does.", "What f does, better."),
        ("main.py", '    """What f does."""\n', ""),
        ("main.py", "x: int) -> int", "x: float) -> float"),
        ("main.py", "is negative", "must not be negative"),
        ("main.py", "UNUSED = 1", "UNUSED = 2"),
        ("main.py", '"a":', '"b":'),
        ("__init__.py", "'1'", "'2'"),
        ("helper.py", "x * two()", "(x * two())"),
        ("helper.py", "return 3", "return 4"),
        ("helper.py", "three", "drei"),
        ("sibling.py", "red", "blue"),
        ("lazy.py", "L = 1", "L = 2"),
        ("other.py", "O = 1", "O = 2"),
    ],
)
def test_what_does_not_change_the_fingerprint(package, name, old, new):
    before = code_fingerprint(F)
    rewrite(package / name, old, new)
    assert code_fingerprint(F) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("main.py", "+ sibling.S", "- sibling.S"),
        ("main.py", "x < 0", "x < 1"),
        ("helper.py", "return 2", "return 2.0"),
        ("helper.py", "def two", "@cache\ndef two"),
        ("helper.py", "def one", "import torch\ntorch.manual_seed(0)\n\ndef one"),
        ("sibling.py", "S = 1", "S = 3"),
        ("sibling.py", "S = 1", "S = [1]\nS[0] = 2"),
        ("deep/leaf.py", "S + 1", "S + 2"),
    ],
)
def test_what_changes_the_fingerprint(package, name, old, new):
    before = code_fingerprint(F)
    rewrite(package / name, old, new)
    assert code_fingerprint(F) != before


def test_a_file_that_moves_keeps_its_fingerprint(package):
    before = code_fingerprint(F)
    shutil.move(package / "helper.py", package / "deep" / "tools.py")
    rewrite(package / "main.py", "pkg_fp.helper", "pkg_fp.deep.tools")
    assert code_fingerprint(F) == before


def test_order_of_entries_does_not_matter_and_modules_may_be_left_out(package):
    both = ["pkg_fp.main:f", "pkg_fp.main:g"]
    assert code_fingerprint(both) == code_fingerprint([*reversed(both), both[0]])
    without = code_fingerprint(F, without=["pkg_fp.sibling"])
    rewrite(package / "sibling.py", "S = 1", "S = 2")
    assert code_fingerprint(F, without=["pkg_fp.sibling"]) == without


def test_an_entry_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"sacd\.nowhere:x has no source"):
        code_fingerprint(["sacd.nowhere:x"])
    with pytest.raises(ValueError, match=r"sacd\.stages:nothing has no source"):
        code_fingerprint(["sacd.stages:nothing"])


def test_source_file():
    assert source_file("sacd.losses").name == "__init__.py"
    assert source_file("sacd.losses.base").name == "base.py"
    assert source_file("math") is None
    assert source_file("no_such_package.x") is None


def test_entries_of_a_notebook_are_the_names_that_it_uses():
    imports = "from sacd.paper import printed as paper\nfrom sacd import stages as s\n"
    cells = imports + "import numpy as np\npaper.load(); np.ones(s.CLIP_S)"
    assert entries_of(cells) == ["sacd.paper.printed:load", "sacd.stages:CLIP_S"]


@pytest.fixture(scope="module")
def runs():
    """One run of each kind of the smoke profile, on data that are not looked at."""
    space = Workspace("smoke")
    space.__dict__["store"] = space.ucf51.__dict__["store"] = type(
        "Store", (), {"fingerprint": "f00d"}
    )()
    space.__dict__["eeg_store"] = type(
        "Store", (), {"fingerprint": "f00d", "participants": range(8)}
    )()
    every = [run for name in ("20", "21", "22", "42") for run in _runs(space, name)]
    return {(run.task, run.modules): run for run in every}


def _runs(space, number):
    return next(
        notebook.runs(space) for name, notebook in NOTEBOOKS.items() if name.startswith(number)
    )


def test_every_run_reaches_what_trains_it_and_no_picture(runs):
    for run in runs.values():
        names = {name.rpartition(".")[2] for name in code_hashes(run.entries)}
        assert not {"stages:COLOURS", "stages:AHI_COLOURS"} & names
        assert not [name for name in names if name.startswith(("figures", "report", "tables"))]


def test_a_loss_is_reached_by_its_own_runs_alone(runs):
    by_method = {
        run.config.method.name: run for run in runs.values() if hasattr(run.config, "method")
    }
    built_on = {"pkt": {"ifd", "sacd"}, "kd": {"c2kd", "logit_std"}}
    for loss in ("kd", "pkt", "ccl", "fitnet"):
        users = {
            name
            for name, run in by_method.items()
            if any(f".{loss}:" in c for c in code_hashes(run.entries))
        }
        assert users <= {loss, *built_on.get(loss, ())}, (loss, users)


def test_of_a_module_all_functions_and_classes_are_found():
    package = Path(sacd.__file__).parent
    for path in package.rglob("*.py"):
        module = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        if module in _LEFT_OUT or path.name == "__main__.py":
            continue
        body = ast.parse(path.read_text()).body
        names = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert {f"{module}:{name}" for name in names} <= code_hashes([module]).keys()
