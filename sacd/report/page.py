"""Builds `results/<profile>/report/`: our results beside the paper, and the notebooks as pages.

The site needs no network and no server. It links figures and tables in the folders beside
`report/`. `captions.csv` has the captions of the figures.
"""

import re
from collections.abc import Collection
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd

from sacd.analysis.crossed import MIN_SUBJECTS
from sacd.files import sha256, write_json, write_text
from sacd.paper.contents import items
from sacd.report.overview import write_overview
from sacd.report.readme import MARKS, summary
from sacd.report.verify import Verification, changes, numbers_by_item
from sacd.results import RECORD, read_manifest
from sacd.runs import notebook_copies
from sacd.runs.notebook_copies import to_html
from sacd.runs.store import read_json

MARK_KINDS: Final = {"✓": "good", "✗": "bad", "⚠": "odd"}
"""Style class of a verdict by its mark; "open" without one."""
GIB: Final = 1024
"""MiB per GiB."""

_HEAD: Final = """
<style>
body.jp-Notebook { max-width: 1180px; margin: 0 auto; overflow-wrap: anywhere; }
.jp-OutputArea-output, .highlight { overflow-x: auto; } table { overflow-wrap: normal; }
.back { margin: 1rem; font: 16px sans-serif; }
.back a { color: #0a5ea8; text-decoration: underline; }
</style>
<p class="back"><a href="index.html">All results</a></p>"""


def build(v: Verification) -> Path:
    """Write the outdated pages of `report/` and return the path of its `index.html`.

    Writes the summary figure as well, which README shows too.
    """
    write_overview(v)
    folder, manifest = v.results / "report", read_manifest(v.results)
    _pages(v.results / "notebooks", folder)
    text = _index(v, manifest)
    index = folder / "index.html"
    if not index.is_file() or index.read_text(encoding="utf-8") != text:
        write_text(index, text)
    return index


def _pages(notebooks: Path, folder: Path) -> None:
    """One page per notebook, rebuilt if the notebook or the converter changed."""
    known, converter = read_json(folder / "pages.json"), sha256(Path(notebook_copies.__file__))
    made = {path.stem: f"{sha256(path)} {converter}" for path in sorted(notebooks.glob("*.ipynb"))}
    for name, digest in made.items():
        page = folder / f"{name}.html"
        if known.get(name) == digest and page.is_file():
            continue
        html = to_html(notebooks / f"{name}.ipynb", page).read_text(encoding="utf-8")
        # The notebooks link each other as files; on the site those are pages.
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
    tables = [name for name in manifest["files"] if name.endswith((".csv", ".tex"))]
    return environment.from_string(template).render(
        v=v,
        name=v.results.name,
        kinds=_kinds(),
        counts=pd.concat([v.numbers["verdict"], v.claims["verdict"]]).value_counts().to_dict(),
        headlines=summary(v),
        links=_links(manifest["notebooks"]),
        min_subjects=MIN_SUBJECTS,
        sections=[*changes(v), *numbers_by_item(v)],
        notebooks=_notebooks(manifest, titles, executed),
        figures=_figures(manifest, titles),
        captions=_captions(),
        vector={Path(name).stem for name in manifest["files"] if name.endswith(".pdf")},
        facts=_facts(manifest, runs),
        downloads=["MANIFEST.json", "verify.md", "codecheck.yml", *tables],
        runs=runs.astype("string").fillna(""),
    )


def _kinds() -> dict[str, str]:
    """Style class of each verdict, as it is and behind its mark."""
    kinds = {}
    for verdict, mark in MARKS.items():
        kinds[verdict] = kinds[f"{mark} {verdict}"] = MARK_KINDS.get(mark, "open")
    return kinds


def _links(executed: Collection[str]) -> dict[str, str]:
    """Pages of the executed notebooks by the notebook's name, its items and its title."""
    links = {name: f"{name}.html" for name in executed}
    for name, item in items().items():
        if item.notebook in executed:
            links[name] = links[item.title] = f"{item.notebook}.html"
    return links


def _notebooks(
    manifest: dict[str, Any], titles: dict[str, str], executed: dict[str, dict[str, str]]
) -> pd.DataFrame:
    """One line per notebook: what it shows, the number of its runs, commit and date."""
    lines = []
    for name, entry in manifest["notebooks"].items():
        facts = executed.get(name, {})
        commit, started = facts.get("commit", "")[:10], facts.get("started", "")
        lines.append((name, titles.get(name, ""), len(entry["runs"]), commit, started))
    return pd.DataFrame(lines, columns=["notebook", "shows", "runs", "commit", "executed"])


def _figures(manifest: dict[str, Any], titles: dict[str, str]) -> dict[str, list[str]]:
    """Names of the figures by the title of the notebook that made them."""
    found: dict[str, list[str]] = {}
    makers = {name: entry["notebook"] or "" for name, entry in manifest["files"].items()}
    for name in sorted(makers, key=lambda name: (makers[name], name)):
        if name.startswith("figures/") and name.endswith(".png"):
            found.setdefault(titles.get(makers[name], "other"), []).append(Path(name).stem)
    return found


def _captions() -> dict[str, str]:
    """Caption of each figure by its name, from `captions.csv`."""
    with resources.files(__package__).joinpath("captions.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file).set_index("figure")["caption"].to_dict()


def _facts(manifest: dict[str, Any], runs: pd.DataFrame) -> dict[str, str]:
    """Totals of the runs that are shown, and the machine that wrote the manifest."""
    machine = manifest["machine"]
    facts = {"profile": manifest["profile"], "data": manifest["data"]}
    if len(runs):
        once = runs.drop_duplicates("id")
        threads = once["threads"].fillna(1)
        peak = once["peak_cpu_mb"].max() / GIB
        changed = once["dirty"].eq(True).map({True: " with changes", False: ""})
        commits = once["commit"].fillna("unknown") + changed
        facts |= {
            "runs": f"{len(once)}, each counted once; inputs included, failed attempts excluded",
            "compute": f"{(once['duration_s'] * threads).sum() / 3600:.2f} core-hours",
            "peak memory": f"{peak:.1f} GB of one run",
            "commits of the runs": ", ".join(sorted(commits.unique())),
        }
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    processor = f"{machine['cpu']}, {machine['cores']} cores"
    return facts | {
        "machine": f"{processor}, {machine['system']}, GPU: {machine['gpu'] or 'none'}",
        "Python": f"{machine['python']}; {packages}",
        "lock": f"requirements.lock, SHA-256 {machine['lock']}",
    }
