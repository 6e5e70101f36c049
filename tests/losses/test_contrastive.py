import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.reducers import MeanReducer

from sacd.losses.contrastive import k_hard_contrastive


def world(
    b: int = 5, m: int = 12, d: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {
        **{name: torch.randn(b, d, generator=g, dtype=dtype) for name in ("anchor_v", "anchor_s")},
        **{name: torch.randn(m, d, generator=g, dtype=dtype) for name in ("queue_s", "queue_v")},
        "labels": torch.randint(5, (b,), generator=g),
        "queue_labels": torch.randint(5, (m,), generator=g),
    }


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def naive(
    w: dict[str, torch.Tensor],
    margin=0.2,
    k=64,
    selection="top_k",
    directions="both",
) -> float:
    """Equation 13, one anchor and one negative at a time."""
    total = 0.0
    sides = {"video": ("anchor_v", "queue_s"), "eeg": ("anchor_s", "queue_v")}
    for side, (anchors, queue) in sides.items():
        if directions not in ("both", side):
            continue
        hinges = []
        for i, label in enumerate(w["labels"].tolist()):
            positive = cosine(w["anchor_v"][i], w["anchor_s"][i])
            groups: dict[int, list[float]] = {}
            for j, other in enumerate(w["queue_labels"].tolist()):
                if other != label:
                    groups.setdefault(other if selection == "per_class" else 0, []).append(
                        cosine(w[anchors][i], w[queue][j])
                    )
            for similar in groups.values():
                hinges += [
                    max(0.0, margin - positive + s) for s in sorted(similar, reverse=True)[:k]
                ]
        total += sum(hinges) / max(len(hinges), 1)
    return total


@pytest.mark.parametrize("selection", ["top_k", "per_class"])
@pytest.mark.parametrize("directions", ["both", "video", "eeg"])
@pytest.mark.parametrize("k", [1, 3, 64])
def test_naive_reference(selection, directions, k):
    for seed in range(3):
        w, options = (
            world(seed=seed),
            {"selection": selection, "directions": directions, "k": k},
        )
        assert float(k_hard_contrastive(**w, **options).loss) == pytest.approx(
            naive(w, **options), rel=1e-10, abs=1e-12
        )


def test_gradcheck_and_no_gradient_to_the_banks():
    w = world()
    w["queue_s"].requires_grad_(), w["queue_v"].requires_grad_()

    def loss(v, s):
        return k_hard_contrastive(**{**w, "anchor_v": v, "anchor_s": s}, margin=0.5, k=3).loss

    v, s = w["anchor_v"].requires_grad_(), w["anchor_s"].requires_grad_()
    assert torch.autograd.gradcheck(loss, (v, s))
    loss(v, s).backward()
    assert v.grad.abs().sum() > 0 and w["queue_s"].grad is None and w["queue_v"].grad is None


def test_metric_learning_agrees_on_the_same_triplets():
    # Their mean is over all triplets of one call, ours over those of one direction: compare
    # direction by direction.
    w = world(b=6, m=20, seed=3)
    loss = TripletMarginLoss(margin=0.2, distance=CosineSimilarity(), reducer=MeanReducer())
    for direction, anchor, positive, queue in (
        ("video", w["anchor_v"], w["anchor_s"], w["queue_s"]),
        ("eeg", w["anchor_s"], w["anchor_v"], w["queue_v"]),
    ):
        i, j = torch.where(w["labels"][:, None] != w["queue_labels"])
        theirs = loss(
            anchor,
            indices_tuple=(i, i, j + len(positive)),
            ref_emb=torch.cat([positive, queue]),
            ref_labels=torch.zeros(26, dtype=torch.long),
            labels=w["labels"],
        )
        assert float(k_hard_contrastive(**w, directions=direction).loss) == pytest.approx(
            float(theirs), rel=1e-10
        )


@settings(max_examples=40)
@given(
    st.integers(1, 6),
    st.integers(0, 9),
    st.integers(1, 12),
    st.integers(0, 10_000),
    st.sampled_from(["top_k", "semi_hard_random", "per_class"]),
    st.floats(0.1, 100),
)
def test_properties(b, m, k, seed, selection, scale):
    w = world(b, m, seed=seed, dtype=torch.float32)
    w["anchor_v"].requires_grad_()

    def contrast(w):
        return k_hard_contrastive(
            **w, k=k, selection=selection, generator=torch.Generator().manual_seed(1)
        )

    result = contrast(w)
    result.loss.backward()
    assert 0 <= result.loss <= 2 * 2.2 and w["anchor_v"].grad.isfinite().all()
    assert 0 <= result.active <= 1
    candidates = (w["labels"][:, None] != w["queue_labels"]).sum(1)
    assert (result.negatives[candidates == 0] == 0).all()
    if selection == "top_k":
        assert result.negatives.tolist() == candidates.clamp_max(k).tolist()
    scaled = contrast({**w, "anchor_s": scale * w["anchor_s"], "queue_v": scale * w["queue_v"]})
    assert float(scaled.loss) == pytest.approx(float(result.loss), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("selection", ["top_k", "semi_hard_random", "per_class"])
def test_entries_of_the_same_stage_never_count(selection):
    w = world(b=4, m=10)
    w["labels"], w["queue_labels"] = (
        torch.zeros(4, dtype=torch.long),
        torch.tensor([0] * 5 + [1] * 5),
    )

    def loss():
        generator = torch.Generator().manual_seed(0)
        return float(k_hard_contrastive(**w, k=3, selection=selection, generator=generator).loss)

    before = loss()
    w["queue_s"][:5], w["queue_v"][:5] = (
        w["anchor_v"][0],
        w["anchor_s"][0],
    )  # as hard as can be, but of the same stage
    assert loss() == before > 0
    w["queue_labels"][:] = 1
    assert (loss() != before) == (selection != "semi_hard_random")  # for which they are too hard


@pytest.mark.parametrize("selection", ["top_k", "semi_hard_random", "per_class"])
@pytest.mark.parametrize("case", ["empty bank", "one stage"])
def test_without_negatives_it_is_exactly_zero_with_a_gradient(selection, case):
    w = world(m=0 if case == "empty bank" else 7)
    if case == "one stage":
        w["labels"][:], w["queue_labels"][:] = 2, 2
    v = w["anchor_v"].requires_grad_()
    result = k_hard_contrastive(**w, selection=selection)
    result.loss.backward()
    assert float(result.loss) == 0 and not v.grad.any()
    assert float(result.active) == 0 and result.negatives.tolist() == [0] * 5


def test_order_of_an_easy_case():
    """Aligned pairs far from the bank cost nothing; a negative at the anchor costs the margin."""
    v = torch.eye(4)[:1]
    far, near = torch.eye(4)[1:2], torch.eye(4)[:1]
    labels, other = torch.tensor([0]), torch.tensor([3])

    def loss(s, queue):
        return float(k_hard_contrastive(v, s, queue, queue, labels, other).loss)

    assert loss(v, far) == 0
    assert loss(v, near) == pytest.approx(0.4)
    assert loss(far, near) > loss(v, near)


def test_semi_hard_draws_only_semi_hard_negatives():
    v = torch.tensor([[1.0, 0.0]])
    angle = torch.tensor(
        [0.0, 0.2, 0.5, 0.6, 1.5]
    )  # the first two are too hard, the last is too easy
    queue = torch.stack([angle.cos(), angle.sin()], dim=1)
    positive = torch.tensor(0.3)
    s = torch.stack([positive.cos(), positive.sin()])[None]
    hinge = 0.2 - positive.cos() + angle.cos()
    allowed = hinge[(hinge > 0) & (hinge < 0.2)]
    losses = {
        round(
            float(
                k_hard_contrastive(
                    v, s, queue, queue, torch.tensor([0]), torch.ones(5, dtype=torch.long),
                    k=1, selection="semi_hard_random", directions="video",
                    generator=torch.Generator().manual_seed(i),
                ).loss
            ),
            5,
        )
        for i in range(30)
    }  # fmt: skip
    assert losses == {round(float(h), 5) for h in allowed} and len(losses) == 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("directions", ["both", "video", "eeg"])
def test_semi_hard_draws_equal_a_loop(seed, directions):
    """k draws with replacement among the allowed entries; anchors without any are left out."""
    w, k, margin = world(b=6, m=15, seed=seed), 7, 0.8
    options = {"selection": "semi_hard_random", "k": k, "margin": margin, "directions": directions}
    got = k_hard_contrastive(**w, **options, generator=torch.Generator().manual_seed(seed))
    g = torch.Generator().manual_seed(seed)
    expected = 0.0
    for side, anchors, queue in (("video", "anchor_v", "queue_s"), ("eeg", "anchor_s", "queue_v")):
        if directions not in ("both", side):
            continue
        draw, hinges = torch.rand(6, k, generator=g), []
        for i, label in enumerate(w["labels"].tolist()):
            positive = cosine(w["anchor_v"][i], w["anchor_s"][i])
            all_ = [margin - positive + cosine(w[anchors][i], x) for x in w[queue]]
            allowed = [
                h
                for h, y in zip(all_, w["queue_labels"].tolist(), strict=True)
                if y != label and 0 < h < margin
            ]
            hinges += [allowed[int(u * len(allowed))] for u in draw[i].tolist() if allowed]
        expected += sum(hinges) / max(len(hinges), 1)
    assert float(got.loss) == pytest.approx(expected, rel=1e-6) and expected > 0


@pytest.mark.parametrize("selection", ["top_k", "semi_hard_random", "per_class"])
@pytest.mark.parametrize("directions", ["video", "eeg"])
def test_gradcheck_of_every_selection(selection, directions):
    w = world(b=4, m=10, seed=1)

    def loss(v, s):
        drawn = torch.Generator().manual_seed(0)
        options = {
            "margin": 0.8,
            "k": 3,
            "selection": selection,
            "directions": directions,
            "generator": drawn,
        }
        return k_hard_contrastive(**{**w, "anchor_v": v, "anchor_s": s}, **options).loss

    v, s = w["anchor_v"].requires_grad_(), w["anchor_s"].requires_grad_()
    assert loss(v, s) > 0 and torch.autograd.gradcheck(loss, (v, s))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", ["max", "tiny", "zero"])
@pytest.mark.parametrize("selection", ["top_k", "semi_hard_random", "per_class"])
def test_extremes_of_half_precision_stay_finite(dtype, value, selection):
    factor = {"max": torch.finfo(dtype).max, "tiny": torch.finfo(dtype).tiny, "zero": 0.0}[value]
    w = world(dtype=torch.float32)
    for name in ("anchor_v", "anchor_s", "queue_s", "queue_v"):
        w[name] = (w[name].sign() * factor).to(dtype)
    w["anchor_v"].requires_grad_()
    result = k_hard_contrastive(**w, selection=selection)
    result.loss.backward()
    assert result.loss.isfinite() and w["anchor_v"].grad.isfinite().all()


@pytest.mark.parametrize("option", ["selection", "directions"])
def test_unknown_options_are_refused(option):
    with pytest.raises(ValueError, match="'other' is unknown; known: "):
        k_hard_contrastive(**world(), **{option: "other"})


def test_per_class_takes_k_of_every_class_there_is():
    """51 classes (UCF51), not the five stages: two of each of the bank's other classes."""
    g = torch.Generator().manual_seed(0)
    video, eeg = torch.randn(2, 8, generator=g), torch.randn(2, 8, generator=g)
    bank, labels = torch.randn(30, 8, generator=g), torch.arange(30) % 10 + 40
    out = k_hard_contrastive(
        video, eeg, bank, bank, torch.tensor([41, 3]), labels, k=2, selection="per_class"
    )
    assert out.negatives.tolist() == [18, 20]
    empty = k_hard_contrastive(
        video, eeg, bank[:0], bank[:0], torch.tensor([41, 3]), labels[:0], selection="per_class"
    )
    assert float(empty.loss) == 0
