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

from .codegen import FEATURES, HAS_FMA, REGISTER_BYTES, REGISTERS, Mask, Tile, Vector
from .mathematics import exp, log, polynomial
from .tiles import (
    tile_axpy,
    tile_fma,
    tile_fma_masked,
    tile_load,
    tile_row,
    tile_rows,
    tile_store,
    tile_store_each,
    tile_sums,
    tile_zeros,
    transpose,
)
from .vectors import (
    add,
    at_most,
    broadcast,
    broadcast_each,
    div,
    fma,
    greater,
    lanes,
    leading,
    load,
    load_masked,
    load_uint8,
    maximum,
    minimum,
    mul,
    reduce_add,
    reduce_max,
    select,
    sign,
    sqrt,
    store,
    store_masked,
    sub,
    zeros,
)

__all__ = [
    "FEATURES",
    "HAS_FMA",
    "REGISTERS",
    "REGISTER_BYTES",
    "Mask",
    "Tile",
    "Vector",
    "add",
    "at_most",
    "broadcast",
    "broadcast_each",
    "div",
    "exp",
    "fma",
    "greater",
    "lanes",
    "leading",
    "load",
    "load_masked",
    "load_uint8",
    "log",
    "maximum",
    "minimum",
    "mul",
    "polynomial",
    "reduce_add",
    "reduce_max",
    "select",
    "sign",
    "sqrt",
    "store",
    "store_masked",
    "sub",
    "tile_axpy",
    "tile_fma",
    "tile_fma_masked",
    "tile_load",
    "tile_row",
    "tile_rows",
    "tile_store",
    "tile_store_each",
    "tile_sums",
    "tile_zeros",
    "transpose",
    "zeros",
]
