import numpy as np
import torch

from sacd.data.motion import motion, pixel_facts


def breathing_clip(seed=0, hertz=0.25, depth=3.0, flicker=0.0, slope=0.0, scene_seed=0):
    """64 frames over 30 s of a textured scene, a part of which moves with the breath."""
    rng = np.random.default_rng(seed)
    scene = np.random.default_rng(scene_seed).uniform(30, 180, (24, 32))
    t = np.arange(64) * 30 / 64
    wave = np.sin(2 * np.pi * hertz * t)
    body = np.zeros((24, 32))
    body[6:18, 8:20] = np.random.default_rng(3).normal(1, 0.3, (12, 12))
    frames = scene + depth * wave[:, None, None] * body + rng.normal(0, 0.5, (64, 24, 32))
    light = (
        1
        + flicker * rng.normal(size=(64, 1, 1))
        + slope * rng.normal(size=(64, 1, 1)) * np.linspace(-1, 1, 32)
    )
    return torch.from_numpy(np.clip(frames * light, 0, 255).astype(np.uint8)), wave


def recovered(clip, wave):
    """Correlation of the leading temporal component with the breath."""
    level = motion(clip[None])[0, 0].flatten(1)
    u = torch.linalg.svd(level - level.mean(0), full_matrices=False).U[:, 0].numpy()
    return abs(np.corrcoef(u, wave)[0, 1])


def test_breathing_survives_flicker_and_uneven_light():
    plain = recovered(*breathing_clip())
    assert plain > 0.95
    clip, wave = breathing_clip(flicker=0.02, slope=0.02)
    # Without the correction the flicker is the leading component.
    raw = clip.float().flatten(1)
    u = torch.linalg.svd(raw - raw.mean(0), full_matrices=False).U[:, 0].numpy()
    assert abs(np.corrcoef(u, wave)[0, 1]) < 0.4
    assert recovered(clip, wave) > 0.9


def test_light_that_drifts_over_the_picture_does_not_hide_the_breath():
    clip, wave = breathing_clip(depth=2.0)
    bump = np.exp(-((np.arange(32) - np.linspace(4, 28, 64)[:, None]) ** 2) / 60)[:, None, :]
    drifting = torch.from_numpy((clip.numpy() * (1 + 0.1 * bump)).clip(0, 255).astype(np.uint8))
    assert recovered(drifting, wave) > 0.9


def test_the_appearance_of_the_subject_is_gone():
    a, _ = breathing_clip(scene_seed=1)
    b, _ = breathing_clip(scene_seed=2)
    still_a, still_b = (motion(x[None])[0, 0].mean(dim=0) for x in (a, b))
    assert still_a.abs().max() < 0.2 and still_b.abs().max() < 0.2
    raw = np.corrcoef(a.float().mean(0).ravel(), b.float().mean(0).ravel())[0, 1]
    assert abs(raw) < 0.2  # the scenes themselves differ


def test_global_gain_leaves_the_input_alone():
    clip, _ = breathing_clip()
    x = clip.float()
    gain = 1 + 0.1 * torch.rand(64, 1, 1, generator=torch.Generator().manual_seed(0))
    same = motion(((x + 16) * gain - 16)[None])  # exact for gains of grey + 16
    torch.testing.assert_close(same, motion(x[None]), atol=2e-3, rtol=1e-3)


def test_a_constant_clip_is_zero_and_finite():
    out = motion(torch.full((2, 64, 24, 32), 77, dtype=torch.uint8))
    assert torch.isfinite(out).all() and out.abs().max() < 1e-3
    assert torch.isfinite(pixel_facts(out)).all()


def test_pixel_facts_see_the_rate_of_breathing_and_not_its_sign():
    clips = {
        "slow": {"hertz": 0.15},
        "fast": {"hertz": 0.4},
        "slow again": {"hertz": 0.15, "seed": 9},
    }
    facts = {
        name: pixel_facts(motion(breathing_clip(**o)[0][None]))[0].sign()
        for name, o in clips.items()
    }
    spread = {name: (facts["slow"] != facts[name]).sum() for name in ("fast", "slow again")}
    assert spread["slow again"] < spread["fast"]
    x = motion(breathing_clip()[0][None])
    torch.testing.assert_close(pixel_facts(-x), pixel_facts(x), atol=1e-3, rtol=1e-3)
