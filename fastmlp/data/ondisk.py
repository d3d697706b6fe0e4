"""Samples that stay on disk: rows read by position from flat binary arrays in files, never mapped into memory."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, RunError
from .files import most_bytes
from .sparse import Sparse

_BLOCK = 1 << 20  # bytes read at a time, about
_GAP = 1 << 16  # bytes that are read and left out rather than skipped by a second read


class DataFile:
    """A file read at given places. It stays open, so that training goes on when it is deleted or replaced meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._fd)
        self.size = os.fstat(self._fd).st_size
        self._moving = threading.Lock()

    def read(self, offset: int, shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array that lies there. RunError when the disk fails, or the file does not reach as far any more."""
        array = np.empty(shape, dtype)
        rest = array.reshape(-1).view(np.uint8).data
        try:
            while rest and (count := self._read_into(rest, offset)):
                rest, offset = rest[count:], offset + count
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read ({error.strerror or error})") from None
        if rest:
            raise RunError(f"{self.path}: ends before byte {offset + len(rest):,}; it has been cut short meanwhile")
        return array

    def _read_into(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [view], offset)
        with self._moving:  # Windows: the file has one place, for all threads
            os.lseek(self._fd, offset, os.SEEK_SET)
            content = os.read(self._fd, len(view))
        view[: len(content)] = content
        return len(content)


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows that lie one after another in a file: dense ones from ``offset`` on; of sparse ones the values.

    The int64 ``indptr`` [rows + 1] and the int32 ``indices`` of sparse rows lie at those offsets.
    """

    file: DataFile
    rows: int
    offset: int
    dtype: np.dtype[Any]
    indptr: int = 0
    indices: int = 0
    entries: int = 0


@dataclass(frozen=True, eq=False)
class OnDisk:
    """A matrix [N, features] on disk. X[rows], with rising rows or a slice, is read as a new ndarray or ``Sparse``.

    The rows are those of the pieces, one after another, without those ``left_out`` (rising). At most ``memory`` MB of
    them may be in memory, by default half of the machine's. In the file, columns of sparse rows count from ``first``.
    """

    source: str
    pieces: tuple[Piece, ...]
    features: int
    dtype: np.dtype[Any]
    memory: int | None
    sparse: bool = False
    first: int = 0
    spelt_out: bool = False  # sparse in the file, dense when read
    left_out: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def shape(self) -> tuple[int, int]:
        return sum(piece.rows for piece in self.pieces) - len(self.left_out), self.features

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def entries(self) -> float:
        """Stored entries of a sparse row, on average."""
        return sum(piece.entries for piece in self.pieces) / sum(piece.rows for piece in self.pieces)

    @property
    def row_bytes(self) -> float:
        """The mean bytes of a row when it is read."""
        return self.entries * (4 + self.dtype.itemsize) + 8 if is_sparse(self) else self.features * self.dtype.itemsize

    def astype(self, dtype: Any) -> OnDisk:
        """The matrix, read in another dtype."""
        return replace(self, dtype=np.dtype(dtype))

    def without(self, rows: np.ndarray) -> OnDisk:
        """The matrix without some rows, rising."""
        return replace(self, left_out=np.sort(np.concatenate((self.left_out, self._places(rows)))))

    def _places(self, rows: np.ndarray) -> np.ndarray:
        """The numbers of rows among those of the pieces, which count the rows that are left out."""
        return rows + np.searchsorted(self.left_out - np.arange(len(self.left_out)), rows, side="right")

    def read(self, rows: np.ndarray | None = None) -> Any:
        """X[rows], or all of X, to be kept in memory. InputError where ``memory`` has no room for it."""
        count = len(self) if rows is None else len(rows)
        most, size = self.memory or most_bytes() >> 20, math.ceil(count * self.row_bytes / 2**20)
        if size > most:
            limit, cure = f"half of this machine's memory, {most:,}", "--memory trains on data that stay on disk"
            if self.memory:
                limit, cure = f"--memory {most}", "hold out fewer to test (--val-fraction) or to watch (--validation)"
            raise InputError(f"{self.source}: {count:,} samples take {size:,} MB, more than {limit}; {cure}")
        return self[:] if rows is None else self[rows]

    def __getitem__(self, rows: slice | np.ndarray) -> Any:
        rows = self._places(np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows)
        if is_sparse(self):
            return self._sparse_rows(rows)
        X = np.empty((len(rows), self.features), self.dtype)
        for part, piece, wanted in self._groups(rows):
            X[part] = self._block(piece, wanted).toarray() if self.sparse else self._block(piece, wanted)
        return X

    def _groups(self, rows: np.ndarray) -> Iterator[tuple[slice, Piece, np.ndarray]]:
        """(which of ``rows``, their piece, their numbers in it) of rows that one read fetches."""
        ends = np.cumsum([piece.rows for piece in self.pieces])
        of = np.searchsorted(ends, rows, side="right")
        row = max(1.0, self.row_bytes)
        block = rows // max(1, int(_BLOCK / row))
        apart = (np.diff(rows) > 1 + _GAP / row) | (np.diff(block) > 0) | (np.diff(of) > 0)
        cuts = (np.flatnonzero(apart) + 1).tolist()
        for start, stop in pairwise([0, *cuts, len(rows)] if len(rows) else []):
            piece = self.pieces[of[start]]
            yield slice(start, stop), piece, rows[start:stop] - (ends[of[start]] - piece.rows)

    def _block(self, piece: Piece, wanted: np.ndarray) -> Any:
        """Rows of a piece, rising, by one read of all from the first to the last."""
        start, stop = int(wanted[0]), int(wanted[-1]) + 1
        if not self.sparse:
            offset = piece.offset + start * self.features * piece.dtype.itemsize
            rows: Any = piece.file.read(offset, (stop - start, self.features), piece.dtype)
        else:
            indptr = self._indptr(piece, start, stop)
            low, entries = int(indptr[0]), int(indptr[-1] - indptr[0])
            indices = piece.file.read(piece.indices + 4 * low, entries, np.int32) - np.int32(self.first)
            values = piece.file.read(piece.offset + piece.dtype.itemsize * low, entries, piece.dtype)
            rows = Sparse(indptr - low, indices, values, (stop - start, self.features))
        return rows if len(wanted) == stop - start else rows[wanted - start]

    @staticmethod
    def _indptr(piece: Piece, start: int, stop: int) -> np.ndarray:
        indptr = piece.file.read(piece.indptr + 8 * start, stop - start + 1, np.int64)
        if indptr[0] < 0 or indptr[-1] > piece.entries or (np.diff(indptr) < 0).any():
            raise RunError(f"{piece.file.path}: is damaged; delete it")
        return indptr

    def _sparse_rows(self, rows: np.ndarray) -> Sparse:
        indptr = np.zeros(len(rows) + 1, np.int64)
        for part, piece, wanted in self._groups(rows):  # first how many entries, so that they are in memory once
            lengths = np.diff(self._indptr(piece, int(wanted[0]), int(wanted[-1]) + 1))
            indptr[1:][part] = lengths[wanted - wanted[0]]
        np.cumsum(indptr, out=indptr)
        indices, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], self.dtype)
        for part, piece, wanted in self._groups(rows):
            block, entries = self._block(piece, wanted), slice(indptr[part.start], indptr[part.stop])
            indices[entries], values[entries] = block.indices, block.data
        return Sparse(indptr, indices, values, (len(rows), self.features))


def is_sparse(X: Any) -> bool:
    """Whether rows of X are ``Sparse``."""
    return isinstance(X, Sparse) or (isinstance(X, OnDisk) and X.sparse and not X.spelt_out)


def divide(X: Any, kept: np.ndarray, rest: np.ndarray) -> tuple[Any, Any]:
    """(X[kept], X[rest]), which together are X: of samples on disk the rest are read, and what is kept stays there."""
    return (X.without(rest), X.read(rest)) if isinstance(X, OnDisk) else (X[kept], X[rest])
