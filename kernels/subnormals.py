"""Subnormal numbers flushed to zeros of their sign, as kernels have them (``ops`` says why)."""

from __future__ import annotations

import numpy as np


def normal(x: np.ndarray) -> np.ndarray:
    """x with its subnormal numbers replaced by zeros of their sign."""
    return np.where(abs(x) < np.finfo(x.dtype).tiny, np.copysign(0, x), x).astype(x.dtype)


def flush(*arrays: np.ndarray) -> None:
    """``normal``, in place."""
    for array in arrays:
        array[...] = normal(array)
