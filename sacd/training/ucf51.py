"""Table III: an audio teacher and video students on UCF51.

`resources["ucf51"]` is the store of `sacd.data.ucf51`.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from sacd.config import MethodConfig, Ucf51StudentConfig, Ucf51TeacherConfig
from sacd.data.ucf51 import Ucf51Store
from sacd.files import save_tensors, write_parquet
from sacd.losses.base import reads_features
from sacd.models.audio import CNN14
from sacd.models.numerics import root
from sacd.models.output import Output
from sacd.models.pretrained import load_cnn14
from sacd.models.registry import build_student
from sacd.training.common import (
    Inputs,
    Resources,
    labels_of,
    outputs_of,
    published_weights,
    rows_of,
)
from sacd.training.distil import distil, take
from sacd.training.fit import Progress
from sacd.training.teacher import load_outputs, save_outputs


def linear_head(x: np.ndarray, labels: np.ndarray, n_classes: int) -> nn.Linear:
    """Linear classifier on frozen embeddings `(n, d)`: logistic regression with L2, C = 0.01."""
    model = LogisticRegression(C=0.01, max_iter=500).fit(x, labels)
    head = nn.Linear(x.shape[1], n_classes)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-20.0)  # classes without a training video are never predicted
        # For two classes scikit-learn fits one row of coefficients, that of the second class.
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
    """Train or load the audio teacher, freeze it, and save its outputs for all videos.

    Writes `weights.safetensors`, `outputs.safetensors` (embedding `(n, 512)`, logits),
    `predictions.parquet` and, if the teacher was trained, `metrics.csv`.
    """
    store = Ucf51Store(resources["ucf51"])
    train, labels = rows_of(store.videos, "train"), labels_of(store.videos, "label")
    torch.manual_seed(config.seed)
    model = CNN14(len(store.classes), config.width).to(resources["device"])

    def sound(rows: np.ndarray) -> Tensor:
        return torch.from_numpy(store.sound[rows]).float() / 32768  # int16 to -1..1

    # The loudness of a batch varies between a half and one and a half.
    def augmented(rows: np.ndarray, generator: torch.Generator) -> Tensor:
        return sound(train[rows]) * float(torch.rand((), generator=generator) + 0.5)

    if config.weights:
        load_cnn14(model, published_weights(resources["cnn14"], config.weights))
    else:
        _, history = distil(
            model,
            MethodConfig(),
            config.fit,
            augmented,
            labels[train],
            None,
            np.arange(len(train)),
            seed=config.seed,
            checkpoint=folder / "checkpoint.pt",
            progress=progress,
        )
        history.to_csv(folder / "metrics.csv", index=False)
    output = outputs_of(model, sound, np.arange(len(labels)), batch=32)
    logits = output.logits
    # The published network has no layer for these classes. It stays, and gets a linear one.
    if config.weights:
        model.fc = linear_head(
            output.embedding[train].numpy(), labels[train].numpy(), len(store.classes)
        )
        logits = model.fc(output.embedding)
    save_tensors(folder / "weights.safetensors", model.state_dict())
    save_outputs(folder, Output(output.embedding, logits))
    write_parquet(folder / "predictions.parquet", _predictions(store, logits))


def student(
    config: Ucf51StudentConfig,
    inputs: Inputs,
    folder: Path,
    resources: Resources,
    progress: Progress,
) -> None:
    """Train a video student from scratch with cross-entropy and a method; predict every video once.

    A training sample is one window of a video, cropped and flipped at random. A prediction is the
    mean of the softmax over the windows of a video. Deviation: we keep the last weights; CCL keeps
    those that score best on the test list.

    Reads the run `teacher` (unless the method needs none). Writes `weights.safetensors`,
    `metrics.csv`, `predictions.parquet` and `embeddings.safetensors` (mean over windows, `(n, 512)`
    float16).
    """
    store = Ucf51Store(resources["ucf51"])
    train, labels = rows_of(store.videos, "train"), labels_of(store.videos, "label")
    taught = None
    if "teacher" in inputs:
        taught = load_outputs(inputs["teacher"], features=reads_features(config.method.name))
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
        frames = _scaled(store.frames[train[rows], window])
        return crop_and_flip(frames, config.smallest_crop, generator)

    # Each video is a block of its own: neighbours in the list have nothing to do with each other.
    _, history = distil(
        model,
        config.method,
        config.fit,
        sample,
        labels[train],
        None if taught is None else take(taught, train),
        np.arange(len(train)),
        seed=config.seed,
        checkpoint=folder / "checkpoint.pt",
        progress=progress,
    )
    history.to_csv(folder / "metrics.csv", index=False)

    def of_window(w: int) -> Output:
        return outputs_of(model, lambda rows: _scaled(store.frames[rows, w]), every)

    every = np.arange(len(labels))
    outputs = [of_window(w) for w in range(store.config.windows)]
    p = torch.stack([output.logits.softmax(dim=1) for output in outputs]).mean(dim=0)
    embedding = torch.stack([output.embedding for output in outputs]).mean(dim=0)
    save_tensors(folder / "weights.safetensors", model.state_dict())
    save_tensors(folder / "embeddings.safetensors", {"embedding": embedding.half()})
    write_parquet(folder / "predictions.parquet", _predictions(store, p.log()))


def crop_and_flip(x: Tensor, smallest: float, generator: torch.Generator) -> Tensor:
    """Random crop, resize and mirroring of clips `(B, C, T, H, W)`.

    A crop keeps a share `smallest`..1 of the area, and half of the clips are mirrored. All frames
    of a clip get the same transform.
    Deviation: CCL also changes the aspect ratio by up to a third.
    """
    b, c, t, h, w = x.shape
    u = torch.rand(b, 4, generator=generator)
    # Uniform in the area; a side is its square root. `affine_grid` measures in -1..1.
    side = root(smallest + (1 - smallest) * u[:, 0])
    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = side * torch.where(u[:, 1] < 0.5, -1.0, 1.0), side
    theta[:, :, 2] = (1 - side)[:, None] * (2 * u[:, 2:] - 1)
    grid = F.affine_grid(theta.to(x), [b, c * t, h, w], align_corners=False)
    return F.grid_sample(x.flatten(1, 2), grid, align_corners=False, padding_mode="border").view_as(
        x
    )


def _scaled(frames: np.ndarray) -> Tensor:
    """`(B, T, H, W, 3)` uint8 to `(B, 3, T, H, W)`, standardised as Kinetics, as in CCL."""
    mean, spread = torch.tensor([0.4345, 0.4051, 0.3775]), torch.tensor([0.2768, 0.2713, 0.2737])
    return ((torch.from_numpy(frames).float() / 255 - mean) / spread).permute(0, 4, 1, 2, 3)


def _predictions(store: Ucf51Store, logits: Tensor) -> pd.DataFrame:
    return store.videos.assign(prediction=logits.argmax(dim=1).cpu().numpy().astype(np.int16))
