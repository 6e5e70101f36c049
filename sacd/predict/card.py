"""The figures of `docs/model_card.md`, from the shipped model itself."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sacd.files import FileError, write_text
from sacd.predict.context import AboutContext
from sacd.predict.model import About, about_text
from sacd.stages import STAGES

_PART: Final = re.compile(r"(<!-- model:[^>]*-->\n).*?(<!-- end of model -->)", re.DOTALL)


def write_card(path: Path, about: About) -> None:
    """Fill in the generated part of the card.

    Raises:
        FileError: the file has no such part.
    """
    text = path.read_text(encoding="utf-8")
    found, count = _PART.subn(lambda match: f"{match[1]}{figures(about)}{match[2]}", text)
    if count != 1:
        problem = f"has {count} parts between '<!-- model: -->' and '<!-- end of model -->'"
        raise FileError(path, problem, "restore the file of the repository")
    write_text(path, found)


def figures(about: About) -> str:
    """What a model says of itself, as Markdown."""
    lines = [f"{about_text(about)}.", ""]
    columns = {"validation, one clip": about.figures["validation"]}
    if about.context is not None:
        of = about.context.figures
        columns["validation, context"] = of["validation"]
        columns["whole nights, one clip"] = of["nights, one clip"]
        columns["whole nights, context"] = of["nights"]
    columns["test, one clip"] = about.figures["test"]
    lines += _table(columns)
    store = about.store
    lines += [
        "",
        f"Input: {store.frames} grey frames of {store.height} x {store.width} pixels for 30 s, "
        f"spread evenly. {_calibration('A clip', about)}",
    ]
    if about.context is not None:
        lines[-1] += f" {_calibration('With context, a clip', about.context)}"
    return "\n".join(lines) + "\n"


def _table(columns: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A row for each figure."""
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in next(iter(columns.values())):
        values = " | ".join(f"{figures[name]:g}" for figures in columns.values())
        lines.append(f"| {name} | {values} |")
    return lines


def _calibration(what: str, about: About | AboutContext) -> str:
    each = ", ".join(f"{name} {b:g}" for name, b in zip(STAGES, about.biases, strict=True))
    return (
        f"{what} is uncertain below a probability of {about.threshold:g}. Biases on the "
        f"log-probabilities: {each}."
    )
