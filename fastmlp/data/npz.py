"""NumPy's .npz, read without pickle and without trusting its headers."""

from __future__ import annotations

import math
import warnings
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import InputError
from ..formats import Query
from ..log import Say
from .dataset import Samples, require_finite
from .decimals import as_single
from .files import DEFLATE_RATIO, GZIP_MAGIC, beginning, reading, require_file, require_size
from .labels import Labels, distinct, listed

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # NumPy's; zipfile expands the others without bound
_LONGEST_NAME = 200


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file by name. InputError when it is damaged, holds objects, or promises what it lacks."""
    require_file(path)
    if beginning(path, unzipped=False).startswith(GZIP_MAGIC):
        raise InputError(f"{path}: is gzipped; an .npz is compressed by itself, so decompress it first")
    # Zipfile and NumPy raise a dozen kinds for damaged files, tokenize's and lzma's among them.
    with reading(path, ".npz", Exception), warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
        warnings.simplefilter("ignore")  # of odd headers: they are read or refused
        require_size(sum(member.file_size for member in archive.infolist()), path)
        arrays: dict[str, np.ndarray] = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            what = f"{path}: array {name[:40]!r}"
            if not name.isprintable() or len(name) > _LONGEST_NAME:
                raise InputError(f"{what} has an odd name; it must be at most {_LONGEST_NAME} printable characters")
            if name in arrays:
                raise InputError(f"{what} is there twice")
            if member.compress_type not in _METHODS:
                raise InputError(f"{what} is neither stored nor deflated, as NumPy writes it")
            with archive.open(member) as file:
                arrays[name] = _read_array(file, member, what)
        return arrays


def array_header(file: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether stored by columns, dtype) of an array in .npy format. InputError for one that is not read."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):  # the others are for headers of more than 64 kB
        raise InputError(f"{what} is in .npy format {version[0]}.{version[1]}; it must be 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or dtype.names or dtype.kind not in "biufUS":
        how = ", as astype(str) makes it" if dtype.hasobject else ""
        raise InputError(f"{what} has dtype {str(dtype)[:40]}; it must be numbers or text{how}")
    return shape, fortran_order, dtype


def _read_array(file: IO[bytes], member: zipfile.ZipInfo, what: str) -> np.ndarray:
    shape, fortran_order, dtype = array_header(file, what)
    size = math.prod(shape) * dtype.itemsize
    if size != member.file_size - file.tell() or member.file_size > DEFLATE_RATIO * (member.compress_size + 1024):
        raise InputError(f"{what} promises {size} bytes; the file does not hold as many")
    content = file.read(size)  # to the end, so that the checksum is compared, but not beyond: there may be more
    if len(content) != size:
        raise InputError(f"{what} promises {size} bytes, there are {len(content)}")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
    return np.ascontiguousarray(array) if array.ndim else array


def _samples(arrays: dict[str, np.ndarray], path: Path, names: tuple[str, str], say: Say) -> Samples:
    X, y = arrays[names[0]], as_vector(arrays[names[1]], f"{path}: {names[1]}", say)
    if X.ndim < 2 or y.ndim != 1 or len(X) != len(y):
        raise InputError(
            f"{path}: {names[0]} has shape {X.shape} and {names[1]} {y.shape}; "
            "they must be (N, ...) and (N,), N the same"
        )
    weight = arrays.get("sample_weight")
    labels = as_labels(y, f"{path}: {names[1]}")
    return Samples(as_samples(X, f"{path}: {names[0]}"), labels, str(path), image_shape(X.shape), weight=weight)


def as_samples(X: np.ndarray, what: str) -> np.ndarray:
    """An array [N, ...] as features [N, I]: uint8 and float64 as they are, other numbers as float32 where that will do.

    InputError where it has too few dimensions, or no finite numbers.
    """
    if X.ndim < 2:
        raise InputError(f"{what} has shape {X.shape}; it must be (N, ...)")
    X = X.reshape(len(X), math.prod(X.shape[1:]))
    if X.dtype == bool:
        return X.view(np.uint8)
    if X.dtype.kind not in "iuf" or X.dtype.itemsize > 8:
        raise InputError(f"{what} has dtype {X.dtype}; it must be an integer type or a float of at most 64 bits")
    require_finite(X, what)
    kept = X.dtype.kind + str(X.dtype.itemsize) in ("u1", "f8")
    return X.astype(X.dtype.newbyteorder("="), copy=False) if kept else as_single(X)


def image_shape(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """(rows, columns) of an array of grey images: [N, rows, columns], or with an axis of one channel, first or last."""
    if len(shape) == 4 and 1 in (shape[1], shape[3]):
        shape = shape[:1] + (shape[2:] if shape[1] == 1 else shape[1:3])
    return (shape[1], shape[2]) if len(shape) == 3 else None


def as_vector(y: np.ndarray, what: str, say: Say) -> np.ndarray:
    """Labels [N] of an array [N], [N, 1], [1, N] or of one-hot rows [N, classes], which are their class's number."""
    if y.ndim != 2:
        return y
    if 1 in y.shape:
        return y.reshape(-1)
    if y.dtype.kind in "biuf" and y.size and ((y == 0) | (y == 1)).all() and (np.count_nonzero(y, axis=1) == 1).all():
        say(f"{what}: rows of {y.shape[1]} with a single 1 are taken for the classes 0 to {y.shape[1] - 1}")
        return y.argmax(1)
    return y


def as_labels(y: np.ndarray, what: str) -> Labels:
    """The labels of an array of numbers, booleans or text, perhaps objects. InputError for other dtypes and a NaN."""
    if y.dtype.kind in "iuf" and y.dtype.itemsize <= 8:
        require_finite(y[:, None], what)
        return distinct(y)
    if y.dtype.kind in "bO":
        return distinct(map(str, y.tolist()))
    if y.dtype.kind == "U":
        points = y.view(f"{y.dtype.byteorder}u4")
        if ((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any():
            raise InputError(f"{what} holds characters that Unicode does not have")
        return distinct(y.tolist())
    if y.dtype.kind == "S":
        return distinct(text.decode("utf-8", "backslashreplace") for text in y.tolist())
    raise InputError(f"{what} has dtype {y.dtype}; it must be numbers or text")


_X, _Y = ("x", "images", "data", "features", "inputs"), ("y", "labels", "label", "target", "targets")


def _find(arrays: dict[str, np.ndarray], names: tuple[str, ...], *parts: str) -> str | None:
    """The first array called one of ``names``, with a part behind it or in front: X_train, trainX, test_images."""
    plain = {name.lower().replace("_", ""): name for name in reversed([*arrays])}
    spellings = (spelling for part in parts for name in names for spelling in (name + part, part + name))
    return next((plain[spelling] for spelling in spellings if spelling in plain), None)


def _pair(arrays: dict[str, np.ndarray], *parts: str) -> tuple[str, str] | None:
    """The names of samples and labels of the first part that has both."""
    for part in parts:
        X, y = _find(arrays, _X, part), _find(arrays, _Y, part)
        if X is not None and y is not None:
            return X, y
    return None


def read(path: Path, query: Query) -> tuple[Samples, Samples | None]:
    """(X and y or x_train and y_train; X_test and y_test if they are there). Of a file to test on the test arrays.

    X is [N, I], or [N, rows, columns] of images; y integers or text. ``sample_weight`` [N] goes with the training set.
    Other usual names (images and labels, data and target, as np.savez names them) will do; what is not used is said.
    """
    arrays = read_npz(path)
    train, test = _pair(arrays, "train", ""), _pair(arrays, "test")
    if [*arrays] == ["arr_0", "arr_1"]:  # np.savez(path, X, y)
        train = ("arr_0", "arr_1")
        query.say(f"{path}: arr_0 and arr_1 are taken for samples and labels")
    if query.testing:
        train, test = test or train, None
    if train is None:
        raise InputError(
            f"{path}: holds {listed([*arrays]) or 'nothing'}; it must hold X and y, or x_train and y_train"
        )
    unused = sorted({*arrays} - {*train, *(test or ()), "sample_weight"})
    if unused and not query.testing:
        query.say(f"{path}: {listed(unused)} not used")
    return _samples(arrays, path, train, query.say), None if test is None else _samples(arrays, path, test, query.say)


def features(path: Path, query: Query) -> np.ndarray:
    """X [N, I] of a file with or without labels: its array X, else X_test, else the only one."""
    arrays = read_npz(path)
    if {"indptr", "indices", "data"} <= arrays.keys():
        raise InputError(
            f"{path}: is a sparse matrix of SciPy; sklearn.datasets.dump_svmlight_file writes one that is read"
        )
    key = _find(arrays, (*_X, "arr0"), "", "test") or (next(iter(arrays)) if len(arrays) == 1 else None)
    if key is None:
        raise InputError(f"{path}: holds {listed([*arrays]) or 'nothing'}; it must hold X or X_test")
    if (other := _find(arrays, _X, "train")) is not None:
        query.say(f"{path}: {key} is predicted from, {other} is not")
    return as_samples(arrays[key], f"{path}: {key}")
