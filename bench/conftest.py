"""Benchmarks compare in one run: ours and each peer in turn, round after round, and the ratio of the medians.

Plain ``pytest`` runs every benchmark once, as a test; ``pytest --benchmark-only`` measures.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest

_ROUNDS = 5
_BLOCK_SECONDS = 0.03
_PAUSE_SECONDS = 0.3
_ROWS: list[tuple[str, float, float | None, dict[str, float]]] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    options = config.option
    measuring = options.benchmark_only or options.benchmark_enable or options.benchmark_json
    if not measuring and not options.benchmark_skip:
        options.benchmark_disable = True


def interleave(calls):
    """Median seconds of each call over blocks that take turns.

    Between blocks a pause, and one call untimed: a BLAS keeps its threads spinning for a tenth of a second after a
    call, on cores that whoever comes next would be timed without.
    """
    blocks = {name: [] for name in calls}
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            time.sleep(_PAUSE_SECONDS)
            call()
            times, stop = [], time.perf_counter() + _BLOCK_SECONDS
            while time.perf_counter() < stop or len(times) < 3:
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
            blocks[name].append(statistics.median(times))
    return {name: statistics.median(values) for name, values in blocks.items()}


@pytest.fixture
def compare(benchmark):
    """``compare(group, what, ours, peers)``: run all once; when measuring, time them in turn, keep the ratios.

    ``flop`` is the work of a call; ``each`` how many steps it makes, so that the time of one is told.
    """

    def run(group, what, ours, peers, flop=None, each=1):
        benchmark.group = group
        for call in (ours, *peers.values()):
            call()
        if benchmark.disabled:
            benchmark(ours)
            return
        medians = interleave({"ours": ours, **peers})
        benchmark.pedantic(ours, rounds=20, warmup_rounds=1)
        ratios = {name: medians[name] / medians["ours"] for name in peers}
        gflops = None if flop is None else flop / medians["ours"] / 1e9
        benchmark.extra_info.update({"gflops": gflops, "median_seconds": medians, "times_faster_than": ratios})
        _ROWS.append((f"{group} {what}", medians["ours"] / each, gflops, ratios))

    return run


def pytest_terminal_summary(terminalreporter):
    if not _ROWS:
        return
    terminalreporter.write_sep("=", "side by side, medians of interleaved rounds")
    for name, seconds, gflops, ratios in _ROWS:
        work = "" if gflops is None else f"{gflops:8.1f} GFLOP/s"
        against = "  ".join(f"{ratio:.2f} x {name}" for name, ratio in ratios.items())
        terminalreporter.write_line(f"{name:58s} {seconds * 1e6:11.1f} us {work:17s}  {against}")


@pytest.fixture(scope="session")
def images():
    """The real MNIST where it is at hand, else synthetic digits; (name, X uint8, y)."""
    from fastmlp.data import load
    from fastmlp.data.synthetic import load_synthetic

    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "mnist"
    for place in (os.environ.get("FASTMLP_DATA"), beside):
        if place and (Path(place) / "train-images-idx3-ubyte.gz").exists():
            data = load(str(place))
            return "mnist", data.X, data.y
    data = load_synthetic(n=5000, n_test=10)
    return "synthetic", data.X, data.y


@pytest.fixture
def rng():
    return np.random.default_rng(0)
