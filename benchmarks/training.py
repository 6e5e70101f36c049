"""Benchmarks of the training step: overhead of the data loader and of the distillation."""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Row, interleaved, over, ratio
from benchmarks.nights import empty_night
from sacd.config import BackboneConfig, FitConfig, MethodConfig
from sacd.files import create_array, save_tensors


def loading(folder: Path, pairs: int = 9) -> list[Row]:
    """Time of a training step with the data loader, relative to a batch in memory."""
    import torch

    from sacd.data.store import ClipStore
    from sacd.training.pretext import reader
    from sacd.training.views import random_view

    rows = []
    for name, size, frames, stored in (
        ("demo", (24, 32), 64, (24, 32)),
        ("paper, a quarter as wide", (112, 112), 16, (112, 150)),
    ):
        backbone, step = _step(name == "demo", frames, size)
        store = empty_night(folder / name.partition(",")[0], 64, frames, stored)
        inputs = {"pretext": folder}
        if backbone.frozen:
            with torch.inference_mode():
                one = _example(backbone, 1, frames, size)
            stem = create_array(folder / "stem.npy", np.float16, (4, 64, *one.shape[1:]))
            stem[:] = np.random.default_rng(0).normal(size=stem.shape)
            stem.flush()
            shifts = torch.zeros(4, 64, one.shape[1])
            save_tensors(folder / "centres.safetensors", {backbone.centre: shifts})
        read = reader(backbone, inputs, {"store": str(ClipStore(store).root)})
        batch = 64 if backbone.frozen else 16
        chosen = np.random.default_rng(0).permutation(64)[:batch]
        view = random_view(backbone, batch, torch.Generator().manual_seed(0))
        ready = read(chosen, view)

        def with_loader(step=step, read=read, chosen=chosen, view=view) -> None:
            step(read(chosen, view))

        seconds = interleaved([with_loader, partial(step, ready)], pairs)
        measure = f"step with loader over step in memory, {name}"
        rows.append(ratio(measure, over(*seconds), "<= 1.05", f"batch {batch}"))
    return rows


def distilling(folder: Path, pairs: int = 9, paper_pairs: int = 3) -> list[Row]:
    """Time of a step of SACD, relative to a step of cross-entropy alone."""
    rows = []
    for name, frames, size, rounds in (
        ("demo", 64, (24, 32), pairs),
        ("paper", 16, (112, 112), paper_pairs),
    ):
        demo, batch = name == "demo", 64 if name == "demo" else 16
        backbone, plain = _step(demo, frames, size, width=1.0)
        _, taught = _step(demo, frames, size, "sacd", width=1.0)
        x = _example(backbone, batch, frames, size)
        seconds = interleaved([partial(taught, x), partial(plain, x)], rounds)
        detail = f"batch {batch}, {statistics.median(seconds[1]):.2f} core-s a plain step"
        narrow, wide = "stages 3 and 4 of the narrow student", "R(2+1)D-18 at 16x112x112"
        shape = narrow if backbone.frozen else wide
        measure = f"SACD's step over cross-entropy's, {name} ({shape})"
        rows.append(ratio(measure, over(*seconds), "<= 1.1", detail))
    return rows


def _example(backbone: BackboneConfig, batch: int, frames: int, size: tuple[int, int]) -> Any:
    """Random input of a student: frames, or the features of its frozen stages for motion.

    Motion has half the height and width of the frames.
    """
    import torch

    from sacd.training.pretext import make_student

    generator = torch.Generator().manual_seed(0)
    if backbone.input != "motion":
        channels = 3 if backbone.input == "rgb" else 1
        return torch.randn(batch, channels, frames, *size, generator=generator)
    x = torch.randn(batch, 2, frames, size[0] // 2, size[1] // 2, generator=generator)
    with torch.no_grad():
        return make_student(backbone).eval().frozen_stem(x, backbone.frozen)


def _step(
    demo: bool, frames: int, size: tuple[int, int], method: str = "ce", width: float = 0.25
) -> tuple[BackboneConfig, Callable[[Any], None]]:
    """A function that does one optimizer step on a batch, as `training.fit` does.

    The outputs of the teacher are random. `width` is of the paper's student; the demo's keeps its
    own.
    """
    import torch

    from sacd.experiments.profiles import DEMO, PAPER
    from sacd.losses.base import Context, build
    from sacd.models.output import Output
    from sacd.training.distil import DistillationObjective, method_lr_multipliers
    from sacd.training.fit import make_optimizer, parameter_groups
    from sacd.training.pretext import make_student, without_stem

    profile = DEMO if demo else PAPER
    backbone = profile.backbone.model_copy(update={} if demo else {"width": width})
    torch.manual_seed(0)
    model = without_stem(make_student(backbone), backbone)
    n = 64
    teacher = Output(torch.randn(n, 512), torch.randn(n, 5))
    labels = torch.arange(n) % 5
    with torch.inference_mode():
        example = model.eval()(_example(backbone, 2, frames, size))
    head = Output(teacher.embedding[:2], teacher.logits[:2])
    context = Context(model, example, head, labels, torch.Generator().manual_seed(0))
    config = MethodConfig(name=method, options=profile.methods.get(method, {}))
    built = build(config.name, context, **config.options)
    both = torch.nn.ModuleDict({"student": model, "method": built}).train()
    fit = FitConfig(optimizer=profile.student.optimizer)
    groups = parameter_groups(both, fit.lr, method_lr_multipliers(built))
    optimizer, _ = make_optimizer(groups, fit, 1000)
    given: list[Any] = []
    objective = DistillationObjective(
        model, built, lambda rows, generator: given[-1], labels, teacher, None
    )
    generator = torch.Generator().manual_seed(0)

    def step(x: Any) -> None:
        given[:] = [x]
        losses = objective.losses(torch.arange(len(x)), 0, generator)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        with torch.no_grad():
            objective.on_step_end()

    return backbone, step
