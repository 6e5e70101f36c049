"""What several losses need: arithmetic in float32 at least, and linear heads whose start comes from a generator."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
R = TypeVar("R")

LIMIT = 1e15
"""Largest magnitude that enters a loss: its square, summed over a batch of feature maps, still fits float32."""


def widen(x: Tensor) -> Tensor:
    """A floating tensor in float32 or better, within +-`LIMIT` (so that an overflow to inf stays finite).

    >>> widen(torch.tensor([1.0, float("inf")], dtype=torch.float16))
    tensor([1.0000e+00, 1.0000e+15])
    """
    return x.to(torch.promote_types(x.dtype, torch.float32)).clamp(-LIMIT, LIMIT)


def wide(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a loss: its floating tensors are widened, and autocast is off inside."""

    def widened(a: object) -> object:
        return widen(a) if isinstance(a, Tensor) and a.is_floating_point() else a

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(widened, args), **{name: widened(a) for name, a in kwargs.items()})

    return wrapped


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """`nn.Linear` with PyTorch's default start, U(+-1/sqrt(inputs)), drawn from `generator` (CPU)."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer
