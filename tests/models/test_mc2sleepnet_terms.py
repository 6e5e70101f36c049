"""Terms of MC2SleepNet: InfoNCE, the error of restored clips, and which clips are hidden."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import NTXentLoss

from sacd.models.mc2sleepnet import cross_mask, info_nce, restore_error


def naive_info_nce(a, b, t):
    total = 0.0
    for x, y in ((a, b), (b, a)):
        for i in range(len(x)):
            s = [sum(x[i] * y[j]) / (x[i].norm() * y[j].norm()) / t for j in range(len(y))]
            total += math.log(sum(math.exp(v) for v in s)) - s[i]
    return total / (2 * len(a))


def test_info_nce_against_loops():
    a, b = torch.randn(2, 6, 4, dtype=torch.float64)
    assert info_nce(a, b, 0.3).item() == pytest.approx(float(naive_info_nce(a, b, 0.3)), rel=1e-12)
    assert info_nce(a, a, 0.1) < info_nce(a, b, 0.1) < info_nce(a, -a, 0.1)
    assert info_nce(a[:1], b[:1]) == 0
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for value in (0.0, torch.finfo(dtype).tiny, torch.finfo(dtype).max, torch.inf):
            x = torch.full((3, 4), value, dtype=dtype, requires_grad=True)
            loss = info_nce(x, x.detach())
            loss.backward()
            assert torch.isfinite(loss) and torch.isfinite(x.grad).all()


def test_info_nce_gradient():
    a, b = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, 0.5), (a, b))


def test_info_nce_equals_the_published_one():
    """pytorch-metric-learning computes one direction per call.

    Row i of the other view is the only positive of row i.
    """
    a, b = torch.randn(2, 6, 4, dtype=torch.float64)
    own = torch.arange(6)
    theirs = NTXentLoss(temperature=0.3)
    both = theirs(a, own, ref_emb=b, ref_labels=own.clone()) + theirs(
        b, own, ref_emb=a, ref_labels=own.clone()
    )
    assert info_nce(a, b, 0.3).item() == pytest.approx(both.item() / 2, rel=1e-9)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), size=st.integers(1, 8), scale=st.floats(0.01, 100))
def test_info_nce_properties(seed, size, scale):
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, size, 4, generator=g, dtype=torch.float64)
    value = info_nce(a, b, 0.2)
    assert 0 <= value <= math.log(size) + 2 / 0.2
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.float64)).Q
    order = torch.randperm(size, generator=g)
    # The loss is symmetric and does not depend on the order of the clips.
    torch.testing.assert_close(info_nce(b[order], a[order], 0.2), value)
    torch.testing.assert_close(info_nce(scale * a @ rotation, b @ rotation / scale, 0.2), value)


def restoring():
    """Restored and true features of 5 clips; 3 of them are hidden in one of the streams."""
    stream, clip = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    return stream, clip, torch.tensor([[1, 0, 0, 0, 1], [0, 0, 1, 0, 0]], dtype=torch.bool)


def test_restore_error_against_loops():
    stream, clip, hide = restoring()
    hidden = [(m, i) for m in range(2) for i in range(5) if hide[m, i]]
    errors = [
        abs(float(stream[m, i, d]) - float(clip[m, i, d])) for m, i in hidden for d in range(3)
    ]
    assert restore_error(stream, clip, hide).item() == pytest.approx(sum(errors) / 9, rel=1e-12)
    assert restore_error(stream, clip, torch.zeros_like(hide)) == 0
    near = clip + 0.1 * (stream - clip)
    assert (
        0
        == restore_error(clip, clip, hide)
        < restore_error(near, clip, hide)
        < restore_error(stream, clip, hide)
    )


def test_restore_error_gives_the_hidden_clips_their_gradient_and_the_target_none():
    stream, clip, hide = restoring()
    stream, clip = stream.requires_grad_(), clip.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: restore_error(s, clip, hide), stream)
    restore_error(stream, clip, hide).backward()
    assert clip.grad is None
    assert torch.equal(stream.grad.any(2), hide)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), size=st.integers(1, 8), scale=st.floats(0.01, 100))
def test_restore_error_properties(seed, size, scale):
    g = torch.Generator().manual_seed(seed)
    stream, clip = torch.randn(2, 2, size, 3, generator=g, dtype=torch.float64)
    hide = torch.rand(2, size, generator=g) < 0.4
    value = restore_error(stream, clip, hide)
    assert value >= 0
    assert restore_error(scale * stream, scale * clip, hide).item() == pytest.approx(
        scale * value.item()
    )
    # The output for clips that are not hidden has no effect.
    other = stream.where(hide[..., None], 7.0)
    assert restore_error(other, clip, hide) == value
    order = torch.randperm(size, generator=g)
    assert restore_error(stream[:, order], clip[:, order], hide[:, order]).item() == pytest.approx(
        value.item()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("where", ["hidden", "shown"])
def test_restore_error_stays_finite(dtype, where):
    _, _, hide = restoring()
    for value in (torch.finfo(dtype).max, torch.finfo(dtype).tiny, torch.inf):
        stream = torch.zeros(2, 5, 3, dtype=dtype)
        stream[hide if where == "hidden" else ~hide] = value
        stream.requires_grad_()
        loss = restore_error(stream, -stream.detach(), hide)
        loss.backward()
        assert loss.isfinite() and stream.grad.isfinite().all()
        assert where == "hidden" or loss == 0


@pytest.mark.parametrize(("n", "per_stream"), [(32, 8), (16, 4), (20, 5), (3, 0), (1, 0)])
def test_cross_mask(n, per_stream):
    hide = cross_mask(n, 16, 0.25, torch.Generator().manual_seed(1))
    assert hide.sum(1).tolist() == [per_stream, per_stream]
    assert not (hide[0] & hide[1]).any()
    for start in range(0, n, 16):
        assert hide[:, start : start + 16].float().mean() <= 0.25
    if n >= 16:
        assert not torch.equal(hide, cross_mask(n, 16, 0.25, torch.Generator().manual_seed(2)))
