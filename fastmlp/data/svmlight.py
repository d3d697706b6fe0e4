"""svmlight: ``label index:value ...  # comment`` a line, the indices from 1 on or from 0 on; the format of LIBSVM.

Parsed with whole-array NumPy operations; only when those fail the lines are looked at one by one, for the one to complain
about.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .dataset import Dataset, Samples, assemble
from .decimals import CHUNK_BYTES, Fields, as_single, chunks, decimals, split_fields
from .files import read_file, unzip_text
from .labels import Labels, distinct
from .sparse import Sparse

SUFFIXES = (".svm", ".libsvm", ".svmlight")
_LARGEST_INDEX = 2**31 - 2  # so that 31 bits count the columns, from 0 on, too
_COLON, _NEWLINE = b":\n"
_BLANKS = bytes.maketrans(b"\t\r\v\f", b"    ")


def load_svmlight(path: Path, name: str, test: Path | None, val_fraction: float, seed: int) -> Dataset:
    """X is Sparse, as wide as the largest index in ``path`` and the held-out file ``test``.

    Indices count from 0 if there is a 0 in one of the two, else from 1.
    """
    files = [_read(file) for file in (path, test) if file is not None]
    first = min(file.first for file in files)
    width = max(file.largest for file in files) + 1 - first
    samples, *held_out = (file.samples(first, width) for file in files)
    return assemble(name, samples, held_out[0] if held_out else None, val_fraction, seed)


def read_svmlight(path: Path, width: int | None = None) -> Samples:
    """One file's samples: X Sparse [N, I], float32 or float64, and labels. InputError for an index beyond ``width``."""
    file = _read(path)
    if width is not None and file.largest - file.first >= width:
        raise _complaint(file.text, path, width - 1 + file.first)
    return file.samples(file.first, file.largest + 1 - file.first if width is None else width)


def read_shard(path: Path) -> Samples:
    """One file's samples, columns counted from 0 on as its indices are written."""
    file = _read(path)
    return file.samples(0, file.largest + 1)


@dataclass(frozen=True, eq=False)
class _File:
    """What a file says: rows as in Sparse, but with the indices as they are written. ``first`` of them is 0 or 1."""

    path: Path
    text: bytes
    labels: Labels
    indptr: np.ndarray
    index: np.ndarray
    values: np.ndarray
    first: int
    largest: int

    def samples(self, first: int, width: int) -> Samples:
        """With columns that count from ``first`` on."""
        X = Sparse(self.indptr, self.index - np.int32(first), self.values, (len(self.indptr) - 1, width))
        return Samples(X, self.labels, str(self.path))


def _read(path: Path) -> _File:
    text = unzip_text(read_file(path), path)
    body = re.sub(rb"#[^\n]*", b"", text) if b"#" in text else text
    body = body.translate(_BLANKS)
    if not body or body.isspace():
        raise InputError(f"{path}: no rows")
    labels: list[bytes] = []
    parts = []
    for chunk in chunks(body, CHUNK_BYTES):
        part = _parse(split_fields(chunk, b" :\n"), labels)
        if part is None:
            raise _complaint(text, path)
        parts.append(part)
    lengths, index, values = (np.concatenate(arrays) for arrays in zip(*parts))
    try:
        names = distinct(label.decode() for label in labels)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text (byte 0x{error.object[error.start]:02x})") from None
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    return _File(
        path, text, names, indptr, index, as_single(values), int(index.min(initial=1)), int(index.max(initial=0))
    )


def _parse(fields: Fields, labels: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(entries of each row, indices int32, values float64) of whole lines, rows sorted by index; their labels are appended.

    None when a line is wrong.
    """
    line = np.cumsum(fields.kind == _NEWLINE) - (fields.kind == _NEWLINE)
    is_index = fields.kind == _COLON
    is_value = np.concatenate(([False], is_index[:-1]))
    if (is_index & is_value).any():
        return None
    filled = fields.end > fields.start
    is_label = filled & ~(is_index | is_value)
    begins = filled.copy()
    begins[filled] = np.diff(line[filled], prepend=-1) > 0  # the first on its line
    if (begins != is_label).any():
        return None
    numbers = decimals(fields, is_index | is_value)
    if numbers is None:
        return None
    whole = fields.plain & ~fields.negative & (fields.dot == fields.end)
    if not whole[is_index].all() or (numbers[is_index] > _LARGEST_INDEX).any():
        return None
    index, values, row = numbers[is_index].astype(np.int32), numbers[is_value], np.cumsum(is_label)[is_index] - 1
    if ((np.diff(index) <= 0) & (np.diff(row) == 0)).any():
        order = np.lexsort((index, row))
        index, values = index[order], values[order]
        if ((np.diff(index) == 0) & (np.diff(row) == 0)).any():
            return None
    labels += fields.texts(np.flatnonzero(is_label))
    return np.bincount(row, minlength=np.count_nonzero(is_label)), index, values


def _complaint(text: bytes, path: Path, largest: int = _LARGEST_INDEX) -> InputError:
    """The error of the first line that is wrong, or has an index beyond ``largest``."""
    for number, line in enumerate(io.BytesIO(text), 1):
        seen: set[int] = set()
        for k, match in enumerate(re.finditer(rb"\S+", line.partition(b"#")[0])):
            what = _wrong(token := match[0], k == 0, seen, largest)
            if what is not None:
                return InputError(f"{path}: line {number}: {token[:40].decode('utf-8', 'replace')!r} {what}")
    return InputError(f"{path}: not an svmlight file; its lines must be label index:value ...")


def _wrong(token: bytes, is_label: bool, seen: set[int], largest: int) -> str | None:
    """What is wrong with a token; ``seen`` are the indices before it in its line."""
    index, colon, value = token.partition(b":")
    if is_label:
        return "stands first; a label must" if colon else None
    if not colon:
        return "is not index:value"
    if index == b"qid":
        return "is a query id, for ranking; it must be left out"
    if not re.fullmatch(b"[0-9]{1,18}", index):
        return "has no index; it must be an integer from 0 on"
    if int(index) > largest:
        return f"has an index beyond {largest}, the largest there can be"
    if int(index) in seen:
        return "has an index that its line has already"
    seen.add(int(index))
    try:
        finite = b"_" not in value and np.isfinite(float(value))
    except ValueError:
        finite = False
    return None if finite else "has no finite number as its value"
