"""Compositional contrastive learning (CCL): teacher and student compose a third embedding.

The composed embedding is the teacher's plus a learned residual that depends on both. It bridges the
gap of the modalities: the student is drawn to it as well as to the teacher, class by class.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from sacd.losses.base import Batch, Context, Method
from sacd.losses.common import linear
from sacd.losses.divergence import divergence
from sacd.models.numerics import in_float32, matmul


@in_float32
def class_nce(anchor: Tensor, keys: Tensor, labels: Tensor, temperature: float = 0.5) -> Tensor:
    """Class-aware contrast within the batch.

    With `p_ij = softmax_j(cos(anchor_i, key_j) / T)`: the mean of `-ln p_ij` over keys j of the
    same class, plus the mean of `-ln(1 - p_ij)` over the others, averaged over i. The second part
    is 0 if all clips have one class (the authors' code divides by 0).

    Source: Chen et al., "Distilling audio-visual knowledge by compositional contrastive learning",
    CVPR 2021, and its code (github.com/yanbeic/CCL).

    Args:
        anchor: `(B, D)`.
        keys: `(B, D)`, row j of the same clip as anchor j.
        labels: `(B,)` int64.
        temperature: T > 0; the authors use 0.5 for audio and 0.1 for images.

    Returns:
        Scalar >= 0.

    >>> float(class_nce(torch.ones(1, 3), torch.ones(1, 3), torch.tensor([0])))
    0.0
    """
    # PyTorch's eps of 1e-12 would let the gradient of a vector near 0 reach 1e12.
    logp = F.log_softmax(
        matmul(F.normalize(anchor, eps=1e-6), F.normalize(keys, eps=1e-6).T) / temperature, 1
    )
    same = labels[:, None] == labels
    # `same` holds the clip itself, so its sum is at least 1. Where p rounds to 1, 1 - p is 0.
    attract = -(logp * same).sum(1) / same.sum(1)
    repel = -((1 - logp.exp()).clamp(min=1e-10).log() * ~same).sum(1) / (~same).sum(1).clamp(min=1)
    return (attract + repel).mean()


class Composition(nn.Module):
    """`f_av = f_a + W [f_a / |f_a|, f_v / |f_v|]` and its own classifier."""

    def __init__(
        self, student: int, teacher: int, classes: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.compose = linear(teacher + student, teacher, generator)
        self.classify = linear(teacher, classes, generator)

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings `(B, 512)` of both -> composed embedding `(B, 512)` and logits `(B, C)`."""
        units = F.normalize(teacher, eps=1e-6), F.normalize(student, eps=1e-6)
        composed = teacher + self.compose(torch.cat(units, 1))
        return composed, self.classify(composed)


class CCL(Method):
    """Cross-entropy + contrast of (v, av) and (v, a) + half Jeffreys divergence of v and av.

    The contrast is taken in both directions, the divergence of the logits.

    All weights are 1, as in the authors' code. There a second optimizer trains the composition
    head on its cross-entropy, the contrast of (v, av) and (av, a), and the same divergence. Here
    the term `ccl_head` has that gradient, and trains the head only; the other terms train the
    student only.

    Args:
        temperature: of `class_nce`.
        train_teacher: the terms of the student also train the teacher; `ccl_head` never does.

    Raises:
        ValueError: the embeddings of student and teacher differ in size.
    """

    teacher_needed = True

    def __init__(
        self, context: Context, temperature: float = 0.5, train_teacher: bool = False
    ) -> None:
        super().__init__(context)
        self.temperature, self.train_teacher = temperature, train_teacher
        classes = context.student_example.logits.shape[1]
        sizes = (
            context.student_example.embedding.shape[1],
            context.teacher_example.embedding.shape[1],
        )
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"ccl compares embeddings of one size; student has {sizes[0]}, teacher {sizes[1]}"
            )
        self.head = Composition(*sizes, classes, context.generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        v, logits, a = batch.student.embedding, batch.student.logits, batch.teacher.embedding
        a = a if self.train_teacher else a.detach()
        weights = dict(self.head.named_parameters())
        # The student's terms see the head as a constant. Its gradient still passes through the
        # composition into v, which detaching `av` would cut off.
        constant = {name: w.detach() for name, w in weights.items()}
        av, logits_av = self._compose(v, a, constant)
        student = self._contrast(v, av, batch.labels) + self._contrast(v, a, batch.labels)
        likeness = divergence(logits, logits_av, "half_jeffreys")

        # The head's term sees both embeddings as constants.
        v, logits, a = v.detach(), logits.detach(), a.detach()
        av, logits_av = self._compose(v, a, weights)
        contrasts = self._contrast(v, av, batch.labels), self._contrast(av, a, batch.labels)
        head = F.cross_entropy(logits_av, batch.labels) + contrasts[0] + contrasts[1]
        head = head + divergence(logits, logits_av, "half_jeffreys")
        return {"ccl_contrast": student, "ccl_divergence": likeness, "ccl_head": head}

    def _contrast(self, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        """`class_nce` in both directions."""
        forth = class_nce(x, y, labels, temperature=self.temperature)
        back = class_nce(y, x, labels, temperature=self.temperature)
        return forth + back

    def _compose(self, v: Tensor, a: Tensor, weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Composed embedding and its logits, by a head of the given weights."""
        compose = in_float32(lambda v, a: functional_call(self.head, weights, (v, a)))
        return compose(v, a)
