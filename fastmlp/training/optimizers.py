"""Update rules and learning-rate schedules of a run."""

from __future__ import annotations

import inspect

import numpy as np

from ..backend import kernels
from ..config import TrainConfig


def rule(config: TrainConfig) -> kernels.Rule:
    """The kernels' update rule for this run; constants that are no options keep their defaults."""
    make = kernels.RULES[config.optimizer]
    options = {"beta": config.momentum, "nesterov": config.nesterov, "weight_decay": config.weight_decay}
    taken = inspect.signature(make).parameters
    return make(**{name: value for name, value in options.items() if name in taken})


def learning_rates(config: TrainConfig, start: int, stop: int, total: int, steps_per_epoch: int) -> np.ndarray:
    """The rates of steps start .. stop-1 of ``total``, float64.

    During ``warmup`` (by default 15 % of the run for onecycle, else none) the rate rises linearly to the peak. Then it

    - stays (constant);
    - falls as peak * (1 + cos(pi * s)) / 2 with s from 0 to 1 (cosine);
    - falls linearly towards 0 (onecycle, Smith and Topin 2018);
    - is the peak times ``step_factor`` for each ``step_epochs`` since the start, by default a third of the run (step).
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
