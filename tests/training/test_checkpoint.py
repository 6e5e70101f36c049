"""Checkpoints: training resumes from them with equal bits, and damaged ones are refused."""

from collections import Counter

import numpy as np
import pytest
import torch
from timm.utils import ModelEmaV3

from sacd.files import save_tensors, sha256
from sacd.training.checkpoint import load_checkpoint, save_checkpoint


def same(a, b):
    """Equal in value, type and dtype, all the way down."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def trained(optimizer_class, **options):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    ema = ModelEmaV3(model, decay=0.9)
    optimizer = optimizer_class(model.parameters(), lr=0.1, **options)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)
    steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, [5, 9])
    return model, ema, optimizer, cycle, steps


def advance(model, ema, optimizer, cycle, steps, generator):
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(6, 4, generator=generator)).square().sum().backward()
        optimizer.step()
        cycle.step()
        steps.step()
        ema.update(model)


@pytest.mark.parametrize(
    ("optimizer_class", "options"),
    [(torch.optim.SGD, {"momentum": 0.9}), (torch.optim.AdamW, {"amsgrad": True})],
)
def test_training_resumes_with_equal_bits(tmp_path, optimizer_class, options):
    generator = torch.Generator().manual_seed(1)
    parts = trained(optimizer_class, **options)
    advance(*parts, generator)
    state = [part.state_dict() for part in parts]
    save_checkpoint(tmp_path / "c", {"parts": state, "generator": generator.get_state()})
    advance(*parts, generator)

    back = load_checkpoint(tmp_path / "c")
    again = trained(optimizer_class, **options)
    other = torch.Generator()
    other.set_state(back["generator"])
    for part, saved in zip(again, back["parts"], strict=True):
        part.load_state_dict(saved)
    advance(*again, other)
    for a, b in zip(parts, again, strict=True):
        assert same(dict(a.state_dict()), dict(b.state_dict()))
    assert isinstance(back["parts"][4]["milestones"], Counter)


def test_every_kind_of_value_survives(tmp_path):
    dtypes = (torch.bfloat16, torch.float16, torch.bool, torch.uint8, torch.int64)
    state = {
        "dtypes": [torch.zeros(2, dtype=dtype) for dtype in dtypes],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(1.5, dtype=torch.float64),
        "view": torch.arange(12.0).reshape(3, 4).T,
        "plain": (None, True, 1, 0.1, float("inf"), float("nan"), "s"),
        "int keys": {0: {"a": []}, 1: (), "1": {}},
    }
    save_checkpoint(tmp_path / "c", state)
    assert same(load_checkpoint(tmp_path / "c"), state)


def test_equal_states_give_equal_bytes(tmp_path):
    for name in "xy":
        save_checkpoint(tmp_path / name, {"a": torch.ones(2, 2), "epoch": 3})
    assert sha256(tmp_path / "x") == sha256(tmp_path / "y")


def test_a_type_that_cannot_be_loaded_is_refused_when_it_is_saved(tmp_path):
    with pytest.raises(TypeError, match="cannot hold numpy"):
        save_checkpoint(tmp_path / "c", {"a": [np.float32(1)]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_checkpoint_is_refused_in_one_line(tmp_path, length):
    path = tmp_path / "c"
    save_checkpoint(path, {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:length])
    message = r"c is not a complete checkpoint .*delete it to start over"
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    save_tensors(tmp_path / "tensors", {"a": torch.ones(1)})
    (tmp_path / "text").write_bytes(b"short")
    for name in ("tensors", "text"):
        with pytest.raises(ValueError, match="not a complete checkpoint"):
            load_checkpoint(tmp_path / name)
