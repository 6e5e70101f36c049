"""C2KD (beyond the paper): cross-modal distillation between proxies, of clips that agree in rank.

The proxies are two further classifiers, one on each side's embedding. Each learns from its own
network and from the other proxy, so that what reaches the student is adapted to both modalities.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sacd.losses.base import Batch, Context, Method
from sacd.losses.common import linear
from sacd.losses.kd import kd
from sacd.models.numerics import in_float32, root


@torch.no_grad()
def kendall(a: Tensor, b: Tensor) -> Tensor:
    """Kendall's rank correlation tau-b of row i of `a` and of `b`, `(B, C)` each -> `(B,)`.

    Pairs of columns in the same order minus those in opposite order, divided by the geometric mean
    of the numbers of pairs untied in a and in b; 0 where all of a row is tied.
    Source: Kendall 1945, doi:10.1093/biomet/33.3.239.

    >>> kendall(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 9.0, 5.0]]))
    tensor([0.3333])
    """
    i, j = torch.triu_indices(a.shape[1], a.shape[1], offset=1, device=a.device)
    first, second = ((x[:, i] - x[:, j]).sign() for x in (a, b))
    # tau-b: the root of the product of two numbers of pairs.
    untied = first.abs().sum(1) * second.abs().sum(1)
    return (first * second).sum(1) / root(untied.clamp(min=1))


@in_float32
def non_target(student: Tensor, teacher: Tensor, labels: Tensor, selected: Tensor) -> Tensor:
    """`KL(teacher || student)` of the probabilities of all classes but the clip's own.

    Those are `e^(z_k) / sum over j != label of e^(z_j)`. The mean is over all clips of the batch,
    with 0 for a clip that is not selected, as in the authors' code. Deviation: C2KD's code sets the
    logit of the clip's own class to 0, which leaves the class in the softmax with a share that
    depends on the zero point of the logits; here the class is taken out.

    Args:
        student: logits `(B, C)`.
        teacher: logits `(B, C)`; receives no gradient.
        labels: `(B,)` int64, the clip's own class.
        selected: `(B,)` bool.

    Returns:
        Scalar >= 0.

    >>> z, own = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([1])
    >>> float(non_target(z, z + own, own, own > 0))
    0.0
    """
    # Columns of the other classes: 0, 1, ... without the own one, which all later ones move up for.
    others = torch.arange(student.shape[1] - 1, device=labels.device).expand(len(labels), -1)
    others = others + (others >= labels[:, None])
    p, q = (z.gather(1, others).log_softmax(1) for z in (student, teacher.detach()))
    divergence = F.kl_div(p, q, reduction="none", log_target=True).sum(1)
    return (divergence * selected).mean()


def proxy(size: int, classes: int, generator: torch.Generator) -> nn.Sequential:
    """Classifier of an embedding `(B, size)`: linear, leaky ReLU (0.1), linear."""
    hidden, last = linear(size, size, generator), linear(size, classes, generator)
    return nn.Sequential(hidden, nn.LeakyReLU(0.1), last)


class C2KD(Method):
    r"""Cross-entropy + `weight` x the sum of five divergences of C2KD. Not in the paper.

    With the logits s, t of student and teacher and s', t' of their proxies, and an arrow from the
    side that teaches (and gets no gradient) to the one that learns:

    - `c2kd_proxy`: :math:`KL(s \to s') + KL(s' \to s) + KL(t \to t')`;
    - `c2kd_cross`: :math:`NTKL(t' \to s') + NTKL(s' \to t')`, see `non_target`, of those clips for
      which tau of s' and t' exceeds `threshold` (on-the-fly selection, OFSD).

    The temperature is 1. The gradient of a proxy goes on into the student's embedding. `selected`
    of `monitor` is the share of clips selected.

    Source: Huo et al., CVPR 2024, doi:10.1109/CVPR52733.2024.01515. The losses, their weights of 1
    and the threshold 0 are those of the authors' code (github.com/huofushuo/C2KD); like it, we take
    tau over all classes. Deviation: the teacher is frozen, so we drop its cross-entropy and
    KL(t' -> t), and only its proxy adapts to the student; the authors tune the teacher along.
    Deviation: the proxies see the embeddings, the authors' the feature maps before the last stage,
    pooled. Deviation: the proxies have no batch norm, because a batch may be a single clip.

    Args:
        weight: factor on all terms.
        threshold: of tau, in -1..1; -1 selects all but clips ranked in exactly opposite order.
    """

    teacher_needed = True

    def __init__(self, context: Context, weight: float = 1.0, threshold: float = 0.0) -> None:
        super().__init__(context)
        self.weight, self.threshold = weight, threshold
        classes = context.student_example.logits.shape[1]
        sides = context.student_example, context.teacher_example
        self.proxy_student, self.proxy_teacher = (
            proxy(side.embedding.shape[1], classes, context.generator) for side in sides
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        s, t = batch.student.logits, batch.teacher.logits
        proxy_s = in_float32(self.proxy_student.forward)(batch.student.embedding)
        proxy_t = in_float32(self.proxy_teacher.forward)(batch.teacher.embedding.detach())
        # `kd` detaches its second argument, the side that teaches.
        own = (
            kd(proxy_s, s, temperature=1.0)
            + kd(s, proxy_s, temperature=1.0)
            + kd(proxy_t, t, temperature=1.0)
        )
        selected = kendall(proxy_s, proxy_t) > self.threshold
        cross = non_target(proxy_s, proxy_t, batch.labels, selected) + non_target(
            proxy_t, proxy_s, batch.labels, selected
        )
        self.monitor = {"selected": selected.float().mean()}
        return {"c2kd_proxy": self.weight * own, "c2kd_cross": self.weight * cross}
