"""Training on up to 64 nodes, from what ``scaling_mpi.py`` measured here: what a step's sum adds, and when it pays.

A sum over p ranks of S bytes takes the shorter of recursive doubling, log2 p (a + S b + S c), and Rabenseifner's algorithm,
2 log2 p a + 2 (p-1)/p S b + (p-1)/p S c (Thakur, Rabenseifner and Gropp 2005): a seconds a message, b a byte sent, c a byte
added. A step is the measured one of as many rows, on one thread of each node; the sum is not hidden behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

NODES = (1, 2, 4, 8, 16, 32, 64)
EVERY = (1, 10, 100)
SMALL, LARGE = (784, 256, 10), (784, 1024, 1024, 10)


class Link(NamedTuple):
    """Seconds a message and a byte. Assumed, but for ``here``, and shown with half and twice the speed."""

    name: str
    message: float
    byte: float


# One way. TCP: half of what blogs.scalablelogic.com saw on EC2's 10 GbE in 2014 (92 to 100 us there and back). InfiniBand: what
# MVAPICH has told since 2008 (techrepublic.com/whitepapers, MVAPICH-Aptus). Bytes at nine tenths of the wire's rate.
LINKS = (Link("25 GbE", 25e-6, 1 / (0.9 * 25e9 / 8)), Link("100 Gb/s InfiniBand", 1.5e-6, 1 / (0.9 * 100e9 / 8)))
WORKS = (
    (SMALL, 128, "strong"),
    (LARGE, 256, "strong"),
    (LARGE, 4096, "weak"),
)  # network, batch of all nodes or of each


def sum_seconds(link: Link, ranks: int, size: float, add: float) -> float:
    """Of ``size`` bytes over ``ranks``, a power of two; ``add`` seconds a byte."""
    rounds, part = math.log2(ranks), (ranks - 1) / ranks
    doubling = rounds * (link.message + size * (link.byte + add))
    return min(doubling, 2 * rounds * link.message + part * size * (2 * link.byte + add))


def add_seconds(result: dict[str, Any]) -> float:
    """A byte added to another, by one core."""
    return float(result["ranks"]["2"]["add"]["median"] / result["ranks"]["2"]["add"]["bytes"])


def here(result: dict[str, Any]) -> Link:
    """Two ranks in this machine's memory: the least relative squares over the sizes measured, of doubling."""
    sums = result["ranks"]["2"]["sums"]
    size, t = np.array([s["bytes"] for s in sums], float), np.array([s["median"] for s in sums])
    (message, byte), *_ = np.linalg.lstsq(np.stack([1 / t, size / t], 1), np.ones(len(t)), rcond=None)
    return Link("shared memory", max(float(message), 1e-7), max(float(byte) - add_seconds(result), 1e-12))


def step_seconds(result: dict[str, Any], kind: str, sizes: tuple[int, ...], rows: float) -> float:
    """Measured: between the rows measured on straight lines."""
    steps = [s for s in result["ranks"]["2"]["steps"] if (s["kind"], tuple(s["sizes"])) == (kind, sizes)]
    return float(np.interp(rows, [s["rows"] for s in steps], [s["median"] for s in steps]))


def node_seconds(
    result: dict[str, Any], link: Link, sizes: tuple[int, ...], rows: float, nodes: int, every: int
) -> float:
    """A step of ``rows`` rows on each node: the sum of the gradient, or every so often of weights and momentum."""
    if nodes == 1:
        return step_seconds(result, "fused", sizes, rows)
    size = sum(4 * (I + 1) * O for I, O in zip(sizes, sizes[1:]))
    added = sum_seconds(link, nodes, size, add_seconds(result))
    if every == 1:
        return step_seconds(result, "stored", sizes, rows) + added
    return step_seconds(result, "fused", sizes, rows) + 2 * added / every


def trained_seconds(result: dict[str, Any], link: Link, run: dict[str, Any], ranks: int) -> float:
    """What a step of ``fit`` should have taken on so many ranks."""
    return node_seconds(result, link, tuple(run["sizes"]), run["batch"] / ranks, ranks, run["every"])


def speedup(result: dict[str, Any], link: Link, work: tuple[Any, ...], nodes: int, every: int) -> float:
    """Samples a second, in those of one node."""
    sizes, batch, kind = work
    times, rows = (nodes, batch) if kind == "weak" else (1, batch / nodes)
    return times * step_seconds(result, "fused", sizes, batch) / node_seconds(result, link, sizes, rows, nodes, every)


def title(work: tuple[Any, ...]) -> str:
    sizes, batch, kind = work
    return f"{'-'.join(map(str, sizes))}, batch {batch}{' a node' * (kind == 'weak')}"


def table(result: dict[str, Any]) -> Iterator[str]:
    """Measured and modelled on this machine; then how many nodes are still used by half."""
    link = here(result)
    machine = result["machine"]
    yield f"\n{machine['cpu']}, {machine['cores']} cores, {result['date'][:10]}"
    yield f"between two ranks {1e6 * link.message:.1f} us a message, {1e-9 / link.byte:.1f} GB/s"
    for ranks, found in result["ranks"].items():
        note = f"{ranks} ranks" + f" on {machine['cores']} cores: oversubscribed" * (int(ranks) > machine["cores"])
        sums = [f"{s['bytes'] / 1024:.0f} KB {1e6 * s['median']:.0f} us" for s in found["sums"]]
        yield f"{note}; sum of {', '.join(sums)}"
        for run in found["training"]:
            model = trained_seconds(result, link, run, int(ranks))
            work = title((run["sizes"], run["batch"], "strong"))
            yield (
                f"  {work}, --sync-every {run['every']:<4d}{1e3 * run['median']:8.3f} ms, model {1e3 * model:.3f}"
                f" ({model / run['median'] - 1:+.0%})"
            )
    for work in WORKS:
        for to in LINKS:
            half = {every: max(n for n in NODES if speedup(result, to, work, n, every) >= n / 2) for every in EVERY}
            best = {every: max(speedup(result, to, work, n, every) for n in NODES) for every in EVERY}
            words = [f"every {every}: {half[every]} nodes (at most {best[every]:.1f} times)" for every in EVERY]
            yield f"{title(work)}, {to.name}: half of the nodes' speed is kept up to, summing {', '.join(words)}"
