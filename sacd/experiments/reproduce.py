"""Execute the notebooks of a workspace, side by side; which runs today's notebooks ask for."""

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

from sacd.experiments.items import AFTER, NOTEBOOKS
from sacd.experiments.places import path_of
from sacd.experiments.profiles import PROFILES
from sacd.experiments.workspace import CHECKOUT, Workspace
from sacd.files import sha256
from sacd.runs.notebook_inputs import (
    check_parameters,
    is_current,
    key_of,
    parameters_of,
    read_notebook,
)

DATA: Final = "data "
"""A notebook depends on the names of its data, and without runs on their fingerprints.

They stand under this word and a number.
"""
SIMULATED: Final = f"{DATA}simulated"
"""Whether frames may be shown, which decides the pictures of some notebooks."""


def wanted(root: Path | None = None) -> dict[str, str] | None:
    """Run id -> names of the notebooks that ask for it, directly or as an input.

    Considers all data under `root`, with the profiles' own seeds. None if there are no data.
    """
    found: dict[str, list[str]] = {}
    root = root or CHECKOUT
    stores = sorted((root / "data").glob("*/store/manifest.json"))
    for folder in (path.parents[1] for path in stores):
        profile, _, rest = folder.name.partition("-")
        nights, cohort = "nights" if rest == "nights" else None, path_of(folder) or None
        if profile not in PROFILES:
            continue
        space = Workspace(profile, cohort, nights, root)
        if space.store_path.parent != folder:  # a folder that was copied or renamed
            continue
        for name, notebook in NOTEBOOKS.items():
            waiting = notebook.runs(space) if notebook.prepared(space) else []
            while waiting:
                run = waiting.pop()
                if name not in found.setdefault(run.id, []):
                    found[run.id].append(name)
                    waiting += [other for _, other in run.inputs]
    return {run: ", ".join(sorted(names)) for run, names in found.items()} if stores else None


def execute_notebooks(w: Workspace, names: Iterable[str], workers: int | None = None) -> list[str]:
    """Execute the notebooks that are not current, one process each.

    `workers` of them run at a time (default: the number of cores). The output of a process is
    printed when it ends. Returns the names of those that failed, in the order given.
    """
    names = list(dict.fromkeys(names))
    failed: set[str] = set()
    for late in (False, True):
        commands = {}
        for name in [name for name in names if (AFTER.get(name) in names) == late]:
            try:
                if command := _command(w, name):
                    commands[name] = command
            except (ValueError, SyntaxError) as error:
                print(f"error: {name}: {error}", file=sys.stderr)
                failed.add(name)
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            started: list[subprocess.Popen] = []
            running = {
                pool.submit(_run, command, w.root, started): name
                for name, command in commands.items()
            }
            try:
                for job in as_completed(running):
                    code, said = job.result()
                    print(said, end="", file=sys.stderr if code else sys.stdout, flush=True)
                    if code:
                        failed.add(running[job])
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in started:
                    process.kill()
                raise
    return [name for name in names if name in failed]


def withdraw_frames(w: Workspace) -> list[str]:
    """Remove what shows frames of sleepers where they may not be shown; returns what was removed.

    That is the pictures, executed copy and page of each notebook that was executed when frames
    might be shown. A notebook whose parameter `show_frames` the user has set is left alone.
    """
    removed: list[str] = []
    for name, notebook in NOTEBOOKS.items():
        copy = w.results / "notebooks" / f"{name}.ipynb"
        record = _record(copy)
        asked = record.get("parameters", {}).get("show_frames")
        if not notebook.frames or w.frames_may_be_shown or asked:
            continue
        if record.get("depends", {}).get(SIMULATED) == str(False):
            continue
        pictures = [
            w.results / "figures" / f"{figure}.{ending}"
            for figure in notebook.frames
            for ending in ("png", "pdf")
        ]
        page, failed = w.results / "report" / f"{name}.html", copy.parent / "failed" / copy.name
        for path in (*pictures, copy, failed, page):
            if path.is_file():
                path.unlink()
                removed.append(path.relative_to(w.results).as_posix())
    return removed


def _record(copy: Path) -> dict[str, Any]:
    """What an executed copy says of its execution; empty if there is none."""
    try:
        record = read_notebook(copy)["metadata"].get("sacd")
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _run(command: list[str], folder: Path, started: list[subprocess.Popen]) -> tuple[int, str]:
    """Exit code and output of a command, which is added to `started` while it runs.

    Ctrl-C reaches only the processes of the terminal's session, and so not this one: the caller
    kills it.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    started.append(process)
    said, _ = process.communicate()
    return process.returncode, said


def _command(w: Workspace, name: str) -> list[str]:
    """Command that executes a notebook; empty if its executed copy is current."""
    source = CHECKOUT / "notebooks" / f"{name}.ipynb"
    output = w.results / "notebooks" / source.name
    given = {
        "profile": w.profile.name,
        "data": "" if w.simulated else str(w.cohort.resolve()),
        "nights": str(w.nights.resolve()) if w.nights else "",
        "root": "" if w.root == CHECKOUT else str(w.root.resolve()),
        "ucf101": "" if w.ucf51.simulated else str(w.ucf51.videos.resolve()),
        "sleepedf": str(w.sleepedf.resolve()) if w.sleepedf else "",
        "seeds": w.asked_seeds,
        "results": "results",
        "menus": False,
    }
    given = {key: value for key, value in given.items() if key in parameters_of(source)}
    if "results" in given:  # a notebook that needs no data only has to know its folder
        given["profile"] = w.results.name
    depends = {run.label: run.id for run in NOTEBOOKS[name].runs(w)}
    if not depends:  # runs name their data
        sources = [source for source in NOTEBOOKS[name].data(w) if source.prepared]
        depends = {f"{DATA}{k}": source.store.fingerprint for k, source in enumerate(sources)}
    for k, prepared in enumerate(part for part in NOTEBOOKS[name].data(w) if part.prepared):
        depends[f"{DATA}{k} name"] = prepared.data_name
    if NOTEBOOKS[name].frames:
        depends[SIMULATED] = str(w.frames_may_be_shown)
    depends |= {
        path: sha256(w.results / path)
        for path in NOTEBOOKS[name].reads
        if (w.results / path).is_file()
    }
    expects = [w.results / path for path in NOTEBOOKS[name].files]
    if is_current(output, key_of(source, check_parameters(source, given), depends), expects):
        return []
    command = [sys.executable, "-m", "sacd.runs.notebook", str(source), str(output)]
    command += ["--end-with", str(os.getpid())]
    data = [source.data_name for source in NOTEBOOKS[name].data(w)]
    stamp = {
        "profile": w.profile.name,
        "data": data[0] if data else "none needed",
        "runs": " ".join(sorted({run.id[:8] for run in NOTEBOOKS[name].runs(w)})) or "none",
    }
    for flag, values in (("-p", given), ("-d", depends), ("-s", stamp)):
        command += [word for key, value in values.items() for word in (flag, key, str(value))]
    return command + [word for path in expects for word in ("-e", str(path))]
