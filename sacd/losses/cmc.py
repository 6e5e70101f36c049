"""Contrastive multiview coding: the noise-contrastive loss of CRD without labels."""

from typing import Any

from sacd.losses.base import Context
from sacd.losses.crd import CRD


class CMC(CRD):
    """Cross-entropy + `weight` x `sacd.losses.crd.nce` between video and EEG.

    Every other clip is a negative, whatever its stage.

    Source: Tian, Krishnan, Isola 2020, arXiv:1906.05849; 16384 negatives, T 0.07 and momentum
    0.5 are those of its code, which has no cross-entropy; the weight 0.8 is that of CRD, which has
    one. Deviation: the encoder of the EEG view is frozen, and only its linear head is trained; the
    anchor itself is never drawn as a negative (in the original, once in n draws).

    Args:
        **options: those of `CRD` except `negatives`.
    """

    term = "cmc"

    def __init__(self, context: Context, **options: Any) -> None:
        super().__init__(context, negatives="own", **options)
