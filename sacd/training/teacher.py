"""Stage one: train an EEG teacher, freeze it, and save its outputs for every distillation run."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from torch import Tensor, nn

from sacd.config import EegTrainingConfig, StagerConfig, TeacherConfig
from sacd.data.batches import runs
from sacd.data.sleepedf import SleepEdf
from sacd.data.store import ClipStore
from sacd.data.whiten import whiten
from sacd.files import save_tensors, write_parquet
from sacd.models.eeg import Teacher, build_teacher, class_weights
from sacd.models.output import Output
from sacd.stages import UNSCORED
from sacd.training.common import (
    Inputs,
    Resources,
    concatenate,
    labels_of,
    open_clips,
    outputs_of,
    predictions,
    rows_of,
    scores_of,
)
from sacd.training.fit import Objective, Progress, fit


def random_gain(x: Tensor, generator: torch.Generator) -> Tensor:
    """EEG `(B, 1, T)`, each clip times a random gain of about +-10 %: the only augmentation."""
    return x * torch.exp(0.1 * torch.randn(len(x), 1, 1, generator=generator)).to(x)


def eeg_of(
    config: EegTrainingConfig, store: ClipStore | SleepEdf, clips: pd.DataFrame, rate: int
) -> Tensor:
    """An EEG network's input `(n, 1, T)` for some clips of a store: in uV, or whitened."""
    eeg = store.gather_eeg(clips)
    if config.whiten:
        eeg = whiten(eeg, clips["subject"].to_numpy(), rate)
    return torch.from_numpy(eeg)[:, None]


def _trained(clips: pd.DataFrame) -> np.ndarray:
    """Rows that an EEG network is trained on: of the training subjects, where a stage is known."""
    rows = rows_of(clips, "train")
    return rows[clips["known"].to_numpy()[rows] != UNSCORED]


def make_teacher(config: TeacherConfig | StagerConfig, clips: pd.DataFrame, rate: int) -> Teacher:
    """The teacher that a config describes; each training subject is one domain."""
    domains = clips["subject"].iloc[_trained(clips)].nunique()
    return build_teacher(config.name, sfreq=rate, n_domains=domains, **config.options)


class _TeacherObjective(Objective):
    """Cross-entropy plus the auxiliary losses of the teacher's architecture."""

    def __init__(
        self, model: nn.Module, eeg: Tensor, labels: Tensor, domains: Tensor, weights: Tensor | None
    ) -> None:
        self.model, self.eeg, self.weights = model, eeg, weights
        self.labels, self.domains = labels, domains

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        x, labels = random_gain(self.eeg[rows], generator).to(self.labels.device), self.labels[rows]
        output = self.model(x)
        ce = nn.functional.cross_entropy(output.logits, labels, self.weights)
        return {"ce": ce, **self.model.auxiliary_loss(x, output, labels, self.domains[rows])}


def train_teacher(
    config: TeacherConfig | StagerConfig,
    eeg: Tensor,
    clips: pd.DataFrame,
    rate: int,
    folder: Path,
    resources: Resources,
    progress: Progress,
) -> tuple[Teacher, pd.DataFrame]:
    """Train an EEG teacher on the part "train" of `clips`, where a stage is known.

    Args:
        eeg: `(n, 1, T)`, one row per clip.
        clips: subject, stage, known (the stage that training may read), block and part.
        rate: of the EEG, in Hz.

    Returns:
        The teacher, and one row per epoch of each of its training stages.

    Raises:
        ValueError: the teacher sees neighbouring clips and the batches are shuffled.
    """
    rows, validation = _trained(clips), rows_of(clips, "validation")
    torch.manual_seed(config.seed)
    labels = labels_of(clips, "known")[rows]
    domains = pd.Categorical(clips["subject"].iloc[rows]).codes.astype(np.int64)
    model = make_teacher(config, clips, rate)
    if hasattr(model, "sequence") and config.fit.order == "shuffled":
        raise ValueError(
            f"{config.name} needs neighbouring clips, which order 'shuffled' separates; "
            "use order 'block'"
        )
    device = torch.device(resources["device"])
    weights = class_weights(labels).to(device) if config.class_weights else None
    objective = _TeacherObjective(
        model.to(device),
        eeg[rows],
        labels.to(device),
        torch.from_numpy(domains).to(device),
        weights,
    )

    def validate() -> dict[str, float]:
        return scores_of(clips, validation, teacher_outputs(model, eeg, clips, validation).logits)

    histories = []
    for k, stage in enumerate(model.stages):  # a single one, but for MC2SleepNet, which has three
        model.set_stage(stage)
        settings = config.fit
        # The kappa of a classifier that is not trained in this stage must not select the weights.
        if not any(p.requires_grad for p in model.classify.parameters()):
            settings = settings.model_copy(update={"select": "last"})
        history = fit(
            model,
            objective,
            clips["block"].to_numpy()[rows],
            settings,
            seed=config.seed,
            # One file a stage: a resumed run passes the finished stages by their checkpoints.
            checkpoint=folder / f"checkpoint_{stage}.pt",
            validate=validate,
            progress=lambda share, text, k=k: progress((k + share) / len(model.stages), text),
        )
        histories.append(history.assign(stage=stage))
    return model, pd.concat(histories)


def teacher_outputs(model: Teacher, eeg: Tensor, clips: pd.DataFrame, rows: np.ndarray) -> Output:
    """Outputs for some rows; a teacher that sees neighbouring clips gets one block at a time."""
    if not hasattr(model, "sequence"):
        return outputs_of(model, lambda r: eeg[r], rows, features=True)
    # A sequence must not run across a gap in the night, or from one subject into the next.
    parts = []
    for run in runs(clips["block"].to_numpy()[rows]):
        parts.append(outputs_of(model, lambda r: eeg[r], rows[run], features=True))
    return concatenate(parts)


def teacher(
    config: TeacherConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Train an EEG teacher, freeze it, and save its outputs for all clips.

    Reads the run `yasa` if its stages are the labels; every training clip then has one.
    Writes `weights.safetensors`, `metrics.csv`, `predictions.parquet` and `outputs.safetensors`:
    embedding `(n, 512)`, logits `(n, 5)`, and feature0, feature1, ... of the store's n clips.
    """
    store, clips = open_clips(resources, config.split)
    if config.labels == "yasa":
        staged = pd.read_parquet(inputs["yasa"] / "predictions.parquet")["prediction"].to_numpy()
        # Validation and test are still scored by the true stages.
        clips["known"] = np.where(clips["part"] == "train", staged, UNSCORED)
    rate = store.config.eeg_rate
    eeg = eeg_of(config, store, clips, rate)
    model, history = train_teacher(config, eeg, clips, rate, folder, resources, progress)
    history.to_csv(folder / "metrics.csv", index=False)
    # Of held-out clips too: a student's diagnostics compare them with its own embeddings.
    outputs = teacher_outputs(model, eeg, clips, np.arange(len(clips)))
    save_tensors(folder / "weights.safetensors", model.state_dict())
    save_outputs(folder, outputs)
    write_parquet(folder / "predictions.parquet", predictions(clips, outputs.logits))


def save_outputs(folder: Path, outputs: Output) -> None:
    """Write `outputs.safetensors`, which `load_outputs` reads."""
    features = {f"feature{k}": feature for k, feature in enumerate(outputs.features)}
    tensors = {"embedding": outputs.embedding, "logits": outputs.logits, **features}
    save_tensors(folder / "outputs.safetensors", tensors)


def load_outputs(folder: Path, features: bool = False) -> Output:
    """Outputs of a finished teacher run, in the order of the store; its features if asked for."""
    # Tensor by tensor: the features are by far the largest part of the file.
    with safe_open(folder / "outputs.safetensors", "pt") as file:
        names = [f"feature{k}" for k in range(len(file.keys()) - 2)] if features else []
        read = [file.get_tensor(name) for name in ("embedding", "logits", *names)]
    return Output(read[0], read[1], tuple(read[2:]))
