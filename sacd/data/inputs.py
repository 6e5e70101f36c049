"""What a student sees of a clip: motion without the sleeper's appearance and without flicker; and pixel facts.

A narrow network trained on raw frames memorises the sleeper, and a gain change of 0.4 % a frame buries the breathing.
"""

import torch
from torch import Tensor

GREY = 16.0
"""Added to grey levels before dividing, so that black regions do not amplify sensor noise."""


def motion(frames: Tensor) -> Tensor:
    """Two channels of motion of each clip: deviation from the clip's median image, and its change from frame to frame.

    1. `x_t = log(frame_t + GREY)`, minus its mean over time: the still image is gone, gains are offsets.
    2. Each frame's offset and linear slope over the picture (flicker, drifting light) are fitted to the pixels by least
       squares, twice, the second time mostly to pixels that stay still (weights from the first residual), and subtracted.
       The result does not change by any such light.
    3. The residual minus its median over time, in units of the deviation of the still pixels, compressed: `asinh(r / s)`.

    Args:
        frames: `(B, T, H, W)` uint8 or float, grey levels 0..255.

    Returns:
        `(B, 2, T, H, W)` float32, about unit scale.
    """
    return with_change(motion_level(frames))


def with_change(level: Tensor) -> Tensor:
    """The two channels from the first: `(B, T, H, W)` to `(B, 2, T, H, W)` float32."""
    level = level.float()
    return torch.stack([level, torch.diff(level, dim=1, prepend=level[:, :1])], dim=1)


def motion_level(frames: Tensor) -> Tensor:
    """The first channel of `motion`, `(B, T, H, W)`."""
    batch, time, height, width = frames.shape
    x = torch.log(frames.float() + GREY)
    x = (x - x.mean(dim=1, keepdim=True)).reshape(batch, time, height * width)
    rows = torch.linspace(-1, 1, height).to(x)
    columns = torch.linspace(-1, 1, width).to(x)
    plane = torch.stack([torch.ones(height, width).to(x), *torch.meshgrid(rows, columns, indexing="ij")]).flatten(1)
    # Still pixels say what the light does: each pixel's weight falls with how much it moves over the clip.
    weight = torch.ones(batch, height * width).to(x)
    for _ in range(2):
        basis = plane * weight[:, None]  # (B, 3, HW)
        gram = basis @ plane.T + 1e-6 * torch.eye(3).to(x)
        light = torch.linalg.solve(gram, (x @ basis.transpose(1, 2)).transpose(1, 2))  # (B, 3, T)
        residual = x - (plane.T @ light).transpose(1, 2)
        spread = residual.abs().mean(dim=1)
        still = spread.median(dim=1, keepdim=True).values + 1e-6
        weight = 1 / (1 + (spread / still) ** 2)
    residual = residual - residual.median(dim=1, keepdim=True).values
    return torch.asinh(residual / (2 * still[:, None])).reshape(batch, time, height, width)


def pixel_facts(clip: Tensor, components: int = 3, bands: int = 10) -> Tensor:
    """Facts about a clip's motion that the pretext task regresses; from pixels alone, no label, no simulator truth.

    Energy of change over time (8 bins and its quantiles), how much of the picture moves, and of the leading temporal
    components (principal directions of `(T, H*W)`): spectrum in bands, height and place of its peak, and how
    much the envelope varies.

    Args:
        clip: `(B, 2, T, H, W)` of `motion`.

    Returns:
        `(B, F)` float32, unstandardised.
    """
    level, change = clip.float().unbind(1)
    time = level.shape[1]
    energy = change.square().mean(dim=(2, 3)).clamp_min(1e-8).log()
    bins = torch.nn.functional.adaptive_avg_pool1d(energy[:, None], 8)[:, 0]
    quantiles = torch.quantile(energy, torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]).to(energy), dim=1).T
    area = change.square().mean(dim=1).flatten(1)
    area = torch.quantile(area.clamp_min(1e-8).log(), torch.tensor([0.1, 0.5, 0.9, 0.99]).to(area), dim=1).T

    flat = level.flatten(2)
    flat = flat - flat.mean(dim=1, keepdim=True)
    values, vectors = torch.linalg.eigh(flat @ flat.transpose(1, 2) / flat.shape[2])
    scores = vectors[..., -components:].transpose(1, 2)  # (B, components, T), unit norm
    strength = values[:, -components:].clamp_min(1e-8).log()
    power = torch.fft.rfft(scores * torch.hann_window(time).to(scores), dim=2).abs().square()[..., 1:]
    power = power / power.sum(dim=2, keepdim=True).clamp_min(1e-8)
    spectrum = torch.nn.functional.adaptive_avg_pool1d(power, bands).clamp_min(1e-6).log().flatten(1)
    peak = power.max(dim=2)
    entropy = -(power * power.clamp_min(1e-8).log()).sum(dim=2)
    centre = (power * torch.arange(power.shape[2]).to(power)).sum(dim=2)
    envelope = torch.nn.functional.avg_pool1d(scores.square(), 8, 4)
    varies = envelope.std(dim=2) / envelope.mean(dim=2).clamp_min(1e-8)
    place = torch.log1p(peak.indices.float())
    return torch.cat(
        [bins, quantiles, area, strength, spectrum, peak.values, place, entropy, centre.log1p(), varies], dim=1
    )
