"""Compares `results/<profile>` with its manifest, with the committed results, and with the paper."""

import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import yaml

from sacd.analysis import tables
from sacd.files import write_text
from sacd.paper import printed as paper
from sacd.paper.contents import items
from sacd.report import claims, drift
from sacd.report.drift import Drift
from sacd.results import RUNS, SUBJECTS, altered, listed_files, read_manifest
from sacd.runs.provenance import REPOSITORY
from sacd.stages import STAGES

REPRODUCED: Final = "reproduced"
DIFFERS: Final = "differs"
NEEDS: Final = {"table3": "needs UCF101", "mc2sleepnet": "needs Sleep-EDF or SHHS"}
"""Verdict on an item's numbers as long as other data made them; "needs S3VE" for all others."""
OWN_DATA: Final = {"table3": "UCF101", "mc2sleepnet": "Sleep-EDF"}
"""Word in the name of the data that a printed number is of; "S3VE" for all others. Never in simulated data's."""
ALONE: Final = "no counterpart of ours"
"""A printed number that nothing of ours measures: of the paper's own cohort and subjects, or a setting."""
NOT_YET: Final = "not computed yet"
AS_CELL: Final = "repeated in the text, compared under its table"
AS_CLAIM: Final = "a difference, judged as a claim"

_CELLS: Final = {
    "kappa of the two students": [("table2", "-/R(2+1)D-18", "kappa")],
    "recall of W, Modified-SEN/PKT": [("table2", "Modified-SEN/PKT", "W")],
    "video baseline of Table IV": [("table4", "R3D-18 (video)", stage) for stage in STAGES],
    "teacher's accuracy": [("table4", "AttnSleep (EEG)", "accuracy")],
    "baseline of Table V": [("table5", "v0", "accuracy"), ("table5", "v0", "N1")],
    "Fig. 5, lowest of panel a": [("fig5", "a: 0.5/0.5/1", "accuracy")],
}
"""Printed cells that a finding of `sacd.paper.audit` is about."""
_AUDIT: Final = {"consistent": claims.HOLDS, "cannot be checked": claims.INCONCLUSIVE}


class Verification(NamedTuple):
    """All that `verify` found; `problems` make it fail."""

    results: Path
    data: str
    numbers: pd.DataFrame
    """item, row, column, paper, ours, ci_low, ci_high, difference, verdict; ours is NaN where there is none."""
    claims: pd.DataFrame
    """item, where, claim, paper, ours, n, verdict; the audit's findings at the end."""
    problems: list[str]
    notes: list[str]
    drift: Drift


def verify(results: Path, against: Path | None = None) -> Verification:
    """Check the files of a results folder, and judge its numbers and the paper's claims; nothing is written.

    Args:
        against: another results folder to compare with; default: what is committed of this one.

    Raises:
        ValueError: the folder has no manifest.
    """
    problems, manifest = altered(results), read_manifest(results)
    by_subject, paths = results / SUBJECTS, sorted((results / "tables").glob("*.csv"))
    found = {path.stem: tables.read(path) for path in paths if path != by_subject}
    subjects = pd.read_csv(by_subject) if by_subject.is_file() else pd.DataFrame({"item": []})
    judged = claims.judge(subjects, found)
    missing = judged["verdict"] == claims.MISSING
    notes = [
        f"{name}: is not in the manifest"
        for name in listed_files(results)
        if name not in manifest["files"]
    ]
    if absent := [
        item for item in paper.load()["item"].unique() if item in items() and item not in found
    ]:
        notes.append(
            f"missing: no table yet of {', '.join(f'{i} (make {items()[i].target})' for i in absent)}"
        )
    if missing.any():
        notes.append(
            f"missing: {missing.sum()} of {len(judged)} claims wait for rows that are not computed yet"
        )
    drifted = drift.drift(results, drift.folder(against) if against else drift.committed(results))
    judged = pd.concat([judged[~missing], _audit(found)], ignore_index=True)
    return Verification(
        results,
        manifest["data"],
        numbers(found),
        judged,
        problems + drifted.problems,
        notes,
        drifted,
    )


def numbers(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Every printed number with the verdict: those that a table of ours has too, then the others."""
    lines = pd.concat(
        [table[tables.COLUMNS] for name, table in found.items() if name != "audit"] or [_empty()]
    )
    lines = lines[lines["value"].notna() & lines["paper_value"].notna()].reset_index(drop=True)
    refuted = set(_contradicted(found.get("audit")))
    verdicts = [_verdict(line, refuted) for line in lines.itertuples(index=False)]
    lines = lines.rename(columns={"paper_value": "paper", "value": "ours"})
    lines = lines.assign(
        difference=lines["ours"] - lines["paper"], verdict=pd.Series(verdicts, dtype=str)
    )
    printed = paper.load().rename(columns={"value": "paper"})[["item", "row", "column", "paper"]]
    cells = {(x.item, x.row, x.column): x.paper for x in lines.itertuples(index=False)}
    alone = printed[
        [
            cell not in cells
            for cell in zip(printed["item"], printed["row"], printed["column"], strict=True)
        ]
    ]
    verdicts = [_uncompared(line, found, cells) for line in alone.itertuples(index=False)]
    columns = [
        "item",
        "row",
        "column",
        "paper",
        "ours",
        "ci_low",
        "ci_high",
        "difference",
        "verdict",
    ]
    return pd.concat(
        [lines, alone.assign(verdict=verdicts).reindex(columns=columns)], ignore_index=True
    )[columns]


def _uncompared(
    line: NamedTuple, found: dict[str, pd.DataFrame], cells: dict[tuple[str, str, str], float]
) -> str:
    """Why a printed number has none of ours beside it."""
    if line.item in items() and line.item not in found:
        return NOT_YET
    if line.item in NEEDS:
        return NEEDS[line.item]
    *names, column = *line.row.split(" - "), re.sub("_(from|to)$", "", line.column)
    teacher, panel = names[0].rpartition("/")[0], re.match(r"\w: ", line.row)
    known = [{name, f"{teacher}/{name}", name.removeprefix("UCF51/")} for name in names]
    alone = "R(2+1)D-18" if teacher == "UCF51" else "-/R(2+1)D-18"
    known = [{alone} if "baseline" in n else n for n in known]
    if panel:  # of Fig. 5; a claim names its points without
        known = [{name.removeprefix(panel[0]) for name in n} for n in known]
    if line.item == "text" and (len(names) == 1 or column != line.column):
        end = known[0 if line.column.endswith("_to") else -1]
        same = any(
            c == column and row in end and abs(x - line.paper) < 0.05
            for (_, row, c), x in cells.items()
        )
        return AS_CELL if same else ALONE
    told = len(names) == 2 and any(
        column in q and all(k & rows for k in known) for rows, q in _compared_by_claims()
    )
    return AS_CLAIM if told else ALONE


@cache
def _compared_by_claims() -> list[tuple[set[str], set[str]]]:
    """Rows and quantities of each inequality of the claims."""
    sides = [
        left + right for claim in claims.load() for _, left, _, right in claims.inequalities(claim)
    ]
    return [
        ({row for _, row, _ in side}, {name for *_, names in side for name in names})
        for side in sides
    ]


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=tables.COLUMNS)


def _verdict(line: NamedTuple, refuted: set[tuple[str, str, str]]) -> str:
    if (line.item, line.row, line.column) in refuted:
        return claims.CONTRADICTS
    data = str(line.data)
    if "simulated" in data or OWN_DATA.get(line.item, "S3VE") not in data:
        return NEEDS.get(line.item, "needs S3VE")
    low, high = (line.value, line.value) if np.isnan(line.ci_low) else (line.ci_low, line.ci_high)
    rounding = 0.005 if line.column == "kappa" else 0.05
    return REPRODUCED if low - rounding <= line.paper_value <= high + rounding else DIFFERS


def _contradicted(audit: pd.DataFrame | None) -> Iterator[tuple[str, str, str]]:
    """Cells that other printed numbers refute, by the audit's table."""
    for line in _empty().itertuples() if audit is None else audit.itertuples():
        if line.verdict not in _AUDIT:
            yield from _CELLS.get(line.row, ())
            if (
                line.row == "kappa, any prior"
            ):  # its result ends in the rows whose kappa no stage distribution allows
                yield from (
                    ("table2", row, "kappa")
                    for row in line.result.partition("Above: ")[2].split(", ")
                )


def _audit(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The audit's findings as claims of the paper about itself."""
    if "audit" not in found:
        return pd.DataFrame()
    audit = found["audit"]
    verdicts = [_AUDIT.get(verdict, claims.CONTRADICTS) for verdict in audit["verdict"]]
    columns = {
        "item": "audit",
        "where": audit["where"],
        "claim": audit["row"],
        "paper": audit["claim"],
    }
    return pd.DataFrame(columns | {"ours": audit["result"], "n": "arithmetic", "verdict": verdicts})


def write(v: Verification) -> None:
    """Write `verify.md` and `codecheck.yml`."""
    lines = [f"# {v.results.name}: ours beside the paper", "", f"Data: {v.data}.", ""]
    lines += [f"- **{problem}**" for problem in v.problems]
    lines += [f"- {note}" for note in [*drift.summary(v.drift), *v.notes]]
    for title, frame in sections(v):
        lines += ["", f"## {title}", "", tables.markdown(frame)]
    write_text(v.results / "verify.md", "\n".join(lines).rstrip() + "\n")
    write_text(v.results / "codecheck.yml", codecheck(v.results))


def sections(v: Verification) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and printable table of the claims, of each item's numbers, of the audit, of numbers without ours."""
    audit, alone = v.claims["item"] == "audit", v.numbers["ours"].isna()
    if len(v.drift.claims):
        yield "claims whose verdict is not that of the results compared with", v.drift.claims
    left = v.drift.numbers[~v.drift.numbers["verdict"].isin([drift.EQUAL, drift.WITHIN])]
    if len(left):
        yield "numbers that left the noise of retraining, or of which none is known", left
    yield "claims of the text", v.claims[~audit]
    for item, lines in v.numbers[~alone].groupby("item", sort=False):
        text = {
            name: lines[name].map(lambda x: f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.4g}")
            for name in ("paper", "ours")
        }
        low, high = lines["ci_low"].map("{:.3g}".format), lines["ci_high"].map("{:.3g}".format)
        text["ours"] = text["ours"].where(
            lines["ci_low"].isna(), text["ours"] + " [" + low + ", " + high + "]"
        )
        shown = lines.assign(**text, difference=lines["difference"].map("{:+.3g}".format))
        title = items()[item].title if item in items() else item
        yield title, shown.drop(columns=["item", "ci_low", "ci_high"])
    if audit.any():
        yield "the paper's numbers among themselves", v.claims[audit].drop(columns=["item", "n"])
    if alone.any():
        lines = [
            (
                item,
                len(part),
                "; ".join(f"{x.row} {x.column} {x.paper:.10g}" for x in part.itertuples()),
                verdict,
            )
            for (item, verdict), part in v.numbers[alone].groupby(["item", "verdict"], sort=False)
        ]
        title = "printed numbers that have none of ours beside them, neither confirmed nor refuted"
        yield title, pd.DataFrame(lines, columns=["item", "n", "paper", "verdict"])


def codecheck(results: Path) -> str:
    """The author's part of a CODECHECK configuration (https://codecheck.org.uk/spec/config/1.0/), as YAML.

    Version 1.0, since 2.0 wants the ORCID of every author of the paper. Who checks adds
    `codechecker` and `report`.
    """
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))[
        "preferred-citation"
    ]
    titles = {item.notebook: item.title for item in items().values()}
    files = [
        {
            "file": name,
            "comment": f"{titles.get(entry['notebook'], 'all items')}; made by {entry['notebook']}",
        }
        for name, entry in read_manifest(results)["files"].items()
        if name == RUNS or (name.startswith(("tables/", "figures/")) and entry["notebook"])
    ]
    authors = [
        {"name": f"{author['given-names']} {author['family-names']}"} for author in cited["authors"]
    ]
    content = {
        "version": "https://codecheck.org.uk/spec/config/1.0/",
        "manifest": files,
        "paper": {
            "title": cited["title"],
            "authors": authors,
            "reference": "https://arxiv.org/abs/2208.05814",
        },
        "source": "simulated data are made by the workflow; see README.md for cohorts of one's own",
    }
    return "%YAML 1.1\n---\n" + yaml.safe_dump(
        content, sort_keys=False, allow_unicode=True, width=120
    )


LINES: Final = 10
"""Of problems that are printed; all of them are in verify.md."""


def show(v: Verification) -> None:
    """Print one screen: what is wrong, what was compared, how many verdicts there are of each kind."""
    audit = v.claims["item"] == "audit"
    lines = [f"{v.results.name}: {v.data}", *drift.summary(v.drift), *v.notes]
    for what, verdicts in (
        ("printed numbers", v.numbers["verdict"]),
        ("claims of the text", v.claims.loc[~audit, "verdict"]),
        ("the paper's numbers among themselves", v.claims.loc[audit, "verdict"]),
    ):
        counts = ", ".join(f"{n} {word}" for word, n in verdicts.value_counts().items())
        lines.append(f"{what}: {counts or 'none yet'}")
    lines += [f"error: {problem}" for problem in v.problems[:LINES]]
    if len(v.problems) > LINES:
        lines.append(f"error: {len(v.problems) - LINES} more, listed in verify.md")
    lines.append(f"all of it: {v.results / 'verify.md'}")
    for line in lines:
        print(textwrap.fill(line, 80, subsequent_indent="  ", break_long_words=False))
