"""The code fingerprint changes with what is computed and with nothing else."""

import ast
import hashlib
import os
import sys

import pytest

from sacd.provenance import (
    code_fingerprint,
    code_hashes,
    edited_since_import,
    git_state,
    machine,
    peak_memory_mb,
    source_file,
)

MAIN = '''"""Doc."""
from pkg_fp.helper import one
import pkg_fp.deep.leaf
from . import sibling

LAZY = "pkg_fp.lazy"

def f(x):
    """What f does."""
    return one(x) + 1
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    files = {
        "__init__.py": "__version__ = '1'",
        "main.py": MAIN,
        "helper.py": "def one(x):\n    return x * 2\n",
        "sibling.py": "S = 1",
        "lazy.py": "L = 1",
        "other.py": "O = 1",
        "deep/__init__.py": "",
        "deep/leaf.py": "from ..sibling import S",
    }
    for name, text in files.items():
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


def test_the_closure_follows_import_statements_only(package):
    assert set(code_hashes(["pkg_fp.main"])) == {
        "pkg_fp", "pkg_fp.main", "pkg_fp.helper", "pkg_fp.sibling", "pkg_fp.deep", "pkg_fp.deep.leaf",
    }  # fmt: skip
    assert "pkg_fp.lazy" in code_hashes(["pkg_fp.main", "pkg_fp.lazy"])
    assert "pkg_fp.main" not in sys.modules  # read, not imported


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("main.py", "    return one", "    # a comment\n    return   one"),
        ("main.py", "What f does.", "What f does, better."),
        ("main.py", '    """What f does."""\n', ""),
        ("main.py", '"""Doc."""', ""),
        ("main.py", "LAZY =", '"""attribute"""\nLAZY ='),
        ("__init__.py", "'1'", "'2'"),
        ("helper.py", "x * 2", "(x * 2)"),
        ("other.py", "O = 1", "O = 2"),
        ("lazy.py", "L = 1", "L = 2"),
    ],
)
def test_what_does_not_change_the_fingerprint(package, name, old, new):
    before = code_fingerprint(["pkg_fp.main"])
    rewrite(package / name, old, new)
    assert code_fingerprint(["pkg_fp.main"]) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("main.py", "+ 1", "+ 2"),
        ("helper.py", "x * 2", "x * 2.0"),
        ("sibling.py", "S = 1", "S = 3"),
        ("deep/leaf.py", "import S", "import S as T"),
        ("deep/__init__.py", "", "A = 1"),
    ],
)
def test_what_changes_the_fingerprint(package, name, old, new):
    before = code_fingerprint(["pkg_fp.main"])
    (package / name).write_text(new) if not old else rewrite(package / name, old, new)
    assert code_fingerprint(["pkg_fp.main"]) != before


def test_order_of_modules_does_not_matter(package):
    a = code_fingerprint(["pkg_fp.main", "pkg_fp.lazy"])
    assert a == code_fingerprint(["pkg_fp.lazy", "pkg_fp.main", "pkg_fp.lazy"])


def test_in_config_the_classes_count_and_the_values_do_not():
    assert "sacd.config" in code_hashes(["sacd.train"])
    assert not any(name.startswith("sacd.runs") for name in code_hashes(["sacd.train"]))


def test_a_new_method_leaves_the_code_of_all_other_runs_as_it_is():
    nothing = hashlib.sha256(ast.dump(ast.parse("")).encode()).hexdigest()[:16]
    assert code_hashes(["sacd.losses.kd"])["sacd.catalogue"] == nothing


def test_what_tells_how_numbers_were_made_is_no_code_of_theirs(package):
    before = code_fingerprint(["pkg_fp.main"])
    rewrite(package / "main.py", "import pkg_fp.deep.leaf", "import pkg_fp.deep.leaf, sacd.provenance")
    hashes = code_hashes(["pkg_fp.main"])
    assert "sacd.provenance" not in hashes and code_fingerprint(["pkg_fp.main"]) != before
    assert "sacd.provenance" in code_hashes(["sacd.provenance"])


def test_modules_may_be_left_out(package):
    before = [code_fingerprint(["pkg_fp.main"], without=without) for without in ((), ["pkg_fp.sibling"])]
    rewrite(package / "sibling.py", "S = 1", "S = 2")
    after = [code_fingerprint(["pkg_fp.main"], without=without) for without in ((), ["pkg_fp.sibling"])]
    assert before[0] != after[0] and before[1] == after[1]


def test_a_module_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"sacd\.nowhere has no source file"):
        code_fingerprint(["sacd.nowhere"])


def test_modules_edited_after_import(package):
    __import__("pkg_fp.helper")
    path = package / "helper.py"
    for file in (path, package / "__init__.py"):
        os.utime(file, (0, 0))
    assert edited_since_import(["pkg_fp.helper"]) == []
    os.utime(path, (0, 2**32))
    assert edited_since_import(["pkg_fp.helper"]) == ["pkg_fp.helper"]
    for name in [n for n in sys.modules if n.startswith("pkg_fp")]:
        del sys.modules[name]


def test_source_file():
    assert source_file("sacd.losses").name == "__init__.py"
    assert source_file("sacd.losses.base").name == "base.py"
    assert source_file("math") is None
    assert source_file("no_such_package.x") is None


def test_the_machine_is_described_and_the_host_is_not():
    import json
    import platform

    record = machine()
    assert record["packages"]["torch"] and record["cores"] >= 1 and len(record["lock"]) == 64
    assert record["cpu"]
    assert (
        platform.node() not in json.dumps([record["cpu"], record["system"], record["packages"]]) or not platform.node()
    )
    assert peak_memory_mb()["cpu"] > 10
    state = git_state()
    assert state["commit"] is None or len(state["commit"]) == 40
