"""Structure-aware contrastive distillation (SACD) from EEG to infrared video, and the methods it is compared with."""

from sacd import cpu  # noqa: F401 (pins the instruction set before NumPy or torch is imported)

__version__ = "0.1.0"
