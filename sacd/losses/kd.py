"""Knowledge distillation (Hinton): the student imitates softened class probabilities.

A label names one stage. The teacher's probabilities also say which other stages the clip resembles,
and a temperature above 1 raises these small probabilities to where they have a gradient.
"""

from torch import Tensor
from torch.nn import functional as F

from sacd.losses.base import Batch, Context, Method
from sacd.models.numerics import in_float32


@in_float32
def kd(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """`T^2 KL(softmax(t/T) || softmax(s/T))` of softened class probabilities, batch mean.

    Source: Hinton, Vinyals, Dean 2015, arXiv:1503.02531; T^2 makes the gradient's scale independent
    of T.

    Args:
        student: logits `(B, C)`.
        teacher: logits `(B, C)`; receives no gradient.
        temperature: T > 0.

    Returns:
        Scalar >= 0, zero when both sides give the same probabilities.

    >>> import torch
    >>> float(kd(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 5.0]])))
    0.0
    """
    # PyTorch's `kl_div(p, q)` is KL(q || p), of logarithms with `log_target`: a probability that
    # underflows to 0 has a finite logarithm. "mean" would also divide by the number of classes.
    p, q = F.log_softmax(student / temperature, 1), F.log_softmax(teacher.detach() / temperature, 1)
    return temperature**2 * F.kl_div(p, q, reduction="batchmean", log_target=True)


class KD(Method):
    """Cross-entropy + `weight` x `kd`.

    Weight 0.9 and T = 4 are RepDistiller's. Deviation: the cross-entropy has weight 1, as in all
    methods here; RepDistiller gives it 0.1 with KD.
    """

    teacher_needed = True

    def __init__(self, context: Context, weight: float = 0.9, temperature: float = 4.0) -> None:
        super().__init__(context)
        self.weight, self.temperature = weight, temperature

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "kd": self.weight
            * kd(batch.student.logits, batch.teacher.logits, temperature=self.temperature)
        }
