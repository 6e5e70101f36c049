"""The README's example of a method of one's own works as printed."""

import re
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import torch
from tiny import Student, World, adam, step

from sacd.losses import METHODS
from sacd.losses.base import Method, build

README = Path(__file__).parents[2] / "README.md"


@patch.dict(METHODS)
def test_example_of_the_readme_trains(monkeypatch):
    found = re.search(
        r"^## Add a method$.*?^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, "README.md has no python block after the heading '## Add a method'"
    assert len([line for line in found[1].splitlines() if line.strip()]) <= 20
    module = ModuleType("my_methods")
    monkeypatch.setitem(sys.modules, "my_methods", module)
    exec(compile(found[1], str(README), "exec"), module.__dict__)
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
