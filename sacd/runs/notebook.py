"""Executes a notebook with checked parameters, time limits and declared result files.

Each notebook has its own process, `python -m sacd.runs.notebook SOURCE OUTPUT [OPTIONS]`. OPTIONS
is a JSON object of further arguments of `run_notebook`, and of `end_with`: the id of the process
with which this one ends.
"""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from filelock import FileLock

from sacd.files import remove_temporary, sha256, write_json, write_text
from sacd.runs.notebook_copies import (
    left_early,
    relink,
    said_by_failed_cell,
    stamped,
    stopped_at,
)
from sacd.runs.notebook_inputs import (
    NotebookError,
    check_parameters,
    hashes_of,
    is_current,
    key_of,
    read_notebook,
)
from sacd.runs.provenance import git_state, machine
from sacd.workers import end_with

LARGEST_MB: Final = 2
_EXIT_IS_AN_ERROR: Final = "IPKernelApp.exec_lines=get_ipython().ask_exit = __import__('sys').exit"
"""`exit`, `quit` and `exit()` raise SystemExit. IPython's own lets the next cells run for 0.1 s."""


def run_notebook(
    source: Path,
    output: Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    expects: Sequence[Path] = (),
    timeout_s: int = 3600,
    stamp: Mapping[str, str] | None = None,
    depends: Mapping[str, str] | None = None,
) -> str:
    """Execute a notebook unless `output` is current; returns "executed" or "skipped".

    Args:
        output: written only on success; a failed copy goes to the folder `failed/` next to it.
        expects: result files that the execution must write.
        timeout_s: limit for each cell.
        stamp: profile, data, run ids, ..., shown under the title. Date and commit differ between
            equal executions, so they go into a hidden file next to the copy (`record_of`).
        depends: ids of runs and hashes of files that the notebook reads, by name; it is executed
            again if one changes.

    Raises:
        NotebookError: the parameters are invalid, or the execution failed; the message names the
            part of the notebook and the failed copy.
    """
    values, depends = check_parameters(source, parameters or {}), dict(depends or {})
    key = key_of(source, values, depends)
    output.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(output.with_name(f".{output.name}.lock")):  # a second process waits, then skips
        # Also before skipping: a process may have ended between the copy and its record.
        for written in (output, record_of(output)):
            remove_temporary(written)
        if is_current(output, key, expects):
            return "skipped"
        before = {path: path.stat().st_mtime_ns if path.exists() else 0 for path in expects}
        started, clock = datetime.now(UTC), time.monotonic()
        failed = output.parent / "failed" / output.name
        # Under a name of its own, so that what a killed execution left is removed by the next one.
        with _scratch(output.with_name(f".{output.name}.partial")) as folder:
            partial = folder / "partial.ipynb"
            reason = _execute(source, partial, values, timeout_s)
            unwritten = [p for p in expects if not p.is_file() or p.stat().st_mtime_ns == before[p]]
            if not reason and unwritten:
                reason = f"it ended without writing {', '.join(map(str, unwritten))}"
            notebook = read_notebook(partial) if partial.exists() else read_notebook(source)
        results = {} if reason else hashes_of(expects)
        relink(notebook, source.parent, (failed if reason else output).parent)
        about = {"key": key, "parameters": values, "depends": depends, "results": results}
        text = stamped(notebook, about, dict(stamp or {}))
        if not reason and (mb := len(text.encode()) / 2**20) > LARGEST_MB:
            fix = "show fewer or smaller figures"
            reason = f"the executed copy has {mb:.1f} MB, more than {LARGEST_MB}; {fix}"
        write_text(failed if reason else output, text)
        if reason:
            raise NotebookError(f"{source} failed: {reason}\n  copy: {failed}")
        failed.unlink(missing_ok=True)
        record = {"content": sha256(output), **git_state()}
        record["started"] = started.isoformat(timespec="seconds")
        record["duration_s"] = round(time.monotonic() - clock, 1)
        write_json(record_of(output), record | {"machine": machine()})
        return "executed"


def record_of(output: Path) -> Path:
    """File with the commit, date, duration and machine of the execution of a copy."""
    return output.with_name(f".{output.stem}.json")


def _execute(source: Path, partial: Path, values: Mapping[str, Any], timeout_s: int) -> str:
    """Run with papermill; returns why it failed, or an empty string."""
    # Without this module jsonschema does not build its IRI parser, which takes 1.7 s; notebooks
    # have no IRIs to check.
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill  # slow to import
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from traitlets.config import Config

    with _kernel(partial.parent) as name, TemporaryDirectory(prefix="sacd-") as sockets:
        # Through files: kernels that start at the same time may choose the same free port. Not in
        # the results, as a socket's path may have 107 letters.
        talk = {"transport": "ipc", "connection_file": f"{sockets}/kernel.json"}
        try:
            papermill.execute_notebook(
                source,
                partial,
                values,
                kernel_name=name,
                config=Config({"KernelManager": talk}),
                language="python",
                progress_bar=False,
                start_timeout=300,
                execution_timeout=timeout_s,
                # The first hides a loopback warning.
                extra_arguments=["--IPKernelApp.log_level=50", f"--{_EXIT_IS_AN_ERROR}"],
            )
            done = read_notebook(partial)
            early = left_early(done)
            return f"{stopped_at(done)}: {early}" if early else ""
        except papermill.PapermillExecutionError as error:
            done = read_notebook(partial)
            text = "\n".join(error.traceback or said_by_failed_cell(done))
            text = text or f"{error.ename}: {error.evalue}"
            lines = re.sub(r"\x1b\[[0-9;]*m", "", text).strip().splitlines()
            return "\n    ".join([stopped_at(done), *lines[-15:]])
        except CellTimeoutError:
            return f"{stopped_at(read_notebook(partial))}: a cell took more than {timeout_s} s"
        except DeadKernelError:
            died = "the kernel died (out of memory?); use a smaller profile"
            return f"{stopped_at(read_notebook(partial))}: {died}"
        except RuntimeError as error:
            return f"the kernel of {sys.executable} did not start: {error}"


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A new folder, removed at the end; hold a lock."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _kernel(folder: Path) -> Iterator[str]:
    """Name of a kernel that lies in `folder` with all that Jupyter and IPython write.

    It is the running interpreter, without the user's start-up files.
    """
    name, folder = "sacd-running-interpreter", folder.resolve()
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    # A progress bar would otherwise add thousands of lines to the executed notebook.
    environment = {"IPYTHONDIR": f"{folder}/ipython", "TQDM_MININTERVAL": "30"}
    spec = {"argv": command, "display_name": "Python 3", "language": "python", "env": environment}
    write_json(folder / "kernels" / name / "kernel.json", spec)
    path = os.environ.get("JUPYTER_PATH")
    own = {
        "JUPYTER_PATH": str(folder) + (os.pathsep + path if path else ""),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    before = {variable: os.environ.get(variable) for variable in own}
    os.environ.update(own)
    try:
        yield name
    finally:
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable)
            else:
                os.environ[variable] = value


def main(argv: Sequence[str] | None = None) -> int:
    """Execute one notebook; returns the exit code, 1 with a message if it fails."""
    source, output, *options = map(str, sys.argv[1:] if argv is None else argv)
    more = json.loads(options[0]) if options else {}
    if parent := more.pop("end_with", None):
        end_with(parent)
    expects = [Path(path) for path in more.pop("expects", ())]
    try:
        outcome = run_notebook(Path(source), Path(output), expects=expects, **more)
    except (NotebookError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{output}: {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
