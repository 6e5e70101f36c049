import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import cosine_kernel, entries, neighbourhoods, pair
from tiny import Student, World

from sacd.losses.ifd import IFD, ifd
from sacd.losses.pkt import EPS


def views(seed):
    return pair(seed, 5, (2, 3), (4,))


def naive(student, teacher):
    """Both kernels entry by entry; the authors publish no package to compare with."""

    def student_t(a, b):
        return 1 / (1 + math.sqrt(math.dist(a, b) ** 2 + 1e-6))

    total = 0.0
    for kernel in (cosine_kernel, student_t):
        p, q = (neighbourhoods(x.flatten(1).tolist(), kernel) for x in (teacher, student))
        total += sum((a - b) * (math.log(a + EPS) - math.log(b + EPS)) for a, b in entries(p, q))
    return total / len(student)


def test_naive_loops():
    student, teacher = views(0)
    assert float(ifd(student, teacher)) == pytest.approx(naive(student, teacher), rel=1e-9)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_symmetric_and_exactly_0_of_oneself(seed):
    student, teacher = views(seed)
    torch.testing.assert_close(ifd(teacher, student), ifd(student, teacher))
    assert float(ifd(teacher, teacher)) == 0


def test_float32_is_precise_far_from_the_origin():
    student, teacher = views(3)
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
