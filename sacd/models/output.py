"""Output of every network: embedding, logits, features."""

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """Output of a student or a teacher for a batch of B clips."""

    embedding: Tensor
    """Latent vector F `(B, 512)`, which the losses compare."""
    logits: Tensor
    """Unnormalised class scores `(B, 5)`."""
    features: tuple[Tensor, ...] = ()
    """Stage features, shallow to deep, each `(B, C, ...)`, for FitNet, IFD and similar losses."""
