"""Where a number comes from: the code that computes it, the commit, the machine."""

import ast
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sacd.files import sha256

REPOSITORY: Final = Path(__file__).parents[2]
PACKAGES: Final = (
    "torch", "torchvision", "timm", "pytorchvideo", "braindecode", "mne", "av", "numpy", "scipy", "scikit-learn",
    "pandas", "safetensors", "distributed",
)  # fmt: skip

# Their classes count, their values do not: a value that a run uses is in the run's identity, and another profile's
# epochs or a new method shall not make it stale.
_BY_VALUE: Final = ("sacd.config", "sacd.losses", "sacd.models")


def code_fingerprint(modules: Iterable[str], without: Iterable[str] = ()) -> str:
    """16 hex digits over the parsed source of modules and of the modules of this package that they import.

    Comments, docstrings, formatting and `__version__` leave it; any change of an expression changes it. Imports are
    followed when they are statements, wherever they stand; a module imported by a string has to be named. This module
    counts only if it is named: it tells how numbers were made, and makes none.

    Args:
        without: modules that are left out, though what they import counts.

    Raises:
        ValueError: a module has no source file.
    """
    hashes = [(name, code) for name, code in sorted(code_hashes(modules).items()) if name not in without]
    return hashlib.sha256(repr(hashes).encode()).hexdigest()[:16]


def reader_fingerprint(module: str) -> str:
    """`code_fingerprint` of what decides the bytes of a store that a module reads from files.

    Left out are modules that change often and decide none: settings are in the store's record with their values, files
    are written as they are given, and what is checked is refused or not.
    """
    return code_fingerprint([module], without=("sacd.config", "sacd.files", "sacd.data.check"))


def code_hashes(modules: Iterable[str]) -> dict[str, str]:
    """Module name to hash of its parsed source: what `code_fingerprint` is made of."""
    asked = {name: source_file(name) for name in modules}
    key, modules = tuple(asked.items()), list(asked)
    if key in _KNOWN and all(_stamp(path) == seen for path, seen in _KNOWN[key][0].items()):
        return dict(_KNOWN[key][1])
    ours = {"sacd", *(name.partition(".")[0] for name in modules)}
    hashes: dict[str, str] = {}
    files: dict[Path, tuple[int, int] | None] = {}
    waiting = [parent for name in modules for parent in _with_parents(name)]
    for name, path in asked.items():
        if path is None:
            raise ValueError(f"module {name} has no source file; name an importable module as 'package.module'")
    seen = {__name__} - asked.keys()
    while waiting:
        name = waiting.pop()
        if name in seen or name.partition(".")[0] not in ours:
            continue
        seen.add(name)
        if (path := source_file(name)) is None:
            continue
        files[path] = _stamp(path)
        hashes[name], imports = _parse(name, path, files[path])
        waiting += [parent for module in imports for parent in _with_parents(module)]
    _KNOWN[key] = files, hashes
    return dict(hashes)


_KNOWN: dict[tuple[tuple[str, Path | None], ...], tuple[dict[Path, tuple[int, int] | None], dict[str, str]]] = {}
"""Of `code_hashes`: files as they were, and their hashes; a `make reproduce` asks thousands of times."""


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes with an edit; None if the file is gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def edited_since_import(modules: Iterable[str]) -> list[str]:
    """Modules that this process imported and whose file changed since it started: it would compute with old code."""
    import psutil  # slow to import

    # The start is known to about a second; what is edited in the first two is not yet imported.
    started = psutil.Process().create_time()
    return [
        name
        for name in code_hashes(modules)
        if name in sys.modules and (path := source_file(name)) and path.stat().st_mtime > started + 2
    ]


def source_file(module: str) -> Path | None:
    """Source of a module, found without importing it (nor its parents); None where there is none."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
    except ValueError:  # __main__ of a script
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    if not rest:
        return Path(spec.origin)
    path = Path(spec.origin).parent.joinpath(*rest)
    candidates = (path / "__init__.py", path.with_name(path.name + ".py"))
    return next((file for file in candidates if file.is_file()), None)


def static_imports(tree: ast.AST, module: str = "", is_package: bool = False) -> Iterator[str]:
    """Names of the modules that the import statements of a parsed source may bring in."""
    parts = module.split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level + is_package] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


@cache
def _parse(name: str, path: Path, stamp: tuple[int, int] | None) -> tuple[str, frozenset[str]]:
    """Hash and imports of a source file; the last argument makes the cache notice an edit."""
    tree = ast.parse(path.read_bytes(), str(path))
    imports = frozenset(static_imports(tree, name, path.name == "__init__.py"))
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                setattr(node, field, [statement for statement in body if not _inert(statement)])
    if name in _BY_VALUE:
        tree.body = [statement for statement in tree.body if isinstance(statement, ast.ClassDef)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], imports


def _inert(statement: ast.stmt) -> bool:
    """Docstrings (of attributes too), bare strings, `pass`, `__version__ = ...` and the like."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in ("__version__", "__all__")
    return False


def git_state() -> dict[str, Any]:
    """Commit of the checkout that this package lies in, and whether it has uncommitted changes; None where unknown."""

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    if git("rev-parse", "--show-toplevel") != str(REPOSITORY.resolve()):
        return {"commit": None, "dirty": None}  # installed, and perhaps inside somebody else's checkout
    # What was computed anew is no change of what computes it; a new loss that git does not know is one.
    status = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
    new = git("status", "--porcelain", "--untracked-files=normal", "--", "sacd")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status or new)}


def machine() -> dict[str, Any]:
    """Versions, processor, GPU and threads of this process. The host is not named."""
    lock = REPOSITORY / "requirements.lock"
    record: dict[str, Any] = {
        "lock": sha256(lock) if lock.is_file() else None,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": None,
    }
    if torch := sys.modules.get("torch"):
        record["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            record |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return record


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def reset_peak_memory() -> None:
    """Start counting the peak memory anew, where the system can (Linux; any system for the GPU)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_mb() -> dict[str, float]:
    """Peak memory of this process since `reset_peak_memory`, in MB, by device."""
    import resource  # not on every system

    try:
        status = Path("/proc/self/status").read_text()
        kilobytes = next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kilobytes = peak / 1024 if sys.platform == "darwin" else peak
    memory = {"cpu": round(kilobytes / 1024, 1)}
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        memory["gpu"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return memory
