"""Matrix products on register tiles, with the epilogues of a linear layer.

Legend: ``C[M, N] = A[M, K] @ B[K, N]``; ``a``, ``b``, ``c`` are offsets in elements of the operands' first elements,
``a_row``/``a_col`` the strides of A (so that one kernel serves X and X.T), ``ldb``/``ldc`` the row lengths of B and C.

Each C[i, j] is one chain of fused multiply-adds over k = 0 .. K-1, whatever tile it falls in: its bits depend neither
on the number of threads nor on the other rows of the batch. All functions here are raw: nothing is checked.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import overload

from . import simd
from .intrinsics import flat
from .jit import kernel
from .threads import share
from .tuning import ROW_BLOCK, TILE_ROWS, TILE_VECTORS, TRANSPOSE_BLOCK
from .update import update_span


def _make_tile(rows: int, vectors: int, masked: bool) -> Any:
    """The micro-kernel for a block of C of ``rows`` x ``vectors``; ``masked``: the last vector has n lanes only."""

    @kernel
    def gemm_tile(K, A, a, a_row, a_col, B, b, ldb, C, c, ldc, n):
        acc = simd.tile_zeros(C, rows, vectors)
        for _ in range(K):
            if masked:
                acc = simd.tile_fma_masked(acc, A, a, a_row, B, b, n)
            else:
                acc = simd.tile_fma(acc, A, a, a_row, B, b)
            a += a_col
            b += ldb
        simd.tile_store(C, c, ldc, acc, n)

    return gemm_tile


def _make_panel(vectors: int, masked: bool) -> Any:
    """All rows of one column panel of C, ``vectors`` wide: the largest row tiles first, then 4, 2, 1."""
    tile, tile4, tile2, tile1 = (_make_tile(rows, vectors, masked) for rows in (TILE_ROWS, 4, 2, 1))

    @kernel
    def gemm_panel(M, K, A, a, a_row, a_col, B, b, ldb, C, c, ldc, n):
        i = 0
        while M - i >= TILE_ROWS:
            tile(K, A, a + i * a_row, a_row, a_col, B, b, ldb, C, c + i * ldc, ldc, n)
            i += TILE_ROWS
        while M - i >= 4:
            tile4(K, A, a + i * a_row, a_row, a_col, B, b, ldb, C, c + i * ldc, ldc, n)
            i += 4
        if M - i >= 2:
            tile2(K, A, a + i * a_row, a_row, a_col, B, b, ldb, C, c + i * ldc, ldc, n)
            i += 2
        if M - i >= 1:
            tile1(K, A, a + i * a_row, a_row, a_col, B, b, ldb, C, c + i * ldc, ldc, n)

    return gemm_panel


_full_panel = _make_panel(TILE_VECTORS, masked=False)
_edge_panel = _make_panel(1, masked=True)


@kernel
def gemm(M, N, K, A, a, a_row, a_col, B, b, ldb, C, c, ldc):
    """C[M, N] = A[M, K] @ B[K, N], column panel by column panel, row tile by row tile."""
    lanes = simd.lanes(C)
    full = N - N % (TILE_VECTORS * lanes)
    for j in range(0, full, TILE_VECTORS * lanes):
        _full_panel(M, K, A, a, a_row, a_col, B, b + j, ldb, C, c + j, ldc, lanes)
    for j in range(full, N, lanes):
        _edge_panel(M, K, A, a, a_row, a_col, B, b + j, ldb, C, c + j, ldc, min(lanes, N - j))


@kernel
def finish_rows(Y, y, rows, N, b, o, biased, scale, relu):
    """Y = f(scale * Y + b), in place while the rows are in L1; f the identity or ReLU.

    Y are ``rows`` rows of N from Y[y] on, b the N biases from b[o] on, if ``biased``; both flat.
    """
    factor = Y.dtype.type(scale)
    zero = Y.dtype.type(0)
    for start in range(y, y + rows * N, N):
        if biased:
            for j in range(N):
                Y[start + j] = Y[start + j] * factor + b[o + j]
        elif scale != 1:
            for j in range(N):
                Y[start + j] *= factor
        if relu:
            for j in range(N):
                value = Y[start + j]
                Y[start + j] = zero if value <= 0 else value  # not max(value, 0): NaN must pass


def _float_rows(X, lo, hi, scratch, part):
    """Rows lo..hi of X as floats: (flat array, offset)."""


@overload(_float_rows)
def _float_rows_overload(X, lo, hi, scratch, part):
    if isinstance(X.dtype, types.Float):
        return lambda X, lo, hi, scratch, part: (flat(X), lo * X.shape[1])

    def convert(X, lo, hi, scratch, part):
        K = X.shape[1]
        start = part * ROW_BLOCK * K
        for i in range(lo, hi):
            for k in range(K):
                scratch[start + (i - lo) * K + k] = X[i, k]
        return scratch, start

    return convert


@kernel
def linear_forward(part, parts, X, W, b, scale, relu, Y, scratch):
    """Y = f(scale * X @ W + b) for this part's rows; b empty for none.

    ``scratch`` is flat, parts * ROW_BLOCK * I elements, for an integer X to be converted in; else empty.
    """
    first, last = share(part, parts, X.shape[0])
    K, N = W.shape
    for lo in range(first, last, ROW_BLOCK):
        rows = min(ROW_BLOCK, last - lo)
        A, a = _float_rows(X, lo, lo + rows, scratch, part)
        gemm(rows, N, K, A, a, K, 1, flat(W), 0, N, flat(Y), lo * N, N)
        finish_rows(flat(Y), lo * N, rows, N, b, 0, b.size > 0, scale, relu)


@kernel
def transpose(part, parts, I, O, W, w, WT, wt):
    """WT [O, I] = W.T for this part's rows of W [I, O], from W[w] to WT[wt] on, both flat.

    In blocks that are whole cache lines both ways.
    """
    first, last = share(part, parts, I)
    for k0 in range(first, last, TRANSPOSE_BLOCK):
        k1 = min(k0 + TRANSPOSE_BLOCK, last)
        for j0 in range(0, O, TRANSPOSE_BLOCK):
            for j in range(j0, min(j0 + TRANSPOSE_BLOCK, O)):
                for k in range(k0, k1):
                    WT[wt + j * I + k] = W[w + k * O + j]


@kernel
def mask(Y, y, dY, dy, n):
    """dY = 0 where Y <= 0, the derivative of ReLU, for n elements from Y[y] and dY[dy] on; NaN passes."""
    for i in range(n):
        if Y[y + i] <= 0:
            dY[dy + i] = 0


@kernel
def linear_backward_input(part, parts, dY, WT, relu_output, dX):
    """dX = dY @ WT for this part's rows, WT = W.T, zero where relu_output <= 0 (empty for no mask)."""
    first, last = share(part, parts, dY.shape[0])
    K, N = WT.shape
    for lo in range(first, last, ROW_BLOCK):
        rows = min(ROW_BLOCK, last - lo)
        gemm(rows, N, K, flat(dY), lo * K, K, 1, flat(WT), 0, N, flat(dX), lo * N, N)
        if relu_output.size:
            mask(flat(relu_output), lo * N, flat(dX), lo * N, rows * N)


@kernel
def column_sums(part, parts, M, N, dY, dy, db, o):
    """db[o + j] = sum over the M rows of dY[:, j], rows in order, for this part's columns; dY from dY[dy] on, flat."""
    lo, hi = share(part, parts, N)
    for j in range(lo, hi):
        db[o + j] = 0
    for i in range(M):
        for j in range(lo, hi):
            db[o + j] += dY[dy + i * N + j]


@kernel
def linear_backward_weight(part, parts, X, dY, scale, dW, db):
    """dW = scale * X.T @ dY for this part's rows of dW, and db = dY.sum(0) for its share of columns (db empty: none)."""
    lo, hi = share(part, parts, X.shape[1])
    N = dY.shape[1]
    gemm(hi - lo, N, X.shape[0], flat(X), lo, 1, X.shape[1], flat(dY), 0, N, flat(dW), lo * N, N)
    finish_rows(flat(dW), lo * N, hi - lo, N, db, 0, False, scale, False)
    if db.size:
        column_sums(part, parts, X.shape[0], N, flat(dY), 0, db, 0)


@kernel
def linear_backward_update(part, parts, M, K, N, X, x, dY, dy, scale, rule, lr, t, W, w, state, q, strips):
    """Step W by scale * X.T @ dY, this part's rows of W.

    X [M, K] from X[x], dY [M, N] from dY[dy], W [K, N] from W[w], its state [slots, K, N] from state[q]; all flat. The
    gradient exists only as a strip of TILE_ROWS rows, in L1: ``strips`` has
    at least TILE_ROWS * N elements for each part; parts may be in different layers, so its size sets their places.
    """
    lo, hi = share(part, parts, K)
    strip = part * (strips.size // parts)
    for k in range(lo, hi, TILE_ROWS):
        n = min(TILE_ROWS, hi - k)
        gemm(n, N, M, X, x + k, 1, K, dY, dy, N, strips, strip, N)
        at = k * N
        first, second = q + at, q + at + K * N
        update_span(
            rule, rule.weight_decay, lr, t, W, w + at, strips, strip, scale, state, first, state, second, n * N
        )  # fmt: skip


@kernel
def bias_backward_update(part, parts, M, N, dY, dy, rule, lr, t, b, o, state, q, strips):
    """Step b by dY.sum(0), this part's columns; the operands as above. Never decayed: that only moves the boundary."""
    lo, hi = share(part, parts, N)
    strip = part * (strips.size // parts)
    column_sums(part, parts, M, N, dY, dy, strips, strip)
    first, second = q + lo, q + lo + N
    update_span(rule, 0.0, lr, t, b, o + lo, strips, strip + lo, 1.0, state, first, state, second, hi - lo)
