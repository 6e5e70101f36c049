"""Checkpoints of a training run, written by `torch.save` and read without running pickled code."""

import io
from pathlib import Path
from typing import Any

import torch

from sacd.files import atomic


def save_checkpoint(path: Path | str, state: Any) -> None:
    """Save the states of modules, optimizers, schedulers and random generators, atomically.

    Equal states give equal bytes.

    Raises:
        TypeError: `state` contains a type that `load_checkpoint` would refuse.
    """
    # Into memory first: `torch.save` names the archive after the file, whose temporary name differs
    # between processes, and it reports a full disk as a RuntimeError without an errno.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(buffer):
        raise TypeError(f"a checkpoint cannot hold {', '.join(sorted(unsafe))}")
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path | str) -> Any:
    """Load what `save_checkpoint` saved, with all tensors on the CPU.

    Raises:
        ValueError: the file is not a complete checkpoint.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the unpickler raises nearly anything for arbitrary bytes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path} is not a complete checkpoint ({reason}); delete it to start over"
        ) from error
