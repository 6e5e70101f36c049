"""`make reproduce`: data, training, notebooks side by side, manifest; which runs they ask for."""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from sacd.escape import counted
from sacd.experiments.intake import account_for, check_cohort, show, suited, unsplit
from sacd.experiments.items import AFTER, DATA, NOTEBOOKS, SIMULATED, Notebook
from sacd.experiments.places import path_of
from sacd.experiments.profiles import PROFILES
from sacd.experiments.record import write_manifest
from sacd.experiments.rows import flat
from sacd.experiments.workspace import CHECKOUT, Workspace
from sacd.files import remove_leftovers, sha256
from sacd.paper import contents
from sacd.runs import with_inputs
from sacd.runs.notebook_inputs import (
    check_parameters,
    execution,
    is_current,
    key_of,
    parameters_of,
)
from sacd.runs.store import explain_os_error


def reproduce(
    w: Workspace,
    only: list[str] | None,
    workers: int | None,
    cluster: str | None,
    accept_loss: bool,
    conclude: Callable[[Path], int],
) -> int:
    """Compute what is missing of the results, and execute the notebooks; returns the exit code.

    Args:
        only: items or names of notebooks; default: all but those beyond the paper.
        accept_loss: go on although a night or a stage lost too many clips.
        conclude: builds the report and verifies; 1 if a file or a number is wrong.
    """
    every = [item.notebook for item in contents.CONTENTS if not item.beyond]
    # Two items may share a notebook; it is executed once.
    names = list(dict.fromkeys(map(contents.notebook_of, only or every)))
    names = suited(w, [NOTEBOOKS[name] for name in names], named=bool(only))
    _refuse_read_only(w.results)
    marks = [("start", time.perf_counter())]
    data = _prepare(w, names, workers, accept_loss)
    marks.append(("simulate and ingest" if w.simulated else "ingest", time.perf_counter()))
    asked = {name: NOTEBOOKS[name].runs(w) for name in names}
    report = w.execute(flat(asked), workers=workers, cluster=cluster)
    print(report)
    marks.append(("train", time.perf_counter()))
    lost = {failure.run.id for failure in report.failed}
    blocked = [name for name in names if lost & {run.id for run in asked[name]}]
    with locked(w.results, fcntl.LOCK_SH):
        withdraw_frames(w)
        failed = execute_notebooks(w, [name for name in names if name not in blocked], workers)
    marks.append(("notebooks", time.perf_counter()))
    with locked(w.results, fcntl.LOCK_EX):  # of `make -j`: else half of another one's tables
        write_manifest(w)
        wrong = conclude(w.results)
    marks.append(("report and verify", time.perf_counter()))
    spent = ", ".join(f"{name} {b - a:.0f} s" for (_, a), (name, b) in pairwise(marks))
    print(f"{', '.join(data) or 'no data'}: {spent}; results in {w.results}")
    if failed:
        named = ", ".join(failed)
        print(f"failed notebooks: {named}; what went wrong is told above", file=sys.stderr)
    if report.failed:
        named = ", ".join(blocked) or "none"
        print(f"{report}\nnot executed for want of these: {named}", file=sys.stderr)
    return int(bool(report.failed or failed or wrong))


def _prepare(
    w: Workspace, names: Iterable[str], workers: int | None, accept_loss: bool
) -> list[str]:
    """Prepare the data that notebooks need; returns the names of these data.

    Of a cohort that somebody recorded, what is wrong with it and what was lost of it is shown.
    """
    sources = [source for name in names for source in NOTEBOOKS[name].data(w)]
    for source in {source.store_path: source for source in sources}.values():
        recorded = isinstance(source, Workspace) and not source.simulated
        # Other frames of the same cohort have the same problems.
        if recorded and source.original is source and len(problems := check_cohort(source)):
            show(problems, f"{source.cohort}: {counted(len(problems), 'problem')}")
        if recorded and (problem := unsplit(source)):
            raise ValueError(problem)
        source.prepare(workers)
        if recorded:
            show(account_for(source, accept_loss), f"{source.cohort}: clips kept and lost")
    return list(dict.fromkeys(source.data_name for source in sources))


def _refuse_read_only(results: Path) -> None:
    """Notice before hours of training that their results could not be written."""
    results.mkdir(parents=True, exist_ok=True)
    for folder in (results, *results.glob("*/")):
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            named = OSError(error.errno, error.strerror, str(folder))
            raise ValueError(explain_os_error(named, folder)) from None


@contextmanager
def locked(results: Path, how: int) -> Iterator[None]:
    """Lock a results folder: shared to execute notebooks, exclusive to hash what they wrote."""
    results.mkdir(parents=True, exist_ok=True)
    with open(results / ".lock", "a") as file:
        fcntl.flock(file, how)
        if how == fcntl.LOCK_EX:
            remove_leftovers(results)
        yield


def wanted(root: Path | None = None) -> dict[str, str] | None:
    """Run id -> names of the notebooks that ask for it, directly or as an input.

    Considers all data under `root`, with the profiles' own seeds. None if there are no data.
    """
    found: dict[str, set[str]] = {}
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
            for run in with_inputs(notebook.runs(space) if notebook.prepared(space) else []):
                found.setdefault(run, set()).add(name)
    return {run: ", ".join(sorted(names)) for run, names in found.items()} if stores else None


def execute_notebooks(w: Workspace, names: Iterable[str], workers: int | None = None) -> list[str]:
    """Execute the notebooks that are not current, one process each.

    `workers` of them run at a time (default: the number of cores). The output of a process is
    printed when it ends. Returns the names of those that failed, in the order given.
    """
    names = list(dict.fromkeys(names))
    failed: set[str] = set()
    for late in (False, True):  # first those that wait for no other one
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
    """Remove what shows frames of sleepers where they may not be shown, and say what was removed.

    That is the files with frames, executed copy and page of each notebook that was executed when
    frames might be shown, and copy and page of its readers. A notebook whose parameter
    `show_frames` the user has set is left alone. So are results that came with the repository,
    whose cohort was never simulated here.
    """
    if w.frames_may_be_shown or (w.simulated and not w.prepared):
        return []
    removed: list[str] = []
    for name, notebook in NOTEBOOKS.items():
        record, _ = execution(w.results / "notebooks" / f"{name}.ipynb")
        if not notebook.frames or record.get("parameters", {}).get("show_frames"):
            continue
        if record.get("depends", {}).get(SIMULATED) == str(False):
            continue
        readers = [one.name for one in NOTEBOOKS.values() if {*one.reads} & {*notebook.frames}]
        places = ("notebooks/{}.ipynb", "notebooks/failed/{}.ipynb", "report/{}.html")
        pages = [place.format(one) for one in (name, *readers) for place in places]
        for path in (*notebook.frames, *pages):
            if (w.results / path).is_file():
                (w.results / path).unlink()
                removed.append(path)
    if removed:
        print(f"{w.results}: removed, for frames of real sleepers are not shown: {removed}")
    return removed


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
    notebook = NOTEBOOKS[name]
    output = w.results / "notebooks" / notebook.source.name
    given, depends = _given(w, notebook), _depends(w, notebook)
    expects = [w.results / path for path in notebook.files]
    values = check_parameters(notebook.source, given)
    if is_current(output, key_of(notebook.source, values, depends), expects):
        return []
    data = [source.data_name for source in notebook.data(w)]
    stamp = {
        "profile": w.profile.name,
        "data": data[0] if data else "none needed",
        "runs": " ".join(sorted({run.id[:8] for run in notebook.runs(w)})) or "none",
    }
    options = {"parameters": given, "depends": depends, "stamp": stamp}
    options |= {"expects": list(map(str, expects)), "end_with": os.getpid()}
    command = [sys.executable, "-m", "sacd.runs.notebook", str(notebook.source), str(output)]
    return [*command, json.dumps(options)]


def _given(w: Workspace, notebook: Notebook) -> dict[str, Any]:
    """Parameters of place of a notebook, those that it has."""
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
    given = {key: value for key, value in given.items() if key in parameters_of(notebook.source)}
    if "results" in given:  # a notebook that needs no data only has to know its folder
        given["profile"] = w.results.name
    return given


def _depends(w: Workspace, notebook: Notebook) -> dict[str, str]:
    """What a notebook reads, by name: runs, data, whether frames may be shown, others' files.

    Of a run its content too: on a machine that computes other bytes, all tables are made again.
    """
    prepared = [source for source in notebook.data(w) if source.prepared]
    depends = {run.label: f"{run.id} {w.runs.content(run)}" for run in notebook.runs(w)}
    if not depends:  # runs name their data
        depends = {f"{DATA}{k}": source.store.fingerprint for k, source in enumerate(prepared)}
    for k, source in enumerate(prepared):
        depends[f"{DATA}{k} name"] = source.data_name
    if notebook.frames:
        depends[SIMULATED] = str(w.frames_may_be_shown)
    for path in notebook.reads:
        if (w.results / path).is_file():
            depends[path] = sha256(w.results / path)
    return depends
