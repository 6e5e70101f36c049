"""Which runs each table and figure needs, as data, and the notebooks that show them."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sacd.notebook_inputs import check_parameters, is_current, key_of, parameters_of
from sacd.provenance import git_state
from sacd.runs import Run
from sacd.workspace import CHECKOUT, STUDENTS, Workspace

BOUNDS = ("majority", "stratified random", "band-power forest", "band-power forest by night", "true signals")
Rows = dict[str, list[Run]]
"""Row of a table -> its runs, one a seed."""


TEACHERS = {"AttnSleep": "attnsleep", "DeepSleepNet": "deepsleepnet", "Modified-SEN": "modified_sen"}
METHODS = {"FitNet": "fitnet", "PKT": "pkt", "CRD": "crd", "IFD": "ifd", "CMC": "cmc", "CCL": "ccl", "SACD": "sacd"}
"""Of Table II, in its order."""


def table2(w: Workspace) -> Rows:
    """Rows of Table II: both students alone, three teachers x seven methods; the teachers; the bounds; a control."""
    rows = {f"-/{label}": [w.student(name, seed=s) for s in range(w.seeds)] for label, name in STUDENTS.items()}
    for teacher, key in TEACHERS.items():
        for label, method in METHODS.items():
            most = key == "attnsleep" and method in ("ccl", "sacd")
            seeds = range(w.seeds if most else w.other_seeds)
            rows[f"{teacher}/{label}"] = [w.student(method=method, teacher=key, seed=s) for s in seeds]
    rows |= {f"teacher/{teacher}": [w.teacher(key)] for teacher, key in TEACHERS.items()}
    names = [b for b in BOUNDS if b != "true signals" or (w.cohort / "derivatives" / "simulator").exists()]
    rows |= {f"bound/{name}": [w.bound(name)] for name in names}
    rows["control/SACD without propagation layers"] = [w.student(method="sacd", seed=0, layers=0)]
    return rows


ITEMS: dict[str, Callable[[Workspace], Rows]] = {"table2": table2}
"""Items whose rows are runs that predict the stages of the test clips; `tables/subjects.csv` holds their results."""


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
    "41_paper_audit": Notebook(lambda w: [], ("tables/audit.csv", "figures/audit.png")),
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
    return not subprocess.run(command, cwd=w.root).returncode
