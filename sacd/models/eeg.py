"""EEG teachers: base class, builder of all four, class weights."""

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sacd.models import TEACHERS
from sacd.models.output import EMBEDDING, Output
from sacd.stages import STAGES

SCALE_UV: Final = 25.0
"""Divisor of the input, in uV: about the standard deviation of the EEG of one night."""

CLAMP: Final = 20.0
"""Limit of the scaled samples: 500 uV, beyond which they are artefacts.

Clipping keeps one clip with a loose electrode from spoiling its batch.
"""

FEATURE_VALUES: Final = 2048
"""Maximum number of values per clip in one intermediate feature.

Longer features are averaged over time, which makes them cheap to cache.
"""


class Teacher(nn.Module):
    """Base class of the EEG teachers: input scaling, linear projection to 512, classifier.

    A subclass implements `trunk`. `Output.embedding` is the projection; it is trained together with
    the rest of the teacher.

    Deviation: Sec. V-B has "no projections"; AttnSleep returns 2400 or 3000 values and DeepSleepNet
    1024, so one linear layer maps them to 512. Intermediate features are averaged over time to at
    most `FEATURE_VALUES` per clip.

    Args:
        n_features: length of the vector that `trunk` returns.
        n_classes: number of stages.
    """

    stages: tuple[str, ...] = ("train",)
    """Training stages in order; `fit` runs once for each, after `set_stage`."""

    def __init__(self, n_features: int, n_classes: int = len(STAGES)) -> None:
        super().__init__()
        self.project = nn.Linear(n_features, EMBEDDING)
        self.classify: nn.Module = nn.Linear(EMBEDDING, n_classes)
        self.stage = self.stages[0]

    def trunk(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features of scaled EEG.

        Args:
            x: `(B, 1, T)` scaled and clipped EEG.

        Returns:
            Flat vector `(B, n_features)`; intermediate features `(B, C, L)`, shallow to deep.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Output:
        """Classify a batch.

        Args:
            x: `(B, 1, T)` float EEG in uV, T = 30 s.

        Returns:
            Embedding `(B, 512)`, logits `(B, n_classes)`, features shallow to deep.
        """
        # A constant divisor, not the deviation of the clip: the amplitude of delta waves tells N3.
        flat, features = self.trunk((x / SCALE_UV).clamp(-CLAMP, CLAMP))
        embedding = self.project(flat)
        return Output(embedding, self.classify(embedding), tuple(shrink(f) for f in features))

    def auxiliary_loss(
        self, x: Tensor, output: Output, labels: Tensor, domains: Tensor | None = None
    ) -> Mapping[str, Tensor]:
        """Scalar loss terms by name, added to the cross-entropy in training.

        Args:
            x: `(B, 1, T)` the batch, in uV.
            output: what `forward` returned for it.
            labels: `(B,)` int64 stages.
            domains: `(B,)` int64 training subjects 0..n_domains-1 (Modified-SEN only).
        """
        return {}

    def set_stage(self, stage: str) -> None:
        """Choose one of `stages`, which sets the trained parameters and the auxiliary terms.

        Raises:
            ValueError: this teacher has no such stage.
        """
        if stage not in self.stages:
            raise ValueError(
                f"training stage {stage!r} is unknown to {type(self).__name__}; "
                f"known: {self.stages}"
            )
        self.stage = stage


def build_teacher(
    name: str,
    *,
    sfreq: int = 100,
    n_classes: int = len(STAGES),
    n_domains: int | None = None,
    width: float = 1.0,
    **options: Any,
) -> Teacher:
    """EEG teacher by name: attnsleep, deepsleepnet, modified_sen or mc2sleepnet.

    Args:
        name: key of `TEACHERS`.
        sfreq: sampling rate in Hz (attnsleep: 100 or 125).
        n_classes: number of stages.
        n_domains: number of training subjects; used by modified_sen only.
        width: factor on channels and hidden units; attnsleep has the published size only.
        options: further arguments of the class.

    Raises:
        ValueError: `name` is unknown, or a value is not valid for it.
    """
    if name not in TEACHERS:
        raise ValueError(f"teacher {name!r} is unknown; known: {', '.join(TEACHERS)}")
    if not 32 <= sfreq <= 512 or int(sfreq) != sfreq:
        raise ValueError(
            f"EEG rate {sfreq} Hz is not a whole number within 32..512 Hz: resample it"
        )
    # Only what a class takes is passed on, so that the caller need not know the differences.
    if name == "modified_sen":
        options["n_domains"] = n_domains
    if name != "attnsleep":
        options["width"] = width
    elif width != 1:
        raise ValueError(f"attnsleep has the published size only: width must be 1, not {width}")
    module, attribute = TEACHERS[name].split(":")
    return getattr(import_module(module), attribute)(
        sfreq=int(sfreq), n_classes=n_classes, **options
    )


def class_weights(labels: Tensor | Sequence[int]) -> Tensor:
    """Class weights of the cross-entropy, from training labels.

    w_c = mu_c max(1, ln(mu_c N / n_c)), mu = (1.5, 2, 1.5, 1, 1.5) / 5, to two decimals (from
    AttnSleep's code). Its authors count training and test labels; pass training labels only. A
    stage that never occurs counts as n_c = 1: its weight is finite and has no effect.

    Args:
        labels: training stages 0..4; unscored clips (-1) are ignored.

    Returns:
        `(5,)` float32.

    Raises:
        ValueError: no scored label, or a label above 4.

    >>> class_weights([0] * 40 + [1] * 5 + [2] * 30 + [3] * 15 + [4] * 10)
    tensor([0.3000, 0.8300, 0.3000, 0.2000, 0.3300])
    """
    labels = torch.as_tensor(labels)
    labels = labels[labels >= 0]
    if not len(labels) or labels.max() >= len(STAGES):
        raise ValueError(
            f"class weights need stages 0..{len(STAGES) - 1}, got {labels.unique().tolist()}"
        )
    count = torch.bincount(labels.long(), minlength=len(STAGES)).clamp_min(1).tolist()
    # AttnSleep's order is ours: W, N1, N2, N3, REM. N1 is rare and hard, N3 is easy.
    mu = [m / len(STAGES) for m in (1.5, 2, 1.5, 1, 1.5)]
    weights = [m * max(1.0, math.log(m * len(labels) / n)) for m, n in zip(mu, count, strict=True)]
    return torch.tensor([round(weight, 2) for weight in weights])


def shrink(feature: Tensor) -> Tensor:
    """Average `(B, C, L)` over time until C times the length is at most `FEATURE_VALUES`."""
    length = min(feature.shape[2], max(1, FEATURE_VALUES // feature.shape[1]))
    return F.adaptive_avg_pool1d(feature, length)


def scaled(channels: int, width: float) -> int:
    """Number of channels at a width factor, at least 8."""
    return max(8, round(channels * width))
