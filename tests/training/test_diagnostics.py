import numpy as np
import pytest
import torch
from torch import nn

from sacd.training.diagnostics import (
    block_stack,
    graph_distances,
    held_out_hinge,
    matching_auc,
    retrieval_rank,
    ridge_distances,
)


def test_matching_auc_counts_ordered_pairs():
    rng = np.random.default_rng(0)
    d = rng.normal(size=(7, 7))
    matched, others = np.diag(d), d[~np.eye(7, dtype=bool)]
    naive = np.mean([(m < o) + 0.5 * (m == o) for m in matched for o in others])
    assert matching_auc(d) == pytest.approx(naive)
    assert np.isnan(matching_auc(np.zeros((1, 1))))


def test_block_stack_takes_whole_groups_of_one_block():
    blocks = np.repeat([3, 4, 9], [16, 5, 20])
    groups = block_stack(np.arange(41)[:, None], blocks, 16)
    assert groups[..., 0].tolist() == [list(range(16)), list(range(21, 37))]


def test_nights_without_a_whole_group_give_no_number():
    none = block_stack(np.zeros((5, 3)), np.zeros(5), 16)
    assert none.shape == (0, 16, 3)
    assert np.isnan(matching_auc(ridge_distances(none, none, none, none)))


def test_ridge_finds_a_linear_relation_and_nothing_in_noise():
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(8, 8))
    video, new = rng.normal(size=(60, 16, 8)), rng.normal(size=(30, 16, 8))
    assert matching_auc(ridge_distances(video, video @ mix, new, new @ mix)) > 0.95
    noise = matching_auc(
        ridge_distances(video, rng.normal(size=video.shape), new, rng.normal(size=new.shape))
    )
    assert 0.3 < noise < 0.7


def test_retrieval_rank_is_one_for_equal_half_for_unrelated():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 6))
    assert retrieval_rank(x, 3 * x) == 1.0
    assert abs(retrieval_rank(x, rng.normal(size=x.shape)) - 0.5) < 0.15
    assert retrieval_rank(np.ones((5, 3)), np.ones((5, 3))) == pytest.approx(0.5)


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.5])
def test_held_out_hinge_equals_a_loop_over_pairs(margin):
    g = torch.Generator().manual_seed(3)
    video, eeg = torch.randn(2, 9, 4, generator=g, dtype=torch.float64)
    stages = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 4])

    def cos(a, b):
        a, b = a.tolist(), b.tolist()
        return (
            sum(x * y for x, y in zip(a, b, strict=True)) / np.hypot.reduce(a) / np.hypot.reduce(b)
        )

    hinges = [
        max(0.0, margin - cos(video[i], eeg[i]) + cos(video[i], eeg[j]))
        for i in range(9)
        for j in range(9)
        if stages[i] != stages[j]
    ]
    scaled = video * torch.arange(1, 10)[:, None]
    assert held_out_hinge(scaled, 3 * eeg, stages, margin) == pytest.approx(
        np.mean(hinges), rel=1e-12
    )


def test_held_out_hinge_is_the_margin_without_information_and_zero_with_all_of_it():
    g = torch.Generator().manual_seed(4)
    stages = torch.arange(60) % 5
    eeg, constant = torch.eye(5, 64)[stages], torch.ones(60, 64)
    assert held_out_hinge(eeg, eeg, stages, 0.2) == 0
    assert held_out_hinge(-eeg, eeg, stages, 0.2) == pytest.approx(1.2)
    assert held_out_hinge(constant, constant, stages, 0.2) == pytest.approx(0.2)
    noise = torch.randn(2, 60, 64, generator=g)
    assert (
        held_out_hinge(constant, noise[1], stages, 0.2) > 0.2
    )  # as many pairs i, j as j, i, and the hinge is convex
    assert held_out_hinge(*noise, stages, 0.2) == pytest.approx(0.2, abs=0.05)
    assert np.isnan(held_out_hinge(*noise, torch.zeros(60), 0.2))


def test_a_collapsed_graph_network_has_no_spread_and_no_auc():
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(dim=1)

    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones(len(x), 4)

    x = torch.randn(12, 16, 4, generator=torch.Generator().manual_seed(0))
    d, a, b = graph_distances(Mean(), Mean(), x, x)
    assert matching_auc(d) == 1.0 and a > 0.5 and b > 0.5
    d, a, b = graph_distances(Constant(), Constant(), x, x)
    assert matching_auc(d) == 0.5 and a == pytest.approx(0, abs=1e-6) == b
