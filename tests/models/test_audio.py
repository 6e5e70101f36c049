"""Audio teacher: the log-mel front end against its definition, shapes, gradients."""

import numpy as np
import pytest
import torch

from sacd.models.audio import CNN14


def tone(hz, seconds=0.5, amplitude=0.5):
    t = torch.arange(int(32_000 * seconds)) / 32_000
    return (amplitude * torch.sin(2 * torch.pi * hz * t))[None]


def slaney_mel(hz):
    """Slaney's mel scale: linear below 1 kHz (15 mel), then 27 steps per factor of 6.4."""
    return np.where(
        hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1000) / np.log(6.4)
    )


def test_logmel_is_what_panns_defines():
    """Compute one frame from the definition and compare it.

    Periodic Hann window, power spectrum, triangles of unit area on Slaney's scale, 10 log10.
    """
    sound = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    got = CNN14(width=1 / 64).logmel(sound)[0, 0]
    assert got.shape == (51, 64)
    assert torch.equal(64 * got, (64 * got).round())  # last digits depend on the processor
    frame = 20  # its centre is at sample 20·320, far from the reflected borders
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    power = (
        np.abs(
            np.fft.rfft(sound[0, frame * 320 - 512 : frame * 320 + 512].double().numpy() * window)
        )
        ** 2
    )
    hz = np.arange(513) * 32_000 / 1024
    grid = np.arange(0, 20_000, 0.01)
    edges = np.interp(
        np.linspace(*slaney_mel(np.array([50.0, 14_000.0])), 66), slaney_mel(grid), grid
    )
    for band in range(64):
        low, mid, high = edges[band : band + 3]
        triangle = (
            np.clip(np.minimum((hz - low) / (mid - low), (high - hz) / (high - mid)), 0, None)
            * 2
            / (high - low)
        )
        expected = 10 * np.log10(max(triangle @ power, 1e-10))
        assert got[frame, band].item() == pytest.approx(expected, abs=0.02), band


def test_a_tone_lies_in_its_band_and_silence_at_the_floor():
    model = CNN14(width=1 / 64)
    centres = np.linspace(*slaney_mel(np.array([50.0, 14_000.0])), 66)[1:-1]
    for hz in (200.0, 1000.0, 6000.0):
        band = model.logmel(tone(hz))[0, 0].mean(0).argmax().item()
        assert abs(centres[band] - slaney_mel(np.array(hz))) <= 1.5 * (centres[1] - centres[0])
    assert torch.equal(model.logmel(torch.zeros(1, 16_000)), torch.full((1, 1, 51, 64), -100.0))


def test_output_and_gradient():
    torch.manual_seed(0)
    model = CNN14(n_classes=51, width=1 / 16).train()
    output = model(torch.cat([tone(300), tone(3000)]))
    assert output.embedding.shape == (2, 512) and output.logits.shape == (2, 51)
    assert (output.embedding >= 0).all() and output.embedding.std() > 0
    assert [tuple(f.shape[1:]) for f in output.features] == [
        (4, 25, 32),
        (8, 12, 16),
        (16, 6, 8),
        (32, 3, 4),
        (64, 1, 2),
        (128, 1, 2),
    ]
    output.logits.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    model.eval()
    assert torch.equal(model(tone(300)).logits, model(tone(300)).logits)


def test_what_the_constants_fix_is_not_in_the_state():
    assert not {"window", "mel"} & set(CNN14(width=1 / 64).state_dict())


def test_errors_have_one_line():
    model = CNN14(width=1 / 64).eval()
    model(torch.zeros(1, 9920))
    for sound in (torch.zeros(1, 9919), torch.zeros(9920), torch.zeros(1, 1, 9920)):
        with pytest.raises(ValueError, match=r"expected \(B, n\) with n >= 9920 samples"):
            model(sound)
    with pytest.raises(ValueError, match=r"width 0\.001 leaves the first block without a channel"):
        CNN14(width=0.001)
