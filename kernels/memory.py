"""Memory for kernels: arrays aligned to cache lines, and scratch that is kept between calls."""

from __future__ import annotations

import threading

import numpy as np

LINE_BYTES = 64  # of a cache line; a vector load from its start never crosses into the next


def aligned_zeros(n: int, dtype: np.dtype) -> np.ndarray:
    """n zeros, aligned to a cache line."""
    dtype = np.dtype(dtype)
    raw = np.zeros(n * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return raw[start : start + n * dtype.itemsize].view(dtype)


_kept = threading.local()


def scratch(size: int, dtype: np.dtype) -> np.ndarray:
    """At least ``size`` elements of scratch, kept for this thread's next call: fresh pages cost more than the work."""
    array = getattr(_kept, dtype.char, None)
    if array is None or array.size < size:
        array = aligned_zeros(size, dtype)
        setattr(_kept, dtype.char, array)
    return array
