"""Random representations of both sides, and plain loops over pairs of clips."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Vector = Sequence[float]


def pair(seed: int, size: int, student: Sequence[int], teacher: Sequence[int]) -> list[Tensor]:
    """Random float64 student and teacher representations of `size` clips, of the given shapes."""
    g = torch.Generator().manual_seed(seed)
    shapes = (student, teacher)
    return [torch.randn(size, *shape, generator=g, dtype=torch.float64) for shape in shapes]


def logits(seed: int, size: int = 6, classes: int = 5) -> list[Tensor]:
    """Random float64 logits of student and teacher, wide enough for sure and unsure rows."""
    return [3 * x for x in pair(seed, size, (classes,), (classes,))]


def cosine(a: Vector, b: Vector) -> float:
    return sum(u * v for u, v in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def cosine_kernel(a: Vector, b: Vector) -> float:
    return (1 + cosine(a, b)) / 2


def neighbourhoods(
    x: Sequence[Vector], kernel: Callable[[Vector, Vector], float]
) -> list[list[float]]:
    """Conditional probabilities p(j|i): the kernel of clips i and j, divided by the sum over j."""
    near = [[kernel(a, b) for b in x] for a in x]
    return [[value / sum(row) for value in row] for row in near]


def entries(p: list[list[float]], q: list[list[float]]) -> list[tuple[float, float]]:
    """Entries (p_ij, q_ij) of two matrices."""
    rows = zip(p, q, strict=True)
    return [both for row_p, row_q in rows for both in zip(row_p, row_q, strict=True)]
