"""Matrix products on register tiles, with the epilogues of a linear layer.

Legend: ``C[M, N] = A[M, K] @ B[K, N]``; each is a ``Matrix``, whose element [i, j] is values[i * row + j * column], so
that one kernel serves X and X.T. ``pack_buffer`` is this thread's scratch of PACK_SIZE elements, for packed operands.

Each C[i, j] is one chain of fused multiply-adds over k = 0 .. K-1, whatever tile it falls in: its bits depend neither
on the number of threads nor on the other rows of the batch. Dot products, which are summed in another order, are taken
for a layer of one output, in ``linear_forward`` for one of few outputs, and for an input gradient of few rows. The sums
of ``bfloat16`` are in yet another order, the same for any split. All functions here are raw: they check nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from . import simd
from .bfloat16 import SIZE, TERMS, gemm_in_bfloat16
from .bundles import Matrix, after, after_each, from_element, from_row, views
from .intrinsics import begins_line, copy_few, flat, flat_as, flat_to_read, out_of_line, prefetch
from .jit import by_types, kernel, piece
from .memory import LINE_BYTES
from .narrow import gemm_narrow, make_tile, transpose_rows
from .team import share
from .tuning import (
    BLOCK_COLUMNS,
    BLOCK_DEPTH,
    CONVERTED_ROWS,
    DOT_COLUMNS,
    DOT_ROWS,
    DOT_TERMS,
    FEW_DOT_ROWS,
    FLOAT_ROWS,
    FORWARD_DOT_TERMS,
    FULL_LANES,
    GROUP_ROWS,
    GROUP_TERMS,
    IDLE_LANES,
    IN_PLACE_BLOCK_BYTES,
    IN_PLACE_BYTES,
    NARROW_COLUMNS,
    NARROW_VECTORS,
    PACK_A,
    PACK_AHEAD,
    PACK_COLUMNS,
    PACK_ROWS,
    PACK_ROWS_ON_LINES,
    READ_IN_PLACE_BYTES,
    ROW_BLOCK,
    SHARED_COLUMNS,
    STRIP_ROWS,
    SWAPPED_DEPTH,
    SWAPPED_ROWS,
    TILE_ROWS,
    TILE_VECTORS,
)
from .update import Schedule, step_of, step_rows


def _make_stripe(rows: int, vectors: int, rest: bool = True) -> Any:
    """``rows`` rows of C: tiles of ``vectors`` vectors across the columns, then single vectors if ``rest`` is set.

    The tile at column j reads B from values[j * column] on: ``column`` is 1, or the depth of packed panels. Where many
    rows are computed, a stride of A that is 1 is given as a constant: reading A then takes fewer instructions, 4 to 6
    of 29 a term with 16 registers, which is 13 % of the time where another program runs on the same core (Zen 3).
    """
    tile, edge = make_tile(rows, vectors, True), make_tile(rows, 1, False)

    def gemm_stripe(N, K, A, B, C, resume, skip):
        out_of_line()
        lanes = simd.lanes(C.values)
        width = vectors * lanes
        full = N - N % width
        for j in range(0, full, width):
            panel, sums = from_element(B, 0, j), from_element(C, 0, j)
            if rows == TILE_ROWS and A.column == 1:
                tile(K, Matrix(A.values, A.row, 1), panel, sums, width, resume, skip)
            elif rows == TILE_ROWS and A.row == 1:
                tile(K, Matrix(A.values, 1, A.column), panel, sums, width, resume, skip)
            else:
                tile(K, A, panel, sums, width, resume, skip)
        if rest:
            panel = from_element(B, 0, full)  # the last, whose columns are contiguous
            for j in range(full, N, lanes):
                here = Matrix(after(panel.values, j - full), B.row, 1)
                edge(K, A, here, from_element(C, 0, j), min(lanes, N - j), resume, skip)

    return gemm_stripe


_stripe = kernel(_make_stripe(TILE_ROWS, TILE_VECTORS))
# Few rows leave registers for wide tiles, which read whole cache lines of an unpacked B.
_wide4, _wide2, _wide1, _widest1 = (
    piece(_make_stripe(rows, vectors * simd.REGISTERS // 32, rest))
    for rows, vectors, rest in ((4, 4, True), (2, 8, True), (1, 8, True), (1, 16, False))
)


@kernel
def _few_rows(M, N, K, A, B, C, resume):
    """C = A @ B (+= if ``resume``) for fewer rows than a tile has."""
    i = 0
    while M - i >= 4:
        _wide4(N, K, from_row(A, i), B, from_row(C, i), resume, 0)
        i += 4
    if M - i >= 2:
        _wide2(N, K, from_row(A, i), B, from_row(C, i), resume, 0)
        i += 2
    if M - i >= 1:
        # Zen 5, us with 8 and 16 vectors: 784 x 256 4.2 and 3.7, not on cache lines 6.2 and 5.4; 1024 x 1024 44 and 36.
        terms, sums, wide = from_row(A, i), from_row(C, i), simd.REGISTERS // 2 * simd.lanes(C.values)
        first = N - N % wide
        _widest1(first, K, terms, B, sums, resume, 0)
        _wide1(N - first, K, terms, from_element(B, 0, first), from_element(sums, 0, first), resume, 0)


@piece
def gemm_in_place(M, N, K, A, B, C, resume):
    """C = A @ B (+= if ``resume``) without packing, for few rows; the rows of B are contiguous."""
    full = M - M % TILE_ROWS
    for i in range(0, full, TILE_ROWS):
        _stripe(N, K, from_row(A, i), B, from_row(C, i), resume, 0)
    if full < M:
        _few_rows(M - full, N, K, from_row(A, full), B, from_row(C, full), resume)


@piece
def _pack(K, N, B, panels, width):
    """Pack B[K, N] into flat ``panels``, each ``width`` columns wide and contiguous, row after row.

    The rows or the columns of B are contiguous. Columns of the last panel past N are undefined and never used.
    """
    out_of_line()
    lanes = simd.lanes(panels)
    if B.column == 1:
        whole, together = N - N % width, max(PACK_COLUMNS // width, 1) * width
        for left in range(0, whole, together):
            right = min(left + together, whole)
            for k in range(K):
                source, to = k * B.row, left * K + k * width
                for panel in range(left, right, width):
                    for j in range(panel, panel + width, lanes):
                        prefetch(B.values, source + j + PACK_AHEAD * B.row)
                        simd.store(panels, to + j - panel, simd.load(B.values, source + j))
                    to += width * K
        for k in range(K if whole < N else 0):
            source, to = k * B.row, whole * K + k * width - whole
            for j in range(whole, N, lanes):
                simd.store(panels, to + j, simd.load_masked(B.values, source + j, N - j))
        return
    for j in range(0, N, lanes):
        n = min(lanes, N - j)
        panel = (j - j % width) * K + j % width
        for k in range(0, K, lanes):
            columns = min(lanes, K - k)
            simd.transpose(B.values, j * B.column + k, B.column, n, columns, panels, panel + k * width, width)


@piece
def _pack_group(first, M, depth, A, tiles):
    """Pack GROUP_ROWS rows of A from ``first`` on, or the rest, tile by tile, each tile column after column.

    The columns of A are contiguous. The last tile starts early where the remaining rows do not fill it.
    """
    out_of_line()
    for k in range(0, depth, GROUP_TERMS):
        to = k * TILE_ROWS
        for i in range(first, min(first + GROUP_ROWS, M), TILE_ROWS):
            row = min(i, M - TILE_ROWS) + k * A.column
            for term in range(min(GROUP_TERMS, depth - k)):
                prefetch(A.values, row + 16 * A.column)
                copy_few(tiles, to + term * TILE_ROWS, A.values, row, TILE_ROWS)
                row += A.column
            to += depth * TILE_ROWS


@piece
def _even(length, most):
    """The length of the fewest blocks of ``length`` if all are as long as the first, at most ``most``."""
    blocks = max((length + most - 1) // most, 1)
    return max((length + blocks - 1) // blocks, 1)


@piece
def _gemm_packed(M, N, K, A, B, C, pack_buffer, resume):
    """The product for many rows: blocks of B are packed for L2 (Goto and van de Geijn 2008), and A if PACK_A is set."""
    lanes = simd.lanes(C.values)
    terms = _even(K, 2 * BLOCK_DEPTH if 2 * N <= BLOCK_COLUMNS else BLOCK_DEPTH)
    for k in range(0, max(K, 1), terms):
        depth = min(terms, K - k)
        onto = resume or k > 0
        for j in range(0, N, BLOCK_COLUMNS):
            n = min(BLOCK_COLUMNS, N - j)
            width = TILE_VECTORS * lanes if M >= TILE_ROWS else n + -n % lanes
            _pack(depth, n, from_element(B, k, j), pack_buffer, width)
            A_block, C_block = from_element(A, 0, k), from_element(C, 0, j)
            if M < TILE_ROWS:
                gemm_in_place(M, n, depth, A_block, Matrix(pack_buffer, width, 1), C_block, onto)
                continue
            panels, group = Matrix(pack_buffer, width, depth), after(pack_buffer, BLOCK_DEPTH * BLOCK_COLUMNS)
            for i in range(0, M, TILE_ROWS):
                row = min(i, M - TILE_ROWS)  # the last tile starts early where the remaining rows do not fill it
                C_rows, skip = from_row(C_block, row), i - row
                if PACK_A and A.row == 1:
                    if i % GROUP_ROWS == 0:
                        _pack_group(i, M, depth, A_block, group)
                    packed = Matrix(after(group, i % GROUP_ROWS * depth), 1, TILE_ROWS)
                    _stripe(n, depth, packed, panels, C_rows, onto, skip)
                else:  # a call of its own: A may be read-only, which is another type than the pack buffer's
                    _stripe(n, depth, from_row(A_block, row), panels, C_rows, onto, skip)


GEMM_SIZE = BLOCK_DEPTH * (BLOCK_COLUMNS + (2 * GROUP_ROWS if PACK_A else 0))
PACK_SIZE = max(GEMM_SIZE + STRIP_ROWS * CONVERTED_ROWS, SIZE)
"""Elements of scratch for ``gemm``; and for a part of a kernel, which also converts a block of integers to floats."""


@piece
def _gemm_swapped(M, N, K, A, B, C, pack_buffer):
    """C.T = B.T @ A.T, for an A smaller than B: A is packed, B is read in place.

    C.T is computed in strips of GROUP_ROWS rows, which stay in L1 until they are transposed into C.
    """
    lanes = simd.lanes(C.values)
    width = TILE_VECTORS * lanes
    deepest = min(K, SWAPPED_DEPTH) + TILE_ROWS  # a strip's last tile may start up to a tile before the strip
    most = GEMM_SIZE // (deepest + GROUP_ROWS) // width * width
    for first in range(0, M, most):
        m = min(most, M - first)
        padded = m + -m % width
        strip = after(pack_buffer, deepest * padded)
        for k in range(0, K, SWAPPED_DEPTH):
            depth = min(SWAPPED_DEPTH, K - k)
            rows = from_element(A, first, k)
            _pack(depth, m, Matrix(rows.values, 1, A.row), pack_buffer, width)
            for i in range(0, N, GROUP_ROWS):
                count, block = min(GROUP_ROWS, N - i), from_element(C, first, i)
                if k > 0:
                    _pack(count, m, Matrix(block.values, 1, C.row), strip, padded)  # transposes: the strip is one panel
                for r in range(0, count, TILE_ROWS):
                    row = min(i + r, N - TILE_ROWS)
                    terms, panels = from_element(B, k, row), Matrix(pack_buffer, width, depth)
                    sums = Matrix(after(strip, (row - i) * padded), padded, 1)
                    _stripe(padded, depth, Matrix(terms.values, B.column, 1), panels, sums, k > 0, i + r - row)
                _pack(m, count, Matrix(strip, 1, padded), block.values, C.row)  # and back


@piece
def _packs_less_swapped(M, N, K, width):
    """Whether packing A, and computing the padding of its last panel, costs less than packing B."""
    return SWAPPED_ROWS * M * (K + N) + -M % width * N * K < SWAPPED_ROWS * N * K and N >= TILE_ROWS


@piece
def _is_narrow(M, N, A, lanes):
    """Whether vectors should run down the columns of C and not along its rows: see NARROW_COLUMNS."""
    transposes, panel, tile = A.row != 1, TILE_VECTORS * lanes, NARROW_VECTORS * lanes
    if transposes and (A.column != 1 or -N % lanes < IDLE_LANES or N < lanes < FULL_LANES):
        return False
    least = lanes if N <= NARROW_COLUMNS else 2 * tile if transposes else tile // 2
    return least <= M and panel > N


@piece
def _reads_in_place(M, K, B):
    """Whether B, whose rows are contiguous, is not packed: for few rows of C, or if B is small enough for its cache."""
    size = B.values.itemsize
    if begins_line(B.values) and B.row * size % LINE_BYTES == 0:
        return M < PACK_ROWS_ON_LINES or K * B.row * size <= IN_PLACE_BYTES
    return M < PACK_ROWS or K * B.row * size <= READ_IN_PLACE_BYTES


@by_types
def _multiplied(M, N, K, A, B, C, pack_buffer, resume):
    """Compute a wide C = A @ B in bfloat16 if ``pack_buffer`` is of int32, for pairs; return whether it did."""
    if isinstance(pack_buffer.dtype, types.Float):
        return lambda M, N, K, A, B, C, pack_buffer, resume: False

    def multiplied(M, N, K, A, B, C, pack_buffer, resume):
        wide = min(N, K) >= TERMS  # else most of a tile would be padding
        if wide:
            gemm_in_bfloat16(M, N, K, A, B, C, pack_buffer, resume)
        return wide

    return multiplied


@kernel
def gemm(M, N, K, A, B, C, pack_buffer, resume):
    """C[M, N] = A[M, K] @ B[K, N]. The rows of C are contiguous, and the rows or the columns of B.

    If ``resume``, C += A @ B, with the bits of one longer sum; then the rows of B must be contiguous. Scratch:
    GEMM_SIZE elements of ``pack_buffer``. One of int32 takes wide products in bfloat16: see ``bfloat16``.
    """
    out_of_line()
    if _multiplied(M, N, K, A, B, C, pack_buffer, resume):
        return
    pack_buffer = flat_as(pack_buffer, C.values)
    lanes, size = simd.lanes(C.values), C.values.itemsize
    one_output = N == 1 and C.row == 1 and B.row == 1  # the layer's only one, not one of several columns
    if one_output and A.column == 1 and A.row != 1:
        _dots(1, M, K, Matrix(B.values, K, 1), Matrix(A.values, 1, A.row), Matrix(C.values, M, 1))
        return
    # The columns past the last whole panel count as few, too, unless columns of B are packed or C.T is computed.
    few = N % (TILE_VECTORS * lanes) if B.column == 1 else N
    if few and _is_narrow(M, few, A, lanes):
        N -= few
        gemm_narrow(M, few, K, A, from_element(B, 0, N), from_element(C, 0, N), pack_buffer, GEMM_SIZE, resume)
    if N == 0:
        return
    if B.column == 1 and _reads_in_place(M, K, B):
        depth = max(IN_PLACE_BLOCK_BYTES // (N * size), 1)
        for k in range(0, max(K, 1), depth):
            rest, more = min(depth, K - k), resume or k > 0
            gemm_in_place(M, N, rest, from_element(A, 0, k), from_row(B, k), C, more)
    elif B.column != 1 and A.column == 1 and _packs_less_swapped(M, N, K, TILE_VECTORS * lanes):
        _gemm_swapped(M, N, K, A, B, C, pack_buffer)
    else:
        _gemm_packed(M, N, K, A, B, C, pack_buffer, resume)


def _make_finish(rows: int) -> Any:
    """Y = f(factor * Y + b) in ``rows`` rows, for n columns from column j on, at most a vector.

    All rows are loaded before one is stored: rows of few columns share cache lines, and a load that waits for a store
    to its line (no store-to-load forwarding) takes as long as ten rows.
    """

    @piece
    def finish_tile(Y, j, n, factor, b, relu):
        x = simd.tile_load(Y.values, j, Y.row, rows, 1, n)
        if b.size:
            x = simd.fma(x, factor, simd.load_masked(b, j, n))
        else:
            x = x * factor
        if relu:
            x = simd.maximum(x, simd.zeros(b))
        simd.tile_store(Y.values, j, Y.row, x, n, 0)

    return finish_tile


_finish_eight, _finish_one = _make_finish(8), _make_finish(1)


@kernel
def finish_rows(rows, n, Y, b, scale, relu):
    """The epilogue of a product, while Y is in cache: Y = f(scale * Y + b) in place, f the identity or ReLU.

    Y has ``rows`` contiguous rows of n elements; b is flat, or empty for none.
    """
    out_of_line()
    if not (b.size or relu or scale != 1):
        return
    lanes = simd.lanes(b)
    factor, eights = simd.broadcast(b, scale), rows - rows % 8
    if n == 1 and Y.row == 1:  # one output: the column is contiguous and taken as one row
        shift = simd.broadcast(b, b[0] if b.size else 0)
        for i in range(0, rows, lanes):
            x = simd.load_masked(Y.values, i, rows - i)
            x = simd.fma(x, factor, shift) if b.size else x * factor
            if relu:
                x = simd.maximum(x, simd.zeros(b))
            simd.store_masked(Y.values, i, x, rows - i)
        return
    for j in range(0, n, lanes):
        rest = min(lanes, n - j)
        for i in range(0, eights, 8):
            _finish_eight(from_row(Y, i), j, rest, factor, b, relu)
        for i in range(eights, rows):
            _finish_one(from_row(Y, i), j, rest, factor, b, relu)


@by_types
def _float_rows(X, lo, hi, converted):
    """Rows lo .. hi - 1 of X as floats: in place, or copied to ``converted`` where X holds integers."""
    if isinstance(X.dtype, types.Float):
        return lambda X, lo, hi, converted: Matrix(after(flat_to_read(X), lo * X.shape[1]), X.shape[1], 1)

    def convert(X, lo, hi, converted):
        # Unsigned: Numba tests whether a signed index counts from the end, and LLVM does not vectorise that.
        source, start = flat(X), np.uintp(lo * X.shape[1])
        for k in range(np.uintp((hi - lo) * X.shape[1])):
            converted[k] = source[start + k]
        return Matrix(converted, X.shape[1], 1)

    return convert


@piece
def _columns_share(part, parts, N, width):
    """This part's range of N columns, in whole panels of ``width`` except for the last."""
    lo, hi = share(part, parts, (N + width - 1) // width)
    return min(lo * width, N), min(hi * width, N)


@piece
def block_of(part, parts, M, N, width):
    """(first row, end row, first column, end column) of this part's block in a grid over an M x N result.

    Of all grids the one with the lowest cost per block is taken: to pack its columns of B, counted twice, and to read
    its rows of A. Two parts split rows only where C is tall. Ice Lake, 2 threads, speed relative to MKL, with rows and
    with columns split: 200 x 1024 x 1024 0.87 and 1.01, 128 x 4096 x 4096 0.80 and 0.87.
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
def linear_forward(part, parts, X, W, b, scale, relu, Y, converted, pack_buffers):
    """Y = f(scale * X @ W + b) for this part of Y; b empty for none.

    Scratch, flat: ``converted`` has parts * ROW_BLOCK * I elements for an integer X as floats, none for a float X;
    ``pack_buffers`` has PACK_SIZE elements for each part.
    """
    K, N = W.shape
    first, last, left, right = block_of(part, parts, X.shape[0], N, TILE_VECTORS * simd.lanes(Y))
    own, pack_buffer = after(converted, part * ROW_BLOCK * K), after(pack_buffers, part * PACK_SIZE)
    weights, bias = Matrix(after(flat_to_read(W), left), N, 1), after(b, left) if b.size else b
    few = 1 < N <= NARROW_COLUMNS and K >= FORWARD_DOT_TERMS and NARROW_COLUMNS * K <= GEMM_SIZE
    columns = Matrix(pack_buffer, 1, K)
    if few:
        transpose_rows(K, N, weights, Matrix(pack_buffer, K, 1))
    step = ROW_BLOCK if converted.size else FLOAT_ROWS
    for lo in range(first, last, step):
        rows = min(step, last - lo)
        A, C = _float_rows(X, lo, lo + rows, own), Matrix(after(flat(Y), lo * N + left), N, 1)
        if few:
            _dots_with_few(rows, N, K, A, columns, C)
        else:
            gemm(rows, right - left, K, A, weights, C, pack_buffer, False)
        finish_rows(rows, right - left, C, bias, scale, relu)


@kernel
def mask(rows, n, Y, dY, factor):
    """dY = 0 where Y <= 0, else factor * dY: backward through ReLU, and through dropout with ``factor`` 1 / (1 - p).

    Y and dY have ``rows`` contiguous rows of n elements; NaN is kept.
    """
    out_of_line()
    lanes = simd.lanes(dY.values)
    zero, scale = simd.zeros(dY.values), simd.broadcast(dY.values, factor)
    for i in range(rows):
        y, dy = i * Y.row, i * dY.row
        for j in range(0, n, lanes):
            rest = min(lanes, n - j)
            off = simd.load_masked(Y.values, y + j, rest) <= zero
            x = simd.select(off, zero, scale * simd.load_masked(dY.values, dy + j, rest))
            simd.store_masked(dY.values, dy + j, x, rest)


def _make_dots(columns: int) -> Any:
    """C[j] = A[:K] . B[:, j] for j < ``columns``."""

    @piece
    def dots(K, A, B, C):
        lanes = simd.lanes(C)
        acc, full = simd.tile_zeros(C, columns, 1), K - K % lanes
        for k in range(0, full, lanes):
            acc = simd.fma(simd.tile_load(B.values, k, B.column, columns, 1, lanes), simd.load(A, k), acc)
        if full < K:
            row = simd.load_masked(A, full, K - full)
            acc = simd.fma(simd.tile_load(B.values, full, B.column, columns, 1, K - full), row, acc)
        simd.store_masked(C, 0, simd.tile_sums(acc), columns)

    return dots


_some_dots, _one_dot = _make_dots(DOT_COLUMNS), _make_dots(1)


def _make_dots_of_four(columns: int) -> Any:
    """C[i, j] = A[i, :K] . B[:, j] for i < 4 and j < n, of ``columns`` columns of B, each loaded once."""

    @piece
    def add_products(sums, A, B, k, n):
        terms, (x, y, z, w) = simd.tile_load(B.values, k, B.column, columns, 1, n), sums
        return (
            simd.fma(terms, simd.load_masked(A.values, k, n), x),
            simd.fma(terms, simd.load_masked(A.values, k + A.row, n), y),
            simd.fma(terms, simd.load_masked(A.values, k + 2 * A.row, n), z),
            simd.fma(terms, simd.load_masked(A.values, k + 3 * A.row, n), w),
        )

    @piece
    def dots_of_four(K, A, B, C, n):
        lanes, none = simd.lanes(C.values), simd.tile_zeros(C.values, columns, 1)
        sums, full = (none, none, none, none), K - K % lanes
        for k in range(0, full, lanes):
            sums = add_products(sums, A, B, k, lanes)
        if full < K:
            sums = add_products(sums, A, B, full, K - full)
        x, y, z, w = sums
        simd.store_masked(C.values, 0, simd.tile_sums(x), n)
        simd.store_masked(C.values, C.row, simd.tile_sums(y), n)
        simd.store_masked(C.values, 2 * C.row, simd.tile_sums(z), n)
        simd.store_masked(C.values, 3 * C.row, simd.tile_sums(w), n)

    return dots_of_four


_four_by_some, _four_by_two = _make_dots_of_four(SHARED_COLUMNS), _make_dots_of_four(2)


@kernel
def _dots(M, N, K, A, B, C):
    """C = A @ B by dot products, for few rows of A; its rows and the columns of B are contiguous. B is read once."""
    width = SHARED_COLUMNS if M >= 4 else DOT_COLUMNS
    blocks = N - N % width
    for j in range(0, blocks, width):
        columns = from_element(B, 0, j)
        if M >= 4:
            for i in range(0, M, 4):
                row = min(i, M - 4)  # the last four start early where the remaining rows are fewer
                _four_by_some(K, from_row(A, row), columns, from_element(C, row, j), width)
        else:
            for i in range(M):
                _some_dots(K, from_row(A, i).values, columns, from_element(C, i, j).values)
    for j in range(blocks, N):
        for i in range(M):
            _one_dot(K, from_row(A, i).values, from_element(B, 0, j), from_element(C, i, j).values)


@kernel
def _dots_with_few(M, N, K, A, B, C):
    """``_dots`` for few columns of B, whose values reach to a multiple of SHARED_COLUMNS: A is read once."""
    if M < 4:
        _dots(M, N, K, A, B, C)
        return
    for i in range(0, M, 4):
        row = min(i, M - 4)  # the last four start early where the remaining rows are fewer
        for j in range(0, N, SHARED_COLUMNS):
            rows, columns, sums = from_row(A, row), from_element(B, 0, j), from_element(C, row, j)
            if N - j <= 2:
                _four_by_two(K, rows, columns, sums, N - j)
            else:
                _four_by_some(K, rows, columns, sums, min(SHARED_COLUMNS, N - j))


@piece
def takes_dots(M, K):
    """Whether the input gradient of M rows, a sum of K terms, is computed by dot products."""
    return M < FEW_DOT_ROWS or (M < DOT_ROWS and K >= DOT_TERMS)


@kernel
def gemm_transposed(dots, M, N, K, A, B, C, pack_buffer):
    """C[M, N] = A[M, K] @ B[K, N], the rows of A and the columns of B contiguous; dot products if ``dots``."""
    if dots:
        _dots(M, N, K, A, B, C)
    else:
        gemm(M, N, K, A, B, C, pack_buffer, False)


@kernel
def linear_backward_input(part, parts, dY, W, relu_output, dX, pack_buffers):
    """This part of dX = dY @ W.T, zero where relu_output <= 0 (empty: no mask); scratch as in ``linear_forward``."""
    N, K = W.shape
    M = dY.shape[0]
    first, last, left, right = block_of(part, parts, M, N, TILE_VECTORS * simd.lanes(dX))
    rows, columns, here = last - first, right - left, first * N + left
    A, B = Matrix(after(flat_to_read(dY), first * K), K, 1), Matrix(after(flat_to_read(W), left * K), 1, K)
    C = Matrix(after(flat(dX), here), N, 1)
    gemm_transposed(takes_dots(M, K), rows, columns, K, A, B, C, after(pack_buffers, part * PACK_SIZE))
    if relu_output.size:
        mask(rows, columns, Matrix(after(flat_to_read(relu_output), here), N, 1), C, 1.0)


@kernel
def column_sums(M, n, dY, db):
    """db[j] = the sum of dY[:, j] over M rows, for n columns, in row order except for a single output; db is flat."""
    lanes, values = simd.lanes(db), dY.values
    j = 0
    if n == 1 and dY.row == 1:  # one output, contiguous: one chain of additions would take longer than the product
        a = b = c = d = simd.zeros(db)
        for i in range(0, M, 4 * lanes):
            a = a + simd.load_masked(values, i, M - i)
            b = b + simd.load_masked(values, i + lanes, M - i - lanes)
            c = c + simd.load_masked(values, i + 2 * lanes, M - i - 2 * lanes)
            d = d + simd.load_masked(values, i + 3 * lanes, M - i - 3 * lanes)
        db[0] = simd.reduce_add((a + b) + (c + d))
        return
    while n - j >= 4 * lanes:  # four chains, to hide the latency of the additions
        acc = simd.tile_zeros(db, 1, 4)
        for i in range(M):
            acc = simd.tile_axpy(acc, db.dtype.type(1), values, i * dY.row + j, 4 * lanes)
        simd.tile_store(db, j, 0, acc, 4 * lanes, 0)
        j += 4 * lanes
    while j < n:
        rest = min(lanes, n - j)
        total = simd.zeros(db)
        for i in range(M):
            total = total + simd.load_masked(values, i * dY.row + j, rest)
        simd.store_masked(db, j, total, rest)
        j += lanes


@by_types
def _weight_product(rows, n, M, X, dY, C, pack_buffer):
    """C[rows, n] = X[M, :rows].T @ dY[M, :n]; X may hold integers."""
    if isinstance(X[0].dtype, types.Float):

        def product(rows, n, M, X, dY, C, pack_buffer):
            gemm(rows, n, M, Matrix(X.values, 1, X.row), dY, C, pack_buffer, False)

        return product

    def product_of_integers(rows, n, M, X, dY, C, pack_buffer):
        block = after(pack_buffer, GEMM_SIZE)
        for i in range(0, max(M, 1), CONVERTED_ROWS):
            few = min(CONVERTED_ROWS, M - i)
            for r in range(few):
                to, source = np.uintp(r * rows), np.uintp((i + r) * X.row)  # unsigned: see _float_rows
                for k in range(np.uintp(rows)):
                    block[to + k] = X.values[source + k]
            gemm(rows, n, few, Matrix(block, 1, rows), from_row(dY, i), C, pack_buffer, i > 0)

    return product_of_integers


@kernel
def linear_backward_weight(part, parts, X, dY, scale, dW, db, pack_buffers):
    """dW = scale * X.T @ dY for this part of dW, and db = dY.sum(0) for its share of columns (db empty: none)."""
    (M, K), N = X.shape, dY.shape[1]
    first, last, left, right = block_of(part, parts, K, N, TILE_VECTORS * simd.lanes(dW))
    pack_buffer, B = after(pack_buffers, part * PACK_SIZE), Matrix(after(flat_to_read(dY), left), N, 1)
    step = STRIP_ROWS if X.itemsize == 1 else max(last - first, 1)  # integers are converted strip by strip
    for k in range(first, last, step):
        rows, C = min(step, last - k), Matrix(after(flat(dW), k * N + left), N, 1)
        _weight_product(rows, right - left, M, Matrix(after(flat_to_read(X), k), K, 1), B, C, pack_buffer)
        finish_rows(rows, right - left, C, db[:0], scale, False)
    if db.size:
        left, right = share(part, parts, N)
        column_sums(M, right - left, Matrix(after(flat_to_read(dY), left), N, 1), after(db, left))


class Scratch(NamedTuple):
    """Scratch memory: of all parts, or, from ``own_scratch``, of one."""

    pack_buffer: np.ndarray  # flat, PACK_SIZE elements a part
    gradient_buffer: np.ndarray  # flat, ``gradient_size`` elements a part, or more


@piece
def own_scratch(scratch, part, parts):
    """This part's scratch. Its place does not depend on the layer: parts may be in different layers at a time."""
    gradient = part * (scratch.gradient_buffer.size // parts)
    return Scratch(after(scratch.pack_buffer, part * PACK_SIZE), after(scratch.gradient_buffer, gradient))


@piece
def gradient_size(columns):
    """Elements of ``Scratch.gradient_buffer`` that each part needs to update a layer with ``columns`` outputs."""
    return max(STRIP_ROWS * min(columns, BLOCK_COLUMNS), columns)


class Layer(NamedTuple):
    """A linear layer, flat: W [inputs, outputs], b [outputs] or empty for none, and the optimizer's state of each.

    A state is a tuple of one array for each slot of the rule, laid out as W or b.
    """

    inputs: int
    outputs: int
    W: np.ndarray
    b: np.ndarray
    W_state: Any
    b_state: Any


@kernel
def backward_update(part, parts, M, X, dY, scale, layer, step, scratch):
    """Step this part's rows of W by scale * X.T @ dY and its columns of b by dY.sum(0); X [M, inputs], dY [M, outputs].

    The gradient of W exists only as a strip of STRIP_ROWS rows and BLOCK_COLUMNS columns, in this part's ``scratch``.
    """
    out_of_line()
    K, N, gradient = layer.inputs, layer.outputs, scratch.gradient_buffer
    lo, hi = share(part, parts, K)
    for left in range(0, N, BLOCK_COLUMNS):
        n = min(BLOCK_COLUMNS, N - left)
        for k in range(lo, hi, STRIP_ROWS):
            rows = min(STRIP_ROWS, hi - k)
            samples, errors = from_element(X, 0, k), from_element(dY, 0, left)
            _weight_product(rows, n, M, samples, errors, Matrix(gradient, n, 1), scratch.pack_buffer)
            W, state = after(layer.W, k * N + left), after_each(layer.W_state, k * N + left)
            # Contiguous rows are stepped as one.
            count, length = (1, rows * n) if n == N else (rows, n)
            step_rows(step.rule, step.of_weights, W, state, gradient, scale, count, length, N)
    if layer.b.size:
        lo, hi = share(part, parts, N)
        column_sums(M, hi - lo, from_element(dY, 0, lo), gradient)
        b, state = after(layer.b, lo), after_each(layer.b_state, lo)
        step_rows(step.rule, step.of_biases, b, state, gradient, 1.0, 1, hi - lo, 0)


class Stepped(NamedTuple):
    """The arrays that ``linear_backward_update`` steps: W [inputs, outputs], flat b (empty: none), the state of each.

    A state is one array [slots, ...], as Python passes it: a tuple of views would take longer to make there.
    """

    W: np.ndarray
    b: np.ndarray
    state: np.ndarray
    bias_state: np.ndarray


@piece
def layer_to_step(stepped, rule):
    """``stepped`` as a ``Layer``."""
    (I, O), slots = stepped.W.shape, rule.slots
    W_state, b_state = views(flat(stepped.state), I * O, slots), views(flat(stepped.bias_state), O, slots)
    return Layer(I, O, flat(stepped.W), stepped.b, W_state, b_state)


@kernel
def linear_backward_update(part, parts, X, dY, scale, stepped: Stepped, schedule: Schedule, scratch):
    """``backward_update`` of one layer; flat ``scratch`` has PACK_SIZE and ``gradient_size`` elements for each part."""
    own = own_scratch(Scratch(scratch, after(scratch, parts * PACK_SIZE)), part, parts)
    step = step_of(schedule.rule, schedule.lr, schedule.t)
    (M, K), N, layer = X.shape, dY.shape[1], layer_to_step(stepped, schedule.rule)
    backward_update(
        part, parts, M, Matrix(flat_to_read(X), K, 1), Matrix(flat_to_read(dY), N, 1), scale, layer, step, own
    )
