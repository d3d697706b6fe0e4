"""Memory for kernels: on cache lines, and scratch that is kept from call to call."""

from __future__ import annotations

import threading

import numpy as np

LINE_BYTES = 64  # a vector load from a line's start never crosses two


def aligned_zeros(n: int, dtype: np.dtype) -> np.ndarray:
    """n zeros whose first byte is on a cache line."""
    dtype = np.dtype(dtype)
    raw = np.zeros(n * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return raw[start : start + n * dtype.itemsize].view(dtype)


_kept = threading.local()


def scratch(size: int, dtype: np.dtype) -> np.ndarray:
    """At least ``size`` elements for this thread's call to write on, kept for the next: fresh pages cost more than work."""
    array = getattr(_kept, dtype.char, None)
    if array is None or array.size < size:
        array = aligned_zeros(size, dtype)
        setattr(_kept, dtype.char, array)
    return array
