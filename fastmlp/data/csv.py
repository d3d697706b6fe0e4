"""CSV of images: a label and pixels 0..255 a line, with or without a header.

A well-formed file is parsed with whole-array NumPy operations, tens of megabytes a second faster than any loop over
fields; whatever that cannot take (spaces, quotes, 255.0) goes line by line through the csv module, which also finds the
number of the line to complain about. The result is kept in the cache under a digest of the file's bytes.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..paths import atomic_write, cache_dir
from .dataset import MAX_CLASSES
from .files import read_file, unzip
from .npz import read_npz

_CHUNK_BYTES = 1 << 23
_CACHE_VERSION = 1
_CACHED_FILES = 8
_COMMA, _NEWLINE, _ZERO = ord(","), ord("\n"), ord("0")
_DIGIT = np.zeros(256, np.uint8)
_DIGIT[_ZERO : _ZERO + 10] = np.arange(10)
_IS_DIGIT = np.zeros(256, bool)
_IS_DIGIT[_ZERO : _ZERO + 10] = True


def read_csv(path: Path, label_column: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(X uint8 [N, I], y int64 [N]). The label is the column so named, else ``label``, else the first."""
    return _labelled(read_file(path), path, label_column)


def _labelled(content: bytes, path: Path, label_column: str | None) -> tuple[np.ndarray, np.ndarray]:
    """``read_csv`` of the file's bytes."""
    key = hashlib.sha256(repr((_CACHE_VERSION, label_column)).encode() + content).hexdigest()[:32]
    cached = cache_dir("csv") / f"{key}.npz"
    with contextlib.suppress(InputError, OSError, KeyError):
        arrays = read_npz(cached)
        return arrays["X"], arrays["y"]
    X, y = _parse(unzip(content, path), path, label_column)
    with contextlib.suppress(OSError):
        _keep(cached, X, y)
    return X, y


def _keep(cached: Path, X: np.ndarray, y: np.ndarray) -> None:
    cached.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(cached) as file:
        np.savez(file, X=X, y=y)
    newest_first = sorted(cached.parent.glob("*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in newest_first[_CACHED_FILES:]:
        old.unlink(missing_ok=True)


def read_pixels(path: Path, width: int, label_column: str | None = None) -> np.ndarray:
    """X uint8 [N, I] for a model of ``width`` inputs: a file with just so many columns has no labels."""
    content = read_file(path)
    body, names, line = _split_header(unzip(content, path), path)
    if len(names) == width and label_column is None:
        return _table(body, width, None, path, line).astype(np.uint8)
    if line == 2 and label_column is None and "label" not in names:
        raise InputError(
            f"{path}: has {len(names)} columns for {width} features, and none is named label; give --label-column"
        )
    return _labelled(content, path, label_column)[0]


def _split_header(text: bytes, path: Path) -> tuple[bytes, list[str], int]:
    """(the rows, the fields of the first line, the number of the first row's line)."""
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path}: is UTF-16; it must be UTF-8")
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    first = text[: text.find(b"\n") + 1] or text
    try:
        names = [name.strip() for name in next(csv.reader([first.decode("utf-8", "replace").strip()]), [])]
    except csv.Error as error:
        raise InputError(f"{path}: line 1: {error}") from None
    if not names:
        raise InputError(f"{path}: no rows")
    has_header = _is_header(names, path)
    body = text[len(first) :] if has_header else text
    if not body.strip():
        raise InputError(f"{path}: no rows")
    return body, names, 2 if has_header else 1


def _is_header(names: list[str], path: Path) -> bool:
    """All fields are names, or names and column numbers in order (as data frames are written); a mix is neither."""
    numbers = [name for name in names if _is_number(name)]
    if len(numbers) == len(names):
        return False
    if numbers in ([], *([str(k + start) for k in range(len(numbers))] for start in (0, 1))):
        return True
    odd = next(k for k, name in enumerate(names) if not _is_number(name))
    raise InputError(
        f"{path}: line 1, column {odd + 1}: {names[odd][:20]!r} is not a number, and the line is no header"
    )


def _parse(text: bytes, path: Path, label_column: str | None) -> tuple[np.ndarray, np.ndarray]:
    body, names, line = _split_header(text, path)
    label = _label_index(names if line == 2 else [], path, label_column)
    table = _table(body, len(names), label, path, line)
    y = table[:, label].astype(np.int64)
    return np.delete(table, label, axis=1).astype(np.uint8), y


def _table(body: bytes, columns: int, label: int | None, path: Path, line: int) -> np.ndarray:
    """All fields as int16, checked: pixels 0..255 and labels 0..9999."""
    table = _parse_fast(body, columns)
    if table is not None:
        over = table > 255
        if label is not None:
            over[:, label] = False
        if not over.any():
            return table
    return _parse_carefully(body, columns, label, path, line)


def _is_number(text: str) -> bool:
    return _number(text) is not None


def _number(text: str) -> float | None:
    """float(text), but for Python's own 1_000."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _label_index(names: list[str], path: Path, wanted: str | None) -> int:
    if wanted is None:
        return names.index("label") if "label" in names else 0
    if wanted not in names:
        listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(
            f"{path}: no column {wanted!r}; the columns are {listed or 'not named (there is no header line)'}"
        )
    return names.index(wanted)


def _parse_fast(body: bytes, columns: int) -> np.ndarray | None:
    """The table as int16, if every field is one to four digits and every row whole."""
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n")
    data = np.frombuffer(body, np.uint8)
    if data[-1] != _NEWLINE:
        data = np.append(data, np.uint8(_NEWLINE))
    tables, start = [], 0
    while start < len(data):
        stop = min(start + _CHUNK_BYTES, len(data))
        while data[stop - 1] != _NEWLINE:
            stop += 1
        table = _parse_chunk(data[start:stop], columns)
        if table is None:
            return None
        tables.append(table)
        start = stop
    return np.concatenate(tables)


def _parse_chunk(data: np.ndarray, columns: int) -> np.ndarray | None:
    digit = _IS_DIGIT[data]
    ends = np.flatnonzero(~digit)  # where each field's separator stands
    if len(ends) % columns:
        return None
    separators = data[ends].reshape(-1, columns)
    if not (separators[:, :-1] == _COMMA).all() or not (separators[:, -1] == _NEWLINE).all():
        return None
    lengths = np.diff(ends, prepend=-1) - 1
    if lengths.min() < 1 or lengths.max() > 4:
        return None
    # Four bytes before the first field, so that looking back from its end stays inside.
    padded = np.concatenate((np.zeros(4, np.uint8), data))
    values = _DIGIT[padded[ends + 3]].astype(np.int16)
    for place, factor in ((2, 10), (3, 100), (4, 1000)):
        far = lengths >= place
        if not far.any():
            break
        values[far] += _DIGIT[padded[ends[far] + 4 - place]] * np.int16(factor)
    return values.reshape(-1, columns)


def _parse_carefully(body: bytes, columns: int, label: int | None, path: Path, line: int) -> np.ndarray:
    """Line by line; InputError with the line's number for the first that is wrong."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text (byte 0x{body[error.start]:02x})") from None
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for fields in reader:
            if fields:
                rows.append(_row(fields, columns, label, f"{path}: line {line + reader.line_num - 1}"))
    except csv.Error as error:
        raise InputError(f"{path}: line {line + reader.line_num - 1}: {error}") from None
    if not rows:
        raise InputError(f"{path}: no rows")
    return np.stack(rows)


def _row(fields: list[str], columns: int, label: int | None, where: str) -> np.ndarray:
    if len(fields) != columns:
        raise InputError(f"{where} has {len(fields)} fields; the first line has {columns}")
    values = []
    for column, field in enumerate(fields):
        value = _number(field)
        if value is None:
            raise InputError(f"{where}, column {column + 1}: {field[:20]!r} is not a number")
        kind, limit = ("label", MAX_CLASSES - 1) if column == label else ("pixel", 255)
        if not (0 <= value <= limit and value == int(value)):
            raise InputError(f"{where}, column {column + 1}: {kind} {field[:20]} must be an integer from 0 to {limit}")
        values.append(int(value))
    return np.array(values, np.int16)
