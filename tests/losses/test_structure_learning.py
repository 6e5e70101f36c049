"""What the structure loss learns: held-out graphs, collapse, and eq. 11 as printed."""

from collections.abc import Callable

import pytest
import torch

from sacd.losses.structure import StructureLoss, graph_distance, literal
from sacd.training.diagnostics import graph_distances, matching_auc, ridge_distances

DIM, CLIPS = 64, 8
LAYERS = pytest.mark.parametrize("layers", [1, 3], ids=["demo", "default"])


def views(groups: int, seed: int, noise: float = 0.6) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views `(groups, 8, 64)` of blocks of clips: shared content, clip content, random gain.

    Content, noise and gain of the blocks depend on the seed; how either modality looks at them does
    not.
    """
    g = torch.Generator().manual_seed(0)
    look_v, look_e = torch.randn(2, 3, DIM, generator=g) / 3**0.5
    offset_v, offset_e = torch.randn(2, DIM, generator=g)
    g.manual_seed(seed)

    def r(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    z = 0.8 * r(groups, 1, 3) + 0.6 * r(groups, CLIPS, 3)
    own = noise * r(groups, 1, 3) + 0.7 * r(groups, CLIPS, 3)
    video = (
        (0.8 * r(groups, CLIPS, 1)).exp() * ((z + own) @ look_v)
        + offset_v
        + 0.3 * r(groups, CLIPS, DIM)
    )
    eeg = (0.8 * r(groups, CLIPS, 1)).exp() * (z @ look_e) + offset_e + 0.3 * r(groups, CLIPS, DIM)
    return video, eeg


def trained(layers: int, reading: str, steps: int, optimizer_of: Callable) -> StructureLoss:
    """Trained on each block once."""
    torch.manual_seed(0)
    loss = StructureLoss(DIM, DIM, layers=layers, reading=reading, size=CLIPS)
    optimizer = optimizer_of(loss.parameters())
    for v, e in zip(*views(steps, seed=1), strict=True):
        optimizer.zero_grad()
        loss(v, e).loss.backward()
        optimizer.step()
        loss.push(v, e)
    return loss


def held_out(loss: StructureLoss) -> tuple[float, float, float]:
    """AUC of -d on new blocks, and the spread of both sides' graph vectors."""
    distance, *spreads = graph_distances(loss.video, loss.eeg, *views(40, seed=2))
    return matching_auc(distance), *spreads


def ridge() -> float:
    return matching_auc(
        ridge_distances(*(x.numpy() for x in (*views(400, seed=1), *views(40, seed=2))))
    )


def judge(auc: float, *spreads: float) -> bool:
    """Does the structure loss say anything about nights it has not seen?

    The views are linear in what they share, so a ridge on all blocks is as good as can be. On 40
    blocks networks of 1 and 3 layers that saw each block once end 0.005 and 0.006 below its 0.852,
    on 200 others at most 0.016 below it.
    """
    return auc > 0.7 and auc > ridge() - 0.02 and min(spreads) > 0.2


@pytest.mark.slow
@LAYERS
def test_with_mismatched_graphs_held_out_blocks_are_told_apart(layers):
    assert judge(
        *held_out(trained(layers, "ours", 400, lambda p: torch.optim.SGD(p, 2e-3, momentum=0.9)))
    )


@pytest.mark.slow
@LAYERS
def test_without_mismatched_graphs_both_networks_collapse(layers):
    auc, *spreads = held_out(
        trained(layers, "matched_only", 100, lambda p: torch.optim.Adam(p, 1e-3))
    )
    assert max(spreads) < 0.02, "all graphs have nearly the same vector"
    assert not judge(auc, *spreads)


@LAYERS
def test_untrained_networks_do_not_pass(layers):
    torch.manual_seed(0)
    assert not judge(*held_out(StructureLoss(DIM, DIM, layers=layers, size=CLIPS)))


@pytest.mark.slow
@LAYERS
def test_ours_pulls_matched_graphs_together_and_holds_the_others_apart(layers):
    torch.manual_seed(0)
    loss = StructureLoss(DIM, DIM, layers=layers, size=CLIPS)
    v, e = views(6, seed=5)
    for i in range(5):
        loss.push(v[i], e[i])
    optimizer = torch.optim.Adam(loss.parameters(), 3e-4)
    start = loss(v[5], e[5]).figures
    for _ in range(60):
        optimizer.zero_grad()
        loss(v[5], e[5]).loss.backward()
        optimizer.step()
    end = loss(v[5], e[5]).figures
    assert start["d_mismatched"] - start["d_matched"] < 0.1
    assert end["d_matched"] < 0.5 * start["d_matched"] and end["d_mismatched"] > 1.5


def test_literal_equation_has_no_gradient_on_untrained_networks():
    """Normalised or not, graph vectors of untrained networks are farther apart than the margin."""
    torch.manual_seed(0)
    loss = StructureLoss(DIM, DIM, layers=1, reading="literal", size=CLIPS)
    v, e = views(1, seed=1)
    graphs = loss.video(v), loss.eeg(e)
    for normalise in (True, False):
        d = graph_distance(*graphs, normalise=normalise)
        assert d.min() > 1
        gradients = torch.autograd.grad(
            literal(d).sum(), list(loss.parameters()), retain_graph=True, allow_unused=True
        )
        assert not any(g is not None and g.any() for g in gradients)
    assert loss(v[0], e[0]).loss.item() == 0


def test_literal_equation_drives_matched_graphs_apart():
    """Where it has a gradient (d below the margin), it does the opposite of the paper's text."""
    a = torch.tensor([0.3, 0.4, 0.0], requires_grad=True)
    b = torch.tensor([0.3, 0.0, 0.4])
    distances = []
    for _ in range(50):
        d = graph_distance(a, b, normalise=False)
        distances.append(float(d.detach()))
        (gradient,) = torch.autograd.grad(literal(d), a)
        a = (a - 0.1 * gradient).detach().requires_grad_()
    assert (
        distances == sorted(distances) and distances[0] < 0.4 and distances[-1] >= 1
    )  # then the gradient is gone


def test_literal_equation_drives_unnormalised_graph_vectors_of_networks_apart():
    """The same on the networks' own graph vectors, at a margin that these are nearer than."""
    torch.manual_seed(0)
    v, e = views(1, seed=1)
    start = graph_distance(
        *(StructureLoss(DIM, DIM, layers=1, size=CLIPS).video(x) for x in (v, e)), normalise=False
    )
    gamma = 3 * float(start.detach())
    loss = StructureLoss(DIM, DIM, layers=1, reading="literal", gamma=gamma, size=CLIPS)
    optimizer = torch.optim.SGD(loss.parameters(), 1e-3)
    distances = []
    for _ in range(60):
        optimizer.zero_grad()
        result = loss(v[0], e[0])
        distances.append(result.figures["d_matched"])
        if result.loss == 0:
            break
        result.loss.backward()
        optimizer.step()
    assert distances == sorted(distances) and distances[-1] > 1.2 * distances[0]
