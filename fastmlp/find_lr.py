"""The learning-rate range test: a short run at a rising rate shows which rates learn (Smith 2017)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import numpy as np

from .backend import kernels
from .config import TrainConfig
from .data import Dataset
from .errors import Interrupted, RunError
from .loop import Observer, Run
from .plan import plan

_LOWEST, _HIGHEST = 1e-5, 10.0
_STEPS = 600
_SMOOTHING = 0.95
_DIVERGED = 3.0  # times the least smoothed loss: no higher rate will do
_MARGIN = 3.0  # below the rate of the least loss, which is already near the edge


@dataclass(frozen=True)
class RangeTest:
    """Rates [S], the batches' mean losses at them, smoothed [S], and the peak rate that they suggest."""

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Exponential moving average, its start corrected as in Adam."""
    smooth, average = np.empty(len(losses)), 0.0
    for k, loss in enumerate(losses):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smooth[k] = average / (1 - _SMOOTHING ** (k + 1))
    return smooth


def find_lr(data: Dataset, config: TrainConfig, observer: Observer | None = None) -> RangeTest:
    """Train for up to 600 steps at rates from 1e-5 to 10, each a constant factor above the last, until the loss diverges.

    The suggestion is a third of the rate where the smoothed loss is least. RunError when the loss never falls.
    """
    observer = observer or Observer()
    rates = np.geomspace(_LOWEST, _HIGHEST, _STEPS)
    threads = contextlib.nullcontext() if config.threads is None else kernels.threads(config.threads)
    with threads:
        planned = plan(data, config, observer.chosen)
        run = Run(replace(planned, config=replace(planned.config, epochs=None, steps=_STEPS)), observer)
        run.rates = lambda start, stop: rates[start:stop]
        run.warm_up()
        batches = run.batches
        sizes = np.full(_STEPS, batches.batch_size)  # but for the last of an epoch
        sizes[batches.steps_per_epoch - 1 :: batches.steps_per_epoch] -= (-batches.samples) % batches.batch_size
        with contextlib.closing(batches), contextlib.suppress(RunError):  # the end of the range
            while run.step < _STEPS:
                run.advance(min(20, _STEPS - run.step))
                if observer.stop():
                    raise Interrupted
                smooth = _smooth(np.array(run.losses) / sizes[: run.step])
                if smooth[-1] > _DIVERGED * smooth.min():
                    break
    losses = np.array(run.losses) / sizes[: run.step]
    smooth = _smooth(losses[np.isfinite(losses)])
    best = int(smooth.argmin()) if len(smooth) else 0
    if best == 0:
        raise RunError(f"--find-lr: the loss does not fall at any rate from {_LOWEST:g} to {_HIGHEST:g}")
    return RangeTest(rates[: len(smooth)], smooth, float(rates[best] / _MARGIN))
