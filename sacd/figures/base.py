"""Figures: each function takes tables or arrays and returns a `Figure`, without touching pyplot or the caller's style.

`label_data` names the data and its size on the figure; `save` writes PNG and PDF, byte for byte
equal on re-run.
"""

import io
from collections.abc import Callable
from functools import wraps
from importlib import resources
from pathlib import Path
from typing import Any, Final, ParamSpec

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib import figure as mpl_figure
from PIL import Image

from sacd.files import atomic

STYLE: Final = str(resources.files(__package__).joinpath("style.mplstyle"))


_INK: Final = "#333333"


def _png(figure: mpl_figure.Figure, **options: Any) -> bytes:
    """PNG of 256 colours, surfaces off by 2 of 255 at most: a third of the bytes, which notebooks hold as well."""
    with mpl.style.context(STYLE), io.BytesIO() as full, io.BytesIO() as small:
        figure.savefig(full, format="png", **options)
        image = Image.open(full)
        image.convert("RGB").quantize(256, kmeans=9, dither=Image.Dither.NONE).save(
            small, "png", optimize=True, dpi=image.info["dpi"]
        )
        return small.getvalue()


class Figure(mpl_figure.Figure):
    """A matplotlib figure that a notebook shows by itself, without pyplot having been told of it."""

    def _repr_png_(self) -> bytes:
        return _png(self, dpi=100)


_P = ParamSpec("_P")


def _styled(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    @wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with mpl.style.context(STYLE):
            return draw(*args, **kwargs)

    return styled


def label_data(
    figure: Figure, data: str, subjects: int | None = None, clips: int | None = None
) -> Figure:
    """Write along the foot which data made the figure, and how much of it; call it once, after drawing."""
    counts = ((subjects, "subject"), (clips, "clip"))
    size = [f"{n:,} {word}{'s' * (n != 1)}" for n, word in counts if n is not None]
    with mpl.style.context(STYLE):
        narrow = figure.get_figwidth() < 5.5  # else the name of the data would run off the edge
        text = data + (("\n" if narrow else "   ") + f"n = {', '.join(size)}" if size else "")
        inch = 1 / figure.get_figheight()
        foot = (0.36 if narrow and size else 0.22) * inch
        figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot))
        figure.text(
            0.995,
            0.07 * inch,
            text,
            ha="right",
            va="bottom",
            fontsize=7.5,
            style="italic",
            color=_INK,
        )
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `<name>.png` and `<name>.pdf` under `folder`, atomically and without dates or versions of software.

    The layout is solved once, its places rounded: the solver's last bits differ from call to call,
    the files may not.
    """
    with mpl.style.context(STYLE):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6), which="original")
    png, pdf = written = [Path(folder) / f"{name}.{ending}" for ending in ("png", "pdf")]
    with atomic(png) as half:
        half.write_bytes(_png(figure))
    with atomic(pdf) as half, mpl.style.context(STYLE):
        figure.savefig(half, metadata={"CreationDate": None, "Producer": None})
    return written
