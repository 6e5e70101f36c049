"""`make bench`: what the project measures of itself. Both sides of a ratio run in turns; a ratio outlives the machine.

Each part returns rows (`Row`); `run` keeps the last measurement of every part in `results/bench/`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from sacd.bench_data import empty_night, write_night
from sacd.config import BackboneConfig, Config, FitConfig, MethodConfig
from sacd.files import write_json, write_text
from sacd.provenance import git_state, machine
from sacd.stages import CLIP_S


class Row(NamedTuple):
    """One measurement; `aim` is what it should reach, with its direction, or empty."""

    measure: str
    value: float
    unit: str
    aim: str = ""
    met: bool | None = None
    detail: str = ""


def ratio(measure: str, values: Sequence[float], aim: float, least: bool, detail: str) -> Row:
    """Median of ratios, against the least (or the largest) that it may be.

    >>> row = ratio("a over b", [0.7, 0.9, 0.8], 0.75, least=True, detail="")
    >>> row.value, row.aim, row.met, row.detail
    (0.8, '>= 0.75', True, '3 pairs, 0.70 to 0.90')
    """
    value = statistics.median(values)
    spread = f"{len(values)} pairs, {min(values):.2f} to {max(values):.2f}"
    met = value >= aim if least else value <= aim
    return Row(
        measure, value, "ratio", f"{'>=' if least else '<='} {aim:g}", met, "; ".join(filter(None, (spread, detail)))
    )


def interleaved(
    sides: Sequence[Callable[[], object]], pairs: int, clock: Callable[[], float] = time.process_time
) -> list[list[float]]:
    """Core-seconds of each side, in turns: side -> one value a round. One round before that does not count.

    Core-seconds of this process, with all its threads: other jobs on the machine do not count.
    """
    seconds: list[list[float]] = [[] for _ in sides]
    for turn in range(-1, pairs):
        for side, times in zip(sides, seconds, strict=True):
            start = clock()
            side()
            if turn >= 0:
                times.append(clock() - start)
    return seconds


def _over(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x / y for x, y in zip(a, b, strict=True)]


# --- the parts ---


def ingest_speed(folder: Path, clips: int = 4, pairs: int = 3) -> list[Row]:
    """Ingest of a night against decoding alone, and against pytorchvideo's random access."""
    import av
    from pytorchvideo.data.encoded_video import EncodedVideo

    from sacd.data.store import ClipStore, StoreConfig, ingest
    from sacd.profiles import DEMO, PAPER

    cohort = write_night(folder / "cohort", clips)
    video = next(cohort.rglob("*.mp4"))

    def decode() -> None:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for _ in container.decode(stream):
                pass

    def whole(config: StoreConfig) -> Callable[[], object]:
        def once() -> None:
            with tempfile.TemporaryDirectory(dir=folder) as store:
                ingest(cohort, store, config)

        return once

    def access() -> None:
        with closing(EncodedVideo.from_path(video, decode_audio=False)) as opened:
            opened.get_clip(CLIP_S * (clips // 2), CLIP_S * (clips // 2 + 1))

    decoding, demo, paper, random = interleaved([decode, whole(DEMO.store), whole(PAPER.store), access], pairs)
    ingest(cohort, folder / "store", PAPER.store)
    store = ClipStore(folder / "store")
    (read,) = interleaved([lambda: store.gather_video(store.clips.iloc[[clips // 2]])], pairs)
    size = f"320x240 at 25 frames/s, H.264, {clips * CLIP_S} s"
    per_clip = [seconds / clips for seconds in paper]
    return [
        ratio("ingest, demo's frames, over decoding and throwing away", _over(decoding, demo), 0.8, True, size),
        ratio("ingest, paper's frames, over decoding and throwing away", _over(decoding, paper), 0.8, True, size),
        ratio("pytorchvideo get_clip over ingest, a clip", _over(random, per_clip), 30, True, size),
        ratio("pytorchvideo get_clip over a read from the store, a clip", _over(random, read), 30, True, size),
    ]


_PEAK = """
import sys
from sacd.data.store import ingest
from sacd.profiles import DEMO
from sacd.provenance import peak_memory_mb, reset_peak_memory
ingest(sys.argv[1], sys.argv[2], DEMO.store)  # imports what it needs
reset_peak_memory()
ingest(sys.argv[3], sys.argv[4], DEMO.store)
print(peak_memory_mb()["cpu"])
"""


def memory(folder: Path, short: int = 2, factor: int = 8) -> list[Row]:
    """Peak memory of an ingest process for a night and for one that is `factor` times as long."""
    warm = write_night(folder / "warm", 2)
    peaks = []
    for clips in (short, factor * short):
        night = write_night(folder / f"night{clips}", clips)
        command = [sys.executable, "-c", _PEAK, warm, folder / f"s{clips}", night, folder / f"t{clips}"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout.split()[-1]))
    detail = f"{peaks[0]:.0f} MB for {short * CLIP_S} s, {peaks[1]:.0f} MB for {factor * short * CLIP_S} s"
    value = peaks[1] / peaks[0]
    return [Row(f"peak memory of ingest, {factor} times the length", value, "ratio", "<= 1.1", value <= 1.1, detail)]


def loading(folder: Path, pairs: int = 9) -> list[Row]:
    """Training step with the real loader over the step with the batch in memory."""
    import torch

    from sacd.data.store import ClipStore
    from sacd.tasks.pretext import reader

    rows = []
    for name, size, frames, given in (("demo", (24, 32), 64, 3), ("paper, a quarter as wide", (112, 112), 16, 2)):
        backbone, step = _step(name == "demo", frames, size)
        store = empty_night(folder / name.partition(",")[0], 64, frames, size)
        inputs = {"pretext": folder}
        if backbone.frozen:
            with torch.inference_mode():
                one = _example(backbone, 1, frames, size)
            early = np.lib.format.open_memmap(folder / "early.npy", "w+", np.float16, (4, 64, *one.shape[1:]))
            early[:] = np.random.default_rng(0).normal(size=early.shape)
            early.flush()
        read = reader(backbone, inputs, {"store": str(ClipStore(store).root)})
        batch = 64 if backbone.frozen else 16
        chosen = np.random.default_rng(0).permutation(64)[:batch]
        ready = read(chosen, given)
        with_loader = partial(lambda step, read, rows, flip: step(read(rows, flip)), step, read, chosen, given)
        seconds = interleaved([with_loader, partial(step, ready)], pairs)
        rows.append(
            ratio(f"step with loader over step in memory, {name}", _over(*seconds), 1.05, False, f"batch {batch}")
        )
    return rows


def distilling(folder: Path, pairs: int = 9, paper_pairs: int = 1) -> list[Row]:
    """A step of SACD over a step of cross-entropy alone."""
    rows = []
    for name, frames, size, rounds in (("demo", 64, (24, 32), pairs), ("paper", 16, (112, 112), paper_pairs)):
        batch = 64 if name == "demo" else 16
        backbone, plain = _step(name == "demo", frames, size, width=None if name == "demo" else 1.0)
        _, taught = _step(name == "demo", frames, size, "sacd", width=None if name == "demo" else 1.0)
        x = _example(backbone, batch, frames, size)
        seconds = interleaved([partial(taught, x), partial(plain, x)], rounds)
        detail = f"batch {batch}, {statistics.median(seconds[1]):.2f} core-s a plain step"
        shape = "stages 2 to 4 of the narrow student" if backbone.frozen else "R(2+1)D-18 at 16x112x112"
        rows.append(ratio(f"SACD's step over cross-entropy's, {name} ({shape})", _over(*seconds), 1.1, False, detail))
    return rows


def _example(backbone: BackboneConfig, batch: int, frames: int, size: tuple[int, int]) -> Any:
    """Random input of a student: frames, or what its frozen stages give for its motion (half the frames' size)."""
    import torch

    from sacd.tasks.pretext import make_student

    generator = torch.Generator().manual_seed(0)
    if backbone.input == "frames":
        return torch.randn(batch, 1, frames, *size, generator=generator)
    x = torch.randn(batch, 2, frames, size[0] // 2, size[1] // 2, generator=generator)
    with torch.no_grad():
        return make_student(backbone).eval().early(x, backbone.frozen)


def _step(
    demo: bool, frames: int, size: tuple[int, int], method: str = "ce", width: float | None = None
) -> tuple[BackboneConfig, Callable[[Any], None]]:
    """One optimizer step of a student as `sacd.train.fit` makes it, for a given batch; teacher outputs are random."""
    import torch

    from sacd.losses import Context, build
    from sacd.models import Output
    from sacd.models.video import Late
    from sacd.profiles import DEMO, PAPER
    from sacd.tasks.pretext import make_student
    from sacd.tasks.student import _Objective
    from sacd.train import _optimizer

    profile = DEMO if demo else PAPER
    backbone = profile.backbone.model_copy(update={} if demo else {"width": width or 0.25})
    torch.manual_seed(0)
    student = make_student(backbone)
    model = Late(student, backbone.frozen) if backbone.frozen else student
    n = 64
    teacher = Output(torch.randn(n, 512), torch.randn(n, 5))
    labels = torch.arange(n) % 5
    with torch.inference_mode():
        example = model.eval()(_example(backbone, 2, frames, size))
    head = Output(teacher.embedding[:2], teacher.logits[:2])
    context = Context(model, example, head, labels, 1000, torch.Generator().manual_seed(0))
    config = MethodConfig(name=method, options=profile.methods.get(method, {}))
    built = build(config.name, context, **config.options)
    both = torch.nn.ModuleDict({"student": model, "method": built}).train()
    parameters = [p for p in both.parameters() if p.requires_grad]
    optimizer, _ = _optimizer(parameters, FitConfig(optimizer=profile.student.optimizer), 1000)
    given: list[Any] = []
    objective = _Objective(model, built, lambda rows, generator: given[-1], labels, teacher, None)
    generator = torch.Generator().manual_seed(0)

    def step(x: Any) -> None:
        given[:] = [x]
        terms = objective.terms(torch.arange(len(x)), 0, generator)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        with torch.no_grad():
            objective.update()

    return backbone, step


class BurnConfig(Config):
    """One of several equal runs: multiply matrices as often as told."""

    seed: int
    rounds: int


def burn(config: BurnConfig, inputs: Mapping, folder: Path, resources: Mapping, progress: Callable) -> None:
    """A run that only computes."""
    import torch

    x = torch.randn(600, 600, generator=torch.Generator().manual_seed(config.seed)) / 25
    y = x
    for k in range(config.rounds):
        y = torch.tanh(y @ x)
        if k % 100 == 0:
            progress(k / config.rounds, "burning")
    (folder / "sum.txt").write_text(f"{float(y.sum())}\n")


def grid(folder: Path, runs: int = 16, rounds: int = 600, workers: int = 2) -> list[Row]:
    """Equal runs on two workers: share of the ideal time."""
    from sacd.runs import Run, RunStore, execute

    store = RunStore(folder / "runs")
    todo = [Run("sacd.bench:burn", BurnConfig(seed=k, rounds=rounds), label=f"equal run {k}") for k in range(runs)]
    start = time.perf_counter()
    execute(todo, store, workers=workers, quiet=True)
    spent = time.perf_counter() - start
    each = [json.loads((store.folder(run) / "provenance.json").read_text())["duration_s"] for run in todo]
    value = sum(each) / workers / spent
    detail = f"{runs} runs of {statistics.median(each):.1f} s, {spent:.0f} s in all, start of the workers included"
    return [Row(f"share of the ideal time, {workers} workers", value, "ratio", ">= 0.9", value >= 0.9, detail)]


def stages(folder: Path, notebooks: Sequence[str] = ("00_tour", "10_cohort")) -> list[Row]:
    """Time of each stage of `make reproduce PROFILE=smoke` for some notebooks, cold, 1 against 2 workers; then warm."""
    from sacd.experiments import NOTEBOOKS, execute_notebooks
    from sacd.workspace import Workspace

    rows, totals = [], []
    for workers in (1, 2):
        root = folder / f"workers{workers}"
        total = time.perf_counter()
        for state in ("cold", "warm") if workers == 2 else ("cold",):
            marks = [time.perf_counter()]
            space = Workspace("smoke", root=root)
            space.prepare(workers)
            marks.append(time.perf_counter())
            runs = [run for name in notebooks for run in NOTEBOOKS[name].runs(space)]
            space.execute(runs, workers=workers, quiet=True)
            marks.append(time.perf_counter())
            if failed := execute_notebooks(space, notebooks, workers):
                raise ValueError(f"notebook {', '.join(failed)} failed; make tour PROFILE=smoke shows why")
            marks.append(time.perf_counter())
            if state == "cold":
                totals.append(time.perf_counter() - total)
            names = ("simulate and ingest", "train", "notebooks")
            for name, seconds in zip(names, np.diff(marks), strict=True):
                rows.append(Row(f"{name}, {state}, {workers} worker(s)", float(seconds), "s"))
            if state == "cold":
                rows += _by_task(root, workers)
    rows.append(
        Row("1 worker over 2 workers, cold, all stages", totals[0] / totals[1], "ratio", detail=", ".join(notebooks))
    )
    return rows


def _by_task(root: Path, workers: int) -> list[Row]:
    """Sum of the durations that the run records tell, by task."""
    spent: dict[str, list[float]] = {}
    for record in (root / "runs").glob("*/provenance.json"):
        task = json.loads((record.parent / "config.json").read_text())["identity"]["task"].partition(":")[2]
        spent.setdefault(task, []).append(json.loads(record.read_text())["duration_s"])
    return [
        Row(
            f"runs of the task {task}, {workers} worker(s)",
            sum(each),
            "s",
            detail=f"{len(each)} run(s), from the records",
        )
        for task, each in sorted(spent.items())
    ]


def growth(folder: Path, subjects: Sequence[int] = (10, 20, 40)) -> list[Row]:
    """Simulate and ingest with more subjects: time and store a subject, which should not grow."""
    from sacd.data.simulate import simulate
    from sacd.data.store import ingest
    from sacd.profiles import SMOKE

    rows, each = [], []
    for n in subjects:
        start = time.perf_counter()
        cohort = simulate(
            folder / f"cohort{n}", SMOKE.simulate.model_copy(update={"n_subjects": n, "blocks": 1}), workers=2
        )
        middle = time.perf_counter()
        ingest(cohort, folder / f"store{n}", SMOKE.store, workers=2)
        end = time.perf_counter()
        each.append((end - start) / n)
        rows += [Row(f"simulate, {n} subjects", middle - start, "s"), Row(f"ingest, {n} subjects", end - middle, "s")]
    value = each[-1] / each[0]
    detail = "16 clips a subject, 2 workers; 1 is linear"
    return [
        *rows,
        Row(
            f"seconds a subject, {subjects[-1]} over {subjects[0]} subjects",
            value,
            "ratio",
            "<= 1.1",
            value <= 1.1,
            detail,
        ),
    ]


PARTS: Final[dict[str, Callable[[Path], list[Row]]]] = {
    "ingest": ingest_speed,
    "memory": memory,
    "loader": loading,
    "step": distilling,
    "grid": grid,
    "stages": stages,
    "growth": growth,
}


def run(output: Path, only: Sequence[str] | None = None, parts: Mapping[str, Callable] = PARTS) -> dict[str, Any]:
    """Measure some parts (default: all) and write `bench.json` and `bench.md`; what was measured before is kept.

    Raises:
        ValueError: there is no such part.
    """
    names = list(only or parts)
    if unknown := [name for name in names if name not in parts]:
        raise ValueError(f"no part {', '.join(unknown)} of the bench; known: {', '.join(parts)}")
    path = output / "bench.json"
    record = json.loads(path.read_text()) if path.is_file() else {}
    for name in names:
        start, load = time.perf_counter(), round(os.getloadavg()[0], 1)
        with tempfile.TemporaryDirectory(prefix="sacd-bench-") as folder:
            rows = parts[name](Path(folder))
        about = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "took_s": round(time.perf_counter() - start, 1),
            **git_state(),
        }
        facts = machine()
        about |= {key: facts.get(key) for key in ("cpu", "cores", "threads", "gpu", "system")} | {"load": load}
        measured = [row._asdict() | {"value": float(f"{row.value:.4g}")} for row in rows]
        record[name] = {"about": about, "rows": measured}
        record = {name: record[name] for name in PARTS if name in record} | record
        write_json(path, record)
        write_text(output / "bench.md", markdown(record))
    return record


def markdown(record: Mapping[str, Any]) -> str:
    """The table of all parts, and where and when each was measured."""
    lines = ["| part | measured | value | aim | met | how |", "|---|---|---|---|---|---|"]
    for name, part in record.items():
        for row in part["rows"]:
            met = {True: "yes", False: "**no**", None: ""}[row["met"]]
            value = f"{row['value']:.3g}" + ("" if row["unit"] == "ratio" else f" {row['unit']}")
            lines.append(f"| {name} | {row['measure']} | {value} | {row['aim']} | {met} | {row['detail']} |")
    lines += [
        "",
        "Medians; both sides of a ratio in turns in one process. Seconds hold on the machine named, ratios travel.",
        "",
    ]
    for name, part in record.items():
        a = part["about"]
        commit = (a["commit"] or "no commit")[:7] + (" with changes" if a["dirty"] else "")
        lines.append(
            f"- {name}: {a['date']}, {a['cpu']}, {a['cores']} cores, load {a['load']} at the start, "
            f"{a['threads'] or 1} thread(s), {commit}, {a['took_s']:.0f} s"
        )
    return "\n".join(lines) + "\n"
