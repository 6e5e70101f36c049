"""Ring buffers of past batches, among them the memory bank of L_C (paper IV-C, Fig. 4)."""

import torch
from torch import Tensor, nn


class RingBuffer(nn.Module):
    """The last m rows of several tensors; new rows overwrite the oldest ones.

    `state_dict` holds everything, so that a run can be resumed. Stored rows carry no gradient. The
    positions are Python numbers, because reading them from a GPU would make every step wait for it.

    Args:
        **rows: initial `(m, ...)` contents by buffer name, m >= 1.
    """

    def __init__(self, **rows: Tensor) -> None:
        super().__init__()
        self._names = tuple(rows)
        for name, value in rows.items():
            self.register_buffer(name, value)
        self.pointer = 0
        """Row that is overwritten next."""
        self.fill = 0
        """Number of rows written so far, at most m."""

    def get_extra_state(self) -> dict[str, int]:
        """Both positions, for `state_dict`."""
        return {"pointer": self.pointer, "fill": self.fill}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.pointer, self.fill = state["pointer"], state["fill"]

    @torch.no_grad()
    def write(self, **rows: Tensor) -> None:
        """Overwrite the oldest rows with `(n, ...)` new ones; if n > m, the last m are kept.

        Args:
            **rows: a tensor for each buffer, all of the same length n >= 0.
        """
        size = len(self.get_buffer(self._names[0]))
        new = len(rows[self._names[0]])
        end = self.pointer + new
        kept = min(new, size)
        first = (end - kept) % size  # slot of the oldest row that is kept
        before_wrap = min(kept, size - first)
        for name in self._names:
            buffer = self.get_buffer(name)
            values = rows[name][new - kept :].to(buffer.dtype)
            buffer[first : first + before_wrap] = values[:before_wrap]
            buffer[: kept - before_wrap] = values[before_wrap:]
        self.pointer, self.fill = end % size, min(self.fill + new, size)


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
        return self.keys[: self.fill], self.labels[: self.fill]
