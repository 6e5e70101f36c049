import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import logits
from torchdistill.losses.mid_level import KDLoss

from sacd.losses.kd import kd


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


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50))
def test_properties(seed, shift):
    student, teacher = logits(seed)
    loss = kd(student, teacher)
    assert loss > 0
    assert float(kd(teacher + shift, teacher)) == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(kd(student + shift, teacher), loss)


def test_equals_torchdistill():
    student, teacher = logits(3)
    published = KDLoss(
        "s", "output", "t", "output", temperature=4, alpha=1e-9, beta=1
    )  # alpha 0 would drop T^2
    expected = published(
        {"s": {"output": student}}, {"t": {"output": teacher}}, torch.zeros(6, dtype=torch.long)
    )
    assert float(kd(student, teacher)) == pytest.approx(float(expected), abs=1e-7)
