"""Modified-SEN: SEN-DAL on one EEG channel, with a domain head behind a gradient reversal."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sacd.models.eeg import EMBEDDING, Teacher, scaled
from sacd.models.output import Output
from sacd.stages import CLIP_S, STAGES


class ModifiedSEN(Teacher):
    """Modified-SEN: SEN-DAL (Cai et al.) on one EEG channel, with label head and domain head (Sec. V-C).

    The paper only says: one EEG channel, no EOG, both heads kept. Our reading: the one-dimensional
    branch on one clip, a small- and a large-filter path (LeakyReLU); squeeze and excitation over
    both (average over time, join, c -> c/2 ReLU -> c sigmoid, rescale); joined along time (23 steps
    x 128 at 128 Hz); 512; label head 512 -> 128 -> 5; domain head behind a gradient reversal, 512
    -> 128 -> training subjects.

    Deviation: of the original's L2 penalties (0.1 on dense, 1e-4 on convolutions) only the
    optimizer's weight decay is left; batch norm after each convolution, as in DeepSleepNet; both
    heads read the 512-d embedding.

    Args:
        sfreq: sampling rate in Hz.
        n_classes: number of stages.
        n_domains: number of training subjects.
        width: factor of the filters; 1 is the published size.
        reversal: factor of the reversed gradient (0.001).
        drop: dropout after the first pooling of each path and of the joined feature.
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
        """`domain`: cross-entropy of the subject, whose gradient reaches the trunk times -reversal."""
        if domains is None:
            raise ValueError(
                "modified_sen trains with domains: give the training subject 0..n_domains-1 of each clip"
            )
        return {
            "domain": F.cross_entropy(
                self.domain(reverse_gradient(output.embedding, self.reversal)), domains
            )
        }


def reverse_gradient(x: Tensor, factor: float) -> Tensor:
    """x itself, whose gradient comes back times -factor (Ganin and Lempitsky 2015, arXiv:1409.7495)."""
    return x.detach() - factor * (x - x.detach())


def _path(
    first: int, last: int, drop: float, kernel: int, stride: int, pool: int, deep: int, pool2: int
) -> nn.Module:
    """One path of Modified-SEN; zero padding as TensorFlow's SAME."""
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
