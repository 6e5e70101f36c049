"""AttnSleep is trained as its authors do in the profile `paper`, and in no other."""

import numpy as np
import pytest
import torch
from torch import nn

from sacd.config import FitConfig
from sacd.experiments.profiles import PROFILES
from sacd.training import fit as fitting

# 40 clips a block: epochs differ in their number of steps, as the remainders are cut at random.
BLOCKS = np.repeat(np.arange(3), 40)


class Slope:
    """One weight with gradient 1; notes the learning rate of every step with its epoch."""

    def __init__(self):
        self.net = nn.Linear(1, 1, bias=False)
        self.optimizer, self.seen = None, []

    def losses(self, rows, epoch, generator):
        self.seen.append((epoch, self.optimizer.param_groups[0]["lr"]))
        return {"sum": self.net.weight.sum()}

    def on_step_end(self):
        return {}


@pytest.mark.parametrize("epochs", [4, 12])
def test_the_rate_falls_once_to_a_tenth_after_ten_epochs(monkeypatch, epochs):
    toy, make = Slope(), fitting.make_optimizer

    def watched(*args):
        toy.optimizer, schedule = make(*args)
        return toy.optimizer, schedule

    monkeypatch.setattr(fitting, "make_optimizer", watched)
    config = FitConfig(epochs=epochs, lr=1e-3, optimizer="amsgrad", schedule="drop")
    fitting.fit(toy.net, toy, BLOCKS, config, seed=1)
    steps = np.bincount([epoch for epoch, _ in toy.seen])
    assert len(steps) == epochs and len(set(steps)) > 1
    for epoch, rate in toy.seen:
        assert rate == pytest.approx(1e-3 if epoch < 10 else 1e-4)


def test_amsgrad_and_weight_decay_follow_the_formula():
    """Reddi et al. 2018, arXiv:1904.09237, with the L2 penalty in the gradient as in torch."""
    net = nn.Linear(1, 1, bias=False)
    config = FitConfig(optimizer="amsgrad", lr=0.1, weight_decay=0.5)
    groups = fitting.parameter_groups(net, config.lr, {})
    optimizer, _ = fitting.make_optimizer(groups, config, steps=100)
    w = net.weight.item()
    m = v = highest = 0.0
    for t, slope in enumerate([5.0, -0.1, 0.2, 0.1], start=1):
        net.weight.grad = torch.full_like(net.weight, slope)
        optimizer.step()
        g = slope + 0.5 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        highest = max(highest, v)
        w -= 0.1 * (m / (1 - 0.9**t)) / ((highest / (1 - 0.999**t)) ** 0.5 + 1e-8)
        assert net.weight.item() == pytest.approx(w, rel=1e-4)
    assert optimizer.param_groups[0]["amsgrad"] and type(optimizer) is torch.optim.Adam


def test_only_the_profile_paper_has_it():
    paper = PROFILES["paper"]
    own = paper.teacher.model_copy(update=paper.teacher_fits["attnsleep"])
    authors = {"optimizer": "amsgrad", "schedule": "drop", "lr": 1e-3, "weight_decay": 1e-3}
    assert authors.items() <= own.model_dump().items() and own.batch == 128
    for name in ("smoke", "demo"):
        assert PROFILES[name].teacher_fits == {} and PROFILES[name].teacher.optimizer == "adamw"
