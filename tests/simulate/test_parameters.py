"""parameters.csv: every number has a source and is used, and the code has no numbers of its own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sacd.simulate import parameters
from sacd.simulate.eeg import BANDS
from sacd.simulate.parameters import table
from sacd.stages import AHI_GROUPS, STAGES


def test_every_parameter_has_a_source_and_lies_in_its_range() -> None:
    frame = table()
    assert list(frame) == ["name", "stage", "value", "unit", "low", "high", "source", "checked"]
    kinds = (
        "supported",
        "conflict: ",
        "number not in the abstract",
        "paper not found",
        "not checked: book",
        "no literature",
    )
    assert frame.checked.str.startswith(kinds).all()
    outside = frame[(frame.value < frame.low) | (frame.value > frame.high)]
    assert outside.empty, outside.to_string()
    assert (frame.source.str.len() > 5).all() and (frame.unit.str.len() > 0).all()
    assert not frame.duplicated(["name", "stage"]).any()
    per_stage = frame[frame.stage != ""].groupby("name").stage.apply(tuple)
    assert set(per_stage) == {STAGES}


def test_no_parameter_is_unused() -> None:
    """Names that the code composes (of a band, wave, AHI group or surface) are listed here.

    Others must occur in the code; of a range, the name without _from and _to.
    """
    code = "".join(path.read_text() for path in Path(parameters.__file__).parent.glob("*.py"))
    built = {f"eeg.{band}{end}" for band in BANDS for end in ("", "_from", "_to")}
    for group in AHI_GROUPS:
        built |= {f"person.{group.lower()}{end}" for end in ("", "_from", "_to")}
    for surface in ("sheet", "blanket", "pillow", "hair"):
        built |= {f"scene.{surface}_from", f"scene.{surface}_to"}
    peaks = ("cv", "s", "negative_s", "negative_width", "positive", "positive_s", "positive_width")
    built |= {f"eeg.{wave}_{part}" for wave in ("k_complex", "vertex_wave") for part in peaks}
    assert built <= set(table().name)
    used = {
        name
        for name in table().name
        if f'"{name}"' in code or f'"{re.sub("_(from|to)$", "", name)}"' in code
    }
    assert set(table().name) - built - used == set()


def _numbers(node: ast.AST, where: str = "module") -> Iterator[tuple[str, float, int]]:
    """(function, number, line) of every number below `node`, except integers in subscripts."""
    where = getattr(node, "name", where) if isinstance(node, ast.FunctionDef) else where
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield where, node.value, node.lineno
    for child in ast.iter_child_nodes(node):
        index = isinstance(node, ast.Subscript) and child is node.slice
        yield from (
            found for found in _numbers(child, where) if not (index and isinstance(found[1], int))
        )


@pytest.mark.parametrize("module", ["eeg", "hypnogram", "physiology", "video", "write"])
def test_numbers_stand_in_the_table_and_not_in_the_code(module: str) -> None:
    """0, 1, 2, time units and guards against division by 0 are allowed everywhere.

    The numbers listed per function describe neither subjects nor scenes.
    """
    free = {0, 1, 2, 60, 3600, 1e-12, 1e-9, 1e-6}
    allowed = {
        "eeg": {"draw": {6}, "_slow": {3}},  # number of random draws; knots beyond the end
        "hypnogram": {},
        # Numbers of kinds, columns and random draws; raised cosine.
        "physiology": {"module": {3}, "movements": {5}, "draw": {3}, "wave": {0.5}},
        "video": {
            "module": {3, 4, 5, 7, 8, 10, 12},  # indices into the vector of a pose
            "__init__": {0.5},  # the middle of a pixel
            "render": {64},  # the unit `pixels of 64`
            "basis": {0.5, 1.5, 5},  # parabolas through three images; number of images
            "frames": {3, 64, 255},  # 3 s^2 - 2 s^3; frames at a time; largest grey level
        },
        "write": {"module": {22, 2000}},  # start date and time of every recording
    }[module]
    path = Path(parameters.__file__).parent / f"{module}.py"
    found = [
        f"{path.name}:{line}: {number} in {where} belongs into parameters.csv"
        for where, number, line in _numbers(ast.parse(path.read_text()))
        if number not in free | allowed.get(where, set())
    ]
    assert not found, "\n".join(found)
