"""Which rows make each batch: seeded, and the same for every backend and number of threads."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from ..errors import RunError

_RUNS = 1024  # the least number of runs of consecutive rows in a window


@dataclass(frozen=True, eq=False)
class Window:
    """The samples of the steps ``first`` .. ``stop`` - 1: batches of ``X[rows]``, one after another.

    ``number`` counts the run's windows. ``state_before`` is that of the random numbers before its epoch's order was
    drawn, ``state_after`` that after its own. What ``Batches.fill_with`` was given sets ``X``, ``y`` and ``weights``.
    """

    first: int
    stop: int
    number: int
    rows: np.ndarray
    state_before: Mapping[str, Any]
    state_after: Mapping[str, Any]
    X: Any = None
    y: Any = None
    weights: Any = None


class _Ahead:
    """``next`` of it is that of ``items``, made in a thread while the item before it is in use.

    It is the same thread for all items, since each thread has a heap of its own and keeps memory that is freed in it.
    """

    def __init__(self, items: Iterator[Window]) -> None:
        from concurrent.futures import ThreadPoolExecutor  # here: most runs read nothing meanwhile

        self._items, self._reader = items, ThreadPoolExecutor(1, "fastmlp-reader")
        try:
            self._next = self._reader.submit(next, items)
        except RuntimeError as error:
            raise RunError(f"the thread that reads ahead cannot be started ({error})") from None

    @property
    def busy(self) -> bool:
        return not self._next.done()

    def __next__(self) -> Window:
        window = self._next.result()
        self._next = self._reader.submit(next, self._items)
        return window

    def close(self) -> None:
        self._reader.shutdown()


class Batches:
    """Row numbers of a run's batches, in order.

    With sampling ``epoch`` each epoch is a new permutation of all rows, cut into batches of which the last may be
    short. With ``draw`` each batch has distinct random rows.

    If only ``most`` rows, a multiple of the batch, fit in memory, an epoch goes through windows of nearly as many rows,
    each shuffled. A window consists of n >= 1024 runs of window // 1024 consecutive rows (single rows in a small
    window), drawn without replacement from the M runs of the file. Let s² be the variance, over runs, of a class's
    share p in a run. Then its share in a window has the variance s²/n (M - n)/(M - 1), where s² <= p(1 - p) <= 1/4,
    with equality if each run has one class. So even in a file sorted by class the standard deviation is at most
    1/(2 sqrt(1024)) = 1.6 %. (A window may share two runs with its neighbours, and the file's last run may be shorter:
    each is a thousandth of a window.)
    """

    def __init__(
        self, samples: int, batch_size: int, sampling: str, rng: np.random.Generator, most: int | None = None
    ) -> None:
        self.samples, self.sampling, self._rng = samples, sampling, rng
        self.batch_size = min(batch_size, samples)
        self.steps_per_epoch = -(-samples // self.batch_size)
        count = 1 if most is None else -(-samples // most)
        self.window_rows = -(-samples // (count * self.batch_size)) * self.batch_size
        self._fill: Callable[[Window], Window] = lambda window: window
        self._until: int | None = None
        self._windows: Iterator[Window] | _Ahead | None = None
        self._window: Window | None = None

    def fill_with(self, fill: Callable[[Window], Window], *, until: int | None = None) -> None:
        """Let ``fill`` put the samples into the windows; up to step ``until`` in a thread, one window ahead."""
        self._fill, self._until = fill, until

    def window(self, step: int) -> Window:
        """The window of ``step``; steps must be asked for in order."""
        if self._window is None or step >= self._window.stop:
            if self._windows is None:
                # A copy: the thread does not keep self alive.
                windows, until = copy.copy(self)._drawn(step), self._until
                self._windows = map(self._fill, windows)
                if until is not None:
                    last = max(step, until - 1)
                    self._windows = _Ahead(map(self._fill, takewhile(lambda window: window.first <= last, windows)))
            self._window = None  # freed before the next one is used, as a third is being read
            self._window = next(self._windows)
        return self._window

    @property
    def reading(self) -> bool:
        """Whether the thread is reading ahead just now."""
        return isinstance(self._windows, _Ahead) and self._windows.busy

    def rows(self, step: int, count: int) -> np.ndarray:
        """The rows of steps ``step`` .. ``step + count - 1``, which must be in one window and asked for in order."""
        if self.sampling == "draw":
            draws = (self._rng.choice(self.samples, self.batch_size, replace=False) for _ in range(count))
            return np.concatenate([*draws])
        window = self.window(step)
        first = step - window.first
        return window.rows[first * self.batch_size : (first + count) * self.batch_size]

    def _drawn(self, step: int) -> Iterator[Window]:
        """The windows from that of ``step`` on."""
        first = step - step % self.steps_per_epoch
        number = first // self.steps_per_epoch * -(-self.samples // self.window_rows)
        while True:
            before = self._rng.bit_generator.state
            for rows in self._epoch() if self.sampling == "epoch" else [np.empty(0, np.int64)]:
                stop = first + (-(-len(rows) // self.batch_size) or self.steps_per_epoch)
                if stop > step:
                    yield Window(first, stop, number, rows, before, self._rng.bit_generator.state)
                first, number = stop, number + 1

    def _epoch(self) -> Iterator[np.ndarray]:
        """The rows of an epoch's windows."""
        length = max(1, self.window_rows // _RUNS)
        runs = np.arange(0, self.samples, length)
        if self.window_rows < self.samples:
            self._rng.shuffle(runs)
        ends = np.cumsum(np.minimum(length, self.samples - runs))
        for start in range(0, self.samples, self.window_rows):
            places = np.arange(start, min(start + self.window_rows, self.samples))
            run = np.searchsorted(ends, places, side="right")
            rows = places - ends[run] + np.minimum(runs[run] + length, self.samples)
            self._rng.shuffle(rows)
            yield rows

    def state(self, step: int) -> dict[str, Any]:
        """The state from which ``resume`` goes on at ``step``, the next one."""
        window = self._window
        if self.sampling == "draw" or window is None:
            return dict(self._rng.bit_generator.state)
        epoch_ended = step % self.steps_per_epoch == 0 and step == window.stop
        return dict(window.state_after if epoch_ended else window.state_before)

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``. ValueError, TypeError or KeyError for anything else."""
        self._rng.bit_generator.state = state

    def close(self) -> None:
        """End the thread that reads ahead, after the window that it is reading."""
        if isinstance(self._windows, _Ahead):
            self._windows.close()
