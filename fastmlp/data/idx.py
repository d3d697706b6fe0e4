"""IDX, the format of MNIST: a magic number, big-endian dimensions, bytes. http://yann.lecun.com/exdb/mnist/"""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..formats import Query
from ..log import Say
from .dataset import Samples
from .files import is_hidden, read_file, unzip
from .labels import distinct

_UNSIGNED_BYTE = 8
_MOST_DIMENSIONS = 8


def idx_header(head: bytes, path: Path) -> tuple[tuple[int, ...], int]:
    """(shape, where the array begins) of an IDX file of unsigned bytes that begins with ``head``.

    InputError for anything else.
    """
    if len(head) < 4 or head[:2] != b"\0\0":
        raise InputError(f"{path}: not an IDX file (its first four bytes are {head[:4]!r})")
    kind, dims = head[2], head[3]
    if kind != _UNSIGNED_BYTE or dims == 0:
        raise InputError(f"{path}: IDX of type 0x{kind:02x} with {dims} dimensions; it must hold unsigned bytes (0x08)")
    if dims > _MOST_DIMENSIONS:
        raise InputError(f"{path}: IDX of {dims} dimensions; at most {_MOST_DIMENSIONS} make sense")
    start = 4 + 4 * dims
    if len(head) < start:
        raise InputError(f"{path}: the IDX header ends after {len(head)} of {start} bytes")
    return struct.unpack_from(f">{dims}I", head, 4), start


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file of unsigned bytes, gzipped or not. InputError for anything else."""
    content = read_file(path)
    shape, start = idx_header(unzip(content, path, 4 + 4 * _MOST_DIMENSIONS), path)
    promised = math.prod(shape)
    # One byte more than promised is enough to see that there are too many: nothing is allocated on the header's word.
    whole = unzip(content, path, start + promised + 1)
    if (there := len(whole) - start) != promised:
        held = f"{there}" if there < promised else "more"
        raise InputError(
            f"{path}: the IDX header promises {'x'.join(map(str, shape))} = {promised} bytes, there are {held}"
        )
    return np.frombuffer(whole, np.uint8, promised, start).reshape(shape)


def features(path: Path, query: Query) -> np.ndarray:
    """The images of a file, each a row of pixels."""
    images = read_idx(path)
    return images.reshape(len(images), math.prod(images.shape[1:]))


_NAME = re.compile(
    r"(?:(?P<set>.+)[-_.])?(?P<part>train|t10k|test)[-_.](?P<kind>image|label)s?[-_.]?idx[13][-_.]ubyte(?:\.gz)?",
    re.IGNORECASE,
)


def find_idx(directory: Path, say: Say = lambda line: None) -> dict[str, Path]:
    """The files there are of a data set, by ``train images``, ``train labels``, ``test images`` and ``test labels``.

    MNIST's names, with t10k or test, - or . before idx, and EMNIST's, which begin with the set's name; with .gz or not.
    ``say`` takes a line for others. InputError for two files of the same part, as of several data sets in a directory.
    """
    found: dict[str, Path] = {}
    for path in sorted(path for path in directory.iterdir() if not is_hidden(path.name)):
        if (name := _NAME.fullmatch(path.name)) is None or not path.is_file():
            if re.search(r"[-.]idx[0-9][-.]", path.name, re.IGNORECASE):
                say(
                    f"{directory}: {path.name} is not used; names are train-images-idx3-ubyte or t10k-labels-idx1-ubyte"
                )
            continue
        part = "train" if name["part"].lower() == "train" else "test"
        key = f"{part} {name['kind'].lower()}s"
        before = found.setdefault(key, path)
        if path.name.removesuffix(".gz") != before.name.removesuffix(".gz"):
            raise InputError(f"{directory}: holds {before.name} and {path.name}; it must hold one data set's files")
    return found


def require_images(paths: tuple[Path, Path], shape: tuple[int, ...], labels: np.ndarray) -> None:
    """InputError unless the arrays of two files, one of that shape and the labels, are images and as many labels."""
    for path, dims, wanted in zip(paths, (len(shape), labels.ndim), (3, 1)):
        if dims != wanted:
            raise InputError(f"{path}: IDX of {dims} dimensions; it must have {wanted}")
    if shape[0] != len(labels):
        raise InputError(
            f"{paths[0]}: {shape[0]} images, but {paths[1].name} has {len(labels)} labels; there must be as many"
        )


def idx_pair(directory: Path, files: dict[str, Path], part: str) -> tuple[Path, Path]:
    """The images and the labels of ``train`` or ``test``. InputError where one is missing."""
    for kind, dims in (("images", 3), ("labels", 1)):
        if f"{part} {kind}" not in files:
            prefix = "train" if part == "train" else "t10k"
            raise InputError(f"{directory}: holds no {prefix}-{kind}-idx{dims}-ubyte[.gz]")
    return files[f"{part} images"], files[f"{part} labels"]


def read_idx_set(directory: Path, files: dict[str, Path], part: str) -> Samples:
    """Images, flattened, and labels of ``train`` or ``test``."""
    paths = idx_pair(directory, files, part)
    X, y = map(read_idx, paths)
    require_images(paths, X.shape, y)
    return Samples(X.reshape(len(X), math.prod(X.shape[1:])), distinct(y), str(directory), (X.shape[1], X.shape[2]))
