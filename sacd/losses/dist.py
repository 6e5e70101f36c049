"""DIST (beyond the paper): the student keeps the teacher's relations instead of its probabilities.

A relation is a Pearson correlation, between classes within a clip and between clips within a class.
"""

from torch import Tensor

from sacd.losses.base import Batch, Context, Method
from sacd.models.numerics import in_float32, unit


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of row i of `a` and row i of `b`, `(N, M)` each -> `(N,)` in -1..1.

    It is 0 where a row is constant. Deviation: for a row with no entry 1e-4 off its mean it shrinks
    smoothly to 0, see `sacd.models.numerics.unit`; DIST's code adds 1e-8 to the product of the
    lengths, with which the gradient of a nearly constant row can reach 1e8.

    >>> import torch
    >>> a, b = torch.tensor([[1.0, 2, 3], [1, 1, 1]]), torch.tensor([[3.0, 5, 7], [0, 1, 2]])
    >>> correlation(a, b).round(decimals=4)
    tensor([1., 0.])
    """
    # Pearson's correlation is the cosine of centred rows; `unit` bounds the gradient of a row that
    # is constant.
    centred = (x - x.mean(1, keepdim=True) for x in (a, b))
    first, second = (unit(x) for x in centred)
    return (first * second).sum(1)


@in_float32
def dist(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Inter-class and intra-class loss, both `T^2 (1 - mean correlation)`.

    With the probabilities `softmax(z / T)` `(B, C)` of both sides, inter-class correlates their
    rows (a clip), and intra-class their columns (a class).

    Source: Huang et al., NeurIPS 2022, arXiv:2205.10536, and its code (github.com/hunto/DIST_KD).
    Deviation: for a single clip, which has no relation to others, intra-class is 0; DIST's code
    gives T^2.

    Args:
        student: logits `(B, C)`.
        teacher: logits `(B, C)`; receives no gradient.
        temperature: T > 0.

    Returns:
        Two scalars in 0..2 T^2.

    >>> import torch
    >>> z = torch.tensor([[1.0, 2.0, 0.0], [4.0, 0.0, 1.0]])
    >>> [round(float(x), 6) + 0.0 for x in dist(z, z + 5)]
    [0.0, 0.0]
    """
    # The authors keep the T^2 of KD; `DIST` says why T is 1 here.
    p, q = ((z / temperature).softmax(1) for z in (student, teacher.detach()))
    inter = 1 - correlation(p, q).mean()
    intra = 1 - correlation(p.T, q.T).mean() if len(p) > 1 else p.new_zeros(())
    return temperature**2 * inter, temperature**2 * intra


class DIST(Method):
    """Cross-entropy + `weight` x (inter-class + intra-class loss of `dist`). Not in the paper.

    Weight 2 is the authors' for CIFAR-100 and ImageNet, where beta = gamma = 1 and the sum is
    doubled. T is 1, the default of their loss and their choice on ImageNet. Their 4 on CIFAR-100
    would multiply the loss by 16, and a correlation, which does not depend on scale, does not
    shrink with T as a divergence does.
    """

    teacher_needed = True

    def __init__(self, context: Context, weight: float = 2.0, temperature: float = 1.0) -> None:
        super().__init__(context)
        self.weight, self.temperature = weight, temperature

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        inter, intra = dist(
            batch.student.logits, batch.teacher.logits, temperature=self.temperature
        )
        return {"dist_inter": self.weight * inter, "dist_intra": self.weight * intra}
