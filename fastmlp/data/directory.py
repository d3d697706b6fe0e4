"""Data sets that are directories: .npy arrays, IDX files, or shards of one format; read whole, or left on disk.

What can be read by position is used in place. Text and compressed files are parsed once, a shard at a time, into the
cache: the rows of all shards as flat arrays, then labels and weights, JSON that says where each is, and its length.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import math
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import InputError, RunError
from ..formats import IMAGE, TRAINING, Features, Format, LabelColumn, Query, suffixes
from ..log import Say
from ..paths import atomic_write, cache_dir, keep_newest, remove_leftovers
from . import npz
from .dataset import Dataset, Samples, assemble, require_finite
from .files import GZIP_MAGIC, beginning, files_below, is_hidden, part_of, require_file
from .idx import find_idx, idx_header, idx_pair, read_idx, read_idx_set, require_images
from .labels import Labels, distinct, listed
from .npy import open_npy, read_npy
from .ondisk import DataFile, OnDisk, Piece
from .sparse import Sparse

_VERSION = 8
_KEPT = 4  # conversions; the one used longest ago goes first
_CHUNK = 1 << 20
_LENGTH = struct.Struct("<Q")


def load_directory(
    path: Path, name: str, val_fraction: float | None, seed: int, query: Query, memory: int | None = None
) -> Dataset:
    """The data set in a directory; with ``memory`` training samples stay on disk, at most so many MB in memory at once.

    X.npy and y.npy, perhaps sample_weight.npy, and X_test.npy and y_test.npy; or IDX files; or shards of one format, in
    order of their names, of which those that say test are the test set, else those that say val. No test set: a split.
    """
    idx_files = find_idx(path, query.say)
    shards = None if (path / "X.npy").exists() or "train images" in idx_files else _find_shards(path, query.say)
    if shards is None or not shards[0].has_columns:
        refuse_columns(query, f"{path}")
    if shards is not None:
        samples, held_out = _open_shards(path, *shards, query, memory)
        for note in samples.notes:
            query.say(f"{path}: {note}")
    else:
        read: Callable[[str], Samples]
        if (path / "X.npy").exists():
            read, tests = partial(_npy_samples, path, memory, query.say), (path / "X_test.npy").exists()
        else:
            read = partial(read_idx_set, path, idx_files)
            read = read if memory is None else partial(_open_idx, path, idx_files, memory, query.say)
            tests = bool({"test images", "test labels"} & idx_files.keys())
        samples, held_out = read("train"), read("test") if tests else None
    if memory is None:
        samples = _in_memory(samples)
    return assemble(name, samples, held_out and _in_memory(held_out), val_fraction, seed, query)


def innermost(path: Path) -> Path:
    """The directory with a data set, where those around it hold nothing else: MNIST/raw, as torchvision has it."""
    while len(inside := [each for each in path.iterdir() if not is_hidden(each.name)]) == 1 and inside[0].is_dir():
        path = inside[0]
    return path


def is_of_images(path: Path) -> bool:
    """Whether a directory has images in directories below it, and no X.npy or IDX files."""
    if (path / "X.npy").exists() or find_idx(path):
        return False
    return any(IMAGE.has(file.name) for inside, file in files_below(path) if "/" in inside)


def refuse_columns(query: Query, spec: str) -> None:
    """InputError for names of columns where there are none, or which are said of one table alone."""
    for option, name in (("label", query.label_column), ("weight", query.weight_column)):
        if name is not None:
            raise InputError(f"--{option}-column {name}: names a column of a table; {spec} is none")
    if query.drop or query.said:
        raise InputError(f"--{'drop' if query.drop else 'column'} goes with one table; {spec} is none")


def _in_memory(samples: Samples) -> Samples:
    return replace(samples, X=samples.X.read() if isinstance(samples.X, OnDisk) else samples.X)


# -- .npy ----------------------------------------------------------------------------------------------------------


def _npy_samples(directory: Path, memory: int | None, say: Say, part: str) -> Samples:
    suffix = "_test" if part == "test" else ""
    path, y_path = directory / f"X{suffix}.npy", directory / f"y{suffix}.npy"
    file, start, shape, dtype, fortran_order = open_npy(path)
    if fortran_order:
        raise InputError(f"{path}: is in Fortran order; it must be in C order (np.ascontiguousarray)")
    if dtype.str not in ("|u1", np.dtype(np.float32).str, np.dtype(np.float64).str):
        raise InputError(f"{path}: has dtype {dtype}; it must be uint8, float32 or float64")
    y = npz.as_vector(read_npy(y_path), str(y_path), say)
    if len(shape) < 2 or y.ndim != 1 or shape[0] != len(y):
        shapes = f"{path}: has shape {shape}, {y_path.name} {y.shape}"
        raise InputError(f"{shapes}; they must be (N, ...) and (N,), N the same")
    rows, features = shape[0], math.prod(shape[1:])
    X = OnDisk(str(path), (Piece(file, rows, start, dtype),), features, dtype, memory)
    block = max(1, _CHUNK // (features * dtype.itemsize or 1))
    for first in range(0, rows if dtype.kind == "f" else 0, block):
        require_finite(X[first : first + block], str(path), first)
    weight = None if suffix or not (path := directory / "sample_weight.npy").exists() else read_npy(path)
    return Samples(X, npz.as_labels(y, str(y_path)), str(directory), npz.image_shape(shape), weight=weight)


# -- IDX -----------------------------------------------------------------------------------------------------------


def _open_idx(directory: Path, files: dict[str, Path], memory: int, say: Say, part: str) -> Samples:
    paths = idx_pair(directory, files, part)
    images = path = paths[0]
    if beginning(images, unzipped=False).startswith(GZIP_MAGIC):
        path = _cache_path(directory, [images])
        if not path.exists():
            _convert(path, lambda file: _unzip(images, file), f"{images.name} is decompressed", say)
    file = DataFile(path)
    head = file.read(0, min(file.size, 64), np.uint8).tobytes()
    shape, start = idx_header(head, images)
    y = read_idx(paths[1])
    require_images(paths, shape, y)
    if (there := file.size - start) != (promised := math.prod(shape)):
        raise InputError(f"{images}: the IDX header promises {promised:,} bytes, there are {there:,}")
    piece = Piece(file, shape[0], start, np.dtype(np.uint8))
    X = OnDisk(str(directory), (piece,), shape[1] * shape[2], piece.dtype, memory)
    return Samples(X, distinct(y), str(directory), (shape[1], shape[2]))


def _unzip(path: Path, file: IO[bytes]) -> None:
    """The IDX file in a gzip file, and no more than it promises, and a byte."""
    try:
        with gzip.open(path) as stream:
            head = stream.read(64)
            shape, start = idx_header(head, path)
            left = start + math.prod(shape) + 1 - file.write(head)
            while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
                left -= file.write(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: not a valid gzip file ({error})") from None


# -- shards --------------------------------------------------------------------------------------------------------


def _find_shards(directory: Path, say: Say) -> tuple[Format, list[Path]]:
    """The files of the one format of which there are some, by name. InputError for none, and for two formats."""
    paths = [path for path in directory.iterdir() if not is_hidden(path.name)]
    paths.sort(key=lambda path: (_is_test(path), path))
    there = sorted(path.name for path in paths)
    if pair := next((name for name in there if name[0] == "X" and "y" + name[1:] in there), None):
        halves = f"holds samples in {pair} and, it seems, their labels in y{pair[1:]}"
        raise InputError(f"{directory}: {halves}; they must be in one table, or in X.npy and y.npy")
    found = [(each, some) for each in TRAINING if (some := [path for path in paths if each.has(path.name)])]
    if not found:
        if any(IMAGE.has(path.name) for path in paths):
            raise InputError(f"{directory}: its images have no classes; each class must have a directory below it")
        files = f"train-images-idx3-ubyte[.gz], X.npy or {suffixes(TRAINING)} files"
        raise InputError(f"{directory}: holds no {files}, and no directory of images for each class")
    if len(found) > 1:
        names = " and ".join(form.name for form, _ in found)
        raise InputError(f"{directory}: holds {names} files; shards must be of one format")
    form, shards = found[0]
    if second := [path for path in shards if part_of(path.name) == "val"]:
        tests = any(part_of(path.name) == "test" for path in shards)
        shards = [path for path in shards if not (tests and path in second)]
        say(
            f"{directory}: {listed([path.name for path in second])} {'not used' if tests else 'taken for the test set'}"
        )
    return form, shards


def _is_test(path: Path) -> bool:
    return part_of(path.name) in ("test", "val")


def _open_shards(
    directory: Path, form: Format, paths: list[Path], query: Query, memory: int | None
) -> tuple[Samples, Samples | None]:
    for path in paths:
        require_file(path)
    if query.label_column is None and (label := query.known.label) is not None:
        query = replace(query, label_column=label.name or str(label.place + 1))
    cached = _cache_path(directory, paths, (query.label_column, query.weight_column))
    with contextlib.suppress(OSError, InputError, RunError, ValueError, KeyError, TypeError):  # not there, or damaged
        return _opened(cached, directory, memory)
    what = f"{len(paths)} {form.name} files are read"
    quiet = replace(query, known=Features(), cached=False, say=lambda line: None)
    _convert(cached, lambda file: _write_shards(file, form, paths, quiet), what, query.say)
    return _opened(cached, directory, memory)


@dataclass(eq=False)
class _Part:
    """The training or the test set as far as it is written; in the end its ``meta`` is JSON."""

    pieces: list[dict[str, Any]] = field(default_factory=list)
    values: dict[int | float | str, int] = field(default_factory=dict)
    codes: list[np.ndarray] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)

    def add(self, file: IO[bytes], samples: Samples) -> None:
        codes = [self.values.setdefault(value, len(self.values)) for value in samples.labels.values]
        self.codes.append(np.array(codes, np.int32)[samples.labels.codes])
        if samples.weight is not None:
            self.weights.append(np.asarray(samples.weight, np.float64))
        X: Any = samples.X
        piece: dict[str, Any] = {"rows": len(X), "dtype": X.dtype.str}
        if isinstance(X, Sparse):
            piece |= {"entries": len(X.data), "offset": _write(file, X.data)}
            piece |= {"indptr": _write(file, X.indptr), "indices": _write(file, X.indices)}
        else:
            piece["offset"] = _write(file, np.asarray(X))
        self.pieces.append(piece)

    def meta(self, file: IO[bytes]) -> dict[str, Any]:
        weights = _write(file, np.concatenate(self.weights)) if self.weights else None
        labels = _write(file, np.concatenate(self.codes))
        return {"pieces": self.pieces, "values": list(self.values), "labels": labels, "weights": weights}


def _write(file: IO[bytes], array: np.ndarray) -> int:
    """Append the array to the file; returns its offset."""
    offset = file.tell()
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return offset


def _write_shards(file: IO[bytes], form: Format, paths: list[Path], query: Query) -> None:
    parts: dict[str, _Part] = {}
    first: Samples | None = None
    features, lowest, image_shapes = 0, set(), set()
    for k, path in enumerate(paths):
        try:
            samples, held_out = form.reader.read(path, query)
        except MemoryError:
            raise InputError(f"{path}: too large for this machine's memory; split it into smaller files") from None
        except InputError as error:
            raise InputError(f"{error} (it is read as {paths[0].name} was)" if k else str(error)) from None
        if held_out is not None:
            raise InputError(
                f"{path}: holds a test set, too; in a directory the files with test in their names are one"
            )
        if first is None:
            first = samples
            if samples.label is not None:  # all have their labels where the first has them
                query = replace(query, known=Features(samples.X.shape[1], label=samples.label))
        X, kind = samples.X, "test" if _is_test(path) else "training"
        if samples.lowest is None and X.shape[1] != first.X.shape[1]:
            raise InputError(f"{path}: has {X.shape[1]} features; {paths[0].name} has {features}")
        if samples.columns != first.columns:
            raise InputError(f"{path}: its columns are not those of {paths[0].name}; they must be the same")
        features = max(features, X.shape[1])
        lowest.add(samples.lowest)  # of svmlight files; else None
        image_shapes.add(samples.image_shape)
        part = parts.setdefault(kind, _Part())
        if part.pieces and bool(part.weights) != (samples.weight is not None):
            raise InputError(f"{path}: some files have sample weights and some have none; all must, or none")
        part.add(file, samples)
    if first is None or "training" not in parts:
        raise InputError(
            f"{paths[0].parent}: all its files have test or val in their names; there must be others to train on"
        )
    meta = {
        "parts": {kind: part.meta(file) for kind, part in parts.items()},
        "features": features,
        "lowest": min(lowest),
        "columns": first.columns,
        "label": first.label,
        "notes": first.notes,
        "image_shape": image_shapes.pop() if len(image_shapes) == 1 else None,
    }
    content = json.dumps(meta).encode()
    file.write(content + _LENGTH.pack(len(content)))


def _opened(cached: Path, directory: Path, memory: int | None) -> tuple[Samples, Samples | None]:
    """The samples that ``_write_shards`` wrote. InputError for other files, OSError or RunError for unreadable ones."""
    file = DataFile(cached)
    (length,) = _LENGTH.unpack(file.read(max(0, file.size - _LENGTH.size), _LENGTH.size, np.uint8).tobytes())
    if length > file.size - _LENGTH.size:
        raise InputError(f"{cached}: is damaged; delete it")
    meta = json.loads(file.read(file.size - _LENGTH.size - length, length, np.uint8).tobytes())
    sparse = "entries" in meta["parts"]["training"]["pieces"][0]
    columns, shape = (None if meta[name] is None else tuple(meta[name]) for name in ("columns", "image_shape"))
    label = None if meta["label"] is None else LabelColumn(*meta["label"])
    opened: dict[str, Samples] = {}
    for kind, part in meta["parts"].items():
        pieces = tuple(Piece(file, **{**piece, "dtype": np.dtype(piece["dtype"])}) for piece in part["pieces"])
        rows, dtype = sum(piece.rows for piece in pieces), np.result_type(*(piece.dtype for piece in pieces))
        X = OnDisk(str(directory), pieces, meta["features"], dtype, memory, sparse)
        codes = file.read(part["labels"], rows, np.int32)
        weight = None if part["weights"] is None else file.read(part["weights"], rows, np.float64)
        labels, notes = Labels(part["values"], codes), tuple(meta["notes"])
        opened[kind] = Samples(X, labels, str(directory), shape, columns, weight, meta["lowest"], label, notes)
    os.utime(cached)
    return opened["training"], opened.get("test")


# -- the cache -----------------------------------------------------------------------------------------------------


def _cache_path(directory: Path, paths: list[Path], options: tuple[str | None, ...] = ()) -> Path:
    """The path of the conversion of these files in their present state."""
    status = [(path.name, (s := path.stat()).st_size, s.st_mtime_ns) for path in paths]
    key = repr((_VERSION, str(directory.resolve()), status, options))
    return cache_dir("blocks") / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.bin"


def _convert(cached: Path, write: Callable[[IO[bytes]], None], what: str, say: Say) -> None:
    """Let ``write`` make the file, whole or not at all, and the oldest of the others go."""
    say(f"{what} (once; kept in {cached.parent})")
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        for torn in cached.parent.glob(".*.tmp"):  # of data sets that may never come again
            remove_leftovers(cached.parent / torn.name[1:].rpartition("-")[0])
        with atomic_write(cached) as file:
            write(file)
        keep_newest(cached.parent.glob("*.bin"), _KEPT)
    except OSError as error:
        raise RunError(
            f"{cached.parent}: cannot be written to ({error.strerror or error}); set FASTMLP_CACHE to a directory with "
            "room for the samples as binary numbers"
        ) from None
