"""docs/readings.md has a row for every cited reading; its links, options and names exist."""

import ast
import json
import re
from inspect import signature
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from sacd.config import BackboneConfig, FitConfig, StudentConfig, TeacherConfig
from sacd.data.store import StoreConfig
from sacd.experiments.rows import FRAMES, ORDERS, READINGS
from sacd.losses.sacd import SACD

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "readings.md"
SOURCES = [*sorted((ROOT / "sacd").rglob("*.py")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]
CLASSES = {
    of.__name__: of
    for of in (BackboneConfig, FitConfig, SACD, StoreConfig, StudentConfig, TeacherConfig)
}

# "reading A3", "readings A6, A7", "readings A5 to A11"; a line of a comment may end in between.
GAP = r"[\s#]+"
CITATION = re.compile(rf"\breadings?{GAP}A\d+(?:(?:,|{GAP}and|{GAP}to){GAP}A\d+)*\b")
NUMBER = re.compile(r"(?<![\w:-])A\d+\b")
"""Not an electrode, as in "C3-A2" and "c3:a2"."""


def text_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


def numbers_in(citation: str) -> list[str]:
    """All numbers of a citation, with those inside a range.

    >>> numbers_in("readings A1, A5 to A7")
    ['A1', 'A5', 'A6', 'A7']
    """
    numbers: list[int] = []
    for to, number in re.findall(r"(\bto\b)?[\s#,]*A(\d+)", citation):
        first = numbers[-1] + 1 if to else int(number)
        numbers += range(first, int(number) + 1)
    return [f"A{number}" for number in numbers]


def rows() -> dict[str, dict[str, str]]:
    """Number -> cells of its row by column."""
    found = {}
    columns: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|") or line.startswith("|---"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "no.":
            columns = cells
            continue
        assert len(cells) == len(columns), line
        assert cells[0] not in found, f"two rows of {cells[0]}"
        found[cells[0]] = dict(zip(columns, cells, strict=True))
    return found


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def options(cell: str) -> list[tuple[str, str, object]]:
    """Class, argument and value of each option; the value is Ellipsis where none is given."""
    found: list[tuple[str, str, object]] = []
    for source in quoted(cell):
        node = ast.parse(source, mode="eval").body
        if isinstance(node, ast.Attribute):
            assert isinstance(node.value, ast.Name)
            found.append((node.value.id, node.attr, ...))
        elif isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name) and not node.args
            for keyword in node.keywords:
                assert keyword.arg
                found.append((node.func.id, keyword.arg, ast.literal_eval(keyword.value)))
    return found


ROWS = rows()


def test_rows_are_numbered_from_1_to_31():
    assert sorted(ROWS, key=lambda number: int(number[1:])) == [f"A{n}" for n in range(1, 32)]


def test_a_range_names_every_number_of_it():
    assert CITATION.findall("of it (reading\n    # A2), (readings A1, A5 to A7), C3-A2") == [
        "reading\n    # A2",
        "readings A1, A5 to A7",
    ]
    assert numbers_in("readings A1, A5 to A7") == ["A1", "A5", "A6", "A7"]


def test_every_cited_reading_has_a_row():
    cited = {n for path in SOURCES for c in CITATION.findall(text_of(path)) for n in numbers_in(c)}
    assert {"A1", "A3", "A9", "A13", "A20"} <= cited
    assert cited <= set(ROWS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_readings_are_never_cited_by_a_bare_number(path):
    bare = NUMBER.findall(CITATION.sub("", text_of(path)))
    assert not bare, f"write 'reading {bare[0]}'"


def test_a_bare_number_is_found_and_an_electrode_is_not():
    assert NUMBER.findall("unit length (A3); A16 is another; EEG C3-A2") == ["A3", "A16"]


def test_every_linked_file_exists():
    links = re.findall(r"\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("https://")]
    assert len(local) > len(ROWS)
    assert not [link for link in local if not (PAGE.parent / link).is_file()]


@pytest.mark.parametrize("number", ROWS)
def test_every_row_says_where_and_its_options_exist(number):
    assert "](../sacd/" in ROWS[number]["where"]
    cell = ROWS[number]["option"]
    assert cell == "none" or options(cell)
    for name, argument, value in options(cell):
        parameters = signature(CLASSES[name]).parameters
        assert argument in parameters, f"{name} has no {argument}"
        if value is not ...:
            TypeAdapter(parameters[argument].annotation).validate_python(value)


def test_notebook_40_measures_exactly_the_alternatives_that_are_named():
    named = [name for row in ROWS.values() for name in quoted(row["40_readings"])]
    assert sorted(named) == sorted([*READINGS, *ORDERS, *FRAMES])
    for row in ROWS.values():
        assert quoted(row["40_readings"]) or row["40_readings"].startswith("no")


def test_an_alternative_of_notebook_40_sets_the_option_of_its_row():
    row_of = {name: row for row in ROWS.values() for name in quoted(row["40_readings"])}
    for name, changed in READINGS.items():
        listed = options(row_of[name]["option"])
        known = [(argument, value) for _, argument, value in listed]
        for argument, value in changed.items():
            assert (argument, value) in known or (argument, ...) in known
    for name, order in ORDERS.items():
        assert ("FitConfig", "order", order) in options(row_of[name]["option"])
    for name, (_, sampling) in FRAMES.items():
        listed = options(row_of[name]["option"])
        assert ("StoreConfig", "frames", ...) in listed
        assert sampling == StoreConfig.model_fields["sampling"].default or (
            ("StoreConfig", "sampling", sampling) in listed
        )
