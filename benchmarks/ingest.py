"""Benchmarks of ingest: speed, memory, and time per subject in larger cohorts."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from benchmarks.measure import Row, interleaved, over, ratio
from benchmarks.nights import write_night
from sacd.stages import CLIP_S


def ingest_speed(folder: Path, clips: int = 4, pairs: int = 3) -> list[Row]:
    """Speed of ingest, relative to decoding alone and to random access with pytorchvideo."""
    import av
    from pytorchvideo.data.encoded_video import EncodedVideo

    from sacd.data.ingest import ingest
    from sacd.data.store import ClipStore, StoreConfig
    from sacd.experiments.profiles import DEMO, PAPER

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

    decoding, demo, paper, random = interleaved(
        [decode, whole(DEMO.store), whole(PAPER.store), access], pairs
    )
    ingest(cohort, folder / "store", PAPER.store)
    store = ClipStore(folder / "store")
    (read,) = interleaved([lambda: store.gather_video(store.clips.iloc[[clips // 2]])], pairs)
    size = f"320x240 at 25 frames/s, H.264, {clips * CLIP_S} s"
    per_clip = [seconds / clips for seconds in paper]
    rate, access_time = "rate of ingest", "time of pytorchvideo's get_clip over that of"
    decoded = "over that of decoding and throwing away"
    sides = (
        (f"{rate}, demo's frames, {decoded}", over(decoding, demo), ">= 0.8"),
        (f"{rate}, paper's frames, {decoded}", over(decoding, paper), ">= 0.8"),
        (f"{access_time} ingest, a clip", over(random, per_clip), ">= 30"),
        (f"{access_time} a read from the store", over(random, read), ">= 30"),
    )
    return [ratio(measure, values, aim, size) for measure, values, aim in sides]


_PEAK = """
import sys
from sacd.data.ingest import ingest
from sacd.experiments.profiles import DEMO
from sacd.runs.provenance import peak_memory_mb, reset_peak_memory
ingest(sys.argv[1], sys.argv[2], DEMO.store)  # imports what it needs
reset_peak_memory()
ingest(sys.argv[3], sys.argv[4], DEMO.store)
print(peak_memory_mb()["cpu"])
"""


def memory(folder: Path, short: int = 2, factor: int = 8) -> list[Row]:
    """Peak memory of an ingest process for two nights, one `factor` times as long as the other."""
    warm = write_night(folder / "warm", 2)
    peaks = []
    for clips in (short, factor * short):
        night = write_night(folder / f"night{clips}", clips)
        places = [warm, folder / f"s{clips}", night, folder / f"t{clips}"]
        command = [sys.executable, "-c", _PEAK, *places]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout.split()[-1]))
    first, second = short * CLIP_S, factor * short * CLIP_S
    detail = f"{peaks[0]:.0f} MB for {first} s, {peaks[1]:.0f} MB for {second} s"
    value = peaks[1] / peaks[0]
    measure = f"peak memory of ingest, {factor} times the length"
    return [Row(measure, value, "ratio", "<= 1.1", detail)]


def growth(folder: Path, subjects: Sequence[int] = (10, 20, 40)) -> list[Row]:
    """Time per subject to simulate, ingest and train; it should not grow with the cohort."""
    from sacd.experiments.profiles import SMOKE
    from sacd.experiments.workspace import Workspace

    rows, each = [], []
    for n in subjects:
        size = SMOKE.simulate.model_copy(update={"n_subjects": n, "blocks": 1})
        space = Workspace(SMOKE.model_copy(update={"simulate": size}), root=folder / str(n))
        marks = [time.perf_counter()]
        space.simulate(2)
        marks.append(time.perf_counter())
        space.prepare(2)
        marks.append(time.perf_counter())
        space.execute([space.student()], workers=2, quiet=True)
        marks.append(time.perf_counter())
        each.append((marks[-1] - marks[0]) / n)
        names = ("simulate", "ingest", "train (motion, pretext, student)")
        rows += [
            Row(f"{name}, {n} subjects", b - a, "s")
            for name, (a, b) in zip(names, pairwise(marks), strict=True)
        ]
    value = each[-1] / each[0]
    detail = "16 clips a subject, 2 workers, their start included; 1 is linear"
    measure = f"seconds a subject, {subjects[-1]} over {subjects[0]} subjects"
    return [*rows, Row(measure, value, "ratio", "<= 1.1", detail)]
