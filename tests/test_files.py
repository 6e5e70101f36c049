"""Atomic writes and checkpoints."""

import os
import random
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from timm.utils import ModelEmaV3

from sacd.files import (
    atomic,
    create_array,
    load_checkpoint,
    save_checkpoint,
    save_tensors,
    sha256,
    write_json,
    write_parquet,
    write_text,
)


def same(a, b):
    """Equal in value, type and dtype, all the way down."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_disk_that_fills_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"a": 2})
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert len(list(tmp_path.iterdir())) == 1


def test_a_mapped_array_has_its_space_from_the_start(tmp_path):
    probe = tmp_path / "probe"
    probe.write_bytes(b"x" * 100_000)
    array = create_array(tmp_path / "a.npy", np.float16, (1000, 500))
    stat = (tmp_path / "a.npy").stat()
    assert stat.st_size > array.nbytes == 1_000_000 and not array.any()
    if probe.stat().st_blocks * 512 >= 100_000 and hasattr(
        os, "posix_fallocate"
    ):  # it counts blocks, uncompressed
        assert stat.st_blocks * 512 >= stat.st_size
    array[7] = 3
    array.flush()
    assert np.load(tmp_path / "a.npy")[6:9, 0].tolist() == [0, 3, 0]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_equal_content_gives_equal_bytes(tmp_path):
    frame = pd.DataFrame({"subject": ["a", "b"], "p": [0.1, 0.2]})
    tensors = {"b": torch.arange(3), "a": torch.ones(2, 2)}
    reordered = dict(reversed(tensors.items()))
    for name in "xy":
        write_parquet(tmp_path / f"{name}.parquet", frame)
        save_tensors(tmp_path / f"{name}.safetensors", tensors if name == "x" else reordered)
        save_checkpoint(tmp_path / f"{name}.checkpoint", {"tensors": tensors, "epoch": 3})
    for kind in ("parquet", "safetensors", "checkpoint"):
        assert sha256(tmp_path / f"x.{kind}") == sha256(tmp_path / f"y.{kind}")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "x.parquet"), frame)


def test_tensors_that_share_memory_or_are_views(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    save_tensors(
        tmp_path / "a.safetensors",
        {"all": base, "same": base, "view": base.T, "array": np.arange(3)},
    )
    back = load_file(tmp_path / "a.safetensors")
    assert torch.equal(back["view"], base.T)
    assert torch.equal(back["same"], base)
    assert back["array"].dtype == torch.int64


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
def test_training_goes_on_from_a_checkpoint_to_equal_bits(tmp_path, optimizer_class, options):
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
    state = {
        "dtypes": [
            torch.zeros(2, dtype=d)
            for d in (torch.bfloat16, torch.float16, torch.bool, torch.uint8, torch.int64)
        ],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(1.5, dtype=torch.float64),
        "array": np.arange(4, dtype=np.int16).reshape(2, 2),
        "numpy scalar": np.float32(0.1),
        "plain": (None, True, 1, 0.1, float("inf"), float("nan"), "s", 2**90),
        "int keys": {0: {"a": []}, 1: (), "1": {}},
        "python generator": random.Random(0).getstate(),
        "numpy generator": np.random.default_rng(0).bit_generator.state,
    }
    save_checkpoint(tmp_path / "c", state)
    assert same(load_checkpoint(tmp_path / "c"), state)


def test_what_a_checkpoint_cannot_hold_is_named(tmp_path):
    with pytest.raises(TypeError, match="set at /a/0"):
        save_checkpoint(tmp_path / "c", {"a": [{1, 2}]})


def test_a_truncated_checkpoint_is_refused_in_one_line(tmp_path):
    path = tmp_path / "c"
    save_checkpoint(path, {"a": torch.ones(100)})
    for length in (0, 5, 100, path.stat().st_size - 1):
        short = tmp_path / "short"
        short.write_bytes(path.read_bytes()[:length])
        with pytest.raises(
            ValueError, match=r"short is not a whole checkpoint .*delete it to start over"
        ):
            load_checkpoint(short)
    save_tensors(tmp_path / "plain", {"a": torch.ones(1)})
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        load_checkpoint(tmp_path / "plain")
