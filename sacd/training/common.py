"""What the tasks share: the store and its split, outputs of a model, predictions.

Signature of all: `task(config, inputs, folder, resources, progress)`; see `sacd.runs`.
`resources["store"]` is the clip store and `resources["cohort"]` the cohort that it was made from.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sacd.config import Config, SplitConfig
from sacd.data.splits import split_subjects
from sacd.data.store import ClipStore
from sacd.metrics import summary
from sacd.models.output import Output
from sacd.stages import STAGES

Inputs = Mapping[str, Path]
Resources = Mapping[str, str]
C = TypeVar("C", bound=Config)


def config_of(folder: Path, kind: type[C]) -> C:
    """Settings of the finished run in a folder."""
    return kind.model_validate(
        json.loads((folder / "config.json").read_text(encoding="utf-8"))["identity"]["config"]
    )


def open_clips(resources: Resources, split: SplitConfig) -> tuple[ClipStore, pd.DataFrame]:
    """The store and its clips with their part of the split."""
    store = ClipStore(Path(resources["store"]))
    part = split_subjects(store.participants, split)
    return store, store.clips.assign(part=store.clips["subject"].map(part))


def rows_of(clips: pd.DataFrame, part: str) -> np.ndarray:
    return np.flatnonzero(clips["part"].to_numpy() == part)


def predictions(clips: pd.DataFrame, logits: Tensor) -> pd.DataFrame:
    p = logits.softmax(dim=1).cpu().numpy().astype(np.float32)
    columns = {f"p_{stage}": p[:, k] for k, stage in enumerate(STAGES)}
    return clips[["subject", "clip", "onset_s", "block", "part", "stage"]].assign(
        prediction=p.argmax(axis=1).astype(np.int8), **columns
    )


@torch.inference_mode()
def outputs_of(
    model: nn.Module,
    inputs: Callable[[np.ndarray], Tensor | tuple[Tensor, ...]],
    rows: np.ndarray,
    batch: int = 128,
) -> Output:
    """Embeddings, logits and features of a model in eval mode for `inputs(rows)`, batch by batch, on the CPU."""
    model.eval()
    device = next(model.parameters()).device
    given = (inputs(rows[k : k + batch]) for k in range(0, len(rows), batch))
    parts = [model(*(x.to(device) for x in (g if isinstance(g, tuple) else (g,)))) for g in given]
    features = tuple(torch.cat(f).cpu() for f in zip(*(p.features for p in parts), strict=True))
    return Output(
        torch.cat([p.embedding for p in parts]).cpu(),
        torch.cat([p.logits for p in parts]).cpu(),
        features,
    )


def scores_of(clips: pd.DataFrame, rows: np.ndarray, logits: Tensor) -> dict[str, float]:
    frame = clips.iloc[rows].assign(prediction=logits.argmax(dim=1).cpu().numpy())
    return {
        name: value
        for name, value in summary(frame).items()
        if name in ("accuracy", "macro_f1", "kappa")
    }
