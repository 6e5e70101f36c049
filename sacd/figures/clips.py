"""Clips of EEG and video beside each other: what a clip's frames alone do not show (Figs. 11, 12).

Single frames of a sleeper show next to nothing, so the change from frame to frame stands beside
them: its mean over time for every pixel, and its mean over pixels as a trace.
"""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec
from numpy.typing import ArrayLike, NDArray

from sacd.data.store import ClipStore
from sacd.figures.base import INK, Figure, styled
from sacd.stages import CLIP_S

_MOVING: Final = "#0072B2"
_BREATH: Final = "#009E73"


def truth(cohort: Path, subject: str) -> dict[str, NDArray]:
    """The simulator's truth of a night, one row per clip; empty for a night that is not simulated.

    Of it, the figures use `breathing` `(clips, T)`, where a quiet breath has amplitude 1, and
    `night_s` `(clips,)`, seconds since lights out.
    """
    path = Path(cohort) / "derivatives" / "simulator" / f"{subject}_truth.npz"
    if not path.exists():
        return {}
    with np.load(path) as found:
        return dict(found)


def correspondence(
    store: ClipStore, rows: pd.DataFrame, titles: list[str], frames: bool, cohort: Path
) -> Figure:
    """EEG of some clips beside movement, breathing and frames of their video (Fig. 11).

    Args:
        store: the clips.
        rows: rows of `store.clips`; without any, the figure says so.
        titles: one per clip.
        frames: whether frames may be shown; if not, traces stand alone.
        cohort: its folder; true breathing is drawn where all subjects are simulated.
    """
    if rows.empty:
        return message("No clip of this kind.")
    nights = {subject: truth(cohort, subject) for subject in rows["subject"].unique()}
    breathing = None
    if all(nights.values()):
        chosen = zip(rows["subject"], rows["clip"], strict=True)
        breathing = [nights[subject]["breathing"][clip] for subject, clip in chosen]
    video = store.gather_video(rows)
    return montage(
        store.gather_eeg(rows), store.config.eeg_rate, video, titles, breathing, frames=frames
    )


@styled
def montage(
    eeg: ArrayLike,
    rate: float,
    video: ArrayLike,
    titles: Sequence[str],
    breathing: Sequence[ArrayLike] | None = None,
    frames: bool = True,
) -> Figure:
    """Clips below each other: EEG, movement, breathing, a frame, and where the frames change.

    All clips have the same scales: movement is the mean change of grey level from frame to frame,
    and in the last column a brighter pixel changes more. Frames are as bright as their own range
    allows.

    Args:
        eeg: `(n, samples)` in µV.
        rate: of the EEG, in Hz.
        video: `(n, frames, H, W)` uint8, evenly spread over the clips.
        titles: one per clip.
        breathing: true breathing of each clip, `(T,)`; None if unknown.
        frames: whether frames may be shown.
    """
    eeg, video = np.asarray(eeg, float), np.asarray(video)
    # Signed, because a difference of uint8 wraps around.
    change = [np.abs(np.diff(clip.astype(np.int16), axis=0)) for clip in video]
    moving = np.array([c.mean(axis=(1, 2)) for c in change])
    where = np.array([c.mean(axis=0) for c in change])
    n, columns = len(eeg), 4 if frames else 2
    figure = Figure((7.2, 0.8 + 0.95 * n), layout="constrained")
    # Every clip has two rows of the grid, for movement above breathing.
    grid = figure.add_gridspec(
        1 + 2 * n, columns, width_ratios=[3, 2.8, 0.95, 0.95][:columns],
        height_ratios=[0.3, *[1.0] * 2 * n], hspace=0.02, wspace=0.03,
    )  # fmt: skip
    _heads(figure, grid, moving, breathing is not None)
    # Not the maximum: one artefact would flatten all other clips.
    reach = float(np.quantile(np.abs(eeg), 0.998))
    seconds = CLIP_S * (np.arange(moving.shape[1]) + 1) / (moving.shape[1] + 1)
    traces = [(seconds, moving, _MOVING)]
    if breathing is not None:
        chest = np.asarray(breathing, float)
        traces.append((CLIP_S * np.arange(chest.shape[1]) / chest.shape[1], chest, _BREATH))
    for k, title in enumerate(titles):
        both = slice(1 + 2 * k, 3 + 2 * k)
        wave = figure.add_subplot(grid[both, 0])
        _eeg(wave, eeg[k], rate, reach)
        wave.set_title(title, fontsize=8)
        cells = [grid[both, 1]] if breathing is None else [grid[1 + 2 * k, 1], grid[2 + 2 * k, 1]]
        for cell, (at, values, colour) in zip(cells, traces, strict=True):
            trace = figure.add_subplot(cell)
            trace.plot(at, values[k], color=colour, lw=0.9)
            low, high = np.nanmin(values), np.nanmax(values)
            margin = 0.08 * (high - low or 1)
            trace.set(ylim=(low - margin, high + margin), xlim=(0, CLIP_S))
            _bare(trace)
        if frames:
            frame, changed = (figure.add_subplot(grid[both, column]) for column in (2, 3))
            frame.imshow(video[k][video.shape[1] // 2], cmap="gray")
            changed.imshow(where[k], cmap="magma", vmin=0, vmax=where.max())
            frame.set_axis_off()
            changed.set_axis_off()
    for axes in (wave, trace):  # of the last clip
        axes.set_xticks(range(0, CLIP_S + 1, 10))
        axes.spines["bottom"].set_visible(True)
        axes.set_xlabel("Time in the clip (s)")
    return figure


def _heads(figure: Figure, grid: GridSpec, moving: NDArray, breathing: bool) -> None:
    """Names of the columns, above the first clip."""
    movement = f"Movement ({moving.min():.1f} to {moving.max():.1f})"
    texts = [("EEG", INK), (movement, _MOVING), ("Frame", INK), ("Change", INK)]
    for column, (text, colour) in enumerate(texts[: grid.ncols]):
        head = figure.add_subplot(grid[0, column])
        head.set_axis_off()
        middle = column > 1
        head.text(
            middle / 2, 0.5, text, color=colour, ha="center" if middle else "left", fontsize=8,
            va="center",
        )  # fmt: skip
    if breathing:
        style = {"color": _BREATH, "ha": "right", "va": "center", "fontsize": 8}
        figure.axes[1].text(1, 0.5, "True breathing", **style)


def _bare(axes: Axes) -> None:
    """Neither ticks nor spines."""
    axes.set(xticks=[], yticks=[])
    axes.spines[["left", "bottom"]].set_visible(False)


def _eeg(axes: Axes, signal: NDArray, rate: float, reach: float) -> None:
    """EEG with a scale bar in µV left of it, instead of an axis."""
    axes.plot(np.arange(len(signal)) / rate, signal, color=INK, lw=0.4)
    length = len(signal) / rate
    power = 10 ** np.floor(np.log10(max(reach, 1e-9)))
    # 1, 2 or 5 times a power of ten: the longest such bar within the reach of the axes.
    bar = power * max(m for m in (1, 2, 5) if m * power <= max(reach, power))
    axes.plot([-0.5, -0.5], [-bar / 2, bar / 2], color=INK, lw=1.5, clip_on=False)
    axes.text(-0.9, 0, f"{bar:g} µV", rotation=90, ha="right", va="center", fontsize=7.5)
    axes.set(ylim=(-reach, reach), xlim=(0, length))
    _bare(axes)


@styled
def message(text: str) -> Figure:
    """A figure of one text, which says why nothing is drawn."""
    figure = Figure((7.2, 1.2), layout="constrained")
    figure.text(0.5, 0.6, fill(text, 95), ha="center", va="center", color=INK)
    return figure
