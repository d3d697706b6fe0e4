"""Update rules and learning-rate schedules of a run."""

from __future__ import annotations

import inspect

import numpy as np

from ..backend import kernels
from ..config import TrainConfig


def rule(config: TrainConfig) -> kernels.Rule:
    """The kernels' update rule for this run, with those of its constants that are options."""
    make = kernels.RULES[config.optimizer]
    options = {"beta": config.momentum, "nesterov": config.nesterov, "weight_decay": config.weight_decay}
    taken = inspect.signature(make).parameters
    return make(**{name: value for name, value in options.items() if name in taken})


def learning_rates(config: TrainConfig, start: int, stop: int, total: int, steps_per_epoch: int) -> np.ndarray:
    """The rates of steps start .. stop-1 of ``total``, float64.

    In the first ``warmup`` of the run the rate rises linearly to the peak (onecycle: 15 %, else none, unless the option says
    otherwise); after that constant: the peak. cosine: peak * (1 + cos(pi * s)) / 2, s from 0 to 1. onecycle: linearly back
    to 0, never 0 itself (Smith and Topin 2018). step: the peak times ``step_factor`` for each ``step_epochs`` that have passed
    since the start (a third of the run, unless the option says otherwise).
    """
    step = np.arange(start, stop, dtype=np.float64)
    part = (0.15 if config.schedule == "onecycle" else 0.0) if config.warmup is None else config.warmup
    warm = max(1.0, part * total) if part else 0.0
    rising = np.minimum((step + 1) / warm, 1) if warm else np.ones(len(step))
    if config.schedule == "constant":
        falling = np.ones(len(step))
    elif config.schedule == "cosine":
        falling = 0.5 * (1 + np.cos(np.pi * np.maximum(step - warm, 0) / (total - warm)))
    elif config.schedule == "onecycle":
        return config.peak_lr * np.minimum(rising, (total - step) / max(1.0, total - warm + 1)).clip(0, 1)
    else:
        every = steps_per_epoch * config.step_epochs if config.step_epochs else max(1.0, total / 3)
        falling = config.step_factor ** np.floor(step / every)
    return config.peak_lr * rising * falling
