"""Modified-SEN: SEN-DAL on one EEG channel, with a domain head behind a gradient reversal."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sacd.models.eeg import Teacher, scaled
from sacd.models.output import EMBEDDING, Output
from sacd.stages import CLIP_S, STAGES


class ModifiedSEN(Teacher):
    """SEN-DAL (Cai et al.) on one EEG channel, with a label head and a domain head (Sec. V-C).

    The paper says only that there is one EEG channel and no EOG, and that both heads are kept. We
    use the one-dimensional branch on one clip, with a small-filter and a large-filter path
    (LeakyReLU). Squeeze and excitation covers both paths: average over time, concatenate, c -> c/2
    ReLU -> c sigmoid, rescale. The paths are then concatenated along time (23 steps x 128 at 128
    Hz) and projected to 512. The label head is 512 -> 128 -> 5. The domain head, behind a gradient
    reversal, is 512 -> 128 -> training subjects.

    Deviation: the L2 penalties of the original (0.1 on dense layers, 1e-4 on convolutions) are
    replaced by the weight decay of the optimizer; batch norm follows each convolution, as in
    DeepSleepNet; both heads read the 512-d embedding.

    Args:
        sfreq: sampling rate in Hz.
        n_classes: number of stages.
        n_domains: number of training subjects.
        width: factor on the filters; 1 is the published size.
        reversal: factor on the reversed gradient (0.001).
        drop: dropout after the first pooling of each path and on the concatenated feature.
    """

    def __init__(
        self,
        sfreq: int = 100,
        n_classes: int = len(STAGES),
        n_domains: int | None = None,
        width: float = 1.0,
        reversal: float = 0.001,
        drop: float = 0.5,
    ) -> None:
        if n_domains is None:
            raise ValueError("modified_sen needs n_domains, the number of training subjects")
        first, last = scaled(64, width), scaled(128, width)
        # (kernel, stride, first pool, kernel of the deep convolutions, last pool)
        paths = ((sfreq // 2, sfreq // 16, 8, 8, 4), (4 * sfreq, sfreq // 2, 4, 6, 2))
        small, large = (_path(first, last, drop, *p) for p in paths)
        # The length depends on the sampling rate; a forward pass tells it without a formula. In
        # eval mode it moves no running statistics and draws no dropout.
        with torch.no_grad():
            length = sum(
                p.eval()(torch.zeros(1, 1, CLIP_S * sfreq)).shape[2] for p in (small, large)
            )
        super().__init__(last * length, n_classes)
        self.small, self.large = small.train(), large.train()
        self.excite = nn.Sequential(
            nn.Linear(2 * last, last), nn.ReLU(), nn.Linear(last, 2 * last), nn.Sigmoid()
        )
        self.drop = nn.Dropout(drop)
        self.classify = nn.Sequential(
            nn.Linear(EMBEDDING, 128), nn.ReLU(), nn.Linear(128, n_classes)
        )
        self.domain = nn.Sequential(nn.Linear(EMBEDDING, 128), nn.ReLU(), nn.Linear(128, n_domains))
        self.reversal = reversal

    def trunk(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        small, large = self.small(x), self.large(x)
        weight = self.excite(torch.cat((small.mean(2), large.mean(2)), 1)).unsqueeze(2)
        by_small, by_large = weight.chunk(2, 1)
        fused = self.drop(torch.cat((small * by_small, large * by_large), 2))
        return fused.flatten(1), [small, large, fused]

    def auxiliary_loss(
        self, x: Tensor, output: Output, labels: Tensor, domains: Tensor | None = None
    ) -> Mapping[str, Tensor]:
        """Cross-entropy of the subject, as `domain`; the trunk gets its gradient times -reversal.

        Raises:
            ValueError: `domains` is missing.
        """
        if domains is None:
            raise ValueError(
                "modified_sen trains with domains: "
                "give the training subject 0..n_domains-1 of each clip"
            )
        return {
            "domain": F.cross_entropy(
                self.domain(reverse_gradient(output.embedding, self.reversal)), domains
            )
        }


def reverse_gradient(x: Tensor, factor: float) -> Tensor:
    """Return x and multiply its gradient by -factor in the backward pass.

    Source: Ganin and Lempitsky 2015, arXiv:1409.7495.
    """
    # The value is x - factor * 0, and only the second part has a gradient.
    return x.detach() - factor * (x - x.detach())


def _path(
    first: int, last: int, drop: float, kernel: int, stride: int, pool: int, deep: int, pool2: int
) -> nn.Module:
    """Build one path of Modified-SEN, zero-padded like TensorFlow's SAME."""
    layers: list[nn.Module] = []
    channels = 1
    for i, (k, s) in enumerate(((kernel, stride), (deep, 1), (deep, 1), (deep, 1))):
        pad, out = max(k - s, 0), last if i else first
        layers += [
            nn.ZeroPad1d((pad // 2, pad - pad // 2)),
            nn.Conv1d(channels, out, k, s, bias=False),
        ]
        layers += [nn.BatchNorm1d(out), nn.LeakyReLU()]
        if i == 0:
            layers += [nn.MaxPool1d(pool, ceil_mode=True), nn.Dropout(drop)]
        channels = out
    return nn.Sequential(*layers, nn.MaxPool1d(pool2, ceil_mode=True))
