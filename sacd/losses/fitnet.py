"""FitNet: a linear regressor predicts the teacher's hint from the student's embedding.

The regressor is trained along and thrown away afterwards. With it, the student's embedding need not
equal the teacher's, only determine it.
"""

from torch import Tensor
from torch.nn import functional as F

from sacd.losses.base import Batch, Context, Method
from sacd.losses.common import linear
from sacd.models.numerics import in_float32


@in_float32
def hint(guess: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error between the regressed student embedding and the hint.

    Source: Romero et al. 2015, arXiv:1412.6550, which has half the squared norm; the mean is
    RepDistiller's.

    Args:
        guess: `(B, D)` output of the regressor.
        teacher: hint `(B, D)`; receives no gradient.

    Returns:
        Scalar >= 0.

    >>> import torch
    >>> float(hint(torch.ones(2, 4), torch.zeros(2, 4)))
    1.0
    """
    return F.mse_loss(guess, teacher.detach())


class FitNet(Method):
    """Cross-entropy + `weight` x `hint` of a linear regressor; weight 100 is RepDistiller's.

    Deviation: the hint is the 512-d embedding instead of a middle layer, because feature maps of
    EEG and video share no grid for a convolutional regressor. Both losses are trained together, as
    in RepDistiller, instead of in two steps.
    """

    teacher_needed = True

    def __init__(self, context: Context, weight: float = 100.0) -> None:
        super().__init__(context)
        self.weight = weight
        sizes = (
            context.student_example.embedding.shape[1],
            context.teacher_example.embedding.shape[1],
        )
        self.regressor = linear(*sizes, generator=context.generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        # Under autocast the regressor would round the embedding to half precision.
        guess = in_float32(self.regressor.forward)(batch.student.embedding)
        return {"fitnet": self.weight * hint(guess, batch.teacher.embedding)}
