"""The one place that imports ``kernels``: the fast ops, or their definitions in NumPy, under the same names."""

from __future__ import annotations

import sys
from types import ModuleType

from .errors import InputError


def _import_kernels() -> ModuleType:
    import kernels

    if not hasattr(kernels, "__fastmlp__"):
        where = getattr(kernels, "__file__", None) or list(getattr(kernels, "__path__", ["?"]))[0]
        raise InputError(
            f"`import kernels` found another package at {where}, not fastmlp's; install fastmlp in an environment "
            f"of its own, or remove that package ({sys.executable} -m pip uninstall kernels) and reinstall fastmlp"
        )
    return kernels


kernels = _import_kernels()


def ops(backend: str) -> ModuleType:
    """The module of ops that ``backend`` names: numba or reference."""
    return kernels.reference if backend == "reference" else kernels
