"""Arithmetic that networks and losses share: float32 at least, unit vectors, equal bits."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

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
