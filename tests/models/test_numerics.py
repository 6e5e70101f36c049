"""float32 inside a loss, and vectors of unit length."""

import pytest
import torch

from sacd.models.numerics import in_float32, unit


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
