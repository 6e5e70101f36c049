"""What every loss between two representations of the same clips keeps, student and teacher."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import logits, pair
from torch import Tensor

from sacd.losses.dist import dist
from sacd.losses.fitnet import hint
from sacd.losses.ifd import ifd
from sacd.losses.kd import kd
from sacd.losses.logit_std import logit_std
from sacd.losses.pkt import pkt
from sacd.losses.rkd import rkd
from sacd.losses.sp import similarity_preserving


class Case(NamedTuple):
    loss: Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...]]
    draw: Callable[[int], list[Tensor]]
    """Student and teacher by seed, float64."""

    def values(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The terms of the loss, `(1,)` or `(2,)`."""
        found = self.loss(student, teacher)
        return torch.stack(found) if isinstance(found, tuple) else found[None]


CASES = {
    "kd": Case(kd, logits),
    "dist": Case(dist, logits),
    "logit_std": Case(logit_std, logits),
    "fitnet": Case(hint, lambda seed: pair(seed, 4, (7,), (7,))),
    "pkt": Case(pkt, lambda seed: pair(seed, 6, (5,), (8,))),
    "rkd": Case(rkd, lambda seed: pair(seed, 5, (4,), (6,))),
    "ifd": Case(ifd, lambda seed: pair(seed, 5, (2, 3), (4,))),
    "sp": Case(similarity_preserving, lambda seed: pair(seed, 5, (7,), (9,))),
}
RELATIONAL = ("pkt", "rkd", "ifd", "sp")
"""Losses of relations between clips, for which a rotation of the space changes nothing."""


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_gradcheck(case):
    student, teacher = case.draw(1)
    assert torch.autograd.gradcheck(lambda s: case.values(s, teacher), student.requires_grad_())


@pytest.mark.parametrize("name", [name for name in CASES if name != "sp"])
def test_the_teacher_gets_no_gradient(name):
    """That of SP is detached by the method, because SACD may train the teacher through it."""
    student, teacher = (x.requires_grad_() for x in CASES[name].draw(2))
    CASES[name].values(student, teacher).sum().backward()
    assert student.grad.any() and teacher.grad is None


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_order_of_the_clips_does_not_matter(name, seed):
    case = CASES[name]
    student, teacher = case.draw(seed)
    loss = case.values(student, teacher)
    assert (loss > 0).all()
    order = torch.randperm(len(student), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(case.values(student[order], teacher[order]), loss)


@pytest.mark.parametrize("name", RELATIONAL)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_a_rotation_does_not_matter(name, seed):
    case = CASES[name]
    student, teacher = (x.flatten(1) for x in case.draw(seed))
    g = torch.Generator().manual_seed(seed)
    size = student.shape[1]
    rotation = torch.linalg.qr(torch.randn(size, size, generator=g, dtype=torch.float64)).Q
    loss = case.values(student, teacher)
    torch.testing.assert_close(case.values(student @ rotation, teacher), loss)
    assert case.values(student, student @ rotation).abs().max() < 1e-12


def test_nothing_to_learn_from_oneself_and_the_more_the_farther(case):
    _, teacher = case.draw(3)
    g = torch.Generator().manual_seed(0)
    other = torch.randn(teacher.shape, generator=g, dtype=torch.float64)
    steps = [case.values(teacher + c * (other - teacher), teacher) for c in (0.0, 0.1, 0.5, 1.0)]
    values = torch.stack(steps)
    assert values[0].abs().max() < 1e-12
    assert (values.diff(dim=0) > 0).all(), values
