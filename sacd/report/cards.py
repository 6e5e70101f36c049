"""One card per item for the start page: its answer, verdicts, picture, files and claims."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
from markupsafe import Markup, escape
from PIL import Image

from sacd.files import read_json
from sacd.paper.contents import CONTENTS, Item
from sacd.report.summary import audited, claims_of, counts, in_short
from sacd.report.verify import Verification

NOT_MADE: Final = "Not computed yet."
"""Answer of an item whose notebook was not executed."""
# "**In short** (name of the data):"; a bracket within the name is escaped.
_PREFIX: Final = re.compile(r"\s*\*\*In short\*\*(?: \(.*?(?<!\\)\))?:\s*")
# Up to the first full stop before a space: "1.5" goes on.
_SENTENCE: Final = re.compile(r".+?\.(?=\s|$)", re.DOTALL)


class Picture(NamedTuple):
    """A figure of the results folder."""

    name: str
    caption: str
    width: int
    height: int
    """Pixels; the browser reserves the space before the picture is loaded."""
    pdf: bool


class Card(NamedTuple):
    """All that the start page shows of one item."""

    target: str
    title: str
    page: str
    """The notebook's page, or "" where it was not executed."""
    answer: str
    """One or two sentences, with **bold** words."""
    counts: dict[str, int]
    """Number of claims by verdict, in the words of `summary.SHORT`."""
    claims: list[dict[str, Any]]
    findings: pd.DataFrame
    """The audit's findings; empty for all other items."""
    pictures: list[Picture]
    """The first is shown on the card."""
    tables: list[str]
    """CSV files, relative to the results folder."""


def cards(v: Verification, manifest: Mapping[str, Any]) -> list[Card]:
    """A card for every item of `CONTENTS`, in its order."""
    captions = load_captions()
    return [_card(item, v, manifest, captions) for item in CONTENTS]


def load_captions() -> dict[str, str]:
    """Caption of each figure by its name, from `captions.csv`; the first of an item leads it."""
    captions = pd.read_csv(Path(__file__).with_name("captions.csv"))
    return captions.set_index("figure")["caption"].to_dict()


def inline(text: str) -> Markup:
    """HTML of a line of Markdown that has no more than **bold** words, `code` and escaped signs.

    >>> inline("a **bold** <b> `c`")
    Markup('a <strong>bold</strong> &lt;b&gt; <code>c</code>')
    """
    # Escaped signs wait as numbers behind a NUL, which no text holds, until the marks are gone.
    signs = re.sub(r"\\([^A-Za-z0-9\s])", lambda sign: f"\0{ord(sign[1])};", text)
    marked = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(signs)))
    marked = re.sub(r"`(.+?)`", r"<code>\1</code>", marked)
    return Markup(marked.replace("\0", "&#"))


def plain(text: str) -> str:
    """The same line as plain text, for a picture's alternative text."""
    return re.sub(r"\*\*|`|\\(?=[^A-Za-z0-9\s])", "", text)


def answer_of(notebook: Path) -> str:
    """The answer of an executed notebook, else the first sentence below its title.

    The answer is the output of the cell tagged "answer", without "In short" and the data's name.
    """
    cells = read_json(notebook).get("cells", [])
    tagged = [cell for cell in cells if "answer" in cell["metadata"].get("tags", [])]
    for output in [output for cell in tagged for output in cell.get("outputs", [])]:
        quoted = "".join(output.get("data", {}).get("text/markdown", ""))
        line = " ".join(quoted.replace("\n>", "\n").lstrip("> ").split())
        text = _PREFIX.sub("", line, count=1)
        if text:
            # The first letter may stand behind the marks of **bold** words.
            return re.sub(r"^\W*\w", lambda start: start[0].upper(), text)
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    below = [line for line in texts[0].splitlines() if not line.startswith("#")] if texts else []
    sentence = _SENTENCE.match(" ".join(below).strip())
    return " ".join(sentence[0].split()) if sentence else ""


def _card(
    item: Item, v: Verification, manifest: Mapping[str, Any], captions: Mapping[str, str]
) -> Card:
    copy = v.results / "notebooks" / f"{item.notebook}.ipynb"
    own = claims_of(v, item)
    made = {name for name, entry in manifest["files"].items() if entry["notebook"] == copy.stem}
    answer = answer_of(copy) if copy.is_file() else NOT_MADE
    findings = v.audit if item.target == "audit" else v.audit.iloc[:0]
    if len(findings):
        answer = f"{answer} {audited(findings)}"
    return Card(
        target=item.target,
        title=item.title[0].upper() + item.title[1:],
        page=f"{item.notebook}.html" if copy.is_file() else "",
        answer=answer,
        counts=counts(own["verdict"]),
        claims=own.assign(word=own["verdict"].map(in_short)).fillna("").to_dict("records"),
        findings=findings,
        pictures=_pictures(v.results, made, captions, item.title),
        tables=sorted(name for name in made if re.fullmatch(r"tables/.*\.csv", name)),
    )


def _pictures(
    results: Path, made: Collection[str], captions: Mapping[str, str], title: str
) -> list[Picture]:
    """Pictures among the files that are there, in the order of the captions.

    Args:
        title: caption of those that have none; they come last.
    """
    place = {name: number for number, name in enumerate(captions)}
    names = {Path(name).stem for name in made if re.fullmatch(r"figures/.*\.png", name)}
    found = []
    for name in sorted(names, key=lambda name: (place.get(name, len(place)), name)):
        path = results / "figures" / f"{name}.png"
        if path.is_file():
            pdf = path.with_suffix(".pdf").is_file()
            found.append(Picture(name, captions.get(name, title), *size(path), pdf))
    return found


def size(path: Path) -> tuple[int, int]:
    """Width and height of a picture in pixels."""
    with Image.open(path) as image:
        return image.size
