"""The figures of `docs/model_card.md`, from the shipped model itself."""

import re
from pathlib import Path
from typing import Final

from sacd.files import FileError, write_text
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
    validation, test = about.figures["validation"], about.figures["test"]
    lines = [f"{about_text(about)}.", "", "| | validation | test |", "|---|---|---|"]
    lines += [f"| {name} | {validation[name]:g} | {test[name]:g} |" for name in test]
    store = about.store
    biases = ", ".join(f"{name} {b:g}" for name, b in zip(STAGES, about.biases, strict=True))
    lines += [
        "",
        f"Input: {store.frames} grey frames of {store.height} x {store.width} pixels for 30 s, "
        f"spread evenly. A clip is uncertain below a probability of {about.threshold:g}. Biases on "
        f"the log-probabilities: {biases}.",
    ]
    return "\n".join(lines) + "\n"
