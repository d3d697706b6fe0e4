"""Benchmarks compare in one run: ours and each peer in turn, round after round, and the ratio of the medians.

Plain ``pytest`` runs every benchmark once, as a test; ``pytest --benchmark-only`` measures.
"""

import statistics

import numpy as np
import pytest

import kernels

import claims
import workloads
from interleave import Effort, interleave
from peers import MODULES

_EFFORT = Effort(rounds=5, block_seconds=0.03)
_OPS_EFFORT = Effort(rounds=3, block_seconds=0.03, pause_seconds=0.15)
_PEERS = ("NumPy", "SciPy", "PyTorch")
_ROWS: list[str] = []
_OPS: list[tuple[str, str, float, float, dict[str, float]]] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    options = config.option
    measuring = options.benchmark_only or options.benchmark_enable or options.benchmark_json
    if not measuring and not options.benchmark_skip:
        options.benchmark_disable = True
    options.benchmark_quiet = not options.benchmark_verbose  # the tables below replace pytest-benchmark's


def pytest_collection_modifyitems(config, items):
    """Without a path --benchmark-only measures the table of ops only; the other files take minutes each."""
    if config.option.benchmark_only and config.args_source == pytest.Config.ArgsSource.TESTPATHS:
        config.hook.pytest_deselected(items=[item for item in items if item.path.name != "bench_kernels.py"])
        items[:] = [item for item in items if item.path.name == "bench_kernels.py"]


@pytest.fixture
def compare(benchmark):
    """``compare(group, what, ours, peers)`` makes each call once, or, to measure, times them in turn for the ratios.

    ``flop`` is the work of a call; ``each`` is its number of steps, so that the time of one is shown.
    """

    def run(group, what, ours, peers, flop=None, each=1):
        medians = _medians(benchmark, group, {"ours": ours, **peers}, _EFFORT)
        if medians is None:
            return
        ratios = {name: medians[name] / medians["ours"] for name in peers}
        gflops = None if flop is None else flop / medians["ours"] / 1e9
        benchmark.extra_info.update({"gflops": gflops, "median_seconds": medians, "times_faster_than": ratios})
        work = "" if gflops is None else f"{gflops:8.1f} GFLOP/s"
        _ROWS.append(f"{f'{group} {what}':64s} {medians['ours'] / each * 1e6:11.1f} us {work:17s}".rstrip())
        _ROWS.extend(f"    {name:60s} {ratio:11.2f} times ours" for name, ratio in ratios.items())

    return run


@pytest.fixture
def compare_op(benchmark):
    """``compare_op(name, what, calls, flop, moved)`` does so for an op and its peers; a call moves ``moved`` bytes."""

    def run(name, what, calls, flop, moved):
        medians = _medians(benchmark, name, calls, _OPS_EFFORT)
        if medians is not None:
            benchmark.extra_info.update({"flop": flop, "bytes": moved, "median_seconds": medians})
            _OPS.append((name, what, flop, moved, medians))

    return run


def _medians(benchmark, group, calls, effort):
    """Median seconds of each call; or, where nothing is measured, None, after making each call once."""
    benchmark.group = group
    if benchmark.disabled:
        for name, call in calls.items():
            call() if name != "ours" else benchmark(call)
        return None
    medians = {name: statistics.median(seconds) for name, seconds in interleave(calls, effort).items()}
    benchmark.pedantic(calls["ours"], rounds=20, warmup_rounds=1)
    return medians


def pytest_terminal_summary(terminalreporter):
    write = terminalreporter.write_line
    if _OPS:
        peak, bandwidth = kernels.peak_gflops(), claims.bandwidth_gbs(kernels.get_num_threads(), 1 << 27)
        terminalreporter.write_sep("=", "ops, float32, medians of interleaved rounds")
        threads = kernels.get_num_threads()
        write(
            f"{threads} threads; this run's peaks: {peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s of memory, "
            "which caches exceed."
        )
        write("A rate is in the unit of what bounds the op. NumPy, SciPy and PyTorch take so many times as long.")
        write(
            f"{'op':22s} {'shape':20s} {'us':>8s} {'rate':>14s} {'of peak':>8s}"
            + "".join(f"{peer:>8s}" for peer in _PEERS)
        )
        for name, what, flop, moved, medians in _OPS:
            seconds = medians["ours"]
            by_memory = moved / bandwidth > flop / peak
            rate, most, unit = (moved, bandwidth, "GB/s") if by_memory else (flop, peak, "GFLOP/s")
            rate /= 1e9 * seconds
            ratios = [f"{medians[peer] / seconds:8.1f}" if peer in medians else " " * 8 for peer in _PEERS]
            write(
                f"{name:22s} {what:20s} {1e6 * seconds:8.1f} {rate:6.1f} {unit:7s} {rate / most:8.0%}" + "".join(ratios)
            )
    if _ROWS:
        terminalreporter.write_sep("=", "side by side, medians of interleaved rounds")
        for row in _ROWS:
            write(row)


@pytest.fixture(scope="session")
def images():
    """The real MNIST where it is at hand, else synthetic digits; (name, X uint8, y)."""
    data = workloads.images()
    return data.name, data.X, data.y


@pytest.fixture
def session(benchmark):
    """A session of claims.py with every installed peer; tiny where nothing is measured."""
    return claims.Session(MODULES, _EFFORT._replace(tiny=benchmark.disabled))


@pytest.fixture
def rng():
    return np.random.default_rng(0)
