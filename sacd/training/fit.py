"""One training loop for teacher, student, pretext and fusion. It resumes from its last epoch to the same bytes."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sacd.config import FitConfig
from sacd.data.batches import batches
from sacd.files import load_checkpoint, save_checkpoint

Progress = Callable[[float, str], None]


class Objective(Protocol):
    """What is minimised: named terms of one batch, and what to do after the step."""

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Weighted scalar terms whose sum is the loss of the clips `rows`."""

    def on_step_end(self) -> Mapping[str, float]:
        """After the optimizer's step, without gradient; returns figures worth a curve."""


def _groups(
    trained: nn.Module, lr: float, lr_multipliers: Mapping[str, float]
) -> list[dict[str, Any]]:
    """The optimizer's groups: one for each of `lr_multipliers`, and one for all other parameters, which train at `lr`."""
    free = {name: p for name, p in trained.named_parameters() if p.requires_grad}
    groups = []
    for part, factor in lr_multipliers.items():
        names = [name for name in free if name == part or name.startswith(f"{part}.")]
        if not names or not factor > 0:
            raise ValueError(
                f"lr_multipliers {part!r}: {factor} needs a factor > 0 and trained parameters of that name"
            )
        groups.append({"params": [free.pop(name) for name in names], "lr": lr * factor})
    return [{"params": list(free.values()), "lr": lr}, *groups]


def _optimizer(groups: list[dict[str, Any]], config: FitConfig, steps: int) -> tuple[Any, Any]:
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            groups, momentum=0.9, weight_decay=config.weight_decay, foreach=True
        )
    else:
        optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay, foreach=True)
    if config.schedule == "onecycle":
        total = max(steps, 3)
        rise = max(0.2, 2 / total)  # the schedule divides by zero if it rises for a single step
        highest = [group["lr"] for group in groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, highest, total_steps=total, pct_start=rise
        )
    else:
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [steps // 2, steps * 3 // 4])
    return optimizer, schedule


def _epoch(blocks: np.ndarray, config: FitConfig, seed: int, epoch: int) -> Iterator[Tensor]:
    """Batches of an epoch, whose order depends on nothing else: their number is then known before the training."""
    state = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    return batches(
        blocks,
        config.batch,
        config.order,
        torch.Generator().manual_seed(state),
        config.blocks_per_batch,
    )


def count_steps(blocks: np.ndarray, config: FitConfig, seed: int) -> int:
    """Optimizer steps of a whole training; where blocks are no multiple of a batch, epochs differ in theirs."""
    return sum(1 for epoch in range(config.epochs) for _ in _epoch(blocks, config, seed, epoch))


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
    """Train `trained` in place and return one row an epoch: mean of every term, monitored figure, validation metric.

    Args:
        trained: holds every parameter that is trained (student and method, say) and every buffer
            that must survive.
        objective: gives the loss terms of a batch of rows.
        blocks: `(n,)` block ids of the training rows, see `sacd.data.batches`.
        seed: of batch order, augmentation and dropout.
        lr_multipliers: part of `trained` (a dotted name) -> factor > 0 on `config.lr` for its
            parameters; others have 1.
        checkpoint: file written after every epoch and read at the start if it is there.
        validate: metrics after an epoch; `kappa` among them selects the weights when
            `config.select == "best"`.
        progress: told the share done and a line of text after every epoch.

    Raises:
        ValueError: a part in `lr_multipliers` has no trained parameters, or its factor is not > 0.
        FloatingPointError: the loss is not finite; the message names epoch, term and value.
    """
    groups = _groups(trained, config.lr, lr_multipliers or {})
    parameters = [p for group in groups for p in group["params"]]
    optimizer, schedule = _optimizer(groups, config, count_steps(blocks, config, seed))
    generator = torch.Generator().manual_seed(seed)
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] = {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if checkpoint is not None and checkpoint.exists():
            state = load_checkpoint(checkpoint)
            trained.load_state_dict(state["trained"])
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            generator.set_state(state["generator"])
            torch.set_rng_state(state["torch"])
            if torch.cuda.is_available():
                there = len(
                    torch.cuda.get_rng_state_all()
                )  # it may have begun where there were more
                torch.cuda.set_rng_state_all(state["cuda"][:there])
            history, best = state["history"], state["best"]
        for epoch in range(len(history), config.epochs):
            trained.train()
            sums: dict[str, float] = {}
            count = 0
            for rows in _epoch(blocks, config, seed, epoch):
                losses = objective.losses(rows, epoch, generator)
                loss = torch.stack(list(losses.values())).sum()
                if not torch.isfinite(loss):
                    values = ", ".join(
                        f"{name}={float(value.detach()):.4g}" for name, value in losses.items()
                    )
                    raise FloatingPointError(
                        f"loss is not finite in epoch {epoch + 1}: {values}; lower the rate"
                    )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                if config.clip_norm:
                    nn.utils.clip_grad_norm_(parameters, config.clip_norm)
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    figures = objective.on_step_end()
                for name, value in [
                    *((f"loss_{k}", float(v.detach())) for k, v in losses.items()),
                    *figures.items(),
                ]:
                    sums[name] = sums.get(name, 0.0) + value
                count += 1
            row = {"epoch": epoch + 1, **{name: value / count for name, value in sums.items()}}
            if validate is not None:
                trained.eval()
                with torch.inference_mode():
                    row |= {
                        f"validation_{name}": float(value) for name, value in validate().items()
                    }
                kappas = [r["validation_kappa"] for r in history]
                if config.select == "best" and (
                    not kappas or row["validation_kappa"] > max(kappas)
                ):
                    best = deepcopy(trained.state_dict())
            history.append(row)
            if checkpoint is not None:
                save_checkpoint(
                    checkpoint,
                    {
                        "trained": trained.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                        "generator": generator.get_state(),
                        "torch": torch.get_rng_state(),
                        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                        "history": history,
                        "best": best,
                    },
                )
            share = (epoch + 1) / config.epochs
            loss = sum(value for name, value in row.items() if name.startswith("loss_"))
            progress(share, f"epoch {epoch + 1}/{config.epochs} loss {loss:.3f}")
    if best:
        trained.load_state_dict(best)
    trained.eval()
    return pd.DataFrame(history)
