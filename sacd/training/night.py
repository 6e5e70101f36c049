"""Staging of whole nights: heads on a student's cached embeddings, trained on blocks of clips.

`stem` and `sacd.training.night_facts.facts` read the nights; `night` trains the heads of one
student, of pixels alone or of the simulator's truth, and predicts the test nights at every rung.
"""

from collections.abc import Callable, Iterator
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
from sacd.data.batches import runs
from sacd.data.motion import motion
from sacd.data.store import ClipStore
from sacd.files import create_array, save_tensors, write_parquet
from sacd.training.common import (
    Inputs,
    Resources,
    mean_of_windows,
    outputs_of,
    predictions,
    scores_of,
)
from sacd.training.fit import Progress
from sacd.training.night_heads import (
    SHARPNESS,
    Markov,
    Rung,
    beside_night,
    mean_so_far,
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
MARKOV: Final = {
    "Markov model": Markov.smoothed,
    "Viterbi": Markov.path,
    "forward filter": Markov.filtered,
}
"""Baselines of the rungs of a night, on the probabilities of `one clip`; the filter is live."""
LIMIT: Final = 5.0
"""Standardised inputs are clipped to -5..5."""


def stem(
    config: PretextConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Write `stem.npy` `(n, ...)` float16: features of every clip after a student's frozen stages.

    Also `level.npy` `(n, C)`, the means of its channels, and `target.npy` `(C,)`, to which `embed`
    centres them by night as the pretext run did with those of the training store.
    """
    store = ClipStore(Path(resources["store"]))
    student = make_student(config.backbone)
    student.load_state_dict(load_weights(inputs["pretext"] / "weights.safetensors"))
    student.eval()

    @torch.inference_mode()
    def features(clips: pd.DataFrame) -> Tensor:
        frames = torch.from_numpy(store.gather_video(clips))
        # Rounded to float16, as the cached motion that the pretext run was trained on.
        return student.frozen_stem(motion(frames).half().float(), config.backbone.frozen)

    n = len(store.clips)
    shape = features(store.clips.iloc[:1]).shape[1:]
    out = create_array(folder / "stem.npy", np.float16, (n, *shape))
    level = []
    for start in range(0, n, 64):
        h = features(store.clips.iloc[start : start + 64])
        out[start : start + len(h)] = h.half().numpy()
        level.append(h.mean(dim=(2, 3, 4)).numpy())
        progress((start + len(h)) / n, "frozen stages of the nights")
    out.flush()
    np.save(folder / "level.npy", np.concatenate(level))
    # The pretext run has centred every subject of the training store to the same mean, that of the
    # training clips; so the clips of any one subject show it.
    cached = np.load(inputs["pretext"] / "stem.npy", mmap_mode="r")[0]
    known = pd.read_parquet(inputs["known"] / "clips.parquet", columns=["subject", "row"])
    rows = known.loc[known["subject"] == known["subject"].iloc[0], "row"].to_numpy()
    np.save(folder / "target.npy", cached[rows].astype(np.float32).mean(axis=(0, 2, 3, 4)))


def embed(
    config: NightEmbedConfig,
    inputs: Inputs,
    folder: Path,
    resources: Resources,
    progress: Progress,
) -> None:
    """Write `embeddings.safetensors`: a trained student's embeddings of all clips of the nights.

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
    """Offsets `(n, C, 1, 1, 1)` that centre the features of the frozen stages by night.

    `live`, the mean of a channel is that of the clips so far, otherwise of the whole night.
    """
    level, subjects = np.load(stem / "level.npy"), subject.to_numpy()
    if live:
        mean = mean_so_far(level, subjects)
    else:
        mean = pd.DataFrame(level).groupby(subjects, sort=False).transform("mean").to_numpy()
    shift = (np.load(stem / "target.npy") - mean).astype(np.float32)
    return torch.from_numpy(shift)[:, :, None, None, None]


class Components:
    """The first `number` principal components of embeddings, fitted to training clips."""

    def __init__(self, x: NDArray, number: int) -> None:
        self.mean = x.mean(axis=0)
        _, _, axes = np.linalg.svd(x - self.mean, full_matrices=False)
        self.axes = axes[:number].T

    def __call__(self, x: NDArray) -> NDArray:
        return (x - self.mean) @ self.axes


def _inputs_of(
    config: NightConfig, inputs: Inputs, known: pd.DataFrame, nights: pd.DataFrame
) -> dict[str, dict[bool, tuple[NDArray, NDArray]]]:
    """Inputs of the heads: name -> live -> `(n, F)` of the known clips and of the test nights.

    The name is added to that of a rung: "" for what `config.reads` says, " + pixels" where a
    student's embeddings and the pixel facts are read together.
    """
    facts = {part: load_file(inputs[part] / "facts.safetensors") for part in ("known", "nights")}
    if config.reads != "student":
        both = facts["known"][config.reads], facts["nights"][config.reads]
        return {"": {False: both, True: both}}
    embedding = load_file(inputs["student"] / "embeddings.safetensors")["embedding"]
    own = embedding[known["row"].to_numpy()].astype(np.float32)
    of_nights = load_file(inputs["embeddings"] / "embeddings.safetensors")
    rows = nights["row"].to_numpy()
    # Fitted to training clips alone: a component must not be chosen by the clips it is tested on.
    reduce = Components(own[(known["part"] == "train").to_numpy()], config.components)
    x = reduce(own)
    alone, joined = {}, {}
    for live in (False, True):
        # The student's run has embeddings of the training store by whole nights only, which the
        # live heads are trained on too.
        y = reduce(of_nights["live" if live else "night"][rows].astype(np.float32))
        alone[live] = x, y
        joined[live] = (
            np.hstack([x, facts["known"]["pixels"]]),
            np.hstack([y, facts["nights"]["pixels"]]),
        )
    return {"": alone, " + pixels": joined}


def standardised(x: NDArray, y: NDArray, train: NDArray) -> tuple[Tensor, Tensor]:
    """Both standardised by the training clips `x[train]`, and clipped at `LIMIT`."""
    mean, spread = x[train].mean(axis=0), x[train].std(axis=0) + 1e-6

    def standard(each: NDArray) -> Tensor:
        clipped = np.clip((each - mean) / spread, -LIMIT, LIMIT)
        return torch.from_numpy(clipped.astype(np.float32))

    return standard(x), standard(y)


def night(
    config: NightConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Train the heads of every rung on the training subjects, and stage the test nights.

    Reads the runs `known` and `nights` (`sacd.training.night_facts.facts` of the training store and
    of the test nights); for a student also `student` and `embeddings`, its run of `embed`.

    Writes `predictions.parquet`, the test clips once for each `rung`, and `validation.csv`, the
    kappa of the validation subjects by rung.
    """
    known = pd.read_parquet(inputs["known"] / "clips.parquet")
    nights = pd.read_parquet(inputs["nights"] / "clips.parquet")
    train = np.flatnonzero(known["part"] == "train")
    held = np.flatnonzero(known["part"] == "validation")
    stage = torch.from_numpy(known["stage"].to_numpy(np.int64, copy=True))
    block = known["block"].to_numpy()
    # A test night is one sequence: its heads see across gaps of clips that were dropped.
    sleeper = pd.factorize(nights["subject"])[0]
    seen_by = _inputs_of(config, inputs, known, nights)
    number = len(RUNGS) + len(MARKOV) + (2 if config.reads == "student" else 0)  # and with pixels
    parts, lines = [], []

    def keep(rung: str, held_p: NDArray, p: NDArray) -> None:
        table = predictions(nights, torch.from_numpy(np.log(p + 1e-9)))
        parts.append(table.assign(rung=rung))
        lines.append({"rung": rung, **scores_of(known, held, torch.from_numpy(held_p))})
        progress(len(parts) / number, rung)

    for name, by_live in seen_by.items():
        for rung, (kind, live) in RUNGS.items():
            if name and kind != "night":
                continue  # the last rung adds the pixels
            x, y = by_live[live]
            x = beside_night(x, known["subject"].to_numpy(), live)
            y = beside_night(y, nights["subject"].to_numpy(), live)
            seen, test = standardised(x, y, train)
            head = train_head(seen[train], stage[train], block[train], kind, live, config)
            held_p = stage_by(head, seen[held], block[held]).numpy()
            p = stage_by(head, test, sleeper).numpy()
            keep(rung + name, held_p, p)
            if kind == "clip":
                for found in _markov(known, train, held, held_p, p, sleeper):
                    keep(*found)
    write_parquet(folder / "predictions.parquet", pd.concat(parts, ignore_index=True))
    pd.DataFrame(lines).to_csv(folder / "validation.csv", index=False)


def _markov(
    known: pd.DataFrame,
    train: NDArray,
    held: NDArray,
    held_p: NDArray,
    p: NDArray,
    sleeper: NDArray,
) -> Iterator[tuple[str, NDArray, NDArray]]:
    """The hidden Markov models on the probabilities of single clips.

    The validation subjects choose for each of them how sharp the vote of a clip is: the errors of
    neighbouring clips are alike, and a model that takes them for independent trusts its clips too
    much. The path suffers most, since it adds up the votes of a whole night.

    Args:
        known: table of the clips of the training store; `train` and `held` are rows of it.
        held_p, p: probabilities `(n, 5)` of the clips `held`, and of the test nights.
        sleeper: `(n,)`, a number for each test night.

    Yields:
        Rung, and probabilities of both.
    """
    stage, block = known["stage"].to_numpy(), known["block"].to_numpy()
    model = Markov(stage[train], block[train])
    for rung, way in MARKOV.items():
        infer = partial(way, model)
        kappa = {}
        for sharpness in SHARPNESS:
            found = _by_sequence(infer, held_p, block[held], sharpness)
            kappa[sharpness] = scores_of(known, held, torch.from_numpy(found))["kappa"]
        best = max(kappa, key=kappa.get)
        yield (
            rung,
            _by_sequence(infer, held_p, block[held], best),
            _by_sequence(infer, p, sleeper, best),
        )


def _by_sequence(
    infer: Callable[[NDArray, float], NDArray], p: NDArray, sequence: NDArray, sharpness: float
) -> NDArray:
    """`infer` of each sequence of clips by itself."""
    return np.concatenate([infer(p[rows], sharpness) for rows in runs(sequence)])
