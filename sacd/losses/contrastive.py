"""L_C: the K hardest negatives of two memory banks, in both directions (paper IV-C, eqs. 12-13)."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sacd.models.numerics import to_float32, unit

Selection = Literal["top_k", "semi_hard_random", "per_class"]
Directions = Literal["both", "video", "eeg"]


class Contrast(NamedTuple):
    """L_C and what it was made of."""

    loss: Tensor
    negatives: Tensor
    """`(B,)` negatives of each anchor, mean over the directions."""
    active: Tensor
    """Share of the pairs whose hinge is above 0; 0 without pairs."""
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
) -> Contrast:
    r"""Triplet hinge of synchronous pairs against the K hardest entries of the other modality's
    bank.

    .. math:: L = \sum_n \sum_{k=1}^K [\alpha - S(F_n^v, F_n^s) + S(F_n^v, F_k^s)]_+
        + [\alpha - S(F_n^v, F_n^s) + S(F_k^v, F_n^s)]_+ \qquad (12, 13)

    S is the cosine (reading A14); entries of the anchor's own stage are no negatives; a direction
    without any adds exactly 0.

    Source: arXiv:2208.05814, eqs. 12-13. Deviation: the mean over the valid pairs of each
    direction, the two then added; the printed double sum has up to 2048 terms
    beside a mean cross-entropy (reading A18).

    Args:
        anchor_v, anchor_s: `(B, d)` video and EEG embeddings of the same clips, any scale.
        queue_s, queue_v: `(m, d)` past EEG and video embeddings, m >= 0; never given a gradient.
        labels, queue_labels: `(B,)` and `(m,)` stages.
        margin: alpha, in cosine.
        k: negatives of an anchor at most.
        selection: `top_k`, the k most similar; `semi_hard_random`, k draws with replacement among
            those with 0 < hinge < margin (what EISNet's code does, reading A16); `per_class`, the k
            most similar of each other stage.
        directions: `video`, video anchors against EEG entries; `eeg`, the reverse; `both`.
        generator: of the draws of `semi_hard_random`.

    Raises:
        ValueError: an option is unknown.
    """
    for value, known in (
        (selection, ("top_k", "semi_hard_random", "per_class")),
        (directions, ("both", "video", "eeg")),
    ):
        if value not in known:
            raise ValueError(f"{value!r} is unknown; known: {', '.join(known)}")
    # Cosines of hard negatives differ by less than bfloat16 resolves.
    with torch.autocast(anchor_v.device.type, enabled=False):
        video, eeg = unit(to_float32(anchor_v)), unit(to_float32(anchor_s))
        positive = (video * eeg).sum(dim=1)
        other = labels[:, None] != queue_labels
        hinges, valids = [], []
        for name, anchor, queue in (("video", video, queue_s), ("eeg", eeg, queue_v)):
            if directions not in ("both", name):
                continue
            similar = anchor @ unit(to_float32(queue.detach())).to(anchor.dtype).T
            index, valid = _select(
                similar.detach(),
                positive.detach(),
                other,
                queue_labels,
                margin,
                k,
                selection,
                generator,
            )
            hinge = (margin - positive[:, None] + similar.gather(1, index)).relu()
            hinges.append(hinge.masked_fill(~valid, 0))
            valids.append(valid)
    loss = sum(h.sum() / v.sum().clamp_min(1) for h, v in zip(hinges, valids, strict=True))
    pairs = sum(v.sum() for v in valids)
    return Contrast(
        loss=loss,
        negatives=sum(v.sum(dim=1) for v in valids) / len(valids),
        active=sum((h > 0).sum() for h in hinges) / pairs.clamp_min(1),
        positive=positive.detach().mean(),
    )


def _select(
    similar: Tensor,
    positive: Tensor,
    other: Tensor,
    queue_labels: Tensor,
    margin: float,
    k: int,
    selection: Selection,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Bank entries `(B, K)` chosen for each anchor, and which of them count."""
    entries = similar.shape[1]
    if selection == "semi_hard_random" and entries:
        hinge = margin - positive[:, None] + similar
        mask = other & (hinge > 0) & (hinge < margin)
        count = mask.sum(dim=1, keepdim=True)
        device = "cpu" if generator is None else generator.device
        draw = torch.rand(len(similar), k, generator=generator, device=device).to(similar.device)
        order = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        return order.gather(1, (draw * count).long().clamp_max(entries - 1)), (count > 0).expand(
            -1, k
        )
    groups = [other]
    if selection == "per_class" and entries:
        groups = [other & (queue_labels == s) for s in queue_labels.unique()]
    indices, valids = [], []
    for mask in groups:
        value, index = similar.masked_fill(~mask, -torch.inf).topk(min(k, entries), dim=1)
        indices.append(index)
        valids.append(value.isfinite())
    return torch.cat(indices, dim=1), torch.cat(valids, dim=1)
