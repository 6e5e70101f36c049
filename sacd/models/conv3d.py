"""Convolution, batch norm and pooling of the video students: exact, and fast on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sacd.models.numerics import linear


class Conv(nn.Conv3d):
    """A `Conv3d` without bias that picks the fastest exact computation on a CPU.

    Activations are channels-last in memory, where `(B, C, T, H, W)` is also `(B, C, T, H·W)`. A
    temporal kernel is then a 2-D convolution on the same memory. On a grid of at most 2x2 pixels,
    where most of a padded 3x3 window is padding, either kernel is one matrix product.

    Args:
        c_in, c_out: channels.
        kernel, stride: each as (temporal, spatial); kernel sizes are odd, and the padding is half
            of them.
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
        # Hara's initialisation; PyTorch's default would shrink the signal in each ReLU block.
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Convolve; `weight` and `bias` replace those of the layer if a batch norm is folded in."""
        weight = self.weight if weight is None else weight
        b, c, t, h, w = x.shape
        kernel_t, kernel_s, _ = self.kernel_size
        stride_t, stride_s, _ = self.stride
        if kernel_t == kernel_s == 1:  # a shortcut: one matrix product over the channels
            pixels = x.permute(0, 2, 3, 4, 1)[:, ::stride_t, ::stride_s, ::stride_s]
            return linear(pixels, weight.flatten(1), bias).permute(0, 4, 1, 2, 3)
        if kernel_t == 1 and kernel_s == 3 and h <= 2 and w <= 2:
            return self._small_grid(x, weight, bias)
        if kernel_s == 1 and h <= 2 and w <= 2:
            frames = F.pad(
                x.permute(0, 2, 3, 4, 1), (0, 0, 0, 0, 0, 0, kernel_t // 2, kernel_t // 2)
            )
            # Each output frame next to the kernel_t frames that it reads.
            taps = torch.cat([frames[:, i : i + t : stride_t] for i in range(kernel_t)], -1)
            return linear(taps, weight[..., 0, 0].mT.flatten(1), bias).permute(0, 4, 1, 2, 3)
        if kernel_s == 1:
            flat = F.conv2d(
                x.reshape(b, c, t, h * w), weight[..., 0], bias, (stride_t, 1), (kernel_t // 2, 0)
            )
            return flat.unflatten(3, (h, w))
        return F.conv3d(x, weight, bias, self.stride, self.padding)

    def _small_grid(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """A 1x3x3 kernel on at most 2x2 pixels: every output pixel reads every input pixel."""
        b, c, t, h, w = x.shape
        rows, columns = range(0, h, self.stride[1]), range(0, w, self.stride[2])
        taps = []
        # Output pixel o (a multiple of the stride) reads input pixel i through tap i - o + 1, which
        # always exists on a 2x2 grid. Each entry of taps is (C', C, 1, h, w).
        for o in rows:
            of_row = weight[..., 1 - o : 1 - o + h, :]
            taps += [of_row[..., 1 - o : 1 - o + w] for o in columns]
        # (pixels·C', h·w·C)
        matrix = torch.stack(taps).permute(0, 1, 3, 4, 5, 2).flatten(2).flatten(0, 1)
        pixels = x.permute(0, 2, 3, 4, 1).reshape(b * t, h * w * c)
        y = linear(pixels, matrix, None if bias is None else bias.repeat(len(taps)))
        return y.view(b, t, len(rows), len(columns), -1).permute(0, 4, 1, 2, 3)


def convolve(conv: Conv, norm: nn.Module, x: Tensor) -> Tensor:
    """Convolve and normalise.

    A batch norm with fixed statistics is folded into the weight. This saves one pass over the
    activations, forward and backward.
    """
    # Folding costs a pass over the weight instead, so it pays only where the activations are more.
    if isinstance(norm, nn.BatchNorm3d) and not norm.training and conv.weight.numel() < x.numel():
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return conv(
            x, conv.weight * scale.view(-1, 1, 1, 1, 1), norm.bias - norm.running_mean * scale
        )
    return norm(conv(x))


def max_pool(x: Tensor) -> Tensor:
    """Compute `MaxPool3d(3, 2, 1)` over space, then over time.

    The maximum over a cube is the maximum over time of those over its frames, so the result is the
    same. Two 2-D pools are faster than one 3-D pool for channels-last memory.
    """
    b, c, t, h, w = x.shape
    x = F.max_pool2d(x.transpose(1, 2).reshape(b * t, c, h, w), 3, 2, 1)
    h, w = x.shape[2:]
    x = x.unflatten(0, (b, t)).transpose(1, 2).reshape(b, c, t, h * w)
    return F.max_pool2d(x, (3, 1), (2, 1), (1, 0)).unflatten(3, (h, w))
