"""The loss and the units of a network that predicts numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..backend import kernels
from ..config import loss_and_parameters
from ..errors import InputError


def kernel_of(loss: str) -> Any:
    """The kernels' loss for a value of --loss. ValueError for impossible parameters."""
    name, parameters = loss_and_parameters(loss)
    given = (parameters,) if name == "quantile" else parameters
    return kernels.LOSSES[name](*given if parameters else ())


@dataclass(frozen=True, eq=False)
class Target:
    """The targets y [N, T] of a regression. The network learns (y - mean) / std; ``mean`` and ``std`` are float64 [T].

    ``loss`` is a value of --loss: a name of ``kernels.LOSSES``, and behind a colon its parameters.
    """

    loss: str
    mean: np.ndarray
    std: np.ndarray

    @cached_property
    def kernel(self) -> Any:
        """The kernels' loss. ValueError for impossible parameters."""
        return kernel_of(self.loss)

    @property
    def outputs(self) -> int:
        """The number of the network's outputs."""
        return len(self.mean) * int(self.kernel.each)

    def require(self, y: np.ndarray, source: str) -> None:
        """InputError for a number of y for which the loss is not defined."""
        low, name = float(y.min()), self.kernel.name
        if self.kernel.output == "exponential" and (low < 0 or (low == 0 and name == "gamma")):
            wanted = "above 0" if name == "gamma" else "of at least 0"
            asked = f"--loss {name} takes numbers {wanted}"
            raise InputError(f"{source}: the number to predict is {low:g} in a row; {asked}")

    def encoded(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        """The numbers y [N] or [N, T] in the network's units and dtype, [N, T]."""
        return ((y.reshape(len(y), len(self.mean)) - self.mean) / self.std).astype(dtype)

    def numbers(self, Z: np.ndarray) -> np.ndarray:
        """The predictions, float64 [N] or [N, outputs], for the network's outputs Z."""
        each = int(self.kernel.each)
        mean, std = (np.repeat(values, each) for values in (self.mean, self.std))
        predicted = self.kernel.predict(Z.astype(np.float64)) * std + mean
        return predicted[:, 0] if predicted.shape[1] == 1 else predicted


def central(predicted: np.ndarray, kernel: Any) -> np.ndarray:
    """The predictions of the quantile nearest the median, if the loss ``kernel`` has several; else all predictions."""
    if kernel.each == 1:
        return predicted
    nearest = int(np.abs(np.asarray(kernel.quantiles) - 0.5).argmin())
    found = predicted[:, nearest :: kernel.each]
    return found[:, 0] if found.shape[1] == 1 else found


def target_of(y: np.ndarray, loss: str, weights: np.ndarray | None, source: str) -> Target:
    """The target of a run, with the weighted mean and deviation of the training samples' y [N].

    If the network predicts a logarithm, it is that of y / mean. InputError for constant numbers, and for numbers for
    which the loss is not defined.
    """
    low, high = float(y.min()), float(y.max())
    if low == high:
        raise InputError(
            f"{source}: the number to predict is {low:g} in all training rows; it must differ: is it the right column?"
        )
    target = Target(loss, np.zeros(1), np.ones(1))
    target.require(y, source)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        mean = float(np.average(y, weights=weights))
        if target.kernel.output == "exponential":
            mean, std = 0.0, mean
        else:
            std = math.sqrt(np.average(np.square(y - mean), weights=weights))
    if not float(np.finfo(np.float32).tiny) < std < math.inf:  # it is infinite or NaN where the mean is
        raise InputError(
            f"{source}: the numbers to predict, from {low:.3g} to {high:.3g}, are too large or too small to "
            "standardise; scale them by a power of ten"
        )
    return Target(loss, np.array([mean]), np.array([std]))


def number_scores(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float]:
    """rmse, mae and r2 of the ``predicted`` numbers for y [N], or their means over the columns of [N, T].

    R² = 1 - sum (y - p)² / sum (y - mean)²; where all y are equal it is 1 for p = y, else 0. ``weights`` [N] is what
    each row counts.
    """
    Y, P = y.reshape(len(y), -1).astype(np.float64), predicted.reshape(len(y), -1)
    mean = partial(np.average, axis=0, weights=weights)
    squares, around = mean(np.square(P - Y)), mean(np.square(Y - mean(Y)))
    differ = Y.max(0) != Y.min(0)  # the mean of equal numbers may be another number; with a NaN R² is NaN, too
    parts = np.divide(squares, around, out=(squares > 0).astype(np.float64), where=differ)
    return {
        "rmse": float(np.sqrt(squares).mean()),
        "mae": float(mean(np.abs(P - Y)).mean()),
        "r2": float((1 - parts).mean()),
    }


def scored(rmse: float, r2: float, mae: float | None = None) -> str:
    """RMSE and R² as text; with the MAE, as of a result, also that always the mean would have been better."""
    text = f"RMSE {rmse:.4g}, R² {r2:.3f}"
    return text if mae is None else f"{text}{' (always the mean: 0)' * (r2 < 0)}, MAE {mae:.4g}"
