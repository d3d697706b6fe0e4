"""Matrix products with few columns: layers with one to eight outputs.

C[M, N] = A[M, K] @ B[K, N], as in ``gemm``. A row of C fills only a part of a vector, so the vectors run down its columns: what
is computed is C.T = B.T @ A.T. In a weight gradient A.T is the samples as they lie in memory, and is read there. In a forward
product A is, and a block of it that stays in L1 is turned at a time.

Each C[i, j] is one chain of fused multiply-adds over k = 0 .. K-1, the same as in ``gemm``. All functions here are raw.
"""

from __future__ import annotations

from typing import Any

from . import simd
from .intrinsics import out_of_line
from .jit import piece
from .tuning import NARROW_DEPTH, NARROW_VECTORS


def _make_tile(columns: int, full: bool) -> Any:
    """``columns`` columns of C, n rows of them: all of NARROW_VECTORS vectors where it is ``full``; adds to C to ``resume``.

    A.T from A[a] on, rows a_col apart; C.T to S[s], rows s_row apart.
    """

    @piece
    def narrow_tile(K, A, a, a_col, B, b, b_row, b_col, S, s, s_row, n, resume):
        acc = simd.tile_zeros(S, columns, NARROW_VECTORS)
        if resume:
            acc = simd.tile_load(S, s, s_row, columns, NARROW_VECTORS, n)
        for _ in range(K):
            acc = simd.tile_fma(acc, B, b, b_col, A, a) if full else simd.tile_fma_masked(acc, B, b, b_col, A, a, n)
            a += a_col
            b += b_row
        simd.tile_store(S, s, s_row, acc, n, 0)

    return narrow_tile


def _make_columns(full: bool) -> Any:
    """All N columns: four at a time, then two, then one."""
    four, two, one = (_make_tile(columns, full) for columns in (4, 2, 1))

    @piece
    def narrow_columns(N, K, A, a, a_col, B, b, b_row, b_col, S, s, s_row, n, resume):
        out_of_line()
        j = 0
        while N - j >= 4:
            four(K, A, a, a_col, B, b + j * b_col, b_row, b_col, S, s + j * s_row, s_row, n, resume)
            j += 4
        if N - j >= 2:
            two(K, A, a, a_col, B, b + j * b_col, b_row, b_col, S, s + j * s_row, s_row, n, resume)
            j += 2
        if N - j >= 1:
            one(K, A, a, a_col, B, b + j * b_col, b_row, b_col, S, s + j * s_row, s_row, n, resume)

    return narrow_columns


_full_columns, _last_columns = _make_columns(True), _make_columns(False)


@piece
def _transpose(rows, columns, A, a, a_row, T, t, t_row):
    """T[c, r] = A[r, c]; rows of A a_row apart, of T t_row."""
    out_of_line()
    lanes = simd.lanes(T)
    for r in range(0, rows, lanes):
        for c in range(0, columns, lanes):
            here, there = a + r * a_row + c, t + c * t_row + r
            simd.transpose(A, here, a_row, min(lanes, rows - r), min(lanes, columns - c), T, there, t_row)


@piece
def gemm_narrow(M, N, K, A, a, a_row, a_col, B, b, b_row, b_col, C, c, ldc, P, p, room, resume):
    """C = A @ B, ``a_row`` or ``a_col`` 1; adds to C to ``resume``. ``room`` elements from P[p] on are scratch."""
    out_of_line()
    wide = NARROW_VECTORS * simd.lanes(C)
    block = NARROW_DEPTH * wide  # of A.T, where A is to be transposed
    # As many rows at a time as the sums have room for; or one tile of them, so that A is read from left to right.
    most = (room - block) // (N * wide) * wide if a_row == 1 else wide
    for first in range(0, M, most):
        m = min(most, M - first)
        S, s, s_row = (C, c + first, 0) if ldc == 1 else (P, p + block, m)
        if resume and ldc != 1:
            _transpose(m, N, C, c + first * ldc, ldc, S, s, s_row)
        for k in range(0, max(K, 1), NARROW_DEPTH):
            depth, more = min(NARROW_DEPTH, K - k), resume or k > 0
            for i in range(0, m, wide):
                n, at, there = min(wide, m - i), a + (first + i) * a_row + k * a_col, b + k * b_row
                if a_row != 1:
                    _transpose(n, depth, A, at, a_row, P, p, wide)
                    _full_columns(N, depth, P, p, wide, B, there, b_row, b_col, S, s + i, s_row, n, more)
                elif n == wide:
                    _full_columns(N, depth, A, at, a_col, B, there, b_row, b_col, S, s + i, s_row, n, more)
                else:
                    _last_columns(N, depth, A, at, a_col, B, there, b_row, b_col, S, s + i, s_row, n, more)
        if ldc != 1:
            _transpose(N, m, S, s, s_row, C, c + first * ldc, ldc)
