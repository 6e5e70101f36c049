"""Executed notebooks as pages of the site: the answer first, code folded, nothing from a network.

`notebook.html` is the template that nbconvert fills in.
"""

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup
from PIL import Image

from sacd.files import read_json, sha256, write_json, write_text
from sacd.paper.contents import CONTENTS
from sacd.report.cards import load_captions
from sacd.report.formulas import with_formulas

FAVICON: Final = Markup(
    '<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27'
    " viewBox=%270 0 16 16%27%3E%3Cpath fill=%27none%27 stroke=%27%230072b2%27 stroke-width=%272%27"
    ' d=%27M1 3h4v5h3v5h3V5h4%27/%3E%3C/svg%3E">'
)
"""A hypnogram."""
HERE: Final = Path(__file__).parent
SCREEN: Final = 133
"""CSS pixels per inch of a figure: one as wide as a printed page (7.2 inches) fills the column."""
_PLOTLY: Final = "application/vnd.plotly.v1+json"
_WIDGET: Final = "application/vnd.jupyter.widget-view+json"
_FOLDED: Final = {"parameters": "Parameters", "injected-parameters": "Parameters of this run"}
"""What is written on the folded code of a cell with this tag; "Code" on all others."""
_LONG: Final = re.compile(r"<(?:td(?=>[^<]{40})|th(?=[ >][^<]{20}))")
"""Opening of a table's cell with a sentence, not a number and its interval, or of a long name."""
_MADE_OF: Final = ("notebook_page.py", "formulas.py", "notebook.html", "style.css", "captions.csv")
"""Files of this folder that decide how a page looks."""

Neighbours = tuple[tuple[str, str] | None, tuple[str, str] | None]
"""Name and title of the page before and of the page after; None at the ends."""


def write_pages(notebooks: Path, folder: Path) -> None:
    """One page per notebook, rebuilt if the notebook, its neighbours or the look changed."""
    folder.mkdir(parents=True, exist_ok=True)
    known, look = read_json(folder / "pages.json"), "".join(sha256(HERE / x) for x in _MADE_OF)
    titles = {item.notebook: item.title[0].upper() + item.title[1:] for item in CONTENTS}
    there = {path.stem for path in notebooks.glob("*.ipynb")}
    names = [name for name in titles if name in there] + sorted(there - titles.keys())
    pages = [None, *((name, titles.get(name, name)) for name in names), None]
    made = {}
    for before, (name, _), after in zip(pages, pages[1:-1], pages[2:], strict=False):
        made[name] = f"{sha256(notebooks / f'{name}.ipynb')} {before} {after} {look}"
        page = folder / f"{name}.html"
        if known.get(name) != made[name] or not page.is_file():
            to_html(notebooks / f"{name}.ipynb", page, (before, after))
    # A notebook that was renamed or withdrawn leaves no page behind.
    for page in folder.glob("*.html"):
        if page.stem not in made and page.name != "index.html":
            page.unlink()
    if made != known:
        write_json(folder / "pages.json", made)


def to_html(notebook: Path, output: Path, neighbours: Neighbours = (None, None)) -> Path:
    """Write `notebook` as an HTML page and return its path.

    The page is self-contained, except that plotly figures need `plotly.min.js`, which is written
    to the same folder.
    """
    import nbformat  # slow to import
    from nbconvert import HTMLExporter

    content = nbformat.read(notebook, 4)
    if _with_plots(content):
        from plotly.offline import get_plotlyjs  # slow to import

        write_text(output.with_name("plotly.min.js"), get_plotlyjs())
    contents = _arrange(content, load_captions())
    exporter = HTMLExporter(
        raw_template=(HERE / "notebook.html").read_text(encoding="utf-8"),
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    exporter.log.setLevel("ERROR")
    page = {
        "title": _title(content) or notebook.stem,
        "name": notebook.stem,
        "digest": sha256(notebook),
        "style": (HERE / "style.css").read_text(encoding="utf-8"),
        "favicon": FAVICON,
        "before": neighbours[0],
        "after": neighbours[1],
        "contents": contents,
        "stamp": content.metadata.get("sacd", {}).get("stamp", {}),
    }
    # The template finds `page` as `resources.page`.
    html, _ = exporter.from_notebook_node(content, {"page": page})
    write_text(output, html)
    return output


def _title(notebook: Any) -> str:
    first = notebook.cells[0].source if notebook.cells else ""
    return first.partition("\n")[0].lstrip("# ") if first.startswith("# ") else ""


def _arrange(notebook: Any, captions: Mapping[str, str]) -> list[tuple[int, str]]:
    """Bring the cells into the order of the page; returns number and text of its parts.

    The title comes first, then the answer, then the text below the title. The stamp goes to the
    footer. Every cell gets what the template needs: the heading above it, and for pictures an
    alternative text.
    """
    cells = [cell for cell in notebook.cells if "stamp" not in cell.metadata.get("tags", [])]
    heading, contents, answers = _title(notebook), [], []
    for cell in cells:
        if cell.cell_type == "markdown":
            if cell.source.startswith("## "):
                contents.append((len(contents) + 1, _line(cell.source)))
                cell.metadata["part"] = len(contents)
            heading = _line(cell.source) if cell.source.startswith("#") else heading
            # Notebooks link each other as files; on the site those are pages.
            linked = re.sub(r"\]\((?:\./)?(\w+)\.ipynb\)", r"](\1.html)", cell.source)
            cell.source = with_formulas(linked)
            continue
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.get("tags", [])
        cell.metadata["heading"] = heading
        cell.metadata["folded"] = next((_FOLDED[tag] for tag in tags if tag in _FOLDED), "Code")
        cell.outputs = [o for o in cell.outputs if _WIDGET not in o.get("data", {})]
        _name_pictures(cell, heading, captions)
        _mark_long_cells(cell)
        if "answer" in tags and cell.outputs:
            answers.append(_without_code(cell))
            cell.outputs = []
    notebook.cells = _first(cells, answers) if _title(notebook) else answers + cells
    return contents


def _line(source: str) -> str:
    """Text of the heading that a cell begins with."""
    return re.sub(r"[`*$]", "", source.partition("\n")[0].lstrip("# "))


def _first(cells: list[Any], answers: list[Any]) -> list[Any]:
    """Title, answers, the text below the title, and the other cells."""
    title, _, below = cells[0].source.partition("\n")
    lead = cells[0].copy()
    lead.source, cells[0].source = title, below.strip()
    lead.id = "title"  # nbconvert would give one of two equal ids a random number
    cells[0].metadata = {**cells[0].metadata, "contents": True}
    return [lead, *answers, *cells]


def _without_code(cell: Any) -> Any:
    """The outputs of a code cell alone."""
    answer = cell.copy()
    answer.source, answer.metadata = "", {**cell.metadata, "answer": True}
    answer.id = f"{cell.get('id', '')}-output"
    return answer


def _name_pictures(cell: Any, heading: str, captions: Mapping[str, str]) -> None:
    """Give the pictures of a cell their captions; those without one are named by the heading."""
    saved = [name for name in re.findall(r'"(\w+)"', cell.source) if name in captions]
    texts = [captions[name] for name in dict.fromkeys(saved)]
    pictures = [out for out in cell.outputs if "image/png" in out.get("data", {})]
    for number, output in enumerate(pictures):
        text = texts[number] if number < len(texts) else f"Figure: {heading}"
        known = output.metadata.get("image/png", {})
        output.metadata["image/png"] = {"width": _width(output.data["image/png"])} | known
        output.metadata["image/png"]["alt"] = text


def _mark_long_cells(cell: Any) -> None:
    """Mark cells of tables that may take several lines, so that a table fits a page."""
    for data in (output.data for output in cell.outputs if "text/html" in output.get("data", {})):
        if "<iframe" not in data["text/html"]:
            data["text/html"] = _LONG.sub(r'\g<0> class="long"', data["text/html"])


def _width(png: str) -> int:
    """Width in CSS pixels at which the letters of every figure of a page have one size.

    Args:
        png: base64.
    """
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        inches = image.width / image.info.get("dpi", (SCREEN, SCREEN))[0]
        return min(image.width, round(SCREEN * inches))


def _with_plots(notebook: Any) -> int:
    """Give each plotly figure an HTML form for nbconvert; returns the number of figures."""
    outputs = []
    for cell in notebook.cells:
        shown = [out.data for out in cell.get("outputs", []) if "data" in out]
        outputs += [data for data in shown if _PLOTLY in data]
    for n, data in enumerate(outputs):
        import plotly.io  # slow to import

        figure = data[_PLOTLY]
        data["text/html"] = plotly.io.to_html(
            {"data": figure["data"], "layout": figure["layout"]},
            full_html=False,
            include_plotlyjs=False if n else "directory",  # the first one loads it
            config={"showSendToCloud": False, "displaylogo": False},  # no button that uploads data
            validate=False,
            div_id=f"plotly-{n}",  # the default is a random id
        )
    return len(outputs)
