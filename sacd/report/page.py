"""`results/<profile>/report/`: one page that shows ours beside the paper, and each executed notebook as a page.

The site needs no network and no server. Figures and tables are linked where they lie, beside
`report/`.
"""

import re
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd

from sacd.files import sha256, write_json, write_text
from sacd.paper.contents import items
from sacd.report import claims
from sacd.report.readme import MARKS, summary
from sacd.report.verify import Verification, sections
from sacd.results import RECORD, read_manifest
from sacd.runs import notebook_copies
from sacd.runs.notebook_copies import to_html
from sacd.runs.notebook_inputs import read_notebook
from sacd.runs.store import read_json

_HEAD: Final = """
<style>
body.jp-Notebook { max-width: 1180px; margin: 0 auto; overflow-wrap: anywhere; }
.jp-OutputArea-output, .highlight { overflow-x: auto; } table { overflow-wrap: normal; }
.back { margin: 1rem; font: 16px sans-serif; } .back a { color: #0a5ea8; text-decoration: underline; }
</style>
<p class="back"><a href="index.html">All results</a></p>"""


def build(v: Verification) -> Path:
    """Write what is out of date of `report/` and return the path of its `index.html`.

    Args:
        v: what `sacd.report.verify.verify` found in the results folder.
    """
    folder, manifest = v.results / "report", read_manifest(v.results)
    _pages(v.results / "notebooks", folder)
    text = _index(v, manifest)
    index = folder / "index.html"
    if not index.is_file() or index.read_text(encoding="utf-8") != text:
        write_text(index, text)
    return index


def _pages(notebooks: Path, folder: Path) -> None:
    """One page a notebook, made again where the notebook or the way to make pages changed."""
    known, way = read_json(folder / "pages.json"), sha256(Path(notebook_copies.__file__))
    made = {path.stem: f"{sha256(path)} {way}" for path in sorted(notebooks.glob("*.ipynb"))}
    for name, digest in made.items():
        page = folder / f"{name}.html"
        if known.get(name) == digest and page.is_file():
            continue
        html = to_html(notebooks / f"{name}.ipynb", page).read_text(encoding="utf-8")
        html = re.sub(r"<body[^>]*>", rf"\g<0>{_HEAD}", html, count=1)
        write_text(page, re.sub(r'href="(?:\./)?(\w+)\.ipynb"', r'href="\1.html"', html))
    for page in folder.glob("*.html"):
        if page.stem not in made and page.name != "index.html":
            page.unlink()
    if made != known:
        write_json(folder / "pages.json", made)


def _index(v: Verification, manifest: dict[str, Any]) -> str:
    template = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    path = v.results / RECORD
    record = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["kind", "name", "id"])
    runs = record[record["kind"] == "run"].drop(columns="kind")
    executed = record[record["kind"] == "notebook"].set_index("name").astype(str).to_dict("index")
    titles = {item.notebook: item.title for item in items().values()}
    links = {
        title: f"{name}.html" for name, title in titles.items() if name in manifest["notebooks"]
    }
    links |= {item: links[items()[item].title] for item in items() if items()[item].title in links}
    links |= {name: f"{name}.html" for name in manifest["notebooks"]}
    text = v.claims[v.claims["item"] != "audit"]
    notebooks = sorted((v.results / "notebooks").glob("*.ipynb"))
    counted = pd.concat([v.numbers["verdict"], text["verdict"]]).value_counts().to_dict()
    return environment.from_string(template).render(
        v=v,
        name=v.results.name,
        kind=_kind,
        counts=counted,
        rule="Reproduced is said only of the data that the paper used.",
        headlines=summary(v),
        links=links,
        fewest=claims.MIN_SUBJECTS,
        claims=text,
        sections=[(title, frame) for title, frame in sections(v) if title != "claims of the text"],
        notebooks=pd.DataFrame(
            [
                {"notebook": name, "shows": titles.get(name, ""), "runs": len(entry["runs"])}
                | {"commit": executed.get(name, {}).get("commit", "")[:10]}
                | {"executed": executed.get(name, {}).get("started", "")}
                for name, entry in manifest["notebooks"].items()
            ],
            columns=["notebook", "shows", "runs", "commit", "executed"],
        ),
        figures=_figures(manifest, titles),
        captions={name: text for path in notebooks for name, text in _captions(path).items()},
        vector={Path(name).stem for name in manifest["files"] if name.endswith(".pdf")},
        facts=_facts(manifest, runs),
        downloads=["MANIFEST.json", "verify.md", "codecheck.yml"]
        + [n for n in manifest["files"] if n.endswith((".csv", ".tex"))],
        runs=runs.astype("string").fillna(""),
    )


def _kind(verdict: str) -> str:
    """Colour of a verdict, with or without its mark."""
    marks = {word: mark for word, mark in MARKS.items() if word in verdict}
    return {"✓": "good", "✗": "bad", "⚠": "odd"}.get(next(iter(marks.values()), ""), "open")


def _figures(manifest: dict[str, Any], titles: dict[str, str]) -> dict[str, list[str]]:
    """Names of the figures by the title of the notebook that made them."""
    found: dict[str, list[str]] = {}
    makers = {name: entry["notebook"] or "" for name, entry in manifest["files"].items()}
    for name in sorted(makers, key=lambda name: (makers[name], name)):
        if name.startswith("figures/") and name.endswith(".png"):
            found.setdefault(titles.get(makers[name], "other"), []).append(Path(name).stem)
    return found


def _captions(notebook: Path) -> dict[str, str]:
    """Heading above the cell that saves a figure, by the figure's name (and by whatever else is quoted there)."""
    found, heading = {}, ""
    for cell in read_notebook(notebook)["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = [
                heading,
                *(line.lstrip("# ") for line in text.splitlines() if line.startswith("#")),
            ][-1]
        elif "save(" in text:
            found = {name: heading for name in re.findall(r'"(\w+)"', text)} | found
    return found


def _facts(manifest: dict[str, Any], runs: pd.DataFrame) -> dict[str, str]:
    """Totals of the trainings that are shown, and where they and the manifest were made."""
    machine = manifest["machine"]
    facts = {"profile": manifest["profile"], "data": manifest["data"]}
    if len(runs):
        once = runs.drop_duplicates("id")
        threads = once["threads"].fillna(1)
        peak = once["peak_cpu_mb"].max() / 1024
        changed = once["dirty"].eq(True).map({True: " with changes", False: ""})
        commits = once["commit"].fillna("unknown") + changed
        facts |= {
            "runs": f"{len(once)}, each counted once; what they were made from included, attempts that failed are not",
            "compute": f"{(once['duration_s'] * threads).sum() / 3600:.2f} core-hours",
            "peak memory": f"{peak:.1f} GB of one run",
            "commits of the runs": ", ".join(sorted(commits.unique())),
        }
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return facts | {
        "machine": f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, GPU: {machine['gpu'] or 'none'}",
        "Python": f"{machine['python']}; {packages}",
        "lock": f"requirements.lock, SHA-256 {machine['lock']}",
    }
