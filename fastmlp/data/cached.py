"""Arrays that take long to make, kept in the cache directory for the next process."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable

import numpy as np

from ..errors import InputError
from ..paths import atomic_write, cache_dir, keep_newest
from .npz import read_npz

_FILES_KEPT = 8


def cached(kind: str, key: bytes, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays that ``make`` returns, or returned in an earlier process for the same ``key``.

    ``key`` has all that the arrays depend on, including the version of the code that makes them. The newest few files
    of a ``kind`` are kept. A damaged file is made again; if the cache cannot be written, nothing is kept.
    """
    path = cache_dir(kind) / f"{hashlib.sha256(key).hexdigest()[:32]}.npz"
    with contextlib.suppress(InputError):
        return read_npz(path)
    arrays = make()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        keep_newest(path.parent.glob("*.npz"), _FILES_KEPT)
    return arrays
