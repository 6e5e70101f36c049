"""What is wrong with a cohort and what ingest dropped of it, as tables of the results folder."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from sacd.data.account import ALL, account, too_much
from sacd.data.check import FEWEST_SUBJECTS, check
from sacd.data.cohort import CohortError, survey
from sacd.data.splits import split_subjects
from sacd.escape import counted
from sacd.experiments.items import Notebook
from sacd.experiments.night import NOTEBOOK as NIGHT
from sacd.experiments.night import unfit
from sacd.experiments.workspace import Workspace
from sacd.files import write_text
from sacd.models import RATES
from sacd.results import CHECK, INGEST

_NAMED = 6
"""Losses that the error names; the table has all."""


def show(frame: pd.DataFrame, title: str) -> None:
    """Print a table; its texts, such as paths, stay what they are."""
    table = Table(title=title, title_justify="left")
    for column in frame.columns:
        table.add_column(str(column), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*map(str, row))
    Console(markup=False).print(table)  # a path may hold brackets


def suited(w: Workspace, notebooks: list[Notebook], named: bool) -> list[str]:
    """Names of the notebooks that the clips allow, before data are made or anything is trained.

    Args:
        notebooks: those that are to be executed.
        named: the user asked for these. Else one that is not possible is left out, and said.

    Raises:
        ValueError: the EEG rate or the frames are such as no network or notebook can use.
    """
    teach = any(notebook.trains_attnsleep(w) for notebook in notebooks)
    if teach and (problem := wrong_rate(w)):
        raise ValueError(problem)
    names = [notebook.name for notebook in notebooks]
    if NIGHT not in names or not (problem := unfit(w)):
        return names
    if named:
        raise ValueError(f"{NIGHT}: {problem}")
    print(f"{NIGHT} is left out: {problem}")
    return [name for name in names if name != NIGHT]


def wrong_rate(w: Workspace) -> str:
    """One line if a network cannot take EEG of the rate that is set; empty if all can."""
    rate = w.profile.store.eeg_rate
    unable = [name for name, rates in RATES.items() if rate not in rates]
    if not unable:
        return ""
    possible = []
    for name, rates in RATES.items():
        between = " to " if isinstance(rates, range) else " or "
        possible.append(f"{name} {rates[0]}{between}{rates[-1]}")
    return (
        f"eeg_rate is {rate} Hz, which {', '.join(unable)} cannot take; set `eeg_rate` (EEG_RATE=) "
        f"to 100 or 125, which all take (in Hz: {', '.join(possible)})"
    )


def unsplit(w: Workspace) -> str:
    """One line if the subjects of a cohort cannot be split; empty if they can."""
    ahi = pd.Series({night.subject: night.ahi for night in survey(w.cohort)[0].nights}, dtype=float)
    try:
        split_subjects(pd.DataFrame({"ahi": ahi.dropna()}), w.profile.split)
    except ValueError as error:
        fix = "add subjects until three are of one AHI group (below 5, 15, 30, or more)"
        return f"{w.cohort}: {error}; {fix}"
    return ""


def show_problems(w: Workspace) -> int:
    """Show the nights and the problems of the cohort; returns 1 if one of them is an error."""
    if not w.cohort.is_dir():
        raise ValueError(
            f"{w.cohort}: no such folder; say DATA=/path/to/cohort, or make simulate first"
        )
    problems = check(w.cohort, **_wanted(w), subjects=FEWEST_SUBJECTS)
    show(problems.attrs["nights"], f"{w.cohort}: nights")
    show(problems, f"{w.cohort}: {counted(len(problems), 'problem')}")
    for problem in (wrong_rate(w), unsplit(w)):
        if problem:
            print(f"make reproduce would refuse it: {problem}")
    return int((problems["level"] == "error").any())


def _wanted(w: Workspace) -> dict[str, Any]:
    """What `check` looks for: EEG channel and rate, frames of a clip, their sampling, windows."""
    store = w.profile.store
    return {
        "channel": store.channel,
        "rate": store.eeg_rate,
        "frames": store.frames,
        "sampling": store.sampling,
        "windows": store.parts,
    }


def check_cohort(w: Workspace) -> pd.DataFrame:
    """The problems of the cohort, also as `tables/check.csv`.

    The cohort is checked again where one of its files is newer than the table.
    """
    path = w.results / CHECK
    if path.is_file() and _newest(w.cohort) < path.stat().st_mtime:
        return pd.read_csv(path, keep_default_na=False)
    problems = check(w.cohort, **_wanted(w))
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
