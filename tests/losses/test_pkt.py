import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import cosine_kernel, entries, neighbourhoods, pair
from tiny import Student, World
from torchdistill.losses.mid_level import PKTLoss

from sacd.losses.pkt import EPS, PKT, pkt


def views(seed):
    return pair(seed, 6, (5,), (8,))


def naive(student, teacher):
    p, q = (neighbourhoods(x.tolist(), cosine_kernel) for x in (teacher, student))
    return sum(a * math.log((a + EPS) / (b + EPS)) for a, b in entries(p, q)) / len(p)


def test_naive_loops():
    student, teacher = views(0)
    assert float(pkt(student, teacher)) == pytest.approx(naive(student, teacher), rel=1e-9)


def test_gradcheck():
    student, teacher = views(1)
    assert torch.autograd.gradcheck(lambda s: pkt(s, teacher), student.requires_grad_())


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
def test_properties(seed, scale):
    student, teacher = views(seed)
    g = torch.Generator().manual_seed(seed)
    loss = pkt(student, teacher)
    assert loss > 0
    each = torch.rand(6, 1, generator=g, dtype=torch.float64) + 0.1
    torch.testing.assert_close(pkt(scale * student * each, teacher / scale), loss)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=g, dtype=torch.float64)).Q
    torch.testing.assert_close(pkt(student @ rotation, teacher), loss)
    order = torch.randperm(6, generator=g)
    torch.testing.assert_close(pkt(student[order], teacher[order]), loss)
    assert abs(float(pkt(teacher, teacher))) < 1e-12


def test_aligned_is_below_random():
    student, teacher = views(2)
    mixed = teacher + 0.3 * torch.randn(
        6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    assert pkt(teacher, teacher) < pkt(mixed, teacher) < pkt(student, teacher)


def test_equals_torchdistill_times_the_rows():
    """torchdistill takes the mean over B^2 entries, we over B rows (docstring)."""
    student, teacher = views(3)
    published = PKTLoss("s", "output", "t", "output")
    expected = published({"s": {"output": student.clone()}}, {"t": {"output": teacher.clone()}})
    assert float(pkt(student, teacher)) == pytest.approx(6 * float(expected), rel=1e-5)


def test_weight_is_repdistillers_at_its_batch_of_64():
    world, student = World(), Student()
    batch = world.batch(student, torch.arange(64) % 40)
    published = PKTLoss("s", "output", "t", "output")
    expected = published(
        {"s": {"output": batch.student.embedding.clone()}},
        {"t": {"output": batch.teacher.embedding.clone()}},
    )
    ours = PKT(world.context(student)).losses(batch)["pkt"].detach()
    assert float(ours) == pytest.approx(30000 * float(expected.detach()), rel=1e-3)
