"""Pins the instruction set of this process, so that every x86-64 machine computes the same bytes.

NumPy, ATen, oneDNN, MKL and OpenBLAS select their kernels by CPU. Kernels differ in the order of
additions and so in rounding, which training amplifies. All five libraries read an environment
variable when they are loaded, so this module must be imported first. `import sacd` does that, and
`make setup` makes Python import it at start-up, for JupyterLab, editors and pytest. Child processes
inherit the variables.

We pin AVX2, which nearly every x86-64 machine since 2015 has. MKL also distinguishes Intel from
AMD; only its branch COMPATIBLE gives equal bits on both (oneMKL developer guide, "Conditional
Numerical Reproducibility"), at a third of the speed. Hence the matrix products of our networks are
OpenBLAS' (`sacd.models.numerics.linear`).

Only `os`, `sys` and `platform` are imported, since this runs at every start of Python.
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
"""Environment variables and their values. A value set by the user takes precedence."""

_FLAGS: Final = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_fp16", "amx_tile")
"""CPU flags that are recorded: those by which the libraries select kernels."""


def pin() -> None:
    """Set the variables that the user has not set; without effect on loaded libraries (`state`)."""
    for name, value in PINNED.items():
        os.environ.setdefault(name, value)
    # Its sums depend on the number of threads. Matrices are small here, and threads that wait for
    # the next one would take the cores from torch's.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def state() -> dict[str, Any]:
    """The pinned variables, the CPU, and whether the pin is effective; recorded in provenance.

    Returns:
        pinned: value of each variable of `PINNED` in this process.
        own: variables that the user has set to another value.
        offers: architecture and relevant instruction sets of the processor.
        honoured: whether bytes equal those of other pinned machines; if not, `reason` says why.
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
    """Instruction sets of the processor, as Linux names them; empty if unknown."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith("flags")]
    except OSError:
        return frozenset()
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()


def _why_not(own: list[str]) -> str:
    """Why bytes of this process may differ from those of other machines; empty if they do not."""
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
    """Libraries that were imported before `sacd` and use other instructions than the pinned."""
    late = []
    if "numpy" in sys.modules:
        # Here, since this module must not be the one that loads NumPy.
        from numpy._core._multiarray_umath import __cpu_features__ as features

        if features.get("X86_V4") or not features.get("X86_V3", True):
            late.append("numpy")
    torch = sys.modules.get("torch")
    # While torch itself is being imported, it has no `backends` yet.
    if torch and hasattr(torch, "backends") and torch.backends.cpu.get_cpu_capability() != "AVX2":
        late.append("torch")
    return late


def warning() -> str:
    """One line for the user if bytes will differ from other machines' bytes, else empty."""
    found = state()
    if found["honoured"]:
        return ""
    return (
        f"note: {found['reason']}: bytes will differ from the committed ones, "
        "verify judges by statistics"
    )


pin()
