"""Relational knowledge distillation (RKD): distances of pairs and angles of triplets.

Within a batch, the student keeps the shape of the teacher's cloud of clips. Where the cloud lies,
its scale and its rotation are free, and so is the width of the embedding.
"""

from torch import Tensor
from torch.linalg import vector_norm
from torch.nn import functional as F

from sacd.losses.base import Batch, Context, Method
from sacd.models.numerics import in_float32

EPS = 1e-6
"""Smallest distance that divides."""


def _relations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Distances `(B, B)` over their mean; cosines `(B, B, B)` of the angles at i of j and k."""
    # `vector_norm` has gradient 0 at 0, where the root of a sum of squares has none.
    difference = x[None] - x[:, None]
    distance = vector_norm(difference, dim=2)
    # Over distinct clips, as in the authors' code; a single clip has no distance to divide by.
    mean = distance.sum() / (distance > 0).sum().clamp(min=1)
    # Equal clips have no direction: EPS bounds the gradient there, which would be infinite.
    direction = difference / distance.clamp(min=EPS)[..., None]
    return distance / mean.clamp(min=EPS), direction @ direction.transpose(1, 2)


@in_float32
def rkd(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Smooth L1 between the two sides' relative distances, and between their angles' cosines.

    `d_ij = |x_i - x_j| / mean |x - x'|` over distinct clips, `a_ijk = cos(x_j - x_i, x_k - x_i)`;
    both losses are means over all B^2 and B^3 entries, equal indices included, as in the authors'
    code. Source: Park et al. 2019, arXiv:1904.05068.

    Args:
        student: embeddings `(B, D)`.
        teacher: embeddings `(B, D')`; receives no gradient.

    Returns:
        Distance loss and angle loss, scalars >= 0; both invariant to shift, rotation and scale of
        either side.

    >>> import torch
    >>> x = torch.eye(3)
    >>> [float(v) for v in rkd(5 * x + 1, x)]
    [0.0, 0.0]
    """
    distances, angles = _relations(student)
    targets = _relations(teacher.detach())
    return F.smooth_l1_loss(distances, targets[0]), F.smooth_l1_loss(angles, targets[1])


class RKD(Method):
    """Cross-entropy + 25 x distance loss + 50 x angle loss; the weights are RepDistiller's."""

    teacher_needed = True

    def __init__(
        self, context: Context, weight_distance: float = 25.0, weight_angle: float = 50.0
    ) -> None:
        super().__init__(context)
        self.weight_distance, self.weight_angle = weight_distance, weight_angle

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        distance, angle = rkd(batch.student.embedding, batch.teacher.embedding)
        return {
            "rkd_distance": self.weight_distance * distance,
            "rkd_angle": self.weight_angle * angle,
        }
