import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sacd.config import FitConfig
from sacd.training.checkpoint import load_checkpoint
from sacd.training.fit import count_steps, fit


class Toy:
    """Least squares with dropout, so that the global random state matters."""

    def __init__(self, die_in=None, poison=False):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(96, 4, generator=generator)
        self.y = self.x @ torch.tensor([1.0, -2.0, 0.5, 3.0])
        self.net = nn.Sequential(
            nn.Linear(4, 8), nn.Dropout(0.2), nn.BatchNorm1d(8), nn.Linear(8, 1)
        )
        for p in self.net.parameters():
            nn.init.normal_(p, std=0.3, generator=generator)
        self.die_in, self.poison = die_in, poison
        self.steps = 0

    def losses(self, rows, epoch, generator):
        if epoch == self.die_in:
            raise KeyboardInterrupt
        noise = 0.1 * torch.randn(len(rows), 4, generator=generator)
        error = (self.net(self.x[rows] + noise)[:, 0] - self.y[rows]).square().mean()
        return {"mse": error * (float("nan") if self.poison else 1.0)}

    def on_step_end(self):
        self.steps += 1
        return {"steps": 1.0}

    def validate(self):
        return {"kappa": -float((self.net(self.x)[:, 0] - self.y).square().mean())}


BLOCKS = np.repeat(np.arange(6), 16)
CONFIG = FitConfig(epochs=5, lr=0.05, schedule="onecycle")


def run(toy, path, config=CONFIG, lr_multipliers=None):
    return fit(
        toy.net,
        toy,
        BLOCKS,
        config,
        seed=3,
        lr_multipliers=lr_multipliers,
        checkpoint=path,
        validate=toy.validate,
    )


@pytest.mark.parametrize("lr_multipliers", [None, {"0": 0.1, "3.bias": 2}])
@pytest.mark.parametrize(
    "config", [CONFIG, CONFIG.model_copy(update={"optimizer": "adamw", "schedule": "multistep"})]
)
def test_a_run_cut_off_after_any_epoch_ends_with_the_same_bytes(tmp_path, config, lr_multipliers):
    whole = Toy()
    history = run(whole, tmp_path / "whole.safetensors", config, lr_multipliers)
    for die_in in range(1, 5):
        path = tmp_path / f"{die_in}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            run(Toy(die_in), path, config, lr_multipliers)
        again = Toy()
        resumed = run(again, path, config, lr_multipliers)
        assert again.steps == 6 * (5 - die_in)
        pd.testing.assert_frame_equal(history, resumed, check_exact=True)
        for a, b in zip(
            whole.net.state_dict().values(), again.net.state_dict().values(), strict=True
        ):
            assert torch.equal(a, b)


@pytest.mark.parametrize("gpus", [0, 2])
def test_the_random_states_of_gpus_are_resumed_where_there_are_any(tmp_path, monkeypatch, gpus):
    """Fake GPUs, each with a random state that every step changes."""
    states = [torch.tensor([k], dtype=torch.uint8) for k in range(gpus)]
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.get_rng_state_all", lambda: [state.clone() for state in states])
    monkeypatch.setattr(
        "torch.cuda.set_rng_state_all", lambda saved: states.__setitem__(slice(None), saved)
    )

    class Drawing(Toy):
        def on_step_end(self):
            states[:] = [3 * state + 1 for state in states]
            return super().on_step_end()

    def fit_on_gpus(toy, path):
        states[:] = [torch.tensor([k], dtype=torch.uint8) for k in range(gpus)]  # a new process
        run(toy, path)
        return [int(state) for state in states]

    whole = fit_on_gpus(Drawing(), tmp_path / "whole.safetensors")
    path = tmp_path / "cut.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit_on_gpus(Drawing(3), path)
    assert len(load_checkpoint(path)["cuda"]) == gpus
    assert fit_on_gpus(Drawing(), path) == whole and len(set(whole)) == gpus


def test_the_weights_of_the_best_validation_epoch_are_kept(tmp_path):
    toy = Toy()
    scripted = iter([0.1, 0.5, 0.3, 0.2, 0.4])
    kept = []

    def validate():
        kept.append({k: v.clone() for k, v in toy.net.state_dict().items()})
        return {"kappa": next(scripted)}

    fit(toy.net, toy, BLOCKS, CONFIG, seed=0, validate=validate)
    assert all(torch.equal(toy.net.state_dict()[k], v) for k, v in kept[1].items())


@pytest.mark.parametrize(
    "scores", [[math.nan, 0.1, 0.9, 0.2, math.nan], [0.1, math.nan, 0.9, 0.2, 0.3]]
)
def test_a_kappa_of_nan_is_never_the_best(scores):
    toy, scripted, kept = Toy(), iter(scores), []

    def validate():
        kept.append({k: v.clone() for k, v in toy.net.state_dict().items()})
        return {"kappa": next(scripted)}

    fit(toy.net, toy, BLOCKS, CONFIG, seed=0, validate=validate)
    assert all(torch.equal(toy.net.state_dict()[k], v) for k, v in kept[2].items())


def test_where_every_kappa_is_nan_the_last_epoch_is_kept_and_it_is_said():
    toy, last = Toy(), Toy()
    with pytest.warns(UserWarning, match="NaN in all 5 epochs: the last one is kept"):
        fit(toy.net, toy, BLOCKS, CONFIG, seed=0, validate=lambda: {"kappa": math.nan})
    fit(last.net, last, BLOCKS, CONFIG.model_copy(update={"select": "last"}), seed=0)
    assert all(
        torch.equal(a, b)
        for a, b in zip(toy.net.state_dict().values(), last.net.state_dict().values(), strict=True)
    )


def test_bfloat16_rounds_the_arithmetic_and_not_the_weights():
    rounded, exact = Toy(), Toy()
    fit(rounded.net, rounded, BLOCKS, CONFIG.model_copy(update={"precision": "bfloat16"}), seed=0)
    fit(exact.net, exact, BLOCKS, CONFIG, seed=0)
    for a, b in zip(rounded.net.parameters(), exact.net.parameters(), strict=True):
        assert a.dtype == torch.float32 and not torch.equal(a, b)
        assert torch.allclose(a, b, atol=0.1)


def test_select_last_keeps_the_last_weights_and_never_validates():
    def refuse():
        raise AssertionError("the validation subjects were looked at")

    toy = Toy()
    last = CONFIG.model_copy(update={"select": "last"})
    history = fit(toy.net, toy, BLOCKS, last, seed=0, validate=refuse)
    assert not any(name.startswith("validation_") for name in history)
    again = Toy()
    fit(again.net, again, BLOCKS, CONFIG, seed=0)
    assert all(
        torch.equal(a, b)
        for a, b in zip(toy.net.state_dict().values(), again.net.state_dict().values(), strict=True)
    )


class Watched(Toy):
    """Notes the rows of every step by epoch."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def losses(self, rows, epoch, generator):
        self.seen.setdefault(epoch, []).append(rows.tolist())
        return super().losses(rows, epoch, generator)


def test_an_epoch_ends_after_its_number_of_batches_and_the_next_one_has_others():
    toy = Watched()
    short = CONFIG.model_copy(update={"epochs": 20, "batches_per_epoch": 2})
    history = fit(toy.net, toy, BLOCKS, short, seed=0)
    assert [len(batches) for batches in toy.seen.values()] == [2] * 20 and len(history) == 20
    assert toy.steps == count_steps(BLOCKS, short, seed=0) == 40
    rows = {row for batches in toy.seen.values() for batch in batches for row in batch}
    assert rows == set(range(96)), "what one epoch leaves out, others have"
    whole = Watched()
    fit(whole.net, whole, BLOCKS, CONFIG.model_copy(update={"epochs": 1}), seed=0)
    assert whole.seen[0][:2] == toy.seen[0], "the same order, cut short"
    long = CONFIG.model_copy(update={"batches_per_epoch": 100})
    assert count_steps(BLOCKS, long, seed=0) == 30, "there are six a whole epoch"


def test_training_learns_and_reports_every_term_and_figure():
    toy = Toy()
    history = fit(toy.net, toy, BLOCKS, FitConfig(epochs=40, lr=0.05), seed=0)
    assert list(history) == ["epoch", "loss_mse", "steps"]
    assert history["loss_mse"].iloc[-1] < 0.5 * history["loss_mse"].iloc[0]
    assert count_steps(BLOCKS, FitConfig(epochs=40), seed=0) == 240 == toy.steps


@pytest.mark.parametrize("seed", range(4))
def test_nights_of_any_length_have_their_steps_counted(seed):
    """Real nights are no multiple of a batch, so epochs differ in their number of steps."""
    toy, config = Toy(), CONFIG.model_copy(update={"epochs": 12, "batch": 8, "lr": 0.005})
    uneven = np.repeat(np.arange(5), [25, 31, 2, 17, 21])
    history = fit(toy.net, toy, uneven, config, seed=seed)
    assert toy.steps == count_steps(uneven, config, seed) and len(history) == 12
    by_epochs = []
    for epochs in range(1, 13):
        shorter = config.model_copy(update={"epochs": epochs})
        by_epochs.append(count_steps(uneven, shorter, seed) / epochs)
    assert len(set(by_epochs)) > 1, "the mean number of steps changes, so epochs differ"


def test_a_loss_that_is_not_finite_stops_with_one_line():
    toy = Toy(poison=True)
    with pytest.raises(FloatingPointError, match=r"epoch 1: mse=nan"):
        fit(toy.net, toy, BLOCKS, CONFIG, seed=0)


def test_the_callers_random_state_is_left_alone():
    toy = Toy()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit(toy.net, toy, BLOCKS, CONFIG, seed=0)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("schedule", ["onecycle", "multistep"])
def test_a_part_has_its_own_learning_rate_through_the_whole_schedule(schedule):
    config = FitConfig(epochs=4, lr=0.01, schedule=schedule, weight_decay=0)

    class Slope:
        """The same constant gradient on every weight: only lr_multipliers make steps differ."""

        net = nn.ModuleDict(
            {name: nn.Linear(2, 1, bias=False) for name in ("plain", "slow", "slower")}
        )

        def losses(self, rows, epoch, generator):
            return {"sum": sum(p.sum() for p in self.net.parameters())}

        def on_step_end(self):
            return {}

    start = {name: p.detach().clone() for name, p in Slope.net.named_parameters()}
    fit(
        Slope.net,
        Slope(),
        BLOCKS,
        config,
        seed=0,
        lr_multipliers={"slow": 0.1, "slower.weight": 0.01},
    )
    moved = {name: (start[name] - p.detach()) for name, p in Slope.net.named_parameters()}
    assert (moved["plain.weight"] > 0.1).all()
    for name, factor in (("slow", 0.1), ("slower", 0.01)):
        torch.testing.assert_close(
            moved[f"{name}.weight"], factor * moved["plain.weight"], rtol=1e-3, atol=1e-6
        )


@pytest.mark.parametrize("lr_multipliers", [{"nothing": 0.1}, {"0": 0.0}, {"0": -1.0}])
def test_multipliers_of_unknown_parts_or_not_above_zero_are_refused(lr_multipliers):
    toy = Toy()
    with pytest.raises(ValueError, match="needs a factor > 0 and trained parameters"):
        fit(toy.net, toy, BLOCKS, CONFIG, seed=0, lr_multipliers=lr_multipliers)
