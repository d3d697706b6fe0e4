"""A learning rate from the range test (Smith 2017), judged by what short runs reach.

A run at a rising rate shows where the loss begins to rise. The best rate was between that rate and a sixth of it,
depending on the data and the rule. So short runs at several of these rates, and at the default rate, are compared by
their loss on held-out training samples.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace

import numpy as np

from ..config import TrainConfig
from ..data import Dataset
from ..errors import RunError
from .loop import Observer, Run, on_threads
from .plan import Plan, plan

_LOWEST, _HIGHEST = 1e-5, 10.0
_STEPS = 600
_SMOOTHING = 0.95
_DIVERGED = 3.0  # times the least smoothed loss ends the range test
_DIVISORS = (6.0, 3.0, 2.0, 1.4)  # of the rate with the least loss, beyond which training diverges soon
_TRIAL_STEPS = 2000  # at most
_HELD_OUT = 0.1


@dataclass(frozen=True)
class Trial:
    """A short run: its peak rate, and its loss and, of classes, accuracy on held-out training samples."""

    rate: float
    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class RangeTest:
    """Rates [S], the smoothed mean losses of their batches [S], the trials, and the rate of the best trial."""

    rates: np.ndarray
    losses: np.ndarray
    trials: tuple[Trial, ...]
    suggestion: float


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Exponential moving average, its start corrected as in Adam; it ends where the loss diverges, not with a chunk."""
    smooth, average, least = [], 0.0, math.inf
    for k, loss in enumerate(losses):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smooth.append(average / (1 - _SMOOTHING ** (k + 1)))
        least = min(least, smooth[-1])
        if smooth[-1] > _DIVERGED * least:
            break
    return np.array(smooth)


def find_lr(data: Dataset, config: TrainConfig, observer: Observer | None = None) -> RangeTest:
    """Train up to 600 steps at rates from 1e-5 to 10, each a constant factor above the last, until the loss diverges.

    Then run up to 2,000 steps at fractions of the rate with the least smoothed loss, and at the default rate, and
    suggest the rate that is best on held-out training samples. RunError when the loss never falls.
    """
    observer = observer or Observer()
    watched = replace(config, patience=None, validation=config.validation or _HELD_OUT)
    with on_threads(config.threads):
        return _range_test(plan(data, watched, observer.chosen), observer)


def _range_test(planned: Plan, observer: Observer) -> RangeTest:
    """The range test and the trials on prepared samples."""
    rates = np.geomspace(_LOWEST, _HIGHEST, _STEPS)
    run = Run(replace(planned, config=replace(planned.config, epochs=None, steps=_STEPS)), observer)
    run.rates = lambda start, stop: rates[start:stop]
    run.warm_up()
    batches = run.batches
    sizes = np.full(_STEPS, batches.batch_size)
    if batches.sampling == "epoch":  # whose last batch may be short
        sizes[batches.steps_per_epoch - 1 :: batches.steps_per_epoch] -= (-batches.samples) % batches.batch_size
    with contextlib.closing(batches), contextlib.suppress(RunError):  # the end of the range
        while run.step < _STEPS:
            run.advance(min(20, _STEPS - run.step))
            run.stop_or_save()
            if len(_smooth(np.array(run.losses) / sizes[: run.step])) < run.step:
                break
    losses = np.array(run.losses) / sizes[: run.step]
    smooth = _smooth(losses[np.isfinite(losses)])
    best = int(smooth.argmin()) if len(smooth) else 0
    if best == 0:
        raise RunError(f"--find-lr: the loss does not fall at any rate from {_LOWEST:g} to {_HIGHEST:g}")
    tried = sorted({planned.config.peak_lr, *(float(rates[best] / part) for part in _DIVISORS)})
    steps = min(planned.config.total_steps(batches.steps_per_epoch), _TRIAL_STEPS)
    trials = []
    for rate in tried:
        with contextlib.suppress(RunError):  # it diverged
            config = replace(planned.config, lr=rate, epochs=None, steps=steps)
            trials.append(_trial(replace(planned, config=config), observer))
    if not trials:
        raise RunError(f"--find-lr: training diverges at every rate from {tried[0]:.2g} to {tried[-1]:.2g}")
    return RangeTest(rates[: len(smooth)], smooth, tuple(trials), min(trials, key=lambda trial: trial.loss).rate)


def _trial(planned: Plan, observer: Observer) -> Trial:
    run, rate = Run(planned, Observer(stop=observer.stop)), planned.config.peak_lr
    with contextlib.closing(run.batches):
        while not run.finished:
            last = run.until_report()
            run.stop_or_save()
    assert last.validation_loss is not None
    accuracy = getattr(last, "validation_accuracy", None)
    shown = last.headline("validation") if accuracy is None else f"accuracy {accuracy:.2%}"
    observer.say(f"lr {rate:.2g}: held-out loss {last.validation_loss:.4f}, {shown}")
    return Trial(rate, last.validation_loss, accuracy)
