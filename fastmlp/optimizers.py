"""Update rules and learning-rate schedules of a run."""

from __future__ import annotations

import numpy as np

from .backend import Rule, kernels
from .config import TrainConfig

_WARM_UP = 0.15  # part of a one-cycle run in which the rate rises


def rule(config: TrainConfig) -> Rule:
    """The kernels' update rule for this run."""
    decay = config.weight_decay
    if config.optimizer == "sgd":
        return kernels.sgd(weight_decay=decay)
    if config.optimizer == "momentum":
        return kernels.momentum(config.momentum, nesterov=config.nesterov, weight_decay=decay)
    return (kernels.adam if config.optimizer == "adam" else kernels.adamw)(weight_decay=decay)


def learning_rates(config: TrainConfig, start: int, stop: int, total: int) -> np.ndarray:
    """The rates of steps start .. stop-1 of ``total``, float64.

    constant: the peak. cosine: peak * (1 + cos(pi * s)) / 2 at s = step / total. onecycle: linearly from 0 to the peak
    over the first 15 % of the run and linearly back to 0 (Smith and Topin 2018), never 0 itself.
    """
    step = np.arange(start, stop, dtype=np.float64)
    if config.schedule == "constant":
        return np.full(len(step), config.peak_lr)
    if config.schedule == "cosine":
        return config.peak_lr * 0.5 * (1 + np.cos(np.pi * step / total))
    warm = max(1.0, _WARM_UP * total)
    return config.peak_lr * np.minimum((step + 1) / warm, (total - step) / max(1.0, total - warm + 1)).clip(0, 1)
