"""Shared by the training tasks: clips and their split, model outputs, predictions, scores.

A task has the signature `task(config, inputs, folder, resources, progress)`; see `sacd.runs.store`.
`resources["store"]` is the clip store, and `resources["cohort"]` the cohort it was ingested from.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sacd.config import Config, SplitConfig
from sacd.data.splits import labelled_subjects, split_subjects
from sacd.data.store import ClipStore
from sacd.files import sha256
from sacd.metrics import summary
from sacd.models.output import Output
from sacd.stages import STAGES, UNSCORED

Inputs = Mapping[str, Path]
Resources = Mapping[str, str]
C = TypeVar("C", bound=Config)


def config_of(folder: Path, kind: type[C]) -> C:
    """Settings of the finished run in a folder."""
    record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return kind.model_validate(record["identity"]["config"])


def open_clips(resources: Resources, split: SplitConfig) -> tuple[ClipStore, pd.DataFrame]:
    """The store, and its table of clips.

    The table has two further columns: `part` of the split, and `known`, the stage that training may
    read. That is the stage of the labelled training subjects, and `UNSCORED` for all others.
    """
    store = ClipStore(Path(resources["store"]))
    part = split_subjects(store.participants, split)
    labelled = labelled_subjects(store.participants, part, split.labelled)
    clips = store.clips.assign(part=store.clips["subject"].map(part))
    # `stage` stays as it is: it is what predictions are compared with.
    known = clips["stage"].where(clips["subject"].isin(labelled), UNSCORED)
    return store, clips.assign(known=known)


def published_weights(path: str, expected: str) -> Path:
    """Path of a published checkpoint.

    Raises:
        ValueError: the file's SHA-256 is not the one in the config.
    """
    if sha256(path) != expected:
        raise ValueError(f"{path}: is not the checkpoint of this run; run the command again")
    return Path(path)


def rows_of(clips: pd.DataFrame, part: str) -> np.ndarray:
    """Row numbers of one part of the split, of clips or videos."""
    return np.flatnonzero(clips["part"].to_numpy() == part)


def labels_of(clips: pd.DataFrame, column: str = "stage") -> Tensor:
    """Stages of all clips, `(n,)` int64; the column `known` has those that training may read."""
    # A copy: torch warns of the read-only arrays that pandas hands out.
    return torch.from_numpy(clips[column].to_numpy(np.int64, copy=True))


def predictions(clips: pd.DataFrame, logits: Tensor) -> pd.DataFrame:
    """The clips with their predicted stage and the probability of every stage."""
    # Small types: every run keeps the predictions of all clips.
    p = logits.softmax(dim=1).cpu().numpy().astype(np.float32)
    columns = {f"p_{stage}": p[:, k] for k, stage in enumerate(STAGES)}
    return clips[["subject", "clip", "onset_s", "block", "part", "stage"]].assign(
        prediction=p.argmax(axis=1).astype(np.int8), **columns
    )


def concatenate(parts: Sequence[Output]) -> Output:
    """Outputs of several batches as those of one."""
    features = zip(*(part.features for part in parts), strict=True)
    return Output(
        torch.cat([part.embedding for part in parts]),
        torch.cat([part.logits for part in parts]),
        tuple(torch.cat(feature) for feature in features),
    )


def mean_of_windows(outputs: Sequence[Output]) -> Output:
    """What several windows of the same clips say together; features are left out.

    The logits are the logarithm of the mean probability, as the released code averages windows.
    """
    if len(outputs) == 1:
        return outputs[0]
    p = torch.stack([output.logits.softmax(dim=1) for output in outputs]).mean(dim=0)
    embedding = torch.stack([output.embedding for output in outputs]).mean(dim=0)
    return Output(embedding, p.clamp_min(torch.finfo(p.dtype).tiny).log())


@torch.inference_mode()
def outputs_of(
    model: nn.Module,
    inputs: Callable[[np.ndarray], Tensor | tuple[Tensor, ...]],
    rows: np.ndarray,
    batch: int = 128,
    features: bool = False,
) -> Output:
    """Outputs of a model in eval mode for `inputs(rows)`, computed in batches, on the CPU.

    Args:
        features: keep the stage features too. Those of R(2+1)D-18 take 2.1 MB a clip, so only who
            reads them asks for them. Each batch leaves the device as soon as it is computed.
    """
    model.eval()
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(rows), batch):
        given = inputs(rows[start : start + batch])
        tensors = given if isinstance(given, tuple) else (given,)  # a fused model reads two
        output = model(*(x.to(device) for x in tensors))
        kept = tuple(feature.cpu() for feature in output.features) if features else ()
        parts.append(Output(output.embedding.cpu(), output.logits.cpu(), kept))
    return concatenate(parts)


def scores_of(clips: pd.DataFrame, rows: np.ndarray, logits: Tensor) -> dict[str, float]:
    """Accuracy, macro F1 and kappa of the logits of some rows."""
    frame = clips.iloc[rows].assign(prediction=logits.argmax(dim=1).cpu().numpy())
    scores = summary(frame)
    return {name: scores[name] for name in scores if name in ("accuracy", "macro_f1", "kappa")}
