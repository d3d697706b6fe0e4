"""Matrix products with few columns: layers with one to eight outputs.

C[M, N] = A[M, K] @ B[K, N], as in ``gemm``. A row of C fills only a part of a vector, so vectors run down the columns:
C.T = B.T @ A.T is computed, on the same register tiles (``make_tile``). A weight gradient reads A.T in place: it is the
samples as they lie in memory. A forward product transposes A block by block, in L1.

Each C[i, j] is one chain of fused multiply-adds over k = 0 .. K-1, the same as in ``gemm``. All functions here are raw.
"""

from __future__ import annotations

from typing import Any

from . import simd
from .bundles import Matrix, after, from_element, from_row
from .intrinsics import out_of_line
from .jit import kernel, piece
from .tuning import NARROW_DEPTH, NARROW_VECTORS


def make_tile(rows: int, vectors: int, full: bool) -> Any:
    """The micro-kernel: ``rows`` x ``vectors`` of C, of which n columns are stored; adds to C if ``resume``.

    If ``full``, n is the whole width and the loop has no masks, which take a seventh of the speed of a core that does
    two products a cycle. The first ``skip`` rows are computed but not stored: they belong to another tile.
    """

    @piece
    def gemm_tile(K, A, B, C, n, resume, skip):
        acc = simd.tile_zeros(C.values, rows, vectors)
        if resume:  # the sums were stored exactly as they were in the registers
            acc = simd.tile_load(C.values, 0, C.row, rows, vectors, n)
        a = b = 0
        for _ in range(K):
            if full:
                acc = simd.tile_fma(acc, A.values, a, A.row, B.values, b)
            else:
                acc = simd.tile_fma_masked(acc, A.values, a, A.row, B.values, b, n)
            a += A.column
            b += B.row
        simd.tile_store(C.values, 0, C.row, acc, n, skip)

    return gemm_tile


def _make_columns(full: bool) -> Any:
    """C.T [N, n] = B.T @ T, T = A.T: four rows of C.T at a time, then two, then one."""
    four, two, one = (make_tile(columns, NARROW_VECTORS, full) for columns in (4, 2, 1))

    @piece
    def narrow_columns(N, K, T, B, S, n, resume):
        out_of_line()
        B_transposed, j = Matrix(B.values, B.column, B.row), 0
        while N - j >= 4:
            four(K, from_row(B_transposed, j), T, from_row(S, j), n, resume, 0)
            j += 4
        if N - j >= 2:
            two(K, from_row(B_transposed, j), T, from_row(S, j), n, resume, 0)
            j += 2
        if N - j >= 1:
            one(K, from_row(B_transposed, j), T, from_row(S, j), n, resume, 0)

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
    """C = A @ B, += if ``resume``; the rows or the columns of A are contiguous. Scratch: ``room`` elements."""
    out_of_line()
    wide = NARROW_VECTORS * simd.lanes(C.values)
    block = NARROW_DEPTH * wide  # elements of a block of A.T, if A is transposed
    transposed, sums = Matrix(pack_buffer, wide, 1), after(pack_buffer, block)
    # As many rows at a time as there is room for their sums; or one tile, so that A is read from left to right.
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
                    transpose_rows(n, depth, samples, transposed)
                    _full_columns(N, depth, transposed, terms, out, n, more)
                elif n == wide:
                    _full_columns(N, depth, Matrix(samples.values, A.column, 1), terms, out, n, more)
                else:
                    _last_columns(N, depth, Matrix(samples.values, A.column, 1), terms, out, n, more)
        if C.row != 1:
            transpose_rows(N, m, S, rows)
