"""CSV: a label and numbers a line, with or without a header; the label may be text.

Files of pixels (all numbers short integers) and tables are parsed with whole-array NumPy operations; whatever those cannot
take (quotes, blank lines) goes line by line through the csv module, which also finds the field to complain about. The
result is kept in the cache under a digest of the file's bytes.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..formats import Query
from ..paths import atomic_write, cache_dir
from .dataset import Samples
from .decimals import CHUNK_BYTES, as_single, chunks, decimals, split_fields
from .files import read_file, unzip_text
from .labels import Labels, class_indices, distinct, listed
from .npz import read_npz

_PIXEL_CHUNK_BYTES = 1 << 23
_CACHE_VERSION = 2
_CACHED_FILES = 8
_SMALLEST_IMAGE = 64  # pixels; a square number of fewer columns of small integers may as well be a table
_MISSING = ("", "nan", "NaN")
_NEWLINE, _ZERO = b"\n0"
_DIGIT = np.zeros(256, np.uint8)
_DIGIT[_ZERO : _ZERO + 10] = np.arange(10)
_IS_DIGIT = np.zeros(256, bool)
_IS_DIGIT[_ZERO : _ZERO + 10] = True


def read(path: Path, query: Query) -> tuple[Samples, None]:
    """The label is the column so named, else ``label``, else the first; a weight column holds weights of the rows.

    A file to test on has the same columns as the training file, in any order where both files name them.
    """
    known = None if query.known is None else query.known.label_column
    asked = _Query(query.label_column or known, query.weight_column, query.columns, separators=query.separators)
    return _read(path, asked) if query.cached else _parsed(read_file(path), path, asked), None


def features(path: Path, query: Query) -> np.ndarray:
    """``read_features`` for the model that ``query.known`` describes."""
    assert query.known is not None
    return read_features(path, query.known.width, query.known.columns, query.label_column, query.separators)


def read_csv(path: Path, label_column: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(X [N, I] uint8, float32 or float64, y int64 [N]) of one file, its labels as in ``read``."""
    samples = _read(path, _Query(label_column))
    return np.asarray(samples.X), class_indices(samples.labels, str(path))[0]


def read_features(
    path: Path,
    width: int,
    columns: tuple[str, ...] | None = None,
    label_column: str | None = None,
    separators: str = ",;\t",
) -> np.ndarray:
    """X [N, width] uint8, float32 or float64, for a model of ``width`` inputs, with or without a column of labels.

    Where the model knows its ``columns`` and the file has a header, they are found by name, and others ignored; else all
    columns but the label's are features: that named ``label_column`` or ``label``, or the first of ``width`` + 1 without
    a header.
    """
    return np.asarray(_read(path, _Query(label_column, None, columns, width, separators)).X)


# -- which columns -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Query:
    """What is asked of a file; ``columns`` are the features' names, and ``width`` their number where no labels are asked."""

    label_column: str | None
    weight_column: str | None = None
    columns: tuple[str, ...] | None = None
    width: int | None = None
    separators: str = ",;\t"


@dataclass(frozen=True)
class _Head:
    """The first line's fields, names if it is a header; the rows below, and the number of the first one's line."""

    names: list[str]
    is_header: bool
    delimiter: str
    rows: bytes
    line: int

    def find(self, wanted: Sequence[str], path: Path) -> list[int]:
        """The columns of those names. InputError for the first that is missing."""
        places = {name: k for k, name in reversed([*enumerate(self.names)])} if self.is_header else {}
        missing = next((name for name in wanted if name not in places), None)
        if missing is not None:
            columns = listed(self.names) if self.is_header else "not named (there is no header line)"
            raise InputError(f"{path}: no column {missing!r}; the columns are {columns}")
        return [places[name] for name in wanted]

    def where(self, path: Path, line: int, column: int) -> str:
        """What a message about a field begins with."""
        name = f" ({listed(self.names[column : column + 1])})" if self.is_header else ""
        return f"{path}: line {line}, column {column + 1}{name}"


@dataclass(frozen=True)
class _Chosen:
    """The numbers of the columns to be read."""

    features: list[int]
    label: int | None
    weight: int | None

    @property
    def numeric(self) -> list[int]:
        return self.features if self.weight is None else [*self.features, self.weight]


def _read_head(text: bytes, path: Path, query: _Query) -> _Head:
    rows = text.lstrip(b"\r\n")
    line = 1 + text[: len(text) - len(rows)].count(b"\n")
    if rows.endswith((b"\n\n", b"\n\r\n")):
        rows = rows.rstrip(b"\r\n")
    first, _, rest = rows.partition(b"\n")
    start = first.decode("utf-8", "replace").strip("\r\n")
    split_by, failure = {}, None
    for mark in query.separators:
        try:
            split_by[mark] = next(csv.reader([start], delimiter=mark, skipinitialspace=True), [])
        except csv.Error as error:  # a long line is one long field to the marks that it lacks
            failure = error
    if not split_by:
        raise InputError(f"{path}: line {line}: {failure}")
    delimiter = max(split_by, key=lambda mark: len(split_by[mark]))  # the first of equals
    names = [name.strip() for name in split_by[delimiter]]
    if not names:
        raise InputError(f"{path}: no rows")
    is_header = _is_header(names, rest, delimiter, path, line, query)
    if is_header and (not rest or rest.isspace()):
        raise InputError(f"{path}: no rows")
    return _Head(names, is_header, delimiter, rest if is_header else rows, line + is_header)


def _is_header(names: list[str], rest: bytes, delimiter: str, path: Path, line: int, query: _Query) -> bool:
    """All fields are names, or names and column numbers in order (as data frames are written), or those asked for.

    Text before numbers is a row with its label, if there are so many features or the next line begins with text, too; any
    other mix is neither.
    """
    if (query.label_column or "label") in names or (query.columns is not None and set(query.columns) <= set(names)):
        return True
    numbers = [name for name in names if _number(name) is not None]
    if len(numbers) == len(names):
        return False
    if numbers in ([], *([str(k + start) for k in range(len(numbers))] for start in (0, 1))):
        return True
    odd = next(k for k, name in enumerate(names) if _number(name) is None)
    if odd == 0 and len(numbers) == len(names) - 1:
        below = rest.partition(b"\n")[0].decode("utf-8", "replace").split(delimiter)[0].strip(' "\r')
        if len(numbers) == query.width or (below and _number(below) is None):
            return False
    raise InputError(
        f"{path}: line {line}, column {odd + 1}: {names[odd][:20]!r} is not a number, and the line is no header"
    )


def _choose(head: _Head, path: Path, query: _Query) -> _Chosen:
    if query.width is not None:
        return _choose_features(head, path, query, query.width)
    by_name = query.columns is not None and head.is_header
    features = head.find(query.columns or (), path) if by_name else []
    rest = sorted(set(range(len(head.names))) - set(features))
    if query.label_column is not None:
        (label,) = head.find([query.label_column], path)
    elif not rest:
        raise InputError(f"{path}: all its columns are features; it must have a column of labels, too")
    else:
        label = head.names.index("label") if head.is_header and "label" in head.names else rest[0]
    if by_name:
        return _Chosen(features, label, None)
    weight = None if query.weight_column is None else head.find([query.weight_column], path)[0]
    if weight == label:
        raise InputError(f"{path}: column {head.names[label]!r} holds the labels; it cannot hold the weights, too")
    if head.is_header and "" in head.names:
        raise InputError(
            f"{path}: line {head.line - 1}: column {head.names.index('') + 1} has no name; every column must have one "
            "(a data frame's row numbers are left out by index=False)"
        )
    return _Chosen([k for k in rest if k not in (label, weight)], label, weight)


def _choose_features(head: _Head, path: Path, query: _Query, width: int) -> _Chosen:
    if query.columns is not None and head.is_header:
        return _Chosen(head.find(query.columns, path), None, None)
    names, label = head.names, None
    if query.label_column is not None:
        (label,) = head.find([query.label_column], path)
    elif len(names) != width and head.is_header and "label" in names:
        label = names.index("label")
    elif len(names) == width + 1 and not head.is_header:
        label = 0
    features = [k for k in range(len(names)) if k != label]
    if len(features) != width:
        advice = ", and none is named label; give --label-column" if head.is_header and label is None else ""
        raise InputError(f"{path}: has {len(features)} columns for {width} features{advice}")
    return _Chosen(features, None, None)


# -- the file ------------------------------------------------------------------------------------------------------


def _read(path: Path, query: _Query) -> Samples:
    content = read_file(path)
    digest = hashlib.sha256(repr((_CACHE_VERSION, query)).encode())
    digest.update(content)
    cached = cache_dir("csv") / f"{digest.hexdigest()[:32]}.npz"
    with contextlib.suppress(InputError, OSError, KeyError, ValueError):
        return _from_cache(cached, path)
    samples = _parsed(content, path, query)
    with contextlib.suppress(OSError):
        _keep(cached, samples)
    return samples


def _parsed(content: bytes, path: Path, query: _Query) -> Samples:
    head = _read_head(unzip_text(content, path), path, query)
    return _parse(head, path, _choose(head, path, query))


def _from_cache(cached: Path, path: Path) -> Samples:
    arrays = read_npz(cached)
    meta = json.loads(arrays["meta"].tobytes())
    labels = Labels(meta["values"], arrays["codes"])
    columns = None if meta["columns"] is None else tuple(meta["columns"])
    return _samples(arrays["X"], labels, columns, arrays.get("weight"), path)


def _keep(cached: Path, samples: Samples) -> None:
    meta = json.dumps({"values": samples.labels.values, "columns": samples.columns}).encode()
    arrays: dict[str, Any] = {"X": samples.X, "codes": samples.labels.codes, "meta": np.frombuffer(meta, np.uint8)}
    if samples.weight is not None:
        arrays["weight"] = samples.weight
    cached.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(cached) as file:
        np.savez(file, **arrays)
    newest_first = sorted(cached.parent.glob("*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in newest_first[_CACHED_FILES:]:
        old.unlink(missing_ok=True)


def _samples(
    X: np.ndarray, labels: Labels, columns: tuple[str, ...] | None, weight: np.ndarray | None, path: Path
) -> Samples:
    side = math.isqrt(X.shape[1])
    is_image = X.dtype == np.uint8 and side * side == X.shape[1] >= _SMALLEST_IMAGE
    return Samples(X, labels, str(path), (side, side) if is_image else None, columns, weight)


def _parse(head: _Head, path: Path, chosen: _Chosen) -> Samples:
    named = head.is_header and len(set(head.names)) == len(head.names)
    columns = tuple(head.names[k] for k in chosen.features) if named else None
    rows = head.rows.replace(b"\r\n", b"\n") if b"\r" in head.rows else head.rows
    pixels = _parse_pixels(rows, len(head.names), ord(head.delimiter))
    if pixels is not None:
        labels = distinct(np.empty(0, np.int64) if chosen.label is None else pixels[:, chosen.label])
        weight = None if chosen.weight is None else pixels[:, chosen.weight].astype(np.float64)
        X = _columns(pixels, chosen.features)
        X = X.astype(np.uint8 if X.max(initial=0) <= 255 else np.float32)
        return _samples(X, labels, columns, weight, path)
    numbers, texts = _parse_table(rows, head, chosen) or _parse_carefully(head, path, chosen)
    weight = None if chosen.weight is None else numbers[:, -1].copy()
    X = _narrow(numbers[:, : len(chosen.features)])
    return _samples(X, distinct(texts), columns, weight, path)


def _columns(table: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Columns of a table; a view if they are neighbours."""
    if chosen and chosen == list(range(chosen[0], chosen[-1] + 1)):
        return table[:, chosen[0] : chosen[-1] + 1]
    return table.take(np.array(chosen, np.int64), axis=1)


def _narrow(X: np.ndarray) -> np.ndarray:
    """Numbers as uint8 where all are pixels, else as float32 where its range will do."""
    if X.size and X.min() >= 0 and X.max() <= 255 and (np.floor(X) == X).all():
        return X.astype(np.uint8)
    return as_single(X)


def _number(text: str) -> float | None:
    """float(text), but for Python's own 1_000."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


# -- whole arrays --------------------------------------------------------------------------------------------------


def _parse_pixels(rows: bytes, columns: int, delimiter: int) -> np.ndarray | None:
    """The table as int16, if every field is one to four digits and every row whole."""
    tables = []
    for chunk in chunks(rows, _PIXEL_CHUNK_BYTES):
        table = _parse_pixel_chunk(chunk, columns, delimiter)
        if table is None:
            return None
        tables.append(table)
    return np.concatenate(tables)


def _parse_pixel_chunk(data: np.ndarray, columns: int, delimiter: int) -> np.ndarray | None:
    digit = _IS_DIGIT[data]
    ends = np.flatnonzero(~digit)  # where each field's separator stands
    if not _are_rows(data[ends], columns, delimiter):
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


def _are_rows(separators: np.ndarray, columns: int, delimiter: int) -> bool:
    """Whether the bytes after the fields are those of whole rows."""
    if len(separators) % columns:
        return False
    table = separators.reshape(-1, columns)
    return bool((table[:, :-1] == delimiter).all() and (table[:, -1] == _NEWLINE).all())


def _parse_table(rows: bytes, head: _Head, chosen: _Chosen) -> tuple[np.ndarray, list[str]] | None:
    """(numbers float64 [N, features and weight], labels), if the rows are whole, unquoted and right."""
    if b'"' in rows:
        return None
    tables, texts, columns = [], [], len(head.names)
    separators = head.delimiter.encode() + b"\n"
    wanted = np.isin(np.arange(columns), chosen.numeric)
    for chunk in chunks(rows, CHUNK_BYTES):
        fields = split_fields(chunk, separators)
        if not _are_rows(fields.kind, columns, ord(head.delimiter)):
            return None
        numbers = decimals(fields, np.tile(wanted, len(fields) // columns))
        if numbers is None:
            return None
        tables.append(_columns(numbers.reshape(-1, columns), chosen.numeric))
        if chosen.label is not None:
            texts += fields.texts(np.arange(chosen.label, len(fields), columns))
    table = np.concatenate(tables)
    try:
        labels = [text.decode().strip() for text in texts]
    except UnicodeDecodeError:
        return None
    if any(missing in labels for missing in _MISSING) or (chosen.weight is not None and (table[:, -1] < 0).any()):
        return None
    return table, labels


# -- line by line --------------------------------------------------------------------------------------------------


def _parse_carefully(head: _Head, path: Path, chosen: _Chosen) -> tuple[np.ndarray, list[str]]:
    """The same of rows however they are written; InputError with line and column for the first that is wrong."""
    try:
        text = head.rows.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text (byte 0x{head.rows[error.start]:02x})") from None
    tables, rows, labels = [], [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=head.delimiter, skipinitialspace=True)
    try:
        for fields in reader:
            if fields:
                rows.append(_row(fields, head, chosen, path, head.line + reader.line_num - 1))
            if fields and chosen.label is not None:
                labels.append(fields[chosen.label].strip())
            if len(rows) == 1000:
                tables.append(np.array(rows))
                rows.clear()
    except csv.Error as error:
        raise InputError(f"{path}: line {head.line + reader.line_num - 1}: {error}") from None
    if rows:
        tables.append(np.array(rows))
    if not tables:
        raise InputError(f"{path}: no rows")
    return np.concatenate(tables), labels


def _row(fields: list[str], head: _Head, chosen: _Chosen, path: Path, line: int) -> list[float]:
    if len(fields) != len(head.names):
        raise InputError(f"{path}: line {line} has {len(fields)} fields; the first line has {len(head.names)}")
    if chosen.label is not None and fields[chosen.label].strip() in _MISSING:
        raise InputError(f"{head.where(path, line, chosen.label)}: the label is missing; every row must have one")
    try:
        values = [float(fields[column]) for column in chosen.numeric]
    except ValueError:
        values = [math.nan]
    if not math.isfinite(sum(values)) or "_" in "".join(fields) or (chosen.weight is not None and values[-1] < 0):
        for column in chosen.numeric:
            if (what := _wrong(fields[column], column == chosen.weight)) is not None:
                named = chosen.label is None or not head.is_header or "label" in head.names
                hint = "" if named else f" (if these are the labels, give --label-column {head.names[column][:40]!r})"
                raise InputError(f"{head.where(path, line, column)}: {what}{hint}")
    return values


def _wrong(field: str, is_weight: bool) -> str | None:
    """What is wrong with a field that should be a number, or a weight."""
    value = _number(field)
    if not field.strip():
        return "the value is missing; it must be a number"
    if value is None:
        return f"{field[:20]!r} is not a number"
    if not math.isfinite(value):
        return f"{field[:20]} is not finite"
    return f"the weight is {field[:20]}; it must be at least 0" if is_weight and value < 0 else None
