"""Generates parts of the READMEs: status, items, package map, list of deviations."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sacd.analysis.tables import markdown
from sacd.files import write_text
from sacd.report import summary as short
from sacd.report.verify import Verification
from sacd.runs.provenance import REPOSITORY


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
    """The generated parts of README.md: `status`, `items` and `night`."""
    status = "\n".join(f"- {line}" for line in short.status(v))
    return {"status": status, "items": markdown(short.by_item(v)), "night": short.night(v)}


def deviations(package: Path = Path(__file__).parents[1]) -> str:
    """List of the deviations from the paper that docstrings mark with that word and a colon.

    Links are relative to docs/.
    """
    lines = []
    for path in sorted(package.rglob("*.py")):
        where = path.relative_to(package).as_posix()
        for name, docstring in _docstrings(ast.parse(path.read_text(encoding="utf-8"))):
            what = f" `{name}`" if name else ""
            for text in _marked(docstring):
                lines.append(f"- [{where}](../{package.name}/{where}){what}: {text}")
    return "\n".join(lines)


def _marked(docstring: str) -> Iterator[str]:
    """Each text behind the mark, up to the next one or the end of its paragraph."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        for text in paragraph.split("Deviation:")[1:]:
            yield " ".join(text.split())


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
