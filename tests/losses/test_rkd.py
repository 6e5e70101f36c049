import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Student, World
from torchdistill.losses.mid_level import RKDLoss

from sacd.losses.rkd import RKD, rkd


def pair(seed, size=5):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(size, d, generator=g, dtype=torch.float64) for d in (4, 6)]


def smooth(a, b):
    return 0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5


def naive(student, teacher):
    def distances(x):
        d = [[math.dist(a, b) for b in x] for a in x]
        mean = sum(map(sum, d)) / (len(x) * (len(x) - 1))
        return [v / mean for row in d for v in row]

    def angles(x):
        out = []
        for i in x:
            for j in x:
                for k in x:
                    u, v = (
                        [b - a for a, b in zip(i, j, strict=True)],
                        [b - a for a, b in zip(i, k, strict=True)],
                    )
                    size = math.hypot(*u) * math.hypot(*v)
                    out.append(
                        sum(a * b for a, b in zip(u, v, strict=True)) / size if size else 0.0
                    )
        return out

    s, t = student.tolist(), teacher.tolist()
    means = []
    for relation in (distances, angles):
        losses = [smooth(a, b) for a, b in zip(relation(s), relation(t), strict=True)]
        means.append(sum(losses) / len(losses))
    return means


def test_naive_loops():
    student, teacher = pair(0)
    assert [float(x) for x in rkd(student, teacher)] == pytest.approx(naive(student, teacher))


def test_gradcheck():
    student, teacher = pair(1)
    assert torch.autograd.gradcheck(lambda s: rkd(s, teacher), student.requires_grad_())


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
def test_invariant_to_scale_rotation_shift_and_order(seed, scale):
    student, teacher = pair(seed)
    g = torch.Generator().manual_seed(seed)
    loss = rkd(student, teacher)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.float64)).Q
    torch.testing.assert_close(rkd(scale * student @ rotation + 1, teacher / scale), loss)
    order = torch.randperm(5, generator=g)
    torch.testing.assert_close(rkd(student[order], teacher[order]), loss)
    assert all(float(x) < 1e-20 for x in rkd(scale * teacher, teacher))


def test_aligned_is_below_random():
    student, teacher = pair(2)
    mixed = teacher + 0.1 * torch.randn(
        5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    for near, far in zip(rkd(mixed, teacher), rkd(student, teacher), strict=True):
        assert 0 < near < far


def test_equal_clips_keep_the_gradient_bounded():
    """PyTorch's normalize would send 1e12 through the direction between two equal clips."""
    student, teacher = (x.float() for x in pair(3))
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
    student_embedding, teacher_embedding = pair(4)
    io = {"s": {"output": student_embedding}}, {"t": {"output": teacher_embedding}}
    torch.testing.assert_close(
        rkd(student_embedding, teacher_embedding), tuple(f(*io) for f in wide)
    )
