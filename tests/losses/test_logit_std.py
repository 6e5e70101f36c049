import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import logits
from tiny import Student, World
from torchdistill.losses.mid_level import LogitStdKDLoss

from sacd.losses.kd import kd
from sacd.losses.logit_std import LogitStd, logit_std, standardise


def naive(student, teacher, temperature):
    total = 0.0
    for rows in zip(student.tolist(), teacher.tolist(), strict=True):
        probabilities = []
        for row in rows:
            mean, deviation = statistics.mean(row), statistics.stdev(row)
            e = [math.exp((x - mean) / deviation / temperature) for x in row]
            probabilities.append([x / sum(e) for x in e])
        s, t = probabilities
        total += sum(p * math.log(p / q) for p, q in zip(t, s, strict=True))
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_naive_loops(temperature):
    student, teacher = logits(0)
    assert float(logit_std(student, teacher, temperature=temperature)) == pytest.approx(
        naive(student, teacher, temperature)
    )


def test_equals_torchdistill():
    student, teacher = logits(1)
    published = LogitStdKDLoss(
        "s", "output", "t", "output", temperature=2, alpha=1e-9, beta=1
    )  # alpha 0 would drop T^2
    expected = published(
        {"s": {"output": student}}, {"t": {"output": teacher}}, torch.zeros(6, dtype=torch.long)
    )
    assert float(logit_std(student, teacher)) == pytest.approx(float(expected), abs=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50), scale=st.floats(0.01, 100))
def test_properties(seed, shift, scale):
    student, teacher = logits(seed)
    z = standardise(student)
    assert z.mean(1).abs().max() < 1e-9
    torch.testing.assert_close(z.std(1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(standardise(scale * student + shift), z)
    torch.testing.assert_close(standardise(-student), -z)
    assert logit_std(student, teacher) > 0
    assert float(logit_std(scale * teacher + shift, teacher)) == pytest.approx(0, abs=1e-9)


def test_a_teacher_of_another_scale_asks_for_nothing_more():
    """Plain distillation would push the student to the teacher's scale."""
    teacher = logits(3)[1]
    assert logit_std(teacher / 3, teacher) < 1e-9 < kd(teacher / 3, teacher, temperature=2.0)


def test_equal_logits_give_the_loss_of_a_uniform_student_and_a_bounded_gradient():
    teacher = logits(4)[1]
    flat = torch.full((6, 5), 7.0, dtype=torch.float64, requires_grad=True)
    found = logit_std(flat, teacher)
    found.backward()
    uniform = torch.zeros(6, 5, dtype=torch.float64)
    torch.testing.assert_close(found, kd(uniform, standardise(teacher), temperature=2.0))
    assert flat.grad.abs().max() < 2e4


def test_weight_multiplies_the_term():
    world, student = World(), Student()
    batch = world.batch(student, torch.arange(8))
    method = LogitStd(world.context(student), weight=3.0, temperature=4.0)
    expected = logit_std(batch.student.logits, batch.teacher.logits, temperature=4.0)
    torch.testing.assert_close(method.losses(batch)["logit_std"], 3 * expected)
