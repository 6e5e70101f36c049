"""Records how results were computed: the commit, the machine, its peak memory."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from sacd import cpu
from sacd.files import sha256
from sacd.runs.fingerprint import code_hashes, source_file

REPOSITORY: Final = Path(__file__).parents[2]
PACKAGES: Final = (
    "torch", "torchvision", "timm", "pytorchvideo", "braindecode", "mne", "av", "numpy", "scipy",
    "scikit-learn", "pandas", "safetensors", "distributed",
)  # fmt: skip


def edited_since_import(entries: Iterable[str]) -> list[str]:
    """Modules of the entry points that changed on disk after this process imported them."""
    import psutil  # slow to import

    # The start time is accurate to about a second, and nothing is imported in the first two.
    started = psutil.Process().create_time()
    modules = sorted({name.partition(":")[0] for name in code_hashes(entries)} & sys.modules.keys())
    files = {module: source_file(module) for module in modules}
    return [module for module, file in files.items() if file and file.stat().st_mtime > started + 2]


def git_state() -> dict[str, Any]:
    """Commit of this checkout, and whether it has uncommitted changes; None if unknown."""

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        try:
            return subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=30
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    if git("rev-parse", "--show-toplevel") != str(REPOSITORY.resolve()):
        # Installed as a package, perhaps inside the checkout of another project.
        return {"commit": None, "dirty": None}
    # Results computed again do not change the code; untracked files of the package do.
    status = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results")
    new = git("status", "--porcelain", "--untracked-files=normal", "--", "sacd")
    dirty = None if status is None else bool(status or new)
    return {"commit": git("rev-parse", "HEAD"), "dirty": dirty}


def machine() -> dict[str, Any]:
    """Versions, processor, GPU and threads of this process, without the host name."""
    lock = REPOSITORY / "requirements.lock"
    record: dict[str, Any] = {
        "lock": sha256(lock) if lock.is_file() else None,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "instructions": cpu.state(),
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
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def reset_peak_memory() -> None:
    """Reset the peak-memory counters (CPU: Linux only)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_mb() -> dict[str, float]:
    """Peak memory of this process since `reset_peak_memory`, in MB, by device."""
    import resource  # does not exist on Windows

    try:
        status = Path("/proc/self/status").read_text()
        kilobytes = next(
            float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")
        )
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kilobytes = peak / 1024 if sys.platform == "darwin" else peak  # macOS counts bytes
    memory = {"cpu": round(kilobytes / 1024, 1)}
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        memory["gpu"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return memory
