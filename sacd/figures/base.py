"""Base of all figures: style, label of the data, and files with reproducible bytes.

Each function of the other modules takes tables or arrays and returns a `Figure`. None of them uses
pyplot or changes the caller's style. `label_data` writes the data and its size on the figure;
`save` writes PNG and PDF with equal bytes on every call.
"""

import io
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import resources
from pathlib import Path
from typing import Any, Final, ParamSpec

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib import figure as mpl_figure
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.optimize import isotonic_regression

from sacd.escape import counted
from sacd.files import atomic

STYLE: Final = str(resources.files(__package__).joinpath("style.mplstyle"))
INK: Final = "#333333"
"""Colour of text, axes and true values."""


def _png(figure: mpl_figure.Figure, **options: Any) -> bytes:
    """PNG of 256 colours, with areas off by at most 2 of 255.

    It has a third of the bytes, which counts because the executed notebooks embed the figures.
    """
    with mpl.style.context(STYLE), io.BytesIO() as full, io.BytesIO() as small:
        figure.savefig(full, format="png", **options)
        image = Image.open(full)
        image.convert("RGB").quantize(256, kmeans=9, dither=Image.Dither.NONE).save(
            small, "png", optimize=True, dpi=image.info["dpi"]
        )
        return small.getvalue()


class Figure(mpl_figure.Figure):
    """A matplotlib figure that a notebook displays without pyplot."""

    def _repr_png_(self) -> bytes:
        return _png(self, dpi=100)


_P = ParamSpec("_P")


def styled(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Decorator: draw in the style of `STYLE`, and leave the caller's style alone."""

    @wraps(draw)
    def drawn(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with mpl.style.context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def sentence(text: str) -> str:
    """Text with a capital first letter, for labels that are put together from parts.

    >>> sentence("recall of N1 (%)"), sentence("$L_D$ (squared distance)")
    ('Recall of N1 (%)', '$L_D$ (squared distance)')
    """
    return text[:1].upper() + text[1:]


def error_bars(lines: pd.DataFrame) -> NDArray[np.float64]:
    """Lengths `(2, n)` of the error bars of intervals; 0 where an interval is unknown."""
    bounds = lines[["ci_low", "ci_high"]].to_numpy(float).T
    return np.nan_to_num(np.abs(bounds - lines["value"].to_numpy(float)))


def spread(
    places: ArrayLike, gap: float, low: float = -np.inf, high: float = np.inf
) -> NDArray[np.float64]:
    """Places `(n,)` of labels, moved as little as possible so that any two are `gap` apart.

    The least squares solution: without the gaps, places only have to ascend, and the nearest such
    ones are an isotonic regression. They stay between `low` and `high`; where these leave no room
    for the gap, the gaps are equal and smaller.

    >>> spread([0.0, 5.0, 0.1], 1.0).round(2).tolist()
    [-0.45, 5.0, 0.55]
    >>> spread([0.5, 0.5, 0.0], 0.25, 0.0, 1.0).tolist()
    [0.375, 0.625, 0.0]
    """
    places = np.asarray(places, float)
    if not len(places):
        return places
    order = np.argsort(places, kind="stable")
    gap = min(gap, (high - low) / max(len(places) - 1, 1))
    steps = gap * np.arange(len(places))
    ascending = isotonic_regression(places[order] - steps).x
    moved = np.empty(len(places))
    moved[order] = np.clip(ascending, low, high - steps[-1]) + steps
    return moved


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float, Any]], gap: float) -> None:
    """Write the name of each line at its right end, in its colour, instead of in a legend.

    Args:
        ends: name -> x and y of the last point, and the colour.
        gap: smallest distance of two names, in units of y.
    """
    if not ends:
        return
    heights = spread([y for _, y, _ in ends.values()], gap)
    right = max(x for x, _, _ in ends.values())
    for height, (name, (_, _, colour)) in zip(heights, ends.items(), strict=True):
        axes.annotate(
            name, (right, height), (5, 0), textcoords="offset points", va="center", fontsize=8,
            color=colour, annotation_clip=False,
        )  # fmt: skip


def label_lines(axes: Axes, values: Mapping[str, float]) -> None:
    """Vertical lines with their names above the axes, moved apart where they would overlap.

    Several names are slanted; a single one is level and leaves no empty strip above the axes.
    """
    low, high = axes.get_xlim()
    low, high = min([low, *values.values()]), max([high, *values.values()])
    margin = 0.02 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    digits = 2 if high <= 1 else 1  # shares and kappa, or %
    # Slanted names need less room side by side than level ones; this gap is one line of text.
    places = spread(list(values.values()), 0.055 * (high - low))
    above = axes.get_xaxis_transform()
    if len(values) == 1:
        # Towards the middle: there the name does not leave the figure.
        style = {"ha": "left" if places[0] < (low + high) / 2 else "right", "va": "bottom"}
    else:
        style = {"ha": "left", "va": "center", "rotation": 60, "rotation_mode": "anchor"}
    for place, (name, value) in zip(places, values.items(), strict=True):
        axes.axvline(value, color="#8a8a8a", lw=0.8, zorder=0)
        # From the line to its name.
        axes.plot(
            [value, place], [1, 1.012], color="#8a8a8a", lw=0.6, transform=above, clip_on=False
        )
        axes.text(
            place, 1.015, f"{name} {value:.{digits}f}", transform=above, fontsize=7.5, color=INK,
            **style,
        )  # fmt: skip


def readable_cells(axes: Axes) -> None:
    """Write the numbers of a heat map in black or white, whichever stands out more.

    By the contrast of WCAG 2.1 (https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio), one of the two
    has at least 4.5 on any colour.
    """
    (mesh,) = axes.collections
    mesh.update_scalarmappable()
    columns = mesh.get_coordinates().shape[1] - 1
    for text in axes.texts:
        x, y = text.get_position()  # the middle of its cell
        text.set_color(readable_on(mesh.get_facecolors()[int(y) * columns + int(x)]))


def readable_on(colour: ArrayLike) -> str:
    """Black or white, whichever stands out more on a colour (red, green and blue of 0..1).

    >>> readable_on([1, 1, 0]), readable_on([0, 0, 0.5])
    ('black', 'white')
    """
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = np.dot(linear, [0.2126, 0.7152, 0.0722])
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def legend_entries(figure: Figure) -> dict[str, Artist]:
    """Legend entries of all axes by label, each label once."""
    entries = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries[label] = handle
    return entries


def legend_above(figure: Figure, columns: int, **options: Any) -> None:
    """A legend of all axes above them, in at most so many columns."""
    entries = legend_entries(figure)
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=columns, **options)


def label_data(
    figure: Figure, data: str, subjects: int | None = None, clips: int | None = None
) -> Figure:
    """Write the name of the data and the numbers of subjects and clips along the bottom edge.

    Call it once, after drawing.
    """
    counts = ((subjects, "subject"), (clips, "clip"))
    size = [counted(n, word) for n, word in counts if n is not None]
    with mpl.style.context(STYLE):
        narrow = figure.get_figwidth() < 5.5  # the name of the data would not fit on one line
        text = data + (("\n" if narrow else "   ") + f"n = {', '.join(size)}" if size else "")
        inch = 1 / figure.get_figheight()
        foot = (0.36 if narrow and size else 0.22) * inch
        figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot))
        look = {"ha": "right", "va": "bottom", "fontsize": 7.5, "style": "italic", "color": INK}
        # A name may hold dollars.
        figure.text(0.995, 0.07 * inch, text, parse_math=False, **look)
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `<name>.png` and `<name>.pdf` under `folder`, atomically.

    The files hold no dates and no software versions, and equal figures give equal bytes.
    """
    with mpl.style.context(STYLE):
        # Twice: the first layout moves texts outside the axes, which the second makes room for.
        figure.draw_without_rendering()
        figure.draw_without_rendering()
    # The last bits of the layout solver differ from call to call, so the layout is solved once and
    # its positions are rounded.
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6), which="original")
    png, pdf = written = [Path(folder) / f"{name}.{ending}" for ending in ("png", "pdf")]
    with atomic(png) as half:
        half.write_bytes(_png(figure))
    with atomic(pdf) as half, mpl.style.context(STYLE):
        figure.savefig(half, metadata={"CreationDate": None, "Producer": None})
    return written
