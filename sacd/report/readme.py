"""Generates parts of the READMEs: status, items, package map, list of deviations."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd

from sacd.analysis.tables import markdown
from sacd.files import write_text
from sacd.paper import printed as paper
from sacd.paper.contents import items
from sacd.report import claims
from sacd.report import summary as short
from sacd.report.verify import DIFFERS, NEEDS, NOT_YET, REPRODUCED, Verification
from sacd.runs.provenance import REPOSITORY

HEADLINES: Final = (
    ("table2", "-/R(2+1)D-18", "accuracy"),
    ("table2", "AttnSleep/CCL", "accuracy"),
    ("table2", "AttnSleep/SACD", "accuracy"),
    ("table2", "AttnSleep/SACD", "kappa"),
    ("table3", "SACD", "accuracy"),
    ("table4", "AttnSleep (EEG)", "accuracy"),
    ("table4", "D", "accuracy"),
    ("table4", "F", "accuracy"),
    ("table5", "v1", "accuracy"),
    ("table5", "ours", "accuracy"),
    ("fig5", "a: 0.5/1/1", "accuracy"),
    ("fig8", "N2", "channels"),
    ("fig8", "N3", "channels"),
    ("mc2sleepnet", "SleepEDF-78", "accuracy"),
)
"""Numbers that represent their items in the summary."""
STUDENTS: Final = ("R(2+1)D-18", "R3D-18")
"""Students that Table II trains alone, in its order."""
WITHOUT_MARK: Final = "–"
"""In place of a mark, before verdicts that wait for data."""

MARKS: Final = {
    REPRODUCED: "✓",
    claims.HOLDS: "✓",
    DIFFERS: "✗",
    claims.FAILS: "✗",
    claims.EQUAL: "=",
    claims.UNDECIDED: "?",
    claims.CONTRADICTS: "⚠",
}
"""Mark before a verdict."""


def summary(v: Verification) -> pd.DataFrame:
    """Headline numbers and claims in one table: item, what, paper, ours, command, verdict."""
    known = v.numbers[v.numbers["ours"].notna()].set_index(["item", "row", "column"])
    lines = []
    for item, row, column in HEADLINES:
        ours = ""
        if (item, row, column) in known.index:
            cell = known.loc[(item, row, column)]
            ours, verdict = f"{cell.ours:.3g}", cell.verdict
            if pd.notna(cell.ci_low):
                ours += f" [{cell.ci_low:.3g}, {cell.ci_high:.3g}]"
        elif item in NEEDS and (v.results / "tables" / f"{item}.csv").is_file():
            verdict = NEEDS[item]  # the table lacks a row that only the paper's data have
        else:
            verdict = NOT_YET
        printed = f"{paper.value(item, row, column):g}"
        lines.append((item, f"{row}: {column}", printed, ours, verdict))
    lines += v.claims[["item", "claim", "paper", "ours", "verdict"]].itertuples(index=False)
    order = list(items())
    lines.sort(key=lambda line: order.index(items()[line[0]].target))
    table = pd.DataFrame(lines, columns=["item", "what", "paper", "ours", "verdict"])
    table["verdict"] = [f"{MARKS.get(x, WITHOUT_MARK)} {x}" for x in table["verdict"]]
    table.insert(4, "command", [f"make {items()[item].target}" for item in table["item"]])
    return table.assign(item=[items()[item].title for item in table["item"]])


def write_readme(v: Verification) -> None:
    """Fill in the generated parts of the READMEs; those with results only for the demo."""
    package = REPOSITORY / "sacd"
    parts = {
        "sacd/README.md": {"map": modules(package)},
        "docs/deviations.md": {"deviations": deviations(package)},
    }
    if v.results.name == "demo":
        parts["README.md"] = results(v)
    for name, made in parts.items():
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        write_text(REPOSITORY / name, filled(text, **made))


def results(v: Verification) -> dict[str, str]:
    """The generated parts of README.md: `status` and `items`."""
    status = "\n".join(f"- {line}" for line in short.status(v))
    return {"status": status, "items": markdown(short.by_item(v))}


def deviations(package: Path = Path(__file__).parents[1]) -> str:
    """List of the deviations that docstrings mark, each up to the end of its paragraph.

    Links are relative to docs/.
    """
    lines = []
    for path in sorted(package.rglob("*.py")):
        for name, docstring in _docstrings(ast.parse(path.read_text(encoding="utf-8"))):
            for paragraph in re.split(r"\n\s*\n", docstring):
                where, what = path.relative_to(package).as_posix(), f" `{name}`" if name else ""
                for text in paragraph.split("Deviation:")[1:]:
                    lines.append(
                        f"- [{where}](../{package.name}/{where}){what}: {' '.join(text.split())}"
                    )
    return "\n".join(lines)


def modules(package: Path = Path(__file__).parents[1]) -> str:
    """List of all modules with the first line of their docstrings, folder by folder."""
    lines = _folder(package, package)
    for folder in sorted(path.parent for path in package.glob("*/__init__.py")):
        lines += [f"- **{folder.name}/** {_first_line(folder / '__init__.py')}"]
        lines += [f"  {line}" for line in _folder(folder, package)]
    return "\n".join(lines)


def _folder(folder: Path, package: Path) -> list[str]:
    """Lines of the modules in a folder."""
    paths = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    return [
        f"- [{path.name}]({path.relative_to(package).as_posix()}) {_first_line(path)}"
        for path in paths
    ]


def _first_line(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name of the class or function (empty for the module), and its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", ""), text


def filled(text: str, **parts: str) -> str:
    """`text` with new content between `<!-- name: ... -->` and `<!-- end of name -->`.

    >>> filled("a <!-- x: made --> old <!-- end of x --> b", x="new").split()
    ['a', '<!--', 'x:', 'made', '-->', 'new', '<!--', 'end', 'of', 'x', '-->', 'b']

    Raises:
        ValueError: a marker is missing.
    """
    for name, content in parts.items():
        pattern = rf"(<!-- {name}:[^>]*-->).*?(<!-- end of {name} -->)"
        text, count = re.subn(
            pattern, lambda m, c=content: f"{m[1]}\n{c}\n{m[2]}", text, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(
                f"markers '<!-- {name}: -->' and '<!-- end of {name} -->' occur {count} times"
            )
    return text
