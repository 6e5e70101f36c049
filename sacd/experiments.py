"""Which runs each table and figure needs, as data, and the notebooks that show them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from sacd.notebook_inputs import check_parameters, is_current, key_of, parameters_of
from sacd.profiles import PROFILES
from sacd.provenance import git_state
from sacd.runs import Run
from sacd.workspace import CHECKOUT, STUDENTS, Workspace
from sacd.workspace_ucf51 import Ucf51Workspace

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


def table3(w: Workspace) -> Rows:
    """Rows of Table III: the video student alone, seven methods, one run a seed; the audio teacher."""
    methods = {"R(2+1)D-18": "ce", "FitNet": "fitnet", "PKT": "pkt", "RKD": "rkd", "CRD": "crd", "CMC": "cmc"}
    methods |= {"CCL": "ccl", "SACD": "sacd"}
    most = ("ce", "ccl", "sacd")
    rows = {
        name: [w.ucf51.student(method, seed) for seed in range(w.seeds if method in most else w.other_seeds)]
        for name, method in methods.items()
    }
    return rows | {"teacher/CNN14": [w.ucf51.teacher()]}


STAGERS = {"MC2SleepNet": "mc2sleepnet", **TEACHERS}


def mc2sleepnet(w: Workspace) -> Rows:
    """MC2SleepNet beside the three EEG teachers as stagers, one run a fold; rows without a run where data are few."""
    return {label: w.stagers(name) for label, name in STAGERS.items()}


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


ITEMS: dict[str, Callable[[Workspace], Rows]] = {"table2": table2}
"""Items whose rows are runs that predict the stages of the test clips; `tables/subjects.csv` holds their results."""


class Notebook(NamedTuple):
    """What a notebook shows and writes."""

    runs: Callable[[Workspace], list[Run]]
    files: tuple[str, ...]
    """Under `results/<profile>/`."""
    data: Callable[[Workspace], Workspace | Ucf51Workspace] = lambda w: w
    """What has to be prepared, and names the data."""


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
    "21_ucf51": Notebook(
        lambda w: [run for runs in table3(w).values() for run in runs],
        ("tables/table3.csv", "figures/table3.png", "figures/table3_losses.png"),
        lambda w: w.ucf51,
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
    "42_mc2sleepnet": Notebook(
        lambda w: [run for runs in mc2sleepnet(w).values() for run in runs],
        ("tables/mc2sleepnet.csv", "figures/mc2sleepnet.png"),
    ),
    "50_explore": Notebook(_explored, ("figures/explore.png",)),
}
"""Every notebook, the runs that it shows and the files that it has to write."""


def wanted(root: Path | None = None) -> dict[str, str] | None:
    """Notebooks by id of every run that they ask for, directly or as an input, on the data that lie under `root`.

    Seeds are the profiles'. None where there is no data.
    """
    found: dict[str, list[str]] = {}
    root = root or CHECKOUT
    stores = sorted((root / "data").glob("*/store/manifest.json"))
    for slug in (path.parts[-3] for path in stores):
        profile, _, cohort = slug.partition("-")
        if profile not in PROFILES:
            continue
        kind = "nights" if cohort == "nights" else "data"
        space = Workspace(profile, root=root, **({kind: cohort} if cohort else {}))
        for name, notebook in NOTEBOOKS.items():
            waiting = list(notebook.runs(space))
            while waiting:
                run = waiting.pop()
                if name not in found.setdefault(run.id, []):
                    found[run.id].append(name)
                    waiting += [other for _, other in run.inputs]
    return {run: ", ".join(sorted(names)) for run, names in found.items()} if stores else None


def execute_notebooks(w: Workspace, names: Iterable[str], workers: int | None = None) -> list[str]:
    """Execute the notebooks that are not current, a process each, `workers` at a time (default: the cores).

    What a process says is printed whole when it ends; returns the names of those that failed, in the order given.
    """
    names = list(dict.fromkeys(names))
    commands = {name: command for name in names if (command := _command(w, name))}
    failed: set[str] = set()
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        running = {pool.submit(_run, command, w.root): name for name, command in commands.items()}
        for job in as_completed(running):
            code, said = job.result()
            print(said, end="", file=sys.stderr if code else sys.stdout, flush=True)
            if code:
                failed.add(running[job])
    return [name for name in names if name in failed]


def _run(command: list[str], folder: Path) -> tuple[int, str]:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def _command(w: Workspace, name: str) -> list[str]:
    """Command that executes a notebook; empty if its executed copy is current."""
    source = CHECKOUT / "notebooks" / f"{name}.ipynb"
    output = w.results / "notebooks" / source.name
    given = {
        "profile": w.profile.name,
        "data": "" if w.simulated else str(w.cohort.resolve()),
        "nights": str(w.nights.resolve()) if w.nights else "",
        "root": "" if w.root == CHECKOUT else str(w.root.resolve()),
        "ucf101": "" if w.ucf51.simulated else str(w.ucf51.videos.resolve()),
        "sleepedf": str(w.sleepedf.resolve()) if w.sleepedf else "",
        "seeds": w.asked_seeds,
        "results": "results",
    }
    given = {key: value for key, value in given.items() if key in parameters_of(source)}
    if "results" in given:  # a notebook that needs no data only has to know its folder
        given["profile"] = w.results.name
    runs = {run.label: run.id for run in NOTEBOOKS[name].runs(w)}
    expects = [w.results / path for path in NOTEBOOKS[name].files]
    if is_current(output, key_of(source, check_parameters(source, given), runs), expects):
        return []
    command = [sys.executable, "-m", "sacd.notebooks", str(source), str(output)]
    data = NOTEBOOKS[name].data(w).data_name
    stamp = {"profile": w.profile.name, "data": data, "commit": git_state()["commit"] or "none"}
    for flag, values in (("-p", given), ("-d", runs), ("-s", stamp)):
        command += [word for key, value in values.items() for word in (flag, key, str(value))]
    return command + [word for path in expects for word in ("-e", str(path))]
