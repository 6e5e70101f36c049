"""What is made, not written: the results table of README.md; the map and the list of departures of sacd/README.md."""

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
from sacd.report.verify import DIFFERS, NEEDS, REPRODUCED, Verification
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
"""Numbers that stand for their items in a summary."""

MARKS: Final = {
    REPRODUCED: "✓",
    claims.HOLDS: "✓",
    DIFFERS: "✗",
    claims.FAILS: "✗",
    claims.INCONCLUSIVE: "?",
    claims.CONTRADICTS: "⚠",
}
"""Before a verdict; "–" before those that wait for data."""


def summary(v: Verification) -> pd.DataFrame:
    """Headline numbers and claims in one table: item, what, paper, ours, command, verdict."""
    known, lines = v.numbers[v.numbers["ours"].notna()].set_index(["item", "row", "column"]), []
    for item, row, column in HEADLINES:
        made = (
            v.results / "tables" / f"{item}.csv"
        ).is_file()  # with a row that no data but the paper's has
        ours, verdict = "", NEEDS[item] if made and item in NEEDS else "not computed yet"
        if (item, row, column) in known.index:
            cell = known.loc[(item, row, column)]
            interval = (
                f" [{cell.ci_low:.3g}, {cell.ci_high:.3g}]" if cell.ci_low == cell.ci_low else ""
            )
            ours, verdict = f"{cell.ours:.3g}{interval}", cell.verdict
        lines.append(
            (item, f"{row}: {column}", f"{paper.value(item, row, column):g}", ours, verdict)
        )
    for line in v.claims[v.claims["item"] != "audit"].itertuples():
        lines.append((line.item, line.claim, line.paper, line.ours.partition(";")[0], line.verdict))
    order = list(items())
    lines.sort(key=lambda line: order.index(items()[line[0]].target))
    table = pd.DataFrame(lines, columns=["item", "what", "paper", "ours", "verdict"])
    table["verdict"] = [f"{MARKS.get(verdict, '–')} {verdict}" for verdict in table["verdict"]]
    table.insert(4, "command", [f"make {items()[item].target}" for item in table["item"]])
    return table.assign(item=[items()[item].title for item in table["item"]])


def write_readme(v: Verification) -> None:
    """Fill in the generated parts of both files; the results table shows the demo, whatever else was verified."""
    parts = {"sacd/README.md": {"map": modules(), "deviations": deviations()}}
    if v.results.name == "demo":
        parts["README.md"] = {"results": results(v), "findings": findings(v.results)}
    for name, made in parts.items():
        write_text(
            REPOSITORY / name, filled((REPOSITORY / name).read_text(encoding="utf-8"), **made)
        )


def results(v: Verification) -> str:
    """The results table of the README."""
    table = summary(v).assign(command=lambda t: "`" + t["command"] + "`")
    counts = v.claims.loc[v.claims["item"] == "audit", "verdict"].value_counts()
    among = ", ".join(f"{n} {MARKS[verdict]} {verdict}" for verdict, n in counts.items())
    lines = [
        f"Data: **{v.data}**. In brackets: 95 % interval over test subjects. A claim of several parts holds if all do. "
        "A difference within the noise of training seeds, or of rows with a single training each, decides nothing, "
        "whatever its interval.",
        "",
        markdown(table),
        *(
            ["", f"`make audit`, the paper's numbers among themselves (no data): {among}."]
            if among
            else []
        ),
    ]
    return "\n".join(lines)


def findings(results: Path) -> str:
    """What the demo found of SACD, its students and its teacher: one item of the README's list of limits."""
    table = pd.read_csv(results / "tables" / "table2.csv").pivot(
        index="row", columns="column", values="value"
    )
    pairs = pd.read_csv(results / "tables" / "table2_paired.csv").set_index("row")
    ablation = pd.read_csv(results / "tables" / "table5_paired.csv").set_index(["row", "column"])
    gain, kappa = pairs.loc["AttnSleep/SACD - -/R(2+1)D-18"], table["kappa"]
    better = pairs.index[(pairs["verdict"] == "better") & pairs.index.str.contains(" - -/")]
    less = ablation.loc[("v0 - ours", "accuracy")]  # the other way round
    bound, forest = kappa["bound/true signals"], kappa["baseline/band-power forest"]
    shares = [kappa[f"-/{student}"] / bound for student in ("R(2+1)D-18", "R3D-18")]
    return "\n".join(
        [
            f"- **{len(better) or 'No'} method of distillation raises the demo's kappa over the student alone by more",
            f"  than the noise of seeds and subjects.** SACD (AttnSleep): kappa {gain.value:+.3f} [{gain.ci_low:+.3f}, "
            f"{gain.ci_high:+.3f}], noise of",
            f"  training seeds {gain.seed_noise:.3f}; accuracy {-less.value:+.1f} points [{-less.ci_high:+.1f}, "
            f"{-less.ci_low:+.1f}], noise {less.seed_noise:.1f}.",
            f"  The students alone reach {shares[0]:.2f} (R(2+1)D-18) and {shares[1]:.2f} (R3D-18) of the kappa "
            f"{bound:.2f} that a classifier gets",
            "  from the simulator's true breathing and movement of one clip. On test subjects the teacher AttnSleep",
            f"  has a kappa of {kappa['teacher/AttnSleep']:.2f}, a forest on band powers of one clip {forest:.2f}.",
            "  With 15 test subjects the demo shows that the system works, not who wins.",
        ]
    )


def deviations(package: Path = Path(__file__).parents[1]) -> str:
    """List of the departures that docstrings mark, each from the marker to the end of its paragraph."""
    lines = []
    for path in sorted(package.rglob("*.py")):
        for name, docstring in _docstrings(ast.parse(path.read_text(encoding="utf-8"))):
            for paragraph in re.split(r"\n\s*\n", docstring):
                where = path.relative_to(package).as_posix()
                for text in paragraph.split("Deviation:")[1:]:
                    lines.append(
                        f"- [{where}]({where}){f' `{name}`' if name else ''}: {' '.join(text.split())}"
                    )
    return "\n".join(lines)


def modules(package: Path = Path(__file__).parents[1]) -> str:
    """List of all modules with the first line of each one's docstring, folder by folder."""
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
    """Name of what is documented (empty for the module), and the docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            text := ast.get_docstring(node)
        ):
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
