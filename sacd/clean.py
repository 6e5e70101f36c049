"""Removes what this project made: `make clean` a profile's files, `make clean-all` all, if asked.

It needs only the standard library, because both work without an environment.
"""

import argparse
import fcntl
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
COMMITTED: Final = ("demo", "bench")
"""Results that came with the repository."""
WEIGHTS: Final = "weights"
"""Folder of published weights in data/, where earlier versions looked for them. Not made here."""


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def made_by(root: Path, profile: str) -> list[Path]:
    """What a profile made without DATA: simulated data, their stores, runs on them, results.

    A folder that no simulator made is left out, even where one belongs.
    """
    place = root / "data" / profile
    simulated = [place / "cohort", place / "ucf101"]
    found = [x for x in simulated if _json(x / "dataset_description.json").get("Simulator")]
    stores = [place / "ucf51", *sorted(place.glob("store")), *sorted(place.glob("store-*"))]
    # A run names its data by their fingerprint, which is how runs on a user's data are told apart.
    manifests = {store: _json(store / "manifest.json") for store in stores}
    data = {about.get("fingerprint") for about in manifests.values()} - {None}
    found += [store for store, about in manifests.items() if about]
    for parent in (root / "runs", root / "runs" / ".work"):
        for config in sorted(parent.glob("*/config.json")):
            identity = _json(config).get("identity")
            if isinstance(identity, dict) and identity.get("data") in data:
                found.append(config.parent)
    made = [root / "build", *([root / "results" / profile] if profile not in COMMITTED else [])]
    return [path for path in (*found, *made) if path.is_dir() and not path.is_symlink()]


def everything(root: Path) -> list[Path]:
    """All data, runs and results that were made here, of users' cohorts too."""
    data = [path for path in sorted((root / "data").glob("*")) if path.name != WEIGHTS]
    results = [p for p in sorted((root / "results").glob("*")) if p.name not in COMMITTED]
    found = [*data, root / "runs", *results, root / "build"]
    return [path for path in found if path.is_dir() and not path.is_symlink()]


@contextmanager
def _free(path: Path) -> Iterator[bool]:
    """Whether no process computes the run in a folder; it cannot begin meanwhile."""
    parent = path.parent.parent if path.parent.name == ".work" else path.parent
    lock = parent / ".locks" / f"{path.name}.lock"
    if not lock.is_file():
        yield True
        return
    with open(lock, "a") as file:
        try:
            # The lock of `RunStore.lock`: filelock uses flock(2) too.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _size(path: Path) -> int:
    return sum(part.lstat().st_size for part in path.rglob("*") if part.is_file())


def agreed(ask: Callable[[str], str], question: str) -> bool:
    """Whether the user says yes; no where standard input is no terminal."""
    try:
        return ask(f"{question} [y/N] ") == "y"
    except EOFError:
        return False


def main(
    argv: list[str] | None = None, root: Path = ROOT, ask: Callable[[str], str] = input
) -> int:
    """Remove files; returns the exit code."""
    parser = argparse.ArgumentParser(prog="clean", description=__doc__)
    parser.add_argument("--profile", default="demo", choices=("smoke", "demo", "paper"))
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args(argv)
    paths = everything(root) if args.all else made_by(root, args.profile)
    if args.all:
        for path in paths:
            print(f"{_size(path) / 1e6:10,.0f} MB  {path.relative_to(root)}")
        if not paths or not agreed(ask, f"remove these {len(paths)} folders?"):
            print("nothing was removed")
            return 0
    removed = 0
    for path in paths:
        with _free(path) as free:
            if free:
                shutil.rmtree(path)
                removed += 1
            else:
                print(f"{path.relative_to(root)} is kept: it is being computed")
    print(f"{removed} folders removed" if removed else "nothing to remove")
    return 0


if __name__ == "__main__":
    sys.exit(main())
