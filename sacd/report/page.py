"""Builds `results/<profile>/report/`: the start page, and the notebooks as pages.

The site needs no network and no server. It links figures and tables in the folders beside
`report/`, and building it again gives equal bytes. `results/<profile>/report.html` is the start
page once more, as one file that holds its pictures and is published with the repository.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jinja2
import pandas as pd

from sacd.analysis.crossed import MIN_SUBJECTS, Verdict
from sacd.files import sha256, write_text
from sacd.report import summary as short
from sacd.report.cards import cards, inline, plain, size
from sacd.report.notebook_page import FAVICON, write_pages
from sacd.report.numbers import DIFFERS, REPRODUCED
from sacd.report.overview import rungs, write_overview
from sacd.report.primary import primary
from sacd.report.publish import LOOK, embedded, write_zips
from sacd.report.verify import AUDIT_TITLE, Verification, changes, numbers_by_item
from sacd.results import CHECK, INGESTS, ONE_FILE, OVERVIEW, RECORD, read_manifest

KINDS: Final = {
    "hold": "good",
    "fail": "bad",
    "equal": "equal",
    "undecided": "open",
    "paper contradicts itself": "odd",
    Verdict.BETTER.value: "good",
    Verdict.WORSE.value: "bad",
}
"""Style class of a verdict, on a claim or on a comparison."""
GIB: Final = 1024
"""MiB per GiB."""
PLOT: Final = (8.0, 312.0)
"""Left and right end, in units of the drawing, of the intervals of the primary comparisons."""
_ELSEWHERE: Final = ("**Primary comparisons**", "**Claims")
"""Lines of the status that the page shows as a table and as tiles."""


def build(v: Verification) -> Path:
    """Write the outdated pages of `report/` and return the path of its `index.html`.

    Writes the summary figure as well, which README shows too, and the report in one file.
    """
    overview = write_overview(v)
    folder, manifest = v.results / "report", read_manifest(v.results)
    write_pages(v.results / "notebooks", folder)
    content = _content(v, manifest, overview)
    _write(folder / "index.html", template("report.html").render(content | _in_site(v, folder)))
    _write_one_file(v, content)
    return folder / "index.html"


def _write(path: Path, text: str) -> None:
    """Write a page unless it has this text already, so that its date says when it changed."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _in_site(v: Verification, folder: Path) -> dict[str, Any]:
    """How the start page of the site reaches files, pages and pictures."""
    return {
        "up": "../",
        "made_of": "",
        "page_of": lambda card: card.page,
        "picture": lambda name: f"../{name}",
        "problems": v.problems,
        "changes": list(changes(v)),
        "archives": write_zips(v.results, folder),
    }


def _write_one_file(v: Verification, content: dict[str, Any]) -> None:
    """Write `ONE_FILE`: pictures inside, links to the files beside it, notebooks as such.

    It leaves out what differs from the committed results, since it is committed with them.
    """
    path, pictures, leading = v.results / ONE_FILE, [], [OVERVIEW]
    for card in content["cards"]:
        names = [f"figures/{picture.name}.png" for picture in card.pictures]
        pictures += names
        leading += names[:1]
    pictures += [OVERVIEW] if content["overview"] else []
    way = {
        "up": "",
        "page_of": lambda card: card.page and f"notebooks/{Path(card.page).stem}.ipynb",
        "problems": [line for line in v.problems if line not in v.drift.problems],
        "changes": [],
        "archives": [],
    }
    # Drawing the pictures takes seconds, so the file is made again only if something changed.
    digests = [sha256(v.results / name) for name in pictures]
    text = template("report.html").render(content | way | {"picture": str, "made_of": ""})
    made_of = hashlib.sha256("".join([LOOK, text, *digests]).encode()).hexdigest()
    if path.is_file() and f"made of {made_of}" in path.read_text(encoding="utf-8"):
        return
    way |= {"picture": embedded(v.results, leading), "made_of": made_of}
    write_text(path, template("report.html").render(content | way))


def template(name: str) -> jinja2.Template:
    """A template of this folder; it may include the other files of the folder."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, loader=loader
    )
    return environment.get_template(name)


def _content(v: Verification, manifest: dict[str, Any], overview: Path | None) -> dict[str, Any]:
    """What the start page shows, in the site and as one file."""
    shown = cards(v, manifest)
    ladder = rungs(v.results)["value"].map("{:.2f}".format)
    return dict(
        v=v,
        name=v.results.name,
        kinds=KINDS,
        favicon=FAVICON,
        inline=inline,
        plain=plain,
        status=_status(v),
        overview=overview and (OVERVIEW, *size(overview)),
        ladder=", ".join(f"{name} {value}" for name, value in ladder.items()),
        counts=short.counts(v.claims["verdict"]),
        number_of=short.number_of,
        primary=list(_primary(v)),
        cards=shown,
        figures=[picture for card in shown for picture in card.pictures[1:]],
        min_subjects=MIN_SUBJECTS,
        recordings=list(_recordings(v.results)),
        numbers=[(title, lines) for title, lines in numbers_by_item(v) if title != AUDIT_TITLE],
        numbers_open=v.numbers["verdict"].isin([REPRODUCED, DIFFERS]).any(),
        facts=_facts(v, manifest),
        downloads=_downloads(v.results),
    )


def _status(v: Verification) -> list[str]:
    """Lines of the status box that stand nowhere else on the page; none without Table II."""
    if not (v.results / "tables" / "table2.csv").is_file():
        return []
    return [line for line in short.status(v) if not line.startswith(_ELSEWHERE)]


def _primary(v: Verification) -> Iterator[dict[str, Any]]:
    """The primary comparisons as text, with the places of their drawings."""
    family = primary(short.paired(v))
    if family.empty:
        return
    margin = family["margin"].fillna(0)
    lowest = min(family["ci_low"].min(), -margin.max(), 0)
    highest = max(family["ci_high"].max(), margin.max(), 0)
    scale = (PLOT[1] - PLOT[0]) / (highest - lowest)

    def place(value: float) -> float:
        return round(PLOT[0] + scale * (value - lowest), 1)

    for line, width in zip(family.itertuples(), margin, strict=True):
        yield {
            "low": place(line.ci_low),
            "high": place(line.ci_high),
            "at": place(line.value),
            "zero": place(0),
            "margin_from": place(-width),
            "margin_width": round(2 * width * scale, 1),
            "comparison": line.comparison[0].upper() + line.comparison[1:],
            "said": f"{line.value:+z.3f} [{line.ci_low:+z.3f}, {line.ci_high:+z.3f}]",
            "p": "< 0.001" if line.p_holm < 0.001 else f"{line.p_holm:.3f}",
            "n": f"{line.n_subjects:.0f} subjects, {line.n_seeds:.0f} seeds",
            "verdict": line.verdict,
            "needs": line.needs,
        }


def _recordings(results: Path) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Title, file and rows of what `check` found in a cohort, and of what ingest kept of it.

    None for a simulated cohort, which has no such tables.
    """
    for path in sorted([*results.glob(CHECK), *results.glob(INGESTS)]):
        # All is text: an empty cell stays empty, and "5 of 5" is the same in every column.
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        title = f"What check found ({len(rows)})"
        if "file" in rows:
            # A problem of the whole cohort names its folder, and no page tells a machine's paths.
            rows["file"] = [Path(file).name if file[:1] == "/" else file for file in rows["file"]]
        if path.name != Path(CHECK).name:
            frames = path.stem.partition("-")[2].replace("-", " ")
            title = "What ingest kept and dropped" + (f", {frames}" if frames else "")
            if len(rows) and {"kept", "scored"} <= set(rows):
                whole = rows.iloc[-1]
                title += f" ({whole['kept']} of {whole['scored']} scored clips kept)"
        yield title, path.relative_to(results).as_posix(), rows


def _downloads(results: Path) -> list[str]:
    """Files of the results folder that no card links."""
    names = ("CLAIMS.md", "verify.md", "runs.csv", RECORD, "MANIFEST.json", "codecheck.yml")
    return [name for name in names if (results / name).is_file()]


def _facts(v: Verification, manifest: dict[str, Any]) -> dict[str, str]:
    """Totals of the runs that are shown, and the machine that wrote the manifest."""
    path, machine = v.results / RECORD, manifest["machine"]
    facts = {"profile": manifest["profile"], "data": manifest["data"]}
    record = pd.read_csv(path) if path.is_file() else pd.DataFrame({"kind": []})
    runs = record[record["kind"] == "run"]
    if len(runs):
        facts |= _totals(runs.drop_duplicates("id"))  # several rows may show one run
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    processor = f"{machine['cpu']}, {machine['cores']} cores"
    return facts | {
        "machine": f"{processor}, {machine['system']}, GPU: {machine['gpu'] or 'none'}",
        "Python": f"{machine['python']}; {packages}",
        "lock": f"requirements.lock, SHA-256 {machine['lock']}",
    }


def _totals(runs: pd.DataFrame) -> dict[str, str]:
    """Number, time, memory and commits of some runs, from `record.csv`."""
    threads = runs["threads"].fillna(1)
    peak = runs["peak_cpu_mb"].max() / GIB
    changed = runs["dirty"].eq(True).map({True: " with changes", False: ""})
    commits = runs["commit"].fillna("unknown").str[:10] + changed
    return {
        "runs": f"{len(runs)}, each counted once; inputs included, failed attempts excluded",
        "compute": f"{(runs['duration_s'] * threads).sum() / 3600:.2f} core-hours",
        "peak memory": f"{peak:.1f} GB of one run",
        "commits of the runs": ", ".join(sorted(commits.unique())),
    }
