"""Order of the clips in an epoch: random batches of consecutive clips, or fully random order."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
import torch


def runs(ids: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each run of equal ids, in order.

    >>> [rows.tolist() for rows in runs(np.array([7, 7, 3]))]
    [[0, 1], [2]]
    """
    return np.split(np.arange(len(ids)), np.flatnonzero(np.diff(ids)) + 1)


def batches(
    blocks: np.ndarray,
    size: int,
    order: Literal["block", "shuffled"],
    generator: torch.Generator,
    blocks_per_batch: int = 1,
) -> Iterator[torch.Tensor]:
    """Rows of one epoch, batch by batch.

    `block` (reading A20): each block of consecutive clips is cut into batches of `size` at a random
    phase, so that a batch holds consecutive clips of one night. The batches come in random order.
    The remainder at either end of a block is a smaller batch if it has at least two clips.
    `blocks_per_batch` full batches are joined into a larger one; a method that needs consecutive
    clips splits it again every `size` rows. Smaller batches are never joined.

    `shuffled`: all clips in random order; an incomplete last batch is dropped.

    Args:
        blocks: `(n,)` block id of every row; rows of a block are consecutive in time and adjacent.
        size: clips per batch, >= 1.
        blocks_per_batch: for `block`, number of batches of consecutive clips that are joined, >= 1.

    Yields:
        int64 tensors of rows.
    """
    n = len(blocks)
    if order == "shuffled":
        rows = torch.randperm(n, generator=generator)
        # A set smaller than a batch is kept.
        yield from rows.split(size) if n < size else rows[: n - n % size].split(size)
        return
    starts = np.flatnonzero(np.r_[True, blocks[1:] != blocks[:-1]])
    pieces: list[tuple[int, int]] = []
    for start, end in zip(starts, np.r_[starts[1:], n], strict=True):
        phase = 0
        if end - start > size:
            spare = (end - start) % size
            phase = int(torch.randint(spare + 1, (), generator=generator))
        cuts = [start, *range(start + phase, end, size), end]
        pieces += [(a, b) for a, b in pairwise(cuts) if b - a >= min(2, size)]
    drawn = torch.randperm(len(pieces), generator=generator).tolist()
    whole = [k for k in drawn if pieces[k][1] - pieces[k][0] == size]
    small = [k for k in drawn if pieces[k][1] - pieces[k][0] < size]
    groups = [whole[i : i + blocks_per_batch] for i in range(0, len(whole), blocks_per_batch)]
    if small:
        groups += [[k] for k in small]
        # So far the small batches come last; a second draw spreads them over the epoch.
        order_of_groups = torch.randperm(len(groups), generator=generator).tolist()
        groups = [groups[k] for k in order_of_groups]
    for chosen in groups:
        yield torch.cat([torch.arange(*pieces[k]) for k in chosen])
