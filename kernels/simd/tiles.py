"""Tiles of vectors, the register accumulators of matrix products, and transposition in registers."""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import types

from ..jit.dependencies import vocabulary
from ..jit.numba_private import TypingError
from .codegen import (
    I32,
    Tile,
    emit_fma,
    emit_load,
    emit_store,
    intrinsic,
    pointer_to,
    real_vector_of,
    require_readable,
    require_writable,
    splat,
    stored,
    vector_of,
)

vocabulary()


def _tile_like(like: Any, rows: Any, vectors: Any) -> Tile:
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(vectors, types.IntegerLiteral)):
        raise TypingError("the size of a tile must be a compile-time constant")
    return Tile(real_vector_of(like), rows.literal_value, vectors.literal_value)


@functools.partial(intrinsic, constants=True)
def tile_zeros(typingctx: Any, like: Any, rows: Any, vectors: Any) -> Any:
    """A tile of ``rows`` x ``vectors`` zero vectors; both are compile-time constants."""
    tile = _tile_like(like, rows, vectors)
    return tile(like, rows, vectors), lambda context, builder, *args: ir.Constant(tile.ir, None)


@intrinsic
def tile_fma(typingctx: Any, tile: Any, A: Any, a: Any, a_stride: Any, B: Any, b: Any) -> Any:
    """tile[r, v] += A[a + r * a_stride] * B[b + v * lanes : ... + lanes]: one step of a rank-1 update."""
    return _tile_fma(tile, A, B)


@intrinsic
def tile_fma_masked(typingctx: Any, tile: Any, A: Any, a: Any, a_stride: Any, B: Any, b: Any, n: Any) -> Any:
    """``tile_fma`` with only the first n columns of B, zero in the others."""
    return _tile_fma(tile, A, B, types.intp)


def _tile_fma(tile: Any, A: Any, B: Any, *few: Any) -> Any:
    if not isinstance(tile, Tile):
        raise TypingError(f"expected a tile, not {tile}")
    require_readable(A)
    require_readable(B)
    vector = tile.vector

    def emit(
        context: Any, builder: Any, acc: Any, array_a: Any, a: Any, a_stride: Any, array_b: Any, b: Any, n: Any = None
    ) -> Any:
        row_b = []
        for v in range(tile.vectors):
            first = v * vector.lanes
            offset = builder.add(b, b.type(first))
            row_b.append(emit_load(context, builder, B, array_b, offset, vector.ir, n, first))
        for r in range(tile.rows):
            offset = builder.add(a, builder.mul(a_stride, a.type(r)))
            scalar = builder.load(pointer_to(context, builder, A, array_a, offset, vector.ir.element))
            x = splat(builder, vector.ir, scalar)
            for v in range(tile.vectors):
                k = r * tile.vectors + v
                total = emit_fma(builder, vector, x, row_b[v], builder.extract_value(acc, k))
                acc = builder.insert_value(acc, total, k)
        return acc

    return tile(tile, A, types.intp, types.intp, B, types.intp, *few), emit


@intrinsic
def tile_axpy(typingctx: Any, tile: Any, x: Any, B: Any, b: Any, n: Any) -> Any:
    """tile[0, v] += x * B[b + v * lanes : ...] for a scalar x; only the first n columns."""
    if not (isinstance(tile, Tile) and tile.rows == 1):
        raise TypingError(f"expected a tile of one row, not {tile}")
    require_readable(B)
    vector = tile.vector

    def emit(context: Any, builder: Any, acc: Any, x: Any, array_b: Any, b: Any, n: Any) -> Any:
        factor = splat(builder, vector.ir, x)
        for v in range(tile.vectors):
            offset = builder.add(b, b.type(v * vector.lanes))
            row = emit_load(context, builder, B, array_b, offset, vector.ir, n, v * vector.lanes)
            acc = builder.insert_value(acc, emit_fma(builder, vector, factor, row, builder.extract_value(acc, v)), v)
        return acc

    return tile(tile, vector.element, B, types.intp, types.intp), emit


@functools.partial(intrinsic, constants=True)
def tile_load(typingctx: Any, C: Any, c: Any, c_stride: Any, rows: Any, vectors: Any, n: Any) -> Any:
    """A tile from C[c + r * c_stride + v * lanes : ...]; only the first n columns, the others zero."""
    require_readable(C)
    tile = _tile_like(C, rows, vectors)

    def emit(context: Any, builder: Any, array_c: Any, c: Any, c_stride: Any, _rows: Any, _vectors: Any, n: Any) -> Any:
        places = [builder.add(c, builder.mul(c_stride, c.type(r))) for r in range(tile.rows)]
        return _emit_rows(context, builder, tile, C, array_c, places, n)

    return tile(C, types.intp, types.intp, rows, vectors, types.intp), emit


def _emit_rows(context: Any, builder: Any, tile: Tile, array_type: Any, array: Any, places: list[Any], n: Any) -> Any:
    """A tile whose rows are the first n elements from these places of an array on, with zeros behind."""
    acc = ir.Constant(tile.ir, ir.Undefined)
    for r, place in enumerate(places):
        for v in range(tile.vectors):
            first = v * tile.vector.lanes
            offset = builder.add(place, place.type(first))
            value = emit_load(context, builder, array_type, array, offset, tile.vector.ir, n, first)
            acc = builder.insert_value(acc, value, r * tile.vectors + v)
    return acc


@intrinsic
def tile_store(typingctx: Any, C: Any, c: Any, c_stride: Any, tile: Any, n: Any, skip: Any) -> Any:
    """C[c + r * c_stride + v * lanes : ...] = tile[r, v], r >= skip; only the first n columns."""
    require_writable(C)
    vector = tile.vector

    def emit(context: Any, builder: Any, array_c: Any, c: Any, c_stride: Any, acc: Any, n: Any, skip: Any) -> None:
        for r in range(tile.rows):
            row = builder.add(c, builder.mul(c_stride, c.type(r)))
            with builder.if_then(builder.icmp_signed("<=", skip, skip.type(r))):
                for v in range(tile.vectors):
                    offset = builder.add(row, c.type(v * vector.lanes))
                    value = builder.extract_value(acc, r * tile.vectors + v)
                    emit_store(context, builder, C, array_c, offset, value, n, v * vector.lanes)

    return types.void(C, types.intp, types.intp, tile, types.intp, types.intp), emit


@intrinsic
def tile_row(typingctx: Any, like: Any, array: Any, i: Any, n: Any) -> Any:
    """A tile of one row with as many vectors as ``like`` has: array[i : i + n], and zeros behind."""
    require_readable(array)

    def emit(context: Any, builder: Any, _: Any, values: Any, i: Any, n: Any) -> Any:
        return _emit_rows(context, builder, like, array, values, [i], n)

    return like(like, array, types.intp, types.intp), emit


@intrinsic
def tile_rows(typingctx: Any, like: Any, arrays: Any, i: Any, n: Any) -> Any:
    """``tile_row`` of each of a tuple of arrays: a tuple."""
    for array in arrays:
        require_readable(array)
    result = types.UniTuple(like, len(arrays))

    def emit(context: Any, builder: Any, _: Any, values: Any, i: Any, n: Any) -> Any:
        sources = [builder.extract_value(values, k) for k in range(len(arrays))]
        rows = [_emit_rows(context, builder, like, *pair, [i], n) for pair in zip(arrays, sources)]
        return context.make_tuple(builder, result, [stored(builder, row) for row in rows])

    return result(like, arrays, types.intp, types.intp), emit


@intrinsic
def tile_store_each(typingctx: Any, arrays: Any, i: Any, tiles: Any, n: Any) -> Any:
    """array[i : i + n] = tile, for each of a tuple of arrays and its like in one of tiles of one row."""
    for array in arrays:
        require_writable(array)

    def emit(context: Any, builder: Any, targets: Any, i: Any, rows: Any, n: Any) -> None:
        for k, (array, tile) in enumerate(zip(arrays, tiles)):
            target, row = (builder.extract_value(values, k) for values in (targets, rows))
            row = builder.extract_value(row, 0)
            for v in range(tile.vectors):
                first = v * tile.vector.lanes
                offset, value = builder.add(i, i.type(first)), builder.extract_value(row, v)
                emit_store(context, builder, array, target, offset, value, n, first)

    return types.void(arrays, types.intp, tiles, types.intp), emit


@intrinsic
def tile_sums(typingctx: Any, tile: Any) -> Any:
    """A vector of the sum of each row of a tile of one vector a row, added as ``reduce_add`` does; rest zero.

    The rows are a power of two, at most the lanes. Two rows at a time are folded into one vector, then two of those.
    """
    if not (isinstance(tile, Tile) and tile.vectors == 1 and tile.vector.lanes % tile.rows == 0):
        raise TypingError(
            f"expected a tile of one vector a row, its rows a power of two and at most the lanes, not {tile}"
        )
    vector = tile.vector

    def emit(context: Any, builder: Any, acc: Any) -> Any:
        pick = ir.VectorType(I32, vector.lanes)
        rows = [builder.extract_value(acc, r) for r in range(tile.rows)]
        length = vector.lanes  # of what is left of a row
        while length > 1:
            length //= 2
            pairs = list(zip(rows[::2], rows[1::2])) or [(rows[0], ir.Constant(vector.ir, None))]
            # The lower halves of what is left of both rows, and the upper ones.
            low = [start + k for start in range(0, 2 * vector.lanes, 2 * length) for k in range(length)]
            masks = ir.Constant(pick, low), ir.Constant(pick, [k + length for k in low])
            rows = [builder.fadd(*(builder.shuffle_vector(x, y, mask) for mask in masks)) for x, y in pairs]
        return rows[0]

    return vector(tile), emit


# -- transposition -------------------------------------------------------------------------------------------------


def _emit_exchanges(builder: Any, block: list[Any], lanes: int, end: int) -> list[Any]:
    """The rows of a block after exchanges between rows 1, 2, 4, ... apart, below ``end``: all of them transpose it."""
    step = 1
    while step < end:
        # Exchange, between rows r and r + step, the lanes that differ from the row in this bit.
        low = [k if not k & step else lanes + k - step for k in range(lanes)]
        high = [k + step if not k & step else lanes + k for k in range(lanes)]
        masks = [ir.Constant(ir.VectorType(I32, lanes), mask) for mask in (low, high)]
        for r in range(lanes):
            if not r & step:
                pair = block[r], block[r + step]
                block[r], block[r + step] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        step *= 2
    return block


@intrinsic
def transpose(
    typingctx: Any, A: Any, a: Any, a_stride: Any, rows: Any, columns: Any, B: Any, b: Any, b_stride: Any
) -> Any:
    """B[b + c * b_stride + r] = A[a + r * a_stride + c] for r < rows and c < columns, both at most the lanes.

    A block of lanes x lanes goes through registers: log2(lanes) rounds of exchanges between pairs of rows. A whole one
    is loaded and stored without masks, which take longer than the exchanges; and by half rows, as whole ones lie across
    two cache lines in most arrays, which takes twice as long.
    """
    require_readable(A)
    require_writable(B)
    vector = vector_of(A)
    if vector_of(B) != vector:
        raise TypingError(f"cannot transpose {A} into {B}")
    lanes, half = vector.lanes, vector.lanes // 2

    def emit(context: Any, builder: Any, *args: Any) -> None:
        array_a, a, a_stride, rows, columns, array_b, b, b_stride = args

        def offset(base: Any, stride: Any, k: int) -> Any:
            return builder.add(base, builder.mul(stride, base.type(k)))

        def lines(places: list[Any], count: Any, length: Any) -> list[tuple[Any, Any]]:
            """(place, length) of the first ``count`` lines; for the others the first line's place and length 0.

            A masked load or store without any lane takes a microsecond if its page was never touched.
            """
            none = length.type(0)
            inside = [builder.icmp_signed(">", count, count.type(k)) for k in range(lanes)]
            chosen = zip(inside, places)
            return [(builder.select(flag, at, places[0]), builder.select(flag, length, none)) for flag, at in chosen]

        def half_row(r: int, c: int) -> Any:
            at, kind = builder.add(reads[r], a.type(c)), ir.VectorType(vector.ir.element, half)
            return emit_load(context, builder, A, array_a, at, kind)

        reads, writes = ([offset(at, by, k) for k in range(lanes)] for at, by in ((a, a_stride), (b, b_stride)))
        whole = builder.and_(*(builder.icmp_signed(">=", n, n.type(lanes)) for n in (rows, columns)))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                pairs = [[(half_row(r, c), half_row(r + half, c)) for c in (0, half)] for r in range(half)]
                whole_row = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
                block = [builder.shuffle_vector(*pair[c], whole_row) for c in (0, 1) for pair in pairs]
                for at, x in zip(writes, _emit_exchanges(builder, block, lanes, half)):
                    emit_store(context, builder, B, array_b, at, x)
            with otherwise:
                few = lines(reads, rows, columns)
                block = [emit_load(context, builder, A, array_a, at, vector.ir, n) for at, n in few]
                exchanged = _emit_exchanges(builder, block, lanes, lanes)
                for (at, n), x in zip(lines(writes, columns, rows), exchanged):
                    emit_store(context, builder, B, array_b, at, x, n)

    return types.void(A, types.intp, types.intp, types.intp, types.intp, B, types.intp, types.intp), emit
