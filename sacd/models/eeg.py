"""EEG teachers: base, AttnSleep and DeepSleepNet, builder of all four, class weights."""

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
"""What every teacher divides its input by: about the standard deviation of a night's EEG in uV."""

CLAMP: Final = 20.0
"""Scaled samples beyond this (500 uV: artefact, loose electrode) are cut, so that one clip cannot spoil a batch."""

FEATURE_VALUES: Final = 2048
"""Most values that one intermediate feature keeps per clip; longer ones are averaged over time (cheap to cache)."""


class Teacher(nn.Module):
    """Base of the EEG teachers: scaling, the linear projection to 512 and the classifier that sits on it.

    A subclass gives `trunk`. `Output.embedding` is the projection, trained with the rest in stage
    one.

    Deviation: Sec. V-B has "no projections"; AttnSleep's own vector has 2400 or 3000 values,
    DeepSleepNet's 1024, so one linear layer makes them 512. Intermediate features are averaged over
    time to at most `FEATURE_VALUES` a clip.

    Args:
        n_features: length of the vector that `trunk` returns.
        n_classes: number of stages.
    """

    stages: tuple[str, ...] = ("train",)
    """Trainings that follow one another; `fit` runs once for each, after `set_stage`."""

    def __init__(self, n_features: int, n_classes: int = len(STAGES)) -> None:
        super().__init__()
        self.project = nn.Linear(n_features, EMBEDDING)
        self.classify: nn.Module = nn.Linear(EMBEDDING, n_classes)
        self.stage = self.stages[0]

    def trunk(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Flat vector `(B, n_features)` and the intermediate features `(B, C, L)`, shallow to deep, of scaled EEG."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Output:
        """Stage a batch.

        Args:
            x: `(B, 1, T)` float EEG in uV, T = 30 s.

        Returns:
            embedding `(B, 512)`, logits `(B, n_classes)`, features shallow to deep.
        """
        flat, features = self.trunk((x / SCALE_UV).clamp(-CLAMP, CLAMP))
        embedding = self.project(flat)
        return Output(embedding, self.classify(embedding), tuple(shrink(f) for f in features))

    def auxiliary_loss(
        self, x: Tensor, output: Output, labels: Tensor, domains: Tensor | None = None
    ) -> Mapping[str, Tensor]:
        """Scalar terms to add to the cross-entropy in training, by name.

        Args:
            x: `(B, 1, T)` the batch, in uV.
            output: what `forward` returned for it.
            labels: `(B,)` int64 stages.
            domains: `(B,)` int64 training subjects 0..n_domains-1 (Modified-SEN needs them).
        """
        return {}

    def set_stage(self, stage: str) -> None:
        """Choose one of `stages`: which parameters train, which auxiliary terms exist.

        Raises:
            ValueError: this teacher has no such stage.
        """
        if stage not in self.stages:
            raise ValueError(
                f"training stage {stage!r} is unknown to {type(self).__name__}; known: {self.stages}"
            )
        self.stage = stage


class AttnSleep(Teacher):
    """AttnSleep (Eldele et al. 2021, doi:10.1109/TNSRE.2021.3076234), braindecode's implementation.

    Features: both convolution branches joined (128 channels), after recalibration (30), after
    attention (30). The flat vector has 2400 values at 100 Hz and 3000 at 125 Hz (the SHHS variant,
    d_model 100).

    braindecode differs from the authors' code: attention uses the normalised query (theirs ignores
    the norm), the layer norm is the standard one (theirs: unbiased deviation, eps outside the
    root), convolutions keep PyTorch's initialisation. In both, the first of three cloned
    convolutions in each attention block is never used.

    Deviation: the first filters begin as tones (`tones`), not at random; they train like every
    other weight. In four epochs of some 5,000 simulated clips that was worth about 0.015 of
    accuracy on held-out subjects (one pair of runs).

    Args:
        sfreq: 100 or 125 Hz.
        n_classes: number of stages.
        drop: dropout in the convolution branches; 0.5 is published, a training of few epochs wants
            0.1.
        tones: begin the first filters as windowed tones of 0.5..32 Hz.
        options: further arguments of `braindecode.models.AttnSleep`.

    Raises:
        ValueError: any other rate.
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
        for layer in (
            context.layers
        ):  # it keeps its attention map, with graph: no deepcopy (EMA) would be possible
            layer.self_attn.attn = torch.empty(0)
        return flat, [torch.cat((small, large), 2), recalibrated, attended]


class DeepSleepNet(Teacher):
    """DeepSleepNet (Supratak et al. 2017, doi:10.1109/TNSRE.2017.2721116), braindecode's implementation.

    The flat vector is the 1024-d sum of BiLSTM and shortcut, which the published classifier reads.
    Features: the small- and the large-filter path, that sum. Filters scale with the rate as
    published: fs/2, fs/16, 4 fs, fs/2.

    braindecode differs from the authors' code: one clip is a sequence of length 1 (the BiLSTM sees
    no neighbours), no peepholes, and ELU in the large path, for which we pass the published ReLU.

    Args:
        sfreq: sampling rate in Hz.
        n_classes: number of stages.
        width: factor of filters and LSTM units; 1 is the published size (25 M parameters).
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
        n_domains: number of training subjects; modified_sen alone uses it.
        width: factor of channels and hidden units; attnsleep has the published size only.
        options: further arguments of the class.

    Raises:
        ValueError: `name` is unknown, or a value does not suit it.
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
    """Weights of the cross-entropy by stage, from training labels.

    w_c = mu_c max(1, ln(mu_c N / n_c)), mu = (1.5, 2, 1.5, 1, 1.5) / 5, to two decimals
    (AttnSleep's code; its authors count training and test labels, we are to be given training
    labels only). A stage that never occurs counts as n_c = 1: finite, and of no effect, since no
    clip carries it.

    Args:
        labels: training stages 0..4; unscored clips (-1) are left out.
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
    """Set a first layer to Hann-windowed cosines and sines, log-spaced up to 32 Hz; the mean norm of a filter stays.

    The lowest tone has 0.6 periods in the kernel, and at least 0.5 Hz.
    """
    kernel, pairs = conv.kernel_size[0], conv.out_channels // 2
    time = (torch.arange(kernel) - kernel / 2) / sfreq
    hz = torch.logspace(math.log10(max(0.5, 0.6 * sfreq / kernel)), math.log10(32), pairs)
    phase = 2 * math.pi * hz[:, None] * time
    tones = torch.stack((phase.cos(), phase.sin()), 1).flatten(0, 1) * torch.hann_window(kernel)
    norm = conv.weight.flatten(1).norm(dim=1).mean()
    conv.weight.copy_((tones * norm / tones.norm(dim=1, keepdim=True))[:, None])


def shrink(feature: Tensor) -> Tensor:
    """`(B, C, L)` averaged over time so that C times the new length is at most `FEATURE_VALUES`."""
    length = min(feature.shape[2], max(1, FEATURE_VALUES // feature.shape[1]))
    return F.adaptive_avg_pool1d(feature, length)


def scaled(channels: int, width: float) -> int:
    """Channels at a width factor, at least 8."""
    return max(8, round(channels * width))


def _braindecode(name: str, sfreq: int, n_classes: int, **options: Any) -> nn.Module:
    """A braindecode model without its last layer."""
    with (
        warnings.catch_warnings()
    ):  # its import builds montages by a name that MNE deprecates, and takes seconds
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
    """What `net(x)` returns, and what each of its `modules` returned on the way."""
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
