import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import logits
from tiny import Student, World
from torchdistill.losses.mid_level import DISTLoss

from sacd.losses.dist import DIST, dist


def softened(rows, temperature):
    exponentials = [[math.exp(x / temperature) for x in row] for row in rows]
    return [[e / sum(row) for e in row] for row in exponentials]


def pearson(x, y):
    a = [v - sum(x) / len(x) for v in x]
    b = [v - sum(y) / len(y) for v in y]
    return sum(u * v for u, v in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def naive(student, teacher, temperature):
    """Both losses, one correlation at a time."""
    rows = [softened(x.tolist(), temperature) for x in (student, teacher)]
    columns = [list(zip(*x, strict=True)) for x in rows]
    found = []
    for lines in (rows, columns):
        correlations = [pearson(p, q) for p, q in zip(*lines, strict=True)]
        found.append(temperature**2 * (1 - sum(correlations) / len(correlations)))
    return found


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_naive_loops(temperature):
    student, teacher = logits(0)
    found = [float(x) for x in dist(student, teacher, temperature=temperature)]
    assert found == pytest.approx(naive(student, teacher, temperature))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equals_torchdistill(temperature):
    student, teacher = logits(1)
    published = DISTLoss("s", "output", "t", "output", beta=1, gamma=10, tau=temperature)
    expected = published({"s": {"output": student}}, {"t": {"output": teacher}})
    inter, intra = dist(student, teacher, temperature=temperature)
    assert float(inter + 10 * intra) == pytest.approx(float(expected), rel=1e-9)


def test_gradcheck_of_a_single_clip():
    student, teacher = logits(2, size=1)
    assert torch.autograd.gradcheck(lambda s: sum(dist(s, teacher)), student.requires_grad_())


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50))
def test_properties(seed, shift):
    student, teacher = logits(seed)
    losses = torch.stack(dist(student, teacher))
    assert (losses > 0).all() and (losses <= 2).all()
    assert torch.stack(dist(teacher + shift, teacher)).abs().max() < 1e-9
    classes = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    for x, y in (
        (student + shift, teacher),
        (student[:, classes], teacher[:, classes]),
        (teacher, student),
    ):
        torch.testing.assert_close(torch.stack(dist(x, y)), losses)


def test_relations_are_kept_by_probabilities_that_differ():
    """A student that is right less firmly: correlated without equal probabilities."""
    teacher = torch.eye(5, dtype=torch.float64)
    student = 0.5 * teacher + 0.1  # probabilities, all rows and columns affine in the teacher's
    inter, intra = dist(student.log(), (0.9 * teacher + 0.02).log())
    assert inter.abs() < 1e-12 and intra.abs() < 1e-12


def test_a_single_clip_has_no_relation_to_others():
    student, teacher = logits(4, size=1)
    inter, intra = dist(student, teacher)
    assert float(inter) == pytest.approx(1 - pearson(*softened((*student, *teacher), 1.0)))
    assert intra == 0


@pytest.mark.parametrize("constant", ["student", "teacher", "both"])
def test_constant_columns_have_correlation_0_and_a_bounded_gradient(constant):
    student, teacher = (x.float() for x in logits(5))
    if constant != "teacher":
        student = student[:1].repeat(6, 1)
    if constant != "student":
        teacher = teacher[:1].repeat(6, 1)
    intra = dist(student.requires_grad_(), teacher)[1]
    intra.backward()
    assert float(intra.detach()) == pytest.approx(1, abs=2e-2)
    assert student.grad.isfinite().all() and student.grad.abs().max() < 1e4


def test_weight_is_that_of_both_terms():
    world, student = World(), Student()
    batch = world.batch(student, torch.arange(8))
    method = DIST(world.context(student), weight=3.0, temperature=2.0)
    expected = dist(batch.student.logits, batch.teacher.logits, temperature=2.0)
    found = method.losses(batch)
    torch.testing.assert_close(found["dist_inter"], 3 * expected[0])
    torch.testing.assert_close(found["dist_intra"], 3 * expected[1])
