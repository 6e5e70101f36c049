"""Distillation methods, one a file. `base.py` says what a method is; `build` makes one by name."""

from sacd.losses.base import Batch, Context, Method, build

__all__ = ["Batch", "Context", "Method", "build"]
