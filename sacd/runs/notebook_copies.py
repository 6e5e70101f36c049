"""Executed copies of notebooks: where one failed, its links and its stamp."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sacd.escape import as_markdown
from sacd.runs.notebook_inputs import content_hash


def stopped_at(notebook: Mapping[str, Any]) -> str:
    """Nearest heading above the cell at which papermill stopped, for an error message."""
    title = "before the first heading"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            headings = [
                line.lstrip("# ")
                for line in "".join(cell["source"]).splitlines()
                if line.startswith("#")
            ]
            title = headings[-1] if headings else title
        elif cell["metadata"].get("papermill", {}).get("status") in ("failed", "running"):
            break
    return f"in the part {title!r}"


def left_early(notebook: Mapping[str, Any]) -> str:
    """Why an execution without an error is not a whole one; empty if every cell was executed.

    Papermill takes `sys.exit(0)` for the end of a notebook and reports no error.
    """
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        ends = [out for out in cell.get("outputs", []) if out.get("ename") == "SystemExit"]
        if ends and "raises-exception" not in cell["metadata"].get("tags", []):
            return "a cell left with SystemExit, so the cells after it were not executed"
        if cell["metadata"].get("papermill", {}).get("status") != "completed":
            return "it ended before its last cell"
    return ""


def said_by_failed_cell(notebook: Mapping[str, Any]) -> list[str]:
    """Lines that the cell at which papermill stopped wrote to stderr, such as an unknown magic."""
    for cell in notebook["cells"]:
        if cell["metadata"].get("papermill", {}).get("status") == "failed":
            shown = [o for o in cell.get("outputs", []) if o.get("name") == "stderr"]
            return "".join("".join(out["text"]) for out in shown).strip().splitlines()
    return []


def relink(notebook: Mapping[str, Any], source: Path, target: Path) -> None:
    """Keep links of markdown cells to `../...` valid in a copy that lies in another folder.

    Args:
        source, target: folders of the notebook and of its copy.
    """
    root = Path(os.path.relpath(source.resolve().parent, target.resolve())).as_posix()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"]).replace("](../", f"]({root}/")
            cell["source"] = text.splitlines(keepends=True)


def stamped(notebook: dict[str, Any], record: dict[str, Any], stamp: dict[str, str]) -> str:
    """Text of the executed notebook with its stamp under the title.

    Times, paths of this machine and random ids are removed, so that equal executions give equal
    bytes.
    """
    metadata = notebook["metadata"]
    metadata.pop("papermill", None)
    metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata["language_info"] = {
        "name": "python",
        "file_extension": ".py",
        "pygments_lexer": "ipython3",
    }
    metadata["sacd"] = record | {"stamp": stamp}
    for cell in notebook["cells"]:
        for timed in ("papermill", "execution"):  # dates and durations
            cell["metadata"].pop(timed, None)
        # Papermill draws the id of the cell that it adds at random.
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["id"] = "injected-parameters"
    text = " · ".join(f"**{name}** {as_markdown(value)}" for name, value in stamp.items())
    cell = {
        "cell_type": "markdown",
        "id": "stamp",
        "metadata": {"tags": ["stamp"]},
        "source": f"> {text}",
    }
    titled = bool(notebook["cells"]) and notebook["cells"][0]["cell_type"] == "markdown"
    notebook["cells"].insert(int(titled), cell)
    metadata["sacd"]["content"] = content_hash(notebook)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
