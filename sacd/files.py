"""Atomic writes of files and folders, JSON, and hashes."""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

if TYPE_CHECKING:
    import pandas as pd

# torch, pandas and safetensors are imported where they are used: a `make reproduce` that has
# nothing to do needs none of them.


class FileError(ValueError):
    """One line: the file, what is wrong with it (value and limit), and how to fix it."""

    def __init__(self, file: Path | str, problem: str, fix: str):
        # All three are arguments of the base class, so that the error can be pickled.
        super().__init__(file, problem, fix)
        self.file, self.problem, self.fix = file, problem, fix

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}; {self.fix}"


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a value as JSON with sorted keys: equal contents, equal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk, so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it when the block succeeds, else remove it.

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
        # The bytes must be on the disk before the name is: after a power cut, a renamed file whose
        # data were still in memory would be empty. The folder holds the name.
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield a new folder next to `path`; rename it when the block succeeds, else remove it.

    A folder that is already at `path` stays until the new one is complete. Only one process may
    write `path` at a time, so hold a lock. What a killed process left behind is removed.

    Raises:
        OSError: of a full disk; it names the folder, where the writer named no file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     with atomic_folder(Path(root, "a")) as folder:
    ...         _ = (folder / "b.txt").write_text("whole")
    ...     [f.name for f in Path(root).iterdir()]
    ['a']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = _partial_folders(path)
    _remove_partial(path)
    try:
        partial.mkdir()
        yield partial
        if path.exists():  # a folder that is not empty cannot be replaced by one rename
            os.rename(path, old)
        os.rename(partial, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        _remove_partial(path)


def _partial_folders(path: Path) -> tuple[Path, Path]:
    """Names of the new folder while it is written, and of the old one while it is replaced."""
    return path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")


def _remove_partial(path: Path) -> None:
    """Remove both; a process that was killed between the two renames gets its old folder back."""
    partial, old = _partial_folders(path)
    if old.exists() and not path.exists():
        os.rename(old, path)
    for folder in (partial, old):
        shutil.rmtree(folder, ignore_errors=True)


def folder_lock(path: Path) -> FileLock:
    """Lock of a folder that is written by `atomic_folder`; a file beside the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def remove_partial_folder(path: Path) -> None:
    """Remove what a killed process left beside `path` while it wrote it by `atomic_folder`."""
    with folder_lock(path):
        _remove_partial(path)


def remove_temporary(path: Path) -> None:
    """Remove what killed processes left of `atomic(path)`; hold the lock of `path`."""
    for file in path.parent.glob(f".{path.name}.*.tmp{path.suffix}"):
        file.unlink(missing_ok=True)


def remove_leftovers(parent: Path) -> None:
    """Remove all that killed processes left in `parent`, at any depth; hold the lock of all of it.

    These are the temporary files of `atomic` and of `safetensors`, and the folders of
    `atomic_folder`.
    """
    for end in ("partial", "old"):
        for folder in sorted(parent.rglob(f".*.{end}")):
            _remove_partial(folder.with_name(folder.name[1:].removesuffix(f".{end}")))
    for file in sorted(parent.rglob(".*tmp*")):
        file.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Text file in UTF-8, written atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Indented JSON file, written atomically; NaN and infinity raise ValueError."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json_text(text: str | None) -> dict[str, Any]:
    """A JSON object; empty if there is no text, or it is truncated or not an object."""
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_json(path: Path | str) -> dict[str, Any]:
    """A JSON object; empty if the file is missing, truncated or does not hold an object."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return read_json_text(text)


def require_json(path: Path | str, fix: str, error: type[FileError] = FileError) -> dict[str, Any]:
    """A JSON object from a file that must exist.

    Args:
        fix: what the user should do, the end of the error message.
        error: exception to raise.

    Raises:
        FileError: the file is missing, cannot be read, or does not hold a JSON object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(path, "is missing", fix) from None
    except OSError as reason:
        raise error(path, f"cannot be read ({reason.strerror})", fix) from None
    except (ValueError, RecursionError):
        raise error(path, "is not a JSON object", fix) from None
    if not isinstance(value, dict):
        raise error(path, "is not a JSON object", fix)
    return value


def write_parquet(path: Path | str, frame: "pd.DataFrame") -> None:
    """Parquet file without the index, written atomically; equal frames give equal bytes."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, engine="pyarrow", compression="zstd", index=False)


def create_array(path: Path | str, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A new memory-mapped .npy file of zeros, to be filled; its disk space is allocated at once.

    Without the allocation the file would be sparse, and a process that fills it on a full disk
    would be killed by SIGBUS instead of seeing an error.

    Raises:
        OSError: the disk has too little space; the file is removed.
    """
    size = np.dtype(dtype).itemsize * math.prod(shape)
    try:
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):  # macOS has none
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise OSError(
            error.errno, f"{error.strerror} for its {size / 1e6:.3g} MB, free as much", str(path)
        ) from error
    return array


def save_tensors(path: Path | str, tensors: Mapping[str, Any]) -> None:
    """Safetensors file of torch tensors or NumPy arrays, written atomically.

    Equal tensors give equal bytes.
    """
    import torch  # see above
    from safetensors.torch import save_file

    # Copies: safetensors refuses views and tensors that share memory (tied weights).
    copies = {}
    for name, value in tensors.items():
        copies[name] = torch.as_tensor(value).detach().to("cpu", copy=True).contiguous()
    with atomic(path) as temporary:
        save_file(copies, temporary)
