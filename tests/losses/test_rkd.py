import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import cosine, pair
from tiny import Student, World
from torchdistill.losses.mid_level import RKDLoss

from sacd.losses.rkd import RKD, rkd


def views(seed):
    return pair(seed, 5, (4,), (6,))


def smooth(a, b):
    return 0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5


def naive(student, teacher):
    def distances(x):
        d = [[math.dist(a, b) for b in x] for a in x]
        mean = sum(map(sum, d)) / (len(x) * (len(x) - 1))
        return [v / mean for row in d for v in row]

    def angles(x):
        out = []
        for i, j, k in itertools.product(x, repeat=3):
            u = [b - a for a, b in zip(i, j, strict=True)]
            v = [b - a for a, b in zip(i, k, strict=True)]
            out.append(cosine(u, v) if any(u) and any(v) else 0.0)
        return out

    s, t = student.tolist(), teacher.tolist()
    means = []
    for relation in (distances, angles):
        losses = [smooth(a, b) for a, b in zip(relation(s), relation(t), strict=True)]
        means.append(sum(losses) / len(losses))
    return means


def test_naive_loops():
    student, teacher = views(0)
    assert [float(x) for x in rkd(student, teacher)] == pytest.approx(naive(student, teacher))


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
def test_invariant_to_scale_and_shift(seed, scale):
    student, teacher = views(seed)
    loss = rkd(student, teacher)
    torch.testing.assert_close(rkd(scale * student + 1, teacher / scale), loss)
    assert all(float(x) < 1e-20 for x in rkd(scale * teacher, teacher))


def test_equal_clips_keep_the_gradient_bounded():
    """PyTorch's normalize would send 1e12 through the direction between two equal clips."""
    student, teacher = (x.float() for x in views(3))
    student[1] = student[0]
    student.requires_grad_()
    sum(rkd(student, teacher)).backward()
    assert student.grad.abs().max() < 1e6


def test_equals_torchdistill():
    world, student = World(), Student()
    batch = world.batch(student, torch.arange(16))
    published = RKDLoss("s", "t", dist_factor=25, angle_factor=50, reduction="mean")
    expected = published(
        {"s": {"output": batch.student.embedding}}, {"t": {"output": batch.teacher.embedding}}
    )
    ours = sum(RKD(world.context(student)).losses(batch).values()).detach()
    # The publication subtracts squares, which costs float32 four digits for clips as near as an
    # untrained student's.
    assert float(ours) == pytest.approx(float(expected.detach()), rel=1e-2)
    wide = (
        RKDLoss("s", "t", dist_factor=1, angle_factor=0, reduction="mean"),
        RKDLoss("s", "t", 0, 1, "mean"),
    )
    student_embedding, teacher_embedding = views(4)
    io = {"s": {"output": student_embedding}}, {"t": {"output": teacher_embedding}}
    torch.testing.assert_close(
        rkd(student_embedding, teacher_embedding), tuple(f(*io) for f in wide)
    )
