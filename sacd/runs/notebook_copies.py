"""Executed copies of notebooks: where one failed, its stamp, and its HTML without network use."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sacd.files import write_text
from sacd.runs.notebook_inputs import content_hash

_PLOTLY: Final = "application/vnd.plotly.v1+json"


def stopped_at(notebook: Mapping[str, Any]) -> str:
    """Nearest heading above the cell at which papermill stopped, for an error message."""
    title = "before the first heading"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            headings = [
                line.lstrip("# ")
                for line in "".join(cell["source"]).splitlines()
                if line.startswith("#")
            ]
            title = headings[-1] if headings else title
        elif cell["metadata"].get("papermill", {}).get("status") in ("failed", "running"):
            break
    return f"in the part {title!r}"


def relink(notebook: Mapping[str, Any], source: Path, target: Path) -> None:
    """Keep links of markdown cells to `../...` valid in a copy that lies in another folder.

    Args:
        source, target: folders of the notebook and of its copy.
    """
    root = Path(os.path.relpath(source.resolve().parent, target.resolve())).as_posix()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"]).replace("](../", f"]({root}/")
            cell["source"] = text.splitlines(keepends=True)


def stamped(notebook: dict[str, Any], record: dict[str, Any], stamp: dict[str, str]) -> str:
    """Text of the executed notebook with its stamp under the title.

    Times, paths of this machine and random ids are removed, so that equal executions give equal
    bytes.
    """
    metadata = notebook["metadata"]
    metadata.pop("papermill", None)
    metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata["language_info"] = {
        "name": "python",
        "file_extension": ".py",
        "pygments_lexer": "ipython3",
    }
    metadata["sacd"] = record | {"stamp": stamp}
    for cell in notebook["cells"]:
        for timed in ("papermill", "execution"):
            cell["metadata"].pop(timed, None)
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["id"] = "injected-parameters"
    text = " · ".join(f"**{name}** {value}" for name, value in stamp.items())
    cell = {
        "cell_type": "markdown",
        "id": "stamp",
        "metadata": {"tags": ["stamp"]},
        "source": f"> {text}",
    }
    titled = bool(notebook["cells"]) and notebook["cells"][0]["cell_type"] == "markdown"
    notebook["cells"].insert(int(titled), cell)
    metadata["sacd"]["content"] = content_hash(notebook)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def to_html(notebook: Path, output: Path | None = None) -> Path:
    """Write `notebook` as an HTML file, by default next to it, and return its path.

    Nothing is loaded from other hosts, so formulas stay in TeX notation. The file is
    self-contained, except that plotly figures need `plotly.min.js`, written to the same folder.
    """
    import nbformat  # slow to import
    from nbconvert import HTMLExporter

    output = output or notebook.with_suffix(".html")
    content = nbformat.read(notebook, 4)
    if _with_plots(content):
        from plotly.offline import get_plotlyjs  # slow to import

        write_text(output.with_name("plotly.min.js"), get_plotlyjs())
    exporter = HTMLExporter(
        embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True
    )
    exporter.log.setLevel("ERROR")
    html, _ = exporter.from_notebook_node(content, {"metadata": {"name": notebook.stem}})
    write_text(output, re.sub(r"<script.*?</script>", _if_local, html, flags=re.DOTALL))
    return output


def _with_plots(notebook: Any) -> int:
    """Give each plotly figure an HTML form for nbconvert; returns the number of figures."""
    outputs = []
    for cell in notebook.cells:
        shown = [out.data for out in cell.get("outputs", []) if "data" in out]
        outputs += [data for data in shown if _PLOTLY in data]
    for n, data in enumerate(outputs):
        import plotly.io  # slow to import

        figure, script = data[_PLOTLY], False if n else "directory"  # the first loads plotly.js
        data["text/html"] = plotly.io.to_html(
            {"data": figure["data"], "layout": figure["layout"]},
            full_html=False,
            include_plotlyjs=script,
            config={"showSendToCloud": False, "displaylogo": False},  # no button that uploads data
            validate=False,
            div_id=f"plotly-{n}",
        )
    return len(outputs)


def _if_local(script: re.Match[str]) -> str:
    """A script, or nothing if it loads MathJax, RequireJS, Mermaid or widgets from a host."""
    opening = script[0][: script[0].index(">")]
    hosts = ("cdnjs.cloudflare.com", "unpkg.com")
    remote = (
        "//" in opening or "mathjax-config" in opening or any(host in script[0] for host in hosts)
    )
    return "" if remote else script[0]
