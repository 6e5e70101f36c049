"""Output of every network: embedding, logits, features."""

from typing import Final, NamedTuple

from torch import Tensor

EMBEDDING: Final = 512
"""Length of the latent vector F that teacher and student share (Sec. V-B)."""


class Output(NamedTuple):
    """Output of a student or a teacher for a batch of B clips."""

    embedding: Tensor
    """Latent vector F `(B, EMBEDDING)`, which the losses compare."""
    logits: Tensor
    """Unnormalised class scores `(B, 5)`."""
    features: tuple[Tensor, ...] = ()
    """Stage features, shallow to deep, each `(B, C, ...)`, for FitNet, IFD and similar losses."""
