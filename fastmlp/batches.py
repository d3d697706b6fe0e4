"""Which rows make each batch: seeded, and the same for every backend and number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np


class Batches:
    """Row numbers of the batches of a run, in order.

    ``epoch``: every epoch a new permutation of all rows, cut into batches; the last of an epoch may be short. ``draw``:
    every batch distinct rows at random.
    """

    def __init__(self, samples: int, batch_size: int, sampling: str, rng: np.random.Generator) -> None:
        self.samples, self.sampling, self._rng = samples, sampling, rng
        self.batch_size = min(batch_size, samples)
        self.steps_per_epoch = -(-samples // self.batch_size)
        self._order = np.empty(0, np.int64)
        self._before = self._rng.bit_generator.state  # the random state that this epoch's order was drawn from

    def rows(self, step: int, count: int) -> np.ndarray:
        """The rows of steps ``step`` .. ``step + count - 1``, which must lie in one epoch and be asked for in order."""
        if self.sampling == "draw":
            return np.concatenate(
                [self._rng.choice(self.samples, self.batch_size, replace=False) for _ in range(count)]
            )
        first = step % self.steps_per_epoch
        if first == 0:
            self._permute()
        return self._order[first * self.batch_size : (first + count) * self.batch_size]

    def _permute(self) -> None:
        self._before = self._rng.bit_generator.state
        self._order = self._rng.permutation(self.samples)

    def left_in_epoch(self, step: int) -> int:
        """Steps from ``step`` to the end of its epoch."""
        return self.steps_per_epoch - step % self.steps_per_epoch

    def state(self, step: int) -> dict[str, Any]:
        """What ``resume`` needs to go on at ``step``, the next to be asked for."""
        inside = self.sampling == "epoch" and step % self.steps_per_epoch != 0
        return dict(self._before if inside else self._rng.bit_generator.state)

    def resume(self, step: int, state: dict[str, Any]) -> None:
        """Go on at ``step`` as the run did that gave this ``state``. ValueError, TypeError or KeyError for another."""
        self._rng.bit_generator.state = state
        if self.sampling == "epoch" and step % self.steps_per_epoch != 0:
            self._permute()
