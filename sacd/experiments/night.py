"""Rows of the ladder of `45_night`: whole nights, staged by heads on trained students."""

from sacd.analysis.night import ALONE, BOUND, PIXELS
from sacd.config import NightConfig, NightEmbedConfig, NightFactsConfig, PretextConfig
from sacd.experiments.workspace import Workspace
from sacd.runs import Run
from sacd.stages import CLIP_S

NOTEBOOK = "45_night"


def unfit(w: Workspace) -> str:
    """Why the frames of the clips do not show breathing; empty if they do.

    `sacd.training.night_facts` takes frames that are spread evenly over the 30 s of a clip. The
    rate of consecutive ones is the camera's, which the store does not keep, and their span is too
    short for two breaths.
    """
    store = w.profile.store
    if store.sampling != "spread":
        fix = "" if w.simulated else "; set `sampling` (SAMPLING=spread)"
        return f"the frames of a clip are {store.sampling}, and breathing shows in spread ones{fix}"
    from sacd.data.pixels import BREATH_HZ  # with torch: seconds of every notebook's start

    least = int(2 * BREATH_HZ[1] * CLIP_S) + 1  # more than two frames in the fastest breath
    if store.frames < least:
        fix = "" if w.simulated else f"; set `frames` (FRAMES={least}) or more"
        return f"{store.frames} frames of a clip are too few to show breathing, {least} do{fix}"
    return ""


def nights_of(w: Workspace) -> Workspace:
    """The whole nights on which the ladder is tested.

    For a simulated cohort, whose nights may be condensed, these are other sleepers in a cohort of
    its own, `data/<profile>/nights`. A cohort that was given holds whole nights: its test sleepers.
    """
    if not w.simulated:
        return w
    return w.changed(
        profile=w.profile.model_copy(update={"simulate": w.profile.nights}),
        nights=None,
        cohort=w.cohort.with_name("nights"),
        store_path=w.store_path.with_name("nights-store"),
    )


def _on(data: Workspace, task: str, config, label: str, **more) -> Run:
    """A run on the clips of one store, with its cohort."""
    places = {"store": data.store_path, "cohort": data.cohort}
    return Run(
        task=f"sacd.training.{task}",
        config=config,
        data=data.store.fingerprint,
        resources=tuple((name, str(path.resolve())) for name, path in places.items()),
        label=label,
        **more,
    )


def _facts(w: Workspace) -> tuple[tuple[str, Run], ...]:
    """What is read of the clips of the training and validation sleepers, and of the nights.

    Raises:
        ValueError: their frames do not show breathing.
    """
    if problem := unfit(w):
        raise ValueError(problem)
    whole, split = nights_of(w), w.profile.split
    parts = NightFactsConfig(split=split, parts=("train", "validation"))
    own = NightFactsConfig(split=None if whole is not w else split, parts=("test",))
    return (
        ("known", _on(w, "night_facts:facts", parts, "pixels of the training clips", cost=15)),
        ("nights", _on(whole, "night_facts:facts", own, "pixels of the nights", cost=30)),
    )


def _embedded(w: Workspace, student: Run) -> Run:
    """What a trained student makes of the nights."""
    p, nights = w.profile, nights_of(w)
    inputs = (("student", student),)
    backbone = student.config.backbone
    # A student with a frozen stem was trained on the stem's output, so the nights need it as well.
    if backbone.frozen:
        pretext = dict(student.inputs)["pretext"]
        known = (("pretext", pretext), _facts(w)[0])
        config = PretextConfig(backbone=backbone, fit=p.pretext, split=p.split)
        label = "frozen stages of the nights"
        inputs += (("stem", _on(nights, "night:stem", config, label, inputs=known, cost=30)),)
    config = NightEmbedConfig(backbone=backbone)
    label = f"nights seen by {student.label}"
    return _on(nights, "night:embed", config, label, inputs=inputs, cost=20)


def heads(w: Workspace, student: Run | None, reads: str, seed: int) -> Run:
    """Heads of every rung, on a trained student or on what pixels or the truth say alone."""
    inputs = _facts(w)
    if student is not None:
        inputs += (("student", student), ("embeddings", _embedded(w, student)))
    config = NightConfig(reads=reads, split=w.profile.split, seed=seed, **w.profile.night)
    name = student.label if student is not None else f"{reads} seed {seed}"
    return _on(w, "night:night", config, f"night by {name}", inputs=inputs, cost=25)


def ladder(w: Workspace, methods: list[str]) -> dict[str, list[Run]]:
    """Rows of the ladder: the student alone and taught, pixels alone, and the bound.

    Args:
        methods: of the taught students; in lower case, keys of `sacd.losses.METHODS`.

    Returns:
        No rows where a clip's frames show no breathing, see `unfit`.
    """
    rows: dict[str, list[Run]] = {}
    if unfit(w):
        return rows
    for name, method in {ALONE: "ce", **{name: name.lower() for name in methods}}.items():
        rows[name] = [
            heads(w, w.student(method=method, seed=seed), "student", seed)
            for seed in range(w.other_seeds)
        ]
    rows[PIXELS] = [heads(w, None, "pixels", seed) for seed in range(w.other_seeds)]
    if (nights_of(w).cohort / "derivatives" / "simulator").exists():
        rows[BOUND] = [heads(w, None, "truth", seed) for seed in range(w.other_seeds)]
    return rows
