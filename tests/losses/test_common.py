import pytest
import torch
from tiny import Student, World

from sacd.losses.base import build
from sacd.losses.common import linear
from sacd.losses.kd import kd


@pytest.mark.parametrize("name", ["kd", "fitnet", "pkt", "rkd", "crd", "cmc", "ifd", "ccl"])
def test_autocast_does_not_reach_the_terms(name):
    world, student = World(), Student()
    batch = world.batch(student, torch.arange(12))
    totals = []
    for cast in (False, True):
        method = build(name, world.context(student))
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            totals.append(sum(method.losses(batch).values()))
    assert torch.equal(*totals)


def test_linear_has_the_default_init_of_pytorch_drawn_from_its_generator():
    layers = [linear(100, 50, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert not torch.equal(layers[0].weight, layers[2].weight)
    for parameter in layers[0].parameters():
        assert 0.08 < parameter.abs().max() <= 0.1


def test_a_loss_takes_its_tensors_by_position_or_by_name():
    x, y = torch.randn(2, 4, 5, dtype=torch.float16)
    assert (
        kd(student=x, teacher=y) == kd(x, teacher=y) == kd(x, y)
        and kd(student=x, teacher=y).dtype == torch.float32
    )
