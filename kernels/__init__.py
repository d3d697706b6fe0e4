"""Fused CPU kernels for multilayer perceptrons, in Numba.

Ops take NumPy arrays and check them; ``kernels.reference`` defines every op in plain NumPy under the same name;
``kernels.raw`` has the unchecked forms for your own ``@njit`` code; ``kernels.simd`` is a vector type for Numba.
Nothing is compiled before the first call, and compiled code is kept in a cache directory (``$FASTMLP_CACHE``).
"""

import logging  # noqa: F401 (before the hook below: see there)
import os
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # with ``as`` or ``*``: type checkers take other imported names for private ones
    from . import jit as jit
    from . import raw as raw
    from . import reference as reference
    from . import simd as simd
    from .activations import ACTIVATIONS as ACTIVATIONS
    from .ahead import cache_info as cache_info
    from .ahead import warmup as warmup
    from .cores import get_num_threads as get_num_threads
    from .cores import set_num_threads as set_num_threads
    from .cores import threads as threads
    from .csr_matrix import CSR as CSR
    from .jit import kernel as kernel
    from .losses import LOSSES as LOSSES
    from .losses import custom_loss as custom_loss
    from .network import Network as Network
    from .ops import *  # noqa: F403
    from .peak import peak_gflops as peak_gflops
    from .predictor import Predictor as Predictor
    from .team import parallel as parallel
    from .update import RULES as RULES
    from .update import Rule as Rule
    from .update import adam as adam
    from .update import adamw as adamw
    from .update import lion as lion
    from .update import momentum as momentum
    from .update import sgd as sgd

__version__ = "0.1.0"
# Tells this package from others on the Python package index that also install a top-level `kernels`.
__fastmlp__ = __version__

# Each name is imported at its first use: importing Numba takes longer than a small prediction by ``reference``.
_NAMES = {
    "activations": "ACTIVATIONS",
    "ahead": "cache_info warmup",
    "cores": "get_num_threads set_num_threads threads",
    "csr_matrix": "CSR",
    "jit": "kernel",
    "losses": "custom_loss LOSSES",
    "network": "Network",
    "ops": (
        "adam_update csr distort dropout linear_backward_input linear_backward_update linear_backward_weight "
        "linear_forward linear_relu_forward loss_gradient mlp_forward mlp_gradient mlp_train_steps mlp_update "
        "momentum_update sgd_update softmax softmax_cross_entropy"
    ),
    "peak": "peak_gflops",
    "predictor": "Predictor",
    "team": "parallel",
    "update": "adam adamw lion momentum Rule RULES sgd",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

_PUBLIC_MODULES = ("jit", "raw", "reference", "simd")
_MODULES = (*_PUBLIC_MODULES, "activations", "bfloat16", "mlp", "sparse", "team", "tuning")

__all__ = sorted([*_HOME, *_PUBLIC_MODULES])

# A child forked while another thread imports a module would inherit that module's lock and wait for ever: a fork waits
# for this lock. It is one for fastmlp and kernels, and its hook was registered after logging's, so that it runs before
# that: else the forking thread would hold kernels' lock, or logging's, and the importing thread fastmlp's, and each
# would wait for the other.
_importing = vars(threading).setdefault("fastmlp_importing", threading.RLock())
_fork_waits_for = [_importing]  # in this order; ``jit`` puts Numba's lock first
_held_by_fork: list[Any] = []


def _before_fork() -> None:
    while True:
        locks = list(_fork_waits_for)
        for lock in locks:
            lock.acquire()
        if locks == _fork_waits_for:
            break
        _release(locks)  # ``jit`` was imported meanwhile, and its lock comes first
    _held_by_fork[:] = locks


def _release(locks: list[Any]) -> None:
    while locks:
        locks.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _release(_held_by_fork),
        after_in_child=lambda: _release(_held_by_fork),
    )


def __getattr__(name: str) -> Any:
    if name in _HOME or name in _MODULES:
        with _importing:
            module = import_module(f".{_HOME.get(name, name)}", __name__)
            value = globals()[name] = getattr(module, name) if name in _HOME else module
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
