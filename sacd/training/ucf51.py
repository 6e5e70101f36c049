"""Table III: an audio teacher and video students on UCF51. `resources["ucf51"]` is the store of `sacd.data.ucf51`."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from sacd.config import MethodConfig, Ucf51StudentConfig, Ucf51TeacherConfig
from sacd.data.ucf51 import Ucf51Store
from sacd.files import save_tensors, sha256, write_parquet
from sacd.models.audio import CNN14
from sacd.models.output import Output
from sacd.models.pretrained import load_cnn14
from sacd.models.registry import build_student
from sacd.training.common import Inputs, Resources, outputs_of
from sacd.training.distil import distil, take
from sacd.training.fit import Progress
from sacd.training.teacher import load_outputs


def linear_head(x: np.ndarray, labels: np.ndarray, n_classes: int) -> nn.Linear:
    """Linear classifier on frozen embeddings `(n, d)`: multinomial logistic regression, L2 penalty, C = 0.01."""
    model = LogisticRegression(C=0.01, max_iter=500).fit(x, labels)
    head = nn.Linear(x.shape[1], n_classes)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-20.0)  # a class without training video
        rows = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
        head.weight[rows] = torch.from_numpy(model.coef_).float()
        head.bias[model.classes_] = 0.0
        head.bias[rows] = torch.from_numpy(model.intercept_).float()
    return head.requires_grad_(False)


def teacher(
    config: Ucf51TeacherConfig,
    inputs: Inputs,
    folder: Path,
    resources: Resources,
    progress: Progress,
) -> None:
    """Train or load the audio teacher, freeze it, and write its outputs for all videos.

    Writes `weights.safetensors`, `outputs.safetensors` (embedding `(n, 512)`, logits),
    `predictions.parquet` and, if it was trained, `metrics.csv`.
    """
    store = Ucf51Store(resources["ucf51"])
    train, labels = _train_rows(store), _labels(store)
    torch.manual_seed(config.seed)
    model = CNN14(len(store.classes), config.width).to(resources["device"])

    def sound(rows: np.ndarray) -> Tensor:
        return torch.from_numpy(store.sound[rows]).float() / 32768

    if config.weights:
        path = Path(resources["cnn14"])
        if sha256(path) != config.weights:
            raise ValueError(
                f"{path}: is not the checkpoint that this run is of; run the command again"
            )
        load_cnn14(model, path)
    else:
        _, history = distil(
            model,
            MethodConfig(),
            config.fit,
            lambda rows, generator: (
                sound(train[rows]) * float(torch.rand((), generator=generator) + 0.5)
            ),
            labels[train],
            None,
            np.arange(len(train)),
            seed=config.seed,
            checkpoint=folder / "checkpoint.safetensors",
            progress=progress,
        )
        history.to_csv(folder / "metrics.csv", index=False)
    with torch.inference_mode():
        output = outputs_of(_WithoutFeatures(model), sound, np.arange(len(labels)), batch=32)
    logits = output.logits
    if config.weights:
        model.fc = linear_head(
            output.embedding[train].numpy(), labels[train].numpy(), len(store.classes)
        )
        logits = model.fc(output.embedding)
    save_tensors(folder / "weights.safetensors", model.state_dict())
    save_tensors(folder / "outputs.safetensors", {"embedding": output.embedding, "logits": logits})
    write_parquet(folder / "predictions.parquet", _predictions(store, logits))


def student(
    config: Ucf51StudentConfig,
    inputs: Inputs,
    folder: Path,
    resources: Resources,
    progress: Progress,
) -> None:
    """Train a video student from scratch by cross-entropy and a method, and predict every video once.

    A training sample is one window of a video, cropped and flipped at random; a prediction is the
    mean of the softmax over a video's windows. Deviation: the last weights are kept; CCL keeps
    those that do best on the test list.

    Reads the run `teacher` (unless the method needs none). Writes `weights.safetensors`,
    `metrics.csv`, `predictions.parquet` and `embeddings.safetensors` (mean over windows, `(n, 512)`
    float16).
    """
    store = Ucf51Store(resources["ucf51"])
    train, labels = _train_rows(store), _labels(store)
    taught = load_outputs(inputs["teacher"]) if "teacher" in inputs else None
    torch.manual_seed(config.seed)
    model = build_student(
        config.backbone.name,
        in_channels=3,
        n_classes=len(store.classes),
        width=config.backbone.width,
        **config.backbone.options,
    ).to(resources["device"])

    def sample(rows: np.ndarray, generator: torch.Generator) -> Tensor:
        window = torch.randint(store.config.windows, (len(rows),), generator=generator).numpy()
        return crop_and_flip(
            _scaled(store.frames[train[rows], window]), config.smallest_crop, generator
        )

    _, history = distil(
        model,
        config.method,
        config.fit,
        sample,
        labels[train],
        None if taught is None else take(taught, train),
        np.arange(len(train)),
        seed=config.seed,
        checkpoint=folder / "checkpoint.safetensors",
        progress=progress,
    )
    history.to_csv(folder / "metrics.csv", index=False)
    every, windows = np.arange(len(labels)), range(store.config.windows)
    outputs = [
        outputs_of(_WithoutFeatures(model), lambda r, w=w: _scaled(store.frames[r, w]), every)
        for w in windows
    ]
    p = torch.stack([output.logits.softmax(dim=1) for output in outputs]).mean(dim=0)
    embedding = torch.stack([output.embedding for output in outputs]).mean(dim=0)
    save_tensors(folder / "weights.safetensors", model.state_dict())
    save_tensors(folder / "embeddings.safetensors", {"embedding": embedding.half()})
    write_parquet(folder / "predictions.parquet", _predictions(store, p.log()))


def crop_and_flip(x: Tensor, smallest: float, generator: torch.Generator) -> Tensor:
    """Each clip of `(B, C, T, H, W)` cropped to a random share `smallest`..1 of its area, resized, mirrored or not.

    All frames of a clip alike. Deviation: CCL also changes the aspect ratio by up to a third.
    """
    b, c, t, h, w = x.shape
    u = torch.rand(b, 4, generator=generator)
    side = (smallest + (1 - smallest) * u[:, 0]).sqrt()
    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = side * torch.where(u[:, 1] < 0.5, -1.0, 1.0), side
    theta[:, :, 2] = (1 - side)[:, None] * (2 * u[:, 2:] - 1)
    grid = F.affine_grid(theta.to(x), [b, c * t, h, w], align_corners=False)
    return F.grid_sample(x.flatten(1, 2), grid, align_corners=False, padding_mode="border").view_as(
        x
    )


class _WithoutFeatures(nn.Module):
    """Drops the stage features of a model: those of all videos together would not fit into memory."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Output:
        output = self.model(x)
        return Output(output.embedding, output.logits)


def _scaled(frames: np.ndarray) -> Tensor:
    """`(B, T, H, W, 3)` uint8 to `(B, 3, T, H, W)`, mean and spread of Kinetics removed, as in CCL."""
    mean, spread = torch.tensor([0.4345, 0.4051, 0.3775]), torch.tensor([0.2768, 0.2713, 0.2737])
    return ((torch.from_numpy(frames).float() / 255 - mean) / spread).permute(0, 4, 1, 2, 3)


def _train_rows(store: Ucf51Store) -> np.ndarray:
    return np.flatnonzero(store.videos["part"].to_numpy() == "train")


def _labels(store: Ucf51Store) -> Tensor:
    return torch.from_numpy(store.videos["label"].to_numpy(np.int64, copy=True))


def _predictions(store: Ucf51Store, logits: Tensor) -> pd.DataFrame:
    return store.videos.assign(prediction=logits.argmax(dim=1).cpu().numpy().astype(np.int16))
