import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchdistill.losses.mid_level import KDLoss

from sacd.losses.kd import kd


def logits(seed, size=6, classes=5):
    g = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(size, classes, generator=g, dtype=torch.float64) for _ in range(2)]


def naive(student, teacher, temperature):
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p = [math.exp(x / temperature) for x in t]
        q = [math.exp(x / temperature) for x in s]
        total += sum(
            a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q, strict=True)
        )
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_naive_loops(temperature):
    student, teacher = logits(0)
    assert float(kd(student, teacher, temperature=temperature)) == pytest.approx(
        naive(student, teacher, temperature)
    )


def test_gradcheck():
    student, teacher = logits(1)
    assert torch.autograd.gradcheck(lambda s: kd(s, teacher), student.requires_grad_())


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50))
def test_properties(seed, shift):
    student, teacher = logits(seed)
    loss = kd(student, teacher)
    assert loss > 0
    assert float(kd(teacher + shift, teacher)) == pytest.approx(0, abs=1e-9)
    order = torch.randperm(len(student))
    torch.testing.assert_close(kd(student[order] + shift, teacher[order]), loss)


def test_nearer_is_lower():
    student, teacher = logits(2)
    near, half, far = (
        float(kd(teacher + c * (student - teacher), teacher)) for c in (0.1, 0.5, 1.0)
    )
    assert near < half < far


def test_equals_torchdistill():
    student, teacher = logits(3)
    published = KDLoss(
        "s", "output", "t", "output", temperature=4, alpha=1e-9, beta=1
    )  # alpha 0 would drop T^2
    expected = published(
        {"s": {"output": student}}, {"t": {"output": teacher}}, torch.zeros(6, dtype=torch.long)
    )
    assert float(kd(student, teacher)) == pytest.approx(float(expected), abs=1e-7)
