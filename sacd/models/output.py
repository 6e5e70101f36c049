"""What every network returns."""

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """What every student and every teacher returns for a batch of B clips."""

    embedding: Tensor
    """`(B, 512)`: the latent vector F that the losses compare."""
    logits: Tensor
    """`(B, 5)`: unnormalised class scores."""
    features: tuple[Tensor, ...] = ()
    """Stage features, shallow to deep, each `(B, C, ...)`; FitNet, IFD and the like use them."""
