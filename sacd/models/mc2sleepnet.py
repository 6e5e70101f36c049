"""MC2SleepNet: raw EEG and its spectrogram, with contrastive and cross-masking losses."""

from collections.abc import Mapping
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sacd.models.eeg import Teacher, scaled
from sacd.models.numerics import in_float32, rounded
from sacd.models.output import Output
from sacd.stages import STAGES

FRAME_S: Final = 2
"""Window of the spectrogram in s; windows overlap by half."""

TOP_HZ: Final = 50
"""Upper limit of the spectrogram in Hz, or half the sampling rate if that is lower."""


class MC2SleepNet(Teacher):
    """MC2SleepNet (Kim et al. 2025, arXiv:2502.17470), an EEG teacher with neighbouring clips.

    A CNN encodes the raw clip and a Transformer its log spectrogram, each to 128 values. The
    sequence part has one stream per modality with `layers` layers: self-attention, cross-attention
    to the other stream, feed-forward 1024 (8 heads, GELU, post-norm, dropout 0.1). The rows of a
    batch are consecutive in time. The batch is cut into sequences of `sequence` clips; the last one
    may be shorter. Sequences do not see each other.

    There are three training stages, each one `fit` after `set_stage`:

    - `contrast`: both encoders are trained by `info_nce`, without a gradient of the classification;
    - `sequence`: everything is trained, by classification (of the concatenated streams, and of each
      stream by one shared classifier) and by cross-masking: a share `mask` of the clips of a
      sequence is hidden in one stream, others in the other stream, and restored from the rest (L1);
    - `finetune`: encoders are frozen, and classification is the only loss.

    Features: raw clip 128, spectrogram 128, concatenated streams 256 (before the linear layer to
    512).

    Deviation: our sources name the parts but not the layers of the encoders: the CNN is that of
    TinySleepNet, the spectrogram encoder has `depth` post-norm layers on 1 s steps, InfoNCE has
    temperature 0.1. Clips are hidden, not shuffled. In the published pretraining code each layer
    gets the original input, so only the last one has an effect; here each layer gets the output of
    the previous one. The target of the reconstruction carries no gradient.

    Args:
        sfreq: sampling rate in Hz.
        n_classes: number of stages.
        width: factor on channels and feed-forward units; the clip feature stays at 128.
        sequence: clips in a sequence.
        layers: layers of the sequence part.
        depth: layers of the spectrogram's Transformer.
        mask: share 0..0.5 of a sequence that is hidden in each stream.
        temperature: temperature of InfoNCE.

    Raises:
        ValueError: `mask` is outside 0..0.5.
    """

    stages = ("contrast", "sequence", "finetune")

    def __init__(
        self,
        sfreq: int = 100,
        n_classes: int = len(STAGES),
        width: float = 1.0,
        sequence: int = 16,
        layers: int = 4,
        depth: int = 4,
        mask: float = 0.25,
        temperature: float = 0.1,
    ) -> None:
        if not 0 <= mask <= 0.5:
            raise ValueError(
                f"mask {mask} is not within 0..0.5: "
                "a clip is hidden in one of the two streams at most"
            )
        super().__init__(2 * 128, n_classes)
        self.sequence, self.mask, self.temperature = sequence, mask, temperature
        hidden = scaled(1024, width)
        self.raw = _RawEncoder(sfreq, scaled(128, width))
        self.spectrogram = _SpectrogramEncoder(sfreq, depth, hidden)
        self.streams = nn.ModuleList(
            nn.ModuleList(
                nn.TransformerDecoderLayer(128, 8, hidden, 0.1, "gelu", batch_first=True)
                for _ in range(layers)
            )
            for _ in range(2)
        )
        self.hidden_clip = nn.Parameter(torch.randn(2, 128) * 0.02)
        self.restore = nn.ModuleList(nn.Linear(128, 128) for _ in range(2))
        self.classify_stream = nn.Linear(128, n_classes)
        # The stage in which everything is trained, until `fit` begins with the first one.
        self.set_stage("sequence")

    def set_stage(self, stage: str) -> None:
        super().set_stage(stage)
        # By identity: tensors compare entry by entry.
        encoders = {id(p) for m in (self.raw, self.spectrogram) for p in m.parameters()}
        for p in self.parameters():
            p.requires_grad = stage == "sequence" or (id(p) in encoders) == (stage == "contrast")
        self.train(self.training)

    def train(self, mode: bool = True) -> "MC2SleepNet":
        super().train(mode)
        frozen = (self.raw, self.spectrogram) if self.stage == "finetune" else ()
        # Batch norm and dropout of a frozen encoder are frozen too.
        for encoder in frozen:
            encoder.eval()
        return self

    def trunk(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        clips = [self.raw(x), self.spectrogram(x)]
        # In the contrast stage the encoders get no gradient of the classification, even if the
        # caller adds it to the loss.
        given = [c.detach() for c in clips] if self.stage == "contrast" else clips
        both = torch.cat(self.mix(*given), 1)
        return both, [c.unsqueeze(2) for c in (*clips, both)]

    def mix(self, raw: Tensor, spectrogram: Tensor, hide: Tensor | None = None) -> list[Tensor]:
        """Run the sequence part.

        Args:
            raw: `(B, 128)` features of the raw clips, in time order.
            spectrogram: `(B, 128)` features of their spectrograms.
            hide: `(2, B)` bool, clips that are hidden in each stream.

        Returns:
            Both streams, `(B, 128)` each.
        """
        n, length = len(raw), min(self.sequence, len(raw))
        # The batch is padded to whole sequences; masks below keep the padding out of the attention.
        missing = -n % length
        streams = []
        for i, clip in enumerate((raw, spectrogram)):
            if hide is not None:
                clip = torch.where(hide[i].unsqueeze(1), self.hidden_clip[i].to(clip), clip)
            clip = F.pad(clip, (0, 0, 0, missing)).view(-1, length, 128)
            streams.append(clip + _positions(length, 128).to(clip))
        empty = None
        if missing:
            empty = torch.arange(n + missing, device=raw.device).view(-1, length) >= n
        padding = {"tgt_key_padding_mask": empty, "memory_key_padding_mask": empty}
        for layer_raw, layer_spectrogram in zip(*self.streams, strict=True):
            first, second = streams
            # Both layers see the other stream as it was before this layer.
            streams = [
                layer_raw(first, second, **padding),
                layer_spectrogram(second, first, **padding),
            ]
        return [s.reshape(-1, 128)[:n] for s in streams]

    def auxiliary_loss(
        self, x: Tensor, output: Output, labels: Tensor, domains: Tensor | None = None
    ) -> Mapping[str, Tensor]:
        """Loss terms of the current training stage.

        Stage `contrast` has the term `contrast`. The other stages have `raw` and `spectrogram`, the
        cross-entropy of each stream, and stage `sequence` also has `restore`. The hidden clips are
        drawn from torch's global CPU generator.
        """
        raw, spectrogram, both = (f.squeeze(2) for f in output.features)
        if self.stage == "contrast":
            return {"contrast": info_nce(raw, spectrogram, self.temperature)}
        terms = {
            name: F.cross_entropy(self.classify_stream(stream), labels)
            for name, stream in zip(("raw", "spectrogram"), both.split(128, 1), strict=True)
        }
        if self.stage == "sequence":
            # The streams run a second time with hidden clips, so the classification above never
            # depends on what was hidden.
            hide = cross_mask(len(x), self.sequence, self.mask).to(x.device)
            mixed = self.mix(raw, spectrogram, hide)
            restored = torch.stack(
                [head(stream) for head, stream in zip(self.restore, mixed, strict=True)]
            )
            terms["restore"] = restore_error(restored, torch.stack((raw, spectrogram)), hide)
        return terms


@in_float32
def info_nce(a: Tensor, b: Tensor, temperature: float = 0.1) -> Tensor:
    """Symmetric InfoNCE between two views of the same clips.

    Mean over i and both directions of -ln(exp(s_ii / t) / sum_j exp(s_ij / t)), where s_ij is the
    cosine of row i of one view and row j of the other. It is 0 for a batch of 1.

    Source: van den Oord et al. 2018, arXiv:1807.03748.

    Args:
        a: `(B, D)` features of one modality.
        b: `(B, D)` features of the other; row i is the same clip.
        temperature: t > 0.

    >>> info_nce(torch.eye(2), torch.eye(2), temperature=1.0)
    tensor(0.3133)
    """
    s = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature
    own = torch.arange(len(s), device=s.device)
    return (F.cross_entropy(s, own) + F.cross_entropy(s.T, own)) / 2


@in_float32
def restore_error(stream: Tensor, clip: Tensor, hide: Tensor) -> Tensor:
    """Mean absolute error over the hidden clips of both streams; 0 if none is hidden.

    Args:
        stream: `(2, B, D)` restored features of each stream.
        clip: `(2, B, D)` target features. They carry no gradient; otherwise the encoders would
            learn features that are easy to restore.
        hide: `(2, B)` bool, clips that were hidden.

    >>> restore_error(torch.ones(2, 1, 3), torch.zeros(2, 1, 3), torch.tensor([[True], [False]]))
    tensor(1.)
    """
    error = (stream - clip.detach()).abs().mean(2)
    return (error * hide).sum() / hide.sum().clamp_min(1)


def cross_mask(
    n: int, sequence: int, ratio: float, generator: torch.Generator | None = None
) -> Tensor:
    """Choose the clips to hide in each stream: a share `ratio` of each sequence.

    No clip is hidden in both streams, so each can be restored through the attention to the other
    stream.

    Returns:
        `(2, n)` bool.
    """
    hide = torch.zeros(2, n, dtype=torch.bool)
    for start in range(0, n, sequence):
        length = min(sequence, n - start)
        k = int(ratio * length)
        order = torch.randperm(length, generator=generator) + start
        hide[0, order[:k]] = True
        hide[1, order[k : 2 * k]] = True
    return hide


class _RawEncoder(nn.Sequential):
    """Encode `(B, 1, T)` as `(B, 128)`: four convolutions, max pooling, linear layer."""

    def __init__(self, sfreq: int, channels: int) -> None:
        def block(n_in: int, kernel: int, stride: int) -> list[nn.Module]:
            conv = nn.Conv1d(n_in, channels, kernel, stride, padding=kernel // 2, bias=False)
            return [conv, nn.BatchNorm1d(channels), nn.ReLU()]

        super().__init__(
            *block(1, sfreq // 2, max(1, sfreq // 16)),
            nn.MaxPool1d(8, ceil_mode=True),
            nn.Dropout(0.5),
            *block(channels, 8, 1),
            *block(channels, 8, 1),
            *block(channels, 8, 1),
            nn.MaxPool1d(4, ceil_mode=True),
            # 16 to 18 steps, by the sampling rate; the linear layer needs a fixed number.
            nn.AdaptiveAvgPool1d(16),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(16 * channels, 128),
        )


class _SpectrogramEncoder(nn.Module):
    """Encode `(B, 1, T)` as `(B, 128)`.

    A Transformer runs over the log power of 2 s windows; its outputs are averaged.
    """

    def __init__(self, sfreq: int, depth: int, hidden: int) -> None:
        super().__init__()
        self.window = FRAME_S * sfreq
        self.bands = min(FRAME_S * TOP_HZ, self.window // 2)
        taper = torch.hann_window(self.window, dtype=torch.float64)
        self.register_buffer("taper", taper, persistent=False)
        self.norm = nn.BatchNorm1d(self.bands)
        self.embed = nn.Linear(self.bands, 128)
        layer = nn.TransformerEncoderLayer(128, 8, hidden, 0.1, "gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        # In float64, because a Fourier transform's last digits depend on the processor.
        frames = x.squeeze(1).double().unfold(1, self.window, self.window // 2)
        frames = frames * self.taper.double()
        # Without the constant, which depends on the electrode and not on sleep.
        power = torch.fft.rfft(frames).abs().square()[..., 1 : self.bands + 1] / self.window
        # 1e-4 keeps the logarithm of a flat clip finite.
        level = rounded((power + 1e-4).log(), 1024).to(x.dtype)
        steps = self.embed(self.norm(level.transpose(1, 2)).transpose(1, 2))
        return self.layers(steps + _positions(steps.shape[1], 128).to(steps)).mean(1)


def _positions(length: int, size: int) -> Tensor:
    """Sinusoidal position encoding `(length, size)` (Vaswani et al. 2017)."""
    # In float64: rounded to float32 it is the same on every processor.
    rate = 10_000 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.arange(length).unsqueeze(1) * rate
    return torch.stack((angle.sin(), angle.cos()), 2).flatten(1).float()
