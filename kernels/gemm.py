"""Matrix products on register tiles, with the epilogues of a linear layer.

Legend: ``C[M, N] = A[M, K] @ B[K, N]``; ``a``, ``b``, ``c`` are offsets in elements of the operands' first elements,
``a_row``/``a_col`` the strides of A (so that one kernel serves X and X.T), ``ldb``/``ldc`` the row lengths of B and C.

Each C[i, j] is one chain of fused multiply-adds over k = 0 .. K-1, whatever tile it falls in: its bits depend neither
on the number of threads nor on the other rows of the batch. (Only a layer of one output, and an input gradient of fewer
than DOT_ROWS rows, are taken as dot products, in another order.) All functions here are raw: nothing is checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from . import simd
from .intrinsics import flat, out_of_line
from .jit import kernel, overload, piece
from .narrow import gemm_narrow
from .team import share
from .tuning import (
    BLOCK_COLUMNS,
    BLOCK_DEPTH,
    CONVERTED_ROWS,
    DOT_COLUMNS,
    DOT_ROWS,
    GROUP_ROWS,
    NARROW_COLUMNS,
    PACK_A,
    PACK_ROWS,
    READ_IN_PLACE_BYTES,
    ROW_BLOCK,
    STREAM_BYTES,
    STREAM_DEPTH,
    STRIP_ROWS,
    SWAPPED_DEPTH,
    SWAPPED_ROWS,
    TILE_ROWS,
    TILE_VECTORS,
    TURNED_LANES,
)
from .update import update_rows, update_span


def _make_tile(rows: int, vectors: int, full: bool) -> Any:
    """The micro-kernel for a block of C of ``rows`` x ``vectors``, n columns of it; adds to C to ``resume``.

    n is all of them where it is ``full``: masks in the loop take a seventh of the speed of a core that does two products a
    cycle. The first ``skip`` rows are computed but not stored: another tile has them.
    """

    @piece
    def gemm_tile(K, A, a, a_row, a_col, B, b, ldb, C, c, ldc, n, resume, skip):
        acc = simd.tile_zeros(C, rows, vectors)
        if resume:  # what was stored after the terms before is exactly what was in the registers
            acc = simd.tile_load(C, c, ldc, rows, vectors, n)
        for _ in range(K):
            acc = simd.tile_fma(acc, A, a, a_row, B, b) if full else simd.tile_fma_masked(acc, A, a, a_row, B, b, n)
            a += a_col
            b += ldb
        simd.tile_store(C, c, ldc, acc, n, skip)

    return gemm_tile


def _make_stripe(rows: int, vectors: int) -> Any:
    """``rows`` rows of C across all columns: tiles ``vectors`` wide, then vector by vector.

    Columns from j on are at B[b + j * b_step], their rows ``ldb`` apart: b_step is 1, or the depth of packed panels.
    """
    tile, edge = _make_tile(rows, vectors, True), _make_tile(rows, 1, False)

    @piece
    def gemm_stripe(N, K, A, a, a_row, a_col, B, b, ldb, b_step, C, c, ldc, resume, skip):
        out_of_line()
        lanes = simd.lanes(C)
        wide = vectors * lanes
        full = N - N % wide
        for j in range(0, full, wide):
            tile(K, A, a, a_row, a_col, B, b + j * b_step, ldb, C, c + j, ldc, wide, resume, skip)
        rest = b + full * b_step
        for j in range(full, N, lanes):
            edge(K, A, a, a_row, a_col, B, rest + j - full, ldb, C, c + j, ldc, min(lanes, N - j), resume, skip)

    return gemm_stripe


_tiles = _make_stripe(TILE_ROWS, TILE_VECTORS)
# Few rows leave registers for wide tiles, which read whole cache lines of B where it lies.
_wide4, _wide2, _wide1 = (
    _make_stripe(rows, vectors * simd.REGISTERS // 32) for rows, vectors in ((4, 4), (2, 8), (1, 8))
)


@piece
def _gemm_in_place(M, N, K, A, a, a_row, a_col, B, b, ldb, C, c, ldc, resume):
    """For few rows: B is read where it lies, its rows contiguous."""
    i = 0
    while M - i >= TILE_ROWS:
        _tiles(N, K, A, a + i * a_row, a_row, a_col, B, b, ldb, 1, C, c + i * ldc, ldc, resume, 0)
        i += TILE_ROWS
    while M - i >= 4:
        _wide4(N, K, A, a + i * a_row, a_row, a_col, B, b, ldb, 1, C, c + i * ldc, ldc, resume, 0)
        i += 4
    if M - i >= 2:
        _wide2(N, K, A, a + i * a_row, a_row, a_col, B, b, ldb, 1, C, c + i * ldc, ldc, resume, 0)
        i += 2
    if M - i >= 1:
        _wide1(N, K, A, a + i * a_row, a_row, a_col, B, b, ldb, 1, C, c + i * ldc, ldc, resume, 0)


@piece
def _pack(K, N, B, b, b_row, b_col, P, p, width):
    """Panels of B[K, N], each ``width`` columns wide and contiguous row by row, from P[p] on.

    ``b_row`` or ``b_col`` is 1. What lies in the last panel past N is never used.
    """
    out_of_line()
    lanes = simd.lanes(P)
    if b_col == 1:
        for left in range(0, N, width):
            n, at = min(width, N - left), b + left
            for _ in range(K):
                for j in range(0, n, lanes):
                    simd.store(P, p + j, simd.load_masked(B, at + j, n - j))
                p += width
                at += b_row
        return
    for j in range(0, N, lanes):
        n = min(lanes, N - j)
        panel = p + (j - j % width) * K + j % width
        for k in range(0, K, lanes):
            simd.transpose(B, b + j * b_col + k, b_col, n, min(lanes, K - k), P, panel + k * width, width)


@piece
def _pack_group(first, M, depth, A, a, a_col, P, p):
    """Rows of A from ``first`` on, GROUP_ROWS or the rest, for tiles: from P[p] on the first tile's, term by term, and so on.

    For an A whose rows lie side by side. The last tile begins earlier where the rows do not fill it.
    """
    out_of_line()
    lanes = simd.lanes(P)
    for k in range(depth):
        to = p + k * TILE_ROWS
        for i in range(first, min(first + GROUP_ROWS, M), TILE_ROWS):
            row = a + min(i, M - TILE_ROWS)
            for r in range(0, TILE_ROWS, lanes):
                rest = min(lanes, TILE_ROWS - r)
                simd.store_masked(P, to + r, simd.load_masked(A, row + r, rest), rest)
            to += depth * TILE_ROWS
        a += a_col


@piece
def _gemm_packed(begun, M, N, K, A, a, a_row, a_col, B, b, b_row, b_col, C, c, ldc, P, p):
    """For many rows: blocks of B packed for L2, as in Goto and van de Geijn 2008; A is read where it lies, or see PACK_A."""
    lanes = simd.lanes(C)
    for k in range(0, max(K, 1), BLOCK_DEPTH):
        depth = min(BLOCK_DEPTH, K - k)
        resume = begun or k > 0
        for j in range(0, N, BLOCK_COLUMNS):
            n = min(BLOCK_COLUMNS, N - j)
            width = TILE_VECTORS * lanes if M >= TILE_ROWS else n + -n % lanes
            _pack(depth, n, B, b + k * b_row + j * b_col, b_row, b_col, P, p, width)
            here, there = a + k * a_col, c + j
            if M < TILE_ROWS:
                _gemm_in_place(M, n, depth, A, here, a_row, a_col, P, p, width, C, there, ldc, resume)
                continue
            for i in range(0, M, TILE_ROWS):
                # The last rows, where they do not fill a tile, in one that begins earlier.
                row = min(i, M - TILE_ROWS)
                at, to = here + row * a_row, there + row * ldc
                if PACK_A and a_row == 1:
                    group = p + BLOCK_DEPTH * BLOCK_COLUMNS
                    if i % GROUP_ROWS == 0:
                        _pack_group(i, M, depth, A, here, a_col, P, group)
                    at = group + i % GROUP_ROWS * depth
                    _tiles(n, depth, P, at, 1, TILE_ROWS, P, p, width, depth, C, to, ldc, resume, i - row)
                else:
                    _tiles(n, depth, A, at, a_row, a_col, P, p, width, depth, C, to, ldc, resume, i - row)


GEMM_SIZE = BLOCK_DEPTH * (BLOCK_COLUMNS + (GROUP_ROWS if PACK_A else 0))
PACK_SIZE = GEMM_SIZE + STRIP_ROWS * CONVERTED_ROWS
"""Elements of scratch that ``gemm`` needs, and that kernels need for each part: for a block of integers as floats, too."""


@piece
def _gemm_swapped(M, N, K, A, a, a_row, B, b, b_col, C, c, ldc, P, p):
    """C.T = B.T @ A.T, for an A smaller than B: A is packed, and B.T read along its rows, where they lie.

    C.T goes through a strip of GROUP_ROWS rows, which stays in L1 until it is turned.
    """
    lanes = simd.lanes(C)
    width = TILE_VECTORS * lanes
    deepest = min(K, SWAPPED_DEPTH) + TILE_ROWS  # the last tile of a strip may begin that much before it
    most = GEMM_SIZE // (deepest + GROUP_ROWS) // width * width
    for first in range(0, M, most):
        m = min(most, M - first)
        wide = m + -m % width
        strip = p + deepest * wide
        for k in range(0, K, SWAPPED_DEPTH):
            depth = min(SWAPPED_DEPTH, K - k)
            _pack(depth, m, A, a + first * a_row + k, 1, a_row, P, p, width)
            for i in range(0, N, GROUP_ROWS):
                rows, to = min(GROUP_ROWS, N - i), c + first * ldc + i
                if k > 0:
                    _pack(rows, m, C, to, 1, ldc, P, strip, wide)  # transposed: it is one panel
                for r in range(0, rows, TILE_ROWS):
                    row = min(i + r, N - TILE_ROWS)
                    at, sums = b + row * b_col + k, strip + (row - i) * wide
                    _tiles(wide, depth, B, at, b_col, 1, P, p, width, depth, P, sums, wide, k > 0, i + r - row)
                _pack(m, rows, P, strip, 1, wide, C, to, ldc)  # and back


@piece
def _packs_less_swapped(M, N, K, width):
    """Whether A is so much smaller than B that the rows that fill its last panel cost less than packing B."""
    return SWAPPED_ROWS * M * (K + N) + -M % width * N * K < SWAPPED_ROWS * N * K and N >= TILE_ROWS


@kernel
def gemm(M, N, K, A, a, a_row, a_col, B, b, b_row, b_col, C, c, ldc, P, p):
    """C[M, N] = A[M, K] @ B[K, N], B with ``b_row`` or ``b_col`` 1; GEMM_SIZE elements from P[p] on are scratch."""
    out_of_line()
    gemm_onto(False, M, N, K, A, a, a_row, a_col, B, b, b_row, b_col, C, c, ldc, P, p)


@kernel
def gemm_onto(resume, M, N, K, A, a, a_row, a_col, B, b, b_row, b_col, C, c, ldc, P, p):
    """``gemm``, or with ``resume`` C += A @ B, as if the terms of before came first: B with ``b_col`` 1."""
    out_of_line()
    lanes = simd.lanes(C)
    one_output = N == 1 and ldc == 1 and b_row == 1  # of the layer: a part with one column of many is another matter
    if one_output and a_col == 1 and a_row != 1:
        _dots(1, M, K, B, b, K, A, a, a_row, C, c, M)
    elif N <= NARROW_COLUMNS and lanes <= M and (a_row == 1 or (a_col == 1 and lanes >= TURNED_LANES)):
        gemm_narrow(M, N, K, A, a, a_row, a_col, B, b, b_row, b_col, C, c, ldc, P, p, GEMM_SIZE, resume)
    elif b_col == 1 and (M < PACK_ROWS or K * b_row * C.itemsize <= READ_IN_PLACE_BYTES):
        depth = max(K, 1) if K * N * C.itemsize <= STREAM_BYTES else STREAM_DEPTH
        for k in range(0, max(K, 1), depth):
            here, rest = a + k * a_col, min(depth, K - k)
            _gemm_in_place(M, N, rest, A, here, a_row, a_col, B, b + k * b_row, b_row, C, c, ldc, resume or k > 0)
    elif b_col != 1 and a_col == 1 and _packs_less_swapped(M, N, K, TILE_VECTORS * lanes):
        _gemm_swapped(M, N, K, A, a, a_row, B, b, b_col, C, c, ldc, P, p)
    else:
        _gemm_packed(resume, M, N, K, A, a, a_row, a_col, B, b, b_row, b_col, C, c, ldc, P, p)


def _make_finish(rows: int) -> Any:
    """f(factor * Y + b) of up to a vector of each of ``rows`` rows, all read before one is stored: the rows of few columns
    share cache lines, and to read from a line that is still being written to takes as long as ten rows."""

    @piece
    def finish_tile(Y, y, step, n, factor, b, o, biased, relu):
        x = simd.tile_load(Y, y, step, rows, 1, n)
        if biased:
            x = simd.fma(x, factor, simd.load_masked(b, o, n))
        else:
            x = x * factor
        if relu:
            x = simd.maximum(x, simd.zeros(Y))
        simd.tile_store(Y, y, step, x, n, 0)

    return finish_tile


_finish_eight, _finish_one = _make_finish(8), _make_finish(1)


@kernel
def finish_rows(Y, y, rows, n, step, b, o, biased, scale, relu):
    """Y = f(scale * Y + b), in place while it is in cache; f the identity or ReLU.

    Y are ``rows`` rows of n elements, ``step`` apart from Y[y] on; b the n biases from b[o] on, if ``biased``; both flat.
    """
    out_of_line()
    if not (biased or relu or scale != 1):
        return
    lanes = simd.lanes(Y)
    factor, eights = simd.broadcast(Y, scale), rows - rows % 8
    for j in range(0, n, lanes):
        rest = min(lanes, n - j)
        for row in range(0, eights, 8):
            _finish_eight(Y, y + row * step + j, step, rest, factor, b, o + j, biased, relu)
        for row in range(eights, rows):
            _finish_one(Y, y + row * step + j, step, rest, factor, b, o + j, biased, relu)


def _float_rows(X, lo, hi, scratch, part):
    """Rows lo..hi of X as floats: (flat array, offset)."""


@overload(_float_rows)
def _float_rows_overload(X, lo, hi, scratch, part):
    if isinstance(X.dtype, types.Float):
        return lambda X, lo, hi, scratch, part: (flat(X), lo * X.shape[1])

    def convert(X, lo, hi, scratch, part):
        K = X.shape[1]
        start = part * ROW_BLOCK * K
        # Unsigned: a signed index might count from the end, and such a loop is not vectorised.
        to, source, at = np.uintp(start), flat(X), np.uintp(lo * K)
        for k in range(np.uintp((hi - lo) * K)):
            scratch[to + k] = source[at + k]
        return scratch, start

    return convert


@piece
def _columns_share(part, parts, N, width):
    """This part's columns of N, in whole panels but for the last."""
    lo, hi = share(part, parts, (N + width - 1) // width)
    return min(lo * width, N), min(hi * width, N)


@piece
def _block(part, parts, M, N, width):
    """(first row, last row, first column, last column) of this part of an M x N result, of a grid of equal blocks.

    Of those grids the one whose blocks take least to pack their columns of B, twice as dear, and to read their rows of A: two
    parts split rows only where C is tall. Ice Lake, 2 threads, speed as a part of MKL's, with rows and with columns split:
    200 x 1024 x 1024 0.87 and 1.01, 128 x 4096 x 4096 0.80 and 0.87.
    """
    across = 1
    for c in range(2, parts + 1):
        less = 2 * N / c + M * c / parts < 2 * N / across + M * across / parts
        if parts % c == 0 and 2 * c * width <= N and less:
            across = c
    first, last = share(part // across, parts // across, M)
    left, right = _columns_share(part % across, across, N, width)
    return first, last, left, right


@kernel
def linear_forward(part, parts, X, W, b, scale, relu, Y, scratch, P):
    """Y = f(scale * X @ W + b) for this part of Y; b empty for none.

    ``scratch`` is flat, parts * ROW_BLOCK * I elements, for an integer X to be converted in; else empty. ``P`` is flat,
    PACK_SIZE elements for each part.
    """
    K, N = W.shape
    first, last, left, right = _block(part, parts, X.shape[0], N, TILE_VECTORS * simd.lanes(Y))
    # Integers go through the scratch block by block; floats in one go.
    step = ROW_BLOCK if scratch.size else max(last - first, 1)
    for lo in range(first, last, step):
        rows = min(step, last - lo)
        A, a = _float_rows(X, lo, lo + rows, scratch, part)
        y = lo * N + left
        gemm(rows, right - left, K, A, a, K, 1, flat(W), left, N, 1, flat(Y), y, N, P, part * PACK_SIZE)
        finish_rows(flat(Y), y, rows, right - left, N, b, left, b.size > 0, scale, relu)


@kernel
def mask(Y, y, dY, dy, rows, n, step, factor):
    """dY = 0 where Y <= 0, else factor * dY: the derivative of ReLU, and of dropout, ``factor`` 1 / (1 - p), behind it.

    ``rows`` rows of n elements, ``step`` apart; NaN passes.
    """
    out_of_line()
    lanes = simd.lanes(dY)
    zero, scale = simd.zeros(dY), simd.broadcast(dY, factor)
    for i in range(rows):
        at, to = y + i * step, dy + i * step
        for j in range(0, n, lanes):
            rest = min(lanes, n - j)
            off = simd.load_masked(Y, at + j, rest) <= zero
            simd.store_masked(dY, to + j, simd.select(off, zero, scale * simd.load_masked(dY, to + j, rest)), rest)


def _make_dots(columns: int) -> Any:
    """C[c + j] = A[a : a + K] . B[b + j * b_col : ... + K] for so many j."""

    @piece
    def dots(K, A, a, B, b, b_col, C, c):
        lanes = simd.lanes(C)
        acc, full = simd.tile_zeros(C, columns, 1), K - K % lanes
        for k in range(0, full, lanes):
            acc = simd.fma(simd.tile_load(B, b + k, b_col, columns, 1, lanes), simd.load(A, a + k), acc)
        if full < K:
            row = simd.load_masked(A, a + full, K - full)
            acc = simd.fma(simd.tile_load(B, b + full, b_col, columns, 1, K - full), row, acc)
        simd.store_masked(C, c, simd.tile_sums(acc), columns)

    return dots


_some_dots, _one_dot = _make_dots(DOT_COLUMNS), _make_dots(1)


@piece
def _dots(M, N, K, A, a, a_row, B, b, b_col, C, c, ldc):
    """C[i, j] = A[i] . B[j] for rows of A and B that are contiguous: few rows of A against many of B, each read once."""
    blocks = N - N % DOT_COLUMNS
    for j in range(0, blocks, DOT_COLUMNS):
        for i in range(M):
            _some_dots(K, A, a + i * a_row, B, b + j * b_col, b_col, C, c + i * ldc + j)
    for j in range(blocks, N):
        for i in range(M):
            _one_dot(K, A, a + i * a_row, B, b + j * b_col, b_col, C, c + i * ldc + j)


@kernel
def gemm_transposed(few, M, N, K, A, a, a_row, B, b, ldb, C, c, ldc, P, p):
    """C[M, N] = A[M, K] @ B[N, K].T, rows of all contiguous; as dot products where the batch has ``few`` rows: see DOT_ROWS."""
    if few:
        _dots(M, N, K, A, a, a_row, B, b, ldb, C, c, ldc)
    else:
        gemm(M, N, K, A, a, a_row, 1, B, b, 1, ldb, C, c, ldc, P, p)


@kernel
def linear_backward_input(part, parts, dY, W, relu_output, dX, P):
    """dX = dY @ W.T for this part of dX, zero where relu_output <= 0 (empty for no mask); P as in the forward."""
    N, K = W.shape
    M = dY.shape[0]
    first, last, left, right = _block(part, parts, M, N, TILE_VECTORS * simd.lanes(dX))
    rows, columns = last - first, right - left
    x = first * N + left
    gemm_transposed(
        M < DOT_ROWS, rows, columns, K, flat(dY), first * K, K, flat(W), left * K, K, flat(dX), x, N, P, part * PACK_SIZE
    )  # fmt: skip
    if relu_output.size:
        mask(flat(relu_output), x, flat(dX), x, rows, columns, N, 1.0)


@kernel
def column_sums(first, last, M, N, dY, dy, db, o):
    """db[o + j] = sum over the M rows of dY[:, j], rows in order, for columns first .. last - 1; dY from dY[dy] on, flat."""
    lanes = simd.lanes(dY)
    j = first
    while last - j >= 4 * lanes:  # four chains, to hide the latency of the additions
        acc = simd.tile_zeros(dY, 1, 4)
        for i in range(M):
            acc = simd.tile_axpy(acc, dY.dtype.type(1), dY, dy + i * N + j, 4 * lanes)
        simd.tile_store(db, o + j, 0, acc, 4 * lanes, 0)
        j += 4 * lanes
    while j < last:
        n = min(lanes, last - j)
        total = simd.zeros(dY)
        for i in range(M):
            total = total + simd.load_masked(dY, dy + i * N + j, n)
        simd.store_masked(db, o + j, total, n)
        j += lanes


def _weight_product(rows, n, M, K, N, X, x, dY, dy, C, c, ldc, P, p):
    """C[rows, n] = X[M, :rows].T @ dY[M, :n]; X [M, K] from X[x] on, dY [M, N] from dY[dy] on, C's rows ldc apart."""


@overload(_weight_product)
def _weight_product_overload(rows, n, M, K, N, X, x, dY, dy, C, c, ldc, P, p):
    if isinstance(X.dtype, types.Float):

        def product(rows, n, M, K, N, X, x, dY, dy, C, c, ldc, P, p):
            gemm(rows, n, M, X, x, 1, K, dY, dy, N, 1, C, c, ldc, P, p)

        return product

    def product_of_integers(rows, n, M, K, N, X, x, dY, dy, C, c, ldc, P, p):
        block = p + GEMM_SIZE
        for i in range(0, max(M, 1), CONVERTED_ROWS):
            few = min(CONVERTED_ROWS, M - i)
            for r in range(few):
                # Unsigned: see _float_rows.
                to, at = np.uintp(block + r * rows), np.uintp(x + (i + r) * K)
                for k in range(np.uintp(rows)):
                    P[to + k] = X[at + k]
            gemm_onto(i > 0, rows, n, few, P, block, 1, rows, dY, dy + i * N, N, 1, C, c, ldc, P, p)

    return product_of_integers


@kernel
def linear_backward_weight(part, parts, X, dY, scale, dW, db, P):
    """dW = scale * X.T @ dY for this part of dW, and db = dY.sum(0) for its share of columns (db empty: none)."""
    M, K = dY.shape[0], X.shape[1]
    N = dY.shape[1]
    first, last, left, right = _block(part, parts, K, N, TILE_VECTORS * simd.lanes(dW))
    columns, step = (
        right - left,
        STRIP_ROWS if X.itemsize == 1 else max(last - first, 1),
    )  # a strip of integers is converted
    for k in range(first, last, step):
        rows, w = min(step, last - k), k * N + left
        _weight_product(rows, columns, M, K, N, flat(X), k, flat(dY), left, flat(dW), w, N, P, part * PACK_SIZE)
        finish_rows(flat(dW), w, rows, columns, N, db, 0, False, scale, False)
    if db.size:
        left, right = share(part, parts, N)
        column_sums(left, right, M, N, flat(dY), 0, db, 0)


def strip_size(columns: int) -> int:
    """Elements of scratch that ``linear_backward_update`` and ``bias_backward_update`` need for each part."""
    return max(STRIP_ROWS * min(columns, BLOCK_COLUMNS), columns)


@kernel
def linear_backward_update(part, parts, M, K, N, X, x, dY, dy, scale, rule, lr, t, W, w, state, q, strips, P):
    """Step W by scale * X.T @ dY, this part's rows of W.

    X [M, K] from X[x], dY [M, N] from dY[dy], W [K, N] from W[w], its state [slots, K, N] from state[q]; all flat. The
    gradient exists only as a strip of STRIP_ROWS rows and BLOCK_COLUMNS columns, in cache: ``strips`` has ``strip_size(N)``
    elements for each part, or more, and P PACK_SIZE; parts may be in different layers, so the sizes set their places.
    """
    out_of_line()
    lo, hi = share(part, parts, K)
    strip = part * (strips.size // parts)
    for left in range(0, N, BLOCK_COLUMNS):
        n = min(BLOCK_COLUMNS, N - left)
        for k in range(lo, hi, STRIP_ROWS):
            rows = min(STRIP_ROWS, hi - k)
            _weight_product(rows, n, M, K, N, X, x + k, dY, dy + left, strips, strip, n, P, part * PACK_SIZE)
            at = k * N + left
            # Rows that lie side by side are one.
            runs, length = (1, rows * n) if n == N else (rows, n)
            update_rows(
                rule, rule.weight_decay, lr, t, W, w + at, strips, strip, scale, state, q + at, state, q + at + K * N,
                runs, length, N,
            )  # fmt: skip


@kernel
def bias_backward_update(part, parts, M, N, dY, dy, rule, lr, t, b, o, state, q, strips):
    """Step b by dY.sum(0), this part's columns; the operands as above. Never decayed: that only moves the boundary."""
    lo, hi = share(part, parts, N)
    strip = part * (strips.size // parts)
    column_sums(lo, hi, M, N, dY, dy, strips, strip)
    first, second = q + lo, q + lo + N
    update_span(rule, 0.0, lr, t, b, o + lo, strips, strip + lo, 1.0, state, first, state, second, hi - lo)
