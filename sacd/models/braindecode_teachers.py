"""EEG teachers of braindecode: AttnSleep and DeepSleepNet."""

import math
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from sacd.models.eeg import Teacher, scaled
from sacd.stages import CLIP_S, STAGES


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
        # A few epochs do not turn random filters into band-pass filters; they start as such.
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
        # braindecode's large path has ELU, the publication ReLU.
        wide |= {"bilstm_hidden_size": scaled(512, width), "activation_large": nn.ReLU}
        net = _braindecode("DeepSleepNet", sfreq=sfreq, n_classes=n_classes, **wide | options)
        super().__init__(net.len_last_layer, n_classes)
        self.net = net

    def trunk(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        flat, (small, large) = _record(self.net, x, (self.net.cnn1, self.net.cnn2))
        return flat, [small.squeeze(2), large.squeeze(2), flat.unsqueeze(2)]


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
    outputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        outputs[module] = output

    hooks = [module.register_forward_hook(keep) for module in modules]
    try:
        return net(x), [outputs[module] for module in modules]
    finally:
        # A hook that stayed would keep the last batch alive and be copied with the network.
        for hook in hooks:
            hook.remove()
