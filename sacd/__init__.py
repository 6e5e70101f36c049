"""SACD: sleep stages from infrared video, taught by EEG (arXiv:2208.05814)."""

from sacd import cpu  # noqa: F401 (pins the instruction set before NumPy or torch is imported)

__version__ = "0.1.0"
