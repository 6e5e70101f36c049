"""float32 inside a loss, vectors of unit length, and products with the same bits everywhere."""

import numpy as np
import pytest
import torch
from torch import nn

from sacd.models.numerics import Linear, in_float32, linear, matmul, unit


def test_half_precision_is_widened_and_the_gradient_keeps_its_type():
    square = in_float32(lambda x: (x * x).sum())
    # 300^2 overflows float16.
    x = torch.full((4,), 300.0, dtype=torch.float16, requires_grad=True)
    loss = square(x)
    loss.backward()
    assert loss.dtype == torch.float32 and loss == 360000
    assert x.grad.dtype == torch.float16 and (x.grad == 600).all()
    assert square(x.detach().double()).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", ["max", "tiny", "zero"])
def test_unit_survives_every_finite_row(dtype, value):
    x = torch.ones(2, 8, dtype=dtype)
    x *= {"max": torch.finfo(dtype).max, "tiny": torch.finfo(dtype).tiny, "zero": 0.0}[value]
    x.requires_grad_()
    y = unit(x)
    y[:, 0].sum().backward()
    assert y.isfinite().all() and x.grad.isfinite().all()
    assert (y.norm(dim=-1) <= 1 + 1e-5).all()


def _inputs(shape, outputs=6, dtype=torch.float32):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(*shape, generator=g).to(dtype)
    weight = torch.randn(outputs, shape[-1], generator=g).to(dtype)
    bias = torch.randn(outputs, generator=g).to(dtype)
    return [t.requires_grad_() for t in (x, weight, bias)]


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7), (2, 1, 4, 7), (0, 7)])
@pytest.mark.parametrize("biased", [True, False])
def test_linear_and_its_gradient_equal_those_of_torch_in_float64(shape, biased):
    ours, theirs = _inputs(shape), _inputs(shape, dtype=torch.float64)
    results = []
    for function, (x, weight, bias) in ((linear, ours), (nn.functional.linear, theirs)):
        given = (x, weight, bias) if biased else (x, weight)
        y = function(*given)
        y.square().sum().backward()
        results.append([y.detach(), *(t.grad for t in given)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5)


def test_any_layout_in_memory_gives_the_same_product():
    x, weight, _ = (t.detach() for t in _inputs((5, 7)))
    expected = linear(x, weight)
    spread = torch.zeros(5, 14)[:, ::2].copy_(x)
    assert torch.equal(linear(x.T.contiguous().T, weight), expected)
    assert torch.equal(linear(spread, weight), expected)
    # The gradient of a sum is one number, expanded.
    x.requires_grad_()
    linear(x, weight).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(dim=0).expand(5, 7))


def test_float32_on_a_cpu_is_numpys_and_everything_else_is_torchs():
    x, weight, bias = (t.detach() for t in _inputs((33, 65)))
    assert np.array_equal(linear(x, weight).numpy(), x.numpy() @ weight.numpy().T)
    assert np.array_equal(matmul(x, weight.T).numpy(), x.numpy() @ weight.numpy().T)
    layer = Linear(65, 6)
    assert torch.equal(layer(x), linear(x, layer.weight, layer.bias))
    assert linear(x.double(), weight.double()).dtype == torch.float64
    assert linear(x.to("meta"), weight.to("meta"), bias.to("meta")).device.type == "meta"
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, bias).dtype == torch.bfloat16
    traced = torch.jit.trace(layer, x)  # as an export sees it
    torch.testing.assert_close(traced(x[:4]), layer(x[:4]))
