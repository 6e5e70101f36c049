"""L_C: the K hardest negatives of two memory banks, in both directions (eqs. 3, 12 and 13).

Video and EEG of a clip have to be more similar, by a margin, than its video is to the EEG of any
clip of another stage (and the reverse). Of the past clips in a bank only the most similar ones are
used, because most others satisfy the margin already. Source: paper IV-C.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sacd.models.numerics import matmul, to_float32, unit

Selection = Literal["top_k", "semi_hard_random", "per_class"]
Directions = Literal["both", "video", "eeg"]


class Contrast(NamedTuple):
    """L_C and its diagnostics."""

    loss: Tensor
    negatives: Tensor
    """`(B,)` number of negatives of each anchor, mean over the directions."""
    active: Tensor
    """Share of the pairs with a hinge above 0; 0 if there are no pairs."""
    positive: Tensor
    """Mean cosine of the B synchronous pairs."""


def k_hard_contrastive(
    anchor_v: Tensor,
    anchor_s: Tensor,
    queue_s: Tensor,
    queue_v: Tensor,
    labels: Tensor,
    queue_labels: Tensor,
    margin: float = 0.2,
    k: int = 64,
    selection: Selection = "top_k",
    directions: Directions = "both",
    generator: torch.Generator | None = None,
    unit_queues: bool = False,
) -> Contrast:
    r"""Triplet hinge of synchronous pairs against the K hardest entries of the opposite bank.

    .. math:: L = \sum_n \sum_{k=1}^K [\alpha - S(F_n^v, F_n^s) + S(F_n^v, F_k^s)]_+
        + [\alpha - S(F_n^v, F_n^s) + S(F_k^v, F_n^s)]_+ \qquad (12, 13)

    F are the embeddings `(d,)` of the current clips n, [x]_+ is max(0, x), and F_k is the k-th
    hardest entry of the other modality's bank. S is the cosine (reading A14). Video anchors meet
    EEG entries and the reverse (reading A17). Entries of the same stage as the anchor are never
    negatives. A direction without negatives adds exactly 0. The caller enqueues the keys of a batch
    after its loss, so that a bank never holds the keys of the current batch.

    Source: arXiv:2208.05814, eqs. 12-13. Deviation: each direction is a mean over its valid pairs,
    and the two are added; the printed double sum has up to 2048 terms and would dominate the mean
    cross-entropy (reading A18).

    Args:
        anchor_v, anchor_s: `(B, d)` video and EEG embeddings of the same clips, any scale.
        queue_s, queue_v: `(m, d)` past EEG and video embeddings, m >= 0; they get no gradient.
        labels, queue_labels: `(B,)` and `(m,)` stages.
        margin: alpha, a difference of cosines.
        k: maximum number of negatives per anchor.
        selection: `top_k`, the k most similar entries (reading A15); `semi_hard_random`, k draws
            with replacement among those with 0 < hinge < margin, as in EISNet's code (reading A16);
            `per_class`, the k most similar entries of each other stage.
        directions: `video`, video anchors against EEG entries; `eeg`, the reverse; `both`.
        generator: source of the draws of `semi_hard_random`.
        unit_queues: the entries of both queues have unit length already, which saves their
            normalisation at every step.

    Raises:
        ValueError: an option is unknown.
    """
    for value, known in (
        (selection, ("top_k", "semi_hard_random", "per_class")),
        (directions, ("both", "video", "eeg")),
    ):
        if value not in known:
            raise ValueError(f"{value!r} is unknown; known: {', '.join(known)}")
    # The cosines of hard negatives differ by less than the resolution of bfloat16.
    with torch.autocast(anchor_v.device.type, enabled=False):
        video, eeg = unit(to_float32(anchor_v)), unit(to_float32(anchor_s))
        positive = (video * eeg).sum(dim=1)
        other = labels[:, None] != queue_labels
        hinges, valids = [], []
        for name, anchor, queue in (("video", video, queue_s), ("eeg", eeg, queue_v)):
            if directions not in ("both", name):
                continue
            # Past embeddings, detached: only the current clips can still be moved.
            keys = to_float32(queue.detach())
            keys = keys if unit_queues else unit(keys)
            similar = matmul(anchor, keys.to(anchor.dtype).T)
            # Which entries are hardest is a choice without a gradient; only their cosines have one.
            chosen = similar.detach(), positive.detach(), other
            if selection == "semi_hard_random":
                index, valid = _semi_hard(*chosen, margin, k, generator)
            elif selection == "per_class":
                index, valid = _hardest_per_class(chosen[0], other, queue_labels, k)
            else:
                index, valid = _hardest(chosen[0], other, k)
            hinge = (margin - positive[:, None] + similar.gather(1, index)).relu()
            hinges.append(hinge.masked_fill(~valid, 0))
            valids.append(valid)
    # The mean is over valid pairs, active or not: a mean over active hinges alone would keep its
    # size while fewer and fewer pairs violate the margin.
    loss = sum(h.sum() / v.sum().clamp_min(1) for h, v in zip(hinges, valids, strict=True))
    pairs = sum(v.sum() for v in valids)
    return Contrast(
        loss=loss,
        negatives=sum(v.sum(dim=1) for v in valids) / len(valids),
        active=sum((h > 0).sum() for h in hinges) / pairs.clamp_min(1),
        positive=positive.detach().mean(),
    )


def _hardest(similar: Tensor, allowed: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Indices `(B, min(k, m))` of the most similar allowed entries, and a mask of the valid ones.

    An anchor with fewer than k allowed entries gets forbidden ones as well, of similarity -inf, by
    which the mask tells them.
    """
    size = min(k, similar.shape[1])
    value, index = similar.masked_fill(~allowed, -torch.inf).topk(size, dim=1)
    return index, value.isfinite()


def _hardest_per_class(
    similar: Tensor, other: Tensor, queue_labels: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """`_hardest` of each stage in the bank, side by side."""
    if not len(queue_labels):
        return _hardest(similar, other, k)
    found = [_hardest(similar, other & (queue_labels == s), k) for s in queue_labels.unique()]
    indices, valids = zip(*found, strict=True)
    return torch.cat(indices, dim=1), torch.cat(valids, dim=1)


def _semi_hard(
    similar: Tensor,
    positive: Tensor,
    other: Tensor,
    margin: float,
    k: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Indices `(B, k)` drawn with replacement among 0 < hinge < margin; mask of the valid ones."""
    if not similar.shape[1]:
        return _hardest(similar, other, k)
    hinge = margin - positive[:, None] + similar
    mask = other & (hinge > 0) & (hinge < margin)
    count = mask.sum(dim=1, keepdim=True)
    # The draw is made where the generator lives, so a GPU gives the numbers of a CPU.
    device = "cpu" if generator is None else generator.device
    draw = torch.rand(len(similar), k, generator=generator, device=device).to(similar.device)
    # Semi-hard entries come first in `order`; the draw picks a position among those. It is at most
    # 1 - 2^-24, so that the product stays below `count` in float32 too.
    order = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    return order.gather(1, (draw * count).long()), (count > 0).expand(-1, k)
