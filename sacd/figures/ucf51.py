"""Figures of Table III."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from numpy.typing import ArrayLike

from sacd.data.ucf51 import SOUND_RATE
from sacd.figures.base import STYLE, Figure


def examples(frames: ArrayLike, sound: ArrayLike, titles: Sequence[str], seconds: float) -> Figure:
    """Frames of some videos beside the spectrogram of their sound, one row a video.

    Args:
        frames: `(n, T, H, W, 3)` uint8, evenly spread over `seconds`.
        sound: `(n, samples)` at 32 kHz.
    """
    frames, sound = np.asarray(frames), np.asarray(sound, float)
    n, shown = frames.shape[:2]
    with mpl.style.context(STYLE):
        figure = Figure((7.2, 0.7 + 0.75 * n), layout="constrained")
        panels = figure.subplots(n, shown + 1, squeeze=False, width_ratios=[1] * shown + [2.2])
        for line, images, wave, title in zip(panels, frames, sound, titles, strict=True):
            for axes, image in zip(line, images, strict=False):
                axes.imshow(image)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            line[0].set_title(title, fontsize=8)
            line[-1].specgram(
                wave / 32768 + 1e-6,
                NFFT=1024,
                Fs=SOUND_RATE / 1000,
                noverlap=704,
                cmap="magma",
                vmin=-110,
            )
            line[-1].set(ylim=(0, 8), ylabel="kHz")
            line[-1].tick_params(labelbottom=False)
        for number, axes in enumerate(panels[-1][:-1]):
            axes.set_xlabel(f"{seconds * number / shown:.1f} s", fontsize=8)
        line[-1].tick_params(labelbottom=True)
        ticks = np.arange(0, sound.shape[1] / SOUND_RATE, 0.5)
        for axes in panels[:, -1]:
            axes.set_xticks(1000 * ticks, [f"{t:g}" for t in ticks])
        line[-1].set_xlabel("time (s)")
    return figure
