"""Files that hold the same recording: one night under two names would be paired with another's."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from sacd.data.cohort import Night
from sacd.data.problems import CohortError

_TAIL = 2**16
"""Bytes at the end of a file that are compared first."""
_CHUNK = 2**20


def same_recordings(nights: Sequence[Night]) -> list[tuple[str, CohortError]]:
    """`(subject, problem)` of every EEG or video that is another subject's as well."""
    owners = {path: night.subject for night in nights for path in (night.eeg, night.video)}
    found = []
    for one, other in twins(list(owners)):
        problem = f"is the same recording as {one.name} of {owners[one]}"
        fix = "give each subject its own, or remove one of the two from participants.tsv"
        found.append((owners[other], CohortError(other, problem, fix)))
    return found


def twins(files: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pairs of files with the same content, each file with the first one that it equals.

    Of EDF files the header is not compared: it may name another patient.
    """
    sizes: dict[int, list[Path]] = defaultdict(list)
    found = []
    for path in files:
        size = path.stat().st_size
        before = next((p for p in sizes[size] if _equal(p, path, size)), None)
        if before is not None:
            found.append((before, path))
        elif size:
            sizes[size].append(path)
    return found


def _equal(one: Path, other: Path, size: int) -> bool:
    if os.path.samefile(one, other):
        return True
    with one.open("rb") as a, other.open("rb") as b:
        start = 0
        if one.suffix.lower() == ".edf":
            # The number of channels stands at byte 252: 256 bytes of header for each, and 256.
            a.seek(252)
            channels = a.read(4).strip(b" \0")
            start = 256 * (int(channels) + 1) if channels.isdigit() else 0
        if start >= size:
            return False
        for at in (max(start, size - _TAIL), start):
            a.seek(at)
            b.seek(at)
            while part := a.read(_CHUNK):
                if part != b.read(_CHUNK):
                    return False
    return True
