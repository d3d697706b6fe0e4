"""Matrix products in bfloat16 on the tile registers of AMX, which Intel's Xeons have from Sapphire Rapids on.

A bfloat16 is the upper half of a float32: its exponent, and 8 bits of its 24. Each factor is rounded to the nearest;
products and sums are of float32, and subnormal numbers are zeros. A tile register holds 16 rows of 16 pairs of
bfloat16, each pair in an int32, or 16 x 16 float32. The terms k and k + 16 of a sum make a pair, since packing then
takes whole vectors as they are.

All functions here are raw.
"""

from __future__ import annotations

import ctypes
import functools
import sys

import numpy as np

from . import simd
from .bundles import Matrix, after, from_element
from .intrinsics import flat_as, out_of_line, prefetch
from .jit import kernel, piece
from .simd import amx

_PERMISSION = 158, 0x1023, 18  # arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)


@functools.cache
def is_available() -> bool:
    """Whether this process may use AMX; asks Linux for it at the first call, for all threads and forked children."""
    if sys.platform != "linux" or simd.REGISTER_BYTES != 64 or not {"+amx-tile", "+amx-bf16"} <= simd.FEATURES:
        return False
    return ctypes.CDLL(None).syscall(*_PERMISSION) == 0


def require() -> None:
    """Raise ValueError unless this process may use AMX."""
    if not is_available():
        raise ValueError(
            "precision is 'bfloat16'; it must be 'float32' where this process cannot use AMX, which Intel's Xeons have "
            "from Sapphire Rapids on, under Linux"
        )


# -- packing -------------------------------------------------------------------------------------------------------

SIDE, TERMS, TILE = 16, 32, 256
"""Rows and columns of a tile register, the terms of a sum that one of pairs holds, and the elements of either."""
DEPTH, COLUMNS, ROWS = 512, 512, 256
"""Terms, columns of B and rows of A that are packed at a time: 512 and 256 KiB of an L2 of 2 MiB."""
_SUMS = DEPTH // 2 * (COLUMNS + ROWS)
SIZE = _SUMS + 4 * TILE
"""Elements of scratch, int32."""

_SHAPES = np.zeros(64, np.uint8)  # of all eight: palette 1, 64 bytes a row, 16 rows
_SHAPES[0], _SHAPES[16:32:2], _SHAPES[48:56] = 1, 64, SIDE


@piece
def _panel_size(depth):
    return (depth + TERMS - 1) // TERMS * TILE


@piece
def _pack(count, depth, X, packed, of_rows):
    """Pack X, ``count`` rows of ``depth`` terms: panels of SIDE rows, each a tile for TERMS terms.

    A tile has its pairs row by row, or, unless ``of_rows``, transposed. Terms past the last are zeros, and rows past
    the last are anything. The rows or the columns of X are contiguous.
    """
    out_of_line()
    panel = _panel_size(depth)
    if X.column == 1:
        for i in range(0, count + -count % SIDE):
            row, to = min(i, count - 1) * X.row, i // SIDE * panel + i % SIDE * SIDE
            for k in range(0, depth, TERMS):
                x = simd.load_masked(X.values, row + k, depth - k)
                y = simd.load_masked(X.values, row + min(k + SIDE, depth - 1), depth - k - SIDE)
                simd.store(packed, to, simd.to_bfloat16(x) | simd.to_bfloat16(y) << 16)
                to += TILE
    else:
        for k in range(0, panel // SIDE * 2, TERMS):
            for t in range(SIDE):
                to = k // TERMS * TILE + t * SIDE
                first, second = min(k + t, depth - 1) * X.column, min(k + t + SIDE, depth - 1) * X.column
                for i in range(0, count, SIDE):
                    x = simd.load_masked(X.values, first + i, count - i if k + t < depth else 0)
                    y = simd.load_masked(X.values, second + i, count - i if k + t + SIDE < depth else 0)
                    simd.store(packed, to, simd.to_bfloat16(x) | simd.to_bfloat16(y) << 16)
                    to += panel
    if of_rows != (X.column == 1):
        for tile in range(0, (count + SIDE - 1) // SIDE * panel, TILE):
            simd.transpose(packed, tile, SIDE, SIDE, SIDE, packed, tile, SIDE)


# -- the product ---------------------------------------------------------------------------------------------------


@piece
def _block(rows, columns, depth, A, B, C, sums, resume):
    """C = A @ B (+= if ``resume``) for at most two panels of A and of B; ``sums`` is scratch of four tiles."""
    panel = _panel_size(depth)
    below, right = panel if rows > SIDE else 0, panel if columns > SIDE else 0  # where there is none, the first again
    rows, columns = min(rows, 2 * SIDE), min(columns, 2 * SIDE)
    for i in range(rows):
        prefetch(C.values, i * C.row)
        prefetch(C.values, i * C.row + columns - 1)
    amx.zero(0)
    amx.zero(1)
    amx.zero(2)
    amx.zero(3)
    for k in range(0, panel, TILE):
        amx.load(4, A, k, SIDE)
        amx.load(5, A, below + k, SIDE)
        amx.load(6, B, k, SIDE)
        amx.load(7, B, right + k, SIDE)
        amx.multiply_add(0, 4, 6)
        amx.multiply_add(1, 4, 7)
        amx.multiply_add(2, 5, 6)
        amx.multiply_add(3, 5, 7)
    amx.store(0, sums, 0, 2 * SIDE)
    amx.store(1, sums, SIDE, 2 * SIDE)
    amx.store(2, sums, 2 * TILE, 2 * SIDE)
    amx.store(3, sums, 2 * TILE + SIDE, 2 * SIDE)
    for i in range(rows):
        for j in range(0, columns, SIDE):
            x = simd.load(sums, i * 2 * SIDE + j)
            if resume:
                x = x + simd.load_masked(C.values, i * C.row + j, columns - j)
            simd.store_masked(C.values, i * C.row + j, x, columns - j)


@kernel
def gemm_in_bfloat16(M, N, K, A, B, C, pack_buffer, resume):
    """``gemm.gemm`` of float32 with factors rounded to bfloat16; scratch: SIZE elements of int32."""
    out_of_line()
    amx.configure(_SHAPES)
    packed_A, sums = after(pack_buffer, DEPTH // 2 * COLUMNS), flat_as(after(pack_buffer, _SUMS), C.values)
    for k in range(0, K, DEPTH):
        depth, onto = min(DEPTH, K - k), resume or k > 0
        panel = _panel_size(depth)
        for left in range(0, N, COLUMNS):
            n, terms = min(COLUMNS, N - left), from_element(B, k, left)
            _pack(n, depth, Matrix(terms.values, B.column, B.row), pack_buffer, False)
            for first in range(0, M, ROWS):
                m = min(ROWS, M - first)
                _pack(m, depth, from_element(A, first, k), packed_A, True)
                for j in range(0, n, 2 * SIDE):
                    for i in range(0, m, 2 * SIDE):
                        rows, columns = after(packed_A, i // SIDE * panel), after(pack_buffer, j // SIDE * panel)
                        here = from_element(C, first + i, left + j)
                        _block(m - i, n - j, depth, rows, columns, here, sums, onto)
    amx.release()
