"""svmlight: ``label index:value ...  # comment`` a line, the indices from 1 on or from 0 on; the format of LIBSVM.

Parsed with whole-array NumPy operations; only when those fail the lines are looked at one by one, for the one to
complain about.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..formats import Features, Query
from ..log import Say
from .dataset import Dataset, Samples
from .decimals import CHUNK_BYTES, Fields, as_single, chunks, decimals, split_fields
from .files import read_file, unzip_text
from .labels import distinct
from .sparse import Sparse
from .values import number

_LARGEST_INDEX = 2**31 - 2  # so that 31 bits count the columns, from 0 on, too
_COLON, _NEWLINE = b":\n"
_BLANKS = bytes.maketrans(b"\t\r\v\f", b"    ")


def read(path: Path, query: Query) -> tuple[Samples, None]:
    """The samples of a file. X is Sparse, float32 or float64, and its columns are the indices in the file, from 0 on.

    InputError for an index that the model to be tested, ``query.known``, does not have.
    """
    samples, text = _samples(path)
    labels = samples.labels
    several = next((k for k, label in enumerate(labels.values) if {",", ";"} & {*str(label)}), None)
    if several is not None:
        (line,) = lines(path, [labels.first_row(several)], query)
        raise InputError(
            f"{path}: line {line}: {str(labels.values[several])[:40]!r} are several labels; a row must have one"
        )
    if query.known.index_base is not None:
        _require_known(samples, text, path, query.known)
    return samples, None


def features(path: Path, query: Query) -> Any:
    """X Sparse [N, I] for the model that ``query.known`` describes; the labels are left out."""
    samples, text = _samples(path)
    known = query.known
    if known.index_base is None:  # a model of other files
        known = replace(known, index_base=samples.lowest)
        say_guess(samples.lowest, str(path), query.say)
    _require_known(samples, text, path, known)
    return samples.counted_from(known.index_base or 0, known.width).X


def lines(path: Path, rows: Sequence[int], query: Query) -> list[int]:
    """The number of the line that each of ``rows``, counted from 0, stands on."""
    text = unzip_text(read_file(path), path)
    filled = [row for row, line in enumerate(io.BytesIO(text), 1) if line.partition(b"#")[0].strip()]
    return [filled[k] for k in rows]


def say_guess(base: int | None, source: str, say: Say) -> None:
    """A file with an index 0 counts from 0; of one without it is only likely that it counts from 1, as LIBSVM's do."""
    if base == 1:
        say(f"{source}: no index is 0, so indices are taken to count from 1")


def say_contradiction(data: Dataset, source: str, test: str, say: Say) -> None:
    """A test file is read as the training file counts, though it seems to count otherwise."""
    if data.index_base != 0 or not (isinstance(data.X, Sparse) and isinstance(data.X_test, Sparse)):
        return
    trained, tested = data.X.indices, data.X_test.indices
    if tested.size and tested.min() > 0 and tested.max() == trained.max(initial=0) + 1:
        say(
            f"{test}: no index is 0, and the largest is one beyond that of {source}: it seems to count from 1; "
            "it is read as counting from 0, as the training file does"
        )


def _require_known(samples: Samples, text: bytes, path: Path, known: Features) -> None:
    """InputError that names the line with an index that a model does not have."""
    base = known.index_base or 0
    if (samples.lowest or 0) < base or samples.X.shape[1] - base > known.width:
        raise _complaint(text, path, known.width - 1 + base, base)


def _samples(path: Path) -> tuple[Samples, bytes]:
    """(what a file holds, its text)."""
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
    X = Sparse(indptr, index, as_single(values), (len(indptr) - 1, int(index.max(initial=0)) + 1))
    return Samples(X, names, str(path), lowest=int(index.min(initial=1))), text


def _parse(fields: Fields, labels: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(entries of each row, indices int32, values float64) of whole lines, rows sorted by index; labels are appended.

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


def _complaint(text: bytes, path: Path, largest: int = _LARGEST_INDEX, least: int = 0) -> InputError:
    """The error of the first line that is wrong, or has an index that is not from ``least`` to ``largest``."""
    for row, line in enumerate(io.BytesIO(text), 1):
        seen: set[int] = set()
        for k, match in enumerate(re.finditer(rb"\S+", line.partition(b"#")[0])):
            what = _wrong(token := match[0], k == 0, seen, largest, least)
            if what is not None:
                return InputError(f"{path}: line {row}: {token[:40].decode('utf-8', 'replace')!r} {what}")
    return InputError(f"{path}: not an svmlight file; its lines must be label index:value ...")


def _wrong(token: bytes, is_label: bool, seen: set[int], largest: int, least: int) -> str | None:
    """The error in a token, or None; ``seen`` are the indices before it in its line."""
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
    if int(index) < least:
        return "has the index 0; what the model was trained on counts from 1"
    if int(index) in seen:
        return "has an index that its line has already"
    seen.add(int(index))
    found = number(value.decode("ascii", "replace"))
    return "has no finite number as its value" if found is None or not math.isfinite(found) else None
