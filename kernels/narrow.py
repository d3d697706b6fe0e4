"""Matrix products with few columns: layers with one to eight outputs.

C[M, N] = A[M, K] @ B[K, N], as in ``gemm``. A row of C fills only a part of a vector, so the vectors run down its columns: what
is computed is C.T = B.T @ A.T. In a weight gradient A.T is the samples as they lie in memory, and is read there. In a forward
product A is, and a block of it that stays in L1 is turned at a time.

Each C[i, j] is one chain of fused multiply-adds over k = 0 .. K-1, the same as in ``gemm``. All functions here are raw.
"""

from __future__ import annotations

from typing import Any

from . import simd
from .bundles import Matrix, after, from_element, from_row
from .intrinsics import out_of_line
from .jit import kernel, piece
from .tuning import NARROW_DEPTH, NARROW_VECTORS


def _make_tile(columns: int, full: bool) -> Any:
    """``columns`` columns of C, n rows of them: all of NARROW_VECTORS vectors where it is ``full``; adds to C to ``resume``.

    T is A.T, and S, which is written, C.T.
    """

    @piece
    def narrow_tile(K, T, B, S, n, resume):
        acc = simd.tile_zeros(S.values, columns, NARROW_VECTORS)
        if resume:
            acc = simd.tile_load(S.values, 0, S.row, columns, NARROW_VECTORS, n)
        a = b = 0
        for _ in range(K):
            if full:
                acc = simd.tile_fma(acc, B.values, b, B.column, T.values, a)
            else:
                acc = simd.tile_fma_masked(acc, B.values, b, B.column, T.values, a, n)
            a += T.row
            b += B.row
        simd.tile_store(S.values, 0, S.row, acc, n, 0)

    return narrow_tile


def _make_columns(full: bool) -> Any:
    """All N columns: four at a time, then two, then one."""
    four, two, one = (_make_tile(columns, full) for columns in (4, 2, 1))

    @piece
    def narrow_columns(N, K, T, B, S, n, resume):
        out_of_line()
        j = 0
        while N - j >= 4:
            four(K, T, from_element(B, 0, j), from_row(S, j), n, resume)
            j += 4
        if N - j >= 2:
            two(K, T, from_element(B, 0, j), from_row(S, j), n, resume)
            j += 2
        if N - j >= 1:
            one(K, T, from_element(B, 0, j), from_row(S, j), n, resume)

    return narrow_columns


_full_columns, _last_columns = _make_columns(True), _make_columns(False)


@piece
def transpose_rows(rows, columns, A, T):
    """T[c, r] = A[r, c]; the rows of both are contiguous."""
    out_of_line()
    lanes = simd.lanes(T.values)
    for r in range(0, rows, lanes):
        for c in range(0, columns, lanes):
            height, width = min(lanes, rows - r), min(lanes, columns - c)
            simd.transpose(A.values, r * A.row + c, A.row, height, width, T.values, c * T.row + r, T.row)


@kernel
def gemm_narrow(M, N, K, A, B, C, pack_buffer, room, resume):
    """C = A @ B, the rows or the columns of A contiguous; adds to C to ``resume``. Scratch: ``room`` of ``pack_buffer``."""
    out_of_line()
    wide = NARROW_VECTORS * simd.lanes(C.values)
    block = NARROW_DEPTH * wide  # of A.T, where A is to be transposed
    turned, sums = Matrix(pack_buffer, wide, 1), after(pack_buffer, block)
    # As many rows at a time as the sums have room for; or one tile of them, so that A is read from left to right.
    most = (room - block) // (N * wide) * wide if A.row == 1 else wide
    for first in range(0, M, most):
        m, rows = min(most, M - first), from_row(C, first)
        S = Matrix(rows.values if C.row == 1 else sums, 0 if C.row == 1 else m, 1)
        if resume and C.row != 1:
            transpose_rows(m, N, rows, S)
        for k in range(0, max(K, 1), NARROW_DEPTH):
            depth, more, terms = min(NARROW_DEPTH, K - k), resume or k > 0, from_row(B, k)
            for i in range(0, m, wide):
                n, samples, out = min(wide, m - i), from_element(A, first + i, k), from_element(S, 0, i)
                if A.row != 1:
                    transpose_rows(n, depth, samples, turned)
                    _full_columns(N, depth, turned, terms, out, n, more)
                elif n == wide:
                    _full_columns(N, depth, Matrix(samples.values, A.column, 1), terms, out, n, more)
                else:
                    _last_columns(N, depth, Matrix(samples.values, A.column, 1), terms, out, n, more)
        if C.row != 1:
            transpose_rows(N, m, S, rows)
