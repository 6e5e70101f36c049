"""What leaves the results folder: pictures inside a page; all tables, or all figures, as a zip."""

import base64
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from sacd.files import atomic

WIDTHS: Final = {True: 900, False: 640}
"""Pixels of a figure inside the one-file report: the first of an item, and all others."""
COLOURS: Final = 40
"""Colours of such a picture. The files in `figures/` have all."""
LOOK: Final = f"{WIDTHS} {COLOURS} of best coverage"
"""What decides how these pictures look."""
ZIPS: Final = {"tables.zip": ("tables", (".csv", ".md", ".tex")), "figures.zip": ("figures", None)}
"""Name of an archive, the folder that it holds, and which endings (None: all)."""
_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""Date of every file in an archive, so that equal contents give equal bytes."""


def as_data(path: Path, width: int) -> str:
    """A picture as a `data:` address, at most `width` pixels wide."""
    with Image.open(path) as image, io.BytesIO() as small:
        picture = image.convert("RGB")
        if picture.width > width:
            height = round(picture.height * width / picture.width)
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        # This way of choosing keeps the colour of small areas, such as a rare verdict.
        reduced = picture.quantize(
            COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE
        )
        reduced.save(small, "png", optimize=True)
        return "data:image/png;base64," + base64.b64encode(small.getvalue()).decode("ascii")


def embedded(results: Path, leading: Sequence[str]) -> Callable[[str], str]:
    """Function from the path of a picture under `results` to its `data:` address.

    Args:
        leading: paths of the pictures that are shown large.
    """
    return lambda name: as_data(results / name, WIDTHS[name in leading])


def write_zips(results: Path, folder: Path) -> list[str]:
    """Write the archives of `ZIPS` to `folder` where their contents changed; returns the names."""
    written = []
    for name, (source, endings) in ZIPS.items():
        paths = sorted(path for path in (results / source).glob("*") if path.is_file())
        paths = [path for path in paths if endings is None or path.suffix in endings]
        if paths:
            _write_zip(folder / name, paths, results)
            written.append(name)
    return written


def _write_zip(path: Path, files: Sequence[Path], root: Path) -> None:
    with io.BytesIO() as whole:
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                entry = zipfile.ZipInfo(file.relative_to(root).as_posix(), _DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16  # the upper half holds the mode of Unix
                archive.writestr(entry, file.read_bytes())
        if path.is_file() and path.read_bytes() == whole.getvalue():
            return
        with atomic(path) as half:
            half.write_bytes(whole.getvalue())
