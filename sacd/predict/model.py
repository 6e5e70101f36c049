"""The model that `predict` uses: weights, preprocessing, calibration and threshold in one file.

A safetensors file. Its tensors are the student's weights and `night_mean`; its metadata holds
`about`, the JSON text of `About`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sacd.analysis.auc import PROBABILITIES, biases, macro_auc
from sacd.config import BackboneConfig, Config, StudentConfig
from sacd.data.motion import motion_level, with_change
from sacd.data.store import StoreConfig
from sacd.files import FileError, atomic, read_json, sha256
from sacd.metrics import METRICS, confusion, scores
from sacd.runs.provenance import REPOSITORY
from sacd.runs.store import RunStore, check
from sacd.stages import STAGES
from sacd.training.common import config_of
from sacd.training.pretext import make_student, without_stem
from sacd.training.views import View, input_of, seen

SHIPPED: Final = Path(__file__).resolve().parent / "demo.safetensors"
UNCERTAIN: Final = 0.3
"""Share of the validation clips that are marked as uncertain: the least confident ones."""
_MEAN: Final = "night_mean"
_FIX: Final = "give a file of `sacd export RUN --model FILE`, or the id of a run"


class About(Config):
    """What a model file says of itself."""

    run: str
    """Id of the run that trained it."""
    label: str
    """Label of that run: student, method, teacher, seed."""
    data: str
    """Name of the cohort that it was trained on."""
    backbone: BackboneConfig
    store: StoreConfig
    """Frames of a clip: their number, size and sampling."""
    biases: tuple[float, ...]
    """Added to the log-probabilities; fitted on the validation subjects (`sacd.analysis.auc`)."""
    threshold: float
    """Confidence (largest probability after the biases) below which a clip is uncertain."""
    figures: dict[str, dict[str, float]]
    """For the parts "validation" and "test": subjects, clips, accuracy, macro-F1, kappa, AUC,
    coverage, and accuracy of the certain and of the uncertain clips, 0..1."""


class Stager:
    """A video student with its preprocessing.

    Stages 1 to k of the demo's student are frozen, and their features are centred by night. The
    features of a clip (`features`) are therefore computed while the video is read, and the
    probabilities (`probabilities`) when the night is known.
    """

    def __init__(self, about: About, weights: dict[str, Tensor], digest: str = "") -> None:
        self.about, self.digest = about, digest
        # Files hold float16; the processor computes in float32.
        weights = {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
        self.mean = weights.pop(_MEAN, None)
        student = make_student(about.backbone)
        student.load_state_dict(weights)
        self.student = student.eval()
        self.tail = without_stem(student, about.backbone).eval()

    @torch.inference_mode()
    def features(self, frames: NDArray[np.uint8]) -> NDArray:
        """Features of clips that do not depend on the rest of the night.

        Args:
            frames: `(B, T, H, W)` grey levels.

        Returns:
            `(B, ...)` float16 of the frozen stages; or the logits `(B, 5)` float32 where none is
            frozen.
        """
        x = torch.from_numpy(np.ascontiguousarray(frames))
        if self.about.backbone.input == "motion":
            # Half precision as in the cache that the student was trained on.
            x = seen(with_change(motion_level(x).half()), View(), self.about.backbone)
        else:
            x = input_of(x, View(), self.about.backbone)
        if not self.about.backbone.frozen:
            return self.student(x).logits.numpy()
        return self.student.frozen_stem(x, self.about.backbone.frozen).half().numpy()

    @torch.inference_mode()
    def probabilities(self, features: NDArray) -> NDArray[np.float64]:
        """Probability of each stage `(n, 5)` after the biases, from the features of a night."""
        logits = self._logits(torch.from_numpy(features))
        return torch.softmax(logits.double() + torch.tensor(self.about.biases), dim=1).numpy()

    def _logits(self, features: Tensor, batch: int = 128) -> Tensor:
        if not self.about.backbone.frozen:
            return features
        # The mean of each channel over this night moves to that of the training nights.
        own = features.float().mean(dim=(2, 3, 4)).mean(dim=0)
        shift = (self.mean - own)[:, None, None, None]
        pieces = features.split(batch)
        return torch.cat([self.tail(piece.float() + shift).logits for piece in pieces])


def load(path: Path) -> Stager:
    """The model in a file of `save`.

    Raises:
        FileError: it is no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("about", "")
        return Stager(About.model_validate_json(text), load_file(path), sha256(path))
    except FileNotFoundError:
        raise FileError(path, "is missing", _FIX) from None
    except (SafetensorError, ValidationError, RuntimeError) as error:
        first = str(error).splitlines()[0][:100]
        raise FileError(path, f"is not a model of this program ({first})", _FIX) from None


def save(stager: Stager, path: Path) -> None:
    """Write a model file; equal models give equal bytes.

    Weights of layers are rounded to float16, which halves the file; means and spreads are not.
    """
    tensors = {}
    for name, value in stager.student.state_dict().items():
        many = value.is_floating_point() and value.ndim > 1
        tensors[name] = (value.half() if many else value).contiguous()
    if stager.mean is not None:
        tensors[_MEAN] = stager.mean
    with atomic(path) as half:
        save_file(tensors, half, {"about": stager.about.model_dump_json()})


def find(name: str | None) -> Stager:
    """The model that a user names: a file, the id of a run (or its start), or None: the shipped."""
    path = Path(name) if name else SHIPPED
    # An id has no suffix and is no file; a mistyped file name is reported by `load`.
    if name and not path.suffix and not path.exists():
        return from_run(RunStore(REPOSITORY / "runs").find(name))
    return load(path)


def from_run(folder: Path) -> Stager:
    """The model of a finished student run.

    Raises:
        FileError: the run is not a finished student of a clip store.
    """
    state, reason = check(folder)
    if state != "done":
        raise FileError(folder, f"is not a finished run ({reason})", "compute it again")
    record = read_json(folder / "config.json")
    identity = record["identity"]
    manifest = read_json(folder.parent / "data" / f"{identity['data']}.json")
    if identity["class"] != "StudentConfig" or not manifest:
        what = f"is a run of {identity['task']}, or the manifest of its data is missing"
        raise FileError(folder, what, "name the run of a video student; `sacd runs` lists them")
    config = config_of(folder, StudentConfig)
    table = pd.read_parquet(folder / "predictions.parquet")
    # Biases and threshold see the validation subjects alone, so the test figures stay honest.
    validation = table[table["part"] == "validation"]
    fitted = biases(validation["stage"], validation[PROBABILITIES])
    weights = load_file(folder / "weights.safetensors")
    if config.backbone.frozen:
        if config.backbone.centre != "night":
            what = f"is a student with features centred by {config.backbone.centre!r}"
            raise FileError(folder, what, "export one that is centred by the night")
        stem = np.load(folder.parent / identity["inputs"]["pretext"] / "stem.npy", mmap_mode="r")
        weights[_MEAN] = _channel_means(stem, np.flatnonzero(table["part"] == "train"))
    confidence = _calibrated(validation, fitted).max(axis=1)
    threshold = round(float(np.quantile(confidence, UNCERTAIN)), 4)
    figures = {}
    for part in ("validation", "test"):
        figures[part] = _figures(table[table["part"] == part], fitted, threshold)
    about = About(
        run=folder.name,
        label=record["about"]["label"],
        data=manifest["name"],
        backbone=config.backbone,
        store=StoreConfig(**manifest["config"]),
        biases=tuple(map(float, fitted)),
        threshold=threshold,
        figures=figures,
    )
    return Stager(about, weights)


def _channel_means(stem: NDArray, rows: NDArray[np.int_]) -> Tensor:
    """Means `(C,)` over some clips of the frozen stages' features `(1, n, C, T, H, W)`.

    Training shifts the channel means of every night to these.
    """
    sums = np.zeros(stem.shape[2])
    for piece in np.array_split(rows, len(rows) // 256 + 1):  # the file may exceed memory
        sums += stem[0, piece].mean(axis=(2, 3, 4), dtype=np.float64).sum(axis=0)
    return torch.from_numpy((sums / len(rows)).astype(np.float32))


def best(folders: Sequence[Path]) -> Path:
    """Of some runs, the one with the largest AUC on the validation subjects.

    Raises:
        FileError: one was not computed.
    """
    for folder in folders:
        if not folder.is_dir():
            raise FileError(folder, "was not computed", "`make reproduce` computes the demo's runs")

    def auc(folder: Path) -> float:
        table = pd.read_parquet(folder / "predictions.parquet")
        known = table[table["part"] == "validation"]
        return macro_auc(known["stage"], known[PROBABILITIES], known["subject"])[0]

    return max(folders, key=auc)


def _calibrated(table: pd.DataFrame, fitted: NDArray) -> NDArray[np.float64]:
    """Probabilities of a run's predictions with the fitted biases, as `Stager.probabilities`."""
    logs = np.log(np.maximum(table[PROBABILITIES].to_numpy(float), 1e-30)) + fitted
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _figures(table: pd.DataFrame, fitted: NDArray, threshold: float) -> dict[str, float]:
    """See `About.figures`."""
    p, stage = _calibrated(table, fitted), table["stage"].to_numpy()
    staged, certain = p.argmax(axis=1), p.max(axis=1) >= threshold
    right = staged == stage
    of = dict(zip(METRICS, scores(confusion(stage, staged)), strict=True))
    found = {
        "subjects": table["subject"].nunique(),
        "clips": len(table),
        "accuracy": right.mean(),
        "macro-F1": of["macro_f1"] / 100,
        "kappa": of["kappa"],
        "AUC": macro_auc(stage, p, table["subject"])[0],
        "coverage": certain.mean(),
        "accuracy of certain clips": right[certain].mean() if certain.any() else 0.0,
        "accuracy of uncertain clips": right[~certain].mean() if (~certain).any() else 0.0,
    }
    for k, name in enumerate(STAGES):
        found[f"recall {name}"] = right[stage == k].mean() if (stage == k).any() else 0.0
    return {name: round(float(value), 4) for name, value in found.items()}


def about_text(about: About) -> str:
    """One line for people: where the model comes from, and how good it is there."""
    test = about.figures["test"]
    return (
        f"{about.label} (run {about.run}), trained on {about.data}; there, on "
        f"{test['subjects']:.0f} other sleepers: accuracy {test['accuracy']:.2f}, kappa "
        f"{test['kappa']:.2f}"
    )


def about_json(about: About) -> dict:
    """`About` as JSON values."""
    return json.loads(about.model_dump_json())
