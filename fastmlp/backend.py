"""The one place that imports ``kernels``: the fast ops, or their definitions in NumPy, under the same names."""

from __future__ import annotations

import sys
from types import ModuleType

import kernels

from .errors import InputError

if not hasattr(kernels, "__fastmlp__"):
    raise InputError(
        f"`import kernels` found another package at {kernels.__file__ or kernels.__path__[0]}, not fastmlp's; "
        f"install fastmlp in an environment of its own, or remove that package "
        f"({sys.executable} -m pip uninstall kernels) and reinstall fastmlp"
    )

if kernels.jit.config.DISABLE_JIT:
    raise InputError("NUMBA_DISABLE_JIT is set; the kernels exist only compiled (unset it, or use kernels.reference)")
try:
    kernels.get_num_threads()
except ValueError as error:  # $FASTMLP_NUM_THREADS
    raise InputError(str(error)) from None

from kernels import CSR, Network, Rule

__all__ = ["CSR", "Network", "Rule", "kernels", "ops"]


def ops(backend: str) -> ModuleType:
    """The module of ops that ``backend`` names: numba or reference."""
    return kernels.reference if backend == "reference" else kernels
