"""The structure loss: its value, its gradient and the queue of past graphs."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.reducers import MeanReducer

from sacd.losses.structure import StructureLoss, graph_distance, literal, pair_margin


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_margin_equals_its_definition(gamma):
    for d in (0.0, 0.3, 1.0, 2.0, 3.7):
        for t in (1, -1):
            assert float(pair_margin(torch.tensor(d), t, gamma)) == pytest.approx(
                max(0, gamma - t * (1 - d))
            )
        assert float(literal(torch.tensor(d), gamma)) == pytest.approx(max(0, gamma - d))


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_equals_the_published_contrastive_loss_without_past_graphs(gamma):
    """pytorch-metric-learning: squared distance at unit length, margins 1 -+ gamma, means by kind.

    It differs by default: its distance is not squared, its means leave out pairs whose hinge is 0,
    its two halves are added, ours are averaged. And it knows no weights, which we give to pairs
    with past graphs (the second part).
    """
    g = torch.Generator().manual_seed(3)
    video = torch.randn(5, 7, generator=g, dtype=torch.float64)
    eeg = 4 * (video + 0.8 * torch.randn(5, 7, generator=g, dtype=torch.float64)).requires_grad_()
    loss = StructureLoss(6, 6, layers=1, gamma=gamma, past=4)
    loss._encode = lambda network, *_: video if network is loss.video else eeg
    theirs = ContrastiveLoss(
        1 - gamma, 1 + gamma, distance=LpDistance(power=2), reducer=MeanReducer()
    )
    own = torch.arange(5)
    published = theirs(video, own, ref_emb=eeg, ref_labels=own.clone()) / 2
    ours = loss(video, eeg).loss
    torch.testing.assert_close(ours, published)
    torch.testing.assert_close(
        *(torch.autograd.grad(x, eeg, retain_graph=True)[0] for x in (ours, published))
    )
    d = graph_distance(video[:, None], eeg[None])
    off = ~torch.eye(5, dtype=torch.bool)
    assert 0 < (pair_margin(d[off], -1, gamma) == 0).sum() < 20, (
        "both sides of the margin are there"
    )
    loss.queue.fill = 4
    assert abs(loss(video, eeg).loss - published) > 0.01


def filled(
    reading: str = "ours", graphs: int = 3, gamma: float = 1.0
) -> tuple[StructureLoss, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    loss = StructureLoss(6, 7, layers=1, reading=reading, gamma=gamma, past=4, size=3).double()
    v, e = (
        torch.randn(graphs + 1, 3, 6, dtype=torch.float64),
        torch.randn(graphs + 1, 3, 7, dtype=torch.float64),
    )
    for i in range(graphs):
        loss.push(v[i], e[i])
    return loss, v, e


@pytest.mark.parametrize("reading", ["ours", "matched_only", "literal"])
@pytest.mark.parametrize("graphs", [0, 2, 4])
def test_loss_equals_a_loop_over_pairs(reading, graphs):
    gamma = 1.3
    loss, v, e = filled(reading, graphs, gamma)
    order = [graphs, *range(graphs)]  # the current graph first
    used_v, used_e = v.flatten(0, 1), e.flatten(0, 1)
    graph_v = [loss.video(v[i], centre=used_v.mean(0)) for i in order]
    graph_e = [loss.eeg(e[i], centre=used_e.mean(0)) for i in order]
    weight = [1.0] + [1 / max(graphs, 1)] * graphs
    sums = {True: [0.0, 0.0], False: [0.0, 0.0]}
    for i, a in enumerate(graph_v):
        for j, b in enumerate(graph_e):
            if reading == "literal":
                hinge = max(0, gamma - ((a - b) ** 2).sum().item())
            else:
                d = ((a / a.norm() - b / b.norm()) ** 2).sum().item()
                hinge = max(0, gamma - (1 if i == j else -1) * (1 - d))
            sums[i == j][0] += weight[i] * weight[j] * hinge
            sums[i == j][1] += weight[i] * weight[j]
    expected = sums[True][0] / sums[True][1]
    if reading == "ours" and graphs:
        expected = (expected + sums[False][0] / sums[False][1]) / 2
    assert loss(v[-1], e[-1]).loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("reading", "gamma"), [("ours", 1.0), ("matched_only", 1.0), ("literal", 1e3)]
)
def test_gradcheck_of_every_reading(reading, gamma):
    loss, v, e = filled(reading, gamma=gamma)
    name = "eeg.readout.weight"
    whole = loss.get_parameter(name).detach()

    def changed(x):
        weight = torch.cat([torch.cat([x, whole[:2, 16:]], 1), whole[2:]])
        return torch.func.functional_call(loss, {name: weight}, (v[-1], e[-1])).loss

    weight = whole[:2, :16].clone().requires_grad_()
    assert torch.autograd.gradcheck(changed, weight)
    assert torch.autograd.grad(changed(weight), weight)[0].any()


def test_gradcheck_and_gradient_only_where_it_belongs():
    loss, v, e = filled()
    name = "video.message.2.weight"
    weight = loss.get_parameter(name).detach()[:1, :32].clone().requires_grad_()

    def changed(x):
        whole = loss.get_parameter(name).detach().clone()
        whole[:1, :32] = x
        return torch.func.functional_call(loss, {name: whole}, (v[-1], e[-1])).loss

    assert torch.autograd.gradcheck(changed, weight)
    current = v[-1].clone().requires_grad_()
    loss(current, e[-1]).loss.backward()
    centre, step = v.flatten(0, 1).mean(0), torch.zeros_like(current)
    step[1, 2] = 1e-6  # by finite differences with the centre held, which takes no gradient

    def at(x):
        past = [loss.video(g, centre=centre) for g in v[:3]]
        graphs = torch.stack([loss.video(x, centre=centre), *past])
        loss._encode, keep = (
            lambda network, *a: graphs if network is loss.video else keep(network, *a),
            loss._encode,
        )
        try:
            return loss(x, e[-1]).loss.item()
        finally:
            del loss._encode

    slope = (at(v[-1] + step) - at(v[-1] - step)) / 2e-6
    assert slope == pytest.approx(current.grad[1, 2].item(), rel=1e-5) and slope != 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in loss.parameters())
    assert not any(b.requires_grad for b in loss.buffers())


def test_past_graphs_train_the_networks():
    loss, v, e = filled()
    far = loss(v[-1], e[-1])
    (with_past,) = torch.autograd.grad(far.loss, loss.eeg.project.weight)
    loss.queue.fill = 0
    (without,) = torch.autograd.grad(loss(v[-1], e[-1]).loss, loss.eeg.project.weight)
    assert (with_past - without).norm() > 1e-6


def test_queue_walk_wraps_and_resumes_to_three_equal_steps():
    loss, v, e = filled(graphs=6)
    assert (loss.queue.fill, loss.queue.pointer) == (4, 2)
    for at, i in enumerate((4, 5, 2, 3)):
        assert torch.equal(loss.queue.video[at], v[i]) and torch.equal(loss.queue.eeg[at], e[i])
    loss.push(v[6][:2], e[6][:2])  # a shorter rest of a night
    assert loss.queue.count.tolist() == [3, 3, 2, 3] and not loss.queue.video[2, 2].any()
    twin = StructureLoss(6, 7, layers=1, past=4, size=3).double()
    twin.load_state_dict(deepcopy(loss.state_dict()))
    for i in range(3):
        values = []
        for module in (loss, twin):
            value = module(v[i], e[i]).loss
            for p, g in zip(
                module.parameters(),
                torch.autograd.grad(value, list(module.parameters())),
                strict=True,
            ):
                p.data -= 0.1 * g
            module.push(v[i], e[i])
            values.append(float(value.detach()))
        assert values[0] == values[1]
    states = loss.state_dict(), twin.state_dict()
    positions = "queue._extra_state"
    assert states[0].pop(positions) == states[1].pop(positions) == {"pointer": 2, "fill": 4}
    for name, a in states[0].items():
        assert torch.equal(a, states[1][name])


@settings(max_examples=15)
@given(
    st.integers(1, 9),
    st.integers(0, 5),
    st.integers(0, 1000),
    st.sampled_from([0.0, 1e-30, 1.0, 1e30]),
)
def test_any_batch_gives_a_finite_loss_and_gradient(b, pushes, seed, scale):
    g = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    loss = StructureLoss(6, 6, layers=1, past=4, size=3)
    for _ in range(pushes):
        n = int(torch.randint(1, 5, (), generator=g))
        loss.push(torch.randn(n, 6, generator=g), scale * torch.randn(n, 6, generator=g))
    v = (scale * torch.randn(b, 6, generator=g)).requires_grad_()
    result = loss(v, torch.randn(b, 6, generator=g))
    result.loss.backward()
    assert 0 <= float(result.loss.detach()) <= 4 and v.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in loss.parameters() if p.grad is not None)


@pytest.mark.parametrize("reading", ["ours", "matched_only", "literal"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_extremes_of_half_precision_stay_finite(reading, dtype, autocast):
    torch.manual_seed(0)
    loss = StructureLoss(6, 6, layers=1, past=2, size=4, reading=reading)
    top, tiny = torch.finfo(dtype).max, torch.finfo(dtype).tiny
    rows = torch.tensor([top, -top, tiny, 0.0])[:, None] * torch.ones(4, 6)
    mixed = rows * torch.tensor([1.0, -1.0, 1.0, 0.0, -1.0, 1.0])
    for video, eeg in (
        (rows, mixed),
        (torch.zeros(4, 6), rows),
        (mixed, mixed),
        (mixed[:1], rows[:1]),
    ):
        v, e = (x.to(dtype).requires_grad_() for x in (video, eeg))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            result = loss(v, e)
        result.loss.backward()
        assert result.loss.isfinite() and v.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in loss.parameters() if p.grad is not None)
        loss.push(v, e)


def test_large_batch_makes_several_graphs():
    loss, _, _ = filled(graphs=0)
    v, e = torch.randn(7, 6, dtype=torch.float64), torch.randn(7, 7, dtype=torch.float64)
    assert "d_mismatched" in loss(v, e).figures
    loss.push(v, e)
    assert loss.queue.count.tolist() == [3, 3, 1, 0] and loss.queue.fill == 3


def test_evaluation_centre_is_a_running_mean():
    loss, v, _ = filled(graphs=4)
    torch.testing.assert_close(loss.video.centre, v[:4].flatten(0, 1).mean(0))


def test_unknown_reading_is_refused():
    with pytest.raises(ValueError, match="known: ours, matched_only, literal"):
        StructureLoss(reading="yours")
