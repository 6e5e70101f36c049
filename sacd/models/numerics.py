"""Arithmetic that networks and losses share: float32 at least, unit vectors, equal bits."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

P = ParamSpec("P")
R = TypeVar("R")

LARGEST = 1e15
"""Largest magnitude that enters a loss.

Its square, summed over a batch of feature maps, still fits into float32.
"""


def to_float32(x: Tensor) -> Tensor:
    """Convert a floating tensor to float32 (float64 is kept) and clamp it to +-`LARGEST`.

    The clamp turns an overflow to inf into a finite value.

    >>> to_float32(torch.tensor([1.0, float("inf")], dtype=torch.float16))
    tensor([1.0000e+00, 1.0000e+15])
    """
    return x.to(torch.promote_types(x.dtype, torch.float32)).clamp(-LARGEST, LARGEST)


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a loss: convert its floating tensors by `to_float32`, and switch off autocast."""

    def widened(a: object) -> object:
        return to_float32(a) if isinstance(a, Tensor) and a.is_floating_point() else a

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        # Autocast is switched by type of device, so the first tensor tells which one.
        device = next(a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(widened, args), **{name: widened(a) for name, a in kwargs.items()})

    return wrapped


def unit(x: Tensor) -> Tensor:
    """Scale rows to unit L2 length, in float32 or float64; safe for every finite input.

    A row is first divided by its largest absolute entry, so no square over- or underflows. This
    does not change its direction. Rows with no entry above 1e-4 shrink smoothly to zero instead,
    which keeps their gradient finite in float16 too.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    x = x if x.dtype == torch.float64 else x.float()
    # The gradient through the scale is 0, because the length divides the scale out again.
    scaled = x / x.detach().abs().amax(dim=-1, keepdim=True).clamp_min(1e-4)
    return nn.functional.normalize(scaled, dim=-1, eps=1.0)


def root(x: Tensor) -> Tensor:
    """Square root of entries > 0, with the same bits on every processor.

    `Tensor.sqrt` is MKL's on a CPU. Trainings that used it differed between Intel and AMD; on AMD
    one result in six is not the nearest float32. Probably it starts from the processor's own
    estimate of 1 / sqrt(x). `Tensor.rsqrt` uses the exact instructions for root and quotient.

    >>> root(torch.tensor([4.0, 0.25]))
    tensor([2.0000, 0.5000])
    """
    return x * x.rsqrt()


def rounded(x: Tensor, steps: int) -> Tensor:
    """Round float64 to multiples of `1 / steps`, as float32, without a processor's last digits.

    MKL's Fourier transforms and logarithms may differ in their last digits between Intel and AMD.
    In float64 that is far below a step, so that only a value within 1e-12 of the middle between two
    steps could still differ.

    Args:
        steps: a power of two, so that a multiple has an exact float32.

    >>> rounded(torch.tensor([0.126, -1.0], dtype=torch.float64), 8)
    tensor([ 0.1250, -1.0000])
    """
    return (x * steps).round().div(steps).float()


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` of matrices `(n, k)` and `(k, m)`, by `linear`.

    >>> matmul(torch.ones(1, 2), torch.tensor([[1.0], [2.0]]))
    tensor([[3.]])
    """
    return linear(a, b.T)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`; on a CPU fast and with the same bits on every processor.

    torch computes it by MKL, whose only branch with equal bits on Intel and AMD has no AVX2 and a
    third of the speed (see `sacd.cpu`). NumPy's OpenBLAS is pinned to its kernels for AVX2 on both,
    so products of float32 matrices on a CPU are NumPy's. All others stay torch's own.

    Args:
        x: `(..., k)`.
        weight: `(m, k)`.
        bias: `(m,)`.

    Returns:
        `(..., m)`.
    """
    if not (_by_numpy(x) and _by_numpy(weight)):
        return nn.functional.linear(x, weight, bias)
    if x.ndim == 2:
        return _Linear.apply(x, weight, bias)
    y = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    return y.view(*x.shape[:-1], len(weight))


class Linear(nn.Linear):
    """`torch.nn.Linear` by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def _by_numpy(x: Tensor) -> bool:
    # A subclass has products of its own, and an export has to see the operations.
    plain = type(x) in (Tensor, nn.Parameter) and x.device.type == "cpu"
    exported = torch.jit.is_tracing() or torch.compiler.is_compiling()
    special = torch.is_autocast_enabled("cpu") or exported
    return plain and x.dtype == torch.float32 and not special


class _Linear(torch.autograd.Function):
    """`linear` of a matrix by NumPy, and its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = _product(x, weight.T)
        return y if bias is None else y.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad
        return (
            _product(grad, weight) if by_x else None,
            _product(grad.T, x) if by_weight else None,
            grad.sum(dim=0) if by_bias else None,
        )


def _product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` of matrices, without a gradient."""
    # BLAS reads matrices with contiguous rows or columns; a gradient may be one number, expanded.
    left, right = (x if 1 in x.stride() else x.contiguous() for x in (a.detach(), b.detach()))
    return torch.from_numpy(np.matmul(left.numpy(), right.numpy()))
