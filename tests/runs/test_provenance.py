"""Provenance describes the machine and the commit, and names no host."""

import json
import os
import platform
import sys
from importlib import import_module

from sacd.runs.provenance import edited_since_import, git_state, machine, peak_memory_mb


def test_the_machine_is_described_and_the_host_is_not():
    record = machine()
    assert record["packages"]["torch"] and record["cores"] >= 1 and len(record["lock"]) == 64
    assert record["cpu"]
    assert (
        platform.node() not in json.dumps([record["cpu"], record["system"], record["packages"]])
        or not platform.node()
    )
    assert peak_memory_mb()["cpu"] > 10
    state = git_state()
    assert state["commit"] is None or len(state["commit"]) == 40


def test_modules_edited_after_import(tmp_path, monkeypatch):
    (tmp_path / "edited_fp.py").write_text("def f(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "edited_fp.py"
    os.utime(path, (0, 0))
    module = import_module("edited_fp")
    monkeypatch.delitem(sys.modules, "edited_fp", raising=False)
    assert edited_since_import(["edited_fp:f"]) == []  # not imported
    monkeypatch.setitem(sys.modules, "edited_fp", module)
    assert edited_since_import(["edited_fp:f"]) == []
    os.utime(path, (path.stat().st_atime, 2**32))
    assert edited_since_import(["edited_fp:f"]) == ["edited_fp"]
