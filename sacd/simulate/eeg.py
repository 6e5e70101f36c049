"""EEG of one channel (C3), in uV, from the state of the subject, movements and arousals."""

from dataclasses import dataclass

import numpy as np

from sacd.simulate.hypnogram import SimulatedNight
from sacd.simulate.parameters import parameter as p
from sacd.simulate.parameters import span
from sacd.simulate.physiology import Movements

BANDS = ("delta", "theta", "alpha", "sigma", "beta")


@dataclass(frozen=True)
class Head:
    """EEG parameters that differ between subjects.

    Gains of the whole signal, the bands, alpha, spindles and electrode noise; frequencies of alpha
    and spindles.
    """

    gain: float
    bands: np.ndarray
    alpha: float
    alpha_hz: float
    spindle: float
    spindle_hz: float
    electrode: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Head":
        """A random subject of the population."""
        z = rng.standard_normal(6)
        poor = rng.random() < p("eeg.poor_alpha")  # some people hardly have alpha
        cv = p("eeg.subject_cv")
        alpha = float(np.exp(p("eeg.alpha_cv_ratio") * cv * z[1]))
        alpha_hz = p("eeg.alpha_hz") + p("eeg.alpha_hz_sd") * z[2]
        spindle_hz = p("eeg.spindle_hz") + p("eeg.spindle_hz_sd") * z[4]
        return cls(
            gain=float(np.exp(cv * z[0])),
            bands=np.exp(p("eeg.band_cv") * rng.standard_normal(len(BANDS))),
            alpha=p("eeg.poor_alpha_gain") if poor else alpha,
            alpha_hz=float(np.clip(alpha_hz, *span("eeg.alpha"))),
            spindle=float(np.exp(cv * z[3])),
            spindle_hz=float(np.clip(spindle_hz, *span("eeg.spindle_hz"))),
            electrode=float(np.exp(cv * z[5])),
        )


def _noise(n: int, rate: float, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of RMS 1 in a band with soft edges."""
    frequency = np.fft.rfftfreq(n, 1 / rate)
    order = p("eeg.band_order")
    below, above = np.maximum(low, 1e-9) / np.maximum(frequency, 1e-9), frequency / high
    shape = 1 / np.sqrt(1 + below**order + above**order)
    return _shaped(n, shape, rng)


def _shaped(n: int, shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of RMS 1 whose amplitude spectrum has a given shape."""
    # Independent Gaussian coefficients give Gaussian noise of exactly this spectrum on average.
    spectrum = (rng.standard_normal(len(shape)) + 1j * rng.standard_normal(len(shape))) * shape
    signal = np.fft.irfft(spectrum, n)
    return signal / max(signal.std(), 1e-12)


def _slow(n: int, rate: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A slow random curve of about unit variance: one random knot every `seconds`, interpolated."""
    knots = rng.standard_normal(int(n / rate / seconds) + 3)
    return np.interp(np.arange(n) / rate / seconds, np.arange(len(knots)), knots)


def eeg(
    head: Head,
    night: SimulatedNight,
    state: np.ndarray,
    moves: Movements,
    start: float,
    n: int,
    rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Samples (n,) in uV, from `start` s since lights out.

    The sum of 1/f background and five noise bands whose amplitudes follow the state; alpha while
    the eyes are closed; spindles, K-complexes, vertex waves and sawtooth waves; arousals; drift,
    electrode noise and mains; artefacts while the body moves.
    """
    # Every step draws from `rng`: their order is part of the bytes.
    times = start + np.arange(n) / rate
    weights = _weights(state, times)
    signal = _rhythms(head, weights, rate, rng)
    _add_spindles(signal, head, weights, rate, rng)
    _add_sharp_waves(signal, weights, rate, rng)
    _add_arousals(signal, night, start, rate, rng)
    signal *= head.gain
    signal += _artefacts(moves.activity(times), rate, rng)
    signal += p("eeg.drift") * _noise(n, rate, *span("eeg.drift"), rng)
    signal += head.electrode * p("eeg.electrode") * rng.standard_normal(n)
    signal += p("eeg.mains") * np.sin(2 * np.pi * p("eeg.mains_hz") * times)
    return signal


def _weights(state: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Shares of the stages (n, 5), interpolated between the seconds of `state`."""
    at = np.clip(times, 0, len(state) - 1)
    whole = np.minimum(at.astype(int), len(state) - 2)
    part = (at - whole)[:, None]
    return state[whole] * (1 - part) + state[whole + 1] * part


def _rhythms(head: Head, weights: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """1/f background, the five bands, and alpha while the eyes are closed."""
    n = len(weights)
    frequency = np.fft.rfftfreq(n, 1 / rate)
    # Flat below a frequency: a power law would grow without limit towards 0 Hz.
    shape = np.maximum(frequency, p("eeg.background_flat_hz")) ** p("eeg.background_slope")
    shape = shape * (frequency > p("eeg.background_from_hz"))
    signal = weights @ p("eeg.background") * _shaped(n, shape, rng)
    waxing, waxing_s = p("eeg.waxing"), p("eeg.waxing_s")
    for name, gain in zip(BANDS, head.bands, strict=True):
        # Log-normal with mean 1.
        envelope = np.exp(waxing * _slow(n, rate, waxing_s, rng) - waxing**2 / 2)
        noise = _noise(n, rate, *span(f"eeg.{name}"), rng)
        signal += gain * weights @ p(f"eeg.{name}") * envelope * noise
    closed = _toggle(n, rate, rng)
    width = p("eeg.alpha_width_hz")
    alpha = _noise(n, rate, head.alpha_hz - width, head.alpha_hz + width, rng)
    signal += p("eeg.closed_alpha") * head.alpha * weights[:, 0] * closed * alpha
    return signal


def _occurrences(name: str, weights: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Samples at which a waveform begins, at a rate per minute that follows the state."""
    # Bernoulli per sample: at these rates hardly different from a Poisson process.
    hazard = np.clip(weights @ p(name), 0, None) / 60 / rate
    return np.flatnonzero(rng.random(len(weights)) < hazard)


def _add_spindles(
    signal: np.ndarray, head: Head, weights: np.ndarray, rate: int, rng: np.random.Generator
) -> None:
    uv, cv, phase = head.spindle * p("eeg.spindle"), p("eeg.spindle_cv"), p("eeg.spindle_phase")
    hz, jitter = head.spindle_hz, p("eeg.spindle_jitter_hz")
    mean_s, spread_s, least_s = p("eeg.spindle_s"), p("eeg.spindle_s_cv"), p("eeg.spindle_least_s")
    for i in _occurrences("eeg.spindles", weights, rate, rng):
        seconds = max(least_s, mean_s * np.exp(spread_s * rng.standard_normal()))
        t = np.arange(int(seconds * rate)) / rate
        wave = np.sin(2 * np.pi * (hz + jitter * rng.standard_normal()) * t + rng.uniform(0, phase))
        _add(signal, i, uv * np.exp(cv * rng.standard_normal()) * np.hanning(len(t)) * wave)


def _add_sharp_waves(
    signal: np.ndarray, weights: np.ndarray, rate: int, rng: np.random.Generator
) -> None:
    """K-complexes (N2), vertex waves (N1) and sawtooth waves (REM)."""
    waves = (("eeg.k_complexes", "eeg.k_complex"), ("eeg.vertex_waves", "eeg.vertex_wave"))
    for occurrence, name in waves:
        uv, cv, shape = p(name), p(f"{name}_cv"), _two_peaks(name, rate)
        for i in _occurrences(occurrence, weights, rate, rng):
            _add(signal, i, uv * np.exp(cv * rng.standard_normal()) * shape)
    uv, seconds, hz = p("eeg.sawtooth_wave"), span("eeg.sawtooth_s"), span("eeg.sawtooth_hz")
    for i in _occurrences("eeg.sawtooth", weights, rate, rng):
        t = np.arange(int(rng.uniform(*seconds) * rate)) / rate
        wave = 2 * ((rng.uniform(*hz) * t) % 1) - 1
        _add(signal, i, uv * np.hanning(len(t)) * wave)


def _add_arousals(
    signal: np.ndarray, night: SimulatedNight, start: float, rate: int, rng: np.random.Generator
) -> None:
    """A burst of slow and fast activity at every scored arousal."""
    slow, fast = span("eeg.arousal_slow"), span("eeg.arousal_fast")
    fast_share = p("eeg.arousal_fast")
    for event in night.events:
        i = int((event.onset - start) * rate)
        if event.kind == "arousal" and 0 <= i < len(signal):
            count = int(event.duration * rate)
            burst = _noise(count, rate, *slow, rng) + fast_share * _noise(count, rate, *fast, rng)
            _add(signal, i, p("eeg.arousal") * np.hanning(count) * burst)


def _artefacts(moving: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray | float:
    """Muscle activity and swaying cables, as strong as the body moves."""
    if not np.any(moving > 0):
        return 0.0
    n = len(moving)
    # The upper edge of the muscle band is a share of the sampling rate.
    muscle = _noise(n, rate, p("eeg.muscle_from"), p("eeg.muscle_to") * rate, rng)
    muscle = muscle * p("eeg.muscle") + _noise(n, rate, *span("eeg.sway"), rng)
    strength = np.exp(p("eeg.artefact_cv") * _slow(n, rate, p("eeg.artefact_s"), rng))
    return p("eeg.artefact") * moving * muscle * strength


def _two_peaks(name: str, rate: int) -> np.ndarray:
    """A negative wave of amplitude 1 followed by a positive one."""
    t = np.arange(int(p(f"{name}_s") * rate)) / rate
    negative = np.exp(-(((t - p(f"{name}_negative_s")) / p(f"{name}_negative_width")) ** 2))
    positive = np.exp(-(((t - p(f"{name}_positive_s")) / p(f"{name}_positive_width")) ** 2))
    return -negative + p(f"{name}_positive") * positive


def _toggle(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """1 while the eyes are closed, 0 while open; phases alternate and have random lengths."""
    share, mean, least = p("eeg.eyes_closed"), p("eeg.eyes_s"), p("eeg.eyes_least_s")
    signal, i, closed = np.zeros(n), 0, rng.random() < share
    while i < n:
        # Mean lengths in the ratio of the shares, so that the eyes are closed for their share.
        length = int((least + rng.exponential(2 * mean * (share if closed else 1 - share))) * rate)
        signal[i : i + length] = closed
        i, closed = i + length, not closed
    return np.convolve(signal, np.ones(rate) / rate, "same")  # transitions take one second


def _add(signal: np.ndarray, start: int, wave: np.ndarray) -> None:
    """Add a wave in place; what reaches beyond the end of the signal is cut off."""
    stop = min(start + len(wave), len(signal))
    signal[start:stop] += wave[: stop - start]
