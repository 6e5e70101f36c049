"""Stage two, the paper's contribution: the training step of a student against a frozen teacher.

`DistillationObjective.losses` is the training step: forward pass, cross-entropy, and the terms of
the method. For SACD these are L_D, L_C and the JSD of `sacd.losses.sacd.SACD.losses`.
`sacd.training.fit.fit` minimises their sum, and `on_step_end` then updates what the method
remembers (for SACD the momentum encoder, the memory banks and the graph buffer).

`distil` builds the method and runs the whole training. It knows nothing of files and datasets;
`sacd.training.student` supplies the data.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sacd.config import FitConfig, MethodConfig
from sacd.losses.base import Batch, Context, Method, build, reads_features
from sacd.models.output import Output
from sacd.stages import UNSCORED
from sacd.training.fit import Objective, Progress, fit


class DistillationObjective(Objective):
    """Total loss of eq. 5: cross-entropy (eq. 1, batch mean) plus the terms of a method.

    The cross-entropy is the mean over the clips whose stage is known. A method that reads stages
    gets the teacher's for the others.

    Args:
        student, method: trained together.
        inputs: returns the student's input for some of the n rows.
        labels: `(n,)` int64 stages, `UNSCORED` where the stage is not known.
        teacher: outputs for the n rows.
        weights: class weights of the cross-entropy, `(5,)`.
        weight: factor on all terms of the method.
    """

    def __init__(
        self,
        student: nn.Module,
        method: Method,
        inputs: Callable[[np.ndarray, torch.Generator], Tensor],
        labels: Tensor,
        teacher: Output,
        weights: Tensor | None,
        weight: float = 1.0,
    ) -> None:
        self.student, self.method, self.inputs = student, method, inputs
        self.labels, self.teacher, self.weights = labels, teacher, weights
        self.weight = weight
        self.batch: Batch | None = None

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """The training step: loss terms of the clips `rows`, which `fit` adds and minimises."""
        # The order of the draws decides every trained number: first the student's augmentation,
        # then that of a source network which is trained too (`taught`).
        clips = self.inputs(rows.numpy(), generator).to(self.labels.device)
        index = rows.to(self.labels.device)
        labels = self.labels[index]
        student = self.student(clips)
        teacher = self.taught(rows, generator)
        # Kept for `on_step_end`, which gets the outputs that the losses have seen.
        self.batch = Batch(student, teacher, known_or_taught(labels, teacher), index, clips, epoch)
        terms = self.method.losses(self.batch)
        ce = mean_cross_entropy(student.logits, labels, self.weights)
        return {"ce": ce} | {name: self.weight * term for name, term in terms.items()}

    def taught(self, rows: Tensor, generator: torch.Generator) -> Output:
        """Outputs of the teacher for the clips `rows`; a frozen teacher's are computed once."""
        return take(self.teacher, rows.to(self.labels.device))

    def on_step_end(self) -> dict[str, Tensor]:
        """After the optimizer step: update the method's memory; returns its values to log."""
        assert self.batch is not None
        self.method.on_step_end(self.batch)
        return self.method.monitor


def known_or_taught(labels: Tensor, teacher: Output) -> Tensor:
    """`labels` `(n,)`, and the most probable stage of the teacher where they are `UNSCORED`.

    A method without a teacher has none of its own labels to fill in, and keeps them as they are.
    """
    if teacher.logits.shape[1] == 0:
        return labels
    return torch.where(labels == UNSCORED, teacher.logits.argmax(dim=1), labels)


def mean_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Cross-entropy (eq. 1), averaged over the clips with a known stage; 0 where there is none.

    With class weights, the mean is weighted, as in `torch.nn.functional.cross_entropy`.

    Args:
        logits: `(B, 5)`.
        labels: `(B,)`, 0..4 or `UNSCORED`.
        weights: `(5,)` or None.
    """
    # Not by `reduction="mean"`, which is 0 / 0 for a batch without any known stage.
    each = nn.functional.cross_entropy(
        logits, labels, weights, ignore_index=UNSCORED, reduction="sum"
    )
    known = (labels != UNSCORED).to(logits.dtype)
    # `UNSCORED` is -1 and must not index the weights; `known` has removed these clips already.
    share = known if weights is None else known * weights[labels.clamp_min(0)]
    total = share.sum()
    return each / torch.where(total > 0, total, torch.ones_like(total))


def take(output: Output, rows: Tensor | np.ndarray) -> Output:
    """Some rows of a network's outputs."""
    features = tuple(feature[rows] for feature in output.features)
    return Output(output.embedding[rows], output.logits[rows], features)


def build_method(
    name: str,
    options: Mapping[str, Any],
    student: nn.Module,
    example: Tensor,
    teacher: Output,
    labels: Tensor,
    seed: int,
) -> Method:
    """A method of `sacd.losses`, sized for the student and the teacher of a training.

    Args:
        example: the student's input of the first two clips.
        teacher: outputs of the teacher for all n clips.
        labels: `(n,)` 0..4; the method moves to their device.
    """
    # In eval mode: the example must not move the batch-norm statistics. `fit` sets train mode.
    with torch.inference_mode():
        student_example = student.eval()(example.to(labels.device))
    context = Context(
        student=student,
        student_example=student_example,
        teacher_example=take(teacher, np.arange(2)),
        labels=labels,
        # Of its own, so that a method's draws leave batch order and augmentation as they are:
        # methods with the same seed differ in the method alone.
        generator=torch.Generator().manual_seed(seed),
    )
    return build(name, context, **options).to(labels.device)


def method_lr_multipliers(method: Method) -> dict[str, float]:
    """The method's learning-rate factors, named as in a module that holds it as `method`."""
    return {f"method.{part}": factor for part, factor in method.lr_multipliers.items()}


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
    """Train `student` in place; returns the trained method and the history of `fit`.

    Args:
        inputs: returns the student's input for some of the n training rows; the generator draws
            the augmentation.
        labels: `(n,)` int64, `UNSCORED` where the stage is not known.
        teacher: outputs for the n rows; None if the method needs no teacher.
        blocks: `(n,)` block ids, see `sacd.data.batches`.
        weights: class weights of the cross-entropy.
        validate: computes metrics after an epoch.
    """
    device = next(student.parameters()).device
    labels = labels.to(device)
    taught = teacher or Output(torch.empty(len(labels), 0), torch.empty(len(labels), 0))
    # Features can be many times as large as the rest, so only a method that reads them gets them.
    read = taught.features if reads_features(chosen.name) else ()
    features = tuple(feature.to(device) for feature in read)
    taught = Output(taught.embedding.to(device), taught.logits.to(device), features)
    method = build_method(
        chosen.name,
        chosen.options,
        student,
        inputs(np.arange(2), torch.Generator().manual_seed(seed)),
        taught,
        known_or_taught(labels, taught),
        seed,
    )
    class_weights = None if weights is None else weights.to(device)
    history = fit(
        nn.ModuleDict({"student": student, "method": method}),
        DistillationObjective(
            student, method, inputs, labels, taught, class_weights, chosen.weight
        ),
        blocks,
        config,
        seed=seed,
        lr_multipliers=method_lr_multipliers(method),
        checkpoint=checkpoint,
        validate=None if validate is None else lambda: validate(method),
        progress=progress,
    )
    return method, history
