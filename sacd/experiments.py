"""Which runs each table and figure needs, as data, and the notebooks that show them."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sacd.notebook_copies import to_html
from sacd.notebook_inputs import check_parameters, is_current, key_of, parameters_of
from sacd.provenance import git_state
from sacd.runs import Run
from sacd.workspace import CHECKOUT, STUDENTS, Workspace

BOUNDS = ("majority", "stratified random", "band-power forest", "band-power forest by night", "true signals")
Rows = dict[str, list[Run]]
"""Row of a table -> its runs, one a seed."""


def table2(w: Workspace) -> Rows:
    """Rows of Table II: both students alone, SACD with AttnSleep, one run a seed; the teacher; the bounds."""
    seeds = range(w.seeds)
    rows = {f"-/{label}": [w.student(name, seed=s) for s in seeds] for label, name in STUDENTS.items()}
    rows["AttnSleep/SACD"] = [w.student(method="sacd", seed=s) for s in seeds]
    rows["teacher/AttnSleep"] = [w.teacher("attnsleep")]
    names = [b for b in BOUNDS if b != "true signals" or (w.cohort / "derivatives" / "simulator").exists()]
    rows |= {f"bound/{name}": [w.bound(name)] for name in names}
    rows["control/SACD without propagation layers"] = [w.student(method="sacd", seed=0, layers=0)]
    return rows


def students(w: Workspace) -> Rows:
    """The student trained by SACD, alone, and by CCL, one run a seed (Figs. 6 to 13)."""
    methods = {"SACD": "sacd", "baseline": "ce", "CCL": "ccl"}
    return {name: [w.student(method=method, seed=s) for s in range(w.seeds)] for name, method in methods.items()}


def _students(w: Workspace) -> list[Run]:
    return [run for runs in students(w).values() for run in runs]


def _explored(w: Workspace) -> list[Run]:
    """None where `explore.parquet` came with the repository and its runs were never trained here: it is enough."""
    runs = _students(w)
    there = all(w.runs.folder(run).exists() for run in runs)
    return runs if there or not (w.results / "tables" / "explore.parquet").exists() else []


class Notebook(NamedTuple):
    """What a notebook shows and writes."""

    runs: Callable[[Workspace], list[Run]]
    files: tuple[str, ...]
    """Under `results/<profile>/`."""


NOTEBOOKS = {
    "00_tour": Notebook(lambda w: [w.teacher(), w.student(), w.student(method="sacd")], ("figures/tour_night.png",)),
    "10_cohort": Notebook(lambda w: [], ("tables/table6.csv", "figures/fig2.png", "figures/table1_spectra.png")),
    "20_comparison": Notebook(
        lambda w: [run for runs in table2(w).values() for run in runs],
        (
            "tables/table2.csv",
            *(f"figures/table2_{n}.png" for n in ("kappa", "subjects", "confusion", "losses", "monitor")),
        ),
    ),
    "31_confusion": Notebook(_students, ("tables/fig6.csv", "figures/fig6.png")),
    "32_ahi_spearman": Notebook(_students, ("tables/fig7.csv", "figures/fig7.png")),
    "33_ahi_portrait": Notebook(
        lambda w: students(w)["SACD"], ("tables/fig8.csv", "tables/fig9.csv", "figures/fig8.png", "figures/fig9.png")
    ),
    "34_stage_tsne": Notebook(_students, ("tables/fig10.csv", "tables/explore.parquet", "figures/fig10.png")),
    "35_cases": Notebook(
        _students,
        tuple(
            f"{kind}/fig{n}.{ending}" for n in (11, 12, 13) for kind, ending in (("tables", "csv"), ("figures", "png"))
        ),
    ),
    "41_paper_audit": Notebook(lambda w: [], ("tables/audit.csv", "figures/audit.png")),
    "50_explore": Notebook(_explored, ("figures/explore.png",)),
}
"""Every notebook, the runs that it shows and the files that it has to write."""


def execute_notebooks(w: Workspace, names: Iterable[str]) -> list[str]:
    """Execute the notebooks that are not current, a process each; returns the names of those that failed."""
    return [name for name in names if not _execute(w, name)]


def _execute(w: Workspace, name: str) -> bool:
    source = CHECKOUT / "notebooks" / f"{name}.ipynb"
    output = w.results / "notebooks" / source.name
    given = {
        "profile": w.profile.name,
        "data": "" if w.simulated else str(w.cohort.resolve()),
        "nights": str(w.nights.resolve()) if w.nights else "",
        "root": "" if w.root == CHECKOUT else str(w.root.resolve()),
        "seeds": w.seeds,
        "results": "results",
    }
    given = {key: value for key, value in given.items() if key in parameters_of(source)}
    if "results" in given:  # a notebook that needs no data only has to know its folder
        given["profile"] = w.results.name
    runs = {run.label: run.id for run in NOTEBOOKS[name].runs(w)}
    expects = [w.results / path for path in NOTEBOOKS[name].files]
    if is_current(output, key_of(source, check_parameters(source, given), runs), expects):
        return True
    command = [sys.executable, "-m", "sacd.notebooks", str(source), str(output)]
    stamp = {"profile": w.profile.name, "data": w.data_name, "commit": git_state()["commit"] or "none"}
    for flag, values in (("-p", given), ("-d", runs), ("-s", stamp)):
        command += [word for key, value in values.items() for word in (flag, key, str(value))]
    command += [word for path in expects for word in ("-e", str(path))]
    if subprocess.run(command, cwd=w.root).returncode:
        return False
    to_html(output)
    return True
