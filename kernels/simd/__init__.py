"""Explicit SIMD for Numba: vector, mask and register-tile values in ordinary ``@njit`` code.

Numba leaves vectorising to LLVM's loop vectoriser, which may not reorder a sum and so leaves most of the machine
unused in a dot product or a matrix product. Here a *vector* is a value like any other:

    from numba import njit
    from kernels import simd

    @njit
    def axpy(a, X, Y):                       # Y += a * X, float32 or float64
        lanes = simd.lanes(Y)
        n = X.size - X.size % lanes
        for i in range(0, n, lanes):
            simd.store(Y, i, simd.fma(simd.broadcast(Y, a), simd.load(X, i), simd.load(Y, i)))
        rest = X.size - n
        y = simd.fma(simd.broadcast(Y, a), simd.load_masked(X, n, rest), simd.load_masked(Y, n, rest))
        simd.store_masked(Y, n, y, rest)

Legend: ``array`` is any C-contiguous float32 or float64 array and only gives the element type where it is a first
argument called ``like``; ``i`` is an offset in elements from the array's first; ``n`` counts leading lanes. Nothing is
bounds-checked: an offset outside the array corrupts memory. Addresses need no alignment beyond the element's.

A vector has as many lanes as the widest registers hold (AVX-512: 16 float32 or 8 float64; AVX: half; else SSE or
NEON). A *tile* is a block of vectors that LLVM keeps in registers: the accumulators of a matrix product; arithmetic
works on all its vectors at once. Horizontal
sums run in a fixed order (a tree of halves), and fused multiply-add rounds once where the CPU has it, so results do
not depend on the number of threads. Sources: LLVM Language Reference; BLIS for the register tile.
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Load all, with Numba, when the first is asked for: tables of plain functions that call these import this module.

    It may be Numba that asks, while it compiles a user's function.
    """
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    names = import_module(".names", __name__)
    from ..jit.numba_private import tell_a_compilation_of_new_names

    globals().update({each: value for each, value in vars(names).items() if not each.startswith("_")})
    globals()["__all__"] = names.__all__
    tell_a_compilation_of_new_names()
    return getattr(names, name)


def __dir__() -> list[str]:
    return [*__getattr__("__all__")]
