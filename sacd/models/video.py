"""Video students: R(2+1)D-18 and R3D-18 with the layout of Hara et al."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sacd.models.conv3d import Conv, convolve, max_pool
from sacd.models.numerics import Linear
from sacd.models.output import EMBEDDING, Output

Kind = Literal["r2plus1d", "r3d"]
Init = Literal["kaiming", "looks_linear"]

_CHANNELS = (64, 128, 256, 512)


def mid_channels(c_in: int, c_out: int, kernel_t: int = 3, kernel_s: int = 3) -> int:
    """Channels between the spatial and the temporal half of a (2+1)-D convolution.

    floor(t d² N_in N_out / (d² N_in + t N_out)) for a kernel t x d x d: both halves together have
    about as many parameters as the 3-D convolution.

    Source: Tran et al. 2018, arXiv:1711.11248, section 3.5.

    >>> mid_channels(64, 64), mid_channels(3, 64, 7, 7)
    (144, 110)
    """
    area = kernel_s**2
    return kernel_t * area * c_in * c_out // (area * c_in + kernel_t * c_out)


class _Units(nn.Module):
    """Numbered convolutions whose attribute names are the state-dict keys of Hara's networks."""

    def add(
        self,
        n: int,
        kind: Kind,
        c_in: int,
        c_out: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        mid: int,
    ) -> None:
        (kernel_t, kernel_s), (stride_t, stride_s) = kernel, stride
        if kind == "r2plus1d":
            self.add_module(f"conv{n}_s", Conv(c_in, mid, (1, kernel_s), (1, stride_s)))
            self.add_module(f"bn{n}_s", nn.BatchNorm3d(mid))
            self.add_module(f"conv{n}_t", Conv(mid, c_out, (kernel_t, 1), (stride_t, 1)))
            self.add_module(f"bn{n}_t", nn.BatchNorm3d(c_out))
        elif kind == "r3d":
            self.add_module(f"conv{n}", Conv(c_in, c_out, kernel, stride))
            self.add_module(f"bn{n}", nn.BatchNorm3d(c_out))
        else:
            raise ValueError(f"conv {kind!r} is unknown; known: r2plus1d, r3d")

    @torch.no_grad()
    def mirrored_init(self) -> None:
        """Make the unit linear at the start: filters and the weights on them come in pairs f, -f.

        The second half of the spatial filters is minus the first, and so are the temporal weights
        on their outputs.
        """
        for name in self._modules:
            if not (name.startswith("conv") and name.endswith("_s")):
                continue
            space, time = self._modules[name].weight, self._modules[f"{name[:-1]}t"].weight
            # With r = ReLU: w r(f x) - w r(-f x) = w f x. An odd filter is left without a partner.
            half = len(space) // 2
            space[half : 2 * half] = -space[:half]
            time[:, half : 2 * half] = -time[:, :half]

    def unit(self, n: int, x: Tensor) -> Tensor:
        if f"conv{n}" in self._modules:
            return convolve(self._modules[f"conv{n}"], self._modules[f"bn{n}"], x)
        x = F.relu_(convolve(self._modules[f"conv{n}_s"], self._modules[f"bn{n}_s"], x))
        return convolve(self._modules[f"conv{n}_t"], self._modules[f"bn{n}_t"], x)


class Block(_Units):
    """Basic residual block: two 3x3x3 units and a shortcut of type B.

    Type B is a 1x1x1 convolution with norm where the shape changes, and the identity elsewhere.
    """

    def __init__(self, kind: Kind, c_in: int, c_out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.add(1, kind, c_in, c_out, (3, 3), stride, mid_channels(c_in, c_out))
        self.add(2, kind, c_out, c_out, (3, 3), (1, 1), mid_channels(c_out, c_out))
        same = stride == (1, 1) and c_in == c_out
        self.downsample = (
            None
            if same
            else nn.Sequential(Conv(c_in, c_out, (1, 1), stride), nn.BatchNorm3d(c_out))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.unit(2, F.relu_(self.unit(1, x)))
        return F.relu_(y + (x if self.downsample is None else convolve(*self.downsample, x)))


class VideoResNet(_Units):
    """Video student E_v, C_v: R(2+1)D-18 or R3D-18 as published by Hara et al.

    A 7x7x7 stem of stride (1, 2, 2) and a max pool 3 of stride 2 come first, then four stages of
    two basic blocks with 64, 128, 256 and 512 channels. A global average pool gives the 512-d
    embedding, and one linear layer the sleep stages. At width 1, parameter names and shapes are
    those of the published weights (`sacd.models.pretrained.load_pretrained`).

    Source: arXiv:1711.09577, arXiv:2004.04968.

    Deviation: the paper trains 16 frames of 112x112 pixels at full width; a width below 1 (every
    stage is narrower, with one more linear layer to the 512-d embedding) is for long clips of few
    pixels on a CPU.

    Args:
        conv: "r2plus1d" (1x3x3 then 3x1x1) or "r3d" (3x3x3).
        width: factor > 0 on the channels of every stage, `int(64·width)` ....
        in_channels: 1 (grey), 2 (grey and frame difference) or 3 (colour).
        n_classes: number of sleep stages.
        blocks: number of basic blocks in each stage.
        stem_kernel: spatial size of the kernel of the stem in px, odd.
        init: "looks_linear" (Balduzzi et al. 2017, arXiv:1702.08591) fills the spatial half of an
            r2plus1d unit with pairs of filters f, -f and the temporal half with weights w, -w. The
            unit then starts as if it had no inner ReLU. Otherwise a narrow network loses the
            sign of the breathing motion. No effect on "r3d".

    Raises:
        ValueError: `conv` or `init` is unknown, or `width` leaves no channel.

    >>> student = VideoResNet(width=0.125, in_channels=1)
    >>> [tuple(t.shape) for t in student(torch.zeros(2, 1, 16, 32, 32))[:2]]
    [(2, 512), (2, 5)]
    """

    def __init__(
        self,
        conv: Kind = "r2plus1d",
        width: float = 1.0,
        in_channels: int = 3,
        n_classes: int = 5,
        blocks: Sequence[int] = (2, 2, 2, 2),
        stem_kernel: int = 7,
        init: Init = "kaiming",
    ) -> None:
        super().__init__()
        if init not in get_args(Init):
            raise ValueError(f"init {init!r} is unknown; known: {', '.join(get_args(Init))}")
        channels = [int(c * width) for c in _CHANNELS]
        if channels[0] < 1:
            raise ValueError(
                f"width {width} leaves the stem without a channel; give at least {1 / _CHANNELS[0]}"
            )
        self.in_channels = in_channels
        self.frozen = 0
        # The published networks have 3 input channels. With 3 in the formula, a grey network has
        # the same 110 middle channels and can load their weights.
        mid = mid_channels(3, channels[0], 7, stem_kernel)
        self.add(1, conv, in_channels, channels[0], (7, stem_kernel), (1, 2), mid)
        for i, (c_in, c_out, n) in enumerate(
            zip(channels[:1] + channels[:-1], channels, blocks, strict=True)
        ):
            # Stage 1 keeps the grid, because the max pool has halved it just before.
            first = Block(conv, c_in, c_out, (2, 2) if i else (1, 1))
            rest = [Block(conv, c_out, c_out, (1, 1)) for _ in range(n - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(first, *rest))
        self.project = (
            nn.Identity() if channels[-1] == EMBEDDING else Linear(channels[-1], EMBEDDING)
        )
        self.fc = Linear(EMBEDDING, n_classes)
        # After all draws: mirroring takes none, so both values of `init` draw the same numbers.
        if init == "looks_linear":
            for module in self.modules():
                if isinstance(module, _Units):
                    module.mirrored_init()
        self.train()  # our `train`, which the statistics of frozen batch norms need

    def forward(self, x: Tensor) -> Output:
        """Classify clips `(B, C, T, H, W)`; features are those of the four stages."""
        return self.tail(self.frozen_stem(x, 0), 0)

    def frozen_stem(self, x: Tensor, k: int) -> Tensor:
        """Run the first k parts of (stem, stages 1, 2, 3).

        Frozen parts have to run only once per clip; `tail` continues from their features.

        Args:
            x: clips `(B, C, T, H, W)`.
            k: number of parts, 0..4.

        Returns:
            Features `(B, C', T', H', W')`.

        Raises:
            ValueError: `x` has another number of dimensions or channels.
        """
        if x.dim() != 5 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"clips of shape {tuple(x.shape)}: expected (B, {self.in_channels}, T, H, W)"
            )
        x = x.contiguous(memory_format=torch.channels_last_3d)
        # With one channel both layouts are the same memory, and torch assumes channels-first. The
        # strides say that it is channels-last, which all following layers then keep.
        if self.in_channels == 1:
            _, _, t, h, w = x.shape
            x = x.as_strided(x.shape, (t * h * w, 1, h * w, w, 1))
        for part in range(k):
            x = self._part(part, x)
        return x

    def tail(self, h: Tensor, k: int) -> Output:
        """Run the parts after `frozen_stem`: `forward(x) == tail(frozen_stem(x, k), k)`.

        Returns:
            Embedding, logits and the features of the stages computed here.
        """
        # Cached features may come in any layout; rounding would depend on it.
        h = h.contiguous(memory_format=torch.channels_last_3d)
        features = []
        for part in range(k, 5):
            h = self._part(part, h)
            if part:
                features.append(h)
        embedding = self.project(h.mean((2, 3, 4)))
        return Output(embedding, self.fc(embedding), tuple(features))

    def _part(self, part: int, x: Tensor) -> Tensor:
        if part:
            return self._modules[f"layer{part}"](x)
        return max_pool(F.relu_(self.unit(1, x)))

    def _parts(self) -> list[list[nn.Module]]:
        """Modules of (stem, stage 1..4)."""
        stem = [m for name, m in self._modules.items() if name.startswith(("conv1", "bn1"))]
        return [stem] + [[self._modules[f"layer{i}"]] for i in range(1, 5)]

    def freeze(self, k: int) -> "VideoResNet":
        """Freeze the first k parts of (stem, stages 1..4) and make the rest trainable.

        Frozen parts get no gradient, and their batch norms use the running statistics.

        Raises:
            ValueError: `k` is outside 0..5.
        """
        if not 0 <= k <= 5:
            raise ValueError(f"k {k} is outside 0..5 (stem, four stages)")
        self.frozen = k
        for i, modules in enumerate(self._parts()):
            for module in modules:
                module.requires_grad_(i >= k)
        return self.train(self.training)

    def train(self, mode: bool = True) -> "VideoResNet":
        super().train(mode)
        for i, modules in enumerate(self._parts()):
            # `requires_grad` stops the gradient only: a batch norm in training mode would still
            # update its statistics, and the cached features of a frozen part would go stale.
            updates = mode and i >= self.frozen
            for part in nn.ModuleList(modules).modules():
                if isinstance(part, nn.BatchNorm3d):
                    part.train(updates)
        return self


class Tail(nn.Module):
    """A `VideoResNet` without its first k parts: a student on cached `frozen_stem` features."""

    def __init__(self, model: VideoResNet, k: int) -> None:
        super().__init__()
        self.model, self.k = model.freeze(k), k

    def forward(self, h: Tensor) -> Output:
        return self.model.tail(h, self.k)
