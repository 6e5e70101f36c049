"""Pins the instruction set of this process, so that every x86-64 machine computes the same bytes.

NumPy, ATen, oneDNN, MKL and OpenBLAS choose their kernels by CPU: sums are then rounded in another
order, and training amplifies the difference. All five read a variable of the environment when they
are loaded, so this module has to be imported before them. `import sacd` does so; `make setup` also
has the environment's Python import it at start-up, for JupyterLab, editors and pytest. Child
processes inherit the variables. AVX2 is what nearly every x86-64 machine since 2015 has. MKL tells
Intel from AMD as well, whatever their instructions; its branch COMPATIBLE alone gives equal bits on
both (oneMKL developer guide, "Conditional Numerical Reproducibility"). It makes a training about a
fifth slower.

Only `os`, `sys` and `platform` are imported: this runs at every start of Python.
"""

import os
import platform
import sys
from typing import Any, Final

PINNED: Final = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy: no AVX-512
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch's convolutions
    "MKL_CBWR": "COMPATIBLE",  # torch's matrix products, exp and log, FFT
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of NumPy and SciPy
}
"""Variable -> value. A value that the user has set wins."""

_FLAGS: Final = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_fp16", "amx_tile")
"""What is recorded of the processor's abilities: those that the libraries choose by."""


def pin() -> None:
    """Set what the user has not set; too late for a library that is loaded already (see `state`)."""
    for name, value in PINNED.items():
        os.environ.setdefault(name, value)


def state() -> dict[str, Any]:
    """What was pinned, what the CPU offers, and whether every loaded library obeys; goes into provenance.

    Returns:
        pinned: this process' value of each variable of `PINNED`.
        own: variables that the user has set to another value.
        offers: architecture, and which of the instruction sets that matter the processor has.
        honoured: whether bytes equal those of other pinned machines; `reason` says why not.
    """
    values = {name: os.environ.get(name, "") for name in PINNED}
    own = sorted(name for name, value in PINNED.items() if values[name] != value)
    offers = [platform.machine(), *(flag for flag in _FLAGS if flag in cpu_flags())]
    reason = _why_not(own)
    return {
        "pinned": values,
        "own": own,
        "offers": offers,
        "honoured": not reason,
        "reason": reason,
    }


def cpu_flags() -> frozenset[str]:
    """Instruction sets of the processor, as Linux names them; empty where it cannot be told."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith("flags")]
    except OSError:
        return frozenset()
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()


def _why_not(own: list[str]) -> str:
    """Why the bytes of this process may differ from those of a pinned machine; empty if they do not."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"the processor is {platform.machine()}, not x86-64"
    flags = cpu_flags()
    if flags and not {"avx2", "fma"} <= flags:
        return "the processor has no AVX2"
    if own:
        return f"{', '.join(own)} set by the user"
    if late := _loaded_unpinned():
        return f"{', '.join(late)} was imported before sacd; import sacd first"
    return ""


def _loaded_unpinned() -> list[str]:
    """Loaded libraries that use other instructions than the pinned ones: `sacd` was imported after them."""
    late = []
    if "numpy" in sys.modules:
        from numpy._core._multiarray_umath import (
            __cpu_features__ as features,
        )  # only if it is loaded already

        late += ["numpy"] if features.get("X86_V4") or not features.get("X86_V3", True) else []
    if (torch := sys.modules.get("torch")) and hasattr(torch, "backends"):
        late += ["torch"] if torch.backends.cpu.get_cpu_capability() != "AVX2" else []
    return late


def warning() -> str:
    """One line for the user where bytes will differ from those of other machines; empty where they will not."""
    found = state()
    if found["honoured"]:
        return ""
    return f"note: {found['reason']}: bytes will differ from the committed ones, verify judges by statistics"


pin()
