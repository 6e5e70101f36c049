"""Benchmark of `sacd predict`: how many times faster than the video lasts."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Row, interleaved, over
from benchmarks.nights import RATE, write_night
from sacd.stages import CLIP_S

CORES = 2
AIM = ">= 100"


def speed(folder: Path, clips: int = 16, pairs: int = 3, x3d_px: int = 160) -> list[Row]:
    """Speed of staging a video on two cores, and the share of it that decoding takes.

    Core-seconds are counted, which other jobs on the machine influence little; two cores stage two
    nights at a time.
    """
    import torch

    from sacd.config import BackboneConfig
    from sacd.data.decode import decoded
    from sacd.data.store import StoreConfig
    from sacd.predict.model import SHIPPED, Stager, load
    from sacd.predict.night import predict
    from sacd.training.pretext import make_student

    video = next(write_night(folder / "cohort", clips).rglob("*.mp4"))
    shipped = load(SHIPPED)
    backbone = BackboneConfig(name="pytorchvideo:x3d_xs")
    store = StoreConfig(height=x3d_px, width=x3d_px, frames=16)
    changed = {"backbone": backbone, "store": store, "context": None}
    about = shipped.about.model_copy(update=changed)
    torch.manual_seed(0)
    x3d = Stager(about, make_student(backbone).state_dict())

    def staging(stager: Stager) -> Callable[[], object]:
        def once() -> None:
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                predict([video], stager, Path(cache), threads=1)

        return once

    def decode() -> None:
        for _ in decoded(video):
            pass

    decoding, demo, other = interleaved([decode, staging(shipped), staging(x3d)], pairs)
    size = f"320x240 at {RATE} frames/s, H.264, {clips * CLIP_S} s"
    rows = []
    for name, seconds, aim in (
        ("the demo's student", demo, AIM),
        (f"X3D-XS, 16 frames of {x3d_px} px", other, ""),
    ):
        times = sorted(CORES * clips * CLIP_S / s for s in seconds)
        share = sorted(over(decoding, seconds))[len(seconds) // 2]
        value = times[len(times) // 2]
        detail = f"{len(times)} pairs, {times[0]:.0f} to {times[-1]:.0f}; {size}"
        measure = f"speed of predict on {CORES} cores over that of the video, {name}"
        rows.append(Row(measure, value, "ratio", aim, detail))
        rows.append(Row(f"share of it spent decoding, {name}", share, "ratio", detail=size))
    return rows
