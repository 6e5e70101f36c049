"""Where the files made from a user's folder lie: a place for each path, refused to any other."""

import hashlib
import os
import re
from pathlib import Path
from typing import Final

from sacd.files import read_json, write_json
from sacd.results import COHORT

_NAME_LENGTH: Final = 40


def place_of(path: Path | str) -> str:
    """Name of a folder for what is made from a path: its last part, and 8 digits of its hash.

    Two cohorts in folders of one name have places of their own.

    >>> place_of("/lab a/cohort"), place_of("/lab b/cohort")
    ('cohort-a049b1a4', 'cohort-8ab3fcc1')
    """
    path = Path(path).resolve()
    name = re.sub(r"[^A-Za-z0-9._]+", "_", path.name)[:_NAME_LENGTH].strip("._") or "cohort"
    return f"{name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def claim(folder: Path, path: Path) -> None:
    """Write into a folder from which path its files are made.

    Raises:
        ValueError: they are made from another path.
    """
    known, now = path_of(folder), str(path.resolve())
    # Eight digits of a hash may clash, and a folder may have been copied or moved.
    if known and known != now:
        raise ValueError(
            f"{folder}: holds what was made from {known}, not from {now}; move it elsewhere"
        )
    if not known:
        write_json(folder / COHORT, {"path": now})


def path_of(folder: Path) -> str:
    """The path that the files of a folder are made from; empty if it does not say."""
    path = read_json(folder / COHORT).get("path")
    return path if isinstance(path, str) else ""
