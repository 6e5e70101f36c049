"""The interactive map of `50_explore`: one page without a network, which needs no kernel.

Pointing at a clip shows its probabilities, EEG, movement, place in the night, and, of simulated
sleepers only, a few frames.
"""

import html
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any


def page(content: Mapping[str, Any], run: str = "", subject: str = "") -> str:
    """HTML page of the map.

    Args:
        content: from `sacd.analysis.explore.payload`.
        run, subject: what is chosen at first; empty: the first run, and all subjects.
    """
    names = [one["name"] for one in content["runs"]]
    first = {"run": names.index(run) if run else 0}
    first["who"] = content["subjects"].index(subject) if subject else ""
    # `<` would end the script where a name holds `</script>`.
    text = json.dumps(content | first, ensure_ascii=False).replace("<", "\\u003c")
    template = resources.files(__package__).joinpath("explorer.html").read_text(encoding="utf-8")
    return template.replace("DATA", text, 1)


def framed(content: Mapping[str, Any], **chosen: str) -> str:
    """The page in a frame, for a cell of a notebook; `chosen` are those of `page`."""
    source = html.escape(page(content, **chosen))
    look = 'title="Interactive map of the clips" style="width: 100%; height: 900px; border: 0"'
    return f'<div><iframe {look} srcdoc="{source}"></iframe></div>'
