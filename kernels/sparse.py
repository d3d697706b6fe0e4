"""The first layer where the input is mostly zeros: compressed sparse rows (CSR).

Legend: ``X [B, I]`` as ``values[indptr[i] : indptr[i+1]]`` in the columns ``indices[...]`` of row i; ``N`` outputs.
Only stored entries take part: 0 * NaN is skipped where the dense product would give NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import simd
from .jit import kernel, piece
from .threads import share


@dataclass(frozen=True)
class CSR:
    """A matrix in compressed sparse rows: row i holds values[indptr[i]:indptr[i+1]] in columns indices[...].

    ``values`` is float32, float64 or uint8. Checked when it is made, and then read-only: kernels trust it.
    Raises ValueError where the invariants do not hold, TypeError for other dtypes.
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 0:
            raise ValueError(f"CSR shape is {tuple(self.shape)}; it must be two dimensions of at least 0")
        rows, columns = (int(n) for n in self.shape)
        values = np.asarray(self.values)
        if values.dtype not in (np.float32, np.float64, np.uint8):
            raise TypeError(f"CSR values have dtype {values.dtype}; they must be uint8, float32 or float64")
        for name in ("indptr", "indices"):
            dtype = np.asarray(getattr(self, name)).dtype
            if dtype.kind not in "iu":
                raise TypeError(f"CSR {name} has dtype {dtype}; it must be an integer type")
        indptr, indices = (np.asarray(array).astype(np.intp) for array in (self.indptr, self.indices))
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
        for name, array in (("indptr", indptr), ("indices", indices[:used].copy()), ("values", values[:used].copy())):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the kernels read: indptr, indices, values."""
        return self.indptr, self.indices, self.values

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    def toarray(self, dtype: np.dtype | None = None) -> np.ndarray:
        """The dense matrix; entries stored twice add up, in ``dtype`` (that of the values if none is given)."""
        dense = np.zeros(self.shape, dtype or self.dtype)
        np.add.at(dense, (np.repeat(np.arange(self.shape[0]), np.diff(self.indptr)), self.indices), self.values)
        return dense


@piece
def _add_row(x, W, w, Y, y, n):
    """Y[y : y+n] += x * W[w : w+n]."""
    lanes = simd.lanes(Y)
    factor = simd.broadcast(Y, x)
    full = n - n % lanes
    for j in range(0, full, lanes):
        simd.store(Y, y + j, simd.fma(factor, simd.load(W, w + j), simd.load(Y, y + j)))
    if full < n:
        rest = n - full
        sum_ = simd.fma(factor, simd.load_masked(W, w + full, rest), simd.load_masked(Y, y + full, rest))
        simd.store_masked(Y, y + full, sum_, rest)


@kernel
def csr_forward(part, parts, indptr, indices, values, W, Y):
    """Y = X @ W for this part's rows; entries in the order they are stored."""
    lo, hi = share(part, parts, indptr.size - 1)
    N = W.shape[1]
    for i in range(lo, hi):
        Y[i] = 0
        for k in range(indptr[i], indptr[i + 1]):
            _add_row(values[k], W, np.intp(indices[k]) * N, Y, i * N, N)


@kernel
def csr_backward_weight(part, parts, indptr, indices, values, dY, dW):
    """dW = X.T @ dY for this part's columns of dW: every part reads all entries, no two write one element."""
    N = dY.shape[1]
    lo, hi = share(part, parts, N)
    for k in range(dW.shape[0]):
        dW[k, lo:hi] = 0
    for i in range(indptr.size - 1):
        for k in range(indptr[i], indptr[i + 1]):
            _add_row(values[k], dY, i * N + lo, dW, np.intp(indices[k]) * N + lo, hi - lo)
