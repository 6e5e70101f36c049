"""Shared by several losses: linear heads initialised by a generator."""

import torch
from torch import nn

from sacd.models.numerics import Linear


def linear(inputs: int, outputs: int, generator: torch.Generator) -> Linear:
    """`Linear` with PyTorch's default init, U(+-1/sqrt(inputs)), from `generator` (CPU)."""
    # `nn.Linear` would draw from the global generator: adding a head would then change all later
    # draws of a training, and methods could not be compared at equal seeds.
    layer = nn.utils.skip_init(Linear, inputs, outputs)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer
