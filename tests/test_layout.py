"""Order of the folders, from their import statements: imports point down, without cycles."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sacd"

# A room is a folder or a file at the top of the package. A room imports from floors below its own
# only, so two rooms of one floor know nothing of each other. A new room goes on the lowest floor
# that lies above all that it imports.
FLOORS = (
    ("cpu", "stages", "clean", "config", "escape", "files", "workers"),
    ("metrics", "data", "models", "paper", "runs", "results"),
    ("simulate", "losses"),
    ("training", "analysis"),
    ("figures",),
    ("experiments", "report", "predict"),
    ("__main__",),
)
MOST_FLOORS = 7
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

# What the floors alone would allow, and a room's work forbids.
APART = (
    ("losses", "sacd.data"),  # tensors only
    ("models", "sacd.data"),
    ("analysis", "sacd.data"),  # tables and arrays
    ("analysis", "sacd.models"),
    ("figures", "sacd.models"),
    ("report", "sacd.experiments"),  # the files of results/ alone
    ("report", "sacd.data"),
    ("training", "sacd.runs"),  # a task is told its folder
    ("data", "sacd.runs"),  # whoever ingests or simulates says which code it is
    ("simulate", "sacd.runs"),
    ("experiments/workspace.py", "sacd.runs.provenance"),
)


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _imported(path: Path) -> set[str]:
    """Modules of this package that a file imports, wherever the statement stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & MODULES.keys() or {node.module}
    return found & MODULES.keys()


ARROWS = {name: _imported(path) for name, path in MODULES.items()}


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_a_floor():
    assert {_room(name) for name in MODULES} - {""} == FLOOR.keys()
    assert len(FLOORS) <= MOST_FLOORS


def test_arrows_between_rooms_point_down():
    upward = []
    for name in MODULES.keys() - {"sacd"}:
        for target in ARROWS[name] - {"sacd"}:
            apart = _room(name) != _room(target)
            if apart and FLOOR[_room(target)] >= FLOOR[_room(name)]:
                upward.append(f"{name} imports {target}")
    assert upward == []


def test_no_room_stands_higher_than_it_must():
    """So that the number of floors is what the imports make it."""
    for room, floor in FLOOR.items():
        below = [_room(t) for name in MODULES if _room(name) == room for t in ARROWS[name]]
        reached = [FLOOR[other] for other in below if other not in ("", room)]
        assert floor == max(reached, default=-1) + 1, room


def test_no_module_imports_itself_by_way_of_others():
    rest = {name: set(targets) for name, targets in ARROWS.items()}
    while free := [name for name, targets in rest.items() if not targets & rest.keys()]:
        for name in free:
            del rest[name]
    assert sorted(rest) == []


@pytest.mark.parametrize(("place", "foreign"), APART)
def test_rooms_that_know_nothing_of_each_other(place, foreign):
    path = PACKAGE / place
    files = [path] if path.suffix else sorted(path.rglob("*.py"))
    names = [_name(file) for file in files]
    assert names
    known = [(n, t) for n in names for t in ARROWS[n] if f"{t}.".startswith(f"{foreign}.")]
    assert known == []


@pytest.mark.parametrize("folder", ["losses", "models"])
def test_names_of_methods_and_teachers_import_nothing(folder):
    """Listing runs takes no second of torch."""
    tree = ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8"))
    brought = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [node.module for node in brought] == ["typing"]


def _hidden_imports(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line and block of the import statements inside functions, with the line above each block."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    inside = [node for function in functions for node in ast.walk(function)]
    numbers = {n.lineno for n in inside if isinstance(n, ast.Import | ast.ImportFrom)}
    for first in sorted(n for n in numbers if n - 1 not in numbers):
        last = first
        while last + 1 in numbers:
            last += 1
        yield first, lines[first - 2 : last]


def test_an_import_inside_a_function_says_why():
    silent = []
    for path in MODULES.values():
        for line, block in _hidden_imports(path):
            said = block[0].strip().startswith("#") or any("  # " in text for text in block[1:])
            if not said:
                silent.append(f"{path.relative_to(PACKAGE)}:{line}")
    assert silent == []
