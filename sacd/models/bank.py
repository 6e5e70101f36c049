"""Ring buffers of past batches, among them the memory bank of L_C (paper IV-C, Fig. 4)."""

import torch
from torch import Tensor, nn


class RingBuffer(nn.Module):
    """The last m rows of several tensors; new rows overwrite the oldest ones.

    Everything is a buffer, so `state_dict` resumes a run. Stored rows carry no gradient.

    Args:
        **rows: initial `(m, ...)` contents by buffer name, m >= 1.
    """

    pointer: Tensor
    """Row that is overwritten next."""
    fill: Tensor
    """Number of rows written so far, at most m."""

    def __init__(self, **rows: Tensor) -> None:
        super().__init__()
        self._names = tuple(rows)
        for name, value in rows.items():
            self.register_buffer(name, value)
        self.register_buffer("pointer", torch.tensor(0))
        self.register_buffer("fill", torch.tensor(0))

    @torch.no_grad()
    def write(self, **rows: Tensor) -> None:
        """Overwrite the oldest rows with `(n, ...)` new ones; if n > m, the last m are kept.

        Args:
            **rows: a tensor for each buffer, all of the same length n >= 0.
        """
        size = len(self.get_buffer(self._names[0]))
        new = len(rows[self._names[0]])
        slots = (self.pointer + torch.arange(new, device=self.pointer.device)) % size
        for name in self._names:
            buffer = self.get_buffer(name)
            buffer[slots[-size:]] = rows[name][-size:].to(buffer.dtype)
        self.pointer.copy_((self.pointer + new) % size)
        self.fill.copy_((self.fill + new).clamp_max(size))


class MemoryBank(RingBuffer):
    """First-in-first-out queue of past embeddings and their labels.

    Source: arXiv:2208.05814, IV-C ("discarding the oldest items and feeding the new batch").

    Args:
        size: number of entries m, >= 1 (paper: 256).
        dim: width of an embedding (512).

    Raises:
        ValueError: `size` is below 1.

    >>> bank = MemoryBank(3, 1)
    >>> bank.enqueue(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 1]))
    >>> bank.enqueue(torch.tensor([[3.0], [4.0]]), torch.tensor([2, 3]))
    >>> keys, labels = bank.get()
    >>> sorted(zip(labels.tolist(), keys.flatten().tolist()))
    [(1, 2.0), (2, 3.0), (3, 4.0)]
    """

    keys: Tensor
    labels: Tensor

    def __init__(self, size: int, dim: int) -> None:
        if size < 1:
            raise ValueError(f"bank size {size} is below 1; the paper has 256")
        super().__init__(keys=torch.zeros(size, dim), labels=torch.full((size,), -1))

    def enqueue(self, keys: Tensor, labels: Tensor) -> None:
        """Overwrite the oldest entries with `(b, dim)` keys and `(b,)` labels.

        Raises:
            ValueError: the shapes do not fit.
        """
        if keys.shape != (len(labels), self.keys.shape[1]):
            raise ValueError(
                f"keys {tuple(keys.shape)} do not fit {len(labels)} labels "
                f"and a bank of width {self.keys.shape[1]}"
            )
        self.write(keys=keys, labels=labels)

    def get(self) -> tuple[Tensor, Tensor]:
        """Keys `(fill, dim)` and labels `(fill,)` of the filled part, in no particular order."""
        fill = int(self.fill)
        return self.keys[:fill], self.labels[:fill]
