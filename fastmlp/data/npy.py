"""NumPy's .npy, of one array: read by position, without pickle and without trusting its header."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..formats import Query
from .files import reading, require_file
from .npz import array_header, as_samples
from .ondisk import DataFile


def features(path: Path, query: Query) -> np.ndarray:
    """X [N, I] of the array [N, ...] in the file."""
    return as_samples(read_npy(path), str(path))


def read_npy(path: Path) -> np.ndarray:
    """The array in the file."""
    file, start, shape, dtype, fortran_order = open_npy(path)
    return file.read(start, shape[::-1], dtype).T if fortran_order else file.read(start, shape, dtype)


def open_npy(path: Path) -> tuple[DataFile, int, tuple[int, ...], np.dtype[Any], bool]:
    """(the file, where the array begins, its shape and dtype, whether it is stored column by column). InputError unless
    the file holds what its header says."""
    require_file(path, fits=False)
    file = DataFile(path)
    with reading(path, ".npy", Exception), open(path, "rb") as stream:  # NumPy raises a dozen kinds, as for .npz
        shape, fortran_order, dtype = array_header(stream, f"{path}:")
        start = stream.tell()
    if (size := math.prod(shape) * dtype.itemsize) != file.size - start:
        raise InputError(f"{path}: promises {size:,} bytes, there are {file.size - start:,}")
    return file, start, shape, dtype, fortran_order and len(shape) > 1
