"""The first layer where the input is mostly zeros: compressed sparse rows (CSR), work in proportion to the non-zeros.

Legend: ``X [B, I]`` as ``values[indptr[i] : indptr[i+1]]`` in the columns ``indices[...]`` of row i; a batch is X[rows];
``table`` the factor of each value of uint8, or one factor for all floats; ``H`` outputs, in *panels* of
PANEL_VECTORS vectors or one less, the last perhaps with fewer columns: a row of a panel is the accumulators of one product.
The weights W [I, H] are read and written panel by panel, each of its rows ``w_row`` apart: H where they lie as the public
array does, or that of the accumulators where they are *packed*, each panel contiguous and the last one filled up with zeros,
which a cache of few ways needs (a row stride of 1,024 bytes uses a quarter of the sets of an L1).

Forward: Y[i] = sum over row i's entries of x * W[column]; entries in the order they are stored. Backward: the batch is
transposed to columns by a counting sort, and dW[j] = sum over column j's entries of x * dY[row], rows in order. Each number
is one chain of fused multiply-adds in the order of the dense product's, which a term of zero does not change: its bits
depend on no split, nor on whether the zeros were skipped, where rows' columns rise. Only stored entries take part:
0 * NaN is skipped where the dense product would give NaN. All functions here are raw: nothing is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numba import types

from . import simd
from .gemm import column_sums
from .intrinsics import differing_bits, flat, in_line, lowest_bit, nonzero_bits, out_of_line, prefetch
from .jit import kernel, overload, piece
from .team import barrier, barrier_state, get_num_threads, run, share
from .tuning import IN_PLACE_BYTES, PANEL_VECTORS, PREFETCH_COLUMNS, SERIAL_ELEMENTS
from .update import (
    ADAM,
    ADAMW,
    MOMENTUM,
    NESTEROV,
    SGD,
    Rule,
    adam_step,
    constants_of,
    is_inert,
    momentum_step,
    rule_constants,
    sgd_step,
    update_span,
)

_MOST_COLUMNS = 2**31 - 1


def index_dtype(columns: int) -> Any:
    """The smallest type that holds the numbers of this many columns: what is read for every entry."""
    return np.uint16 if columns <= 2**16 else np.int32


@dataclass(frozen=True)
class CSR:
    """A matrix in compressed sparse rows: row i holds values[indptr[i]:indptr[i+1]] in columns indices[...].

    ``values`` is float32, float64 or uint8. Checked when it is made, then in the smallest index type that will do, and
    read-only: kernels trust it. Raises ValueError where the invariants do not hold, TypeError for other dtypes.
    With a ``dictionary`` (see ``dictionary_encode``) the values are dictionary[values].
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]
    dictionary: np.ndarray | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 0:
            raise ValueError(f"CSR shape is {tuple(self.shape)}; it must be two dimensions of at least 0")
        rows, columns = (int(n) for n in self.shape)
        values = np.asarray(self.values)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if values.dtype not in (np.float32, np.float64, np.uint8):
            raise TypeError(f"CSR values have dtype {values.dtype}; they must be uint8, float32 or float64")
        for name in ("indptr", "indices"):
            dtype = np.asarray(getattr(self, name)).dtype
            if dtype.kind not in "iu":
                raise TypeError(f"CSR {name} has dtype {dtype}; it must be an integer type")
        if columns > _MOST_COLUMNS:
            raise ValueError(f"CSR shape is {(rows, columns)}; it must have at most {_MOST_COLUMNS} columns")
        indptr, indices = np.asarray(self.indptr).astype(np.int64), np.asarray(self.indices)
        if indptr.shape != (rows + 1,):
            raise ValueError(f"CSR indptr has shape {indptr.shape}; it must be ({rows + 1},)")
        if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
            raise ValueError("CSR indptr must start at 0 and never fall")
        if indices.ndim != 1 or indices.shape != values.shape or indptr[-1] > indices.size:
            raise ValueError(
                f"CSR stores {indices.size} indices and {values.size} values, but indptr ends at {indptr[-1]}"
            )
        if indices.size and (indices.min() < 0 or indices.max() >= columns):
            raise ValueError(f"CSR indices must be from 0 to {columns - 1}")
        used = indptr[-1]
        self._keep(indptr, indices[:used].astype(index_dtype(columns)), values[:used].copy())

    def _keep(self, *arrays: np.ndarray) -> None:
        for name, array in zip(("indptr", "indices", "values"), arrays):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def trusted(cls, indptr: np.ndarray, indices: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> CSR:
        """Of arrays that are right, in the dtypes that the class keeps, and nobody else's; rows' columns rise."""
        matrix = object.__new__(cls)
        object.__setattr__(matrix, "shape", shape)
        matrix._keep(indptr, indices, values)
        matrix.__dict__["columns_rise"] = True
        return matrix

    @cached_property
    def columns_rise(self) -> bool:
        """Whether the columns of every row come in order."""
        falls = np.flatnonzero(self.indices[1:] < self.indices[:-1]) + 1
        return bool(np.isin(falls, self.indptr).all())

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the kernels read: indptr, indices, values."""
        return self.indptr, self.indices, self.values

    @property
    def dtype(self) -> np.dtype:
        return self.stored.dtype

    @property
    def stored(self) -> np.ndarray:
        """Every value that is stored, at least once."""
        return self.values if self.dictionary is None else self.dictionary

    def dictionary_encode(self) -> CSR:
        """The same matrix with its floats as numbers of a byte, where at most 256 of them differ (pixels, counts, ones and
        zeros); else, and of uint8, itself. Training gives the same bits, and reads a third or half as much."""
        if self.dtype == np.uint8 or self.dictionary is not None:
            return self
        bits = self.values.view(np.uint32 if self.dtype == np.float32 else np.uint64)
        codes, different, count = np.empty(bits.size, np.uint8), np.empty(256, bits.dtype), np.zeros(1, np.int64)
        run(encode, 1, bits, np.full(_SLOTS, 256, np.uint16), different, codes, count)
        if count[0] > different.size:
            return self
        matrix = CSR.trusted(self.indptr, self.indices, codes, self.shape)
        dictionary = different[: count[0]].view(self.dtype)
        dictionary.flags.writeable = False
        matrix.__dict__.update(columns_rise=self.columns_rise, dictionary=dictionary)
        return matrix

    def table(self, scale: float, dtype: np.dtype) -> np.ndarray:
        """What the kernels look up the factor of an entry in; not to be written to."""
        if self.dictionary is None:
            return value_table(self.dtype, scale, dtype)
        return self.dictionary.astype(dtype) * dtype.type(scale)

    def toarray(self, dtype: np.dtype | None = None) -> np.ndarray:
        """The dense matrix; entries stored twice add up, in ``dtype`` (that of the values if none is given)."""
        dense = np.zeros(self.shape, dtype or self.dtype)
        values = self.values if self.dictionary is None else self.dictionary[self.values]
        np.add.at(dense, (np.repeat(np.arange(self.shape[0]), np.diff(self.indptr)), self.indices), values)
        return dense


# -- panels --------------------------------------------------------------------------------------------------------


@piece
def panel_count(H, lanes):
    """Panels that H columns make."""
    return -(-H // (PANEL_VECTORS * lanes))


@piece
def panel_start(p, H, lanes):
    """The first column of panel p, or for p = panel_count the columns of all; the last ones are narrow if that will do.

    100 columns of 16 to a vector: panels of 64 and 48, not of 64 and 64.
    """
    panels = -(-H // (PANEL_VECTORS * lanes))
    narrow = min(panels, PANEL_VECTORS * panels - -(-H // lanes))
    return lanes * (PANEL_VECTORS * p - max(0, p - panels + narrow))


def packed_size(I: int, H: int, lanes: int) -> int:
    """Elements of W [I, H] when its panels are packed."""
    return I * panel_start.py_func(panel_count.py_func(H, lanes), H, lanes)


def _factor(values, table, k):
    """What entry k multiplies the weights by."""


@overload(_factor)
def _factor_overload(values, table, k):
    if values.dtype == types.uint8:
        return lambda values, table, k: table[values[k]]
    real = table.dtype
    return lambda values, table, k: real(values[k]) * table[0]


# What a batch is transposed to: of each entry its row (``places``) and value (``entries``). Where a value is a byte, and rows
# are so few that a row's number is one, too, both are one number in ``entries``: a store and a load less, 3 to 7 % of a step.
BYTE_ROWS = 256


def entry_arrays(shape: tuple[int, ...], rows: int, values: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Room (``places``, ``entries``) for the entries of ``rows`` rows."""
    if values == np.uint8 and rows <= BYTE_ROWS:
        return np.empty((*shape[:-1], 0), np.uint16), np.empty(shape, np.uint16)
    return np.empty(shape, index_dtype(rows)), np.empty(shape, values)


def _put_entry(places, entries, k, row, value):
    """Entry k is ``value``, in this row."""


@overload(_put_entry)
def _put_entry_overload(places, entries, k, row, value):
    if entries.dtype == types.uint16:

        def put_both(places, entries, k, row, value):
            entries[k] = np.uintp(row) << np.uintp(8) | np.uintp(value)

        return put_both

    def put_each(places, entries, k, row, value):
        places[k] = row
        entries[k] = value

    return put_each


def _get_entry(places, entries, table, k):
    """(row, factor) of entry k."""


@overload(_get_entry)
def _get_entry_overload(places, entries, table, k):
    if entries.dtype == types.uint16:

        def get_both(places, entries, table, k):
            both = np.uintp(entries[k])
            return np.intp(both >> np.uintp(8)), table[both & np.uintp(255)]

        return get_both
    return lambda places, entries, table, k: (np.intp(places[k]), _factor(entries, table, k))


# Of a full panel the number of columns, and of a packed one the row's length, are compile-time constants: 15 % of the time.


def _make_forward(packed: bool, vectors: int) -> Any:
    @piece
    def panel_forward(
        rows, indptr, indices, values, table, I, block, W, w, w_row, n, b, o, relu, Y, y, y_row, Z, z, ends, e
    ):  # fmt: skip
        """One panel, of n columns, of f(X[rows] @ W + b), from Y[y] on, y_row apart; W's from W[w] on, b's from b[o] on
        (b empty: none).

        ``block`` columns of X at a time, so that their weights stay in L1, with the sums so far in Z; that needs the columns of
        every row to rise, so else ``block`` is I. ``ends`` and Z have an element and a panel's row for each of the rows.
        """
        out_of_line()
        lanes = simd.lanes(W)
        wide = vectors * lanes
        step, m = (wide, wide) if packed else (w_row, n)
        far = not packed and block * w_row * W.itemsize > IN_PLACE_BYTES
        for i in range(rows.size):
            ends[e + i] = indptr[rows[i]]
        for first in range(0, I, block):
            for i in range(rows.size):
                acc = simd.tile_zeros(W, 1, vectors)
                if first > 0:
                    acc = simd.tile_load(Z, z + i * wide, wide, 1, vectors, wide)
                # Unsigned: Numba tests a signed index for counting from the end.
                k, end = np.uintp(ends[e + i]), np.uintp(indptr[rows[i] + 1])
                unasked = end - min(end, np.uintp(PREFETCH_COLUMNS)) if far else np.uintp(0)
                while k < end:
                    column = np.intp(indices[k])
                    if column >= first + block:
                        break
                    if not packed and k < unasked:
                        ahead = w + np.intp(indices[k + np.uintp(PREFETCH_COLUMNS)]) * w_row
                        for c in range(0, m, lanes):
                            prefetch(W, ahead + c)
                    acc = simd.tile_axpy(acc, _factor(values, table, k), W, w + column * step, m)
                    k += np.uintp(1)
                ends[e + i] = k
                if first + block < I:
                    simd.tile_store(Z, z + i * wide, wide, acc, wide, 0)
                else:
                    if b.size:
                        acc = acc + simd.tile_load(b, o, 0, 1, vectors, n)
                    if relu:
                        acc = simd.maximum(acc, simd.zeros(W))
                    simd.tile_store(Y, y + i * y_row, y_row, acc, n, 0)

    return panel_forward


@piece
def _prefetch_row(kind, W, w, state, q, slot, n):
    """Ask for n elements of a row of W and of its state."""
    in_line()
    for c in range(0, n, simd.lanes(W)):
        prefetch(W, w + c)
        if kind != SGD:
            prefetch(state, q + c)
        if kind in (ADAM, ADAMW):
            prefetch(state, q + slot + c)


def _make_update(full: bool, vectors: int) -> Any:
    @piece
    def panel_update(columns, starts, places, entries, table, D, d, n, kind, constants, W, w, w_row, state, q, slot):
        """Step the rows ``columns`` of one panel, of n columns, of W; D is that of dY, packed, from D[d] on.

        Part u's entries of column j are those from starts[u, j] to starts[u, j+1], see ``entry_arrays``. W and its state from
        W[w] and state[q] on, rows w_row apart, slots ``slot``.
        """
        out_of_line()
        lanes = simd.lanes(D)
        wide = vectors * lanes
        m = wide if full else n
        for i in range(columns.size):
            if w_row != wide and i + PREFETCH_COLUMNS < columns.size:  # rows far apart
                ahead = np.intp(columns[i + PREFETCH_COLUMNS]) * w_row
                _prefetch_row(kind, W, w + ahead, state, q + ahead, slot, m)
            j = np.intp(columns[i])
            acc = simd.tile_zeros(D, 1, vectors)
            for u in range(starts.shape[0]):
                for k in range(np.uintp(starts[u, j]), np.uintp(starts[u, j + 1])):
                    row, factor = _get_entry(places, entries, table, k)
                    acc = simd.tile_axpy(acc, factor, D, d + row * wide, wide)
            at, to = w + j * w_row, q + j * w_row
            x = simd.tile_load(W, at, 0, 1, vectors, m)
            if kind == SGD:
                x = sgd_step(constants, x, acc)
            elif kind in (MOMENTUM, NESTEROV):
                first = simd.tile_load(state, to, 0, 1, vectors, m)
                x, first = momentum_step(kind, constants, x, acc, first)
                simd.tile_store(state, to, 0, first, m, 0)
            else:
                first = simd.tile_load(state, to, 0, 1, vectors, m)
                second = simd.tile_load(state, to + slot, 0, 1, vectors, m)
                x, first, second = adam_step(constants, x, acc, first, second)
                simd.tile_store(state, to, 0, first, m, 0)
                simd.tile_store(state, to + slot, 0, second, m, 0)
            simd.tile_store(W, at, 0, x, m, 0)

    return panel_update


_forward_wide, _forward_narrow = _make_forward(True, PANEL_VECTORS), _make_forward(True, PANEL_VECTORS - 1)
_forward_in_place = _make_forward(False, PANEL_VECTORS)
_update_wide, _update_narrow = _make_update(True, PANEL_VECTORS), _make_update(True, PANEL_VECTORS - 1)
_update_in_place = _make_update(False, PANEL_VECTORS)


@piece
def _panel(p, H, lanes):
    """(first column, columns, and with those that fill it up) of panel p."""
    column = panel_start(p, H, lanes)
    wide = panel_start(p + 1, H, lanes) - column
    return column, min(wide, H - column), wide


@piece
def _copy_panel(rows, n, A, a, a_row, P, p, wide, back):
    """Rows of a panel of n columns from A[a], a_row apart, to where it is packed, P[p], ``wide`` apart; or back."""
    for i in range(rows):
        there, here = a + i * a_row, p + i * wide
        if back:
            simd.tile_store(A, there, 0, simd.tile_load(P, here, 0, 1, PANEL_VECTORS, wide), n, 0)
        else:
            simd.tile_store(P, here, 0, simd.tile_load(A, there, 0, 1, PANEL_VECTORS, n), wide, 0)


@kernel
def first_layer_forward(
    p, rows, indptr, indices, values, table, block, W, w, packed, I, H, b, o, relu, Y, y, Z, z, ends, e
):  # fmt: skip
    """Panel p of f(X[rows] @ W + b) in Y [rows, H] from Y[y] on; all flat. See ``panel_forward``."""
    column, n, wide = _panel(p, H, simd.lanes(W))
    if packed and wide == PANEL_VECTORS * simd.lanes(W):
        _forward_wide(
            rows, indptr, indices, values, table, I, block, W, w + column * I, wide, n, b, o + column, relu,
            Y, y + column, H, Z, z, ends, e,
        )  # fmt: skip
    elif packed:
        _forward_narrow(
            rows, indptr, indices, values, table, I, block, W, w + column * I, wide, n, b, o + column, relu,
            Y, y + column, H, Z, z, ends, e,
        )  # fmt: skip
    else:
        _forward_in_place(
            rows, indptr, indices, values, table, I, block, W, w + column, H, n, b, o + column, relu,
            Y, y + column, H, Z, z, ends, e,
        )  # fmt: skip


@kernel
def to_columns(part, lo, hi, rows, indptr, indices, values, starts, places, entries, e):
    """This part's rows lo .. hi - 1 of the batch by columns, by counting sort, from entry ``e`` on: see ``panel_update``."""
    for i in range(lo):
        e += indptr[rows[i] + 1] - indptr[rows[i]]
    ends = starts[part]  # I + 2 long: counts two places on, so that each start moves to the end of its column below
    for j in range(ends.size):
        ends[j] = 0
    two = np.uintp(2)
    for i in range(lo, hi):
        for k in range(np.uintp(indptr[rows[i]]), np.uintp(indptr[rows[i] + 1])):
            ends[np.uintp(indices[k]) + two] += 1
    ends[0] = ends[1] = e
    for j in range(2, ends.size):
        e += np.intp(ends[j])
        ends[j] = e
    for i in range(lo, hi):
        for k in range(np.uintp(indptr[rows[i]]), np.uintp(indptr[rows[i] + 1])):
            column = np.uintp(indices[k]) + np.uintp(1)
            place = np.uintp(ends[column])
            ends[column] = place + np.uintp(1)
            _put_entry(places, entries, place, i, values[k])


COLUMNS_TOGETHER = 64  # in one split


@kernel
def columns_to_step(split, splits, every, starts, columns):
    """Begin ``columns`` with the numbers of a split's columns, or of those that have entries, in order; returns how many.

    64 columns by turns: where the frequent ones come first, each split has its share of them.
    """
    count, one, blocks = 0, np.uint64(1), columns.size // 64
    for block in range(split, blocks, splits):
        bits = ~np.uint64(0)
        if not every:
            bits = np.uint64(0)
            for u in range(starts.shape[0]):
                bits |= differing_bits(starts[u], 64 * block, 64 * block + 1)
        while bits:
            columns[count] = np.uintp(64 * block) + lowest_bit(bits)
            count += 1
            bits &= bits - one
    if blocks % splits == split:
        for j in range(64 * blocks, columns.size):
            entered = every
            for u in range(starts.shape[0]):
                entered |= starts[u, j] < starts[u, j + 1]
            columns[count] = j
            count += entered
    return count


@kernel
def first_layer_update(
    p, columns, starts, places, entries, table, M, dY, dy, rule, lr, t, W, w, packed, I, H, state, q, D, d,
    b, o, bias_state, r,
):  # fmt: skip
    """Step the rows ``columns`` of panel p of W by X[rows].T @ dY; dY [M, H] from dY[dy] on, all flat.

    Step the panel's part of the bias b[o : o + H] too, if b is not empty, its state from bias_state[r] on. D has room
    for the panel of dY, which is copied there, and for a row more.
    """
    lanes = simd.lanes(W)
    column, n, wide = _panel(p, H, lanes)
    at, w_row, slot = column * I, wide, I * panel_start(panel_count(H, lanes), H, lanes)
    if not packed:
        at, w_row, slot, wide = column, H, I * H, PANEL_VECTORS * lanes
    _copy_panel(M, n, dY, dy + column, H, D, d, wide, False)
    constants = rule_constants(rule, rule.weight_decay, lr, t, W)
    if b.size:
        g = d + M * wide
        column_sums(0, wide, M, wide, D, d, D, g)
        one, two = r + column, r + H + column
        update_span(rule, 0.0, lr, t, b, o + column, D, g, 1.0, bias_state, one, bias_state, two, n)
    if wide < PANEL_VECTORS * lanes:
        _update_narrow(
            columns, starts, places, entries, table, D, d, n, rule.kind, constants,
            W, w + at, w_row, state, q + at, slot,
        )  # fmt: skip
    elif packed or n == wide:
        _update_wide(
            columns, starts, places, entries, table, D, d, n, rule.kind, constants,
            W, w + at, w_row, state, q + at, slot,
        )  # fmt: skip
    else:
        _update_in_place(
            columns, starts, places, entries, table, D, d, n, rule.kind, constants,
            W, w + at, w_row, state, q + at, slot,
        )  # fmt: skip


@kernel
def catch_up(p, columns, seen, last, rule, numbers, W, w, I, H, state, q, squares):
    """Bring the rows ``columns`` of panel p of W [I, H] from the seen[j] steps they have had to ``last``.

    A row without entries in a batch has a gradient of zero there, and yet moves: by its momentum, by its decay. Such steps are
    put off until its column has an entry again, and then done one by one as the dense update would have: in registers.
    ``squares``, not empty where they are wanted, a panel's row for each of the panels and COLUMNS_TOGETHER columns, gets the
    squares of W before each of these steps, and before the one to come, unless all have been done.
    """
    column, n, _ = _panel(p, H, simd.lanes(W))
    panel, blocks, wanted = PANEL_VECTORS * simd.lanes(W), I // COLUMNS_TOGETHER + 1, squares.size > 0
    done = last == numbers.shape[0]
    kind, slot, g = rule.kind, I * H, simd.tile_zeros(W, 1, PANEL_VECTORS)
    for i in range(columns.size):
        if i + PREFETCH_COLUMNS < columns.size:
            ahead = column + np.intp(columns[i + PREFETCH_COLUMNS]) * H
            _prefetch_row(kind, W, w + ahead, state, q + ahead, slot, n)
        j = np.intp(columns[i])
        if seen[j] == last and (done or not wanted):
            continue
        at, to = w + column + j * H, q + column + j * H
        x = simd.tile_load(W, at, 0, 1, PANEL_VECTORS, n)
        total, sums = simd.tile_zeros(W, 1, PANEL_VECTORS), (p * blocks + j // COLUMNS_TOGETHER) * panel
        if wanted:
            total = simd.tile_load(squares, sums, 0, 1, PANEL_VECTORS, panel)
        if kind == SGD:
            for s in range(seen[j], last):
                if wanted:
                    total = simd.fma(x, x, total)
                x = sgd_step(constants_of(numbers[s], W), x, g)
        elif kind in (MOMENTUM, NESTEROV):
            one = simd.tile_load(state, to, 0, 1, PANEL_VECTORS, n)
            for s in range(seen[j], last):
                if wanted:
                    total = simd.fma(x, x, total)
                x, one = momentum_step(kind, constants_of(numbers[s], W), x, g, one)
            simd.tile_store(state, to, 0, one, n, 0)
        else:
            one = simd.tile_load(state, to, 0, 1, PANEL_VECTORS, n)
            two = simd.tile_load(state, to + slot, 0, 1, PANEL_VECTORS, n)
            for s in range(seen[j], last):
                if wanted:
                    total = simd.fma(x, x, total)
                x, one, two = adam_step(constants_of(numbers[s], W), x, g, one, two)
            simd.tile_store(state, to, 0, one, n, 0)
            simd.tile_store(state, to + slot, 0, two, n, 0)
        simd.tile_store(W, at, 0, x, n, 0)
        if wanted:
            if not done:
                total = simd.fma(x, x, total)
            simd.tile_store(squares, sums, 0, total, panel, 0)


@kernel
def pack(p, first, last, W, w, I, H, packed, o, unpack):
    """Rows first .. last - 1 of panel p, from W [I, H] to where it is packed, or back."""
    column, n, wide = _panel(p, H, simd.lanes(W))
    _copy_panel(last - first, n, W, w + column + first * H, H, packed, o + column * I + first * wide, wide, unpack)


# -- the public products -------------------------------------------------------------------------------------------


@kernel
def csr_forward(part, parts, indptr, indices, values, table, rows, W, b, relu, Y, ends):
    """Y = f(X @ W + b) for this part's rows; ``rows`` are 0 .. B-1, ``ends`` B elements of scratch, b empty for none."""
    lo, hi = share(part, parts, rows.size)
    I, H = W.shape
    for p in range(panel_count(H, simd.lanes(W))):
        first_layer_forward(
            p, rows[lo:hi], indptr, indices, values, table, I, flat(W), 0, False, I, H, b, 0, relu, flat(Y), lo * H,
            flat(Y), 0, ends, lo,
        )  # fmt: skip


@kernel
def csr_backward_update(
    part, parts, meeting, indptr, indices, values, table, rows, dY, rule, lr, t, W, state, b, bias_state,
    starts, places, entries, columns, D,
):  # fmt: skip
    """Step this part's panels of flat W [I, H] by X.T @ dY, and b, if it is not empty, by dY.sum(0).

    See ``first_layer_update``. Parts meet once in ``meeting``. starts [parts, I + 2] and columns [parts, I]; places, of
    integers, and entries, in the dtype of values, as long as the batch has entries, or by ``entry_arrays``;
    D [parts, (B + 1) * panel].
    """
    starts = starts[:parts]  # fewer than there is room for, where the team was busy
    lo, hi = share(part, parts, rows.size)
    to_columns(part, lo, hi, rows, indptr, indices, values, starts, places, entries, 0)
    barrier(meeting, 1, parts)
    M, H = dY.shape
    I = starts.shape[1] - 2
    lo, hi = share(part, parts, panel_count(H, simd.lanes(W)))
    chosen = columns[part, : columns_to_step(0, 1, not is_inert(rule), starts, columns[part])]
    for p in range(lo, hi):
        first_layer_update(
            p, chosen, starts, places, entries, table, M, flat(dY), 0, rule, lr, t, W, 0, False, I, H, state, 0,
            D[part], 0, b, 0, bias_state, 0,
        )  # fmt: skip


# -- from dense rows -----------------------------------------------------------------------------------------------


@piece
def count_rows(X, first, n, starts):
    """starts[i] = non-zeros in row first + i of X, for n rows; returns their sum."""
    total = 0
    for i in range(n):
        count = 0
        for j in range(X.shape[1]):
            count += X[first + i, j] != 0
        starts[i] = count
        total += count
    return total


@piece
def fill_row(X, row, k, end, indices, values):
    """Columns and values of the non-zeros of a row of X from indices[k] and values[k] to just before ``end``."""
    one, I, source, start = np.uint64(1), X.shape[1], flat(X), row * X.shape[1]
    blocks = I // 64
    for block in range(blocks):
        bits = nonzero_bits(source, start + 64 * block)
        while bits:
            j = np.uintp(64 * block) + lowest_bit(bits)
            indices[k] = j
            values[k] = source[np.uintp(start) + j]
            k += 1
            bits &= bits - one
    for j in range(64 * blocks, I):
        if k == end:
            break
        x = X[row, j]
        indices[k] = j  # again and again until x is not zero: a branch on x would often be mispredicted
        values[k] = x
        k += x != 0


@kernel
def compact(part, parts, X, indptr, indices, values):
    """For this part's rows of X the columns and values of the non-zeros, where ``indptr`` says.

    With empty ``indices``, indptr[i + 1] = non-zeros in row i.
    """
    lo, hi = share(part, parts, X.shape[0])
    if indices.size == 0:
        count_rows(X, lo, hi - lo, indptr[lo + 1 :])
        return
    for i in range(lo, hi):
        fill_row(X, i, indptr[i], indptr[i + 1], indices, values)


def from_dense(X: np.ndarray) -> CSR:
    """The non-zeros of a C-contiguous X."""
    parts = get_num_threads() if X.size > SERIAL_ELEMENTS else 1
    indptr, index = np.zeros(len(X) + 1, np.int64), index_dtype(X.shape[1])
    run(compact, parts, X, indptr, np.empty(0, index), np.empty(0, X.dtype))
    np.cumsum(indptr, out=indptr)
    indices, values = np.empty(indptr[-1], index), np.empty(indptr[-1], X.dtype)
    if indices.size:
        run(compact, parts, X, indptr, indices, values)
    return CSR.trusted(indptr, indices, values, X.shape)


_SLOTS = 1024  # four times as many as values: next to none is looked for twice


@kernel
def encode(part, parts, bits, slots, different, codes, count):
    """different[codes[k]] = bits[k], in order of their first appearance; how many differ, or one more than there is room for,
    in ``count``. ``slots``, a hash table with open addressing, are filled with its 256."""
    one, last, free = np.uint64(1), np.uint64(slots.size - 1), different.size
    for k in range(bits.size):
        at = (np.uint64(bits[k]) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(54)  # Knuth's multiplicative hash
        while slots[at] < free and different[slots[at]] != bits[k]:
            at = (at + one) & last
        if slots[at] == free:
            count[0] += 1
            if count[0] > free:
                return
            slots[at] = count[0] - 1
            different[slots[at]] = bits[k]
        codes[k] = slots[at]


@lru_cache(maxsize=64)
def value_table(values: np.dtype, scale: float, dtype: np.dtype) -> np.ndarray:
    """What the kernels look up the factor of an entry in; not to be written to."""
    real = dtype.type
    return np.arange(256).astype(dtype) * real(scale) if values == np.uint8 else np.array([scale], dtype)


def run_forward(X: CSR, W: np.ndarray, b: np.ndarray, scale: float, relu: bool, Y: np.ndarray, parts: int) -> None:
    """Run ``csr_forward`` on the team."""
    rows = np.arange(X.shape[0])
    run(
        csr_forward,
        parts,
        *X.arrays,
        X.table(float(scale), W.dtype),
        rows,
        W,
        b,
        relu,
        Y,
        np.empty_like(rows),
    )


def run_backward_update(
    X: CSR, dY: np.ndarray, rule: Rule, lr: float, t: int, updated: list[np.ndarray], scale: float, parts: int
) -> None:
    """Run ``csr_backward_update`` on the team; ``updated`` are W, its state, b and its state, flat."""
    B, I = X.shape
    W = updated[0]
    panel = PANEL_VECTORS * simd.REGISTER_BYTES // W.dtype.itemsize
    run(
        csr_backward_update, parts, barrier_state(), *X.arrays, X.table(float(scale), W.dtype), np.arange(B), dY,
        rule, lr, t, *updated, np.empty((parts, I + 2), np.int32), *entry_arrays(X.values.shape, B, X.values.dtype),
        np.empty((parts, I), index_dtype(I)), np.empty((parts, (B + 1) * panel), W.dtype),
    )  # fmt: skip
