"""fastmlp: train and run multilayer perceptrons on a CPU, on fused Numba kernels.

import fastmlp
data = fastmlp.load("mnist")
result = fastmlp.fit(data, hidden=(256,), epochs=5)  # or fit(X, y, ...): arrays, data frames
result.model.predict(data.X_test)
result.model.save("model.npz")  # for fastmlp.load_model

MLPClassifier and MLPRegressor are scikit-learn's, faster; TableClassifier and TableRegressor are for tables with text,
dates and gaps; export writes a model for other programs.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType
from typing import TYPE_CHECKING, Any

from .errors import in_python

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .config import TrainConfig
    from .data import Dataset, load
    from .errors import InputError, Interrupted, RunError
    from .estimator import MLPClassifier, MLPRegressor, TableClassifier, TableRegressor
    from .export import export
    from .fitting import fit
    from .models.loading import load_model
    from .models.model import Model
    from .training.loop import EpochReport, NumbersReport, Observer, Progress, Result

# Imported when first used, so that `--help` does not wait for Numba.
_NAMES = {
    "config": "TrainConfig",
    "data": "Dataset load",
    "errors": "InputError Interrupted RunError",
    "estimator": "MLPClassifier MLPRegressor TableClassifier TableRegressor",
    "export": "export",
    "fitting": "fit",
    "models.loading": "load_model",
    "training.loop": "EpochReport NumbersReport Observer Progress Result",
    "models.model": "Model",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Dataset", "EpochReport", "InputError", "Interrupted", "Model", "NumbersReport", "Observer", "Progress", "Result",
    "RunError", "TrainConfig", "export", "fit", "load", "load_model",
]  # fmt: skip
if find_spec("sklearn") is not None:
    __all__ += ["MLPClassifier", "MLPRegressor", "TableClassifier", "TableRegressor"]


@cache
def _importing() -> Any:
    """The lock for which a fork waits, made by the first of fastmlp and kernels: there it is explained."""
    import logging  # noqa: F401 (not for --help)

    lock = threading.RLock()
    shared = vars(threading).setdefault("fastmlp_importing", lock)
    if shared is lock and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return shared


def __getattr__(name: str) -> Any:
    if name in _HOME:
        with _importing():
            module = import_module(f".{_HOME[name]}", __name__)
        value = module if name == _HOME[name] else getattr(module, name)  # ``export`` is a module that can be called
        return globals().setdefault(name, in_python(value) if isinstance(value, FunctionType) else value)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, for Tab and ``help``; the estimators only if scikit-learn is installed."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
