"""Rows of every table and figure, and the runs behind each row: one function per item.

What a researcher may want to change (rows, grids, readings) comes as an argument. It is a
parameter of the item's notebook; `sacd.experiments.items.Notebook.rows` reads it there.
"""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

from sacd.config import FitConfig
from sacd.data.splits import split_subjects
from sacd.experiments.recipes import PAPER_STUDENTS
from sacd.experiments.workspace import Workspace
from sacd.results import FROM_PRETRAINING
from sacd.runs import Run

Rows = dict[str, list[Run]]
"""Row of a table -> its runs, one per seed."""

BASELINES = (
    "majority",
    "stratified random",
    "band-power forest",
    "band-power forest by night",
    "YASA",
)
"""Without a network of ours; YASA's stager was trained by others, on real nights."""
BOUNDS = ("true signals", "true signals by night")
"""What classifiers reach on the signals that the simulator drew the pictures from."""

TEACHERS = {
    "AttnSleep": "attnsleep",
    "DeepSleepNet": "deepsleepnet",
    "Modified-SEN": "modified_sen",
}
"""Label of Table II -> key of `sacd.models.TEACHERS`."""
METHODS = {
    # Of Table II, in its order.
    "FitNet": "fitnet",
    "PKT": "pkt",
    "CRD": "crd",
    "IFD": "ifd",
    "CMC": "cmc",
    "CCL": "ccl",
    "SACD": "sacd",
    # Methods that the paper does not compare with.
    "KD": "kd",
    "DIST": "dist",
    "KD, standardised logits": "logit_std",
    "C2KD": "c2kd",
}
"""Label -> key of `sacd.losses.METHODS`."""
_MOST_SEEDS = ("KD", "CCL", "SACD")
"""Methods of the primary comparisons; taught by the first teacher, they have the most seeds."""


def flat(rows: Rows) -> list[Run]:
    """All runs of a table."""
    return [run for runs in rows.values() for run in runs]


def _seeded(seeds: int, make: Callable[..., Run], **settings: Any) -> list[Run]:
    return [make(seed=seed, **settings) for seed in range(seeds)]


def _known(names: Iterable[str], known: Iterable[str], what: str) -> list[str]:
    """The names; raises ValueError if one is unknown."""
    names = list(names)
    for name in names:
        if name not in known:
            raise ValueError(f"{what} {name!r} is unknown; known: {', '.join(known)}")
    return names


def table2(
    w: Workspace, students: list[str], teachers: list[str], methods: list[str], beyond: list[str]
) -> Rows:
    """Rows of Table II: students alone, teachers x methods, teachers, baselines, bounds, controls.

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
            method, key = METHODS.get(label, label), TEACHERS.get(teacher, teacher)
            rows[f"{teacher}/{label}"] = _seeded(seeds, w.student, method=method, teacher=key)
    for teacher in teachers:
        rows[f"teacher/{teacher}"] = [w.teacher(TEACHERS.get(teacher, teacher))]
    # Only the simulator records the signals behind its pictures.
    simulated = (w.cohort / "derivatives" / "simulator").exists()
    rows |= {f"baseline/{name}": [w.baseline(name)] for name in BASELINES}
    if simulated:
        rows |= {f"bound/{name}": [w.baseline(name)] for name in BOUNDS}
    # Without propagation the graph term compares the encoders' own embeddings.
    control = _seeded(w.other_seeds, w.student, method="sacd", layers=0)
    rows["control/SACD without propagation layers"] = control
    return rows


def tuning(w: Workspace, methods: list[str], weights: list[float]) -> Rows:
    """Every method with several weights on all of its terms, at seed 0, taught by AttnSleep.

    Args:
        methods: labels of `METHODS`, or keys of `sacd.losses.METHODS`.
        weights: factors; 1 is what the method's authors recommend.
    """
    rows = {"student alone": [w.student()]}
    for label, weight in product(methods, weights):
        method = METHODS.get(label, label)
        rows[f"{label} x {weight:g}"] = [w.student(method=method, weight=weight)]
    return rows


def table3(w: Workspace) -> Rows:
    """Rows of Table III: the video student alone and by seven methods, and the audio teacher."""
    rows = {"R(2+1)D-18": _seeded(w.other_seeds, w.ucf51.student)}
    for label in ("FitNet", "PKT", "RKD", "CRD", "CMC", "CCL", "SACD"):
        rows[label] = _seeded(w.other_seeds, w.ucf51.student, method=label.lower())
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
        # The paper's own rows are compared; what we add has fewer seeds.
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


def point_name(point: tuple[float, ...]) -> str:
    """Name of a point as in `printed.csv`.

    >>> point_name((0.5, 1.0, 10.0))
    '0.5/1/10'
    """
    return "/".join(f"{x:g}" for x in point)


def fig5(w: Workspace, lambdas: list[float], panels: list[str]) -> Rows:
    """Points of Fig. 5, `lambda1/lambda2/lambda3`, at seed 0: all points differ in weights only."""
    points = {PAPER_LAMBDAS}
    for plane in planes(lambdas, panels).values():
        points |= set(plane)
    names = ("weight_structure", "weight_contrastive", "weight_jsd")
    rows = {}
    for point in sorted(points):
        weights = dict(zip(names, point, strict=True))
        # weight=1: the axes show the lambdas themselves, not a multiple chosen in 24_tuning.
        run = w.student(method="sacd", fit=w.profile.grid, weight=1.0, **weights)
        rows[point_name(point)] = [run]
    return rows


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
ORDERS = {"batches: shuffled clips": "shuffled", "batches: consecutive clips": "block"}
BLOCK = 16
"""Consecutive clips of a block: the paper's batch."""
FRAMES = {
    "frames: 16 consecutive": (16, "consecutive"),
    "frames: 16 over the 30 s": (16, "spread"),
}


def _ordered(fit: FitConfig, order: str) -> dict[str, Any]:
    """Changes to `fit` for another order of the clips, with as many clips a step."""
    if order == fit.order:
        return {}
    clips = fit.batch * fit.blocks_per_batch
    size = BLOCK if order == "block" else clips
    return {"order": order, "batch": size, "blocks_per_batch": clips // size}


def readings(w: Workspace, alternatives: list[str], pretrainings: list[int]) -> Rows:
    """Alternatives (of `READINGS`, `FRAMES`, `ORDERS`), one change each, and other pretrainings.

    The profile's own choice is left out. All other results start from one pretraining (seed 0), so
    its chance is not in their spread over seeds; SACD and the student alone are repeated from
    pretrainings with other seeds.
    """
    n, fit = w.other_seeds, w.profile.student
    default = _seeded(w.seeds, w.student, method="sacd")
    rows = {"default": default}
    for row in _known(alternatives, [*READINGS, *ORDERS, *FRAMES], "reading"):
        if row in FRAMES:
            runs = _seeded(n, w.with_clips(*FRAMES[row]).student, method="sacd")
        elif row in ORDERS:
            runs = _seeded(n, w.student, method="sacd", fit=_ordered(fit, ORDERS[row]))
        else:
            runs = _seeded(n, w.student, method="sacd", **READINGS[row])
        if runs[0] != default[0]:
            rows[row] = runs
    if w.repeats_pretext("r2plus1d_18"):  # published weights have no seed
        rows[f"{FROM_PRETRAINING} 0"] = _seeded(w.seeds, w.student)
        for seed in pretrainings:
            rows[f"{FROM_PRETRAINING} {seed}"] = _seeded(n, w.student, pretext=seed)
            rows[f"default, pretraining {seed}"] = _seeded(
                n, w.student, method="sacd", pretext=seed
            )
    return rows


def few_labels(w: Workspace, labelled: list[int], methods: list[str]) -> Rows:
    """Rows `<method>, <number of labelled subjects>`: alone, taught, and taught by YASA's stages.

    Beside them stand the teachers and YASA itself, one run each. The student alone sees the
    labelled subjects only (`recipes`: for as many steps). The teacher of `<method>` is trained on
    the same labelled subjects; that of `<method> by YASA` on the stages that YASA gives all
    training subjects.

    Args:
        labelled: numbers of labelled training subjects; 0: all. A number that is not below that of
            the training subjects is left out.
        methods: labels of `METHODS`.
    """
    seeds = min(w.seeds, 5)  # each row is trained for every number of labels
    trained = int((split_subjects(w.store.participants, w.profile.split) == "train").sum())
    rows: Rows = {}
    for number in labelled:
        if number >= trained:
            continue
        name = str(number or trained)
        rows[f"alone, {name}"] = _seeded(seeds, w.student, labelled=number)
        for label in methods:
            settings = {"method": METHODS.get(label, label), "labelled": number}
            rows[f"{label}, {name}"] = _seeded(seeds, w.student, **settings)
            rows[f"{label} by YASA, {name}"] = _seeded(seeds, w.student, labels="yasa", **settings)
        rows[f"teacher, {name}"] = [w.teacher(labelled=number)]
    rows["teacher by YASA, all"] = [w.teacher(labels="yasa")]
    return rows | {"baseline/YASA": [w.baseline("YASA")]}


def mc2sleepnet(w: Workspace) -> Rows:
    """MC2SleepNet and the three EEG teachers as stagers, one run per fold.

    Rows have no runs where there are too few subjects for folds.
    """
    stagers = {"MC2SleepNet": "mc2sleepnet", **TEACHERS}
    return {label: w.stagers(name) for label, name in stagers.items()}


def students(w: Workspace) -> Rows:
    """The student trained with SACD, alone, and with CCL (Figs. 6 to 13)."""
    methods = {"SACD": "sacd", "baseline": "ce", "CCL": "ccl"}
    return {name: _seeded(w.seeds, w.student, method=method) for name, method in methods.items()}
