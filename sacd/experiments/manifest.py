"""Files of a results folder with their hashes, each as the notebook that made it left it."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sacd.experiments.items import Notebook
from sacd.files import sha256
from sacd.results import RUNS, SUBJECTS, listed_files
from sacd.runs.notebook_inputs import execution

_REPRODUCE: Final = "reproduce"

Entries = Mapping[str, dict[str, Any]]
"""Path in the results folder -> `sha256`, `bytes`, `notebook`."""


def manifest_files(
    results: Path, known: Entries, notebooks: Mapping[str, Notebook]
) -> dict[str, dict[str, Any]]:
    """Entries of the manifest, by path.

    A file is entered as its notebook left it: what was altered or removed since then stays an
    error of `verify`, whichever notebooks are executed now.

    Args:
        known: entries of the manifest that is there.
    """
    entries: dict[str, dict[str, Any]] = {}
    for name in sorted({*listed_files(results), *known}):
        maker, before, path = _maker(name, notebooks), known.get(name, {}), results / name
        left = _left_by(results, maker, name, known) if maker in notebooks else ""
        found = _digest(path)
        if before and before["sha256"] == (left or found):
            entries[name] = before | {"notebook": maker}
        elif found:
            size = path.stat().st_size
            entries[name] = {"sha256": left or found, "bytes": size, "notebook": maker}
    return entries


def _left_by(results: Path, maker: str, name: str, known: Entries) -> str:
    """SHA-256 with which a notebook left a file of its own; empty if only the file itself tells."""
    copy = results / "notebooks" / f"{maker}.ipynb"
    record, unchanged = execution(copy)
    before = known.get(name, {}).get("sha256", "")
    if not unchanged:
        return before
    if name == f"notebooks/{copy.name}":  # the copy cannot hold its own hash
        return ""
    # Once it was executed again, the entry of the execution before says nothing of its files.
    executed_since = known.get(f"notebooks/{copy.name}", {}).get("sha256") != _digest(copy)
    return record.get("results", {}).get(name) or ("" if executed_since else before)


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty if it is not there."""
    return sha256(path) if path.is_file() else ""


def _maker(name: str, notebooks: Mapping[str, Notebook]) -> str | None:
    """The notebook that made a file: it declares it, or another file of the same item.

    The item is what stands before the first "_": `figures/fig5_x.pdf` belongs to `figures/fig5`.
    """
    if name.startswith("notebooks/"):
        return PurePosixPath(name).stem
    if name in (RUNS, SUBJECTS):
        return _REPRODUCE
    stem = str(PurePosixPath(name).with_suffix(""))
    by_stem, by_item = {}, {}
    for notebook in notebooks.values():
        for path in notebook.files:
            declared = str(PurePosixPath(path).with_suffix(""))
            by_stem[declared] = by_item[declared.partition("_")[0]] = notebook.name
    return (
        by_stem.get(stem)
        or by_stem.get(stem.partition("_")[0])
        or by_item.get(stem.partition("_")[0])
    )
