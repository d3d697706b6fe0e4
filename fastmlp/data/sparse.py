"""Samples that are mostly zeros: compressed sparse rows, under the names that SciPy gives their parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Sparse:
    """A matrix whose row i holds data[indptr[i]:indptr[i+1]] in columns indices[indptr[i]:indptr[i+1]].

    ``indptr`` is int64 [N+1], ``indices`` integers, ``data`` float32, float64 or uint8. Whoever computes with it
    takes it as it takes SciPy's (``kernels.csr``), and checks it there.
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    shape: tuple[int, int]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> Sparse:
        """The rows of a slice, or of those numbers in that order."""
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        entries = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][rows] - indptr[:-1], lengths)
        return Sparse(indptr, self.indices[entries], self.data[entries], (len(lengths), self.shape[1]))

    def toarray(self) -> np.ndarray:
        """The matrix with its zeros."""
        dense = np.zeros(self.shape, self.dtype)
        dense[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices] = self.data
        return dense

    def astype(self, dtype: Any) -> Sparse:
        """The same with ``data`` in another dtype."""
        return replace(self, data=self.data.astype(dtype))
