"""How much busy processes slow a training step: ours, and PyTorch's where it is installed.

python bench/competing_load.py [BUSY ...]

784-256-10, batch 128. BUSY is the number of busy processes; by default none, one, one per core and two per core. All loads
and all peers have their turn in every round; prints the medians, and how many times slower they are than alone.
"""

import contextlib
import statistics
import subprocess
import sys
import time

import numpy as np

import kernels
from kernels.team import _PAUSE, _Backoff

from interleave import Effort, interleave
from peers.ours import Dense, Fused
from workloads import images, pixels

STEPS = 20
ROUND = Effort(rounds=1, block_seconds=0.3, pause_seconds=0.2)
ROUNDS = 7


@contextlib.contextmanager
def load(busy):
    """Run ``busy`` processes that compute without end during the block."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        time.sleep(0.5 if others else 0)  # until they run
        # Forget the load before, as a new process would.
        _Backoff.until, _Backoff.pause = 0.0, _PAUSE
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def calls():
    """{peer's label: a call that trains STEPS steps}."""
    work, threads = pixels(images()), kernels.get_num_threads()
    kinds = [Fused, Dense]
    with contextlib.suppress(ImportError):
        from peers.torch_mlp import Eager

        kinds.append(Eager)
    rows = np.random.default_rng(0).permutation(len(work.y))[: STEPS * work.batch]
    peers = [kind(work, threads) for kind in kinds]
    for peer in peers:
        peer.load(work.initial_layers())
    return {peer.label: lambda peer=peer: peer.steps(rows, np.full(STEPS, 1e-3)) for peer in peers}


def measure(loads, calls):
    """{(busy, who): milliseconds a step, round by round}."""
    times = {(busy, who): [] for busy in loads for who in calls}
    for _ in range(ROUNDS):
        for busy in loads:
            with load(busy):
                for who, seconds in interleave(calls, ROUND).items():
                    times[busy, who].append(1000 * seconds[0] / STEPS)
    return times


if __name__ == "__main__":
    cores = kernels.get_num_threads()
    loads = sorted({0, *map(int, sys.argv[1:])}) if sys.argv[1:] else sorted({0, 1, cores, 2 * cores})
    times = measure(loads, calls())
    for (busy, who), ms in times.items():
        median = statistics.median(ms)
        slower = median / statistics.median(times[0, who])
        print(
            f"{busy:3d} busy  {who:16s} {median:8.3f} ms a step ({min(ms):.3f} to {max(ms):.3f}), {slower:5.2f} x alone"
        )
