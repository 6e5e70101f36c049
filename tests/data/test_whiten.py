import numpy as np
import pytest
from scipy.signal import welch

from sacd.data.whiten import CLIP_UV, TILT, whiten

RATE, T = 100, 3000


@pytest.fixture
def eeg():
    """Clips of 1/f noise whose alpha power differs between clips."""
    rng = np.random.default_rng(0)
    f = np.fft.rfftfreq(T, 1 / RATE)
    noise = rng.standard_normal((40, len(f))) + 1j * rng.standard_normal((40, len(f)))
    alpha = np.exp(rng.standard_normal((40, 1)) * ((f > 8) & (f < 12)))
    x = np.fft.irfft(noise * alpha / np.maximum(f, 0.5), T, axis=1)
    return 30 * x / x.std()


def filtered(x, gain):
    return np.fft.irfft(np.fft.rfft(x, axis=1) * gain(np.fft.rfftfreq(T, 1 / RATE)), T, axis=1)


def test_the_spectrum_of_the_subject_is_removed(eeg):
    night = np.zeros(40)
    other = filtered(eeg, lambda f: 3 * np.exp(-f / 20) * (1 + 0.5 * np.sin(f / 5)))
    a, b = whiten(eeg, night, RATE), whiten(other, night, RATE)
    assert other.std() > 2 * eeg.std()
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.999
    assert b.std() == pytest.approx(a.std(), rel=0.02)


def test_typical_spectrum_is_1_over_f_and_scaled(eeg):
    out = whiten(eeg, np.zeros(40), RATE)
    f, density = welch(out, RATE, nperseg=400)
    typical = np.median(density, axis=0) * np.maximum(f, 1) ** (2 * TILT)
    inside, outside = typical[(f >= 1) & (f <= 30)], typical[f > 45]
    assert inside.max() / inside.min() < 1.8
    assert outside.max() < 0.1 * inside.min()
    assert out.dtype == np.float32 and np.median(out.std(axis=1)) == pytest.approx(
        CLIP_UV, rel=0.15
    )


def test_differences_between_clips_stay(eeg):
    def alpha(x):
        f, density = welch(x, RATE, nperseg=400)
        return np.log(density[:, (f >= 9) & (f <= 11)].mean(axis=1))

    before, after = alpha(eeg), alpha(whiten(eeg, np.zeros(40), RATE))
    np.testing.assert_allclose(after - np.median(after), before - np.median(before), atol=0.1)


def test_nights_do_not_touch_each_other(eeg):
    night = np.repeat(["a", "b"], 20)
    louder = eeg.copy()
    louder[20:] *= 100
    np.testing.assert_array_equal(whiten(eeg, night, RATE)[:20], whiten(louder, night, RATE)[:20])
    np.testing.assert_allclose(whiten(eeg, night, RATE), whiten(louder, night, RATE), atol=0.2)


def test_artefacts_in_some_clips_do_not_matter_to_the_others(eeg):
    night, broken = np.zeros(40), eeg.copy()
    broken[:4] = 1e6 * np.random.default_rng(1).standard_normal((4, T))
    a, b = whiten(eeg, night, RATE)[4:], whiten(broken, night, RATE)[4:]
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99


def test_silence_stays_silent():
    assert (whiten(np.zeros((10, T)), np.zeros(10), RATE) == 0).all()


@pytest.mark.parametrize(
    ("clips", "rate", "message"),
    [(9, 50, "50 Hz is below 64 Hz"), (4, 100, "has 4 clips, whitening needs at least 8")],
)
def test_too_low_a_rate_and_too_few_clips_are_refused(clips, rate, message):
    with pytest.raises(ValueError, match=message):
        whiten(np.ones((clips, T)), np.zeros(clips), rate)
