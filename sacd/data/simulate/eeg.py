"""EEG of one channel (C3), in uV, from the state of the sleeper, movements and arousals."""

from dataclasses import dataclass

import numpy as np

from sacd.data.simulate.hypnogram import Night
from sacd.data.simulate.parameters import parameter as p
from sacd.data.simulate.physiology import Movements

BANDS = {"delta": (0.4, 3.5), "theta": (4, 7.5), "alpha": (8, 12), "sigma": (12, 15.5), "beta": (16, 30)}


@dataclass(frozen=True)
class Head:
    """What is this sleeper's own in the EEG: gains of the background and the bands, alpha, spindles, electrode."""

    gain: float
    bands: np.ndarray
    alpha: float
    alpha_hz: float
    spindle: float
    spindle_hz: float
    electrode: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Head":
        """A sleeper from the population."""
        z = rng.standard_normal(6)
        poor = rng.random() < p("eeg.poor_alpha")
        cv = p("eeg.subject_cv")
        return cls(
            gain=float(np.exp(cv * z[0])),
            bands=np.exp(p("eeg.band_cv") * rng.standard_normal(len(BANDS))),
            alpha=0.2 if poor else float(np.exp(2 * cv * z[1])),
            alpha_hz=float(np.clip(p("eeg.alpha_hz") + p("eeg.alpha_hz_sd") * z[2], 8, 12)),
            spindle=float(np.exp(cv * z[3])),
            spindle_hz=float(np.clip(p("eeg.spindle_hz") + 0.5 * z[4], 11.5, 15.5)),
            electrode=float(np.exp(cv * z[5])),
        )


def _noise(n: int, rate: float, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of rms 1 in a band with soft edges."""
    frequency = np.fft.rfftfreq(n, 1 / rate)
    shape = 1 / np.sqrt(1 + (np.maximum(low, 1e-9) / np.maximum(frequency, 1e-9)) ** 8 + (frequency / high) ** 8)
    return _shaped(n, shape, rng)


def _shaped(n: int, shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    spectrum = (rng.standard_normal(len(shape)) + 1j * rng.standard_normal(len(shape))) * shape
    signal = np.fft.irfft(spectrum, n)
    return signal / max(signal.std(), 1e-12)


def _slow(n: int, rate: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A slow random curve of about unit variance that changes over `seconds`."""
    knots = rng.standard_normal(int(n / rate / seconds) + 3)
    return np.interp(np.arange(n) / rate / seconds, np.arange(len(knots)), knots)


def eeg(
    head: Head,
    night: Night,
    state: np.ndarray,
    moves: Movements,
    start: float,
    n: int,
    rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Samples (n,) in uV from `start` s since lights out.

    1/f background and five band noises whose strength follows the state; alpha while the eyes are closed; spindles,
    K-complexes, vertex and sawtooth waves; arousals; drift, electrode and mains noise; artefacts while the body moves.
    """
    times = start + np.arange(n) / rate
    at = np.clip(times, 0, len(state) - 1)
    whole = np.minimum(at.astype(int), len(state) - 2)
    part = (at - whole)[:, None]
    weights = state[whole] * (1 - part) + state[whole + 1] * part

    frequency = np.fft.rfftfreq(n, 1 / rate)
    signal = weights @ p("eeg.background") * _shaped(n, np.maximum(frequency, 0.5) ** -0.75 * (frequency > 0.2), rng)
    waxing = p("eeg.waxing")
    for (name, (low, high)), gain in zip(BANDS.items(), head.bands, strict=True):
        envelope = np.exp(waxing * _slow(n, rate, 4.0, rng) - waxing**2 / 2)
        signal += gain * weights @ p(f"eeg.{name}") * envelope * _noise(n, rate, low, high, rng)

    closed = _toggle(n, rate, rng)
    alpha = _noise(n, rate, head.alpha_hz - 0.7, head.alpha_hz + 0.7, rng)
    signal += p("eeg.closed_alpha") * head.alpha * weights[:, 0] * closed * alpha

    def occurrences(name: str) -> np.ndarray:
        hazard = np.clip(weights @ p(name), 0, None) / 60 / rate
        return np.flatnonzero(rng.random(n) < hazard)

    hz = head.spindle_hz
    for i in occurrences("eeg.spindles"):
        seconds = max(0.5, p("eeg.spindle_s") * np.exp(0.3 * rng.standard_normal()))
        t = np.arange(int(seconds * rate)) / rate
        wave = np.sin(2 * np.pi * (hz + 0.3 * rng.standard_normal()) * t + rng.uniform(0, 6.28))
        _add(
            signal, i, head.spindle * p("eeg.spindle") * np.exp(0.3 * rng.standard_normal()) * np.hanning(len(t)) * wave
        )
    for i in occurrences("eeg.k_complexes"):
        t = np.arange(int(1.2 * rate)) / rate
        shape = -np.exp(-(((t - 0.35) / 0.12) ** 2)) + 0.7 * np.exp(-(((t - 0.75) / 0.2) ** 2))
        _add(signal, i, p("eeg.k_complex") * np.exp(0.25 * rng.standard_normal()) * shape)
    for i in occurrences("eeg.vertex_waves"):
        t = np.arange(int(0.5 * rate)) / rate
        shape = -np.exp(-(((t - 0.2) / 0.05) ** 2)) + 0.4 * np.exp(-(((t - 0.33) / 0.07) ** 2))
        _add(signal, i, p("eeg.vertex_wave") * np.exp(0.25 * rng.standard_normal()) * shape)
    for i in occurrences("eeg.sawtooth"):
        t = np.arange(int(rng.uniform(2, 6) * rate)) / rate
        wave = 2 * ((rng.uniform(2, 5) * t) % 1) - 1
        _add(signal, i, p("eeg.sawtooth_wave") * np.hanning(len(t)) * wave)
    for event in night.events:
        i = int((event.onset - start) * rate)
        if event.kind == "arousal" and 0 <= i < n:
            count = int(event.duration * rate)
            burst = _noise(count, rate, 7, 14, rng) + 0.5 * _noise(count, rate, 16, 35, rng)
            _add(signal, i, p("eeg.arousal") * np.hanning(count) * burst)
    signal *= head.gain

    moving = moves.activity(times)
    if np.any(moving > 0):
        muscle = _noise(n, rate, 20, 0.45 * rate, rng) * 0.5 + _noise(n, rate, 0.3, 2.5, rng)
        signal += p("eeg.artefact") * moving * muscle * np.exp(0.5 * _slow(n, rate, 20.0, rng))
    signal += p("eeg.drift") * _noise(n, rate, 0.005, 0.15, rng)
    signal += head.electrode * p("eeg.electrode") * rng.standard_normal(n)
    signal += p("eeg.mains") * np.sin(2 * np.pi * p("eeg.mains_hz") * times)
    return signal


def _toggle(n: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """1 while the eyes are closed, 0 while open, in turns of random length."""
    share, mean = p("eeg.eyes_closed"), p("eeg.eyes_s")
    signal, i, closed = np.zeros(n), 0, rng.random() < share
    while i < n:
        length = int((2 + rng.exponential(2 * mean * (share if closed else 1 - share))) * rate)
        signal[i : i + length] = closed
        i, closed = i + length, not closed
    return np.convolve(signal, np.ones(rate) / rate, "same")


def _add(signal: np.ndarray, start: int, wave: np.ndarray) -> None:
    stop = min(start + len(wave), len(signal))
    signal[start:stop] += wave[: stop - start]
