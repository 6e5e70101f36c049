"""Memory bank: the last m embeddings and their stages (paper IV-C, Fig. 4)."""

import torch
from torch import Tensor, nn


class MemoryBank(nn.Module):
    """First-in-first-out queue of past embeddings with labels; all of it is in `state_dict`.

    Source: arXiv:2208.05814, IV-C ("discarding the oldest items and feeding the new batch").

    Args:
        size: entries m, >= 1 (paper: 256).
        dim: width of an embedding (512).

    >>> bank = MemoryBank(3, 1)
    >>> bank.enqueue(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1]))
    >>> bank.enqueue(torch.tensor([[3.0], [4.0]]), torch.tensor([2, 3]))
    >>> keys, labels = bank.get()
    >>> sorted(zip(labels.tolist(), keys.flatten().tolist()))
    [(1, 2.0), (2, 3.0), (3, 4.0)]
    """

    keys: Tensor
    labels: Tensor
    pointer: Tensor
    fill: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"bank size {size} is below 1; the paper has 256")
        self.register_buffer("keys", torch.zeros(size, dim))
        self.register_buffer("labels", torch.full((size,), -1))
        self.register_buffer("pointer", torch.tensor(0))
        self.register_buffer("fill", torch.tensor(0))

    @torch.no_grad()
    def enqueue(self, keys: Tensor, labels: Tensor) -> None:
        """Overwrite the oldest entries by `(b, dim)` keys and `(b,)` labels; of a batch larger than m the last m stay.

        Raises:
            ValueError: shapes do not fit.
        """
        size = len(self.keys)
        if keys.shape != (len(labels), self.keys.shape[1]):
            raise ValueError(
                f"keys {tuple(keys.shape)} do not fit {len(labels)} labels and a bank of width {self.keys.shape[1]}"
            )
        slots = (self.pointer + torch.arange(len(keys), device=keys.device)) % size
        self.keys[slots[-size:]] = keys[-size:].to(self.keys.dtype)
        self.labels[slots[-size:]] = labels[-size:]
        self.pointer.copy_((self.pointer + len(keys)) % size)
        self.fill.copy_((self.fill + len(keys)).clamp_max(size))

    def get(self) -> tuple[Tensor, Tensor]:
        """Keys `(fill, dim)` and labels `(fill,)` of the filled part, in no particular order."""
        fill = int(self.fill)
        return self.keys[:fill], self.labels[:fill]
