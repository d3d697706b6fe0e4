"""Compressed sparse rows: the checked matrix, the bundle that kernels read, and the conversion from dense arrays.

Legend: row i of ``X [B, I]`` has ``values[indptr[i] : indptr[i+1]]`` in the columns ``indices[...]``; ``table`` maps
each uint8 value to its factor, or holds one factor for all floats. Kernels here are raw: they check nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .intrinsics import flat, flat_to_read, lowest_bit, nonzero_bits
from .jit import kernel, piece
from .team import parts_of_pass, run, share


class Sparse(NamedTuple):
    """A ``CSR`` matrix as kernels read it, ``block`` columns at a time: all of them if a row's columns are unsorted."""

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    table: np.ndarray
    columns: int
    block: int


@piece
def to_read(X):
    """X with writable array types, as a ``Sparse`` of scratch arrays has: one compiled kernel then serves both."""
    return Sparse(flat_to_read(X.indptr), flat_to_read(X.indices), flat_to_read(X.values), X.table, X.columns, X.block)


_MOST_COLUMNS = 2**31 - 1


def index_dtype(columns: int) -> Any:
    """The smallest type for the indices of ``columns`` columns: one is read for every entry."""
    return np.uint16 if columns <= 2**16 else np.int32


@dataclass(frozen=True, eq=False)
class CSR:
    """A matrix in compressed sparse rows: row i holds values[indptr[i]:indptr[i+1]] in columns indices[...].

    ``values`` is float32, float64 or uint8. The arrays are checked once, copied into the smallest index type, and made
    read-only: kernels trust them. Raises ValueError for violated invariants, TypeError for other dtypes. With a
    ``dictionary`` (see ``dictionary_encode``) the values are dictionary[values].
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]
    dictionary: np.ndarray | None = field(default=None, init=False)
    in_compiled_code: ClassVar[str] = "raw.sparse(X, dtype)"

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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make copies and unpickled matrices read-only, too: kernels would be compiled again for writable arrays."""
        self.__dict__.update(state)
        for array in (*self.arrays, self.stored):
            array.flags.writeable = False

    @classmethod
    def trusted(cls, indptr: np.ndarray, indices: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> CSR:
        """A matrix of unshared arrays of the class's dtypes that meet the invariants; each row's columns are sorted."""
        matrix = object.__new__(cls)
        object.__setattr__(matrix, "shape", shape)
        matrix._keep(indptr, indices, values)
        matrix.__dict__["columns_rise"] = True
        return matrix

    @cached_property
    def columns_rise(self) -> bool:
        """Whether the columns of every row are in ascending order."""
        falls = np.flatnonzero(self.indices[1:] < self.indices[:-1]) + 1
        return bool(np.isin(falls, self.indptr).all())

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """indptr, indices, values."""
        return self.indptr, self.indices, self.values

    def bundle(self, scale: float, dtype: np.dtype, block: int = 0) -> Sparse:
        """scale * X as kernels read it for weights of ``dtype``, ``block`` columns at a time (0: all)."""
        columns = self.shape[1]
        return Sparse(*self.arrays, self.table(scale, dtype), columns, block or max(columns, 1))

    @property
    def dtype(self) -> np.dtype:
        return self.stored.dtype

    @property
    def stored(self) -> np.ndarray:
        """An array that contains every stored value at least once."""
        return self.values if self.dictionary is None else self.dictionary

    def dictionary_encode(self) -> CSR:
        """The same matrix with each float stored as one byte, its index in a dictionary of at most 256 distinct floats.

        Pixels, counts and indicators have so few; other matrices, and uint8, are returned unchanged. Training gives the
        same bits and reads a third to a half of the memory.
        """
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
        """The table in which kernels look up an entry's factor; not to be written to."""
        if self.dictionary is None:
            return value_table(self.dtype, scale, dtype)
        return self.dictionary.astype(dtype) * dtype.type(scale)

    def toarray(self, dtype: np.dtype | None = None) -> np.ndarray:
        """The dense matrix in ``dtype`` (default: the values'); duplicate entries are summed."""
        dense = np.zeros(self.shape, dtype or self.dtype)
        values = self.values if self.dictionary is None else self.dictionary[self.values]
        np.add.at(dense, (np.repeat(np.arange(self.shape[0]), np.diff(self.indptr)), self.indices), values)
        return dense


# -- from dense rows ---------------------------------------------------------------------------------------------


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
    """Write columns and values of a row's non-zeros to indices[k:end] and values[k:end]."""
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
        indices[k] = j  # overwritten until x is not zero: a branch on x would often be mispredicted
        values[k] = x
        k += x != 0


@kernel
def compact(part, parts, X, indptr, indices, values):
    """Write columns and values of the non-zeros of this part's rows of X, row i from indptr[i] on.

    With empty ``indices`` only count: indptr[i + 1] = non-zeros in row i.
    """
    lo, hi = share(part, parts, X.shape[0])
    if indices.size == 0:
        count_rows(X, lo, hi - lo, indptr[lo + 1 :])
        return
    for i in range(lo, hi):
        fill_row(X, i, indptr[i], indptr[i + 1], indices, values)


def from_dense(X: np.ndarray) -> CSR:
    """A C-contiguous X as CSR."""
    parts = parts_of_pass(X.size)
    indptr, index = np.zeros(len(X) + 1, np.int64), index_dtype(X.shape[1])
    run(compact, parts, X, indptr, np.empty(0, index), np.empty(0, X.dtype))
    np.cumsum(indptr, out=indptr)
    indices, values = np.empty(indptr[-1], index), np.empty(indptr[-1], X.dtype)
    if indices.size:
        run(compact, parts, X, indptr, indices, values)
    return CSR.trusted(indptr, indices, values, X.shape)


# -- values as bytes ----------------------------------------------------------------------------------------------


_SLOTS = 1024  # four times as many as values: hardly any look-up needs a second probe


@kernel
def encode(part, parts, bits, slots, different, codes, count):
    """Dictionary-encode ``bits``: different[codes[k]] = bits[k], in order of first appearance.

    count[0] becomes the number of distinct values, or ``different.size`` + 1 if there are more. ``slots`` is a hash
    table with open addressing, filled with 256, which is no code.
    """
    one, last, free = np.uint64(1), np.uint64(slots.size - 1), different.size
    for k in range(bits.size):
        slot = (np.uint64(bits[k]) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(54)  # Knuth's multiplicative hash
        while slots[slot] < free and different[slots[slot]] != bits[k]:
            slot = (slot + one) & last
        if slots[slot] == free:
            count[0] += 1
            if count[0] > free:
                return
            slots[slot] = count[0] - 1
            different[slots[slot]] = bits[k]
        codes[k] = slots[slot]


@lru_cache(maxsize=64)
def value_table(values: np.dtype, scale: float, dtype: np.dtype) -> np.ndarray:
    """The factor of each uint8 value, or the one factor of all floats; not to be written to."""
    real = dtype.type
    return np.arange(256).astype(dtype) * real(scale) if values == np.uint8 else np.array([scale], dtype)
