"""Stage two on the clip store: train a video student with or without a teacher, and evaluate it.

The training step itself is in `sacd.training.distil`.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sacd.config import StudentConfig
from sacd.data.splits import PARTS
from sacd.files import save_tensors, write_parquet
from sacd.losses.base import Method, reads_features
from sacd.models.output import Output
from sacd.stages import STAGES, UNSCORED
from sacd.training.common import (
    Inputs,
    Resources,
    labels_of,
    mean_of_windows,
    open_clips,
    outputs_of,
    predictions,
    rows_of,
    scores_of,
)
from sacd.training.diagnostics import (
    block_stack,
    graph_distances,
    held_out_hinge,
    matching_auc,
    retrieval_rank,
    ridge_distances,
)
from sacd.training.distil import distil, take
from sacd.training.fit import Progress
from sacd.training.pretext import make_student, reader, without_stem
from sacd.training.teacher import load_outputs
from sacd.training.views import evaluation_views, random_view, windows_of

GROUP = 16
"""Clips per graph when held-out graphs are compared: the paper's batch size."""

DIAGNOSED = 2048
"""At most about this many held-out clips are compared with each other, in whole blocks."""


def _class_weights(labels: Tensor, power: float) -> Tensor | None:
    """Inverse stage frequencies to a power, with mean 1 over the training clips.

    A stage that does not occur has weight 0.
    """
    if not power:
        return None
    counts = torch.bincount(labels[labels != UNSCORED], minlength=len(STAGES)).float()
    weights = torch.where(counts > 0, counts.clamp_min(1) ** -power, 0.0)
    # Mean 1: the weights do not change the size of the cross-entropy beside the method's terms.
    return weights * counts.sum() / (weights * counts).sum()


def _initial(config: StudentConfig, inputs: Inputs) -> nn.Module:
    """The student before its training: random, or with the weights of the run `pretext`."""
    # Initial weights depend on the seed of the run alone, not on what this process drew before.
    torch.manual_seed(config.seed)
    student = make_student(config.backbone)
    if "pretext" in inputs:
        # The classifier stays as initialised: pretraining did not train it.
        fresh = {k: v for k, v in student.state_dict().items() if k.startswith("fc.")}
        student.load_state_dict(load_file(inputs["pretext"] / "weights.safetensors") | fresh)
    return student


@torch.inference_mode()
def distillation_figures(
    method: Method, video: Tensor, eeg: Tensor, stages: Tensor, blocks: np.ndarray
) -> dict[str, float]:
    """Diagnostics of the distillation terms on held-out nights; see `sacd.training.diagnostics`.

    Args:
        video, eeg: `(n, 512)` embeddings of the same clips.
        stages: `(n,)`.
        blocks: `(n,)` block ids.
    """
    figures = {"retrieval_rank": retrieval_rank(video.numpy(), eeg.numpy())}
    # Only SACD has a contrastive term and graph networks.
    if getattr(method, "weight_contrastive", 0):
        figures["hinge"] = held_out_hinge(video, eeg, stages, method.contrast["margin"])
    networks = getattr(method, "structure", None)
    groups = [torch.from_numpy(block_stack(x.numpy(), blocks, GROUP)) for x in (video, eeg)]
    # Short nights may hold no block of `GROUP` clips.
    if networks is not None and len(groups[0]):
        device = next(networks.parameters()).device
        distance, spread_video, spread_eeg = graph_distances(
            networks.video, networks.eeg, *(group.to(device) for group in groups)
        )
        figures |= {
            "auc_graph": matching_auc(distance),
            "spread_video": spread_video,
            "spread_eeg": spread_eeg,
        }
    return figures


def _whole_blocks(blocks: np.ndarray, most: int) -> np.ndarray:
    """Positions of whole blocks, evenly spread, with about `most` clips together; all if fewer.

    The comparisons take time and memory that grow with the square of the number of clips.
    """
    ids, first = np.unique(blocks, return_index=True)
    in_order = ids[np.argsort(first)]
    every = math.ceil(len(blocks) / most)
    return np.flatnonzero(np.isin(blocks, in_order[::every]))


def student(
    config: StudentConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Train a student with cross-entropy and a method, and predict every clip once.

    Reads the runs `pretext` (optional) and `teacher` (unless the method needs none). Where only
    some training subjects are labelled, a taught student is trained on all of them, and a student
    alone on the labelled ones.

    Writes `weights.safetensors`, `metrics.csv` (one row per epoch), `predictions.parquet` (all
    clips with their part), `embeddings.safetensors` (`(n, 512)` float16) and `held_out.csv`
    (diagnostics of the distillation terms on the validation nights).
    """
    store, clips = open_clips(resources, config.split)
    parts = {part: rows_of(clips, part) for part in PARTS}
    train, validation = parts["train"], parts["validation"]
    labels, known = labels_of(clips), labels_of(clips, "known")
    blocks = clips["block"].to_numpy()
    taught = None
    if "teacher" in inputs:
        taught = load_outputs(inputs["teacher"], features=reads_features(config.method.name))
    if taught is None:
        # Without a teacher there is nothing to learn from a clip whose stage may not be read.
        train = train[known[train].numpy() != UNSCORED]
    elif len(taught.embedding) != len(clips):
        raise ValueError(
            f"{inputs['teacher']}: outputs for {len(taught.embedding)} clips, "
            f"but the store has {len(clips)}"
        )

    backbone = _initial(config, inputs)
    model = without_stem(backbone, config.backbone).to(torch.device(resources["device"]))
    read = reader(config.backbone, inputs, resources)
    windows = windows_of(config.backbone, store.config)

    def augmented(rows: np.ndarray, generator: torch.Generator) -> Tensor:
        return read(train[rows], random_view(config.backbone, len(rows), generator, windows))

    def predicted(rows: np.ndarray) -> Output:
        views = evaluation_views(windows)
        return mean_of_windows([outputs_of(model, lambda r, v=v: read(r, v), rows) for v in views])

    def held_out(method: Method, output: Output) -> dict[str, float]:
        figures = scores_of(clips, validation, output.logits)
        if taught is not None:
            some = _whole_blocks(blocks[validation], DIAGNOSED)
            rows = validation[some]
            figures |= distillation_figures(
                method, output.embedding[some], taught.embedding[rows], labels[rows], blocks[rows]
            )
        return figures

    method, history = distil(
        model,
        config.method,
        config.fit,
        augmented,
        known[train],
        None if taught is None else take(taught, train),
        blocks[train],
        seed=config.seed,
        weights=_class_weights(known[train], config.class_weight_power),
        validate=lambda method: held_out(method, predicted(validation)),
        checkpoint=folder / "checkpoint.pt",
        progress=progress,
    )
    history.to_csv(folder / "metrics.csv", index=False)
    # Of the whole network: `model` shares its weights, but has no frozen stages.
    save_tensors(folder / "weights.safetensors", backbone.state_dict())
    outputs = predicted(np.arange(len(clips)))
    save_tensors(folder / "embeddings.safetensors", {"embedding": outputs.embedding.half()})
    write_parquet(folder / "predictions.parquet", predictions(clips, outputs.logits))
    if taught is not None:
        figures = held_out(method, take(outputs, validation))
        figures["auc_ridge"] = _ridge_auc(outputs, taught, blocks, train, validation)
        pd.DataFrame([figures]).to_csv(folder / "held_out.csv", index=False)


def _ridge_auc(
    outputs: Output, taught: Output, blocks: np.ndarray, train: np.ndarray, held: np.ndarray
) -> float:
    """Matching AUC of a ridge regression from video to EEG; the reference for the graphs' AUC."""

    def groups(output: Output, rows: np.ndarray) -> np.ndarray:
        return block_stack(output.embedding.numpy()[rows], blocks[rows], GROUP)

    distances = ridge_distances(
        groups(outputs, train), groups(taught, train), groups(outputs, held), groups(taught, held)
    )
    return matching_auc(distances)
