"""Stage two: a video student, trained alone or taught by a frozen teacher, and its evaluation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sacd.config import StudentConfig
from sacd.data.splits import PARTS
from sacd.diagnostics import block_stack, graph_distances, matching_auc, retrieval_rank, ridge_distances
from sacd.files import save_tensors, write_parquet
from sacd.losses import Batch, Context, Method, build
from sacd.models import Output
from sacd.models.video import Late
from sacd.stages import STAGES
from sacd.tasks.common import Inputs, Resources, open_clips, outputs_of, predictions, rows_of, scores_of
from sacd.tasks.pretext import make_student, reader
from sacd.tasks.teacher import load_outputs
from sacd.train import Progress, count_steps, fit

GROUP = 16
"""Clips of a graph when held-out graphs are compared: the paper's batch."""


class Objective:
    """Cross-entropy (eq. 1, batch mean) plus the terms of a method (eq. 5)."""

    def __init__(
        self,
        student: nn.Module,
        method: Method,
        inputs: Callable[[np.ndarray, torch.Generator], Tensor],
        labels: Tensor,
        teacher: Output,
        weights: Tensor | None,
    ) -> None:
        self.student, self.method, self.inputs = student, method, inputs
        self.labels, self.teacher, self.weights = labels, teacher, weights
        self.batch: Batch | None = None

    def terms(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        clips = self.inputs(rows.numpy(), generator).to(self.labels.device)
        labels, output = self.labels[rows], self.student(clips)
        self.batch = Batch(output, self.taught(rows, generator), labels, rows, clips, epoch)
        ce = nn.functional.cross_entropy(output.logits, labels, self.weights)
        return {"ce": ce, **self.method.terms(self.batch)}

    def taught(self, rows: Tensor, generator: torch.Generator) -> Output:
        """What the teacher says of the clips `rows`."""
        return take(self.teacher, rows)

    def update(self) -> dict[str, float]:
        assert self.batch is not None
        self.method.update(self.batch)
        return self.method.monitor


def take(output: Output, rows: Tensor | np.ndarray) -> Output:
    return Output(output.embedding[rows], output.logits[rows], tuple(f[rows] for f in output.features))


def _weights(labels: Tensor, power: float) -> Tensor | None:
    """Inverse stage frequency to a power, mean 1 over the training clips; a stage that never occurs weighs nothing."""
    if not power:
        return None
    counts = torch.bincount(labels, minlength=len(STAGES)).float()
    weights = torch.where(counts > 0, counts.clamp_min(1) ** -power, 0.0)
    return weights * counts.sum() / (weights * counts).sum()


def distillation_figures(method: Method, video: Tensor, eeg: Tensor, blocks: np.ndarray) -> dict[str, float]:
    """What the distillation terms achieve on nights that were not trained on; see `sacd.diagnostics`.

    Args:
        video, eeg: `(n, 512)` embeddings of the same clips.
        blocks: `(n,)` block ids.
    """
    figures = {"retrieval_rank": retrieval_rank(video.numpy(), eeg.numpy())}
    networks = getattr(method, "structure", None)
    if networks is not None:
        device = next(networks.parameters()).device
        groups = [torch.from_numpy(block_stack(x.numpy(), blocks, GROUP)).to(device) for x in (video, eeg)]
        if len(groups[0]):
            distance, spread_video, spread_eeg = graph_distances(networks.video, networks.eeg, *groups)
            figures |= {"auc_graph": matching_auc(distance), "spread_video": spread_video, "spread_eeg": spread_eeg}
    return figures


def student(config: StudentConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress) -> None:
    """Train a student by cross-entropy and a method, select on validation subjects, predict every clip once.

    Reads the runs `pretext` (optional) and `teacher` (unless the method needs none). Writes `weights.safetensors`,
    `metrics.csv` (one row an epoch), `predictions.parquet` (all clips with their part), `embeddings.safetensors`
    (`(n, 512)` float16) and `held_out.csv` (what the distillation terms achieve on validation and test nights).
    """
    _, clips = open_clips(resources, config.split)
    parts = {part: rows_of(clips, part) for part in PARTS}
    train = parts["train"]
    labels = torch.from_numpy(clips["stage"].to_numpy(np.int64, copy=True))
    taught = load_outputs(inputs["teacher"]) if "teacher" in inputs else None
    teacher = taught or Output(torch.empty(len(clips), 0), torch.empty(len(clips), 0))

    torch.manual_seed(config.seed)
    backbone = make_student(config.backbone)
    if "pretext" in inputs:
        fresh = {k: v for k, v in backbone.state_dict().items() if k.startswith("fc.")}
        backbone.load_state_dict(load_file(inputs["pretext"] / "weights.safetensors") | fresh)
    device = torch.device(resources["device"])
    model = (Late(backbone, config.backbone.frozen) if config.backbone.frozen else backbone).to(device)
    read = reader(config.backbone, inputs, resources)

    fit_blocks = clips["block"].to_numpy()[train]
    with torch.inference_mode():
        example = model.eval()(read(train[:2], 0).to(device))
    context = Context(
        student=model,
        student_example=example,
        teacher_example=take(teacher, train[:2]),
        labels=labels[train].to(device),
        steps=count_steps(fit_blocks, config.fit),
        generator=torch.Generator().manual_seed(config.seed),
    )
    method = build(config.method.name, context, **config.method.options).to(device)
    weights = _weights(labels[train], config.class_weight_power)
    objective = Objective(
        model,
        method,
        lambda rows, generator: read(train[rows], int(torch.randint(4, (), generator=generator))),
        labels[train].to(device),
        Output(*(x[train].to(device) for x in teacher[:2]), tuple(f[train].to(device) for f in teacher.features)),
        None if weights is None else weights.to(device),
    )

    def held_out(part: str) -> tuple[Output, dict[str, float]]:
        rows = parts[part]
        output = outputs_of(model, lambda r: read(r, 0), rows)
        figures = scores_of(clips, rows, output.logits)
        if taught is not None:
            figures |= distillation_figures(
                method, output.embedding, teacher.embedding[rows], clips["block"].to_numpy()[rows]
            )
        return output, figures

    history = fit(
        nn.ModuleDict({"student": model, "method": method}),
        objective,
        fit_blocks,
        config.fit,
        seed=config.seed,
        rates={f"method.{part}": factor for part, factor in method.rates.items()},
        checkpoint=folder / "checkpoint.safetensors",
        validate=lambda: held_out("validation")[1],
        progress=progress,
    )
    history.to_csv(folder / "metrics.csv", index=False)
    save_tensors(folder / "weights.safetensors", backbone.state_dict())
    outputs = outputs_of(model, lambda r: read(r, 0), np.arange(len(clips)))
    save_tensors(folder / "embeddings.safetensors", {"embedding": outputs.embedding.half()})
    write_parquet(folder / "predictions.parquet", predictions(clips, outputs.logits))
    if taught is not None:
        rows = []
        for part in ("validation", "test"):
            figures = held_out(part)[1]
            rows.append({"part": part, **figures, "auc_ridge": _ridge_auc(outputs, taught, clips, train, parts[part])})
        pd.DataFrame(rows).to_csv(folder / "held_out.csv", index=False)


def _ridge_auc(outputs: Output, taught: Output, clips: pd.DataFrame, train: np.ndarray, held: np.ndarray) -> float:
    blocks = clips["block"].to_numpy()
    groups = [block_stack(o.embedding.numpy()[r], blocks[r], GROUP) for r in (train, held) for o in (outputs, taught)]
    return matching_auc(ridge_distances(*groups))
