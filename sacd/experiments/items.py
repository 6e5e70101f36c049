"""Which runs each table and figure needs, and which notebook shows them, as data."""

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

from sacd.experiments.recipes import PAPER_STUDENTS
from sacd.experiments.ucf51 import Ucf51Workspace
from sacd.experiments.workspace import Workspace
from sacd.runs import Run

BASELINES = (
    "baseline/majority",
    "baseline/stratified random",
    "baseline/band-power forest",
    "baseline/band-power forest by night",
)
BOUNDS = ("bound/true signals", "bound/true signals by night")
"""What classifiers reach on the signals that the simulator drew the pictures from."""
Rows = dict[str, list[Run]]
"""Row of a table -> its runs, one a seed."""


def flat(rows: Rows) -> list[Run]:
    """All runs of a table."""
    return [run for runs in rows.values() for run in runs]


def _seeded(seeds: int, make: Callable[..., Run], **settings: Any) -> list[Run]:
    return [make(seed=seed, **settings) for seed in range(seeds)]


PAPER_TEACHERS = {
    "AttnSleep": "attnsleep",
    "DeepSleepNet": "deepsleepnet",
    "Modified-SEN": "modified_sen",
}
PAPER_METHODS = {
    "FitNet": "fitnet",
    "PKT": "pkt",
    "CRD": "crd",
    "IFD": "ifd",
    "CMC": "cmc",
    "CCL": "ccl",
    "SACD": "sacd",
}
"""Of Table II, in its order."""


def table2(w: Workspace) -> Rows:
    """Rows of Table II: both students alone, three teachers x seven methods; the teachers; baselines and bounds; a control."""
    rows = {
        f"-/{label}": _seeded(w.seeds, w.student, student=name)
        for label, name in PAPER_STUDENTS.items()
    }
    for teacher, key in PAPER_TEACHERS.items():
        for label, method in PAPER_METHODS.items():
            seeds = w.seeds if method in ("ccl", "sacd") else w.other_seeds
            rows[f"{teacher}/{label}"] = _seeded(seeds, w.student, method=method, teacher=key)
    rows |= {f"teacher/{teacher}": [w.teacher(key)] for teacher, key in PAPER_TEACHERS.items()}
    simulated = (w.cohort / "derivatives" / "simulator").exists()
    for row in (*BASELINES, *(BOUNDS if simulated else ())):
        rows[row] = [w.baseline(row.partition("/")[2])]
    rows["control/SACD without propagation layers"] = [w.student(method="sacd", seed=0, layers=0)]
    return rows


def table3(w: Workspace) -> Rows:
    """Rows of Table III: the video student alone, seven methods, one run a seed; the audio teacher."""
    methods = {
        "R(2+1)D-18": "ce",
        "FitNet": "fitnet",
        "PKT": "pkt",
        "RKD": "rkd",
        "CRD": "crd",
        "CMC": "cmc",
    }
    methods |= {"CCL": "ccl", "SACD": "sacd"}
    most = ("ce", "ccl", "sacd")
    rows = {
        name: _seeded(w.seeds if method in most else w.other_seeds, w.ucf51.student, method=method)
        for name, method in methods.items()
    }
    return rows | {"teacher/CNN14": [w.ucf51.teacher()]}


def table4(w: Workspace) -> Rows:
    """Rows of Table IV: both baselines, A to G; and the EEG network trained on alone, as long as C to G."""
    n = w.other_seeds
    return {
        "R3D-18 (video)": _seeded(w.seeds, w.student, student="r3d_18"),
        "AttnSleep (EEG)": [w.teacher()],
        "A": _seeded(n, w.fusion, head="A", finetune=False),
        "B": _seeded(n, w.fusion, head="B", finetune=False),
        "C": _seeded(n, w.fusion, head="A", finetune=True),
        "D": _seeded(n, w.fusion, head="B", finetune=True),
        "E": _seeded(n, w.reverse, method="sacd", finetune=False),
        "F": _seeded(n, w.reverse, method="sacd", finetune=True),
        "G": _seeded(n, w.reverse, method="ccl", finetune=True),
        "control/EEG trained on": _seeded(n, w.reverse, method="ce", finetune=False),
    }


ABLATION: dict[str, dict[str, Any]] = {
    "v1": {"weight_structure": 0.0},
    "v2": {"weight_jsd": 0.0},
    "v3": {"weight_contrastive": 0.0},
    "v4": {"directions": "video"},
    "v4, other direction": {"directions": "eeg"},
}
"""Row of Table V -> options of SACD. The paper does not say which direction v4 keeps; we take the
first term of eqs. 12 and 13, video anchors."""


def table5(w: Workspace) -> Rows:
    """Rows of Table V: cross-entropy alone (v0), SACD less one term (v1 to v3) or one direction of L_C (v4), all."""
    rows = {"v0": _seeded(w.seeds, w.student)}
    for row, options in ABLATION.items():
        rows[row] = _seeded(w.other_seeds, w.student, method="sacd", **options)
    return rows | {"ours": _seeded(w.seeds, w.student, method="sacd")}


LAMBDAS = (0.1, 0.5, 1.0, 10.0)
"""Fig. 5: values of each weight."""
PAPER_LAMBDAS = (0.5, 1.0, 1.0)
"""The paper's lambda 1 to 3, `SACD`'s defaults: the point that all planes share."""
PLANES = {"a": 0, "b": 1, "c": 2}
"""Panel of Fig. 5 -> the weight that it fixes at its value in `PAPER_LAMBDAS`."""


def planes() -> dict[str, list[tuple[float, ...]]]:
    """Panel of Fig. 5 -> its 16 points (lambda 1, lambda 2, lambda 3); 37 of the 48 differ."""
    points = list(product(LAMBDAS, repeat=3))
    return {panel: [p for p in points if p[k] == PAPER_LAMBDAS[k]] for panel, k in PLANES.items()}


def fig5(w: Workspace) -> Rows:
    """Points of Fig. 5, `lambda1/lambda2/lambda3`, each once; the paper's own point with one run a seed."""
    rows = {}
    for point in sorted({p for points in planes().values() for p in points}):
        options = dict(
            zip(("weight_structure", "weight_contrastive", "weight_jsd"), point, strict=True)
        )
        seeds = w.seeds if point == PAPER_LAMBDAS else w.other_seeds
        rows[point_name(point)] = _seeded(
            seeds, w.student, method="sacd", fit=w.profile.grid, **options
        )
    return rows


def point_name(point: tuple[float, ...]) -> str:
    """Name of a point as in `printed.csv`.

    >>> point_name((0.5, 1.0, 10.0))
    '0.5/1/10'
    """
    return "/".join(f"{x:g}" for x in point)


READINGS: dict[str, dict[str, Any]] = {
    "L_D: eq. 11 as printed": {"structure": "literal"},
    "L_D: no mismatched graphs": {"structure": "matched_only"},
    "L_C: semi-hard at random": {"selection": "semi_hard_random"},
    "L_C: K hardest of each stage": {"selection": "per_class"},
    "JSD: half Jeffreys": {"divergence": "half_jeffreys"},
    "graph: 1 propagation layer": {"layers": 1},
    "graph: 3 propagation layers": {"layers": 3},
    "graph: 5 propagation layers": {"layers": 5},
    "video keys: no EMA": {"decay": 0.0},
}
"""Reading of an open point -> options of SACD."""
FRAMES = {"frames: 16 consecutive": (16, "consecutive"), "frames: 16 over the 30 s": (16, "spread")}
DEFAULT = "default"


def readings(w: Workspace) -> Rows:
    """Each alternative reading of an open point, changed alone; what the profile does anyway is left out.

    Other frames need clip stores of their own: `NOTEBOOKS["40_readings"].data` lists all that has
    to be prepared.
    """
    n, fit = w.other_seeds, w.profile.student
    default = _seeded(w.seeds, w.student, method="sacd")
    rows = {
        row: _seeded(n, w.student, method="sacd", **options) for row, options in READINGS.items()
    }
    shuffled = {
        "order": "shuffled",
        "batch": fit.batch * fit.blocks_per_batch,
        "blocks_per_batch": 1,
    }
    rows["batches: shuffled clips"] = _seeded(n, w.student, method="sacd", fit=shuffled)
    for row, clips in FRAMES.items():
        rows[row] = _seeded(n, w.with_clips(*clips).student, method="sacd")
    return {DEFAULT: default} | {row: runs for row, runs in rows.items() if runs[0] != default[0]}


STAGERS = {"MC2SleepNet": "mc2sleepnet", **PAPER_TEACHERS}


def mc2sleepnet(w: Workspace) -> Rows:
    """MC2SleepNet beside the three EEG teachers as stagers, one run a fold; rows without a run where data are few."""
    return {label: w.stagers(name) for label, name in STAGERS.items()}


def students(w: Workspace) -> Rows:
    """The student trained by SACD, alone, and by CCL, one run a seed (Figs. 6 to 13)."""
    methods = {"SACD": "sacd", "baseline": "ce", "CCL": "ccl"}
    return {name: _seeded(w.seeds, w.student, method=method) for name, method in methods.items()}


def _tour(w: Workspace) -> Rows:
    return {"teacher": [w.teacher()], "baseline": [w.student()], "SACD": [w.student(method="sacd")]}


def _sacd(w: Workspace) -> Rows:
    return {"SACD": students(w)["SACD"]}


def _came_along(w: Workspace) -> bool:
    """Whether `explore.parquet` came with the repository and its runs were never trained here: it is enough."""
    there = w.prepared and all(w.runs.folder(run).exists() for run in flat(students(w)))
    return not there and (w.results / "tables" / "explore.parquet").exists()


class Notebook(NamedTuple):
    """What a notebook shows and writes."""

    rows: Callable[[Workspace], Rows]
    files: tuple[str, ...]
    """Under `results/<profile>/`."""
    data: Callable[[Workspace], tuple[Workspace | Ucf51Workspace, ...]] = lambda w: (w,)
    """What has to be prepared; the first names the data. Empty: the notebook needs none."""
    item: str = ""
    """Item of `ITEMS`, if its rows are one."""
    reads: tuple[str, ...] = ()
    """Files of other notebooks that it reads, under `results/<profile>/`."""

    def runs(self, w: Workspace) -> list[Run]:
        """All that it shows."""
        return flat(self.rows(w))

    def prepared(self, w: Workspace) -> bool:
        """Whether the data that its runs need are there."""
        return all(source.prepared for source in self.data(w))


NOTEBOOKS = {
    "00_tour": Notebook(_tour, ("figures/tour_night.png",)),
    "10_fig2_cohort": Notebook(
        lambda w: {},
        ("tables/fig2.csv", "tables/table6.csv", "figures/fig2.png", "figures/table1_spectra.png"),
    ),
    "20_table2_comparison": Notebook(
        table2,
        (
            "tables/table2.csv",
            "tables/table2_paired.csv",
            *(
                f"figures/table2_{n}.png"
                for n in ("kappa", "subjects", "confusion", "losses", "monitor")
            ),
        ),
        item="table2",
    ),
    "21_table3_ucf51": Notebook(
        table3,
        (
            "tables/table3.csv",
            "tables/table3_paired.csv",
            "figures/table3.png",
            "figures/table3_losses.png",
        ),
        lambda w: (w.ucf51,),
        item="table3",
    ),
    "22_table4_fusion": Notebook(
        table4,
        ("tables/table4.csv", "tables/table4_paired.csv", "figures/table4.png"),
        item="table4",
    ),
    "23_table5_ablation": Notebook(
        table5,
        ("tables/table5.csv", "tables/table5_paired.csv", "figures/table5.png"),
        item="table5",
    ),
    "30_fig5_hyperparameters": Notebook(
        fig5,
        (
            "tables/fig5.csv",
            "tables/fig5_paired.csv",
            *(f"figures/fig5{panel}.png" for panel in PLANES),
        ),
        item="fig5",
    ),
    "31_fig6_confusion": Notebook(students, ("tables/fig6.csv", "figures/fig6.png")),
    "32_fig7_ahi_spearman": Notebook(students, ("tables/fig7.csv", "figures/fig7.png")),
    "33_fig8_fig9_ahi_portrait": Notebook(
        _sacd, ("tables/fig8.csv", "tables/fig9.csv", "figures/fig8.png", "figures/fig9.png")
    ),
    "34_fig10_stage_tsne": Notebook(
        students, ("tables/fig10.csv", "tables/explore.parquet", "figures/fig10.png")
    ),
    "35_fig11_fig13_cases": Notebook(
        students,
        tuple(
            f"{kind}/fig{n}.{ending}"
            for n in (11, 12, 13)
            for kind, ending in (("tables", "csv"), ("figures", "png"))
        ),
    ),
    "40_readings": Notebook(
        readings,
        ("tables/readings.csv", "tables/readings_paired.csv", "figures/readings.png"),
        lambda w: (w, *(w.with_clips(*clips) for clips in FRAMES.values())),
        item="readings",
    ),
    "41_paper_audit": Notebook(
        lambda w: {}, ("tables/audit.csv", "figures/audit.png"), lambda w: ()
    ),
    "42_mc2sleepnet": Notebook(mc2sleepnet, ("tables/mc2sleepnet.csv", "figures/mc2sleepnet.png")),
    "50_explore": Notebook(
        lambda w: {} if _came_along(w) else students(w),
        ("figures/explore.png",),
        lambda w: () if _came_along(w) else (w,),
        reads=("tables/explore.parquet",),
    ),
}
"""Every notebook, the runs that it shows and the files that it has to write."""

ITEMS = {notebook.item: notebook.rows for notebook in NOTEBOOKS.values() if notebook.item}
"""Items whose rows are runs that predict the test clips; `tables/subjects.csv` holds their results."""

AFTER = {
    name: maker
    for name, notebook in NOTEBOOKS.items()
    for maker, other in NOTEBOOKS.items()
    if set(notebook.reads) & set(other.files)
}
"""Notebooks that read what another one writes; where both are asked for, the other goes first."""
