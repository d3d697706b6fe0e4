"""Compressed sparse rows: the matrix, what kernels read of it, and how it comes from a dense one.

Legend: ``X [B, I]`` as ``values[indptr[i] : indptr[i+1]]`` in the columns ``indices[...]`` of row i; ``table`` the
factor of each value of uint8, or one factor for all floats. All kernels here are raw: nothing is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from .intrinsics import flat, flat_to_read, lowest_bit, nonzero_bits
from .jit import kernel, piece
from .team import get_num_threads, run, share
from .tuning import SERIAL_ELEMENTS


class Sparse(NamedTuple):
    """What kernels read of a ``CSR`` matrix. Columns are taken ``block`` at a time, or all if rows' do not rise."""

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    table: np.ndarray
    columns: int
    block: int


@piece
def to_read(X):
    """X of the type that a ``Sparse`` of a kernel's own arrays has: those of a ``CSR`` are read-only (see ``flat_to_read``)."""
    return Sparse(flat_to_read(X.indptr), flat_to_read(X.indices), flat_to_read(X.values), X.table, X.columns, X.block)


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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy, and what was pickled, is read-only too: for writable arrays every kernel would be compiled anew."""
        self.__dict__.update(state)
        for array in (*self.arrays, self.stored):
            array.flags.writeable = False

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
        """indptr, indices, values."""
        return self.indptr, self.indices, self.values

    def bundle(self, scale: float, dtype: np.dtype, block: int = 0) -> Sparse:
        """What the kernels read to multiply scale * X by weights of ``dtype``, ``block`` columns at a time (0: all)."""
        columns = self.shape[1]
        return Sparse(*self.arrays, self.table(scale, dtype), columns, block or columns)

    @property
    def dtype(self) -> np.dtype:
        return self.stored.dtype

    @property
    def stored(self) -> np.ndarray:
        """Every value that is stored, at least once."""
        return self.values if self.dictionary is None else self.dictionary

    def dictionary_encode(self) -> CSR:
        """The same matrix with each float as one byte, its number in a dictionary, where at most 256 floats differ.

        So it is for pixels, counts, ones and zeros; other matrices, and those of uint8, are returned as they are.
        Training gives the same bits, and reads a third or half as much.
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


# -- values as bytes ----------------------------------------------------------------------------------------------


_SLOTS = 1024  # four times as many as values: next to none is looked for twice


@kernel
def encode(part, parts, bits, slots, different, codes, count):
    """different[codes[k]] = bits[k], in order of their first appearance.

    ``count`` becomes how many differ, or one more than there is room for. ``slots``, a hash table with open addressing,
    hold 256 at first, which is no code.
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
    """What the kernels look up the factor of an entry in; not to be written to."""
    real = dtype.type
    return np.arange(256).astype(dtype) * real(scale) if values == np.uint8 else np.array([scale], dtype)
