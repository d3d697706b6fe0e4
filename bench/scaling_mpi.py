"""What ranks cost: the sum over them against its size, a step against its rows, and training with each ``--sync-every``.

mpiexec -n 2 python bench/scaling_mpi.py        # two minutes: into bench/results/nodes.json; -n 4 adds four ranks

One thread a rank; steps are measured on rank 0 while the others sleep. Rounds are interleaved; medians and quartiles.
``python bench/scaling.py`` and ``draw`` show it beside the model of more nodes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import fastmlp
import kernels
from fastmlp.cli import run_command
from fastmlp.data.synthetic import load_synthetic
from fastmlp.errors import InputError
from fastmlp.parallel import World, joined
from kernels.team import available_cores

import claims
from interleave import Effort, interleave, spread

COMM = MPI.COMM_WORLD
RESULT = Path(__file__).with_name("results") / "nodes.json"
NETWORKS = {(784, 256, 10): (128, 200), (784, 1024, 1024, 10): (256, 30)}  # batch, steps a round of training
ROWS = (2, 8, 32, 128, 512, 4096)
BYTES = (*(4096 * 4**k for k in range(6)), 8 << 20, 32 << 20)
EVERY = (1, 10, 100)
ADDED = 4 << 20
EFFORT = Effort(rounds=5, block_seconds=0.05, pause_seconds=0)


def sum_seconds(size: int) -> list[float]:
    """Of the slowest rank, each time."""
    buffer, times = np.zeros(size // 4, np.float32), []
    for _ in range(int(np.clip(2e8 / size, 9, 200))):
        COMM.Barrier()
        start = time.perf_counter()
        COMM.Allreduce(MPI.IN_PLACE, buffer)
        times.append(COMM.allreduce(time.perf_counter() - start, MPI.MAX))
    return times


@contextlib.contextmanager
def alone() -> Iterator[bool]:
    """Rank 0 works inside, which is true there; the others sleep until it is through, where a barrier would spin."""
    yield COMM.rank == 0
    through = COMM.Ibarrier()
    while not through.Test():
        time.sleep(0.001)


def step_calls(sizes: tuple[int, ...], rows: int, data: Any) -> dict[tuple[Any, ...], tuple[int, Callable[[], Any]]]:
    """A step that stores its gradient, as before a sum; and four of those that do not, as between averages."""
    rule, X, y = kernels.momentum(nesterov=True), kernels.csr(data.X), data.y
    network, rng = kernels.Network(sizes, slots=rule.slots), np.random.default_rng(0)
    index = np.resize(rng.permutation(len(y)), 4 * rows)
    for W, _ in network.layers:
        W[...] = rng.standard_normal(W.shape) * (2 / len(W)) ** 0.5
    gradient = np.zeros_like(network.params)

    def stored() -> None:
        kernels.mlp_gradient(X, y, index[:rows], network, mean=False, scale=1 / 255, out=gradient)
        kernels.mlp_update(network, gradient, rule=rule, lr=1e-4, factor=1 / rows)

    def fused() -> None:
        kernels.mlp_train_steps(X, y, index, rows, network, rule=rule, lr=np.full(4, 1e-4), scale=1 / 255)

    return {("stored", sizes, rows): (1, stored), ("fused", sizes, rows): (4, fused)}


def measure(world: World, effort: Effort) -> dict[str, Any]:
    data = load_synthetic(n=8192, n_test=100)
    sums = [{"bytes": size, **spread(sum_seconds(size))} for size in BYTES]
    A, calls = np.ones((2, ADDED // 4), np.float32), {}
    for sizes, rows in itertools.product(NETWORKS, ROWS):
        calls |= step_calls(sizes, rows, data)
    calls["add",] = 1, lambda: np.add(*A, out=A[0])
    each: dict[Any, dict[str, Any]] = {}
    with alone() as here, kernels.threads(1):
        if here:
            times = interleave({name: call for name, (_, call) in calls.items()}, effort)
            each = {name: spread([value / calls[name][0] for value in values]) for name, values in times.items()}
    runs: dict[tuple[Any, ...], list[float]] = {}
    for _ in range(effort.rounds):
        for (sizes, (batch, steps)), every in itertools.product(NETWORKS.items(), EVERY):
            options = {"batch_size": batch, "steps": steps, "sync_every": every, "optimizer": "momentum"}
            summary = fastmlp.fit(data, hidden=sizes[1:-1], world=world, **options).summary
            runs.setdefault((sizes, batch, every), []).append(summary["ms_per_step"] / 1000)
    return {
        "sums": sums, "add": {"bytes": ADDED, **each.pop(("add",), {})},
        "steps": [{"kind": kind, "sizes": sizes, "rows": rows, **found} for (kind, sizes, rows), found in each.items()],
        "training": [{"sizes": k[0], "batch": k[1], "every": k[2], **spread(times)} for k, times in runs.items()],
    }  # fmt: skip


def main(argv: Sequence[str] | None) -> int:
    with joined() as world:
        if world.size == 1:
            raise InputError("1 rank has nobody to talk to; mpiexec -n 2 python bench/scaling_mpi.py starts two")
        found = measure(world, EFFORT)
        if world.rank == 0:
            known = json.loads(RESULT.read_text()) if RESULT.exists() else {"ranks": {}}
            library = MPI.Get_library_version().split("\n")[0].rstrip("\0").strip()
            known |= {
                "machine": {"cpu": claims._cpu_name(), "cores": available_cores(), "mpi": library},
                "versions": claims.versions(), "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": "mpiexec -n N python bench/scaling_mpi.py",
            }  # fmt: skip
            known["ranks"][str(world.size)] = found
            RESULT.write_text(json.dumps(known) + "\n")
            print(f"{world.size} ranks: recorded in {RESULT}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("scaling_mpi", main, None, on_ranks=True))
