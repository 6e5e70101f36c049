"""The training loop of every network; an interrupted run resumes to the same bytes.

What is minimised is an `Objective`. That of SACD and of the other distillation methods is
`sacd.training.distil.DistillationObjective`.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sacd.config import FitConfig
from sacd.data.batches import batches
from sacd.training.checkpoint import load_checkpoint, save_checkpoint

Progress = Callable[[float, str], None]

DROP_EPOCHS = 10
"""Epochs at the full learning rate under the schedule "drop", as AttnSleep's authors train it.

Source: github.com/emadeldeen24/AttnSleep, which trains 10 epochs at 1e-3 and the rest at 1e-4.
"""


class Objective(Protocol):
    """The loss that `fit` minimises, as named terms of one mini-batch."""

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Weighted scalar loss terms of the clips `rows`; `fit` minimises their sum."""
        ...

    def on_step_end(self) -> Mapping[str, Tensor]:
        """Hook after the optimizer step, without gradient; returns scalars to log."""
        return {}


def parameter_groups(
    trained: nn.Module, lr: float, lr_multipliers: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Optimizer groups: one per entry of `lr_multipliers`, and one for all other parameters."""
    free = {name: p for name, p in trained.named_parameters() if p.requires_grad}
    groups = []
    for part, factor in lr_multipliers.items():
        names = [name for name in free if name == part or name.startswith(f"{part}.")]
        if not names or not factor > 0:
            raise ValueError(
                f"lr_multipliers {part!r}: {factor} needs a factor > 0 and trained parameters of "
                "that name"
            )
        # A parameter is in one group only, so that no step updates it twice. The schedules scale
        # the rate of each group, and the factor holds through the whole training.
        groups.append({"params": [free.pop(name) for name in names], "lr": lr * factor})
    return [{"params": list(free.values()), "lr": lr}, *groups]


def make_optimizer(
    groups: list[dict[str, Any]], config: FitConfig, steps: int, early: int = 0
) -> tuple[Any, Any]:
    """Optimizer and learning-rate schedule for a training of `steps` steps.

    Args:
        early: steps of the first `DROP_EPOCHS` epochs; only the schedule "drop" reads it.
    """
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            groups, momentum=0.9, weight_decay=config.weight_decay, fused=True
        )
    elif config.optimizer == "amsgrad":
        optimizer = torch.optim.Adam(
            groups, weight_decay=config.weight_decay, amsgrad=True, fused=True
        )
    else:
        optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
    if config.schedule == "onecycle":
        total = max(steps, 3)
        rise = max(0.2, 2 / total)  # OneCycleLR divides by zero if it rises for a single step
        highest = [group["lr"] for group in groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, highest, total_steps=total, pct_start=rise
        )
    else:
        at = [early] if config.schedule == "drop" else [steps // 2, steps * 3 // 4]
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, at)
    return optimizer, schedule


def _batches_of_epoch(
    blocks: np.ndarray, config: FitConfig, seed: int, epoch: int
) -> Iterator[Tensor]:
    """Mini-batches of one epoch; their order depends on seed and epoch only."""
    # A random stream per epoch: the steps of all epochs can be counted before the training, and a
    # resumed run needs no stored position.
    state = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    order = batches(
        blocks,
        config.batch,
        config.order,
        torch.Generator().manual_seed(state),
        config.blocks_per_batch,
    )
    return islice(order, config.batches_per_epoch or None)


def count_steps(blocks: np.ndarray, config: FitConfig, seed: int) -> int:
    """Optimizer steps of a whole training.

    Epochs differ in their number of steps where blocks are no multiple of the batch size.
    """
    steps = 0
    for epoch in range(config.epochs):
        # The order is drawn again as in the training: the phase of a block decides into how many
        # batches it is cut.
        steps += sum(1 for _ in _batches_of_epoch(blocks, config, seed, epoch))
    return steps


class _Training:
    """Everything that changes during a training; `state` and `restore` make it resumable."""

    def __init__(
        self,
        trained: nn.Module,
        groups: list[dict[str, Any]],
        config: FitConfig,
        steps: int,
        early: int,
    ) -> None:
        self.trained, self.config = trained, config
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimizer, self.schedule = make_optimizer(groups, config, steps, early)
        self.generator = torch.Generator()
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}

    def state(self) -> dict[str, Any]:
        # Augmentation draws from `generator`, dropout from the global states of torch and CUDA.
        # The best weights are kept too: a resumed run may not reach them again.
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "trained": self.trained.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": cuda,
            "history": self.history,
            "best": self.best,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.trained.load_state_dict(state["trained"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        if torch.cuda.is_available():
            # The checkpoint may come from a machine with more GPUs.
            there = len(torch.cuda.get_rng_state_all())
            torch.cuda.set_rng_state_all(state["cuda"][:there])
        self.history, self.best = state["history"], state["best"]

    def step(self, losses: Mapping[str, Tensor]) -> None:
        """One optimizer step on the sum of the loss terms."""
        loss = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.optimizer.step()
        self.schedule.step()

    def epoch(self, objective: Objective, epoch: int, order: Iterator[Tensor]) -> dict[str, float]:
        """Train for one epoch; returns the mean of every loss term and logged value.

        The sums stay on the device and are read once, at the end: reading a number makes a GPU wait
        for all of its work. So a loss that is not finite is noticed at the end of its epoch.
        """
        self.trained.train()  # the validation has set the networks to eval mode
        sums: dict[str, Tensor] = {}
        count = 0
        rounded = self.config.precision == "bfloat16"
        kind = self.parameters[0].device.type
        for rows in order:
            # The backward pass stays outside: each of its operations runs in the precision of its
            # forward operation.
            with torch.autocast(kind, torch.bfloat16, enabled=rounded):
                losses = objective.losses(rows, epoch, self.generator)
            self.step(losses)
            with torch.no_grad():
                figures = objective.on_step_end()
            logged = {f"loss_{name}": value.detach() for name, value in losses.items()}
            for name, value in {**logged, **figures}.items():
                # In float32 the sum of a long epoch would lose the last digits of small terms.
                sums[name] = sums.get(name, 0.0) + torch.as_tensor(value).double()
            count += 1
        means = {name: float(value) / count for name, value in sums.items()}
        terms = {name: mean for name, mean in means.items() if name.startswith("loss_")}
        if not all(map(math.isfinite, terms.values())):
            values = ", ".join(f"{name[5:]}={mean:.4g}" for name, mean in terms.items())
            raise FloatingPointError(
                f"loss is not finite in epoch {len(self.history) + 1}: {values}; "
                "lower the learning rate"
            )
        return means

    def validate(self, metrics: Callable[[], Mapping[str, float]]) -> dict[str, float]:
        """Metrics of the current weights, which are kept if their kappa is the best so far."""
        self.trained.eval()
        with torch.inference_mode():
            row = {f"validation_{name}": float(value) for name, value in metrics().items()}
        kappa, highest = row["validation_kappa"], -math.inf
        for earlier in self.history:
            highest = np.fmax(highest, earlier["validation_kappa"])  # ignores NaN
        # A kappa is NaN if all clips have one stage, in truth and prediction: not the best epoch.
        # Of epochs with the same kappa the first is kept.
        if kappa > highest:
            # A state dict shares memory with the weights, which the next step changes.
            self.best = deepcopy(self.trained.state_dict())
        return row


def fit(
    trained: nn.Module,
    objective: Objective,
    blocks: np.ndarray,
    config: FitConfig,
    *,
    seed: int,
    lr_multipliers: Mapping[str, float] | None = None,
    checkpoint: Path | None = None,
    validate: Callable[[], Mapping[str, float]] | None = None,
    progress: Progress = lambda share, text: None,
) -> pd.DataFrame:
    """Train `trained` in place and return one row per epoch.

    A row has the mean of every loss term and logged value, and the validation metrics.

    Args:
        trained: holds every trained parameter (student and method, say) and every buffer that a
            resumed run needs.
        objective: gives the loss terms of a mini-batch.
        blocks: `(n,)` block ids of the training rows, see `sacd.data.batches`.
        seed: of batch order, augmentation and dropout.
        lr_multipliers: dotted name of a part of `trained` -> factor > 0 on `config.lr`; 1 for all
            other parameters.
        checkpoint: file written after every epoch; the training resumes from it if it exists.
        validate: computes metrics after an epoch, whose `kappa` selects the weights. It is called
            only if `config.select == "best"`.
        progress: receives the share done and a line of text after every epoch.

    Raises:
        ValueError: a part in `lr_multipliers` has no trained parameters, or its factor is not > 0.
        FloatingPointError: the loss is not finite; the message names epoch, term and value.
    """
    if config.select == "last":
        validate = None  # the validation subjects are not looked at, not even for a log
    groups = parameter_groups(trained, config.lr, lr_multipliers or {})
    first = config.model_copy(update={"epochs": DROP_EPOCHS})
    early = count_steps(blocks, first, seed) if config.schedule == "drop" else 0
    training = _Training(trained, groups, config, count_steps(blocks, config, seed), early)
    training.generator.manual_seed(seed)
    # The caller's random state is left alone: what it draws next does not depend on the training.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if checkpoint is not None and checkpoint.exists():
            training.restore(load_checkpoint(checkpoint))
        # A finished training has all its epochs in the history, and only returns its weights.
        for epoch in range(len(training.history), config.epochs):
            order = _batches_of_epoch(blocks, config, seed, epoch)
            row = {"epoch": epoch + 1, **training.epoch(objective, epoch, order)}
            if validate is not None:
                row |= training.validate(validate)
            training.history.append(row)
            if checkpoint is not None:
                save_checkpoint(checkpoint, training.state())
            loss = sum(value for name, value in row.items() if name.startswith("loss_"))
            progress(
                (epoch + 1) / config.epochs, f"epoch {epoch + 1}/{config.epochs} loss {loss:.3f}"
            )
    if training.best:
        trained.load_state_dict(training.best)
    elif validate is not None:
        warnings.warn(
            f"validation kappa is NaN in all {config.epochs} epochs: the last one is kept",
            stacklevel=2,
        )
    trained.eval()
    return pd.DataFrame(training.history)
