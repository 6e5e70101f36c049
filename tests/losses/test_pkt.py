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


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
def test_the_length_of_each_embedding_does_not_matter(seed, scale):
    student, teacher = views(seed)
    g = torch.Generator().manual_seed(seed)
    each = torch.rand(6, 1, generator=g, dtype=torch.float64) + 0.1
    loss = pkt(student, teacher)
    torch.testing.assert_close(pkt(scale * student * each, teacher / scale), loss)


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
