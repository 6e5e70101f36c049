"""Input of the video students: motion without appearance and flicker; pixel statistics of it.

A narrow network that is trained on raw frames memorises the subjects, and a gain change of 0.4 %
from frame to frame hides the breathing.
"""

import torch
from torch import Tensor

GREY = 16.0
"""Added to grey levels before the logarithm, so that dark regions do not amplify sensor noise."""

COMPONENTS = 3
"""Temporal components that `pixel_facts` describes."""


def motion(frames: Tensor) -> Tensor:
    """Two channels per clip: deviation from the recent frames, and its change between frames.

    1. Half resolution, which averages out camera noise. Then `x_t = log(frame_t + GREY)` minus its
       mean over time: the still image is gone, and gains have become offsets.
    2. The light of each frame (flicker, uneven changes) is modelled as a quadratic over the image,
       fitted to the pixels by least squares and subtracted. The fit is done twice; the second one
       gives most weight to pixels that hardly move (weights from the first residual). The result
       is invariant to any such light.
    3. Minus a running mean over a fifth of the clip (6 s of 30 s). Light that drifts over the image
       is slower than a breath and would otherwise dominate it.
    4. Divided by the deviation s of the pixels that move most (90 % quantile) and compressed:
       `asinh(r / 3s)`. Breathing stays in the linear range, and turning over does not dwarf it.

    Args:
        frames: `(B, T, H, W)` uint8 or float, grey levels 0..255, evenly spread over the clip; H
            and W even.

    Returns:
        `(B, 2, T, H/2, W/2)` float32, about unit scale.
    """
    return with_change(motion_level(frames))


def with_change(level: Tensor) -> Tensor:
    """Adds the second channel to the first: `(B, T, H, W)` to `(B, 2, T, H, W)` float32."""
    level = level.float()
    return torch.stack([level, torch.diff(level, dim=1, prepend=level[:, :1])], dim=1)


def motion_level(frames: Tensor) -> Tensor:
    """The first channel of `motion`, `(B, T, H/2, W/2)`."""
    frames = torch.nn.functional.avg_pool2d(frames.float(), 2)
    batch, time, height, width = frames.shape
    x = torch.log(frames + GREY).flatten(2)
    x = x - x.mean(dim=1, keepdim=True)
    light = _quadratic(height, width).to(x)  # (6, HW)
    residual, weight = x, torch.ones(batch, 1, height * width).to(x)
    for _ in range(2):
        basis = light * weight  # (B, 6, HW)
        # A small ridge: where few pixels have weight, the six functions are nearly dependent.
        gram = basis @ light.T + 1e-6 * torch.eye(len(light)).to(x)
        coefficients = torch.linalg.solve(gram, basis @ x.transpose(1, 2))  # (B, 6, T)
        residual = x - coefficients.transpose(1, 2) @ light
        spread = residual.abs().mean(dim=1, keepdim=True)
        # Pixels that do not move show the light alone: the more a pixel moves over the clip, the
        # lower its weight.
        weight = 1 / (1 + (spread / (spread.median(dim=2, keepdim=True).values + 1e-6)) ** 2)
    # The running mean over a fifth of the clip; its ends repeat the first and the last frame.
    half = max(1, time // 10)
    padded = torch.nn.functional.pad(residual.transpose(1, 2), (half, half), mode="replicate")
    residual = residual - torch.nn.functional.avg_pool1d(padded, 2 * half + 1, 1).transpose(1, 2)
    moving = residual.abs().mean(dim=1).quantile(0.9, dim=1)[:, None, None] + 1e-6
    return torch.asinh(residual / (3 * moving)).unflatten(2, (height, width))


def _quadratic(height: int, width: int) -> Tensor:
    """The functions 1, y, x, y^2, yx, x^2 over an image, `(6, H*W)`."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    return torch.stack([torch.ones_like(x), y, x, y * y, y * x, x * x]).flatten(1)


def pixel_facts(clip: Tensor) -> Tensor:
    """Statistics of a clip's motion, the regression targets of the pretext task.

    They come from pixels alone, without labels or simulator truth. From the change between frames:
    its energy over time (in order and sorted), its largest local values, and how long it stays well
    above its resting level. From the leading temporal components (principal directions of
    `(T, H*W)`): share of the variance, spectrum, autocorrelation at the periods of breathing, and
    variation of the envelope. No statistic depends on the sign of a component.

    Args:
        clip: `(B, 2, T, H, W)` of `motion`.

    Returns:
        `(B, F)` float32, not standardised.
    """
    level, change = clip.float().unbind(1)
    return torch.cat([_change_facts(change), _component_facts(level)], dim=1)


def _change_facts(change: Tensor) -> Tensor:
    """`(B, F)`: how much the frames `(B, T, H, W)` change, when, and for how long."""
    facts = []
    energy = change.square().mean(dim=(2, 3)).clamp_min(1e-8).log()
    local = _quantiles(change.abs().flatten(2), 0.98)[..., 0].clamp_min(1e-6).log()
    for course in (energy, local):
        rest = _quantiles(course, 0.2)
        bins = torch.nn.functional.adaptive_max_pool1d((course - rest)[:, None], 8)[:, 0]
        facts += [
            rest,
            bins,
            bins.sort(dim=1).values,
            _quantiles(course - rest, 0.5, 0.75, 0.9, 0.97),
        ]
        facts += [((course - rest) > height).float().mean(dim=1, keepdim=True) for height in (1, 2)]
    largest = change.abs().amax(dim=1).flatten(1)
    facts.append(_quantiles(largest, 0.1, 0.5, 0.9, 0.98).clamp_min(1e-6).log())
    return torch.cat(facts, dim=1)


def _component_facts(level: Tensor) -> Tensor:
    """`(B, F)`: strength and rhythm of the leading temporal components of `(B, T, H, W)`."""
    time = level.shape[1]
    flat = level.flatten(2)
    flat = flat - flat.mean(dim=1, keepdim=True)
    values, vectors = torch.linalg.eigh(flat @ flat.transpose(1, 2) / flat.shape[2])
    # (B, COMPONENTS, T) of unit variance, strongest first; eigh sorts in ascending order.
    score = vectors[..., -COMPONENTS:].flip(-1).transpose(1, 2) * time**0.5
    strength = values[:, -COMPONENTS:].flip(-1).clamp_min(1e-8)
    power = torch.fft.rfft(score * torch.hann_window(time).to(score), dim=2).abs().square()[..., 1:]
    power = power / power.sum(dim=2, keepdim=True).clamp_min(1e-8)
    # Autocorrelation by FFT; padding to twice the length makes it linear, not circular.
    padded = torch.fft.rfft(score, n=2 * time, dim=2)
    own = torch.fft.irfft(padded.abs().square(), dim=2)[..., :time]
    own = own / own[..., :1].clamp_min(1e-6)
    envelope = torch.nn.functional.avg_pool1d(score.abs(), time // 8, time // 16)
    envelope = envelope / envelope.mean(dim=2, keepdim=True).clamp_min(1e-6)
    facts = [
        strength.log(),
        strength / values.sum(dim=1, keepdim=True).clamp_min(1e-8),
        torch.nn.functional.adaptive_avg_pool1d(power, 16).clamp_min(1e-5).log().flatten(1),
        -(power * power.clamp_min(1e-8).log()).sum(dim=2),
        (power * torch.arange(power.shape[2]).to(power)).sum(dim=2),
        power.amax(dim=2),
        own[..., time // 16 : time // 4].amax(dim=2),  # lags of 2 to 7 s
        own[..., time // 8 : time * 7 // 16].amax(dim=2),  # lags of 4 to 13 s: two breaths
        envelope.std(dim=2),
        envelope.amin(dim=2),
        envelope.amax(dim=2),
        (score[..., 1:] * score[..., :-1] < 0).float().sum(dim=2),
        score.pow(4).mean(dim=2).clamp_min(1e-6).log(),
    ]
    return torch.cat(facts, dim=1)


def _quantiles(x: Tensor, *share: float) -> Tensor:
    """Quantiles over the last dimension, as the new last one."""
    return torch.quantile(x, torch.tensor(share).to(x), dim=-1).movedim(0, -1)
