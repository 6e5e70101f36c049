"""Contrastive representation distillation (CRD): match the teacher's view of the same clip.

The student's vector of a clip should identify the teacher's vector of the same clip among those
of many others, and the reverse. The others come from a memory with a row for every training clip,
so that their number does not depend on the batch.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sacd.losses.base import Batch, Context, Method
from sacd.losses.common import linear
from sacd.models.numerics import in_float32, matmul

DIMENSIONS = 128
"""Width of the vectors that are compared and remembered, of both sides."""


@in_float32
def nce(
    anchor: Tensor,
    positive: Tensor,
    negatives: Tensor,
    valid: Tensor,
    log_z: Tensor,
    temperature: float = 0.07,
) -> tuple[Tensor, Tensor]:
    """Noise-contrastive estimation of whether a key belongs to the anchor's clip.

    `-ln h(anchor, positive) - sum_k ln(1 - h(anchor, negative_k))` with
    `h = e^(s/T) / (e^(s/T) + m z)`, s the cosine, m the number of valid negatives and z the mean of
    `e^(s/T)`; mean over anchors with m > 0. The published form has `Z = n z` and the noise density
    `1/n` for n training clips; n cancels. (The published 1e-7 against division by 0 is not needed
    with logarithms.) Source: Tian, Krishnan, Isola 2020, arXiv:1910.10699, eq. 18, and its code
    RepDistiller.

    Args:
        anchor: unit vectors `(B, D)`; the only side with a gradient.
        positive: keys `(B, D)`.
        negatives: keys `(N, D)`, shared by the batch.
        valid: `(B, N)` bool; True where key j is a negative of anchor i.
        log_z: scalar ln z; NaN before the first batch, which fixes it.
        temperature: T > 0.

    Returns:
        Scalar loss >= 0 (0 if no anchor has a negative), and ln z for the next call.
    """
    # Only the anchor learns: a memory row is a past vector, which no weight can change.
    near = (anchor * positive.detach()).sum(1) / temperature
    far = matmul(anchor, negatives.detach().T) / temperature
    count = valid.sum(1).to(near.dtype)
    # z is fixed by the first batch with a negative; without a branch, so that a GPU need not wait.
    every = torch.cat((near, far.masked_fill(~valid, -torch.inf).flatten())).detach()
    first = every.logsumexp(0) - (len(near) + count.sum()).log()
    log_z = torch.where(log_z.isnan() & (count > 0).any(), first, log_z)
    # ln(m z). Until a batch has a negative, z is NaN, which the factor 0 of the mask would keep.
    noise = log_z.nan_to_num() + count.clamp(min=1).log()
    # With x = s/T - ln(m z): ln h = logsigmoid(x) and ln(1 - h) = logsigmoid(-x).
    loss = -F.logsigmoid(near - noise) - (F.logsigmoid(noise[:, None] - far) * valid).sum(1)
    return (loss * (count > 0)).sum() / (count > 0).sum().clamp(min=1), log_z


@in_float32
def embed(x: Tensor, head: nn.Module) -> Tensor:
    """Unit vectors `(B, 128)` of embeddings `(B, D)`."""
    return F.normalize(head(x), eps=1e-6)


class CRD(Method):
    """Cross-entropy + `weight` x `nce` in both directions.

    The student is contrasted with past teacher vectors, and the teacher with past student vectors.
    Each memory has a row for every training clip: `momentum` x old + (1 - `momentum`) x new.

    Both embeddings pass a linear head to 128 dimensions. The defaults are those of the authors'
    code (RepDistiller): weight 0.8, T 0.07, momentum 0.5, 16384 negatives. Negatives are drawn
    without replacement, once per batch; a small memory gives fewer. As in the original, the first
    batch fixes z. The result hardly depends on that batch, because the memory is still random: z is
    near e^(1 / (2 x 128 T^2)) = 2.2 for any clips. z is a buffer, so it survives a resume.

    Args:
        weight: factor on the sum of both directions.
        negatives: `exact`: clips of other stages only, as in RepDistiller; `own`: all clips except
            the anchor.
        k: maximum number of negatives per anchor.
        temperature: T > 0.
        momentum: weight of the old row, in 0..1.

    Raises:
        ValueError: `negatives` is unknown.
    """

    teacher_needed = True
    term = "crd"

    def __init__(
        self,
        context: Context,
        weight: float = 0.8,
        negatives: Literal["exact", "own"] = "exact",
        k: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__(context)
        if negatives not in ("exact", "own"):
            raise ValueError(f"negatives {negatives!r} is unknown; known: exact, own")
        self.weight, self.k, self.temperature, self.momentum = weight, k, temperature, momentum
        self.exact = negatives == "exact"
        # The heads keep the memories small, 128 instead of 512 values per clip.
        start, labels = context.generator, context.labels
        self.head_student = linear(context.student_example.embedding.shape[1], DIMENSIONS, start)
        self.head_teacher = linear(context.teacher_example.embedding.shape[1], DIMENSIONS, start)
        rows = len(labels)
        bound = (3 / DIMENSIONS) ** 0.5  # rows of length about 1
        for name in ("memory_student", "memory_teacher"):
            self.register_buffer(
                name, torch.empty(rows, DIMENSIONS).uniform_(-bound, bound, generator=start)
            )
        self.register_buffer("memory_label", labels.cpu().clone())
        self.register_buffer("log_z", torch.full((2,), torch.nan))
        # A draw must leave k negatives after the anchor's own stage is taken out.
        excluded = int(labels.bincount().max()) if self.exact else 1
        self.drawn = min(rows, k + excluded)
        # A generator of its own, whose state is saved with the method.
        self.generator = torch.Generator().manual_seed(
            int(torch.randint(2**62, (), generator=start))
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        student = embed(batch.student.embedding, self.head_student)
        teacher = embed(batch.teacher.embedding.detach(), self.head_teacher)
        # One draw for the whole batch, so that all cosines are one matrix product. Rows drawn for
        # each anchor would have to be gathered: B x k x 128 values.
        keys = torch.randperm(len(self.memory_label), generator=self.generator)[: self.drawn].to(
            student.device
        )
        same = keys == batch.index[:, None]
        if self.exact:
            same = same | (self.memory_label[keys] == batch.labels[:, None])
        # The first k that remain of the draw; it is longer than k by what `same` can take out.
        valid = ~same & ((~same).cumsum(1) <= self.k)
        own = self.memory_teacher[batch.index], self.memory_student[batch.index]
        t = self.temperature
        first, z0 = nce(
            student, own[0], self.memory_teacher[keys], valid, self.log_z[0], temperature=t
        )
        second, z1 = nce(
            teacher, own[1], self.memory_student[keys], valid, self.log_z[1], temperature=t
        )
        self.log_z = torch.stack((z0, z1))
        return {self.term: self.weight * (first + second)}

    @torch.no_grad()
    def on_step_end(self, batch: Batch) -> None:
        # After the step, so that the positive of a clip is always a vector of an earlier step.
        student = embed(batch.student.embedding, self.head_student)
        teacher = embed(batch.teacher.embedding, self.head_teacher)
        for memory, new in ((self.memory_student, student), (self.memory_teacher, teacher)):
            mixed = self.momentum * memory[batch.index] + (1 - self.momentum) * new
            memory[batch.index] = F.normalize(mixed, eps=1e-6)

    def get_extra_state(self) -> Tensor:
        """State of the generator that draws the negatives."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        self.generator.set_state(state.cpu())
