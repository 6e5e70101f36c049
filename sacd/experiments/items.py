"""Which runs each table and figure needs, and which notebook shows them, as data.

What a researcher may want to change (rows, grids, readings) is a parameter of the notebook.
`Notebook.rows` reads it there, so that `make reproduce` trains what the notebook will ask for.
"""

from collections.abc import Callable, Iterable
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from sacd.data.splits import split_subjects
from sacd.experiments.night import ladder, nights_of
from sacd.experiments.recipes import PAPER_STUDENTS
from sacd.experiments.ucf51 import Ucf51Workspace
from sacd.experiments.workspace import CHECKOUT, Workspace
from sacd.runs import Run
from sacd.runs.notebook_inputs import parameters_of

BASELINES = (
    "baseline/majority",
    "baseline/stratified random",
    "baseline/band-power forest",
    "baseline/band-power forest by night",
    "baseline/YASA",
)
"""Without a network of ours; YASA's stager was trained by others, on real nights."""
BOUNDS = ("bound/true signals", "bound/true signals by night")
"""What classifiers reach on the signals that the simulator drew the pictures from."""

Rows = dict[str, list[Run]]
"""Row of a table -> its runs, one per seed."""


def flat(rows: Rows) -> list[Run]:
    """All runs of a table."""
    return [run for runs in rows.values() for run in runs]


def _seeded(seeds: int, make: Callable[..., Run], **settings: Any) -> list[Run]:
    return [make(seed=seed, **settings) for seed in range(seeds)]


def _known(names: Iterable[str], known: Iterable[str], what: str) -> list[str]:
    """`names`, each of which has to be known.

    Raises:
        ValueError: one is not.
    """
    names = list(names)
    for name in names:
        if name not in known:
            raise ValueError(f"{what} {name!r} is unknown; known: {', '.join(known)}")
    return names


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
"""Label of Table II -> key of `sacd.losses.METHODS`, in the table's order."""
OTHER_METHODS = {
    "KD": "kd",
    "DIST": "dist",
    "KD, standardised logits": "logit_std",
    "C2KD": "c2kd",
}
"""The same for methods that the paper does not compare with."""
_LABELS = PAPER_METHODS | OTHER_METHODS
_MOST_SEEDS = ("KD", "CCL", "SACD")
"""Methods of the primary comparisons; taught by the first teacher, they have the most seeds."""


def table2(
    w: Workspace,
    students: list[str],
    teachers: list[str],
    methods: list[str],
    beyond: list[str],
) -> Rows:
    """Rows of Table II: students alone, teachers x methods, teachers, baselines, bounds, a control.

    The first student alone and the methods of the primary comparisons have `w.seeds` seeds, all
    other rows `w.other_seeds`. Seed k of two rows has the same initial weights and batches.

    Args:
        students, teachers, methods: labels of the paper, or keys of the registries for others.
        beyond: methods that the paper does not compare with, taught by the first teacher.
    """
    rows = {}
    for number, label in enumerate(students):
        seeds = w.other_seeds if number else w.seeds
        rows[f"-/{label}"] = _seeded(seeds, w.student, student=PAPER_STUDENTS.get(label, label))
    for number, teacher in enumerate(teachers):
        for label in methods if number else [*methods, *beyond]:
            seeds = w.seeds if label in _MOST_SEEDS and not number else w.other_seeds
            method, key = _LABELS.get(label, label), PAPER_TEACHERS.get(teacher, teacher)
            rows[f"{teacher}/{label}"] = _seeded(seeds, w.student, method=method, teacher=key)
    for teacher in teachers:
        rows[f"teacher/{teacher}"] = [w.teacher(PAPER_TEACHERS.get(teacher, teacher))]
    simulated = (w.cohort / "derivatives" / "simulator").exists()
    for row in (*BASELINES, *(BOUNDS if simulated else ())):
        rows[row] = [w.baseline(row.partition("/")[2])]
    rows["control/SACD without propagation layers"] = _seeded(
        w.other_seeds, w.student, method="sacd", layers=0
    )
    return rows


def tuning(w: Workspace, methods: list[str], weights: list[float]) -> Rows:
    """Every method with several weights on all of its terms, at seed 0, taught by AttnSleep.

    Args:
        methods: labels of `PAPER_METHODS` and `OTHER_METHODS`, or keys of `METHODS`.
        weights: factors; 1 is what the method's authors recommend.
    """
    rows = {"student alone": [w.student()]}
    for label, weight in product(methods, weights):
        method = _LABELS.get(label, label)
        rows[f"{label} x {weight:g}"] = [w.student(method=method, weight=weight)]
    return rows


def table3(w: Workspace) -> Rows:
    """Rows of Table III: the video student alone and by seven methods, and the audio teacher."""
    methods = {
        "R(2+1)D-18": "ce",
        "FitNet": "fitnet",
        "PKT": "pkt",
        "RKD": "rkd",
        "CRD": "crd",
        "CMC": "cmc",
    }
    methods |= {"CCL": "ccl", "SACD": "sacd"}
    rows = {
        name: _seeded(w.other_seeds, w.ucf51.student, method=method)
        for name, method in methods.items()
    }
    return rows | {"teacher/CNN14": [w.ucf51.teacher()]}


def table4(w: Workspace) -> Rows:
    """Rows of Table IV: both baselines, A to G, and a control.

    The control trains the EEG network alone for as many further epochs as C to G get.
    """
    n = w.other_seeds
    return {
        "R3D-18 (video)": _seeded(n, w.student, student="r3d_18"),
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


def table5(w: Workspace, ablations: list[str]) -> Rows:
    """Rows of Table V: cross-entropy alone (v0), `ablations` (keys of `ABLATION`), full SACD."""
    rows = {"v0": _seeded(w.seeds, w.student)}
    for row in _known(ablations, ABLATION, "ablation"):
        seeds = w.seeds if row in ("v1", "v2", "v3", "v4") else w.other_seeds
        rows[row] = _seeded(seeds, w.student, method="sacd", **ABLATION[row])
    return rows | {"ours": _seeded(w.seeds, w.student, method="sacd")}


PAPER_LAMBDAS = (0.5, 1.0, 1.0)
"""The paper's lambda 1 to 3, `SACD`'s defaults: the point that all planes of Fig. 5 share."""
PLANES = {"a": 0, "b": 1, "c": 2}
"""Panel of Fig. 5 -> the weight that it fixes at its value in `PAPER_LAMBDAS`."""


def planes(lambdas: list[float], panels: list[str]) -> dict[str, list[tuple[float, ...]]]:
    """Panel of Fig. 5 -> its points (lambda 1, lambda 2, lambda 3).

    >>> planes([0.1, 1.0], ["a"])
    {'a': [(0.5, 0.1, 0.1), (0.5, 0.1, 1.0), (0.5, 1.0, 0.1), (0.5, 1.0, 1.0)]}
    """
    points = {}
    for panel in _known(panels, PLANES, "panel"):
        values: list[list[float]] = [lambdas, lambdas, lambdas]
        values[PLANES[panel]] = [PAPER_LAMBDAS[PLANES[panel]]]
        points[panel] = list(product(*values))
    return points


def fig5(w: Workspace, lambdas: list[float], panels: list[str]) -> Rows:
    """Points of Fig. 5, `lambda1/lambda2/lambda3`, at seed 0: all points differ in weights only."""
    rows = {}
    points = {p for plane in planes(lambdas, panels).values() for p in plane}
    for point in sorted({*points, PAPER_LAMBDAS}):
        weights = ("weight_structure", "weight_contrastive", "weight_jsd")
        options = dict(zip(weights, point, strict=True))
        fit = w.profile.grid
        rows[point_name(point)] = [w.student(method="sacd", fit=fit, weight=1.0, **options)]
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
    "centring: by the first 10 minutes": {"centre": "start"},
    "centring: none": {"centre": "none"},
}
"""Reading of an open point -> settings of the student and options of SACD."""
SHUFFLED = "batches: shuffled clips"
FRAMES = {
    "frames: 16 consecutive": (16, "consecutive"),
    "frames: 16 over the 30 s": (16, "spread"),
}
DEFAULT = "default"


def readings(w: Workspace, alternatives: list[str]) -> Rows:
    """Alternative readings of open points, one change each; the profile's own choice is left out.

    Other frames need clip stores of their own: `frame_stores` lists all that has to be prepared.

    Args:
        alternatives: keys of `READINGS` and `FRAMES`, or `SHUFFLED`.
    """
    n, fit = w.other_seeds, w.profile.student
    default = _seeded(w.seeds, w.student, method="sacd")
    rows = {DEFAULT: default}
    for row in _known(alternatives, [*READINGS, SHUFFLED, *FRAMES], "reading"):
        if row in FRAMES:
            runs = _seeded(n, w.with_clips(*FRAMES[row]).student, method="sacd")
        elif row == SHUFFLED:
            batch = fit.batch * fit.blocks_per_batch
            shuffled = {"order": "shuffled", "batch": batch, "blocks_per_batch": 1}
            runs = _seeded(n, w.student, method="sacd", fit=shuffled)
        else:
            runs = _seeded(n, w.student, method="sacd", **READINGS[row])
        if runs[0] != default[0]:
            rows[row] = runs
    return rows


def frame_stores(w: Workspace) -> tuple[Workspace, ...]:
    """The profile's own clips, and those of the readings on frames."""
    return (w, *(w.with_clips(*clips) for clips in FRAMES.values()))


FEW_SEEDS = 5
"""Most seeds of a row of `few_labels`."""


def few_labels(w: Workspace, labelled: list[int], methods: list[str]) -> Rows:
    """Rows `<method>, <number of labelled subjects>`: alone, taught, and taught by YASA's stages.

    Beside them stand the teachers and YASA itself, one run each.

    The student alone sees the labelled subjects only (`recipes`: for as many steps). The teacher
    of `<method>` is trained on the same labelled subjects; that of `<method> by YASA` on the stages
    that YASA gives all training subjects.

    Args:
        labelled: numbers of labelled training subjects; 0: all. A number that exceeds the training
            subjects is left out.
        methods: labels of `PAPER_METHODS` and `OTHER_METHODS`.
    """
    seeds = min(w.seeds, FEW_SEEDS)
    part = split_subjects(w.store.participants, w.profile.split)
    trained = int((part == "train").sum())
    rows: Rows = {}
    for number in labelled:
        if number >= trained:
            continue
        name = str(number or trained)
        rows[f"alone, {name}"] = _seeded(seeds, w.student, labelled=number)
        for label in methods:
            settings = {"method": _LABELS.get(label, label), "labelled": number}
            rows[f"{label}, {name}"] = _seeded(seeds, w.student, **settings)
            rows[f"{label} by YASA, {name}"] = _seeded(seeds, w.student, labels="yasa", **settings)
        rows[f"teacher, {name}"] = [w.teacher(labelled=number)]
    rows["teacher by YASA, all"] = [w.teacher(labels="yasa")]
    return rows | {"baseline/YASA": [w.baseline("YASA")]}


STAGERS = {"MC2SleepNet": "mc2sleepnet", **PAPER_TEACHERS}


def mc2sleepnet(w: Workspace) -> Rows:
    """MC2SleepNet and the three EEG teachers as stagers, one run per fold.

    Rows have no runs where there are too few subjects for folds.
    """
    return {label: w.stagers(name) for label, name in STAGERS.items()}


def students(w: Workspace) -> Rows:
    """The student trained with SACD, alone, and with CCL (Figs. 6 to 13)."""
    methods = {"SACD": "sacd", "baseline": "ce", "CCL": "ccl"}
    return {name: _seeded(w.seeds, w.student, method=method) for name, method in methods.items()}


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
    reads: tuple[str, ...] = ()
    """Files of other notebooks that it reads, under `results/<profile>/`."""
    frames: tuple[str, ...] = ()
    """Its figures that show frames of the sleepers, where these may be shown."""

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

    def prepared(self, w: Workspace) -> bool:
        """Whether the data that its runs need are there."""
        return all(source.prepared for source in self.data(w))


def _none(w: Workspace) -> Rows:
    return {}


def _explored(w: Workspace) -> Rows:
    return {} if _came_along(w) else students(w)


def _figures(*names: str) -> tuple[str, ...]:
    return tuple(f"figures/{name}.png" for name in names)


def _tables(*names: str) -> tuple[str, ...]:
    return tuple(f"tables/{name}.csv" for name in names)


_STEPS = ("method_embeddings", "method_graph", "method_contrast", "method_jsd", "method_step")
_TABLE2 = ("kappa", "subjects", "calibration", "confusion", "losses", "monitor")
_CASES = ("fig11", "fig12", "fig13")
_NOTEBOOKS = (
    Notebook("00_tour", _tour, _figures("tour_night"), frames=("tour_clips",)),
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
    ),
    Notebook(
        "35_fig11_fig13_cases",
        students,
        _tables(*_CASES) + _figures(*_CASES),
        frames=("fig11", "fig12_transition"),
    ),
    Notebook(
        "40_readings",
        readings,
        _tables("readings", "readings_paired") + _figures("readings"),
        frame_stores,
        item="readings",
    ),
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
        lambda w: (nights_of(w), w),
    ),
    Notebook(
        "50_explore",
        _explored,
        _figures("explore"),
        lambda w: () if _came_along(w) else (w,),
        reads=("tables/explore.parquet",),
    ),
)
NOTEBOOKS = {notebook.name: notebook for notebook in _NOTEBOOKS}
"""Every notebook, the runs that it shows and the files that it has to write."""

ITEMS = {notebook.item: notebook for notebook in _NOTEBOOKS if notebook.item}
"""Items whose runs predict the test clips; `tables/subjects.csv` holds their results."""


def _after() -> dict[str, str]:
    """Notebook -> the notebook whose files it reads, which is executed before it."""
    makers = {path: maker.name for maker in _NOTEBOOKS for path in maker.files}
    return {reader.name: makers[path] for reader in _NOTEBOOKS for path in reader.reads}


AFTER = _after()
