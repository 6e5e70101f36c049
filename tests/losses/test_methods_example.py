"""The example of a method of one's own in docs/methods.md works as printed."""

import re
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import torch
from tiny import Student, World, adam, step

from sacd.losses import METHODS
from sacd.losses.base import Method, build

METHODS_MD = Path(__file__).parents[2] / "docs" / "methods.md"


@patch.dict(METHODS)
def test_the_example_trains(monkeypatch):
    found = re.search(r"^```python\n(.*?)^```", METHODS_MD.read_text(), re.MULTILINE | re.DOTALL)
    assert found, "docs/methods.md has no python block"
    assert len([line for line in found[1].splitlines() if line.strip()]) <= 20
    module = ModuleType("my_methods")
    monkeypatch.setitem(sys.modules, "my_methods", module)
    exec(compile(found[1], str(METHODS_MD), "exec"), module.__dict__)
    assert issubclass(module.Cosine, Method)

    (name,) = (name for name, where in METHODS.items() if where == "my_methods:Cosine")
    world, student = World(), Student()
    method = build(name, world.context(student))
    optimizer = adam(student, method)
    own = [
        step(student, method, optimizer, world.batch(student, torch.arange(16)))[1]
        for _ in range(30)
    ]
    assert own[-1] < 0.5 * own[0]
