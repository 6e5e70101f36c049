"""EEG teachers: base class, AttnSleep, DeepSleepNet, builder of all four, class weights."""

import math
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sacd.models import TEACHERS
from sacd.models.output import Output
from sacd.stages import CLIP_S, STAGES

EMBEDDING: Final = 512
"""Size of the latent vector F that teacher and student share (Sec. V-B)."""

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


class AttnSleep(Teacher):
    """AttnSleep (Eldele et al. 2021, doi:10.1109/TNSRE.2021.3076234), braindecode's implementation.

    Features: both convolution branches concatenated (128 channels), after recalibration (30), after
    attention (30). The flat vector has 2400 values at 100 Hz and 3000 at 125 Hz (the SHHS variant,
    d_model 100).

    braindecode differs from the authors' code: its attention uses the normalised query (theirs
    ignores the norm), its layer norm is the standard one (theirs has the unbiased deviation and eps
    outside the root), and its convolutions keep PyTorch's initialisation. In both, the first of
    three cloned convolutions in each attention block is never used.

    Deviation: the first filters are initialised as sinusoids (`tones`), not at random; they are
    trained like every other weight. Over four epochs of about 5,000 simulated clips, this raised
    the accuracy on held-out subjects by about 0.015 (one pair of runs).

    Args:
        sfreq: 100 or 125 Hz.
        n_classes: number of stages.
        drop: dropout in the convolution branches; 0.5 is published, 0.1 suits a training of few
            epochs.
        tones: initialise the first filters as windowed sinusoids of 0.5..32 Hz.
        options: further arguments of `braindecode.models.AttnSleep`.

    Raises:
        ValueError: `sfreq` is another rate.
    """

    def __init__(
        self,
        sfreq: int = 100,
        n_classes: int = len(STAGES),
        drop: float = 0.5,
        tones: bool = True,
        **options: Any,
    ) -> None:
        if sfreq not in (100, 125):
            raise ValueError(f"AttnSleep takes EEG at 100 or 125 Hz, not {sfreq} Hz: resample it")
        net = _braindecode(
            "AttnSleep",
            sfreq=sfreq,
            n_classes=n_classes,
            **{"d_model": 80 if sfreq == 100 else 100} | options,
        )
        super().__init__(net.len_last_layer, n_classes)
        self.net = net
        cnn = net.feature_extractor[0]
        for module in cnn.modules():
            if isinstance(module, nn.Dropout):
                module.p = drop
        if tones:
            for branch in (cnn.features1, cnn.features2):
                sinusoid_init(branch[0], sfreq)

    def trunk(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        cnn, context = self.net.feature_extractor
        flat, (small, large, recalibrated, attended) = _record(
            self.net, x, (cnn.features1, cnn.features2, cnn.AFR, context)
        )
        # Each layer stores its attention map with the autograd graph, which deepcopy (EMA) refuses.
        for layer in context.layers:
            layer.self_attn.attn = torch.empty(0)
        return flat, [torch.cat((small, large), 2), recalibrated, attended]


class DeepSleepNet(Teacher):
    """DeepSleepNet (Supratak et al. 2017, doi:10.1109/TNSRE.2017.2721116), from braindecode.

    The flat vector is the 1024-d sum of BiLSTM and shortcut, the input of the published classifier.
    Features: the small-filter path, the large-filter path, and this sum. Kernels and strides scale
    with the sampling rate as published: fs/2, fs/16, 4 fs, fs/2.

    braindecode differs from the authors' code: each clip is a sequence of length 1 (the BiLSTM sees
    no neighbours), and the LSTM has no peepholes. Its large path has ELU; we pass the published
    ReLU.

    Args:
        sfreq: sampling rate in Hz.
        n_classes: number of stages.
        width: factor on filters and LSTM units; 1 is the published size (25 M parameters).
        options: further arguments of `braindecode.models.DeepSleepNet`.
    """

    def __init__(
        self, sfreq: int = 100, n_classes: int = len(STAGES), width: float = 1.0, **options: Any
    ) -> None:
        wide = {
            f"{path}_n_filters_{i}": scaled(64 * i, width)
            for path in ("small", "large")
            for i in (1, 2)
        }
        for path, kernel, stride in (
            ("small", sfreq // 2, sfreq // 16),
            ("large", 4 * sfreq, sfreq // 2),
        ):
            wide |= {
                f"{path}_first_kernel_size": kernel,
                f"{path}_first_stride": stride,
                f"{path}_first_padding": (kernel - stride) // 2,
            }
        wide |= {"bilstm_hidden_size": scaled(512, width), "activation_large": nn.ReLU}
        net = _braindecode("DeepSleepNet", sfreq=sfreq, n_classes=n_classes, **wide | options)
        super().__init__(net.len_last_layer, n_classes)
        self.net = net

    def trunk(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        flat, (small, large) = _record(self.net, x, (self.net.cnn1, self.net.cnn2))
        return flat, [small.squeeze(2), large.squeeze(2), flat.unsqueeze(2)]


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


def class_weights(labels: Tensor | Sequence[int], rule: str = "attnsleep") -> Tensor:
    """Class weights of the cross-entropy, from training labels.

    w_c = mu_c max(1, ln(mu_c N / n_c)), mu = (1.5, 2, 1.5, 1, 1.5) / 5, to two decimals (from
    AttnSleep's code). Its authors count training and test labels; pass training labels only. A
    stage that never occurs counts as n_c = 1: its weight is finite and has no effect.

    Args:
        labels: training stages 0..4; unscored clips (-1) are ignored.
        rule: "attnsleep", or "none" for ones.

    Returns:
        `(5,)` float32.

    Raises:
        ValueError: unknown rule, no scored label, or a label above 4.

    >>> class_weights([0] * 40 + [1] * 5 + [2] * 30 + [3] * 15 + [4] * 10)
    tensor([0.3000, 0.8300, 0.3000, 0.2000, 0.3300])
    """
    labels = torch.as_tensor(labels)
    if rule == "none":
        return torch.ones(len(STAGES))
    if rule != "attnsleep":
        raise ValueError(f"class weight rule {rule!r} is unknown; known: attnsleep, none")
    labels = labels[labels >= 0]
    if not len(labels) or labels.max() >= len(STAGES):
        raise ValueError(
            f"class weights need stages 0..{len(STAGES) - 1}, got {labels.unique().tolist()}"
        )
    count = torch.bincount(labels.long(), minlength=len(STAGES)).clamp_min(1).tolist()
    mu = [m / len(STAGES) for m in (1.5, 2, 1.5, 1, 1.5)]
    return torch.tensor(
        [
            round(m * max(1.0, math.log(m * len(labels) / n)), 2)
            for m, n in zip(mu, count, strict=True)
        ]
    )


@torch.no_grad()
def sinusoid_init(conv: nn.Conv1d, sfreq: int) -> None:
    """Initialise a first layer with Hann-windowed cosines and sines, log-spaced up to 32 Hz.

    The mean norm of the filters is kept. The lowest frequency has 0.6 periods in the kernel, and is
    at least 0.5 Hz.
    """
    kernel, pairs = conv.kernel_size[0], conv.out_channels // 2
    time = (torch.arange(kernel) - kernel / 2) / sfreq
    hz = torch.logspace(math.log10(max(0.5, 0.6 * sfreq / kernel)), math.log10(32), pairs)
    phase = 2 * math.pi * hz[:, None] * time
    tones = torch.stack((phase.cos(), phase.sin()), 1).flatten(0, 1) * torch.hann_window(kernel)
    norm = conv.weight.flatten(1).norm(dim=1).mean()
    conv.weight.copy_((tones * norm / tones.norm(dim=1, keepdim=True))[:, None])


def shrink(feature: Tensor) -> Tensor:
    """Average `(B, C, L)` over time until C times the length is at most `FEATURE_VALUES`."""
    length = min(feature.shape[2], max(1, FEATURE_VALUES // feature.shape[1]))
    return F.adaptive_avg_pool1d(feature, length)


def scaled(channels: int, width: float) -> int:
    """Number of channels at a width factor, at least 8."""
    return max(8, round(channels * width))


def _braindecode(name: str, sfreq: int, n_classes: int, **options: Any) -> nn.Module:
    """A braindecode model without its last layer."""
    # braindecode builds montages under a name that MNE deprecates. It takes seconds to import.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Montage name", category=FutureWarning)
        models = import_module("braindecode.models")
    return getattr(models, name)(
        sfreq=sfreq,
        n_times=CLIP_S * sfreq,
        n_chans=1,
        n_outputs=n_classes,
        return_feats=True,
        **options,
    )


def _record(net: nn.Module, x: Tensor, modules: Sequence[nn.Module]) -> tuple[Tensor, list[Tensor]]:
    """Return `net(x)` and the outputs of its `modules`."""
    seen: dict[int, Tensor] = {}
    hooks = [
        m.register_forward_hook(lambda _, __, out, i=i: seen.__setitem__(i, out))
        for i, m in enumerate(modules)
    ]
    try:
        return net(x), [seen[i] for i in range(len(modules))]
    finally:
        for hook in hooks:
            hook.remove()
