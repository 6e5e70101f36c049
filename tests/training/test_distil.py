"""The objective of a student: cross-entropy of known stages, weighted terms of a method."""

import numpy as np
import pytest
import torch
from torch import nn

from sacd.losses.base import Method
from sacd.models.output import Output
from sacd.stages import UNSCORED
from sacd.training.distil import DistillationObjective, known_or_taught, mean_cross_entropy

WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.25, 3.0], dtype=torch.float64)


def drawn(seed=0, size=24):
    """Logits, and stages of which about a third are unknown."""
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, 5, generator=g, dtype=torch.float64)
    labels = torch.randint(0, 5, (size,), generator=g)
    labels[torch.rand(size, generator=g) < 1 / 3] = UNSCORED
    assert (labels == UNSCORED).any()
    return logits, labels


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("seed", range(4))
def test_cross_entropy_is_torchs_mean_over_the_known_stages(weights, seed):
    logits, labels = drawn(seed)
    ours = mean_cross_entropy(logits, labels, weights)
    known = labels != UNSCORED
    torch.testing.assert_close(
        ours, nn.functional.cross_entropy(logits[known], labels[known], weights)
    )
    ignoring = nn.functional.cross_entropy(logits, labels, weights, ignore_index=UNSCORED)
    torch.testing.assert_close(ours, ignoring)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_batch_without_a_known_stage_has_no_loss_and_no_gradient(weights):
    """Torch's own mean would be 0 / 0, and end the training."""
    logits = drawn()[0].requires_grad_()
    unknown = torch.full((len(logits),), UNSCORED)
    assert nn.functional.cross_entropy(logits, unknown, ignore_index=UNSCORED).isnan()
    loss = mean_cross_entropy(logits, unknown, weights)
    loss.backward()
    assert float(loss.detach()) == 0 and (logits.grad == 0).all()


def test_unknown_stages_are_the_teachers_and_known_ones_stay():
    logits, labels = drawn()
    filled = known_or_taught(labels, Output(torch.zeros(len(labels), 2), logits))
    known = labels != UNSCORED
    assert torch.equal(filled[known], labels[known])
    assert torch.equal(filled[~known], logits.argmax(1)[~known])
    assert (labels[~known] == UNSCORED).all(), "the caller's labels are left alone"
    nobody = Output(torch.empty(len(labels), 0), torch.empty(len(labels), 0))
    assert torch.equal(known_or_taught(labels, nobody), labels)


class Spy(Method):
    """Two terms, and the stages that the method was given."""

    def losses(self, batch):
        self.given = batch.labels
        return {"near": batch.student.logits.square().mean(), "far": batch.student.embedding.sum()}


class Net(nn.Linear):
    def forward(self, x):
        y = super().forward(x)
        return Output(y, y[:, :5])


def objective(weight):
    torch.manual_seed(0)
    net, x = Net(3, 7), torch.randn(6, 3)
    labels = torch.tensor([0, UNSCORED, 2, 3, UNSCORED, 1])
    teacher = Output(torch.zeros(6, 2), torch.eye(5)[torch.tensor([4, 4, 4, 3, 0, 1])])
    return DistillationObjective(
        net, Spy(), lambda rows, generator: x[rows], labels, teacher, None, weight
    )


def test_the_weight_of_a_method_scales_its_terms_and_not_the_cross_entropy():
    rows = torch.arange(6)
    plain, heavy = (objective(w).losses(rows, 0, torch.Generator()) for w in (1.0, 2.5))
    assert list(plain) == ["ce", "near", "far"]
    assert torch.equal(heavy["ce"], plain["ce"])
    for name in ("near", "far"):
        torch.testing.assert_close(heavy[name], 2.5 * plain[name])


def test_the_cross_entropy_reads_known_stages_and_the_method_all():
    chosen = objective(1.0)
    rows = torch.tensor([5, 4, 1, 0])
    losses = chosen.losses(rows, 0, torch.Generator())
    assert chosen.method.given.tolist() == [1, 0, 4, 0]
    known = chosen.student(chosen.inputs(np.array([5, 0]), None)).logits
    torch.testing.assert_close(
        losses["ce"], nn.functional.cross_entropy(known, torch.tensor([1, 0]))
    )
