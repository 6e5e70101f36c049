"""The page of a staged night: a single file, with the picture inside."""

import base64
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jinja2

from sacd.files import write_text

_LABELS: Final = {"accuracy": "accuracy (%)", "macro_f1": "macro-F1 (%)"}
"""Names on the page, where summary.json has others."""


def write_page(
    path: Path, picture: Path, summary: Mapping[str, Any], title: str, model: str
) -> None:
    """Write the page.

    Args:
        picture: PNG of the night.
        summary: of `sacd.predict.summary`, as written to summary.json.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    tables = {"Sleep": _shown(summary["sleep"]), "How sure": summary["certainty"]}
    if summary["agreement"]:
        tables["Beside the EEG"] = _shown(summary["agreement"])
    stages = ", ".join(f"{name} {n}" for name, n in summary["clips"].items())
    page = environment.from_string(text).render(
        title=title,
        lead=summary["lead"],
        warnings=summary["warnings"],
        picture=base64.b64encode(picture.read_bytes()).decode(),
        alt=f"Clips of 30 s by stage: {stages}",
        tables=tables,
        model=model,
    )
    write_text(path, page + "\n")


def _shown(values: Mapping[str, Any]) -> dict[str, str]:
    """Numbers and words as text; a dash where a number is undefined."""
    texts = {}
    for name, value in values.items():
        if isinstance(value, float):
            value = f"{round(value, 1 if abs(value) >= 10 else 2):g}"
        texts[_LABELS.get(name, name)] = "–" if value is None else str(value)
    return texts
