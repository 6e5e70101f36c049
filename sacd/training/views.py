"""What a video student sees of stored frames: window, crop, mirroring, standardised pixels."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sacd.config import BackboneConfig
from sacd.data.store import StoreConfig

MEAN, SPREAD = (0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737)
"""Of red, green and blue in the training of the published weights, for pixels of 0..1.

Source: github.com/kenshohara/3D-ResNets-PyTorch.
"""


class View(NamedTuple):
    """How the clips of a batch are seen; the default is the view of an evaluation."""

    flip: int = 0
    """Of all clips: 0 none, 1 vertical, 2 horizontal, 3 both."""
    mirrored: Tensor | None = None
    """`(B,)` bool: which clips are flipped horizontally."""
    crops: Tensor | None = None
    """`(B, 3)` of 0..1: side of a square as a share of the frame's short side, and its place down
    and across the frame. None: the square of the short side in the centre."""
    window: Tensor | int | None = None
    """Which stored window of each clip, `(B,)`, or of all; None: the middle one."""


def random_view(
    backbone: BackboneConfig, clips: int, generator: torch.Generator, windows: int = 1
) -> View:
    """The augmentation of a training batch; nothing but the generator decides it.

    Args:
        windows: `windows_of` the student.
    """
    if backbone.flips == "four":
        view = View(flip=int(torch.randint(4, (), generator=generator)))
    else:
        view = View(mirrored=torch.rand(clips, generator=generator) < 0.5)
    if windows > 1:
        view = view._replace(window=torch.randint(windows, (clips,), generator=generator))
    if not backbone.crop:
        return view
    crops = torch.rand(clips, 3, generator=generator)
    # The area is uniform, so the side is a square root.
    crops[:, 0] = (backbone.crop_area + (1 - backbone.crop_area) * crops[:, 0]).sqrt()
    return view._replace(crops=crops)


def windows_of(backbone: BackboneConfig, store: StoreConfig) -> int:
    """Windows of a clip that a student can be given; of cached inputs there is the middle one."""
    return 1 if backbone.frozen or backbone.input == "motion" else store.parts


def evaluation_views(windows: int) -> list[View]:
    """Views whose mean is the evaluation of a student."""
    return [View(window=k) for k in range(windows)] if windows > 1 else [View()]


def seen(x: Tensor, view: View, backbone: BackboneConfig) -> Tensor:
    """Crop and flip clips `(B, C, T, H, W)`, on their device; all frames of a clip alike."""
    x = _cropped(x, view.crops, backbone.crop) if backbone.crop else x
    if view.flip:
        x = x.flip([d for d in (3, 4) if view.flip & (d - 2)])
    if view.mirrored is None:
        return x
    mirrored = view.mirrored.to(x.device, non_blocking=True)[:, None, None, None, None]
    return torch.where(mirrored, x.flip(4), x)


def _cropped(x: Tensor, crops: Tensor | None, side: int) -> Tensor:
    """Squares of the frames, resized to `side` pixels by bilinear interpolation."""
    b, c, t, h, w = x.shape
    short = min(h, w)
    if crops is None:
        top, left = (h - short) // 2, (w - short) // 2
        x = x[..., top : top + short, left : left + short]
        if short == side:
            return x
        small = F.interpolate(x.flatten(1, 2), (side, side), mode="bilinear", align_corners=False)
        return small.unflatten(1, (c, t))
    # Coordinates of `affine_grid` run from -1 to 1 over the frame: a square has a share of the
    # width and of the height, and its centre may be as far from the frame's as the rest allows.
    across, down = crops[:, 0] * short / w, crops[:, 0] * short / h
    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = across, down
    theta[:, 0, 2] = (1 - across) * (2 * crops[:, 2] - 1)
    theta[:, 1, 2] = (1 - down) * (2 * crops[:, 1] - 1)
    theta = theta.to(x.device, non_blocking=True)
    grid = F.affine_grid(theta, [b, c * t, side, side], align_corners=False)
    small = F.grid_sample(x.flatten(1, 2), grid, align_corners=False, padding_mode="border")
    return small.unflatten(1, (c, t))


def input_of(frames: Tensor, view: View, backbone: BackboneConfig) -> Tensor:
    """A student's input from frames `(B, T, H, W)` uint8, for all inputs but "motion".

    Returns:
        `(B, 1, T, H, W)`, or `(B, 3, T, H, W)` with three equal pictures that are standardised as
        red, green and blue.
    """
    x = seen(frames.float()[:, None], view, backbone) / 255
    if backbone.input == "frames":
        return (x - 0.4) / 0.28
    # Channel by channel: a tensor of the three numbers would have to be copied to the GPU.
    channels = zip(MEAN, SPREAD, strict=True)
    return torch.cat([(x - mean) / spread for mean, spread in channels], dim=1)
