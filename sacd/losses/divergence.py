"""Divergence between the class probabilities of student and teacher (paper eq. 4).

Unlike the KL divergence of KD it is symmetric, bounded, and has no temperature.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from sacd.models.numerics import to_float32


def divergence(a: Tensor, b: Tensor, kind: Literal["jsd", "half_jeffreys"] = "jsd") -> Tensor:
    r"""Jensen-Shannon divergence of two sets of logits, mean over the batch, in nats.

    .. math:: JSD(p, q) = \tfrac12 KL(p \| m) + \tfrac12 KL(q \| m), \; m = (p + q) / 2 \quad (4)

    It is symmetric and at most ln 2. `half_jeffreys` is (KL(p||q) + KL(q||p)) / 2, which the
    authors' released code, like CCL's, calls JSD (reading A21). It is unbounded, and about four
    times as large for similar p and q.

    Source: arXiv:2208.05814, eq. 4; Lin 1991, doi:10.1109/18.61115.

    Args:
        a, b: `(B, C)` logits.

    Raises:
        ValueError: `kind` is unknown.

    >>> x = torch.tensor([[1000.0, 0.0]])
    >>> round(float(divergence(x, -x)), 6), float(divergence(x, x))
    (0.693147, 0.0)
    """
    # Below -1e4 a probability is 0 in any floating type; the floor keeps 0 * log 0 at 0 for the
    # most extreme logits.
    p, q = (to_float32(x).log_softmax(dim=-1).clamp_min(-1e4) for x in (a, b))
    if kind == "jsd":
        # ln m without m itself, which may underflow where both probabilities are small.
        m = torch.logaddexp(p, q) - math.log(2)
        terms = p.exp() * (p - m) + q.exp() * (q - m)
    elif kind == "half_jeffreys":
        terms = (p.exp() - q.exp()) * (p - q)
    else:
        raise ValueError(f"divergence {kind!r} is unknown; known: jsd, half_jeffreys")
    return 0.5 * terms.sum(dim=-1).mean()
