"""Subnormal numbers as the kernels have them: zeros of their sign (``ops`` says why)."""

from __future__ import annotations

import numpy as np


def normal(x: np.ndarray) -> np.ndarray:
    """x with zeros of their sign for its subnormal numbers."""
    return np.where(abs(x) < np.finfo(x.dtype).tiny, np.copysign(0, x), x).astype(x.dtype)


def flush(*arrays: np.ndarray) -> None:
    """``normal``, in place."""
    for array in arrays:
        array[...] = normal(array)
