"""Writing files so that a half-written one never looks finished, and checkpoints without pickle."""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# torch, pandas and safetensors are imported where they are used: a `make reproduce` that has
# nothing to do needs none.


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Bring a file or a folder to the disk, so that it outlives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Temporary path beside `path`; moved there when the block ends well, removed when it does not.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic(Path(folder, "a.txt")) as temporary:
    ...         _ = temporary.write_text("whole")
    ...     [f.name for f in Path(folder).iterdir()]
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Text file in UTF-8, written atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """JSON file for people and programs, written atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json_text(text: str | None) -> dict[str, Any]:
    """A JSON object; empty where there is no text, or it is truncated or something else."""
    try:
        value = json.loads(text or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def write_parquet(path: Path | str, frame: "pd.DataFrame") -> None:
    """Parquet file without the index, written atomically; equal frames give equal bytes."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, engine="pyarrow", compression="zstd", index=False)


def create_array(path: Path | str, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A new .npy file of zeros, mapped into memory to be filled, whose space on the disk is taken at once.

    Without that the file has holes, and who fills one on a full disk is killed by SIGBUS instead of
    being told.

    Raises:
        OSError: the disk has no room for all of it; nothing of it is left.
    """
    size = np.dtype(dtype).itemsize * math.prod(shape)
    try:
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise OSError(
            error.errno, f"{error.strerror} for its {size / 1e6:.3g} MB, free as much", str(path)
        ) from error
    return array


def save_tensors(
    path: Path | str, tensors: Mapping[str, Any], _metadata: dict[str, str] | None = None
) -> None:
    """Safetensors file of torch tensors or NumPy arrays, written atomically; equal tensors give equal bytes."""
    import torch  # see above
    from safetensors.torch import save_file

    # Copies: safetensors refuses views and tensors that share memory (tied weights).
    copies = {
        k: torch.as_tensor(v).detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()
    }
    with atomic(path) as temporary:
        save_file(copies, temporary, metadata=_metadata)


def save_checkpoint(path: Path | str, state: Any) -> None:
    """A nest of dicts, lists and tuples of tensors, arrays, numbers, strings and None as one safetensors file.

    Takes the `state_dict` of modules, optimizers, schedulers and EMA models, and states of random
    generators.

    Raises:
        TypeError: something in `state` has another type; the message says where.
    """
    tensors: dict[str, Any] = {}
    tree = _flatten(state, "", tensors)
    # One metadata key only: safetensors writes several in random order, and equal states shall give
    # equal bytes.
    save_tensors(path, tensors, {"tree": json.dumps(tree)})


def load_checkpoint(path: Path | str) -> Any:
    """What `save_checkpoint` saved: same nesting, types and dtypes; tensors on the CPU.

    Raises:
        ValueError: the file is not a whole checkpoint.
    """
    from safetensors import SafetensorError, safe_open  # see above

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            return _unflatten(json.loads(file.metadata()["tree"]), tensors)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is not a whole checkpoint ({error}); delete it to start over"
        ) from error


def _flatten(value: Any, where: str, tensors: dict[str, Any]) -> Any:
    """JSON tree of `value`: plain values as they are, anything else as {kind: content}."""
    import torch  # see above

    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        kind = (
            "tensor"
            if isinstance(value, torch.Tensor)
            else "array"
            if isinstance(value, np.ndarray)
            else "scalar"
        )
        name = f"{len(tensors):06d}{where}"
        tensors[name] = value if kind == "tensor" else np.array(value)
        return {kind: name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        kind = (
            "counter" if isinstance(value, Counter) else "dict"
        )  # MultiStepLR keeps its milestones in a Counter
        return {
            kind: [[_key(k, where), _flatten(v, f"{where}/{k}", tensors)] for k, v in value.items()]
        }
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_flatten(v, f"{where}/{i}", tensors) for i, v in enumerate(value)]}
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__} at {where or '/'}")


def _key(key: Any, where: str) -> Any:
    if not isinstance(key, bool | int | float | str):
        raise TypeError(
            f"a checkpoint cannot hold a key of type {type(key).__name__} at {where or '/'}"
        )
    return key


def _unflatten(node: Any, tensors: Mapping[str, Any]) -> Any:
    if not isinstance(node, dict):
        return node
    [(kind, content)] = node.items()
    if kind in ("tensor", "array", "scalar"):
        tensor = tensors[content]
        return (
            tensor
            if kind == "tensor"
            else tensor.numpy()
            if kind == "array"
            else tensor.numpy()[()]
        )
    if kind in ("dict", "counter"):
        pairs = {key: _unflatten(value, tensors) for key, value in content}
        return Counter(pairs) if kind == "counter" else pairs
    values = [_unflatten(value, tensors) for value in content]
    return tuple(values) if kind == "tuple" else values
