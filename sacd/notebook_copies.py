"""Executed copies of notebooks: where one stopped, the stamp on it, and as HTML that needs no network."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sacd.files import write_text


def stopped_at(notebook: Mapping[str, Any]) -> str:
    """Nearest heading above the cell at which papermill stopped."""
    title = "before the first heading"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            headings = [line.lstrip("# ") for line in "".join(cell["source"]).splitlines() if line.startswith("#")]
            title = headings[-1] if headings else title
        elif cell["metadata"].get("papermill", {}).get("status") in ("failed", "running"):
            break
    return f"in the part {title!r}"


def stamped(notebook: dict[str, Any], record: dict[str, Any], stamp: dict[str, str]) -> str:
    """Text of the executed notebook with its stamp under the title, and without paths of this machine."""
    stamp["date"] = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    metadata = notebook["metadata"]
    metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata["papermill"] = {k: v for k, v in metadata.get("papermill", {}).items() if not k.endswith("_path")}
    metadata["sacd"] = record | {"stamp": stamp}
    text = " · ".join(f"**{name}** {value}" for name, value in stamp.items())
    cell = {"cell_type": "markdown", "id": "stamp", "metadata": {"tags": ["stamp"]}, "source": f"> {text}"}
    titled = bool(notebook["cells"]) and notebook["cells"][0]["cell_type"] == "markdown"
    notebook["cells"].insert(int(titled), cell)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def to_html(notebook: Path, output: Path | None = None) -> Path:
    """Write `notebook` as one self-contained HTML file, by default beside it, and return its path.

    Nothing is loaded from other hosts; formulas therefore stay in TeX notation.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.log.setLevel("ERROR")
    html, _ = exporter.from_filename(str(notebook))
    output = output or notebook.with_suffix(".html")
    write_text(output, re.sub(r"<script.*?</script>", _if_local, html, flags=re.DOTALL))
    return output


def _if_local(script: re.Match[str]) -> str:
    """A script, unless it is one of the template's that load MathJax, RequireJS, Mermaid or widgets from elsewhere."""
    opening = script[0][: script[0].index(">")]
    hosts = ("cdnjs.cloudflare.com", "unpkg.com")
    remote = "//" in opening or "mathjax-config" in opening or any(host in script[0] for host in hosts)
    return "" if remote else script[0]
