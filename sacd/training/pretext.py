"""Input and pretraining of a video student; replaces Kinetics-700 and Moments in Time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sacd.config import BackboneConfig, MotionConfig, PretextConfig, PublishedConfig
from sacd.data.motion import motion_level, pixel_facts, with_change
from sacd.data.store import ClipStore
from sacd.files import create_array, save_tensors
from sacd.models.pretrained import load_pretrained
from sacd.models.registry import build_student
from sacd.models.video import Tail
from sacd.training.common import Inputs, Resources, open_clips, published_weights, rows_of
from sacd.training.fit import Objective, Progress, fit
from sacd.training.views import View, input_of, random_view, seen

START_CLIPS = 20
"""Clips of 30 s in the first 10 minutes of a night."""

Reader = Callable[[np.ndarray, View], Tensor]
"""Returns the student's input for some rows of the store, as `View` says."""


def motion(
    config: MotionConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Write `level.npy` `(n, T, H/2, W/2)` float16: channel 0 of `sacd.data.motion.motion`."""
    store = ClipStore(Path(resources["store"]))
    c, n = store.config, len(store.clips)
    shape = n, c.frames, c.height // 2, c.width // 2  # motion has half the resolution
    out = create_array(folder / "level.npy", np.float16, shape)
    for start in range(0, n, 64):
        frames = store.gather_video(store.clips.iloc[start : start + 64])
        level = motion_level(torch.from_numpy(frames)).half().numpy()
        out[start : start + len(level)] = level
        progress((start + len(level)) / n, "motion of clips")
    out.flush()


def reader(backbone: BackboneConfig, inputs: Inputs, resources: Resources) -> Reader:
    """A function that reads the student's input for some rows of the store.

    The input is `stem.npy` of the pretext run, centred, if early stages are frozen, else the cached
    motion or the grey frames, scaled to about unit variance. Bytes go to the device as they are
    stored, and become float32 there: a quarter of what would have to be moved otherwise.
    """
    device = torch.device(resources.get("device", "cpu"))

    def moved(stored: np.ndarray) -> Tensor:
        return torch.from_numpy(stored).to(device, non_blocking=True)

    if backbone.frozen:
        # The features of a mirrored clip are not the mirrored features, so all four are cached.
        stem = np.load(inputs["pretext"] / "stem.npy", mmap_mode="r")
        if backbone.centre == "none":
            return lambda rows, view: moved(stem[view.flip, rows]).float()
        shifts = load_file(inputs["pretext"] / "centres.safetensors")[backbone.centre].numpy()
        return lambda rows, view: (
            moved(stem[view.flip, rows]).float()
            + moved(shifts[view.flip, rows])[..., None, None, None]
        )
    if backbone.input == "motion":
        level = np.load(inputs["motion"] / "level.npy", mmap_mode="r")
        return lambda rows, view: seen(with_change(moved(level[rows])), view, backbone)
    store = ClipStore(Path(resources["store"]))

    def read(rows: np.ndarray, view: View) -> Tensor:
        window = view.window.numpy() if isinstance(view.window, Tensor) else view.window
        frames = store.gather_video(store.clips.iloc[rows], window)
        return input_of(moved(frames), view, backbone)

    return read


def make_student(config: BackboneConfig) -> nn.Module:
    """The student that a config describes."""
    channels = {"frames": 1, "motion": 2, "rgb": 3}[config.input]
    return build_student(config.name, in_channels=channels, width=config.width, **config.options)


def without_stem(student: nn.Module, config: BackboneConfig) -> nn.Module:
    """The part of a student that is trained; the frozen stages before it are cached."""
    return Tail(student, config.frozen) if config.frozen else student


def published(
    config: PublishedConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Write `weights.safetensors` of a student with published weights; replaces `pretext`."""
    path = published_weights(resources["weights"], config.weights)
    torch.manual_seed(0)  # for layers that the checkpoint does not fill
    student = load_pretrained(make_student(config.backbone), path)
    save_tensors(folder / "weights.safetensors", student.state_dict())


class _Regressor(nn.Module):
    """Student with a linear head that predicts standardised pixel facts from the embedding."""

    def __init__(self, student: nn.Module, facts: int) -> None:
        super().__init__()
        self.student = student
        self.head = nn.Linear(512, facts)


class _PretextObjective(Objective):
    def __init__(
        self,
        model: _Regressor,
        backbone: BackboneConfig,
        read: Reader,
        rows: np.ndarray,
        facts: Tensor,
    ) -> None:
        self.model, self.backbone, self.read = model, backbone, read
        self.rows, self.facts = rows, facts

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        view = random_view(self.backbone, len(rows), generator)
        x = self.read(self.rows[rows], view).to(self.facts.device)
        predicted = self.model.head(self.model.student(x).embedding)
        return {"facts": nn.functional.smooth_l1_loss(predicted, self.facts[rows])}


def pretext(
    config: PretextConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Pretrain a student on pixel facts of the training subjects; no label is read.

    Reads the run `motion`. Writes `weights.safetensors` and `metrics.csv`. If
    `config.backbone.frozen`, also writes `stem.npy` `(4 flips, n, ...)` float16, the features of
    the frozen stages for every clip, and `centres.safetensors`, what `centres` returns.
    """
    _, clips = open_clips(resources, config.split)
    rows = rows_of(clips, "train")
    read = reader(config.backbone.model_copy(update={"frozen": 0}), inputs, resources)
    torch.manual_seed(config.seed)
    # All clips at once would not fit into memory.
    pieces = np.array_split(rows, len(rows) // 64 + 1)
    facts = torch.cat([pixel_facts(read(piece, View()).cpu()) for piece in pieces])
    # Some facts have long tails (movements are rare and large): clipped, they cannot rule the loss.
    facts = ((facts - facts.mean(dim=0)) / facts.std(dim=0).clamp_min(1e-6)).clamp(-5, 5)
    model = _Regressor(make_student(config.backbone), facts.shape[1])
    model.to(resources["device"])
    facts = facts.to(resources["device"])
    # Without `validate`, since no label is read: the weights of the last epoch are kept.
    history = fit(
        model,
        _PretextObjective(model, config.backbone, read, rows, facts),
        clips["block"].to_numpy()[rows],
        config.fit,
        seed=config.seed,
        checkpoint=folder / "checkpoint.pt",
        progress=progress,
    )
    history.to_csv(folder / "metrics.csv", index=False)
    save_tensors(folder / "weights.safetensors", model.student.state_dict())
    if config.backbone.frozen:
        path = folder / "stem.npy"
        level = _cache_stem(model.student, config.backbone.frozen, read, len(clips), path)
        shifts = centres(level, clips["subject"].to_numpy(), rows)
        save_tensors(folder / "centres.safetensors", shifts)


@torch.inference_mode()
def _cache_stem(
    student: nn.Module, stages: int, read: Reader, n: int, path: Path, batch: int = 64
) -> np.ndarray:
    """Write the features of the frozen stages; returns the mean of each channel `(4, n, C)`."""
    student.eval()
    device = next(student.parameters()).device
    shape = student.frozen_stem(read(np.arange(1), View()).to(device), stages).shape[1:]
    out = create_array(path, np.float16, (4, n, *shape))
    level = np.empty((4, n, shape[0]), np.float32)
    for start in range(0, n, batch):
        rows = np.arange(start, min(start + batch, n))
        for flip in range(4):
            h = student.frozen_stem(read(rows, View(flip)).to(device), stages)
            out[flip, rows] = h.half().cpu().numpy()
            # Of the float32 features: a mean over a whole clip loses digits in float16.
            level[flip, rows] = h.mean(dim=(2, 3, 4)).cpu().numpy()
    out.flush()
    return level


def centres(level: np.ndarray, subjects: np.ndarray, train: np.ndarray) -> dict[str, Tensor]:
    """What is added to the features, so that every subject has the same mean of each channel.

    The mean of a channel over a night depends on the person and the bed, not on the sleep stage. It
    is shifted to the mean of the training clips, which needs no label (as AdaBN aligns the
    statistics of domains, arXiv:1603.04779).

    Deviation: the paper stages each clip by itself. The mean "night" is that of the whole night,
    later clips included; "start", that of its first 10 minutes, is known while the night lasts.

    Args:
        level: `(4, n, C)` mean of each channel, for the four flips.
        subjects: `(n,)`; the clips of a subject are in the order of time.
        train: rows of the training clips.

    Returns:
        `(4, n, C)` for "night" and "start".
    """
    place = pd.Series(subjects).groupby(subjects).cumcount().to_numpy()
    found = {}
    for name, used in (("night", np.full(len(subjects), True)), ("start", place < START_CLIPS)):
        shifts = []
        for one in level:
            seen = np.where(used[:, None], one, np.nan)  # pandas leaves NaN out of a mean
            own = pd.DataFrame(seen).groupby(subjects).transform("mean")
            shifts.append(one[train].mean(axis=0) - own.to_numpy())
        found[name] = torch.from_numpy(np.stack(shifts).astype(np.float32))
    return found
