"""Benchmarks compare in one run: ours and each peer in turn, round after round, and the ratio of the medians.

Plain ``pytest`` runs every benchmark once, as a test; ``pytest --benchmark-only`` measures.
"""

from __future__ import annotations

import statistics

import numpy as np
import pytest

import claims
import workloads
from interleave import Effort, interleave
from peers import MODULES

_EFFORT = Effort(rounds=5, block_seconds=0.03)
_ROWS: list[tuple[str, float, float | None, dict[str, float]]] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    options = config.option
    measuring = options.benchmark_only or options.benchmark_enable or options.benchmark_json
    if not measuring and not options.benchmark_skip:
        options.benchmark_disable = True


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
        timed = interleave({"ours": ours, **peers}, _EFFORT)
        medians = {name: statistics.median(seconds) for name, seconds in timed.items()}
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
    data = workloads.images()
    return data.name, data.X, data.y


@pytest.fixture
def session(benchmark):
    """What claims.py measures with: every peer that is installed; tiny where nothing is measured."""
    return claims.Session(MODULES, _EFFORT._replace(tiny=benchmark.disabled))


@pytest.fixture
def rng():
    return np.random.default_rng(0)
