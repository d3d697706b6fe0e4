"""The lessons of ``kernels.lessons`` run, and all of them take the same step."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module

import numpy as np
import pytest

from kernels.lessons.__main__ import LESSONS, main, problem

LR = 0.01


def given():
    return problem(batch=8, inputs=136, dtype="float64")  # a block of DEPTH inputs and a tile more


def steps_of(names):
    """A step by each of these lessons: its loss and the weights after it."""
    results = []
    for name in names:
        X, labels, W1, W2 = given()
        loss = import_module(f"kernels.lessons.{name}").step(X, labels, W1, W2, LR)
        assert all(np.array_equal(have, want) for have, want in zip((X, labels), given())), name
        results.append((loss, W1, W2))
    return results


@pytest.mark.slow
def test_every_lesson_takes_the_step_of_the_first():
    """In float64 with sums of up to 136 terms: all differences are below a thousand roundings of the largest number."""
    names = list(LESSONS)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:  # it takes long to compile them
        results = [result for half in pool.map(steps_of, (names[:3], names[3:])) for result in half]
    moved = max(np.abs(results[0][1 + k] - given()[2 + k]).max() for k in range(2))
    for name, result in zip(names, results, strict=True):
        for have, want in zip(result, results[0]):
            difference = np.abs(have - want).max()
            assert difference <= 1000 * np.finfo(np.float64).eps * np.abs(want).max() < moved / 1e6, name


def test_all_lessons_are_timed_unless_some_are_named(monkeypatch):
    timed = []
    monkeypatch.setattr("kernels.lessons.__main__.measure", lambda numbers: timed.append(numbers) or {})
    monkeypatch.setattr("kernels.lessons.__main__.product_speed", lambda: 1.0)
    main([])
    main(["0", "2"])
    assert timed == [[*range(7)], [0, 2]]
    with pytest.raises(SystemExit):
        main(["7"])
