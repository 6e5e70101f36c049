"""What a distillation method is: losses beside the cross-entropy, and a hook after the step.

To add a method, write one file with a subclass of `Method` and add a line to `METHODS` in
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
    """Input of a method in one training step: B clips; row i of every field is the same clip.

    All tensors lie on the device of the student.
    """

    student: Output
    teacher: Output
    """Output of the frozen teacher, without gradient."""
    labels: Tensor
    """`(B,)` int64 stages 0..4."""
    index: Tensor
    """`(B,)` int64 rows 0..n_train-1 in the training set (CRD and CMC keep one memory row each)."""
    clips: Tensor
    """Input of the student, `(B, ...)`; an EMA copy of the student encodes it again."""
    epoch: int = 0


@dataclass(frozen=True)
class Context:
    """What a method is built from. The training set has `n = len(labels)` clips."""

    student: nn.Module
    """Returns `Output`; a method may copy it (EMA) but must not train it itself."""
    student_example: Output
    """Output of the student for a batch of 2; gives the shapes of its fields."""
    teacher_example: Output
    """The same for the teacher."""
    labels: Tensor
    """`(n,)` int64 stages of the training set."""
    generator: torch.Generator = field(default_factory=torch.Generator)
    """Source of all randomness in the method (on the CPU)."""


class Method(nn.Module):
    """Cross-entropy alone (the paper's baseline, v0), and the interface of every other method.

    Parameters registered by a method (projection heads, graph networks) are trained together with
    those of the student. All state kept between steps is a buffer or a parameter, so that a run can
    be resumed from `state_dict`.
    """

    teacher_needed = False
    reads_features = False
    """Whether `losses` reads the stage features of the teacher."""

    def __init__(self, context: Context | None = None) -> None:
        super().__init__()
        self.monitor: dict[str, Tensor] = {}
        """Figures of the last step to plot (graph spread, active hinges ...): scalars on the device
        of the student. They are read once per epoch, because reading one makes a GPU wait."""
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
    return _class(name)(context, **options)


def reads_features(name: str) -> bool:
    """Whether the method reads the stage features of the teacher."""
    return _class(name).reads_features


def _class(name: str) -> type[Method]:
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown; known: {', '.join(METHODS)}")
    # Imported by name, so that a run's code hash covers its own method only (see `sacd.losses`).
    module, attribute = METHODS[name].split(":")
    return getattr(import_module(module), attribute)
