"""The file of models and checkpoints: an .npz of tensors, read without pickle, with a SHA-256 for each.

Its member ``meta`` is JSON as bytes: ``format`` ("fastmlp"), ``version``, ``sha256`` (by name, of each tensor's dtype,
shape and bytes) and the writer's own keys. Zip's CRC-32 guards ``meta``.
"""

from __future__ import annotations

import hashlib
import json
import operator
from pathlib import Path
from typing import Any

import numpy as np

from ..data.npz import read_npz
from ..errors import InputError
from ..paths import atomic_write, writing

_FORMAT = "fastmlp"
VERSION, TABLE_VERSION = 2, 3  # for one network, and for several with a table's columns

Tensors = dict[str, np.ndarray]


def _digest(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).data if array.size else b"")
    return digest.hexdigest()


def write_tensors(path: Path, meta: dict[str, Any], tensors: Tensors, *, keep: Path | None = None) -> None:
    """Write the file atomically; an existing file is renamed to ``keep``. RunError when it cannot be written."""
    sums = {name: _digest(array) for name, array in tensors.items()}
    version = TABLE_VERSION if "table" in meta else VERSION
    header = json.dumps({"format": _FORMAT, "version": version, "sha256": sums, **meta}, allow_nan=False)
    with writing(path), atomic_write(path, keep=keep) as file:
        np.savez(file, meta=np.frombuffer(header.encode(), np.uint8), **tensors)  # type: ignore[arg-type]


def read_tensors(path: Path) -> tuple[dict[str, Any], Tensors]:
    """(meta, tensors) of a file that ``write_tensors`` wrote. InputError for any other file, and for a damaged one."""
    tensors = read_npz(path)
    try:
        meta = json.loads(tensors.pop("meta").tobytes())
        if meta["format"] != _FORMAT:
            raise KeyError("format")
        version, sums = operator.index(meta["version"]), {**meta["sha256"]}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise InputError(f"{path}: not a fastmlp model or checkpoint") from None
    if version not in (VERSION, TABLE_VERSION):
        raise InputError(f"{path}: model format {version}; this version reads {VERSION} and {TABLE_VERSION}")
    if sums.keys() != tensors.keys():
        odd = sorted(sums.keys() ^ tensors.keys())[0]
        raise InputError(f"{path}: tensor {odd[:40]!r} is missing or without a checksum; the file is damaged")
    for name, array in tensors.items():
        if _digest(array) != sums[name]:
            raise InputError(f"{path}: tensor {name[:40]!r} does not match its SHA-256; the file is damaged")
    return meta, tensors
