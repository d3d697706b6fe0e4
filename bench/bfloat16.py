"""Times training steps in float32 and in bfloat16, ours beside PyTorch's, on a processor with AMX.

    python bench/bfloat16.py

writes results/bfloat16_<processor>.json; ``python bench/pages.py`` puts it on the page. It takes a minute.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import kernels
from kernels.jit.numba_private import target

import peers
import workloads
from claims import circumstances
from interleave import FULL, Effort, interleave, spread
from pages import RESULTS
from peers import ours
from workloads import Work

EFFORT = FULL._replace(rounds=9, block_seconds=0.2)
STEPS = 8  # in a call


def works() -> list[Work]:
    """A large network on images, and two on a table without zeros."""
    table = replace(workloads.table(), batch=256)
    return [
        workloads.pixels(workloads.images(), (1024, 1024), 256),
        replace(table, sizes=(100, 1024, 1024, 5)),
        replace(table, sizes=(100, 256, 256, 5)),
    ]


class InBfloat16(ours.Fused):
    label = "fastmlp, bfloat16"

    def __init__(self, work: Work, threads: int) -> None:
        super().__init__(work, threads)
        self.network = kernels.Network(work.sizes, slots=self.rule.slots, precision="bfloat16")


def makes() -> list[type[peers.Peer]]:
    """Ours, and PyTorch's if it is installed, each in float32 and in bfloat16."""
    try:
        import torch

        from peers.torch_mlp import Eager
    except ImportError:
        return [ours.Fused, InBfloat16]

    class Autocast(Eager):
        label = "PyTorch, bfloat16"

        def step(self, X: Any, y: Any, rate: float) -> None:
            with torch.autocast("cpu", torch.bfloat16):
                super().step(X, y, rate)

    return [ours.Fused, InBfloat16, Eager, Autocast]


def call(peer: peers.Peer) -> Callable[[], None]:
    """A call that trains STEPS steps."""
    rates, rows = np.full(STEPS, 0.01), workloads.shuffled_rows(peer.work, STEPS)
    peer.load(peer.work.initial_layers())
    return lambda: peer.steps(next(rows), rates)


def record(effort: Effort, works: Sequence[Work]) -> dict[str, Any]:
    found = []
    for work in works:
        calls = {make.label: call(make(work, kernels.get_num_threads())) for make in makes()}
        seconds = interleave(calls, effort)
        each = {label: spread([value / STEPS for value in values]) for label, values in seconds.items()}
        found.append({"work": str(work), "seconds": each})
    return circumstances("python bench/bfloat16.py", effort) | {"steps": found}


if __name__ == "__main__":
    (RESULTS / f"bfloat16_{target()[0]}.json").write_text(json.dumps(record(EFFORT, works()), indent=1) + "\n")
