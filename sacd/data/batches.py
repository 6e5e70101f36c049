"""The order in which clips are trained: blocks of consecutive clips in random order, or clips in random order."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
import torch


def batches(
    blocks: np.ndarray,
    size: int,
    order: Literal["block", "shuffled"],
    generator: torch.Generator,
    blocks_per_batch: int = 1,
) -> Iterator[torch.Tensor]:
    """Rows of one epoch, batch by batch.

    `block` (A20): every block of consecutive clips is cut into batches of `size` at a random phase,
    so that each batch holds consecutive clips of one night; the batches come in random order. What
    a cut leaves over at either end is a smaller batch of its own if it holds at least two clips.
    `blocks_per_batch` whole batches of different places make one larger batch, which whoever needs
    consecutive clips can cut every `size` rows; smaller ones stay alone. `shuffled`: all clips in
    random order, a rest is left out.

    Args:
        blocks: `(n,)` block id of every row; rows of a block are consecutive in time and adjacent.
        size: clips a batch, >= 1.
        blocks_per_batch: with `block`, how many batches of consecutive clips make one, >= 1.

    Yields:
        int64 tensors of rows.
    """
    n = len(blocks)
    if order == "shuffled":
        rows = torch.randperm(n, generator=generator)
        yield from rows.split(size) if n < size else rows[: n - n % size].split(size)
        return
    starts = np.flatnonzero(np.r_[True, blocks[1:] != blocks[:-1]])
    pieces: list[tuple[int, int]] = []
    for start, end in zip(starts, np.r_[starts[1:], n], strict=True):
        spare = (end - start) % size
        first = start + (
            int(torch.randint(spare + 1, (), generator=generator)) if end - start > size else 0
        )
        cuts = [start, *range(first, end, size), end]
        pieces += [(a, b) for a, b in pairwise(cuts) if b - a >= min(2, size)]
    drawn = torch.randperm(len(pieces), generator=generator).tolist()
    whole = [k for k in drawn if pieces[k][1] - pieces[k][0] == size]
    groups = [whole[i : i + blocks_per_batch] for i in range(0, len(whole), blocks_per_batch)]
    groups += [[k] for k in drawn if pieces[k][1] - pieces[k][0] < size]
    if len(groups) > -(
        -len(whole) // blocks_per_batch
    ):  # a place in the order for the small ones too
        groups = [groups[k] for k in torch.randperm(len(groups), generator=generator).tolist()]
    for chosen in groups:
        yield torch.cat([torch.arange(*pieces[k]) for k in chosen])
