"""What is wrong with a cohort and what ingest dropped of it, as tables of the results folder."""

from pathlib import Path

import pandas as pd

from sacd.data.account import ALL, account, too_much
from sacd.data.check import check
from sacd.data.cohort import CohortError
from sacd.experiments.workspace import Workspace
from sacd.files import write_text

CHECK, INGEST = "tables/check.csv", "tables/ingest.csv"
_NAMED = 6
"""Losses that the error names; the table has all."""


def check_cohort(w: Workspace) -> pd.DataFrame:
    """The problems of the cohort, also as `tables/check.csv`.

    The cohort is checked again where one of its files is newer than the table.
    """
    path = w.results / CHECK
    if path.is_file() and _newest(w.cohort) < path.stat().st_mtime:
        return pd.read_csv(path, keep_default_na=False)
    wanted = w.profile.store
    problems = check(
        w.cohort,
        wanted.channel,
        wanted.eeg_rate,
        wanted.frames,
        wanted.sampling,
        windows=wanted.parts,
    )
    write_text(path, problems.to_csv(index=False, lineterminator="\n"))
    return problems


def account_for(w: Workspace, accept_loss: bool) -> pd.DataFrame:
    """What ingest kept and dropped, also as `tables/ingest.csv`; returns the nights with losses.

    The last row is of all nights.

    Raises:
        CohortError: a night or a stage lost too many clips, and `accept_loss` is not set.
    """
    table = account(w.store.manifest)
    name = f"{Path(INGEST).stem}{'-' + w.clips.replace(' ', '-') if w.clips else ''}.csv"
    path = w.results / Path(INGEST).with_name(name)
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
    lines = too_much(w.store.manifest)
    if lines and not accept_loss:
        more = f"; and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
        fix = f"mend the cohort (see {path}), or say ACCEPT_LOSS=1 (--accept-loss) to go on"
        raise CohortError(w.cohort, "; ".join(lines[:_NAMED]) + more, fix)
    return table[(table["kept"] < table["scored"]) | (table["night"] == ALL)]


def _newest(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.rglob("*") if path.is_file()), default=0.0)
