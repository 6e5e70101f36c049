"""Load published weights: Hara's Kinetics checkpoints for students, CNN14 for the audio teacher."""

import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sacd.models.audio import CNN14
from sacd.models.video import VideoResNet


def load_pretrained(model: VideoResNet, path: str | os.PathLike[str]) -> VideoResNet:
    """Load a published checkpoint of Kinetics-700, with or without Moments in Time, into a student.

    The published head is dropped. For grey input, the stem is summed over colour. A grey clip then
    gives the same output as three equal colour channels.

    Source: github.com/kenshohara/3D-ResNets-PyTorch: `r3d18_KM_200ep.pth` (1039 classes),
    `r2p1d18_K_200ep.pth` (700).

    Deviation: the paper's R(2+1)D-18 was pretrained on both datasets; only the weights from
    Kinetics-700 are published.

    Args:
        model: student of width 1 with batch norm and 1 or 3 input channels; `fc` is not changed.
        path: file with a `state_dict`.

    Returns:
        `model`, changed in place.

    Raises:
        ValueError: the file is another one; the message lists what is missing, unexpected or of the
            wrong shape. Or it is damaged: a value is NaN or infinite. `model` is not changed.
    """
    read = _read(path, "state_dict")
    _refuse_not_finite(read, path)
    state = {name.removeprefix("module."): t for name, t in read.items()}
    stem = "conv1.weight" if hasattr(model, "conv1") else "conv1_s.weight"
    # Three equal channels times three filters are one channel times their sum.
    if model.in_channels == 1 and stem in state and state[stem].dim() == 5:
        state[stem] = state[stem].sum(1, keepdim=True)
    heads = {"fc.weight": [(700, 512), (1039, 512)]}
    _fill(model, state, path, own=("fc.", "project."), foreign=("fc.",), heads=heads)
    return model


def check_cnn14(path: str | os.PathLike[str]) -> None:
    """Refuse a damaged `Cnn14_emb512` checkpoint before anything is trained.

    It is not a part of `load_cnn14`, whose code belongs to the identity of every audio teacher,
    also of those that are trained from scratch.

    Raises:
        ValueError: the file cannot be read, or a value is NaN or infinite.
    """
    _refuse_not_finite(_read(path, "model"), path)


def load_cnn14(model: CNN14, path: str | os.PathLike[str]) -> CNN14:
    """Load the published `Cnn14_emb512` checkpoint (Zenodo 3987831) into an audio teacher.

    The published head is dropped, and so are the stored window and mel matrices, which torchaudio
    computes.

    Args:
        model: teacher of width 1; `fc` is not changed.
        path: file with a `model`.

    Returns:
        `model`, changed in place.

    Raises:
        ValueError: the file is another one; the message lists what is missing, unexpected or of the
            wrong shape. `model` is not changed.
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
    except Exception as error:  # zip, tar and pickle raise different errors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: not a checkpoint of plain tensors ({reason[:120]})") from error
    state = checkpoint.get(key) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"{path}: holds no tensors under {key!r}; expected a published checkpoint")
    return dict(state)


def _refuse_not_finite(state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Raise ValueError if a tensor holds NaN or infinity: every output would be NaN too."""
    for name, tensor in state.items():
        wrong = int((~tensor.isfinite()).sum())
        if wrong:
            raise ValueError(
                f"{path}: {wrong} of {tensor.numel()} values of the tensor {name} are NaN or "
                "infinite; the file is damaged: download it again"
            )


def _fill(
    model: nn.Module,
    state: dict[str, Tensor],
    path: str | os.PathLike[str],
    own: tuple[str, ...],
    foreign: tuple[str, ...],
    heads: Mapping[str, list[tuple[int, ...]]],
) -> None:
    """Load `state` without its `foreign` entries into `model`, whose `own` entries are not changed.

    `heads` names entries that are not loaded but must have one of the given shapes. These tell the
    published files from others with the same layout.

    Raises:
        ValueError: `state` does not fit `model`.
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
    # All faults at once, and before anything is loaded.
    if any(faults.values()):
        told = "; ".join(f"{fault}: {', '.join(names)}" for fault, names in faults.items() if names)
        raise ValueError(f"{path}: not the weights of this {type(model).__name__}; {told}")
    # Not strict, because the heads are missing; everything else was compared above.
    model.load_state_dict(body, strict=False)
