"""Driver of tables of bad inputs: each row is an input, the line that it must print, and no trace.

A table is a list of `Bad`; a file of rows parametrizes one test over it and calls `refuse`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sacd.__main__ import main


@dataclass(frozen=True)
class Bad:
    """A bad input."""

    name: str
    make: Callable[[Path], object]
    """Writes the input into an empty folder."""
    command: tuple[str, ...]
    """Arguments of `python -m sacd`; {root} stands for the folder."""
    line: str
    """Pattern that one line of the output must match."""


def refuse(bad: Bad, root: Path, capsys) -> None:
    """Give a bad input to the command line: one line, no traceback, and nothing left behind."""
    bad.make(root)
    before = files(root)
    code = main([word.format(root=root) for word in bad.command])
    said = capsys.readouterr()
    told = (said.out + said.err).splitlines()
    assert code == 1, told
    assert any(re.search(bad.line, line) for line in told), told
    assert not any("Traceback" in line for line in told), told
    assert files(root) == before


def files(root: Path) -> dict[str, bytes]:
    """Bytes of every file of a folder, apart from locks and empty folders."""
    found = (path for path in root.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}
