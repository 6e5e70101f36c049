"""Logit standardisation (beyond the paper): distillation of logits brought to one scale.

A student of small capacity need not reach the size of the teacher's logits, only their order and
their relative distances.
"""

from torch import Tensor

from sacd.losses.base import Batch, Context, Method
from sacd.losses.kd import kd
from sacd.models.numerics import in_float32, unit


@in_float32
def standardise(logits: Tensor) -> Tensor:
    """Logits `(B, C)` minus their mean over the classes, divided by their standard deviation.

    The standard deviation is that of a sample (C - 1), as in the authors' code. A row of equal
    logits gives zeros. Deviation: a row with no entry 1e-4 off its mean shrinks smoothly to zeros;
    the code of logit standardisation adds 1e-7 to the standard deviation.

    >>> import torch
    >>> standardise(torch.tensor([[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]])).round(decimals=4)
    tensor([[-1.,  0.,  1.],
            [ 0.,  0.,  0.]])
    """
    # A centred row of length sqrt(C - 1) has a sample deviation of 1.
    return (logits.shape[1] - 1) ** 0.5 * unit(logits - logits.mean(1, keepdim=True))


def logit_std(student: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    """`kd` of standardised logits: the student matches the teacher's up to shift and scale.

    Source: Sun et al., CVPR 2024, arXiv:2403.01427, and its code
    (github.com/sunshangquan/logit-standardization-KD).

    Args:
        student: logits `(B, C)`.
        teacher: logits `(B, C)`; receives no gradient.
        temperature: T > 0, the "base temperature", which the standard deviation multiplies.

    Returns:
        Scalar >= 0.

    >>> import torch
    >>> z = torch.tensor([[1.0, 2.0, 4.0]])
    >>> round(float(logit_std(z, 10 * z - 3)), 6) + 0.0
    0.0
    """
    return kd(standardise(student), standardise(teacher), temperature=temperature)


class LogitStd(Method):
    """Cross-entropy + `weight` x `logit_std`. Not in the paper.

    Weight 9 and base temperature 2 are the authors' defaults. Deviation: the cross-entropy has
    weight 1, as in all methods here; the authors of logit standardisation give it 0.1 on CIFAR-100
    (and 1 on ImageNet).
    """

    teacher_needed = True

    def __init__(self, context: Context, weight: float = 9.0, temperature: float = 2.0) -> None:
        super().__init__(context)
        self.weight, self.temperature = weight, temperature

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "logit_std": self.weight
            * logit_std(batch.student.logits, batch.teacher.logits, temperature=self.temperature)
        }
