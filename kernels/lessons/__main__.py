"""Time the lessons in turns and print the milliseconds of a step of each.

    python -m kernels.lessons        # all of them, and the library
    python -m kernels.lessons 2 3    # some

Compiling them takes about half a minute. The lessons are timed in turns, so what slows the machine slows all of them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module

import numpy as np

import kernels
from kernels.peak import peak_gflops

LESSONS = {
    "lesson0_numpy": "NumPy",
    "lesson1_loops": "plain loops",
    "lesson2_vectors": "vectors",
    "lesson3_tiles": "register tiles and packing",
    "lesson4_fused": "fusing ReLU and the update",
    "lesson5_zeros": "skipping zeros",
    "lesson6_threads": "threads",
}
LIBRARY = "the library"


def problem(
    batch: int = 128, inputs: int = 784, hidden: int = 256, outputs: int = 10, dtype: str = "float32"
) -> tuple[np.ndarray, ...]:
    """X, labels, W1 and W2: made-up images with as many zeros as MNIST's, and small random weights."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((batch, inputs)) < 0.19, rng.random((batch, inputs)), 0).astype(dtype)
    labels = rng.integers(0, outputs, batch)
    W1, W2 = (
        (rng.standard_normal(shape) / shape[0] ** 0.5).astype(dtype) for shape in ((inputs, hidden), (hidden, outputs))
    )
    return X, labels, W1, W2


def steps(numbers: list[int]) -> dict[str, Callable[[], None]]:
    """By title, a call that takes one step, for each of these lessons and, if they are all, for the library."""
    X, labels, W1, W2 = problem()

    def of_lesson(name: str) -> Callable[[], None]:
        step, weights = import_module(f"kernels.lessons.{name}").step, (W1.copy(), W2.copy())
        return lambda: step(X, labels, *weights, 1e-4)

    network = kernels.Network((784, 256, 10), bias=False)
    for (W, _), start in zip(network.layers, (W1, W2)):
        W[...] = start
    samples, rows, lr = kernels.csr(X), np.arange(128), np.array([1e-4])

    def of_library() -> None:
        kernels.mlp_train_steps(samples, labels, rows, 128, network, rule=kernels.sgd(), lr=lr, mean=False)

    found = {title: of_lesson(name) for k, (name, title) in enumerate(LESSONS.items()) if k in numbers}
    return found | ({LIBRARY: of_library} if len(found) == len(LESSONS) else {})


def measure(numbers: list[int], rounds: int = 7, block: int = 100) -> dict[str, list[float]]:
    """Seconds of a step in each round: the mean of a block of steps, after a pause and one untimed step."""
    calls = steps(numbers)
    seconds: dict[str, list[float]] = {title: [] for title in calls}
    for call in calls.values():
        call()  # compiles
    for _ in range(rounds):
        for title, call in calls.items():
            time.sleep(0.2)  # a BLAS keeps its threads spinning for a tenth of a second after a call
            call()
            start = time.perf_counter()
            for _ in range(block):
                call()
            seconds[title].append((time.perf_counter() - start) / block)
    return seconds


def product_speed() -> float:
    """GFLOP/s of lesson 3's X @ W1, on one thread."""
    multiply = import_module("kernels.lessons.lesson3_tiles").multiply
    X, _, W1, _ = problem()
    Y = np.empty((len(X), W1.shape[1]), X.dtype)
    best = np.inf
    for _ in range(100):
        start = time.perf_counter()
        multiply(X, W1, Y)
        best = min(best, time.perf_counter() - start)
    return 2 * X.size * W1.shape[1] / best / 1e9


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        "python -m kernels.lessons",
        description="Time a training step of each lesson, and of the library. Compiling takes half a minute.",
    )
    every = range(len(LESSONS))

    def lesson(text: str) -> int:  # not choices=: Python 3.11 holds the empty list against them
        return every.index(int(text))

    parser.add_argument("numbers", metavar="N", type=lesson, nargs="*", help="lessons to time, 0 to 6 (default: all)")
    numbers = parser.parse_args(arguments).numbers or [*every]
    print("compiling ...", flush=True)
    before = None
    for title, seconds in measure(numbers).items():
        median = statistics.median(seconds)
        gain = "" if before is None else f"{before / median:6.1f} times as fast as the row above"
        print(f"{title:28}{1e3 * median:7.3f} ms{gain}")
        before = median
    if 3 in numbers:
        with kernels.threads(1):
            peak = peak_gflops()
        speed = product_speed()
        print(f"The product X @ W1 of lesson 3: {speed:.0f} GFLOP/s on one thread, {speed / peak:.0%} of its peak")


if __name__ == "__main__":
    main(sys.argv[1:])
