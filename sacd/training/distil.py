"""Stage two without its data: a student and a method trained against the outputs of a frozen teacher."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sacd.config import FitConfig, MethodConfig
from sacd.losses.base import Batch, Context, Method, build
from sacd.models.output import Output
from sacd.training.fit import Progress, count_steps, fit


class DistillationObjective:
    """Cross-entropy (eq. 1, batch mean) plus the terms of a method (eq. 5)."""

    def __init__(
        self,
        student: nn.Module,
        method: Method,
        inputs: Callable[[np.ndarray, torch.Generator], Tensor],
        labels: Tensor,
        teacher: Output,
        weights: Tensor | None,
    ) -> None:
        self.student, self.method, self.inputs = student, method, inputs
        self.labels, self.teacher, self.weights = labels, teacher, weights
        self.batch: Batch | None = None

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        clips = self.inputs(rows.numpy(), generator).to(self.labels.device)
        labels, output = self.labels[rows], self.student(clips)
        self.batch = Batch(output, self.taught(rows, generator), labels, rows, clips, epoch)
        ce = nn.functional.cross_entropy(output.logits, labels, self.weights)
        return {"ce": ce, **self.method.losses(self.batch)}

    def taught(self, rows: Tensor, generator: torch.Generator) -> Output:
        """What the teacher says of the clips `rows`."""
        return take(self.teacher, rows)

    def on_step_end(self) -> dict[str, float]:
        assert self.batch is not None
        self.method.on_step_end(self.batch)
        return self.method.monitor


def take(output: Output, rows: Tensor | np.ndarray) -> Output:
    """Some rows of a teacher's outputs."""
    return Output(
        output.embedding[rows], output.logits[rows], tuple(f[rows] for f in output.features)
    )


def distil(
    student: nn.Module,
    chosen: MethodConfig,
    config: FitConfig,
    inputs: Callable[[np.ndarray, torch.Generator], Tensor],
    labels: Tensor,
    teacher: Output | None,
    blocks: np.ndarray,
    *,
    seed: int,
    weights: Tensor | None = None,
    validate: Callable[[Method], Mapping[str, float]] | None = None,
    checkpoint: Path | None = None,
    progress: Progress = lambda share, text: None,
) -> tuple[Method, pd.DataFrame]:
    """Train `student` in place; returns the method with what it learned, and the history of `sacd.training.fit.fit`.

    Args:
        inputs: the student's input of some of the n training rows; the generator draws the
            augmentation.
        labels: `(n,)` int64.
        teacher: outputs for the n rows; None if the method needs no teacher.
        blocks: `(n,)` block ids, see `sacd.data.batches`.
        weights: of the classes in the cross-entropy.
        validate: metrics after an epoch.
    """
    device = next(student.parameters()).device
    labels = labels.to(device)
    taught = teacher or Output(torch.empty(len(labels), 0), torch.empty(len(labels), 0))
    taught = Output(
        *(x.to(device) for x in taught[:2]), tuple(f.to(device) for f in taught.features)
    )
    with torch.inference_mode():
        example = student.eval()(
            inputs(np.arange(2), torch.Generator().manual_seed(seed)).to(device)
        )
    context = Context(
        student=student,
        student_example=example,
        teacher_example=take(taught, np.arange(2)),
        labels=labels,
        steps=count_steps(blocks, config, seed),
        generator=torch.Generator().manual_seed(seed),
    )
    method = build(chosen.name, context, **chosen.options).to(device)
    history = fit(
        nn.ModuleDict({"student": student, "method": method}),
        DistillationObjective(
            student, method, inputs, labels, taught, None if weights is None else weights.to(device)
        ),
        blocks,
        config,
        seed=seed,
        lr_multipliers={f"method.{part}": factor for part, factor in method.lr_multipliers.items()},
        checkpoint=checkpoint,
        validate=None if validate is None else lambda: validate(method),
        progress=progress,
    )
    return method, history
