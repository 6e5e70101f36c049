"""Small runs for the tests of the run engine; worker processes import their tasks."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sacd.config import Config
from sacd.files import (
    atomic,
    create_array,
    save_tensors,
    write_json,
    write_parquet,
)
from sacd.runs import Run

Inputs = Mapping[str, Path]
Resources = Mapping[str, str]
Progress = Callable[[float, str], None]


class Toy(Config):
    """Settings of every toy task."""

    seed: int = 0
    epochs: int = 3
    pause_s: float = 0.0


def run(seed: int = 0, task: str = "count", pause_s: float = 0.0, epochs: int = 3, **more) -> Run:
    """A run of one of the tasks below."""
    return Run(f"toy_tasks:{task}", Toy(seed=seed, pause_s=pause_s, epochs=epochs), **more)


def tree(folder: Path) -> dict[str, bytes]:
    """Bytes of every result file; provenance and the checksums differ, since they hold times."""
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    timed = ("provenance.json", "checksums.json")
    return {name: path.read_bytes() for name, path in files.items() if name not in timed}


def hold(folder: Path, seeds: Iterable[int]) -> str:
    """Let the tasks of these seeds wait until `release`; the resource "hold" of their runs."""
    folder.mkdir()
    for seed in seeds:
        (folder / str(seed)).touch()
    return str(folder)


def release(folder: Path) -> None:
    """Let the tasks go on that wait, as `hold` said."""
    for path in folder.iterdir():
        if not path.name.endswith("-held"):
            path.unlink()


def train(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Linear regression with momentum, dropout-like noise and a checkpoint every epoch."""
    import pandas as pd
    import torch

    from sacd.training.checkpoint import load_checkpoint, save_checkpoint

    note_pid(resources, config)
    model = torch.nn.Linear(8, 1)
    generator = torch.Generator().manual_seed(config.seed)
    with torch.no_grad():
        model.weight.normal_(generator=generator)
        model.bias.zero_()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=config.epochs)
    history: list[dict[str, float]] = []
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = load_checkpoint(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        generator.set_state(state["generator"])
        history = state["history"]
    for epoch in range(len(history), config.epochs):
        x = torch.randn(16, 8, generator=generator)
        loss = (model(x) - x.sum(dim=1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append({"epoch": epoch + 1, "loss": float(loss.detach())})
        states = {"model": model, "optimizer": optimizer, "schedule": schedule}
        saved = {name: part.state_dict() for name, part in states.items()}
        save_checkpoint(
            checkpoint, saved | {"generator": generator.get_state(), "history": history}
        )
        time.sleep(config.pause_s)
        progress((epoch + 1) / config.epochs, f"epoch {epoch + 1}")
    pd.DataFrame(history).to_csv(folder / "metrics.csv", index=False)
    wait_while_held(resources, config)  # a test kills it between two files
    write_parquet(
        folder / "predictions.parquet",
        pd.DataFrame({"y": model(torch.eye(8))[:, 0].detach().numpy()}),
    )
    save_tensors(folder / "weights.safetensors", model.state_dict())


def count(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Sum of the seeds of this run and of those that it reads."""
    import json

    note_pid(resources, config)
    wait_while_held(resources, config)
    for epoch in range(config.epochs):
        time.sleep(config.pause_s)
        progress((epoch + 1) / config.epochs, f"step {epoch + 1}")
    total = config.seed + sum(
        json.loads((path / "sum.json").read_text())["sum"] for path in inputs.values()
    )
    write_json(folder / "sum.json", {"sum": total})


def walk(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """A chaotic sequence with a checkpoint every step; imports little, so workers start fast."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    checkpoint = folder / "checkpoint.pt"
    x = load_file(checkpoint)["x"] if checkpoint.exists() else np.array([0.3 + config.seed / 100])
    note_pid(resources, config, len(x) - 1)
    for step in range(len(x), config.epochs + 1):
        x = np.append(x, 3.9 * x[-1] * (1 - x[-1]))
        with atomic(checkpoint) as temporary:
            save_file({"x": x}, temporary)
        if step == config.epochs // 2:
            wait_while_held(resources, config)
        progress(step / config.epochs, f"step {step}")
    write_json(folder / "walk.json", x.tolist())


def note_pid(resources: Resources, config: Toy, resumed: int = 0) -> None:
    """Write one file per computation, named by its seed, process, start and resumed steps."""
    if marks := resources.get("marks"):
        Path(marks).mkdir(parents=True, exist_ok=True)
        # A monotonic clock with a fixed number of digits: names sort by it.
        Path(marks, f"{config.seed}-{os.getpid()}-{time.monotonic_ns():020d}-{resumed}").touch()


def wait_while_held(resources: Resources, config: Toy) -> None:
    """Write the file `<hold>/<seed>-held` and wait while the file `<hold>/<seed>` exists."""
    if hold := resources.get("hold"):
        while Path(hold, str(config.seed)).exists():
            Path(hold, f"{config.seed}-held").touch()
            time.sleep(0.01)


def fail(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """An error in the middle."""
    progress(0.5, "half")
    raise ArithmeticError(f"seed {config.seed} does not converge")


def leave(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """A task that believes it is a script."""
    raise SystemExit(0)


def die(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """A crash that no `except` sees."""
    os.kill(os.getpid(), 9)


def nothing(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """No file."""


def fill_disk(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Writing to a device that is always full."""
    with open("/dev/full", "wb") as file:
        file.write(b"x" * 100_000)


def fill_disk_natively(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """As safetensors' native code says it."""
    raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


def fill_disk_mapped(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """An array that is mapped into memory."""
    create_array(folder / "a.npy", "f8", (1000, 1000))


def replace_data(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """While this reads the store, another cohort is ingested into it."""
    write_json(folder / "half.json", {})
    write_json(Path(resources["store"]) / "manifest.json", {"fingerprint": "other"})


def threads(
    config: Toy, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """What the engine gave this task to compute with."""
    import torch

    write_json(
        folder / "threads.json", {"torch": torch.get_num_threads(), "device": resources["device"]}
    )
