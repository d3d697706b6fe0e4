"""The first layer where the input is mostly zeros: work in proportion to the non-zeros.

Legend: X [B, I] is a ``csr_matrix.Sparse``; a batch is X[rows]. The ``H`` outputs are cut into *panels* of
PANEL_VECTORS vectors or one less; the last may have fewer columns. A row of a panel fits the accumulators of one
product. The weights W [I, H] are read and written panel by panel: in place, or *packed*, each panel contiguous, the
last padded with zeros. Caches with few ways need packing (a row stride of 1,024 bytes uses a quarter of an L1's sets).

Forward: Y[i] = sum over row i's entries of x * W[column], in stored order. Backward: a counting sort transposes the
batch to columns, and dW[j] = sum over column j's entries of x * dY[row], in row order. Each number is one chain of
fused multiply-adds in the order of the dense product, which terms of zero do not change: where rows' columns are
sorted, its bits depend neither on the split nor on whether zeros were skipped. Only stored entries take part: 0 * NaN
is skipped where the dense product would give NaN. All functions here are raw: they check nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from . import simd
from .bundles import Matrix, after, after_each, numbers_like
from .csr_matrix import index_dtype, to_read
from .gemm import column_sums
from .intrinsics import differing_bits, flat, in_line, lowest_bit, out_of_line, prefetch, prefetch_each
from .jit import by_types, kernel, piece
from .simd import broadcast_each
from .team import barrier, share
from .tuning import IN_PLACE_BYTES, PANEL_VECTORS, PREFETCH_COLUMNS
from .update import is_inert, step_of, step_rows, step_tile

# -- panels --------------------------------------------------------------------------------------------------------


class PanelLayer(NamedTuple):
    """A first layer: flat W [inputs, outputs], in place or packed, and b, empty for none."""

    inputs: int
    outputs: int
    W: np.ndarray
    b: np.ndarray
    packed: bool


class PanelState(NamedTuple):
    """The optimizer's state of such a layer, as in ``gemm.Layer``; that of W is packed if W is."""

    of_W: Any
    of_b: Any


class Panel(NamedTuple):
    """Columns ``column`` .. ``column`` + n - 1 of a layer: rows of n elements, ``row`` apart.

    ``start`` is where the panel begins in the layer's W; its own W begins there. ``width`` is the length of a packed
    row, padding included, or of a full panel's row.
    """

    column: int
    n: int
    width: int
    start: int
    W: np.ndarray
    row: int


@piece
def panel_count(H, lanes):
    """The number of panels of H columns."""
    return -(-H // (PANEL_VECTORS * lanes))


@piece
def panel_start(p, H, lanes):
    """The first column of panel p, or the padded number of columns for p = panel_count.

    The last panels may have one vector less: 100 columns, 16 to a vector, make panels of 64 and 48, not 64 and 64.
    """
    panels = panel_count(H, lanes)
    narrow = min(panels, PANEL_VECTORS * panels - -(-H // lanes))
    return lanes * (PANEL_VECTORS * p - max(0, p - panels + narrow))


def packed_size(I: int, H: int, lanes: int) -> int:
    """Elements of W [I, H] with its panels packed."""
    return I * panel_start(panel_count(H, lanes), H, lanes)


@piece
def panel_of(p, layer):
    """Panel p of a layer."""
    H, lanes = layer.outputs, simd.lanes(layer.W)
    column = panel_start(p, H, lanes)
    width = panel_start(p + 1, H, lanes) - column
    start, n, row = column * layer.inputs, min(width, H - column), width
    if not layer.packed:
        start, width, row = column, PANEL_VECTORS * lanes, H
    return Panel(column, n, width, start, after(layer.W, start), row)


@kernel
def pack(p, first, last, I, H, W, packed, unpack):
    """Copy rows ``first`` .. ``last`` - 1 of panel p from flat W [I, H] to flat ``packed``, or back if ``unpack``."""
    lanes = simd.lanes(W)
    column = panel_start(p, H, lanes)
    width = panel_start(p + 1, H, lanes) - column
    n, panel = min(width, H - column), column * I
    for i in range(first, last):
        there, here = i * H + column, panel + i * width
        if unpack:
            simd.tile_store(W, there, 0, simd.tile_load(packed, here, 0, 1, PANEL_VECTORS, width), n, 0)
        else:
            simd.tile_store(packed, here, 0, simd.tile_load(W, there, 0, 1, PANEL_VECTORS, n), width, 0)


# -- entries -------------------------------------------------------------------------------------------------------


@by_types
def _factor(values, table, k):
    """The factor by which entry k multiplies the weights."""
    if values.dtype == types.uint8:
        return lambda values, table, k: table[values[k]]
    real = table.dtype
    return lambda values, table, k: real(values[k]) * table[0]


class Columns(NamedTuple):
    """A batch by columns: part u's entries of column j are those from starts[u, j] to starts[u, j + 1].

    An entry's row is in ``places`` and its value in ``entries``. Where both fit a byte, ``entries`` holds both in one
    number, which saves a store and a load: 3 to 7 % of a step.
    """

    rows: int  # of the batch
    starts: np.ndarray  # [parts, I + 2]
    places: np.ndarray
    entries: np.ndarray


BYTE_ROWS = 256
_MOST_ENTRIES = 2**31 - 1


def entry_arrays(shape: tuple[int, ...], rows: int, values: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """New arrays (places, entries) for the entries of a batch of ``rows`` rows, counted in int32: see ``Columns``."""
    if shape[-1] > _MOST_ENTRIES:
        raise ValueError(
            f"a batch of X has {shape[-1]} entries; it must have at most {_MOST_ENTRIES}: take a smaller batch"
        )
    if values == np.uint8 and rows <= BYTE_ROWS:
        return np.empty((*shape[:-1], 0), np.uint16), np.empty(shape, np.uint16)
    return np.empty(shape, index_dtype(rows)), np.empty(shape, values)


@by_types
def _put_entry(places, entries, k, row, value):
    """Set entry k to ``value`` in this row."""
    if entries.dtype == types.uint16:

        def put_both(places, entries, k, row, value):
            entries[k] = np.uintp(row) << np.uintp(8) | np.uintp(value)

        return put_both

    def put_each(places, entries, k, row, value):
        places[k] = row
        entries[k] = value

    return put_each


@by_types
def _get_entry(places, entries, table, k):
    """(row, factor) of entry k."""
    if entries.dtype == types.uint16:

        def get_both(places, entries, table, k):
            both = np.uintp(entries[k])
            return np.intp(both >> np.uintp(8)), table[both & np.uintp(255)]

        return get_both
    return lambda places, entries, table, k: (np.intp(places[k]), _factor(entries, table, k))


# -- forward -------------------------------------------------------------------------------------------------------


# The columns of a full panel, and the row length of a packed one, are compile-time constants: 15 % of the time.


def _make_forward(packed: bool, vectors: int, full: bool = True) -> Any:
    @piece
    def panel_forward(X, rows, panel, b, relu, Y, sums, ends):
        """One panel of f(X[rows] @ W + b), to the matrix Y; b is flat and begins at the panel, or is empty for none.

        X is taken ``X.block`` columns at a time, so that their weights stay in L1. Scratch for each row: a panel's row
        in ``sums``, and where its entries of the block end in ``ends``.
        """
        out_of_line()
        W, lanes = panel.W, simd.lanes(panel.W)
        width = vectors * lanes
        row, n = width if packed else panel.row, width if full else panel.n
        far = not packed and X.block * row * W.itemsize > IN_PLACE_BYTES
        for i in range(rows.size):
            ends[i] = X.indptr[rows[i]]
        for first in range(0, max(X.columns, 1), X.block):
            for i in range(rows.size):
                acc = simd.tile_zeros(W, 1, vectors)
                if first > 0:
                    acc = simd.tile_load(sums, i * width, width, 1, vectors, width)
                # Unsigned: Numba tests whether a signed index counts from the end.
                k, end = np.uintp(ends[i]), np.uintp(X.indptr[rows[i] + 1])
                unasked = end - min(end, np.uintp(PREFETCH_COLUMNS)) if far else np.uintp(0)
                while k < end:
                    column = np.intp(X.indices[k])
                    if column >= first + X.block:
                        break
                    if not packed and k < unasked:
                        ahead = np.intp(X.indices[k + np.uintp(PREFETCH_COLUMNS)]) * row
                        for c in range(0, n, lanes):
                            prefetch(W, ahead + c)
                    acc = simd.tile_axpy(acc, _factor(X.values, X.table, k), W, column * row, n)
                    k += np.uintp(1)
                ends[i] = k
                if first + X.block < X.columns:
                    simd.tile_store(sums, i * width, width, acc, width, 0)
                else:
                    if b.size:
                        acc = acc + simd.tile_load(b, 0, 0, 1, vectors, panel.n)
                    if relu:
                        acc = simd.maximum(acc, simd.zeros(W))
                    simd.tile_store(Y.values, i * Y.row, Y.row, acc, panel.n, 0)

    return panel_forward


_forward_wide, _forward_narrow = _make_forward(True, PANEL_VECTORS), _make_forward(True, PANEL_VECTORS - 1)
_forward_in_place, _forward_last = _make_forward(False, PANEL_VECTORS), _make_forward(False, PANEL_VECTORS, False)


@kernel
def first_layer_forward(p, X, rows, layer, relu, Y, sums, ends):
    """Panel p of f(X[rows] @ W + b), to flat Y [rows, H]; scratch as in ``panel_forward``."""
    panel = panel_of(p, layer)
    b = after(layer.b, panel.column) if layer.b.size else layer.b
    out = Matrix(after(Y, panel.column), layer.outputs, 1)
    if not layer.packed and panel.n < panel.width:
        _forward_last(X, rows, panel, b, relu, out, sums, ends)
    elif not layer.packed:
        _forward_in_place(X, rows, panel, b, relu, out, sums, ends)
    elif panel.width == PANEL_VECTORS * simd.lanes(layer.W):
        _forward_wide(X, rows, panel, b, relu, out, sums, ends)
    else:
        _forward_narrow(X, rows, panel, b, relu, out, sums, ends)


# -- update --------------------------------------------------------------------------------------------------------


@kernel
def to_columns(part, lo, hi, rows, X, columns):
    """Sort this part's rows ``lo`` .. ``hi`` - 1 of batch X[rows] by columns, by a counting sort: see ``Columns``."""
    indptr, indices, ends = X.indptr, X.indices, columns.starts[part]
    entry = np.intp(0)
    for i in range(lo):
        entry += indptr[rows[i] + 1] - indptr[rows[i]]
    # ``ends`` has I + 2 elements: counts are written two places on, so that below each start moves to its column's end.
    for j in range(ends.size):
        ends[j] = 0
    two = np.uintp(2)
    for i in range(lo, hi):
        for k in range(np.uintp(indptr[rows[i]]), np.uintp(indptr[rows[i] + 1])):
            ends[np.uintp(indices[k]) + two] += 1
    ends[0] = ends[1] = entry
    for j in range(2, ends.size):
        entry += np.intp(ends[j])
        ends[j] = entry
    for i in range(lo, hi):
        for k in range(np.uintp(indptr[rows[i]]), np.uintp(indptr[rows[i] + 1])):
            column = np.uintp(indices[k]) + np.uintp(1)
            place = np.uintp(ends[column])
            ends[column] = place + np.uintp(1)
            _put_entry(columns.places, columns.entries, place, i, X.values[k])


COLUMNS_TOGETHER = 64  # adjacent columns in one split


@kernel
def columns_to_step(split, splits, every, starts, chosen):
    """Write the indices of a split's columns, ``every`` one or those with entries, to ``chosen``; returns their number.

    Splits alternate every 64 columns: where the frequent columns come first, each split gets its share of them.
    """
    count, one, blocks = 0, np.uint64(1), chosen.size // 64
    for block in range(split, blocks, splits):
        bits = ~np.uint64(0)
        if not every:
            bits = np.uint64(0)
            for u in range(starts.shape[0]):
                bits |= differing_bits(starts[u], 64 * block, 64 * block + 1)
        while bits:
            chosen[count] = np.uintp(64 * block) + lowest_bit(bits)
            count += 1
            bits &= bits - one
    if blocks % splits == split:
        for j in range(64 * blocks, chosen.size):
            entered = every
            for u in range(starts.shape[0]):
                entered |= starts[u, j] < starts[u, j + 1]
            chosen[count] = j
            count += entered
    return count


@piece
def _prefetch_row(panel, state, j, n):
    """Prefetch n elements of row j of a panel of W and of its state."""
    in_line()
    for c in range(0, n, simd.lanes(panel.W)):
        prefetch(panel.W, j * panel.row + c)
        prefetch_each(state, j * panel.row + c)


def _make_update(full: bool, vectors: int) -> Any:
    @piece
    def panel_update(chosen, columns, table, dY, panel, state, rule, coefficients):
        """Step the rows ``chosen`` of one panel of W by the batch's ``columns`` and the panel's columns of dY, flat."""
        out_of_line()
        lanes = simd.lanes(dY)
        width = vectors * lanes
        n = width if full else panel.n
        constants = broadcast_each(dY, coefficients)
        for i in range(chosen.size):
            if panel.row != width and i + PREFETCH_COLUMNS < chosen.size:  # rows far apart
                _prefetch_row(panel, state, np.intp(chosen[i + PREFETCH_COLUMNS]), n)
            j = np.intp(chosen[i])
            acc = simd.tile_zeros(dY, 1, vectors)
            for u in range(columns.starts.shape[0]):
                for k in range(np.uintp(columns.starts[u, j]), np.uintp(columns.starts[u, j + 1])):
                    row, factor = _get_entry(columns.places, columns.entries, table, k)
                    acc = simd.tile_axpy(acc, factor, dY, row * width, width)
            step_tile(rule, constants, panel.W, state, j * panel.row, acc, n)

    return panel_update


_update_wide, _update_narrow = _make_update(True, PANEL_VECTORS), _make_update(True, PANEL_VECTORS - 1)
_update_last = _make_update(False, PANEL_VECTORS)


@kernel
def first_layer_update(p, chosen, columns, table, dY, step, layer, state, with_bias, dY_panel):
    """Step rows ``chosen`` of panel p of W by X[rows].T @ dY, dY [M, H] flat, and its columns of b if ``with_bias``.

    ``dY_panel`` is scratch for the panel's columns of dY, and one row more.
    """
    panel, M = panel_of(p, layer), columns.rows
    for i in range(M):
        row = simd.tile_load(dY, i * layer.outputs + panel.column, 0, 1, PANEL_VECTORS, panel.n)
        simd.tile_store(dY_panel, i * panel.width, 0, row, panel.width, 0)
    if with_bias and layer.b.size:
        gradient = after(dY_panel, M * panel.width)
        column_sums(M, panel.width, Matrix(dY_panel, panel.width, 1), gradient)
        b, b_state = after(layer.b, panel.column), after_each(state.of_b, panel.column)
        step_rows(step.rule, step.of_biases, b, b_state, gradient, 1.0, 1, panel.n, 0)
    W_state = after_each(state.of_W, panel.start)
    if panel.width < PANEL_VECTORS * simd.lanes(dY):
        _update_narrow(chosen, columns, table, dY_panel, panel, W_state, step.rule, step.of_weights)
    elif layer.packed or panel.n == panel.width:
        _update_wide(chosen, columns, table, dY_panel, panel, W_state, step.rule, step.of_weights)
    else:
        _update_last(chosen, columns, table, dY_panel, panel, W_state, step.rule, step.of_weights)


class PutOff(NamedTuple):
    """The record of steps that are put off, of all parts or of one; empty where none are. See ``catch_up``.

    ``squares``, shared by all parts, has a panel's row for each panel and COLUMNS_TOGETHER columns, zeros at first;
    empty if they are not wanted.
    """

    steps_done: np.ndarray  # [parts, I]: how many steps each row of W has had, zeros at first
    coefficients: np.ndarray  # [parts, steps, ...]: the rule's, of every step of W
    squares: np.ndarray


@kernel
def catch_up(p, chosen, last, rule, put_off, layer, state):
    """Do the steps that were put off for the rows ``chosen`` of panel p of W, up to step ``last``.

    A row without entries in a batch has a zero gradient there, and yet momentum and weight decay move it. These steps
    are put off until its column has an entry again, and then done one by one in registers, with the bits of the dense
    update. Where squares are wanted, those of W before each of these steps are added to ``put_off.squares``, and those
    before the step that follows, if one does.
    """
    panel, like = panel_of(p, layer), rule.coefficients(rule, 0.0, 0.0, 1)
    W_state, coefficients, squares = after_each(state.of_W, panel.start), put_off.coefficients, put_off.squares
    zero, every = simd.tile_zeros(panel.W, 1, PANEL_VECTORS), flat(coefficients)
    width, blocks, wanted = PANEL_VECTORS * simd.lanes(panel.W), layer.inputs // COLUMNS_TOGETHER + 1, squares.size > 0
    done = last == coefficients.shape[0]
    for i in range(chosen.size):
        if i + PREFETCH_COLUMNS < chosen.size:
            _prefetch_row(panel, W_state, np.intp(chosen[i + PREFETCH_COLUMNS]), panel.n)
        j = np.intp(chosen[i])
        if put_off.steps_done[j] == last and (done or not wanted):
            continue
        x = simd.tile_row(zero, panel.W, j * panel.row, panel.n)
        slots = simd.tile_rows(zero, W_state, j * panel.row, panel.n)
        total, sums = zero, (p * blocks + j // COLUMNS_TOGETHER) * width
        if wanted:
            total = simd.tile_row(zero, squares, sums, width)
        for s in range(put_off.steps_done[j], last):
            if wanted:
                total = simd.fma(x, x, total)
            of_step = numbers_like(like, every, s * coefficients.shape[1])
            x, slots = rule.step(broadcast_each(every, of_step), x, zero, slots)
        simd.tile_store_each(W_state, j * panel.row, slots, panel.n)
        simd.tile_store(panel.W, j * panel.row, 0, x, panel.n, 0)
        if wanted:
            if not done:
                total = simd.fma(x, x, total)
            simd.tile_store(squares, sums, 0, total, width, 0)


# -- the public products -------------------------------------------------------------------------------------------


@kernel
def csr_forward(part, parts, X, rows, W, b, relu, Y, ends):
    """Y = f(X @ W + b) for this part's rows; ``rows`` is 0 .. B-1, ``ends`` scratch of B elements, b empty for none."""
    lo, hi = share(part, parts, X.indptr.size - 1)
    I, H = W.shape
    layer, out = PanelLayer(I, H, flat(W), b, False), after(flat(Y), lo * H)
    for p in range(panel_count(H, simd.lanes(W))):
        first_layer_forward(p, to_read(X), rows[lo:hi], layer, relu, out, flat(Y), after(ends, lo))


@kernel
def csr_backward_update(part, parts, arrivals, X, dY, layer, state, schedule, columns, scratch):
    """Step this part's panels of W by X.T @ dY, and b by dY.sum(0).

    The parts pass one barrier, in ``arrivals``. ``columns`` has space for each part's starts and for all entries of X.
    ``scratch``: the numbers 0 .. B - 1; for each part a panel of B + 1 rows; for each part the indices of all columns.
    """
    # The team may have fewer parts than ``columns`` was made for.
    columns = Columns(dY.shape[0], columns.starts[:parts], columns.places, columns.entries)
    lo, hi = share(part, parts, columns.rows)
    to_columns(part, lo, hi, scratch[0], to_read(X), columns)
    barrier(arrivals, parts)
    step_panels(part, parts, X, dY, layer, state, schedule, columns, scratch[2][part], scratch[1][part])


@piece
def panels_share(part, parts, layer):
    """This part's panels of a layer."""
    return share(part, parts, panel_count(layer.outputs, simd.lanes(layer.W)))


@piece
def step_panels(part, parts, X, dY, layer, state, schedule, columns, chosen, dY_panel):
    """Step this part's panels by X.T @ dY, X as ``columns``; ``chosen`` and ``dY_panel`` are scratch."""
    rule, step = schedule.rule, step_of(schedule.rule, schedule.lr, schedule.t)
    chosen = chosen[: columns_to_step(0, 1, not is_inert(rule), columns.starts, chosen)]
    lo, hi = panels_share(part, parts, layer)
    for p in range(lo, hi):
        first_layer_update(p, chosen, columns, X.table, flat(dY), step, layer, state, True, dY_panel)


@piece
def clear_panels(part, parts, layer):
    """Zero this part's panels of an unpacked layer, and of its b."""
    lo, hi = panels_share(part, parts, layer)
    for p in range(lo, hi):
        panel = panel_of(p, layer)
        for i in range(layer.inputs):
            for j in range(panel.n):
                panel.W[i * panel.row + j] = 0
        if layer.b.size:
            for j in range(panel.n):
                layer.b[panel.column + j] = 0
