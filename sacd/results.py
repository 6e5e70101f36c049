"""Contents of a results folder: its manifest, its files, and which of them were altered."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from sacd.files import read_json, sha256

MANIFEST: Final = "MANIFEST.json"
RUNS: Final = "runs.csv"
RECORD: Final = "record.csv"
"""Dates, durations, machines: they differ between equal computations; not in the manifest."""
SUBJECTS: Final = "tables/subjects.csv"
"""Confusion matrices per test subject, by item, row and seed. All metrics follow from them."""
FROM_PRETRAINING: Final = "student alone, pretraining"
"""Rows of the readings that begin so: the student alone, by the seed of its pretraining."""
CHECK: Final = "tables/check.csv"
"""What `check` found in a cohort that was given."""
INGEST: Final = "tables/ingest.csv"
"""What ingest kept and dropped of it. Other frames of the clips have `ingest-<frames>.csv`."""
INGESTS: Final = "tables/ingest*.csv"
_DERIVED: Final = ("report", "failed")
"""Folders whose content follows from the rest, or that hold failed executions."""
COHORT: Final = "cohort.json"
"""Says from which path of the user's the results are made. Of this machine: not in the manifest."""
OVERVIEW: Final = "figures/summary.png"
"""The figure of README and start page. The report makes it, after the manifest."""
ONE_FILE: Final = "report.html"
"""The start page as one file, which is committed; the report makes it, after the manifest."""
_UNLISTED: Final = (
    *(MANIFEST, RECORD, COHORT, "CLAIMS.md", "verify.md", "codecheck.yml"),
    *(OVERVIEW, "figures/summary.pdf", ONE_FILE),
)


def read_manifest(results: Path) -> dict[str, Any]:
    """Content of `MANIFEST.json`; empty if there is none."""
    return read_json(results / MANIFEST)


def listed_files(results: Path) -> list[str]:
    """Files that belong into the manifest, relative to `results`."""
    paths = [path.relative_to(results) for path in results.rglob("*") if path.is_file()]
    return sorted(
        path.as_posix()
        for path in paths
        if path.as_posix() not in _UNLISTED
        and not any(part.startswith(".") or part in _DERIVED for part in path.parts)
        and not (path.parts[0] == "notebooks" and path.suffix in (".html", ".js"))
    )


def is_tidy(name: str) -> bool:
    """Whether a file of a results folder is a tidy table of an item: tables of the data are not."""
    if name in (SUBJECTS, CHECK) or fnmatch(name, INGESTS):
        return False
    return fnmatch(name, "tables/*.csv")


def altered(results: Path) -> list[str]:
    """One line for each file of the manifest that is missing or altered.

    Raises:
        ValueError: there is no manifest.
    """
    manifest = read_manifest(results)
    if not manifest:
        raise ValueError(f"{results / MANIFEST}: missing or truncated; `make reproduce` writes it")
    problems = []
    for name, entry in manifest["files"].items():
        path, maker = results / name, f"made by {entry['notebook'] or 'no notebook that is known'}"
        if not path.is_file():
            problems.append(f"{name}: missing ({maker}); `make reproduce` makes it again")
        elif sha256(path) != entry["sha256"]:
            problems.append(f"{name}: altered, its SHA-256 is not that of the manifest ({maker})")
    return problems
