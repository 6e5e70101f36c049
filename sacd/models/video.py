"""Video students: R(2+1)D-18 and R3D-18 with the layout of Hara et al."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sacd.models.output import Output

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


class Conv(nn.Conv3d):
    """A `Conv3d` without bias that picks the fastest exact computation on a CPU.

    Activations are channels-last in memory, where `(B, C, T, H, W)` is also `(B, C, T, H·W)`. A
    temporal kernel is then a 2-D convolution on the same memory. A spatial kernel on a grid of at
    most 2x2 pixels is one matrix product.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)
    ) -> None:
        (kernel_t, kernel_s), (stride_t, stride_s) = kernel, stride
        super().__init__(
            c_in,
            c_out,
            (kernel_t, kernel_s, kernel_s),
            (stride_t, stride_s, stride_s),
            (kernel_t // 2, kernel_s // 2, kernel_s // 2),
            bias=False,
        )
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Convolve; `weight` and `bias` replace those of the layer if a batch norm is folded in."""
        weight = self.weight if weight is None else weight
        b, c, t, h, w = x.shape
        kernel_t, kernel_s, _ = self.kernel_size
        stride_t, stride_s, _ = self.stride
        if kernel_t == kernel_s == 1:
            pixels = x.permute(0, 2, 3, 4, 1)[:, ::stride_t, ::stride_s, ::stride_s]
            return F.linear(pixels, weight.flatten(1), bias).permute(0, 4, 1, 2, 3)
        if kernel_t == 1 and kernel_s == 3 and h <= 2 and w <= 2:
            return self._small_grid(x, weight, bias)
        if kernel_s == 1 and h <= 2 and w <= 2:
            frames = F.pad(
                x.permute(0, 2, 3, 4, 1), (0, 0, 0, 0, 0, 0, kernel_t // 2, kernel_t // 2)
            )
            taps = torch.cat([frames[:, i : i + t : stride_t] for i in range(kernel_t)], -1)
            return F.linear(taps, weight[..., 0, 0].mT.flatten(1), bias).permute(0, 4, 1, 2, 3)
        if kernel_s == 1:
            flat = F.conv2d(
                x.reshape(b, c, t, h * w), weight[..., 0], bias, (stride_t, 1), (kernel_t // 2, 0)
            )
            return flat.unflatten(3, (h, w))
        return F.conv3d(x, weight, bias, self.stride, self.padding)

    def _small_grid(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        b, c, t, h, w = x.shape
        # Output pixel o (a multiple of the stride) reads input pixel i through tap i - o + 1, which
        # always exists on a 2x2 grid. Each entry of taps is (C', C, 1, h, w).
        rows = [weight[..., 1 - o : 1 - o + h, :] for o in range(0, h, self.stride[1])]
        taps = [r[..., 1 - o : 1 - o + w] for r in rows for o in range(0, w, self.stride[2])]
        # (pixels·C', h·w·C)
        matrix = torch.stack(taps).permute(0, 1, 3, 4, 5, 2).flatten(2).flatten(0, 1)
        pixels = x.permute(0, 2, 3, 4, 1).reshape(b * t, h * w * c)
        y = F.linear(pixels, matrix, None if bias is None else bias.repeat(len(taps)))
        return y.view(b, t, len(rows), len(taps) // len(rows), -1).permute(0, 4, 1, 2, 3)


def convolve(conv: Conv, norm: nn.Module, x: Tensor) -> Tensor:
    """Convolve and normalise.

    A batch norm with fixed statistics is folded into the weight. This saves one pass over the
    activations, forward and backward.
    """
    if isinstance(norm, nn.BatchNorm3d) and not norm.training and conv.weight.numel() < x.numel():
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return conv(
            x, conv.weight * scale.view(-1, 1, 1, 1, 1), norm.bias - norm.running_mean * scale
        )
    return norm(conv(x))


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
        for name in [
            name for name in self._modules if name.startswith("conv") and name.endswith("_s")
        ]:
            space, time = self._modules[name].weight, self._modules[f"{name[:-1]}t"].weight
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
    stage is narrower, with one more linear layer to the 512-d embedding) and other temporal strides
    are for long clips of few pixels on a CPU.

    Args:
        conv: "r2plus1d" (1x3x3 then 3x1x1) or "r3d" (3x3x3).
        width: factor > 0 on the channels of every stage, `int(64·width)` ....
        in_channels: 1 (grey), 2 (grey and frame difference) or 3 (colour).
        n_classes: number of sleep stages.
        blocks: number of basic blocks in each stage.
        stem_kernel: spatial size of the kernel of the stem in px, odd.
        strides_t: temporal strides of the max pool and the four stages.
        max_pool: False keeps the grid of the stem, which is twice as fine in height and width and
            has no temporal stride.
        freeze_norm_statistics: batch norms always use their running statistics, because those of a
            batch from one night are not representative.
        embedding: length of the embedding.
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
        strides_t: Sequence[int] = (2, 1, 2, 2, 2),
        max_pool: bool = True,
        freeze_norm_statistics: bool = False,
        embedding: int = 512,
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
        self.in_channels, self.max_pool, self.pool_stride_t = in_channels, max_pool, strides_t[0]
        self.freeze_norm_statistics, self.frozen = freeze_norm_statistics, 0
        # The published networks have 3 input channels. With 3 in the formula, a grey network has
        # the same 110 middle channels and can load their weights.
        mid = mid_channels(3, channels[0], 7, stem_kernel)
        self.add(1, conv, in_channels, channels[0], (7, stem_kernel), (1, 2), mid)
        for i, (c_in, c_out, n) in enumerate(
            zip(channels[:1] + channels[:-1], channels, blocks, strict=True)
        ):
            first = Block(conv, c_in, c_out, (strides_t[1 + i], 2 if i else 1))
            rest = [Block(conv, c_out, c_out, (1, 1)) for _ in range(n - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(first, *rest))
        self.project = (
            nn.Identity() if channels[-1] == embedding else nn.Linear(channels[-1], embedding)
        )
        self.fc = nn.Linear(embedding, n_classes)
        if init == "looks_linear":
            for units in [m for m in self.modules() if isinstance(m, _Units)]:
                units.mirrored_init()
        self.train()

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
        # With one channel both layouts are the same memory, and torch assumes channels-first.
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
        x = F.relu_(self.unit(1, x))
        return max_pool(x, self.pool_stride_t) if self.max_pool else x

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
            for norm in (
                m for module in modules for m in module.modules() if isinstance(m, nn.BatchNorm3d)
            ):
                norm.train(mode and i >= self.frozen and not self.freeze_norm_statistics)
        return self


def max_pool(x: Tensor, stride_t: int) -> Tensor:
    """Compute `MaxPool3d(3, (stride_t, 2, 2), 1)` over space, then over time.

    The result is the same, and it is faster for channels-last memory.
    """
    b, c, t, h, w = x.shape
    x = F.max_pool2d(x.transpose(1, 2).reshape(b * t, c, h, w), 3, 2, 1)
    h, w = x.shape[2:]
    x = x.unflatten(0, (b, t)).transpose(1, 2).reshape(b, c, t, h * w)
    return F.max_pool2d(x, (3, 1), (stride_t, 1), (1, 0)).unflatten(3, (h, w))


class Tail(nn.Module):
    """A `VideoResNet` without its first k parts: a student on cached `frozen_stem` features."""

    def __init__(self, model: VideoResNet, k: int) -> None:
        super().__init__()
        self.model, self.k = model.freeze(k), k

    def forward(self, h: Tensor) -> Output:
        return self.model.tail(h, self.k)
