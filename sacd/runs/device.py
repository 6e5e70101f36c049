"""Where networks are trained: CPU or GPU, which of them, and how many runs share one."""

import os
import re
import shutil
import subprocess
from itertools import takewhile
from typing import Final

SETTING: Final = "SACD_DEVICE"
"""Environment variable: `cpu` or `cuda`; without it a GPU is used where there is one."""

RUN_MB: Final = 16_000
"""Memory that one training of the profile `paper` may need, in MB."""

MOST_RUNS_PER_GPU: Final = 4
"""A fourth run still adds some speed on an H100; more only wait for each other."""

_GPU: Final = re.compile(r"\d+$|(GPU|MIG)-.")


def device_kind() -> str:
    """`cpu` or `cuda`; part of a run's identity, since their numbers differ.

    Raises:
        ValueError: the setting is neither, or asks for a GPU where there is none.
    """
    asked = os.environ.get(SETTING) or "auto"
    if asked not in ("auto", "cpu", "cuda"):
        raise ValueError(f"DEVICE {asked!r} is unknown; known: cpu, cuda")
    return asked if asked != "auto" else "cuda" if gpus() else "cpu"


def gpus() -> list[str]:
    """Ids of the CUDA devices that this process may use, without initialising CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids: list[str] | None = None
    if visible is not None:
        # CUDA reads the list up to its first invalid id: "", "-1" and "none" hide all devices.
        ids = list(takewhile(_GPU.match, map(str.strip, visible.split(","))))
    if ids == [] or (ids is None and not shutil.which("nvidia-smi")):
        return []  # saves the seconds that importing torch takes
    import torch  # slow to import

    number = torch.cuda.device_count()
    return [str(i) for i in range(number)] if ids is None else ids[:number]


def runs_per_gpu() -> int:
    """Runs that share a GPU: one does not fill it, but each needs memory."""
    question = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, check=True).stdout
        smallest = min(int(line) for line in answer.split())
    except (OSError, subprocess.CalledProcessError, ValueError):
        return 1  # a MIG slice, say, whose memory the tool does not tell
    return max(1, min(MOST_RUNS_PER_GPU, smallest // RUN_MB))


def make_deterministic() -> None:
    """Let a GPU give the same bytes each time; costs about an eighth of the speed."""
    import torch  # slow to import

    # Read when cuBLAS is initialised, which no run has done yet.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # Operations without a deterministic version give a warning, which names them.
    torch.use_deterministic_algorithms(True, warn_only=True)
