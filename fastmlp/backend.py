"""The one place that imports ``kernels``: the fast ops, or their definitions in NumPy, under the same names."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType

import kernels

from .errors import InputError, restated

if not hasattr(kernels, "__fastmlp__"):
    raise InputError(
        f"`import kernels` found another package at {kernels.__file__ or kernels.__path__[0]}, not fastmlp's; "
        f"install fastmlp in an environment of its own, or remove that package "
        f"({sys.executable} -m pip uninstall kernels) and reinstall fastmlp"
    )

if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
    raise InputError("NUMBA_DISABLE_JIT is set; the kernels exist only compiled (unset it, or use kernels.reference)")
with restated(ValueError, InputError):  # for $FASTMLP_NUM_THREADS
    kernels.get_num_threads()

from kernels import Network, folders

__all__ = ["Network", "folders", "kernels", "ops", "quick_ops", "threads"]

_quickly = 1 << 23
"""Weights times rows that this process may still compute without the kernels: 40 ms, where loading them takes 0.4 s."""


def threads(count: int | None) -> AbstractContextManager[None]:
    """``kernels.threads``, or, for None, as many as there are."""
    return nullcontext() if count is None else kernels.threads(count)


def ops(backend: str) -> ModuleType:
    """The module of ops that ``backend`` names: numba or reference."""
    return kernels.reference if backend == "reference" else kernels


def quick_ops(backend: str, weights: int, rows: int) -> ModuleType:
    """``ops``, or the reference for the first few rows of a process that has not loaded the kernels."""
    global _quickly
    if "kernels.ops" not in sys.modules and weights * rows <= _quickly:
        _quickly -= weights * rows
        return ops("reference")
    return ops(backend)
