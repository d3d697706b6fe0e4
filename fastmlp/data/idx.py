"""IDX, the format of MNIST: a magic number, big-endian dimensions, bytes. http://yann.lecun.com/exdb/mnist/"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import InputError
from .dataset import Dataset, Samples, assemble
from .files import read_file, unzip
from .labels import distinct

_UNSIGNED_BYTE = 8
_MOST_DIMENSIONS = 8


def idx_header(begins: Callable[[int], bytes], path: Path) -> tuple[tuple[int, ...], int]:
    """(shape, where the array begins) of an IDX file of unsigned bytes; ``begins(n)`` are its first n bytes, or all.

    InputError for anything else.
    """
    header = begins(4)
    if len(header) < 4 or header[:2] != b"\0\0":
        raise InputError(f"{path}: not an IDX file (its first four bytes are {header!r})")
    kind, dims = header[2], header[3]
    if kind != _UNSIGNED_BYTE or dims == 0:
        raise InputError(f"{path}: IDX of type 0x{kind:02x} with {dims} dimensions; it must hold unsigned bytes (0x08)")
    if dims > _MOST_DIMENSIONS:
        raise InputError(f"{path}: IDX of {dims} dimensions; at most {_MOST_DIMENSIONS} make sense")
    start = 4 + 4 * dims
    header = begins(start)
    if len(header) < start:
        raise InputError(f"{path}: the IDX header ends after {len(header)} of {start} bytes")
    return struct.unpack(f">{dims}I", header[4:]), start


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file of unsigned bytes, gzipped or not. InputError for anything else."""
    content = read_file(path)
    shape, start = idx_header(lambda count: unzip(content, path, count), path)
    promised = math.prod(shape)
    # One byte more than promised is enough to see that there are too many: nothing is allocated on the header's word.
    body = unzip(content, path, start + promised + 1)[start:]
    if len(body) != promised:
        held = f"{len(body)}" if len(body) < promised else "more"
        raise InputError(
            f"{path}: the IDX header promises {'x'.join(map(str, shape))} = {promised} bytes, there are {held}"
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def find_idx(directory: Path, stem: str) -> Path | None:
    """The file of that name, with or without .gz, with - or . before idx."""
    for base in (stem, stem.replace("-idx", ".idx")):
        for name in (base, f"{base}.gz"):
            if (directory / name).is_file():
                return directory / name
    return None


def _samples(directory: Path, prefix: str) -> Samples:
    """Images, flattened, and labels of ``train`` or ``t10k``."""
    paths = []
    for stem in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"):
        path = find_idx(directory, stem)
        if path is None:
            raise InputError(f"{directory}: holds no {stem}[.gz]")
        paths.append(path)
    X, y = map(read_idx, paths)
    for path, array, dims in zip(paths, (X, y), (3, 1)):
        if array.ndim != dims:
            raise InputError(f"{path}: IDX of {array.ndim} dimensions; it must have {dims}")
    if len(X) != len(y):
        raise InputError(f"{paths[0]}: {len(X)} images, but {paths[1].name} has {len(y)} labels; there must be as many")
    return Samples(X.reshape(len(X), math.prod(X.shape[1:])), distinct(y), str(directory), (X.shape[1], X.shape[2]))


def has_idx(directory: Path) -> bool:
    """Whether all four files of MNIST lie there."""
    stems = (f"{prefix}-{kind}-ubyte" for prefix in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
    return all(find_idx(directory, stem) for stem in stems)


def load_idx(directory: Path, name: str, val_fraction: float, seed: int) -> Dataset:
    """train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz], and t10k-... to test on, else a split."""
    samples = _samples(directory, "train")
    held_out = None if find_idx(directory, "t10k-images-idx3-ubyte") is None else _samples(directory, "t10k")
    return assemble(name, samples, held_out, val_fraction, seed)
