"""Compares `results/<profile>` with its manifest, the committed results, and the paper."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
import yaml

from sacd.analysis import tables
from sacd.escape import as_markdown
from sacd.files import write_text
from sacd.paper import audit
from sacd.paper import printed as paper
from sacd.paper.contents import items
from sacd.report import claims, drift
from sacd.report.drift import Drift
from sacd.report.evidence import read_subjects
from sacd.report.numbers import is_simulated, numbers
from sacd.results import RUNS, SUBJECTS, altered, is_tidy, listed_files, read_manifest
from sacd.runs.provenance import REPOSITORY

CLAIMS_TITLE: Final = "claims of the text"
AUDIT_TITLE: Final = "consistency of the paper's own numbers"

MAX_PROBLEMS: Final = 10
"""Problems that are printed; `verify.md` has all of them."""
COLUMNS: Final = 80
"""Width of what is printed."""
MANY: Final = 1000
"""From here on, numbers are shown without decimals and with separators."""

_AUDIT_VERDICTS: Final = {
    audit.CONSISTENT: claims.HOLDS,
    audit.CONTRADICTS: claims.CONTRADICTS,
    audit.IMPOSSIBLE: claims.CONTRADICTS,
    audit.UNCHECKABLE: audit.UNCHECKABLE,
}


class Verification(NamedTuple):
    """Everything that `verify` found; `problems` make it fail."""

    results: Path
    data: str
    simulated: bool
    """Whether the cohort is simulated."""
    numbers: pd.DataFrame
    """As returned by `sacd.report.numbers.numbers`."""
    claims: pd.DataFrame
    """item, where, claim, paper, ours, parts, weakest, n, needs, verdict."""
    audit: pd.DataFrame
    """where, claim, paper, ours, verdict of the audit's findings."""
    problems: list[str]
    notes: list[str]
    drift: Drift


def verify(results: Path, against: Path | None = None) -> Verification:
    """Check the files of a results folder, and judge its numbers and the paper's claims.

    Nothing is written.

    Args:
        against: another results folder to compare with; default: the committed state of this one.

    Raises:
        ValueError: the folder has no manifest.
    """
    problems, manifest = altered(results), read_manifest(results)
    by_subject = results / SUBJECTS
    names = [name for name in listed_files(results) if is_tidy(name)]
    found = {Path(name).stem: tables.read(results / name) for name in names}
    subjects = read_subjects(by_subject) if by_subject.is_file() else pd.DataFrame({"item": []})
    judged = claims.judge(subjects, found)
    drifted = drift.drift(results, drift.folder(against) if against else drift.committed(results))
    simulated = manifest.get("simulated")
    return Verification(
        results,
        manifest["data"],
        is_simulated(manifest["data"], simulated),
        numbers(found, simulated),
        judged[judged["verdict"] != claims.MISSING].reset_index(drop=True),
        _audited(found.get("audit")),
        problems + drifted.problems,
        [*_unlisted(results, manifest), *_not_computed(found, judged)],
        drifted,
    )


def _unlisted(results: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """A note on each file that the manifest does not know."""
    for name in listed_files(results):
        if name not in manifest["files"]:
            yield f"{name}: is not in the manifest"


def _not_computed(found: Mapping[str, pd.DataFrame], judged: pd.DataFrame) -> Iterator[str]:
    """Notes on the tables and the rows of claims that do not exist yet."""
    printed = paper.load()["item"].unique()
    absent = [item for item in printed if item in items() and item not in found]
    if absent:
        commands = ", ".join(f"{item} (make {items()[item].target})" for item in absent)
        yield f"missing: no table yet for {commands}"
    missing = judged["verdict"] == claims.MISSING
    if missing.any():
        yield f"missing: rows of {missing.sum()} of {len(judged)} claims are not computed yet"


def _audited(table: pd.DataFrame | None) -> pd.DataFrame:
    """The audit's findings, judged like claims: the paper against itself."""
    if table is None:
        return pd.DataFrame(columns=["where", "claim", "paper", "ours", "verdict"])
    renamed = {"row": "claim", "claim": "paper", "result": "ours"}
    judged = table[["where", *renamed, "verdict"]].rename(columns=renamed)
    return judged.assign(verdict=judged["verdict"].map(_AUDIT_VERDICTS))


def write(v: Verification) -> None:
    """Write `verify.md` and `codecheck.yml`."""
    lines = [f"# {v.results.name}: ours beside the paper", "", f"Data: {as_markdown(v.data)}.", ""]
    lines += [f"- **{problem}**" for problem in v.problems]
    lines += [f"- {note}" for note in [*drift.summary(v.drift), *v.notes]]
    for title, frame in [*changes(v), (CLAIMS_TITLE, v.claims), *numbers_by_item(v)]:
        lines += ["", f"## {title}", "", tables.markdown(frame)]
    write_text(v.results / "verify.md", "\n".join(lines).rstrip() + "\n")
    write_text(v.results / "codecheck.yml", codecheck(v.results))


def changes(v: Verification) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and table of what differs from the results compared with."""
    if len(v.drift.claims):
        yield "claims whose verdict changed", v.drift.claims
    left = v.drift.numbers[~v.drift.numbers["verdict"].isin([drift.EQUAL, drift.WITHIN])]
    if len(left):
        yield "numbers outside the noise of retraining, or whose noise is unknown", left


def numbers_by_item(v: Verification) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and printable table of each item, the audit, and the numbers without a counterpart."""
    alone = v.numbers["ours"].isna()
    titles = v.numbers["item"].map({name: item.title for name, item in items().items()})
    titles = titles.fillna(v.numbers["item"])
    # By title: some notebooks make several tables, which stand under one heading.
    for title, lines in v.numbers[~alone].groupby(titles[~alone], sort=False):
        yield title, _printable(lines)
    if len(v.audit):
        yield AUDIT_TITLE, v.audit
    if alone.any():
        title = (
            "printed numbers without a counterpart in our results: neither confirmed nor refuted"
        )
        yield title, _listed(v.numbers[alone])


def _printable(lines: pd.DataFrame) -> pd.DataFrame:
    """Numbers of one item as text, the interval behind our value."""
    ours = lines["ours"].map(_as_text)
    low, high = lines["ci_low"].map("{:.3g}".format), lines["ci_high"].map("{:.3g}".format)
    shown = lines.assign(
        paper=lines["paper"].map(_as_text),
        ours=ours.where(lines["ci_low"].isna(), ours + " [" + low + ", " + high + "]"),
        difference=lines["difference"].map("{:+.3g}".format),
    )
    return shown.drop(columns=["item", "ci_low", "ci_high"])


def _as_text(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= MANY else f"{number:.4g}"


def _listed(alone: pd.DataFrame) -> pd.DataFrame:
    """Numbers without a counterpart, one line for each item and verdict."""
    lines = []
    for (item, verdict), part in alone.groupby(["item", "verdict"], sort=False):
        printed = [f"{x.row} {x.column} {x.paper:.10g}" for x in part.itertuples()]
        lines.append((item, len(part), "; ".join(printed), verdict))
    return pd.DataFrame(lines, columns=["item", "n", "paper", "verdict"])


def codecheck(results: Path) -> str:
    """The author's part of a CODECHECK configuration, as YAML.

    Version 1.0 (https://codecheck.org.uk/spec/config/1.0/), because 2.0 requires the ORCID of every
    author of the paper. The checker adds `codechecker` and `report`.
    """
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    cited, manifest = citation["preferred-citation"], read_manifest(results)
    source = "the workflow simulates the data; README.md says how to use a cohort of your own"
    if not is_simulated(manifest["data"], manifest.get("simulated")):
        source = f"recordings that are not published here: {manifest['data']}"
    authors = [{"name": f"{a['given-names']} {a['family-names']}"} for a in cited["authors"]]
    content = {
        "version": "https://codecheck.org.uk/spec/config/1.0/",
        "manifest": list(_checked_files(manifest["files"])),
        "paper": {
            "title": cited["title"],
            "authors": authors,
            "reference": "https://arxiv.org/abs/2208.05814",
        },
        "source": source,
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return "%YAML 1.1\n---\n" + text


def _checked_files(files: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Entries of the tables and figures that a notebook made, and of the list of runs."""
    titles = {item.notebook: item.title for item in items().values()}
    for name, entry in files.items():
        notebook = entry["notebook"]
        if name == RUNS or (name.startswith(("tables/", "figures/")) and notebook):
            title = titles.get(notebook, "all items")
            yield {"file": name, "comment": f"{title}; made by {notebook}"}


def show(v: Verification) -> None:
    """Print one screen: what was compared, how many verdicts of each kind, and the problems."""
    lines = [f"{v.results.name}: {v.data}", *drift.summary(v.drift), *v.notes]
    for what, verdicts in (
        ("printed numbers", v.numbers["verdict"]),
        (CLAIMS_TITLE, v.claims["verdict"]),
        (AUDIT_TITLE, v.audit["verdict"]),
    ):
        counts = ", ".join(f"{n} {word}" for word, n in verdicts.value_counts().items())
        lines.append(f"{what}: {counts or 'none yet'}")
    lines += [f"error: {problem}" for problem in v.problems[:MAX_PROBLEMS]]
    if len(v.problems) > MAX_PROBLEMS:
        lines.append(f"error: {len(v.problems) - MAX_PROBLEMS} more, listed in verify.md")
    lines.append(f"details: {v.results / 'verify.md'}")
    for line in lines:
        # A path that is longer than the line stays in one piece, so that it can be copied.
        print(textwrap.fill(line, COLUMNS, subsequent_indent="  ", break_long_words=False))
