"""The machine's peak: how fast it does fused multiply-adds on registers."""

from __future__ import annotations

import time

import numpy as np

from . import simd
from .jit import kernel
from .team import get_num_threads, run

# Enough independent sums for two FMAs a cycle with a latency of four cycles, and few enough to stay in registers with
# the operands: with 24 the compiler spilled some, and measured 190 GFLOP/s where one core of a Zen 5 does 262.
_ROWS, _VECTORS = 4, 3 if simd.REGISTERS >= 32 else 2
_STEPS = 1_000_000
_ROUNDS = 7


@kernel
def _multiply_add(part, parts, steps, A, B, C):
    """``steps`` rank-1 updates of one register tile; its operands never change, so they stay in registers too."""
    acc = simd.tile_zeros(C, _ROWS, _VECTORS)
    for _ in range(steps):
        acc = simd.tile_fma(acc, A, 0, 1, B, 0)
    width = _VECTORS * simd.lanes(C)
    simd.tile_store(C[part], 0, width, acc, width, 0)


def peak_gflops(dtype: str = "float32") -> float:
    """Multiply-add peak of the threads in use, in GFLOP/s: the best of seven runs of about 2 ms each."""
    parts = get_num_threads()
    real = np.dtype(dtype)
    width = _VECTORS * simd.REGISTER_BYTES // real.itemsize
    A, B = np.full(_ROWS, 0.5, real), np.full(width, 0.5, real)
    C = np.empty((parts, _ROWS * width), real)
    run(_multiply_add, parts, 1, A, B, C)
    flop = 2.0 * _ROWS * width * _STEPS * parts
    best = 0.0
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        run(_multiply_add, parts, _STEPS, A, B, C)
        best = max(best, flop / (time.perf_counter() - start))
    return best / 1e9
