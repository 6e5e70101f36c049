"""docs/readings.md has a row for every reading that is cited, and its links exist."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "readings.md"
# "reading A3", "readings A5 to A11", and in notebooks, which have the page in their text, "(A6, A7)".
NUMBER = r"A\d{1,2}"
LIST = rf"{NUMBER}(?:(?:,\s*|\s+and\s+|\s+to\s+){NUMBER})*"
CITED = re.compile(rf"\breadings?\s+({LIST})\b")
IN_BRACKETS = re.compile(rf"\(({LIST})\)")


def rows() -> list[str]:
    return re.findall(rf"^\| ({NUMBER}) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def markdown(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def cited() -> dict[str, set[str]]:
    """File -> numbers of the readings that it cites."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "sacd").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not IN_BRACKETS.search(text), f"{path}: write 'reading A1' in place of '(A1)'"
        found[path.name] = set(re.findall(NUMBER, " ".join(CITED.findall(text))))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text = markdown(path)
        lists = CITED.findall(text) + IN_BRACKETS.findall(text)
        found[path.name] = set(re.findall(NUMBER, " ".join(lists)))
    return found


def test_every_cited_reading_has_one_row():
    numbers = rows()
    assert sorted(numbers, key=lambda number: int(number[1:])) == [f"A{n}" for n in range(1, 31)]
    found = cited()
    assert {"A1", "A3", "A13"} <= set().union(*found.values())
    unknown = {name: numbers_ - set(numbers) for name, numbers_ in found.items()}
    assert not {name: missing for name, missing in unknown.items() if missing}


def test_every_link_exists():
    links = re.findall(r"\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("https://")]
    assert len(local) > 30
    assert not [link for link in local if not (PAGE.parent / link).is_file()]


def test_every_line_has_as_many_columns_as_its_head():
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        assert not line.startswith("|") or line.count("|") == 7, line
