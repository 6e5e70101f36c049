"""Probabilistic knowledge transfer: which clips are near which, as conditional probabilities.

Within a batch, the similarities of a clip to all clips are scaled to sum to 1. Student and teacher
are compared by these B x B probabilities, so their embeddings may differ in width, scale and
rotation.
"""

from torch import Tensor

from sacd.losses.base import Batch, Context, Method
from sacd.models.numerics import in_float32, matmul, root

EPS = 1e-7
"""Added to probabilities inside a logarithm: opposite vectors have probability 0."""


def neighbours(gram: Tensor) -> Tensor:
    """Conditional probabilities `p(j|i)` of the cosine kernel `(1 + cos) / 2`.

    Args:
        gram: `(B, B)` inner products of the embeddings.

    Returns:
        `(B, B)`, rows sum to 1; a zero vector is equally close to all others.
    """
    # The slope of the root is infinite at 0. Below a length of 1e-6 the cosine shrinks to 0.
    length = root(gram.diagonal().clamp(min=1e-12))
    # Rounding may take a cosine below -1, and a probability below 0.
    kernel = ((gram / (length[:, None] * length) + 1) / 2).clamp(min=0)
    # A row holds the clip itself, of kernel 1 (1/2 if its vector is 0), so its sum is not small.
    # Only IFD's gram, a sum of rounded parts, may leave the row of a vector near 0 without a
    # positive entry.
    return kernel / kernel.sum(1, keepdim=True).clamp(min=EPS)


@in_float32
def pkt(student: Tensor, teacher: Tensor) -> Tensor:
    """Divergence of the neighbourhoods, `1/B sum_i KL(p_teacher(.|i) || p_student(.|i))`.

    Source: Passalis & Tefas 2018, arXiv:1803.10837. Deviation: the mean is over the B rows; the
    authors' code averages over all B^2 entries, so the loss is B times smaller and its strength
    depends on the batch size.

    Args:
        student: embeddings `(B, D)`.
        teacher: embeddings `(B, D')`; receives no gradient.

    Returns:
        Scalar >= 0 up to 1e-7; zero for equal cosines and for a single clip.

    >>> import torch
    >>> x = torch.eye(3)
    >>> float(pkt(2 * x, x))
    0.0
    """
    p, q = (neighbours(matmul(x, x.T)) for x in (teacher.detach(), student))
    return (p * ((p + EPS) / (q + EPS)).log()).sum(1).mean()


class PKT(Method):
    """Cross-entropy + `weight` x `pkt` of the embeddings.

    RepDistiller uses 30000 times the mean over B^2 entries at a batch of 64, which is 30000 / 64
    times the mean over rows used here.
    """

    teacher_needed = True

    def __init__(self, context: Context, weight: float = 30000 / 64) -> None:
        super().__init__(context)
        self.weight = weight

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"pkt": self.weight * pkt(batch.student.embedding, batch.teacher.embedding)}
