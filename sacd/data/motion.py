"""What a student sees of a clip: motion without the subject's appearance and without flicker; and pixel facts.

A narrow network trained on raw frames memorises the subject, and a gain change of 0.4 % a frame
buries the breathing.
"""

import torch
from torch import Tensor

GREY = 16.0
"""Added to grey levels before dividing, so that black regions do not amplify sensor noise."""


def motion(frames: Tensor) -> Tensor:
    """Two channels of motion of each clip: deviation from the recent picture, and its change from frame to frame.

    1. Half resolution (camera noise averages out), then `x_t = log(frame_t + GREY)`, minus its mean
    over time: the
       still image is gone, gains are offsets.
    2. The light of each frame (flicker, uneven changes), a quadratic over the picture, is fitted to
    the pixels by least
       squares and subtracted; twice, the second time mostly to pixels that stay still (weights from
       the first residual). The result does not change by any such light.
    3. Minus its running mean over a fifth of the clip (6 s of 30 s): light that drifts over the
    picture is slower than
       a breath, and else outweighs it.
    4. In units of the deviation of the pixels that move most (90 % quantile), compressed:
    `asinh(r / 3s)`. A breath
       stays in the linear range, a turn of the body does not dwarf it.

    Args:
        frames: `(B, T, H, W)` uint8 or float, grey levels 0..255, evenly spread over the clip; H
            and W even.

    Returns:
        `(B, 2, T, H/2, W/2)` float32, about unit scale.
    """
    return with_change(motion_level(frames))


def with_change(level: Tensor) -> Tensor:
    """The two channels from the first: `(B, T, H, W)` to `(B, 2, T, H, W)` float32."""
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
        gram = basis @ light.T + 1e-6 * torch.eye(len(light)).to(x)
        coefficients = torch.linalg.solve(gram, basis @ x.transpose(1, 2))  # (B, 6, T)
        residual = x - coefficients.transpose(1, 2) @ light
        spread = residual.abs().mean(dim=1, keepdim=True)
        # Still pixels say what the light does: a pixel's weight falls with how much it moves over
        # the clip.
        weight = 1 / (1 + (spread / (spread.median(dim=2, keepdim=True).values + 1e-6)) ** 2)
    half = max(1, time // 10)
    padded = torch.nn.functional.pad(residual.transpose(1, 2), (half, half), mode="replicate")
    residual = residual - torch.nn.functional.avg_pool1d(padded, 2 * half + 1, 1).transpose(1, 2)
    moving = residual.abs().mean(dim=1).quantile(0.9, dim=1)[:, None, None] + 1e-6
    return torch.asinh(residual / (3 * moving)).unflatten(2, (height, width))


def _quadratic(height: int, width: int) -> Tensor:
    """1, y, x, y^2, yx, x^2 over a picture, `(6, H*W)`."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    return torch.stack([torch.ones_like(x), y, x, y * y, y * x, x * x]).flatten(1)


def pixel_facts(clip: Tensor, components: int = 3) -> Tensor:
    """Facts about a clip's motion that the pretext task regresses; from pixels alone, no label, no simulator truth.

    Of the change from frame to frame: its energy over time (in order and sorted), its largest local
    values, how long it is well above its own rest. Of the leading temporal components (principal
    directions of `(T, H*W)`): share of the variance, spectrum, autocorrelation within the periods
    of a breath, and how the envelope varies. No fact depends on the sign of a component.

    Args:
        clip: `(B, 2, T, H, W)` of `motion`.

    Returns:
        `(B, F)` float32, unstandardised.
    """
    level, change = clip.float().unbind(1)
    time = level.shape[1]
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
    facts.append(
        _quantiles(change.abs().amax(dim=1).flatten(1), 0.1, 0.5, 0.9, 0.98).clamp_min(1e-6).log()
    )

    flat = level.flatten(2)
    flat = flat - flat.mean(dim=1, keepdim=True)
    values, vectors = torch.linalg.eigh(flat @ flat.transpose(1, 2) / flat.shape[2])
    score = (
        vectors[..., -components:].flip(-1).transpose(1, 2) * time**0.5
    )  # (B, components, T), unit variance
    strength = values[:, -components:].flip(-1).clamp_min(1e-8)
    power = torch.fft.rfft(score * torch.hann_window(time).to(score), dim=2).abs().square()[..., 1:]
    power = power / power.sum(dim=2, keepdim=True).clamp_min(1e-8)
    own = torch.fft.irfft(torch.fft.rfft(score, n=2 * time, dim=2).abs().square(), dim=2)[
        ..., :time
    ]
    own = own / own[..., :1].clamp_min(1e-6)
    envelope = torch.nn.functional.avg_pool1d(score.abs(), time // 8, time // 16)
    envelope = envelope / envelope.mean(dim=2, keepdim=True).clamp_min(1e-6)
    facts += [
        strength.log(),
        strength / values.sum(dim=1, keepdim=True).clamp_min(1e-8),
        torch.nn.functional.adaptive_avg_pool1d(power, 16).clamp_min(1e-5).log().flatten(1),
        -(power * power.clamp_min(1e-8).log()).sum(dim=2),
        (power * torch.arange(power.shape[2]).to(power)).sum(dim=2),
        power.amax(dim=2),
        own[..., time // 16 : time // 4].amax(dim=2),  # lags of 2 to 7 s
        own[..., time // 8 : time * 7 // 16].amax(
            dim=2
        ),  # lags of 4 to 13 s: the next breath but one
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
