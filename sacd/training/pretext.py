"""Label-free pretraining of a video student, standing in for Kinetics-700 + Moments in Time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sacd.config import BackboneConfig, MotionConfig, PretextConfig, PublishedConfig
from sacd.data.motion import motion_level, pixel_facts, with_change
from sacd.data.store import ClipStore
from sacd.files import create_array, save_tensors, sha256
from sacd.models.pretrained import load_pretrained
from sacd.models.registry import build_student
from sacd.training.common import Inputs, Resources, open_clips, rows_of
from sacd.training.fit import Progress, fit


def motion(
    config: MotionConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Write `level.npy` `(n, T, H, W)` float16: the first channel of `sacd.data.motion.motion` of every clip."""
    store = ClipStore(Path(resources["store"]))
    n = len(store.clips)
    out: np.ndarray | None = None
    for start in range(0, n, 64):
        frames = store.gather_video(store.clips.iloc[start : start + 64])
        level = motion_level(torch.from_numpy(frames)).half().numpy()
        if out is None:
            out = create_array(folder / "level.npy", np.float16, (n, *level.shape[1:]))
        out[start : start + len(level)] = level
        progress((start + len(level)) / n, "motion of clips")
    if out is not None:
        out.flush()


def reader(
    backbone: BackboneConfig, inputs: Inputs, resources: Resources
) -> Callable[[np.ndarray, int], Tensor]:
    """A function that reads the student's input of some rows of the store in one of four flips.

    It is `stem.npy` of the pretext run where early stages are frozen, the cached motion, or the
    grey frames, scaled to about unit variance.
    """
    if backbone.frozen:
        stem = np.load(inputs["pretext"] / "stem.npy", mmap_mode="r")
        return lambda rows, flip: torch.from_numpy(stem[flip, rows]).float()
    if backbone.input == "motion":
        level = np.load(inputs["motion"] / "level.npy", mmap_mode="r")
        return lambda rows, flip: _flip(with_change(torch.from_numpy(level[rows])), flip)
    store = ClipStore(Path(resources["store"]))
    return lambda rows, flip: _flip(_grey(store.gather_video(store.clips.iloc[rows])), flip)


def _grey(frames: np.ndarray) -> Tensor:
    """`(B, T, H, W)` uint8 to `(B, 1, T, H, W)`, the published weights' mean and spread of grey levels removed."""
    return (torch.from_numpy(frames).float()[:, None] / 255 - 0.4) / 0.28


def _flip(x: Tensor, flip: int) -> Tensor:
    """Flip 0..3: none, vertical, horizontal, both."""
    return x.flip([d for d in (3, 4) if flip & (d - 2)])


def make_student(config: BackboneConfig) -> nn.Module:
    """The student that a config describes."""
    return build_student(
        config.name,
        in_channels=2 if config.input == "motion" else 1,
        width=config.width,
        **(
            {"freeze_norm_statistics": True} if config.freeze_norm else {}
        ),  # networks of other libraries have none
        **config.options,
    )


def published(
    config: PublishedConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Write `weights.safetensors`: a student filled with published weights, in place of a pretext's."""
    path = Path(resources["weights"])
    if sha256(path) != config.weights:
        raise ValueError(
            f"{path}: is not the checkpoint that this run is of; run the command again"
        )
    torch.manual_seed(0)
    student = load_pretrained(make_student(config.backbone), path)
    save_tensors(folder / "weights.safetensors", student.state_dict())


class _Regressor(nn.Module):
    """Regress standardised pixel facts from the embedding."""

    def __init__(self, student: nn.Module, facts: int) -> None:
        super().__init__()
        self.student = student
        self.head = nn.Linear(512, facts)


class _PretextObjective:
    def __init__(
        self,
        model: _Regressor,
        read: Callable[[np.ndarray, int], Tensor],
        rows: np.ndarray,
        facts: Tensor,
    ):
        self.model, self.read, self.rows, self.facts = model, read, rows, facts

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        x = self.read(self.rows[rows], int(torch.randint(4, (), generator=generator))).to(
            self.facts.device
        )
        guess = self.model.head(self.model.student(x).embedding)
        return {"facts": nn.functional.smooth_l1_loss(guess, self.facts[rows])}

    def on_step_end(self) -> dict[str, float]:
        return {}


def pretext(
    config: PretextConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Pretrain a student on pixel facts of the training subjects, then cache the frozen early stages of every clip.

    Reads the run `motion`. Writes `weights.safetensors`, `metrics.csv` and, if
    `config.backbone.frozen`, `stem.npy` `(4 flips, n, ...)` float16, centred by night. No label and
    no simulator truth is read.
    """
    _, clips = open_clips(resources, config.split)
    rows = rows_of(clips, "train")
    read = reader(config.backbone.model_copy(update={"frozen": 0}), inputs, resources)
    torch.manual_seed(config.seed)
    facts = torch.cat([pixel_facts(read(r, 0)) for r in np.array_split(rows, len(rows) // 64 + 1)])
    facts = ((facts - facts.mean(dim=0)) / facts.std(dim=0).clamp_min(1e-6)).clamp(-5, 5)
    model = _Regressor(
        make_student(config.backbone.model_copy(update={"freeze_norm": False})), facts.shape[1]
    )
    model.to(resources["device"])
    facts = facts.to(resources["device"])
    history = fit(
        model,
        _PretextObjective(model, read, rows, facts),
        clips["block"].to_numpy()[rows],
        config.fit,
        seed=config.seed,
        checkpoint=folder / "checkpoint.safetensors",
        progress=progress,
    )
    history.to_csv(folder / "metrics.csv", index=False)
    save_tensors(folder / "weights.safetensors", model.student.state_dict())
    if config.backbone.frozen:
        subjects = clips["subject"].to_numpy()
        _cache_stem(
            model.student, config.backbone.frozen, read, subjects, rows, folder / "stem.npy"
        )


@torch.inference_mode()
def _cache_stem(
    student: nn.Module,
    stages: int,
    read,
    subjects: np.ndarray,
    train: np.ndarray,
    path: Path,
    batch: int = 64,
) -> None:
    """Write the features; each channel has the same mean over every subject's clips, that of the training clips.

    What a filter answers to this body in this bed is no sign of a stage; a night knows its own
    level without a label (as AdaBN does with a domain's statistics, arXiv:1603.04779).
    """
    student.eval()
    device = next(student.parameters()).device
    n = len(subjects)
    out: np.ndarray | None = None
    for start in range(0, n, batch):
        rows = np.arange(start, min(start + batch, n))
        for flip in range(4):
            h = student.frozen_stem(read(rows, flip).to(device), stages)
            if out is None:
                out = create_array(path, np.float16, (4, n, *h.shape[1:]))
                level = np.empty((4, n, h.shape[1]), np.float32)
            out[flip, rows] = h.half().cpu().numpy()
            level[flip, rows] = h.mean(dim=(2, 3, 4)).cpu().numpy()
    if out is None:
        return
    for flip in range(4):
        own = pd.DataFrame(level[flip]).groupby(subjects).transform("mean").to_numpy()
        shift = (level[flip, train].mean(axis=0) - own)[:, :, None, None, None]
        for start in range(0, n, batch):
            out[flip, start : start + batch] += shift[start : start + batch].astype(np.float16)
    out.flush()
