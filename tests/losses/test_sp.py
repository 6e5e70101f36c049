import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import pair
from torchdistill.losses import mid_level
from torchdistill.losses.mid_level import SPKDLoss

from sacd.losses.base import Batch, Context, build
from sacd.losses.sp import similarity_preserving
from sacd.models.output import Output


def views(seed: int = 0, size: int = 5) -> list[torch.Tensor]:
    return pair(seed, size, (7,), (9,))


def naive(s: torch.Tensor, t: torch.Tensor) -> float:
    b, grams = len(s), []
    for f in (s, t):
        rows = [
            [float(sum(x * y for x, y in zip(f[i], f[j], strict=True))) for j in range(b)]
            for i in range(b)
        ]
        grams.append([[v / sum(w * w for w in row) ** 0.5 for v in row] for row in rows])
    return sum((grams[0][i][j] - grams[1][i][j]) ** 2 for i in range(b) for j in range(b)) / b**2


def test_naive_loops():
    s, t = views()
    assert float(similarity_preserving(s, t)) == pytest.approx(naive(s, t), rel=1e-12)


def test_torchdistill_agrees_but_for_the_norm_of_the_rows(monkeypatch):
    s, t = views()

    def theirs():
        return float(SPKDLoss("s", "t", "batchmean")({"s": {"output": s}}, {"t": {"output": t}}))

    # The paper's rows have unit L2 length; torchdistill 1.1.5 calls normalize(x, 1), whose second
    # argument is p.
    assert theirs() != pytest.approx(naive(s, t), rel=0.1)
    monkeypatch.setattr(
        mid_level, "normalize", lambda x, _: torch.nn.functional.normalize(x, p=2, dim=1)
    )
    assert float(similarity_preserving(s, t)) == pytest.approx(theirs(), rel=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 8), st.floats(0.01, 100))
def test_bounded_and_scale_does_not_matter(seed, b, scale):
    s, t = views(seed, b)
    value = float(similarity_preserving(s, t))
    assert 0 <= value <= 4 / b
    assert float(similarity_preserving(scale * s, t)) == pytest.approx(value, rel=1e-6, abs=1e-12)


def test_same_neighbours_beat_other_neighbours():
    teacher = torch.eye(2).repeat_interleave(3, 0)
    alike, unlike = torch.eye(2).repeat_interleave(3, 0) + 0.1, torch.eye(2).repeat(3, 1) + 0.1
    assert similarity_preserving(alike, teacher) < similarity_preserving(unlike, teacher)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", ["max", "tiny", "zero"])
def test_extremes_stay_finite(dtype, value):
    limits = {"max": torch.finfo(dtype).max, "tiny": torch.finfo(dtype).tiny, "zero": 0}
    x = torch.ones(3, 8, dtype=dtype) * limits[value]
    x.requires_grad_()
    loss = similarity_preserving(x, torch.eye(3, 8))
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()


def test_method_weights_the_loss_and_gives_the_teacher_no_gradient():
    s, t = (x.float().requires_grad_() for x in views(size=4))
    student, teacher = Output(s, torch.zeros(4, 5)), Output(t, torch.zeros(4, 5))
    context = Context(torch.nn.Identity(), student, teacher, torch.zeros(4, dtype=torch.long))
    batch = Batch(
        student, teacher, torch.zeros(4, dtype=torch.long), torch.arange(4), torch.zeros(4, 1)
    )
    terms = build("sp", context, weight=750.0).losses(batch)
    terms["sp"].backward()
    assert terms["sp"].item() == pytest.approx(750 * naive(s.detach(), t.detach()), rel=1e-4)
    assert s.grad.abs().sum() > 0 and t.grad is None
