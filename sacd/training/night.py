"""Staging of whole nights: heads on a student's cached embeddings, trained on blocks of clips.

`stem` and `sacd.training.night_facts.facts` read the nights; `night` trains the heads of one
student, of pixels alone or of the simulator's truth, and predicts the test nights at every rung.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_weights
from torch import Tensor

from sacd.config import NightConfig, NightEmbedConfig, PretextConfig
from sacd.data.motion import motion
from sacd.data.store import ClipStore
from sacd.files import create_array, save_tensors, write_parquet
from sacd.metrics import summary
from sacd.training.common import Inputs, Resources, mean_of_windows, outputs_of, predictions
from sacd.training.fit import Progress
from sacd.training.night_heads import (
    SHARPNESS,
    Markov,
    Rung,
    beside_night,
    stage_by,
    train_head,
)
from sacd.training.pretext import make_student, reader, without_stem
from sacd.training.views import evaluation_views, windows_of

RUNGS: Final[dict[str, tuple[Rung, bool]]] = {
    "one clip": ("clip", False),
    "+-4 clips": ("window", False),
    "whole night": ("night", False),
    "4 clips before": ("window", True),
    "night so far": ("night", True),
}
"""Rung -> kind of head, and whether it is live: sees no later clip."""
MARKOV: Final = {"Viterbi": False, "forward filter": True}
"""The baseline of the rungs of a night, on the probabilities of `one clip`."""
LIMIT: Final = 5.0
"""Standardised inputs beyond are clipped."""


def stem(
    config: PretextConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Write `stem.npy` `(n, ...)` float16: what the frozen stages of a student make of every clip.

    Also `level.npy` `(n, C)`, the means of its channels, and `target.npy` `(C,)`, to which `embed`
    centres them by night as the pretext run did with those of the training store.
    """
    store = ClipStore(Path(resources["store"]))
    student = make_student(config.backbone)
    student.load_state_dict(load_weights(inputs["pretext"] / "weights.safetensors"))
    student.eval()
    n = len(store.clips)
    out: np.ndarray | None = None
    level: list[np.ndarray] = []
    for start in range(0, n, 64):
        frames = torch.from_numpy(store.gather_video(store.clips.iloc[start : start + 64]))
        with torch.inference_mode():
            h = student.frozen_stem(motion(frames).half().float(), config.backbone.frozen)
        if out is None:
            out = create_array(folder / "stem.npy", np.float16, (n, *h.shape[1:]))
        out[start : start + len(h)] = h.half().numpy()
        level.append(h.mean(dim=(2, 3, 4)).numpy())
        progress((start + len(h)) / n, "frozen stages of the nights")
    if out is not None:
        out.flush()
    np.save(folder / "level.npy", np.concatenate(level))
    # Every sleeper of the training store has the same level by now: that of the training clips.
    features = np.load(inputs["pretext"] / "stem.npy", mmap_mode="r")[0]
    known = pd.read_parquet(inputs["known"] / "clips.parquet", columns=["subject", "row"])
    rows = known.loc[known["subject"] == known["subject"].iloc[0], "row"].to_numpy()
    np.save(folder / "target.npy", features[rows].astype(np.float32).mean(axis=(0, 2, 3, 4)))


def embed(
    config: NightEmbedConfig,
    inputs: Inputs,
    folder: Path,
    resources: Resources,
    progress: Progress,
) -> None:
    """Write `embeddings.safetensors`: what a trained student makes of every clip of the nights.

    `night` and `live`, each `(n, 512)` float16: features centred by the mean of the night, or by
    that of the clips so far. Without frozen stages nothing is centred, and both are the same.
    """
    store = ClipStore(Path(resources["store"]))
    backbone = make_student(config.backbone)
    backbone.load_state_dict(load_weights(inputs["student"] / "weights.safetensors"))
    model = without_stem(backbone, config.backbone)
    everything = np.arange(len(store.clips))
    found = {}
    for name in ("night", "live") if config.backbone.frozen else ("night",):
        reads = _readers(config, inputs, store, live=name == "live")
        outputs = [outputs_of(model, read, everything) for read in reads]
        found[name] = mean_of_windows(outputs).embedding.half()
        progress(len(found) / 2, "embeddings of the nights")
    found.setdefault("live", found["night"])
    save_tensors(folder / "embeddings.safetensors", found)


def _readers(
    config: NightEmbedConfig, inputs: Inputs, store: ClipStore, live: bool
) -> list[Callable[[NDArray], Tensor]]:
    """The student's input for some rows of the store, in each view of an evaluation."""
    if config.backbone.frozen:
        features = np.load(inputs["stem"] / "stem.npy", mmap_mode="r")
        shift = _shift(inputs["stem"], store.clips["subject"], live)
        return [lambda rows: torch.from_numpy(features[rows]).float() + shift[rows]]
    if config.backbone.input == "motion":
        return [lambda rows: motion(torch.from_numpy(store.gather_video(store.clips.iloc[rows])))]
    grey = reader(config.backbone, {}, {"store": str(store.root)})
    views = evaluation_views(windows_of(config.backbone, store.config))
    return [partial(grey, view=view) for view in views]


def _shift(stem: Path, subject: pd.Series, live: bool) -> Tensor:
    """What centres the features of the frozen stages by night, `(n, C, 1, 1, 1)`."""
    own = pd.DataFrame(np.load(stem / "level.npy")).groupby(subject.to_numpy(), sort=False)
    if live:
        mean = own.expanding().mean().droplevel(0).sort_index().to_numpy()
    else:
        mean = own.transform("mean").to_numpy()
    shift = (np.load(stem / "target.npy") - mean).astype(np.float32)
    return torch.from_numpy(shift)[:, :, None, None, None]


class _Components:
    """Principal components of embeddings, fitted to training clips."""

    def __init__(self, x: NDArray, number: int) -> None:
        self.mean = x.mean(axis=0)
        _, _, axes = np.linalg.svd(x - self.mean, full_matrices=False)
        self.axes = axes[:number].T

    def __call__(self, x: NDArray) -> NDArray:
        return (x - self.mean) @ self.axes


def _inputs_of(
    config: NightConfig, inputs: Inputs, known: pd.DataFrame, nights: pd.DataFrame
) -> dict[str, dict[bool, tuple[NDArray, NDArray]]]:
    """What the heads see: name -> live -> `(n, F)` of the known clips and of the test nights."""
    facts = {part: load_file(inputs[part] / "facts.safetensors") for part in ("known", "nights")}
    if config.reads != "student":
        x, y = (facts[part][config.reads] for part in ("known", "nights"))
        return {"": {live: (x, y) for live in (False, True)}}
    embedding = load_file(inputs["student"] / "embeddings.safetensors")["embedding"]
    own = embedding[known["row"].to_numpy()].astype(np.float32)
    of_nights = load_file(inputs["embeddings"] / "embeddings.safetensors")
    rows = nights["row"].to_numpy()
    reduce = _Components(own[(known["part"] == "train").to_numpy()], config.components)
    alone, joined = {}, {}
    for live in (False, True):
        test = of_nights["live" if live else "night"][rows].astype(np.float32)
        x, y = reduce(own), reduce(test)
        alone[live] = x, y
        joined[live] = tuple(
            np.hstack([each, facts[part]["pixels"]]) for each, part in ((x, "known"), (y, "nights"))
        )
    return {"": alone, " + pixels": joined}


def _standard(x: NDArray, y: NDArray, train: NDArray) -> tuple[Tensor, Tensor]:
    """Both standardised by the training clips, and clipped."""
    mean, spread = x[train].mean(axis=0), x[train].std(axis=0) + 1e-6
    both = (np.clip((each - mean) / spread, -LIMIT, LIMIT) for each in (x, y))
    x, y = (torch.from_numpy(each.astype(np.float32)) for each in both)
    return x, y


def night(
    config: NightConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Train the heads of every rung on the training sleepers, and stage the test nights.

    Reads the runs `known` and `nights` (`sacd.training.night_facts.facts` of the training store and
    of the test nights); for a student also `student` and `embeddings`, its run of `embed`.

    Writes `predictions.parquet`, the test clips once for each `rung`, and `validation.csv`, the
    kappa of the validation sleepers by rung.
    """
    known = pd.read_parquet(inputs["known"] / "clips.parquet")
    nights = pd.read_parquet(inputs["nights"] / "clips.parquet")
    train = np.flatnonzero(known["part"] == "train")
    held = np.flatnonzero(known["part"] == "validation")
    stage = torch.from_numpy(known["stage"].to_numpy(np.int64, copy=True))
    block = known["block"].to_numpy()
    sleeper = pd.factorize(nights["subject"])[0]
    parts, lines = [], []

    def keep(rung: str, held_p: NDArray, p: NDArray, decided: NDArray | None = None) -> None:
        table = predictions(nights, torch.from_numpy(np.log(p + 1e-9)))
        if decided is not None:
            table = table.assign(prediction=decided.astype(np.int8))
        parts.append(table.assign(rung=rung))
        scored = known.iloc[held].assign(prediction=held_p.argmax(axis=1))
        scores = {name: summary(scored)[name] for name in ("accuracy", "macro_f1", "kappa")}
        lines.append({"rung": rung, **scores})

    for name, by_live in _inputs_of(config, inputs, known, nights).items():
        for rung, (kind, live) in RUNGS.items():
            if name and kind != "night":
                continue  # the last rung adds the pixels
            x, y = by_live[live]
            x = beside_night(x, known["subject"].to_numpy(), live)
            y = beside_night(y, nights["subject"].to_numpy(), live)
            seen, test = _standard(x, y, train)
            head = train_head(seen[train], stage[train], block[train], kind, live, config)
            held_p = stage_by(head, seen[held], block[held]).numpy()
            p = stage_by(head, test, sleeper).numpy()
            keep(rung + name, held_p, p)
            if kind == "clip":
                _markov(known, train, held, held_p, p, sleeper, keep, name)
            progress(len(parts) / 9, rung + name)
    write_parquet(folder / "predictions.parquet", pd.concat(parts, ignore_index=True))
    pd.DataFrame(lines).to_csv(folder / "validation.csv", index=False)


def _markov(known, train, held, held_p, p, sleeper, keep, name) -> None:
    """Both hidden Markov models; the validation sleepers choose how sharp a clip's vote is."""
    stage, block = known["stage"].to_numpy(), known["block"].to_numpy()
    model = Markov(stage[train], block[train])

    def by(each: NDArray, groups: NDArray, sharpness: float, method: str) -> NDArray:
        pieces = np.split(np.arange(len(each)), np.flatnonzero(np.diff(groups)) + 1)
        return np.concatenate([getattr(model, method)(each[k], sharpness) for k in pieces])

    for rung, live in MARKOV.items():
        method = "filtered" if live else "smoothed"
        tried = {}
        for sharpness in SHARPNESS:
            found = by(held_p, block[held], sharpness, method).argmax(axis=1)
            tried[sharpness] = summary(known.iloc[held].assign(prediction=found))["kappa"]
        best = max(tried, key=tried.get)
        decided = None if live else by(p, sleeper, best, "path")
        keep(
            rung + name,
            by(held_p, block[held], best, method),
            by(p, sleeper, best, method),
            decided,
        )
