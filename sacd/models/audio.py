"""Audio teacher of UCF51: PANNs CNN14 with a 512-d embedding."""

import torch
import torch.nn.functional as F
import torchaudio.functional as AF
from torch import Tensor, nn

from sacd.models.numerics import rounded
from sacd.models.output import EMBEDDING, Output

SAMPLE_RATE = 32_000
"""Hz."""
WINDOW, HOP = 1024, 320
"""Samples: 32 ms, 10 ms."""
MELS = 64

_CHANNELS = (64, 128, 256, 512, 1024, 2048)


class CNN14(nn.Module):
    """Audio teacher: CNN14 of PANNs (Kong et al. 2020, arXiv:1912.10211), 512-d embedding.

    The input is a log-mel spectrogram (window 1024, hop 320, 64 mel bands of 50-14000 Hz) with
    batch norm over mel. Six blocks of two 3x3 convolutions follow, the first five with 2x2 average
    pooling. Pooling is the mean over mel, then mean + maximum over time. FC 2048 -> 512 with ReLU
    gives the embedding, which is therefore never negative, and one linear layer the classes.
    At width 1, parameter names and shapes are those of the published `Cnn14_emb512`
    (`sacd.models.pretrained.load_cnn14`), without its head of 527 classes.

    Deviation: no SpecAugment inside the network in training; the teacher is used frozen.

    Args:
        n_classes: number of classes (51 in UCF51).
        width: factor > 0 on the channels of the blocks.

    Raises:
        ValueError: `width` leaves no channel.
    """

    def __init__(self, n_classes: int = 51, width: float = 1.0) -> None:
        super().__init__()
        channels = [int(c * width) for c in _CHANNELS]
        if channels[0] < 1:
            raise ValueError(
                f"width {width} leaves the first block without a channel; "
                f"give at least {1 / _CHANNELS[0]}"
            )
        # Not saved in the state dict, because both follow from the constants above.
        window = torch.hann_window(WINDOW, dtype=torch.float64)
        self.register_buffer("window", window, persistent=False)
        mel = AF.melscale_fbanks(
            WINDOW // 2 + 1, 50.0, 14_000.0, MELS, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("mel", mel, persistent=False)
        self.bn0 = nn.BatchNorm2d(MELS)
        for i, (c_in, c_out) in enumerate(zip([1, *channels[:-1]], channels, strict=True)):
            self.add_module(f"conv_block{i + 1}", _Block(c_in, c_out))
        self.fc1 = nn.Linear(channels[-1], EMBEDDING)
        self.fc = nn.Linear(EMBEDDING, n_classes)
        # PANNs' initialisation, like that of the convolutions in `_Block`.
        for layer in (self.fc1, self.fc):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def logmel(self, sound: Tensor) -> Tensor:
        """Log-mel power in dB.

        Args:
            sound: `(B, n)` at 32 kHz, range -1..1.

        Returns:
            `(B, 1, 1 + n // 320, 64)`, >= -100 dB, in steps of 1/64 dB.
        """
        # In float64, because a Fourier transform's last digits depend on the processor.
        window = self.window.double()
        power = AF.spectrogram(
            sound.double(), 0, window, WINDOW, HOP, WINDOW, power=2.0, normalized=False
        )
        level = 10 * torch.log10((power.mT @ self.mel.double()).clamp(min=1e-10))
        return rounded(level, 64).to(sound.dtype)[:, None]

    def forward(self, sound: Tensor) -> Output:
        """Classify a batch.

        Args:
            sound: `(B, n)` mono at 32 kHz, range -1..1, n >= 9920 (0.31 s).

        Returns:
            Embedding, logits and the features of the six blocks.

        Raises:
            ValueError: `sound` has another number of dimensions or is too short.
        """
        if sound.dim() != 2 or sound.shape[1] < 31 * HOP:
            raise ValueError(
                f"sound of shape {tuple(sound.shape)}: expected (B, n) with n >= {31 * HOP} samples"
            )
        # Batch norm over mel: PANNs normalises each band, so mel takes the place of the channels.
        x = self.bn0(self.logmel(sound).transpose(1, 3)).transpose(1, 3)
        features = []
        for i in range(1, 7):
            x = self._modules[f"conv_block{i}"](x)
            x = F.avg_pool2d(x, 2) if i < 6 else x
            features.append(x)
            x = F.dropout(x, 0.2, self.training)
        x = x.mean(3)
        # PANNs adds both: an event may be short (maximum) or fill the clip (mean).
        x = F.dropout(x.amax(2) + x.mean(2), 0.5, self.training)
        embedding = F.relu(self.fc1(x))
        return Output(embedding, self.fc(embedding), tuple(features))


class _Block(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(c_out), nn.BatchNorm2d(c_out)
        nn.init.xavier_uniform_(self.conv1.weight)
        nn.init.xavier_uniform_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
