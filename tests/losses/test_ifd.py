import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Student, World

from sacd.losses.ifd import IFD, ifd
from sacd.losses.pkt import EPS


def pair(seed, size=5):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(size, *d, generator=g, dtype=torch.float64) for d in ((2, 3), (4,))]


def naive(student, teacher):
    """Both kernels entry by entry; the authors' code (pkth) is not an installable package."""

    def cosine(a, b):
        dot = sum(u * v for u, v in zip(a, b, strict=True))
        return (1 + dot / math.hypot(*a) / math.hypot(*b)) / 2

    def near(a, b):
        return 1 / (1 + math.sqrt(math.dist(a, b) ** 2 + 1e-6))

    s, t = student.flatten(1).tolist(), teacher.flatten(1).tolist()
    total = 0.0
    for kernel in (cosine, near):
        for i in range(len(s)):
            p = [kernel(t[i], x) for x in t]
            q = [kernel(s[i], x) for x in s]
            for a, b in zip(p, q, strict=True):
                a, b = a / sum(p), b / sum(q)
                total += (a - b) * (math.log(a + EPS) - math.log(b + EPS))
    return total / len(s)


def test_naive_loops():
    student, teacher = pair(0)
    assert float(ifd(student, teacher)) == pytest.approx(naive(student, teacher), rel=1e-9)


def test_gradcheck():
    student, teacher = pair(1)
    assert torch.autograd.gradcheck(lambda s: ifd(s, teacher), student.requires_grad_())


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_properties(seed):
    student, teacher = (x.flatten(1) for x in pair(seed))
    g = torch.Generator().manual_seed(seed)
    loss = ifd(student, teacher)
    assert loss > 0
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64)).Q
    torch.testing.assert_close(ifd(student @ rotation, teacher), loss)
    torch.testing.assert_close(ifd(teacher, student), loss)  # Jeffreys is symmetric
    order = torch.randperm(5, generator=g)
    torch.testing.assert_close(ifd(student[order], teacher[order]), loss)
    assert float(ifd(teacher, teacher)) == 0


def test_aligned_is_below_random():
    student, teacher = pair(2)
    mixed = teacher + 0.2 * torch.randn(
        5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    assert 0 < ifd(mixed, teacher) < ifd(student, teacher)


def test_far_from_the_origin_float32_still_tells_the_clips_apart():
    student, teacher = pair(3)
    far = student.flatten(1) + 1000
    assert float(ifd(far.float(), teacher)) == pytest.approx(naive(far, teacher), rel=1e-3)


def test_stage_weights_decay_and_pair_from_the_deepest():
    world, student = World(), Student()
    method = IFD(world.context(student))
    rows = torch.arange(8)
    with torch.no_grad():
        terms = [method.losses(world.batch(student, rows, epoch)) for epoch in (0, 1, 10)]
    batch = world.batch(student, rows)
    pairs = list(
        zip(batch.student.features[1:], batch.teacher.features, strict=True)
    )  # 3 and 2 stages: the last two
    stages = sum(naive(s.double(), t.double()) for s, t in pairs)
    for epoch, got in zip((0, 1, 10), terms, strict=True):
        assert float(got["ifd_stages"]) == pytest.approx(100 / 128 * 0.7**epoch * stages, rel=1e-3)
        assert float(got["ifd_last"]) == pytest.approx(
            naive(batch.student.embedding.double(), batch.teacher.embedding.double()) / 128,
            rel=1e-3,
        )


def test_the_weighted_terms_begin_at_the_size_of_the_cross_entropy():
    """A term a hundred times as large would drown it, all the more with clipped gradients."""
    world, student = World(), Student()
    batch = world.batch(student, torch.arange(40))
    own = sum(IFD(world.context(student)).losses(batch).values())
    entropy = torch.nn.functional.cross_entropy(batch.student.logits, batch.labels)
    assert 0.1 < float((own / entropy).detach()) < 10


def test_without_stage_features_only_the_embeddings_count():
    world, student = World(), Student()
    context = world.context(student)
    bare = context.__class__(
        student,
        context.student_example,
        context.teacher_example._replace(features=()),
        world.labels,
        10,
    )
    assert set(IFD(bare).losses(world.batch(student, torch.arange(4)))) == {"ifd_last"}
