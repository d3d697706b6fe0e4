"""The lessons of ``kernels.lessons`` run, and all of them take the same step."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from kernels.lessons.__main__ import LESSONS, problem

LR = 0.01


@pytest.mark.slow
def test_every_lesson_takes_the_step_of_the_first():
    """In float64 and with sums of at most 136 terms: a thousand roundings of the largest number are beyond all differences."""
    given = problem(batch=8, inputs=136, dtype="float64")  # a block of DEPTH inputs and a tile more
    losses, results = [], []
    for name in LESSONS:
        X, labels, W1, W2 = (array.copy() for array in given)
        losses.append(import_module(f"kernels.lessons.{name}").step(X, labels, W1, W2, LR))
        results.append((W1, W2))
        assert all(np.array_equal(have, want) for have, want in zip((X, labels), given)), name
    moved = max(np.abs(results[0][k] - given[2 + k]).max() for k in range(2))
    for name, loss, weights in zip(LESSONS, losses, results):
        for have, want in zip((loss, *weights), (losses[0], *results[0])):
            difference = np.abs(have - want).max()
            assert difference <= 1000 * np.finfo(np.float64).eps * np.abs(want).max() < moved / 1e6, name
