"""Stage one: an EEG teacher is trained, frozen, and its outputs are written once for every distillation run."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sacd.config import FitConfig, StagerConfig, TeacherConfig
from sacd.data.store import ClipStore
from sacd.data.whiten import whiten
from sacd.files import save_tensors, write_parquet
from sacd.models.eeg import Teacher, build_teacher, class_weights
from sacd.models.output import Output
from sacd.training.common import (
    Inputs,
    Resources,
    open_clips,
    outputs_of,
    predictions,
    rows_of,
    scores_of,
)
from sacd.training.fit import Progress, fit


def any_gain(x: Tensor, generator: torch.Generator) -> Tensor:
    """EEG `(B, 1, T)` of clips, each times a random gain of about +-10 %: the teachers' only augmentation."""
    return x * torch.exp(0.1 * torch.randn(len(x), 1, 1, generator=generator)).to(x)


def eeg_of(config: TeacherConfig, store: ClipStore, clips: pd.DataFrame) -> Tensor:
    """The teacher's input `(n, 1, T)` of some clips, in uV, or whitened."""
    eeg = store.gather_eeg(clips)
    if config.whiten:
        eeg = whiten(eeg, clips["subject"].to_numpy(), store.config.eeg_rate)
    return torch.from_numpy(eeg)[:, None]


def make_teacher(config: TeacherConfig | StagerConfig, clips: pd.DataFrame, rate: int) -> Teacher:
    """The teacher that a config describes; its domains are the training subjects."""
    domains = clips.loc[clips["part"] == "train", "subject"].nunique()
    return build_teacher(config.name, sfreq=rate, n_domains=domains, **config.options)


class _TeacherObjective:
    def __init__(
        self, model: nn.Module, eeg: Tensor, labels: Tensor, domains: Tensor, weights: Tensor | None
    ) -> None:
        self.model, self.eeg, self.labels, self.domains, self.weights = (
            model,
            eeg,
            labels,
            domains,
            weights,
        )

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        x, labels = any_gain(self.eeg[rows], generator).to(self.labels.device), self.labels[rows]
        output = self.model(x)
        ce = nn.functional.cross_entropy(output.logits, labels, self.weights)
        return {"ce": ce, **self.model.auxiliary_loss(x, output, labels, self.domains[rows])}

    def on_step_end(self) -> dict[str, float]:
        return {}


def train_teacher(
    config: TeacherConfig | StagerConfig,
    eeg: Tensor,
    clips: pd.DataFrame,
    rate: int,
    folder: Path,
    resources: Resources,
    progress: Progress,
) -> tuple[Teacher, pd.DataFrame]:
    """Train an EEG teacher on the part "train" of `clips`; returns it with one row an epoch of each of its trainings.

    Args:
        eeg: `(n, 1, T)` in uV, a row a clip.
        clips: subject, stage, block and part of each.
        rate: of the EEG, in Hz.

    Raises:
        ValueError: the teacher sees neighbouring clips and the batches are shuffled; `stage_fits`
            names no training of this teacher.
    """
    rows, validation = rows_of(clips, "train"), rows_of(clips, "validation")
    torch.manual_seed(config.seed)
    labels = torch.from_numpy(clips["stage"].to_numpy(np.int64, copy=True))
    subjects = pd.Categorical(clips["subject"].iloc[rows]).codes.astype(np.int64)
    model = make_teacher(config, clips, rate)
    if hasattr(model, "sequence") and config.fit.order == "shuffled":
        raise ValueError(
            f"{config.name} sees neighbouring clips, order 'shuffled' hides them: give order 'block'"
        )
    if unknown := config.stage_fits.keys() - set(model.stages):
        raise ValueError(
            f"stage_fits: {config.name} has no training {min(unknown)!r}, only {', '.join(model.stages)}"
        )
    device = torch.device(resources["device"])
    weights = class_weights(labels[rows]).to(device) if config.class_weights else None
    domains = torch.from_numpy(subjects).to(device)
    objective = _TeacherObjective(
        model.to(device), eeg[rows], labels[rows].to(device), domains, weights
    )
    histories = []
    for k, stage in enumerate(model.stages):  # one for most; MC2SleepNet has three
        model.set_stage(stage)
        # The kappa of a classifier that is not trained must not select the weights.
        judged = any(p.requires_grad for p in model.classify.parameters())
        changed = config.stage_fits.get(stage, {}) | ({} if judged else {"select": "last"})
        history = fit(
            model,
            objective,
            clips["block"].to_numpy()[rows],
            FitConfig(**config.fit.model_dump() | changed),
            seed=config.seed,
            checkpoint=folder / f"checkpoint_{stage}.safetensors",
            validate=lambda: scores_of(
                clips, validation, teacher_outputs(model, eeg, clips, validation).logits
            ),
            progress=lambda share, text, k=k: progress((k + share) / len(model.stages), text),
        )
        histories.append(history.assign(stage=stage))
    return model, pd.concat(histories)


def teacher_outputs(model: Teacher, eeg: Tensor, clips: pd.DataFrame, rows: np.ndarray) -> Output:
    """Outputs of some rows; a teacher that sees neighbouring clips gets each block alone."""
    if not hasattr(model, "sequence"):
        return outputs_of(model, lambda r: eeg[r], rows)
    cuts = np.flatnonzero(np.diff(clips["block"].to_numpy()[rows])) + 1
    parts = [outputs_of(model, lambda r: eeg[r], block) for block in np.split(rows, cuts)]
    features = tuple(torch.cat(f) for f in zip(*(p.features for p in parts), strict=True))
    return Output(
        torch.cat([p.embedding for p in parts]), torch.cat([p.logits for p in parts]), features
    )


def teacher(
    config: TeacherConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Train an EEG teacher, freeze it, and write what every distillation run reads: its outputs for all clips.

    Writes `weights.safetensors`, `metrics.csv`, `predictions.parquet` and `outputs.safetensors`
    (embedding `(n, 512)`, logits `(n, 5)`, feature0.. of all n clips in the order of the store).
    """
    store, clips = open_clips(resources, config.split)
    eeg = eeg_of(config, store, clips)
    model, history = train_teacher(
        config, eeg, clips, store.config.eeg_rate, folder, resources, progress
    )
    history.to_csv(folder / "metrics.csv", index=False)
    outputs = teacher_outputs(model, eeg, clips, np.arange(len(clips)))
    save_tensors(folder / "weights.safetensors", model.state_dict())
    features = {f"feature{k}": f for k, f in enumerate(outputs.features)}
    save_tensors(
        folder / "outputs.safetensors",
        {"embedding": outputs.embedding, "logits": outputs.logits, **features},
    )
    write_parquet(folder / "predictions.parquet", predictions(clips, outputs.logits))


def load_outputs(folder: Path) -> Output:
    """What `teacher` wrote, rows in the order of the store."""
    tensors = load_file(folder / "outputs.safetensors")
    features = [tensors[f"feature{k}"] for k in range(len(tensors) - 2)]
    return Output(tensors["embedding"], tensors["logits"], tuple(features))
