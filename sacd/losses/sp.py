"""Similarity-preserving distillation: clips that the teacher finds similar become similar.

Student and teacher are compared by the B x B similarities of the clips of a batch, so their
embeddings may differ in width, scale and rotation.
"""

from collections.abc import Mapping

from torch import Tensor

from sacd.losses.base import Batch, Context, Method
from sacd.models.numerics import in_float32, matmul, unit


@in_float32
def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared difference of the two row-normalised B x B similarity matrices, over B squared.

    .. math:: L_{SP} = \frac{1}{B^2} \| \tilde G_T - \tilde G_S \|_F^2

    where \tilde G has the rows of F F^T at unit L2 length.

    Source: Tung & Mori 2019, arXiv:1907.09682, eqs. 1-4.

    Args:
        student, teacher: `(B, ...)` activations of the same clips; their widths may differ.

    Returns:
        Scalar in 0..4/B.

    >>> import torch
    >>> x = torch.eye(3)
    >>> float(similarity_preserving(x, 5 * x))
    0.0
    """
    grams = []
    for f in (student.flatten(1), teacher.flatten(1)):
        # F F^T has the square of the scale. The factor, which cancels in the normalised rows, keeps
        # it from overflow and away from the 1e-4 below which `unit` shrinks a row.
        f = f / f.detach().abs().amax().clamp_min(1e-4)
        grams.append(unit(matmul(f, f.T)))
    return (grams[0] - grams[1]).square().sum() / len(student) ** 2


class SP(Method):
    """Similarity-preserving distillation on the 512-d embeddings, beside cross-entropy.

    It is also a control for L_D of SACD: it compares the relations within a batch without a network
    that could collapse.

    Source: arXiv:1907.09682. The weight 3000 is RepDistiller's for a batch of 64. L_SP scales as
    1/B, so about 750 has the same strength at a batch of 16. Deviation: the loss is on the
    embedding instead of the last feature map.
    """

    teacher_needed = True

    def __init__(self, context: Context, weight: float = 3000.0) -> None:
        super().__init__()
        self.weight = weight

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        loss = similarity_preserving(batch.student.embedding, batch.teacher.embedding.detach())
        return {"sp": self.weight * loss}
