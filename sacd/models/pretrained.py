"""Published weights: Hara's Kinetics checkpoints into the video students, PANNs' CNN14 into the audio teacher."""

import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sacd.models.audio import CNN14
from sacd.models.video import VideoResNet


def load_pretrained(model: VideoResNet, path: str | os.PathLike[str]) -> VideoResNet:
    """Fills a student with a published Kinetics-700 or Kinetics-700 + Moments in Time checkpoint; its head is dropped.

    Source: github.com/kenshohara/3D-ResNets-PyTorch: `r3d18_KM_200ep.pth` (1039 classes),
    `r2p1d18_K_200ep.pth` (700).
    For grey input the stem is summed over colour: a grey clip then gets the answer of three equal
    channels.

    Deviation: the paper's R(2+1)D-18 was pretrained on both data sets; only the one of Kinetics-700
    is published.

    Args:
        model: at width 1, with batch norm, of 1 or 3 input channels; `fc` stays as it is.
        path: file with a `state_dict`.

    Returns:
        `model`, filled in place.

    Raises:
        ValueError: another file; says what is missing, unexpected or of the wrong shape. `model` is
            untouched.
    """
    state = {name.removeprefix("module."): t for name, t in _read(path, "state_dict").items()}
    stem = "conv1.weight" if hasattr(model, "conv1") else "conv1_s.weight"
    if model.in_channels == 1 and stem in state and state[stem].dim() == 5:
        state[stem] = state[stem].sum(1, keepdim=True)
    heads = {"fc.weight": [(700, 512), (1039, 512)]}
    _fill(model, state, path, own=("fc.", "project."), foreign=("fc.",), heads=heads)
    return model


def load_cnn14(model: CNN14, path: str | os.PathLike[str]) -> CNN14:
    """Fills an audio teacher with the published `Cnn14_emb512` checkpoint (Zenodo 3987831), without its head.

    The stored window and mel matrices are dropped too: torchaudio computes them.

    Args:
        model: at width 1; `fc` stays as it is.
        path: file with a `model`.

    Returns:
        `model`, filled in place.

    Raises:
        ValueError: another file; says what is missing, unexpected or of the wrong shape. `model` is
            untouched.
    """
    foreign = ("spectrogram_extractor.", "logmel_extractor.", "fc_audioset.")
    heads = {"fc_audioset.weight": [(527, 512)]}
    _fill(model, _read(path, "model"), path, own=("fc.",), foreign=foreign, heads=heads)
    return model


def _read(path: str | os.PathLike[str], key: str) -> dict[str, Tensor]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # zip, tar and pickle each fail in their own way
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: not a checkpoint of plain tensors ({reason[:120]})") from error
    state = checkpoint.get(key) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"{path}: holds no tensors under {key!r}; expected a published checkpoint")
    return dict(state)


def _fill(
    model: nn.Module,
    state: dict[str, Tensor],
    path: str | os.PathLike[str],
    own: tuple[str, ...],
    foreign: tuple[str, ...],
    heads: Mapping[str, list[tuple[int, ...]]],
) -> None:
    """Loads `state` without its `foreign` entries into everything of `model` but its `own` entries, or refuses.

    `heads` are entries that are not loaded, and the shapes that tell the published files from
    others of their layout.
    """
    body = {name: t for name, t in state.items() if not name.startswith(foreign)}
    wanted = {
        name: [tuple(t.shape)] for name, t in model.state_dict().items() if not name.startswith(own)
    }
    faults = {
        "missing": [name for name in {**wanted, **heads} if name not in state],
        "unexpected": [name for name in body if name not in wanted],
        "of wrong shape": [
            f"{name} {tuple(state[name].shape)} for {' or '.join(map(str, shapes))}"
            for name, shapes in {**wanted, **heads}.items()
            if name in state and tuple(state[name].shape) not in shapes
        ],
    }
    if any(faults.values()):
        told = "; ".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items() if names)
        raise ValueError(f"{path}: not the weights of this {type(model).__name__}; {told}")
    model.load_state_dict(body, strict=False)
