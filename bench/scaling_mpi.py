"""What a step costs on N ranks, and what of it is the sum over them: ``mpiexec -n 2 python bench/scaling_mpi.py``.

Beside it one process with one thread and with N, while the other ranks sleep. Rounds are interleaved; medians and ranges.
"""

from __future__ import annotations

import contextlib
import statistics
import time

import numpy as np
from mpi4py import MPI

import fastmlp
from fastmlp.parallel import World, joined

COMM = MPI.COMM_WORLD
NETWORKS = [((256,), 128, 400), ((1024, 1024), 256, 30)]  # hidden layers, batch, steps a round
ROUNDS = 7
REPEATS = 30  # of the sum


@contextlib.contextmanager
def alone():
    """Rank 0 works inside, which is true there; the others sleep until it is through, where a barrier would spin."""
    yield COMM.rank == 0
    through = COMM.Ibarrier()
    while not through.Test():
        time.sleep(0.001)


def sum_ms(size: int) -> float:
    buffer, times = np.zeros(size, np.float32), []
    for _ in range(REPEATS):
        COMM.Barrier()
        start = time.perf_counter()
        COMM.Allreduce(MPI.IN_PLACE, buffer)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    with joined() as world:
        data = fastmlp.load("synthetic")
        for hidden, batch, steps in NETWORKS:
            columns: dict[str, list[float]] = {}

            def measure(name: str, within: World, columns=columns, hidden=hidden, batch=batch, steps=steps, **options):
                result = fastmlp.fit(data, hidden=hidden, batch_size=batch, steps=steps, world=within, **options)
                columns.setdefault(name, []).append(result.summary["ms_per_step"])
                return result.model.network.params.size

            for _ in range(ROUNDS):
                with alone() as here:
                    if here:
                        measure("one process, 1 thread", World(), threads=1)
                        measure(f"one process, {world.size} threads", World(), threads=world.size)
                for every in (1, 10, 100):
                    size = measure(f"{world.size} ranks, --sync-every {every}", world, sync_every=every)
                columns.setdefault(f"the sum of {4e-6 * size:.1f} MB", []).append(sum_ms(size))
            print(f"{'-'.join(map(str, (784, *hidden, 10)))}, batch {batch}: ms a step, median (range)")
            for name, times in columns.items():
                print(
                    f"  {name:30s} {statistics.median(times):8.3f} ({min(times):.3f} to {max(times):.3f})", flush=True
                )


if __name__ == "__main__":
    main()
