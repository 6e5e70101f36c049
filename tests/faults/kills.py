"""Runs a part of the chain (`victim.py`), ends it at any moment, and looks at what is left."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil

HERE = Path(__file__).resolve().parent
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE_S = 120
"""An orphan waits for ever; whatever merely ends slowly on a busy machine is gone by then."""
KEPT_HIDDEN = re.compile(r"\.lock|\..+\.lock|\.locks|\.work|\.[^.]+\.json")
"""Names of hidden files that belong there: locks, unfinished runs, and records of notebooks."""


@dataclass(frozen=True)
class Ending:
    """How a victim ended."""

    code: int
    changes: int
    said: str
    network: str


def run(part: str, root: Path, last: int = 0, by: int = signal.SIGKILL) -> Ending:
    """Run a part, ended by the signal `by` at its change number `last` (0: not at all).

    Raises:
        AssertionError: processes of it are left.
    """
    mark, log = uuid4().hex, root.parent / f"{root.name}-log"
    for end in ("changes", "ended", "network"):
        Path(f"{log}.{end}").unlink(missing_ok=True)
    paths = (HERE / "hooks", HERE.parent, HERE.parents[1])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "VICTIM_ROOT": str(root),
        "VICTIM_LOG": str(log),
        "VICTIM_LAST": str(last),
        "VICTIM_SIGNAL": str(int(by)),
        "VICTIM_MARK": mark,
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("VICTIM_MAIN", None)
    with open(f"{log}.said", "w+") as said:
        victim = subprocess.Popen(
            [sys.executable, HERE / "victim.py", part, root],
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # A shell's background job ignores Ctrl-C, and what it starts inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        code = victim.wait()
        end_of_family(mark)
        said.seek(0)
        text = said.read()
    return Ending(code, _size(f"{log}.changes"), text, _text(f"{log}.network"))


def _size(path: str) -> int:
    return Path(path).stat().st_size if Path(path).exists() else 0


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def family(mark: str) -> list[psutil.Process]:
    """All living processes that a victim has started, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("VICTIM_MARK") == mark and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


def end_of_family(mark: str) -> None:
    """Wait until no process of a victim is left; one that never ends is an orphan."""
    waited = time.monotonic()
    while left := family(mark):
        if time.monotonic() - waited > PATIENCE_S:
            lines = [" ".join(process.cmdline()) for process in left]
            for process in left:
                process.kill()
            raise AssertionError(f"orphans: {lines}")
        time.sleep(0.05)


def tree(root: Path, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Bytes of every file by its name, without those whose names end so (they hold times)."""
    files = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    return {name: p.read_bytes() for name, p in sorted(files.items()) if not name.endswith(without)}


def leftovers(root: Path) -> list[str]:
    """Hidden files and folders that belong to no finished work."""
    hidden = [path for path in root.rglob(".*") if not KEPT_HIDDEN.fullmatch(path.name)]
    unfinished = [*root.rglob(".work/*"), *root.rglob("*checkpoint*")]
    return sorted(path.relative_to(root).as_posix() for path in hidden + unfinished)


def moments(seed: int, changes: int, number: int) -> list[tuple[int, signal.Signals]]:
    """Random changes at which to end a victim, and by which signal: every second one by SIGKILL."""
    rng = random.Random(seed)
    soft = [SIGNALS[1 + k // 2 % 2] for k in range(number)]
    return [(rng.randint(1, changes), SIGNALS[0] if k % 2 == 0 else soft[k]) for k in range(number)]
