"""The summary figure of a results folder, made from its tables and claims alone."""

from pathlib import Path

import pandas as pd

from sacd.figures import base
from sacd.figures import overview as figures
from sacd.paper.contents import CONTENTS
from sacd.report.summary import RUNGS, claims_of, counts
from sacd.report.verify import Verification
from sacd.results import OVERVIEW


def write_overview(v: Verification) -> Path | None:
    """Write the figure as PNG and PDF; return the PNG, or None if there is nothing to show."""
    ladder, verdicts = rungs(v.results), verdicts_by_item(v)
    if ladder.empty or verdicts.empty:
        return None
    figure = figures.overview(ladder, verdicts)
    known = ladder["n_subjects"].dropna()
    base.label_data(figure, v.data, int(known.max()) if len(known) else None)
    path = v.results / OVERVIEW
    return base.save(figure, path.parent, path.stem)[0]


def rungs(results: Path) -> pd.DataFrame:
    """The rows of `RUNGS` that Table II has: value, interval, n_subjects, paper (kappa)."""
    path = results / "tables" / "table2.csv"
    columns = ["value", "ci_low", "ci_high", "n_subjects", "paper_value"]
    if not path.is_file():
        return pd.DataFrame(columns=[*columns[:-1], "paper"])
    table = pd.read_csv(path)
    kappa = table[table["column"] == "kappa"].set_index("row")[columns]
    there = [row for row in RUNGS if row in kappa.index]
    return kappa.loc[there].rename(index=RUNGS, columns={"paper_value": "paper"})


def verdicts_by_item(v: Verification) -> pd.DataFrame:
    """Number of claims by item (such as "Table II") and verdict, in the order of the items."""
    lines = {}
    for item in CONTENTS:
        own = claims_of(v, item)
        if len(own):
            name = item.title.partition(",")[0]
            lines[name] = counts(own["verdict"])
    table = pd.DataFrame.from_dict(lines, orient="index")
    return table.reindex(columns=list(figures.COLOURS)).fillna(0).astype(int)
