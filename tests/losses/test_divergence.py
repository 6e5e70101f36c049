import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch.nn import functional as F

from sacd.losses.divergence import divergence


def logits(b: int = 6, scale: float = 2.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = scale * torch.randn(
        2, b, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return a, b


def naive(a: torch.Tensor, b: torch.Tensor, kind: str) -> float:
    total = 0.0
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        p, q = ([math.exp(v) / sum(math.exp(w) for w in z) for v in z] for z in (x, y))
        m = [(u + v) / 2 for u, v in zip(p, q, strict=True)]

        def kl(u, v):
            return sum(s * math.log(s / t) for s, t in zip(u, v, strict=True))

        total += (kl(p, m) + kl(q, m)) / 2 if kind == "jsd" else (kl(p, q) + kl(q, p)) / 2
    return total / len(a)


@pytest.mark.parametrize("kind", ["jsd", "half_jeffreys"])
def test_naive_reference_and_gradcheck(kind):
    a, b = logits()
    assert float(divergence(a, b, kind)) == pytest.approx(naive(a, b, kind), rel=1e-12)
    a, b = a.requires_grad_(), b.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: divergence(x, y, kind), (a, b))


def test_scipy_agrees():
    a, b = logits(20)
    theirs = (
        jensenshannon(a.softmax(1).numpy(), b.softmax(1).numpy(), axis=1) ** 2
    )  # scipy's is the root of it
    assert float(divergence(a, b)) == pytest.approx(np.mean(theirs), rel=1e-10)


def test_half_jeffreys_is_the_mean_of_torchs_divergences():
    a, b = logits(20)
    p, q = a.log_softmax(1), b.log_softmax(1)
    both = [F.kl_div(x, y, reduction="batchmean", log_target=True) for x, y in ((p, q), (q, p))]
    torch.testing.assert_close(divergence(a, b, "half_jeffreys"), sum(both) / 2)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.01, 300))
def test_bounded_symmetric_and_zero_only_for_equal_classes(seed, scale):
    a, b = logits(4, scale, seed)
    value = float(divergence(a, b))
    assert 0 < value <= math.log(2) + 1e-12
    assert value == pytest.approx(float(divergence(b, a)), rel=1e-9)
    jeffreys = float(divergence(a, b, "half_jeffreys"))
    assert jeffreys >= 3.9 * value  # JSD <= a quarter of the authors' "JSD"
    assert jeffreys == pytest.approx(float(divergence(b, a, "half_jeffreys")), rel=1e-9)
    for kind in ("jsd", "half_jeffreys"):  # a shift of the logits changes no probability
        assert float(divergence(a, a + 3, kind)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", ["jsd", "half_jeffreys"])
def test_closer_is_smaller(kind):
    a, b = logits()
    values = [float(divergence(a, a + t * (b - a), kind)) for t in (0.1, 0.5, 1.0)]
    assert values == sorted(values) and values[0] < values[-1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["jsd", "half_jeffreys"])
def test_extremes_of_half_precision_stay_finite(dtype, kind):
    top = torch.finfo(dtype).max
    a = torch.tensor([[top, -top, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=dtype).requires_grad_()
    b = torch.tensor([[-top, top, 0, 0, 0], [top, top, -top, 0, 0]], dtype=dtype)
    value = divergence(a, b, kind)
    value.backward()
    assert value.isfinite() and a.grad.isfinite().all()


def test_batch_of_one_and_unknown_kind():
    a, b = logits(1)
    assert divergence(a, b).isfinite()
    with pytest.raises(ValueError, match="known: jsd, half_jeffreys"):
        divergence(a, b, "jsk")
