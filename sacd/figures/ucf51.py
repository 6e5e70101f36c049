"""Figure of example videos of UCF51 (Table III)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sacd.data.ucf51 import SOUND_RATE
from sacd.figures.base import Figure, styled


@styled
def examples(frames: ArrayLike, sound: ArrayLike, titles: Sequence[str], seconds: float) -> Figure:
    """Frames of some videos beside the spectrogram of their sound, one row per video.

    Args:
        frames: `(n, T, H, W, 3)` uint8, evenly spread over `seconds`.
        sound: `(n, samples)` int16 at `SOUND_RATE`.
        titles: one per video.
        seconds: length of the video clips.
    """
    frames, sound = np.asarray(frames), np.asarray(sound, float)
    n, shown = frames.shape[:2]
    figure = Figure((7.2, 0.7 + 0.75 * n), layout="constrained")
    panels = figure.subplots(n, shown + 1, squeeze=False, width_ratios=[1] * shown + [2.2])
    ticks = np.arange(0, sound.shape[1] / SOUND_RATE, 0.5)
    for line, images, wave, title in zip(panels, frames, sound, titles, strict=True):
        for axes, image in zip(line, images, strict=False):
            axes.imshow(image)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_title(title, fontsize=8)
        spectrogram = line[-1]
        # The offset keeps the logarithm of silence finite. Rates in kHz put time in ms.
        spectrogram.specgram(
            wave / 32768 + 1e-6, NFFT=1024, Fs=SOUND_RATE / 1000, noverlap=704, cmap="magma",
            vmin=-110,
        )  # fmt: skip
        spectrogram.set(ylim=(0, 8), ylabel="kHz")
        spectrogram.set_xticks(1000 * ticks, [f"{t:g}" for t in ticks])
        spectrogram.tick_params(labelbottom=False)
    for number, axes in enumerate(panels[-1, :-1]):
        axes.set_xlabel(f"{seconds * number / shown:.1f} s", fontsize=8)
    panels[-1, -1].tick_params(labelbottom=True)
    panels[-1, -1].set_xlabel("Time (s)")
    return figure
