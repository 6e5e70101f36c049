"""Information-flow distillation: neighbourhoods in several layers, early layers first.

As in PKT, the similarities of a clip to the clips of its batch are probabilities; here, those of
intermediate features too. The weight of these decays by epoch: what the layers of a network pass on
is formed early in its training (the authors' critical period).
"""

from torch import Tensor

from sacd.losses.base import Batch, Context, Method
from sacd.losses.pkt import EPS, neighbours
from sacd.models.numerics import in_float32, matmul, root


def _kernels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Conditional probabilities `(B, B)` of the cosine and Student-t kernels of the rows."""
    mean = x.mean(0)
    # Distances stay the same, and float32 keeps their digits if all rows lie far from the origin.
    x = x - mean
    gram, along = matmul(x, x.T), x @ mean
    square = gram.diagonal()
    # |x_i - x_j|^2 by products, without a B x B x D tensor of differences: the stage features are
    # long. Rounding may leave it below 0.
    squared = (square[:, None] + square - 2 * gram).clamp(min=0)
    # The slope of the root is infinite at 0, where every row meets itself.
    near = 1 / (1 + root(squared + 1e-6))
    # The cosine depends on the origin, so its products are those of the rows before centring.
    return neighbours(gram + along[:, None] + along + mean @ mean), near / near.sum(1, keepdim=True)


@in_float32
def ifd(student: Tensor, teacher: Tensor) -> Tensor:
    """Jeffreys divergence of the neighbourhoods in a pair of layers, sum over two kernels.

    `1/B sum_i sum_j (p_ij - q_ij) (ln p_ij - ln q_ij)`, once for the cosine kernel `(1 + cos) / 2`
    and once for the Student-t kernel `1 / (1 + distance)`, rows normalised to 1.
    Source: Passalis, Tzelepi, Tefas 2020, arXiv:2005.00727. Deviation: 1e-7 is added inside the
    logarithms, because a probability of 0 would give NaN, and the mean is over the B rows instead
    of all B^2 entries (see `sacd.losses.pkt`).

    Args:
        student: features `(B, ...)`, flattened.
        teacher: features `(B, ...)`, flattened; receives no gradient.

    Returns:
        Scalar >= 0.

    >>> import torch
    >>> x = torch.eye(3)
    >>> float(ifd(x, x))
    0.0
    """
    cosine_student, t_student = _kernels(student.flatten(1))
    cosine_teacher, t_teacher = _kernels(teacher.detach().flatten(1))
    return _jeffreys(cosine_teacher, cosine_student) + _jeffreys(t_teacher, t_student)


def _jeffreys(p: Tensor, q: Tensor) -> Tensor:
    """Divergence of each row of two `(B, B)` matrices of probabilities, mean over the rows."""
    return ((p - q) * ((p + EPS) / (q + EPS)).log()).sum(1).mean()


class IFD(Method):
    """Cross-entropy + `ifd` of the embeddings and of up to three pairs of intermediate features.

    Weights: 1/128 for the embeddings, 100/128 x 0.7^epoch for the features.

    The authors use 1 and 100 times the mean over B^2 entries at a batch of 128, which is 1/128 and
    100/128 times the mean over rows used here (see `sacd.losses.pkt`). They train without
    cross-entropy. With these weights the three pairs start near 1 for untrained networks, like the
    cross-entropy; 128 times the weight would drown it. Deviation: there is no auxiliary teacher of
    the student's architecture, because no network lies between one of EEG and one of video.
    Features are paired from the deepest, last with last.
    """

    teacher_needed = True
    reads_features = True

    def __init__(
        self,
        context: Context,
        weight: float = 1 / 128,
        weight_stages: float = 100 / 128,
        decay: float = 0.7,
    ) -> None:
        super().__init__(context)
        self.weight, self.weight_stages, self.decay = weight, weight_stages, decay
        self.pairs = min(
            3, len(context.student_example.features), len(context.teacher_example.features)
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        losses = {"ifd_last": self.weight * ifd(batch.student.embedding, batch.teacher.embedding)}
        if self.pairs:  # a slice [-0:] would be all features
            student = batch.student.features[-self.pairs :]
            teacher = batch.teacher.features[-self.pairs :]
            stages = sum(ifd(s, t) for s, t in zip(student, teacher, strict=True))
            losses["ifd_stages"] = self.weight_stages * self.decay**batch.epoch * stages
        return losses
