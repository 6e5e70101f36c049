"""Lists a run store, explains which runs are stale, and prunes them: `python -m sacd runs`."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from sacd.clean import agreed
from sacd.files import read_json
from sacd.runs.fingerprint import NO_BYTES, code_fingerprint, code_hashes
from sacd.runs.store import PROGRESS, RunError, RunStore, check

if TYPE_CHECKING:
    from rich.table import Table

Wanted = Mapping[str, str]
"""Ids of the runs that the current experiments need, with the items that show them."""


@dataclass(frozen=True)
class Entry:
    """A run on disk."""

    id: str
    state: str
    folder: Path
    item: str = ""
    label: str = ""
    seed: int | None = None
    duration_s: float | None = None
    when: str = ""
    why: str = ""
    """Why `state` is "stale", "unasked", "corrupt" or "partial"; empty if it is "done"."""


def list_runs(store: RunStore, wanted: Wanted | None = None) -> list[Entry]:
    """All runs on disk, the newest last; the files of finished runs are verified.

    Args:
        wanted: the runs that the current experiments need; other finished runs are "unasked".
    """
    stale: dict[str, str] = {}
    entries = [_entry(store, folder, wanted, stale) for folder in store.folders()]
    return sorted(entries, key=lambda entry: (entry.when, entry.id))


def _entry(store: RunStore, folder: Path, wanted: Wanted | None, stale: dict[str, str]) -> Entry:
    provenance = read_json(folder / "provenance.json")
    try:
        identity, about = _record(folder)
    except RunError as error:
        return Entry(folder.name, "corrupt", folder, why=str(error))
    if folder.parent == store.root:
        state, why = check(folder)
        why = "" if state == "done" else why
    else:
        state, why = "partial", f"interrupted at {read_json(folder / PROGRESS).get('share', 0):.0%}"
    if outdated := _why_stale(store, folder, stale):
        state, why = "stale", outdated
    elif state == "done" and wanted is not None and folder.name not in wanted:
        state, why = "unasked", "no notebook of a profile asks for it"
    return Entry(
        folder.name, state, folder, (wanted or {}).get(folder.name, ""),
        about.get("label") or identity.get("task", ""), identity.get("config", {}).get("seed"),
        provenance.get("duration_s"), provenance.get("started", ""), why,
    )  # fmt: skip


def _record(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Identity of the run in a folder, and what listings say about it.

    Raises:
        RunError: its config.json is damaged.
    """
    record = read_json(folder / "config.json")
    identity, about = record.get("identity"), record.get("about")
    known = isinstance(identity, dict) and isinstance(about, dict)
    if not known or not isinstance(identity.get("inputs"), dict) or "code" not in identity:
        raise RunError("config.json is missing or damaged")
    return identity, about


def _why_stale(store: RunStore, folder: Path, known: dict[str, str]) -> str:
    """Why a run's results differ from what the current code computes; empty if they do not.

    `known` caches the answers by id.
    """
    if folder.name in known:
        return known[folder.name]
    if not folder.is_dir():
        return ""
    try:
        identity, about = _record(folder)
    except RunError as error:
        return str(error)
    before = read_json(folder / "provenance.json").get("code", {})
    entries = about.get("entries", [])
    why = ""
    try:
        if code_fingerprint(entries, NO_BYTES) != identity["code"]:
            now = code_hashes(entries)
            names = now.keys() | before.keys()
            changed = sorted(name for name in names if now.get(name) != before.get(name))
            more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
            why = f"code changed: {', '.join(changed[:4])}{more}"
    except ValueError as error:
        why = str(error)
    for name, other in identity["inputs"].items():
        if not why and (reason := _why_stale(store, store.folder(other), known)):
            why = f"input {name} ({other}) is stale: {reason}"
    known[folder.name] = why
    return why


def cli(
    argv: Sequence[str],
    root: str | Path = "runs",
    wanted: Callable[[], Wanted | None] = lambda: None,
    ask: Callable[[str], str] = input,
) -> int:
    """`runs [list | show ID | prune] [--store FOLDER]`; returns the exit code.

    `wanted` is called only where runs are listed, since it takes seconds.
    """
    import argparse  # needed by the command line only

    from rich.console import Console  # slow to import

    parser = argparse.ArgumentParser(prog="sacd runs")
    parser.add_argument("command", nargs="?", default="list", choices=("list", "show", "prune"))
    parser.add_argument(
        "id", nargs="?", default="", help="for show: the first digits of a run's id"
    )
    parser.add_argument(
        "--store", default=root, type=Path, help="folder of the runs (default: %(default)s)"
    )
    parser.add_argument("--yes", action="store_true", help="prune without asking")
    parser.add_argument(
        "--unasked", action="store_true", help="prune what no notebook asks for as well"
    )
    args = parser.parse_args(argv)
    # Rich assumes 80 columns where the output is a file.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    store, console = RunStore(args.store), Console(highlight=False, markup=False, width=width)
    if args.command == "show":
        if not args.id:
            raise RunError("show needs the first digits of a run's id; `runs list` shows the ids")
        folder = store.find(args.id)
        shown = {name: read_json(folder / f"{name}.json") for name in ("config", "provenance")}
        console.print_json(json.dumps({"folder": str(folder), **shown}))
        return 0
    entries = list_runs(store, wanted() if args.store == Path(root) else None)
    if args.command == "prune":
        states = ("stale", "corrupt", "unasked")[: 3 if args.unasked else 2]
        entries = [entry for entry in entries if entry.state in states]
    console.print(_table(entries))
    if args.command != "prune" or not entries:
        return 0
    if args.yes or agreed(ask, f"remove these {len(entries)} runs?"):
        for entry in entries:
            if not _remove(store, entry):
                console.print(f"{entry.id} is kept: it is being computed")
    return 0


def _table(entries: Sequence[Entry]) -> "Table":
    from rich.table import Column, Table  # slow to import

    columns = ("item", "what", "seed", "state", "duration", "when", "why stale")
    table = Table(Column("id", no_wrap=True), *columns, title=f"{len(entries)} runs")
    for e in entries:
        duration = "" if e.duration_s is None else f"{e.duration_s:.0f} s"
        seed = "" if e.seed is None else str(e.seed)
        when = e.when[:16].replace("T", " ")
        table.add_row(e.id, e.item, e.label, seed, e.state, duration, when, e.why)
    return table


def _remove(store: RunStore, entry: Entry) -> bool:
    """Delete a run's folder; False if the run is being computed."""
    try:
        with store.lock(entry.id).acquire(blocking=False):
            # A corrupt run may have been computed again while the user was asked.
            if entry.state != "corrupt" or check(entry.folder).name == "corrupt":
                shutil.rmtree(entry.folder)
    except Timeout:
        return False
    return True
