"""Every notebook: the runs that it shows, the files that it writes, and the data that it needs.

`make reproduce` trains what these lists ask for. They are made from the parameters that stand in
the notebooks, so a notebook finds trained what it asks for when it is executed.
"""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any, Final, NamedTuple

from sacd.experiments.night import ladder, nights_of
from sacd.experiments.rows import (
    FRAMES,
    PLANES,
    Rows,
    few_labels,
    fig5,
    flat,
    mc2sleepnet,
    readings,
    students,
    table2,
    table3,
    table4,
    table5,
    tuning,
)
from sacd.experiments.ucf51 import Ucf51Workspace
from sacd.experiments.workspace import CHECKOUT, Workspace
from sacd.runs import Run
from sacd.runs.notebook_inputs import parameters_of

DATA: Final = "data "
"""A notebook depends on the names of its data, and without runs on their fingerprints.

They stand under this word and a number.
"""
SIMULATED: Final = f"{DATA}simulated"
"""Whether frames may be shown, which decides the pictures of some notebooks."""


def _tour(w: Workspace) -> Rows:
    return {
        "teacher (EEG)": [w.teacher()],
        "student alone (video)": [w.student()],
        "SACD (video)": [w.student(method="sacd")],
    }


def _method(w: Workspace) -> Rows:
    return {"inputs": [run for _, run in w.student(method="sacd").inputs]}


def _sacd(w: Workspace) -> Rows:
    return {"SACD": students(w)["SACD"]}


def _came_along(w: Workspace) -> bool:
    """Whether `explore.parquet` came with the repository and its runs were never trained here."""
    there = w.prepared and all(w.runs.folder(run).exists() for run in flat(students(w)))
    return not there and (w.results / "tables" / "explore.parquet").exists()


class Notebook(NamedTuple):
    """What a notebook shows and writes."""

    name: str
    list_runs: Callable[..., Rows]
    """Takes the workspace and, by name, the notebook's parameters that decide what is trained."""
    files: tuple[str, ...]
    """Under `results/<profile>/`."""
    data: Callable[[Workspace], tuple[Workspace | Ucf51Workspace, ...]] = lambda w: (w,)
    """Data that have to be prepared; the first one names the data. Empty if none are needed."""
    item: str = ""
    """Item of `ITEMS`, if its rows are one."""
    claimed: bool = True
    """Whether a claim may name its rows: then `tables/subjects.csv` holds them, kept in git."""
    reads: tuple[str, ...] = ()
    """Files of other notebooks that it reads, under `results/<profile>/`."""
    frames: tuple[str, ...] = ()
    """Those of its files that show frames of the sleepers, where these may be shown."""

    @property
    def source(self) -> Path:
        """The notebook as it is edited."""
        return CHECKOUT / "notebooks" / f"{self.name}.ipynb"

    def rows(self, w: Workspace, **changed: Any) -> Rows:
        """Rows and runs, by the parameters that stand in the notebook, or by `changed` ones."""
        wanted = list(signature(self.list_runs).parameters)[1:]
        if missing := [name for name in wanted if name not in changed]:
            known = parameters_of(self.source)
            changed = changed | {name: known[name][1] for name in missing}
        return self.list_runs(w, **{name: changed[name] for name in wanted})

    def runs(self, w: Workspace) -> list[Run]:
        """All that it shows."""
        return flat(self.rows(w))

    def trains_attnsleep(self, w: Workspace) -> bool:
        """Whether its runs need AttnSleep, trained on the EEG of the cohort.

        Every notebook with runs on clips shows this teacher or a student of it.
        """
        if self.list_runs is _none or (w.sleepedf and self.list_runs is mc2sleepnet):
            return False
        return any(isinstance(source, Workspace) for source in self.data(w))

    def prepared(self, w: Workspace) -> bool:
        """Whether the data that its runs need are there."""
        return all(source.prepared for source in self.data(w))


def _none(w: Workspace) -> Rows:
    return {}


def _frame_stores(w: Workspace) -> tuple[Workspace, ...]:
    """The profile's own clips, and those of the readings on frames."""
    return (w, *(w.with_clips(*clips) for clips in FRAMES.values()))


def _explored(w: Workspace) -> Rows:
    return {} if _came_along(w) else students(w)


def _figures(*names: str) -> tuple[str, ...]:
    return tuple(f"figures/{name}.png" for name in names)


def _pictures(*names: str) -> tuple[str, ...]:
    return tuple(f"figures/{name}.{ending}" for name in names for ending in ("png", "pdf"))


def _tables(*names: str) -> tuple[str, ...]:
    return tuple(f"tables/{name}.csv" for name in names)


_STEPS = ("method_embeddings", "method_graph", "method_contrast", "method_jsd", "method_step")
_TABLE2 = ("kappa", "subjects", "calibration", "confusion", "losses", "monitor")
_CASES = ("fig11", "fig12", "fig13")
_NOTEBOOKS = (
    Notebook("00_tour", _tour, _figures("tour_night"), frames=_pictures("tour_clips")),
    Notebook("01_method", _method, _tables("method") + _figures(*_STEPS)),
    Notebook(
        "10_fig2_cohort", _none, _tables("fig2", "table6") + _figures("fig2", "table1_spectra")
    ),
    Notebook(
        "20_table2_comparison",
        table2,
        _tables("table2", "table2_paired") + _figures(*(f"table2_{name}" for name in _TABLE2)),
        item="table2",
    ),
    Notebook(
        "21_table3_ucf51",
        table3,
        _tables("table3", "table3_paired") + _figures("table3", "table3_losses"),
        lambda w: (w.ucf51,),
        item="table3",
    ),
    Notebook(
        "22_table4_fusion",
        table4,
        _tables("table4", "table4_paired") + _figures("table4"),
        item="table4",
    ),
    Notebook(
        "23_table5_ablation",
        table5,
        _tables("table5", "table5_paired") + _figures("table5"),
        item="table5",
    ),
    Notebook("24_tuning", tuning, _tables("tuning") + _figures("tuning")),
    Notebook(
        "30_fig5_hyperparameters",
        fig5,
        _tables("fig5", "fig5_paired") + _figures(*(f"fig5{panel}" for panel in PLANES)),
        item="fig5",
    ),
    Notebook("31_fig6_confusion", students, _tables("fig6") + _figures("fig6")),
    Notebook("32_fig7_ahi_spearman", students, _tables("fig7") + _figures("fig7")),
    Notebook(
        "33_fig8_fig9_ahi_portrait",
        _sacd,
        _tables("fig8", "fig9") + _figures("fig8", "fig9"),
    ),
    Notebook(
        "34_fig10_stage_tsne",
        students,
        (*_tables("fig10"), "tables/explore.parquet", *_figures("fig10")),
        frames=("tables/explore.parquet",),
    ),
    Notebook(
        "35_fig11_fig13_cases",
        students,
        _tables(*_CASES) + _figures(*_CASES),
        frames=_pictures("fig11", "fig12_transition"),
    ),
    Notebook(
        "40_readings",
        readings,
        _tables("readings", "readings_paired") + _figures("readings"),
        _frame_stores,
        item="readings",
        claimed=False,
    ),
    # The audit reads what the paper prints, and no data.
    Notebook("41_paper_audit", _none, _tables("audit") + _figures("audit"), lambda w: ()),
    Notebook("42_mc2sleepnet", mc2sleepnet, _tables("mc2sleepnet") + _figures("mc2sleepnet")),
    Notebook(
        "43_few_labels",
        few_labels,
        _tables("few_labels", "few_labels_paired") + _figures("few_labels"),
    ),
    Notebook(
        "44_simulator_and_reality",
        _none,
        _tables("simulator") + _figures("simulator"),
        lambda w: (),
    ),
    Notebook(
        "45_night",
        ladder,
        _tables("night", "night_paired", "night_sleep", "night_sleepers")
        + _figures("night_ladder", "night_typical", "night_sleep"),
        lambda w: (nights_of(w), w),  # whole nights for the test, clips for the training
    ),
    Notebook(
        "50_explore",
        _explored,
        _figures("explore"),
        # The file that it shows came with the repository: no training for a look at it.
        lambda w: () if _came_along(w) else (w,),
        reads=("tables/explore.parquet",),
    ),
)
NOTEBOOKS = {notebook.name: notebook for notebook in _NOTEBOOKS}

ITEMS = {notebook.item: notebook for notebook in _NOTEBOOKS if notebook.item}
"""Items whose runs predict the test clips."""


def _after() -> dict[str, str]:
    """Notebook -> the notebook whose files it reads, which is executed before it."""
    makers = {path: maker.name for maker in _NOTEBOOKS for path in maker.files}
    return {reader.name: makers[path] for reader in _NOTEBOOKS for path in reader.reads}


AFTER = _after()
