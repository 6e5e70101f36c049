"""A night as context: the head of the rung "whole night + pixels" of `45_night`, for a model file.

The head reads every clip of a night: the principal components of the student's embeddings, facts of
breathing and movement from the pixels, and the difference of both from their median of the night.
A run of `sacd.training.night` keeps what its heads predict, and not their weights; `of_run` trains
this one again from the same settings and inputs, which gives the same head.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from sacd.analysis.auc import PROBABILITIES
from sacd.config import Config, NightConfig
from sacd.data.batches import runs
from sacd.predict.measure import calibrate, calibrated, figures
from sacd.stages import STAGES
from sacd.training.common import config_of, labels_of
from sacd.training.night import LIMIT, RUNGS, Components, standardised
from sacd.training.night_heads import Head, beside_night, stage_by, train_head

LEAST_CLIPS: Final = 60
"""Half an hour. Features are compared with their mean and median of the night; those of fewer clips
are mostly those of their stages."""
_PREFIX: Final = "context."
_HEAD: Final = "head."
_RUNG: Final = "whole night"


class AboutContext(Config):
    """What a model file says of its head."""

    run: str
    """Id of the run that trained it."""
    width: int
    """Hidden units."""
    biases: tuple[float, ...]
    threshold: float
    """As those of `About`, for the probabilities of the head."""
    figures: dict[str, dict[str, float]]
    """Of `sacd.predict.measure`, for "validation"; and for the run's test nights, "nights" by the
    head and "nights, one clip" by the student, with the biases and the threshold of each."""


class Context:
    """The head, with what it does to its inputs.

    Args:
        tensors: `center` `(512,)` and `axes` `(512, K)` of the components; `mean` and `spread`
            `(2 (K + F),)` of the inputs; and the weights of the head, each name after "head.".
    """

    def __init__(self, about: AboutContext, tensors: Mapping[str, Tensor]) -> None:
        self.about, self.tensors = about, dict(tensors)
        self._arrays = {k: v.numpy() for k, v in tensors.items() if not k.startswith(_HEAD)}
        weights = {k.removeprefix(_HEAD): v for k, v in tensors.items() if k.startswith(_HEAD)}
        kind, live = RUNGS[_RUNG]
        self.head = Head(len(self._arrays["mean"]), kind, live, about.width, 0.0)
        self.head.load_state_dict(weights)
        self.head.eval()

    def probabilities(self, embedding: NDArray, pixels: NDArray) -> NDArray[np.float64]:
        """Probability of each stage `(n, 5)` after the biases, from all whole clips of a night.

        As for the test nights of the training, the clips are one sequence: the head sees across
        the gaps that other clips leave.

        Args:
            embedding: `(n, 512)` of the student.
            pixels: `(n, F)` of `sacd.training.night_facts.of_pixels`.
        """
        # Rounded to float16, as the embeddings that the head was trained on.
        x = embedding.astype(np.float16).astype(np.float32)
        joined = np.hstack([(x - self._arrays["center"]) @ self._arrays["axes"], pixels])
        one = np.zeros(len(x))
        x = beside_night(joined, one, live=False)
        x = np.clip((x - self._arrays["mean"]) / self._arrays["spread"], -LIMIT, LIMIT)
        p = stage_by(self.head, torch.from_numpy(x.astype(np.float32)), one)
        return calibrated(p.numpy(), self.about.biases)

    def stored(self) -> dict[str, Tensor]:
        """Tensors for the model file. None is rounded: they are few, and a head of a night adds up
        what it sees over hours."""
        return {f"{_PREFIX}{name}": value.contiguous() for name, value in self.tensors.items()}


def taken(about: AboutContext | None, tensors: dict[str, Tensor]) -> Context | None:
    """The context of a model file, whose tensors are removed from `tensors`; None without one."""
    names = [name for name in tensors if name.startswith(_PREFIX)]
    own = {name.removeprefix(_PREFIX): tensors.pop(name) for name in names}
    return Context(about, own) if about is not None else None


def of_run(
    folder: Path,
    inputs: Mapping[str, Path],
    student: nn.Module,
    biases: tuple[float, ...],
    threshold: float,
) -> Context:
    """The head of a finished run of `sacd.training.night:night` on a student's embeddings.

    Args:
        inputs: folders of the runs that it read, by name.
        student: the student, whose own figures on the test nights stand beside those of the head.
        biases, threshold: of the student.
    """
    config = config_of(folder, NightConfig)
    known, own, pixels = _read(inputs, "known", "student", "embedding")
    tensors, p = _trained(config, known, own, pixels)
    fitted, least = calibrate(_table(known[known["part"] == "validation"], p))
    about = AboutContext(
        run=folder.name, width=config.width, biases=fitted, threshold=least, figures={}
    )

    nights, embedding, pixels = _read(inputs, "nights", "embeddings", "night")
    parts = []
    for rows in runs(nights["subject"].factorize()[0]):
        parts.append(Context(about, tensors).probabilities(embedding[rows], pixels[rows]))
    by_head = np.concatenate(parts)
    with torch.inference_mode():
        alone = student.fc(torch.from_numpy(embedding)).softmax(dim=1).numpy()
    found = {
        "validation": figures(_table(known[known["part"] == "validation"], p), fitted, least),
        # These have the biases already.
        "nights": figures(_table(nights, by_head), np.zeros(len(STAGES)), least),
        "nights, one clip": figures(_table(nights, alone), biases, threshold),
    }
    return Context(about.model_copy(update={"figures": found}), tensors)


def _read(
    inputs: Mapping[str, Path], facts: str, embeddings: str, name: str
) -> tuple[pd.DataFrame, NDArray[np.float32], NDArray[np.float32]]:
    """Table, embeddings `(n, 512)` and pixel facts `(n, F)` of the clips of one run of facts."""
    clips = pd.read_parquet(inputs[facts] / "clips.parquet")
    pixels = load_file(inputs[facts] / "facts.safetensors")["pixels"].numpy()
    embedding = load_file(inputs[embeddings] / "embeddings.safetensors")[name].numpy()
    return clips, embedding[clips["row"].to_numpy()].astype(np.float32), pixels


def _trained(
    config: NightConfig, known: pd.DataFrame, embedding: NDArray, pixels: NDArray
) -> tuple[dict[str, Tensor], NDArray[np.float32]]:
    """Tensors of the `Context`, and the head's probabilities of the validation clips.

    The steps of `sacd.training.night.night`, by its own functions.
    """
    train = np.flatnonzero(known["part"] == "train")
    held = np.flatnonzero(known["part"] == "validation")
    reduce = Components(embedding[train], config.components)
    joined = np.hstack([reduce(embedding), pixels])
    x = beside_night(joined, known["subject"].to_numpy(), live=False)
    mean, spread = x[train].mean(axis=0), x[train].std(axis=0) + 1e-6
    seen = standardised(x, x[:0], train)[0]
    stage, block = labels_of(known), known["block"].to_numpy()
    kind, live = RUNGS[_RUNG]
    head = train_head(seen[train], stage[train], block[train], kind, live, config)
    tensors = {
        "center": torch.from_numpy(reduce.mean),
        "axes": torch.from_numpy(np.ascontiguousarray(reduce.axes)),
        "mean": torch.from_numpy(mean),
        "spread": torch.from_numpy(spread),
    }
    tensors |= {f"{_HEAD}{name}": value for name, value in head.state_dict().items()}
    return tensors, stage_by(head, seen[held], block[held]).numpy()


def _table(clips: pd.DataFrame, p: NDArray) -> pd.DataFrame:
    """Clips with their probabilities `(n, 5)`, as `sacd.predict.measure` takes them."""
    columns = dict(zip(PROBABILITIES, p.T, strict=True))
    return clips[["subject", "stage"]].assign(**columns)
