"""What a distillation method is: losses beside the cross-entropy, and a hook after the step.

A method of your own is one file with a subclass of `Method`, and one line in `METHODS` of
`sacd/losses/__init__.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sacd.losses import METHODS
from sacd.models.output import Output


class Batch(NamedTuple):
    """One training step as a method sees it: B clips, row i of everything is the same clip."""

    student: Output
    teacher: Output
    """Of the frozen teacher, without gradient."""
    labels: Tensor
    """`(B,)` int64 stages 0..4."""
    index: Tensor
    """`(B,)` int64 rows 0..n_train-1 in the training set (CRD and CMC keep one memory row each)."""
    clips: Tensor
    """The student's input `(B, ...)`; an EMA copy of the student re-encodes it."""
    epoch: int = 0


@dataclass(frozen=True)
class Context:
    """What a method may need to build itself. `n = len(labels)` clips are in the training set."""

    student: nn.Module
    """Returns `Output`; methods may copy it (EMA), never train it by themselves."""
    student_example: Output
    """Output of the student for a batch of 2: shapes of embedding, logits and features."""
    teacher_example: Output
    """The same of the teacher."""
    labels: Tensor
    """`(n,)` int64 stages of the training set."""
    steps: int
    """Optimizer steps of the whole training."""
    generator: torch.Generator = field(default_factory=torch.Generator)
    """Source of all randomness of the method (CPU)."""


class Method(nn.Module):
    """Cross-entropy alone (the paper's baseline, v0), and the interface of every other method.

    Parameters that a method registers (projection heads, graph networks) are trained together with
    the student's. Everything a method must remember between steps is a buffer or a parameter, so
    that `state_dict` resumes a run.
    """

    teacher_needed = False

    def __init__(self, context: Context | None = None) -> None:
        super().__init__()
        self.monitor: dict[str, float] = {}
        """Figures of the last step to plot, as floats (graph spread, active hinges ...)."""
        self.lr_multipliers: dict[str, float] = {}
        """Name of a part of the method -> factor on the student's learning rate; default 1."""

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        """Weighted scalar losses to add to the cross-entropy, by name; finite for any B >= 1."""
        return {}

    def on_step_end(self, batch: Batch) -> None:
        """Called without gradient after the optimizer's step: enqueue keys, update the EMA copy."""


def build(name: str, context: Context, **options: Any) -> Method:
    """Method by name, e.g. `build("sacd", context, weight_structure=0.5)`.

    Raises:
        ValueError: `name` is not in `METHODS`.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown; known: {', '.join(METHODS)}")
    module, attribute = METHODS[name].split(":")
    return getattr(import_module(module), attribute)(context, **options)
