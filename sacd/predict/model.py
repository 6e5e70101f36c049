"""The model that `predict` uses: weights, preprocessing, calibration and threshold in one file.

A safetensors file. Its tensors are the student's weights, `night_mean`, and those of the head that
reads the whole night (`sacd.predict.context`) if it has one; its metadata holds `about`, the JSON
text of `About`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sacd.analysis.night import TOP
from sacd.config import BackboneConfig, Config, StudentConfig
from sacd.data.motion import motion_level, with_change
from sacd.data.store import StoreConfig
from sacd.files import FileError, atomic, read_json, sha256
from sacd.models.output import Output
from sacd.predict.context import AboutContext, of_run, taken
from sacd.predict.measure import NIGHT_KAPPA, calibrate, figures
from sacd.runs.provenance import REPOSITORY
from sacd.runs.store import RunStore, check
from sacd.stages import STAGES
from sacd.training.common import concatenate, config_of
from sacd.training.pretext import make_student, without_stem
from sacd.training.views import View, input_of, seen

SHIPPED: Final = Path(__file__).resolve().parent / "demo.safetensors"
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
    """Of `sacd.predict.measure`, for the parts "validation" and "test", one clip at a time."""
    context: AboutContext | None = None
    """The head that reads the whole night; None: each clip is staged by itself."""
    added: ClassVar[tuple[str, ...]] = ("context",)


class Stager:
    """A video student with its preprocessing.

    Stages 1 to k of the demo's student are frozen, and their features are centred by night. The
    features of a clip (`features`) are therefore computed while the video is read, and the
    probabilities when the night is known: each clip's own (`probabilities`), or by the head that
    reads all of them (`in_context`).
    """

    def __init__(self, about: About, weights: dict[str, Tensor], digest: str = "") -> None:
        self.about, self.digest = about, digest
        # Files hold float16; the processor computes in float32.
        weights = {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
        self.mean = weights.pop(_MEAN, None)
        self.context = taken(about.context, weights)
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
            `(B, ...)` float16 of the frozen stages; or float32 `(B, 5 + 512)`, logits and
            embedding, where none is frozen.
        """
        x = torch.from_numpy(np.ascontiguousarray(frames))
        if self.about.backbone.input == "motion":
            # Half precision as in the cache that the student was trained on.
            x = seen(with_change(motion_level(x).half()), View(), self.about.backbone)
        else:
            x = input_of(x, View(), self.about.backbone)
        if not self.about.backbone.frozen:
            output = self.student(x)
            return torch.cat([output.logits, output.embedding], dim=1).numpy()
        return self.student.frozen_stem(x, self.about.backbone.frozen).half().numpy()

    @torch.inference_mode()
    def probabilities(self, features: NDArray) -> NDArray[np.float64]:
        """Probability of each stage `(n, 5)` after the biases, from the features of a night."""
        logits = self._outputs(torch.from_numpy(features)).logits
        return torch.softmax(logits.double() + torch.tensor(self.about.biases), dim=1).numpy()

    @torch.inference_mode()
    def in_context(self, features: NDArray, pixels: NDArray) -> NDArray[np.float64]:
        """The same by the head that reads the whole night; see `Context.probabilities`."""
        embedding = self._outputs(torch.from_numpy(features)).embedding.numpy()
        return self.context.probabilities(embedding, pixels)

    def _outputs(self, features: Tensor, batch: int = 128) -> Output:
        if not self.about.backbone.frozen:
            return Output(features[:, len(STAGES) :], features[:, : len(STAGES)])
        # The mean of each channel over this night moves to that of the training nights.
        own = features.float().mean(dim=(2, 3, 4)).mean(dim=0)
        shift = (self.mean - own)[:, None, None, None]
        parts = []
        for piece in features.split(batch):
            # Features of the tail's stages are large, and nobody reads them.
            parts.append(self.tail(piece.float() + shift)._replace(features=()))
        return concatenate(parts)


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
    except (SafetensorError, ValidationError, RuntimeError, KeyError) as error:
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
    if stager.context is not None:
        tensors |= stager.context.stored()
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
    """The model of a finished run: of a student, or of heads on one, which adds the context.

    Raises:
        FileError: it is no finished run of these, or one that it read is not.
    """
    identity = _identity(folder)
    if identity["class"] != "NightConfig" or identity["config"]["reads"] != "student":
        return _of_student(folder)
    inputs = {name: folder.parent / run for name, run in identity["inputs"].items()}
    for read in inputs.values():
        _identity(read)
    stager = _of_student(inputs["student"])
    about = stager.about
    stager.context = of_run(folder, inputs, stager.student, about.biases, about.threshold)
    stager.about = about.model_copy(update={"context": stager.context.about})
    return stager


def _identity(folder: Path) -> dict:
    """Of a finished run."""
    state, reason = check(folder)
    if state != "done":
        raise FileError(folder, f"is not a finished run ({reason})", "compute it again")
    return read_json(folder / "config.json")["identity"]


def _of_student(folder: Path) -> Stager:
    identity = _identity(folder)
    manifest = read_json(folder.parent / "data" / f"{identity['data']}.json")
    if identity["class"] != "StudentConfig" or not manifest:
        what = f"is a run of {identity['task']}, or the manifest of its data is missing"
        fix = "name the run of a video student, or of a night's heads on one; `sacd runs` lists all"
        raise FileError(folder, what, fix)
    config = config_of(folder, StudentConfig)
    table = pd.read_parquet(folder / "predictions.parquet")
    fitted, threshold = calibrate(table[table["part"] == "validation"])
    weights = load_file(folder / "weights.safetensors")
    if config.backbone.frozen:
        if config.backbone.centre != "night":
            what = f"is a student with features centred by {config.backbone.centre!r}"
            raise FileError(folder, what, "export one that is centred by the night")
        stem = np.load(folder.parent / identity["inputs"]["pretext"] / "stem.npy", mmap_mode="r")
        weights[_MEAN] = _channel_means(stem, np.flatnonzero(table["part"] == "train"))
    found = {}
    for part in ("validation", "test"):
        found[part] = figures(table[table["part"] == part], fitted, threshold)
    about = About(
        run=folder.name,
        label=read_json(folder / "config.json")["about"]["label"],
        data=manifest["name"],
        backbone=config.backbone,
        store=StoreConfig(**manifest["config"]),
        biases=fitted,
        threshold=threshold,
        figures=found,
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
    """Of some runs of a night's heads, the one with the largest kappa of the validation subjects.

    That is the kappa of the rung that `predict` uses; it chooses the student with its head.

    Raises:
        FileError: one was not computed.
    """
    kappas = {}
    for folder in folders:
        if not folder.is_dir():
            raise FileError(folder, "was not computed", "`make reproduce` computes the demo's runs")
        table = pd.read_csv(folder / "validation.csv", index_col="rung")
        kappas[folder] = table.loc[TOP, "kappa"]
    return max(kappas, key=kappas.__getitem__)


def about_text(about: About) -> str:
    """One line for people: where the model comes from, and how good it is there."""
    test, context = about.figures["test"], about.context
    text = (
        f"{about.label} (run {about.run}), trained on {about.data}; there, on "
        f"{test['subjects']:.0f} other sleepers, one clip at a time: accuracy "
        f"{test['accuracy']:.2f}, kappa {test['kappa']:.2f}"
    )
    if context is None:
        return text
    nights, alone = (context.figures[name] for name in ("nights", "nights, one clip"))
    return (
        f"{text}; with the context of the whole night (run {context.run}), on "
        f"{nights['subjects']:.0f} whole nights of further sleepers: accuracy "
        f"{nights['accuracy']:.2f}, kappa {nights['kappa']:.2f}, by night "
        f"{nights[f'{NIGHT_KAPPA}, least']:.2f} to {nights[f'{NIGHT_KAPPA}, largest']:.2f} "
        f"(one clip at a time: {alone['kappa']:.2f})"
    )
