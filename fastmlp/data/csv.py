"""CSV: a label and numbers a line, with or without a header; the label may be text, and so may other columns.

Files of pixels (all numbers short integers) and tables are parsed with whole-array NumPy operations; whatever those
cannot take (quotes, blank lines) goes line by line through the csv module, which also finds the field to complain
about. The result is kept in the cache under a digest of the file's bytes. Where features are no numbers, or missing,
all are read as text, into a ``Frame``.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shlex
from array import array
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, about, restated
from ..formats import LabelColumn, Query
from .cached import cached
from .columns import REMEDY, are_numbers, checked, merges_ids
from .dataset import Samples
from .decimals import CHUNK_BYTES, Fields, as_single, chunks, decimals, split_fields
from .files import read_file, unzip_text
from .frame import Frame, as_frame, names_of
from .header import Chosen, Head, choose, read_head
from .labels import Labels, as_numbers, different, distinct
from .pixels import square_image
from .values import (
    BOOLEANS,
    MERGED,
    are_codes,
    feature,
    is_code,
    is_missing,
    is_number_of_some_country,
    kind_of,
    number,
    shown,
    stand_in,
)

_CACHE_VERSION = 21
_NO_LABEL = ("", "nan", "NaN")  # "none" and "NA" are classes of some tables
_NEWLINE, _ZERO = b"\n0"
_SHORTEST_CODE = 4  # digits, such as 0042, in a file of numbers: 007 may be a pixel
_WORDS = {text.encode(): value for text, value in BOOLEANS.items()}


def read(path: Path, query: Query, content: bytes | None = None) -> tuple[Samples, None]:
    """The samples in a file, or in its ``content``.

    The label column goes by ``query.label_column``, a name or number, else by its name, else by what the columns hold.

    A file to test on has the columns that are ``query.known``, in any order where both it and the model name them.
    """
    return _told(_read(path, query, content), query), None


def lines(path: Path, rows: Sequence[int], query: Query) -> list[int]:
    """The number of the line that each of ``rows``, counted from 0, ends on."""
    text = unzip_text(read_file(path), path)
    with about(path):
        return _lines(read_head(text, query), rows)


def _lines(head: Head, rows: Sequence[int]) -> list[int]:
    reader = head.reader()
    ends = [reader.line_num for fields in reader if any(map(str.strip, fields))]
    return [head.line + ends[row] - 1 for row in rows]


def features(path: Path, query: Query, content: bytes | None = None) -> Any:
    """X of a file with or without labels, for the model that ``query.known`` describes.

    Where the model knows its columns and the file has a header, they are found by name, and others ignored. Else all
    columns but the label's are features: that named ``query.label_column``, or known as such, or where the training
    file had it. InputError where there is one column more and none of this says which.
    """
    return _told(_read(path, replace(query, labelled=False), content), query).X


def fields(path: Path, columns: Sequence[str], query: Query, content: bytes | None = None) -> dict[str, list[str]]:
    """The file's ``columns``, by name or number, for the rows of ``features``."""
    text = unzip_text(read_file(path) if content is None else content, path)
    with about(path):
        return _fields(read_head(text, replace(query, labelled=False)), columns)


def _fields(head: Head, columns: Sequence[str]) -> dict[str, list[str]]:
    places = [head.column(column, "give --keep again for each") for column in columns]
    rows = [fields for _, fields in _rows(head, labelled=False)]
    return {head.names[k] if head.is_header else f"column {k + 1}": [row[k].strip() for row in rows] for k in places}


class _NoNumber(InputError):
    """A feature is text or missing."""


def _read(path: Path, query: Query, content: bytes | None = None) -> Samples:
    content, known = read_file(path) if content is None else content, query.known
    if not query.cached:
        try:
            return _parsed(content, path, query)
        except _NoNumber as error:
            raise InputError(
                f"{error}; files of a directory hold numbers only: a table of others is one file"
            ) from None
    key = repr((_CACHE_VERSION, query)).encode() + hashlib.sha256(content).digest()
    if not (query.said or known.frame == "must"):
        try:
            arrays = cached("csv", key, lambda: _arrays(_parsed(content, path, query)))
            return _from_arrays(arrays, path)
        except _NoNumber:
            if known.width is not None and known.frame is None:  # for a model of numbers
                raise
    return _parsed(content, path, query, as_text=True)


def _told(samples: Samples, query: Query) -> Samples:
    """The samples, a Frame for a model of such columns, after their notes are said."""
    for note in samples.notes:
        query.say(f"{samples.source}: {note}")
    as_columns = query.known.frame and not query.testing
    return replace(samples, X=as_frame(samples.X, samples.columns, query.known.label)) if as_columns else samples


def _arrays(samples: Samples) -> dict[str, np.ndarray]:
    """The samples as arrays, for the cache."""
    meta = json.dumps((samples.labels.values, samples.columns, samples.label, samples.notes)).encode()
    arrays: dict[str, Any] = {"X": samples.X, "codes": samples.labels.codes, "meta": np.frombuffer(meta, np.uint8)}
    return arrays if samples.weight is None else arrays | {"weight": samples.weight}


def _from_arrays(arrays: dict[str, np.ndarray], path: Path) -> Samples:
    values, columns, label, notes = json.loads(arrays["meta"].tobytes())
    X, labels, weight = arrays["X"], Labels(values, arrays["codes"]), arrays.get("weight")
    columns, label = columns and tuple(columns), label and LabelColumn(*label)
    return Samples(X, labels, str(path), square_image(X, columns), columns, weight, label=label, notes=tuple(notes))


def _parsed(content: bytes, path: Path, query: Query, *, as_text: bool = False) -> Samples:
    """The samples: numbers, or, ``as_text``, a Frame. Here alone the file is named in what is wrong with it."""
    text = unzip_text(content, path)
    with about(path), restated(csv.Error, InputError):
        return replace(_of_text(text, query, as_text), source=str(path))


def _of_text(text: bytes, query: Query, as_text: bool) -> Samples:
    head = read_head(text, query)
    chosen = choose(head, query)
    known, notes = query.known, chosen.notes
    unnamed = not head.is_header or (known.frame and known.columns is None)  # a model without names goes by places
    names = None if unnamed else tuple(head.names[k] for k in chosen.features)
    label = None
    if chosen.label is not None:
        place = sum(k < chosen.label for k in chosen.features)
        label = LabelColumn(head.names[chosen.label] if head.is_header else None, place)
    X: Any
    trains = known.width is None
    if as_text:
        keys = names_of(names, len(chosen.features), known.label or label)
        X, labels, weight = _text_columns(head, chosen, keys)
    else:
        X, labels, weight = _numeric_columns(head, chosen, trains=trains, single=query.labelled)
    if chosen.label is not None:
        _require_labels(labels, head, chosen.label)
    shape = None if as_text else square_image(X, names)
    if trains and as_text:
        notes += _doubts(head, chosen, X, query.said)
    elif trains and shape is None:
        notes += tuple(line for k, x in zip(chosen.features, X.T) for line in _stand_in(head, k, x))
    labels, told = checked(labels, query.task, lambda row: f"line {_lines(head, [row])[0]}")
    notes += told
    if chosen.label is not None and len(labels.values) > 1:
        of_numbers = are_numbers(labels, query.task)
        if chosen.say_label:
            what = "different numbers" if of_numbers else "classes"
            notes += (f"the labels are {head.described(chosen.label)} ({different(labels):,} {what}); {REMEDY}",)
        if of_numbers:
            with suppress(InputError):  # text is refused later, when the notes are said
                notes += tuple(_stand_in(head, chosen.label, as_numbers(labels, "labels"), "leave those rows out"))
    return Samples(X, labels, "", shape, names, weight, label=label, notes=notes)


def _require_labels(labels: Labels, head: Head, column: int) -> None:
    """InputError where labels are missing, which names the first of them."""
    gaps = np.flatnonzero(np.isin(labels.codes, [k for k, text in enumerate(labels.values) if text in _NO_LABEL]))
    if gaps.size:
        several = f" in {gaps.size:,} of {len(labels.codes):,} rows" if gaps.size > 1 else ""
        raise InputError(
            f"{head.where(_lines(head, [gaps[0]])[0], column)}: the label is missing{several}; "
            "every row must have one: leave such rows out"
        )


def _stand_in(head: Head, column: int, numbers: np.ndarray, remedy: str = "leave those fields empty") -> list[str]:
    """A line for a column's numbers one of which seems to say that there is none."""
    if (value := stand_in(numbers)) is None:
        return []
    what = f"{shown(value)} in {np.mean(numbers == value):.1%} of the rows is far from its other numbers"
    return [f"{head.described(column)}: {what}: if it says that there is none, {remedy}"]


def _numeric_columns(
    head: Head, chosen: Chosen, *, trains: bool, single: bool
) -> tuple[np.ndarray, Labels, np.ndarray | None]:
    """(X, labels, weights): X as uint8 where all are pixels, else float64 or, where that will do and it is to be
    ``single``, float32. _NoNumber where a feature is none, or, where a run ``trains`` on them, one is written as 02139
    is, or is an id that float64 merges with others."""
    numbers, texts = _parse_table(head, chosen, trains=trains) or _parse_carefully(head, chosen, trains=trains)
    weight = None if chosen.weight is None else numbers[:, -1].astype(np.float64)
    X = numbers[:, : len(chosen.features)]
    low, high = X.min(initial=0), X.max(initial=0)
    if trains and max(-low, high) >= MERGED:
        for k, x in zip(chosen.features, X.T):
            if merges_ids(head.names[k], x):
                raise _NoNumber(f"column {head.names[k][:40]!r} has ids of more than 53 bits")
    if low >= 0 and high <= 255 and (X.dtype.kind == "i" or (np.floor(X) == X).all()):
        return X.astype(np.uint8), distinct(texts), weight
    # A row to predict does not say how close to others it is.
    return as_single(X) if single else np.ascontiguousarray(X, np.float64), distinct(texts), weight


def _columns(table: np.ndarray, places: list[int]) -> np.ndarray:
    """Columns of a table; a view if they are neighbours."""
    if places and places == list(range(places[0], places[-1] + 1)):
        return table[:, places[0] : places[-1] + 1]
    return table.take(np.array(places, np.int64), axis=1)


# -- whole arrays --------------------------------------------------------------------------------------------------


def _short_integers(data: np.ndarray, columns: int, delimiter: int, label: int | None) -> np.ndarray | None:
    """int16 [rows, columns], if rows are whole and every field is one to four digits, as pixels are, and no code: no
    label begins with 0 as 02 does."""
    digits = data - np.uint8(_ZERO)
    ends = np.flatnonzero(digits > 9)  # where each field's separator stands
    if not _are_rows(data[ends], columns, delimiter):
        return None
    lengths = np.diff(ends, prepend=-1) - 1
    if lengths.min() < 1 or lengths.max() > 4:
        return None
    # Four bytes before the first field, so that looking back from its end stays inside.
    digits = np.concatenate((np.zeros(4, np.uint8), digits))
    values = digits[ends + 3].astype(np.int16)
    for place, factor in ((2, 10), (3, 100), (4, 1000)):
        far = lengths >= place
        if not far.any():
            break
        leading = digits[ends[far] + 4 - place]
        if place == 4 and not leading.all():  # 0042 may be a code
            return None
        values[far] += leading * np.int16(factor)
    if label is not None:
        labels, long = values[label::columns], lengths[label::columns]
        if ((labels < 10 ** (long - 1)) & (long > 1)).any():
            return None
    return values.reshape(-1, columns)


def _are_rows(separators: np.ndarray, columns: int, delimiter: int) -> bool:
    """Whether the bytes after the fields are those of whole rows."""
    if len(separators) % columns:
        return False
    table = separators.reshape(-1, columns)
    return bool((table[:, :-1] == delimiter).all() and (table[:, -1] == _NEWLINE).all())


def _parse_table(head: Head, chosen: Chosen, *, trains: bool = False) -> tuple[np.ndarray, list[str]] | None:
    """(numbers [N, features and weight], int16 if all fields are short integers, else float64; labels), if the rows are
    whole, unquoted and right, and, where a run ``trains`` on them, hold no codes."""
    if b'"' in head.rows:
        return None
    tables, columns = [], len(head.names)
    texts: list[str] = []
    mark, separators, short = ord(head.delimiter), head.delimiter.encode() + b"\n", True
    wanted = np.isin(np.arange(columns), chosen.numeric)
    for chunk in chunks(head.rows, CHUNK_BYTES):
        integers = _short_integers(chunk, columns, mark, chosen.label) if short else None
        short = integers is not None  # which no later chunk is looked through for where one is not
        if integers is not None:
            tables.append(_columns(integers, chosen.numeric))
            texts += [] if chosen.label is None else map(str, integers[:, chosen.label].tolist())
            continue
        fields = split_fields(chunk, separators)
        if not _are_rows(fields.kind, columns, mark):
            return None
        asked = np.tile(wanted, len(fields) // columns)
        numbers = decimals(fields, asked, _WORDS)
        if numbers is None or (trains and _has_codes(fields, asked)):
            return None
        tables.append(_columns(numbers.reshape(-1, columns), chosen.numeric))
        if chosen.label is not None:
            found = fields.texts(np.arange(chosen.label, len(fields), columns))
            texts += [text.decode().strip() for text in found]
    table = np.concatenate(tables)
    return None if chosen.weight is not None and (table[:, -1] < 0).any() else (table, texts)


def _has_codes(fields: Fields, wanted: np.ndarray) -> bool:
    """Whether one of the ``wanted`` (bool [N]) fields is digits that begin with 0, as 02139 does."""
    digits = fields.plain & ~fields.negative & (fields.dot == fields.end) & wanted
    long = digits & (fields.end - fields.start >= _SHORTEST_CODE)
    return bool((fields.data[fields.start[long]] == _ZERO).any())


# -- line by line --------------------------------------------------------------------------------------------------


def _rows(head: Head, *, labelled: bool) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of each row, however it is written. InputError for one of another length, and where there is none.

    A line of separators alone is no row, unless it stands between rows without labels: a row of gaps is predicted, too.
    """
    reader, gaps, empty = head.reader(), list[tuple[int, list[str]]](), True
    first, line, odd = 0, head.line - 1, head.rows.count(b'"') % 2
    try:
        for fields in reader:
            first, line = line + 1, head.line + reader.line_num - 1
            if not any(map(str.strip, fields)):
                gaps += [(line, fields)] * (not labelled and len(fields) == len(head.names))
                continue
            yield from gaps
            gaps.clear()
            if len(fields) != len(head.names):
                if odd and line > first:
                    break
                raise InputError(f"line {line} has {len(fields)} fields; the first line has {len(head.names)}")
            empty = False
            yield line, fields
        if odd and line > first:
            lost = "a quotation mark is not closed; the lines behind it are lost in it"
            raise InputError(f"line {first}: {lost}")
        if empty:
            raise InputError("no rows")
    except csv.Error as error:
        raise InputError(f"line {head.line + reader.line_num - 1}: {error}") from None


def _parse_carefully(head: Head, chosen: Chosen, *, trains: bool = False) -> tuple[np.ndarray, list[str]]:
    """The same of rows however they are written; InputError with line and column for the first that is wrong."""
    numbers, labels, marked, count = array("d"), list[str](), set[int](), 0
    for line, fields in _rows(head, labelled=chosen.label is not None):
        count += 1
        for k in chosen.features if trains else ():
            if len(fields[k].strip()) >= _SHORTEST_CODE and is_code(fields[k].strip()):
                raise _NoNumber(f"{head.where(line, k)}: {fields[k]!r} may be a code")
        numbers.extend(_row(fields, head, chosen, line, marked))
        if chosen.label is not None:
            labels.append(fields[chosen.label].strip())
    for k in marked:
        _, odd, read = kind_of(Counter(head.fields(k)))
        if odd is not None and read[odd] is not None:
            rows = _rows(head, labelled=chosen.label is not None)
            line = next(line for line, fields in rows if fields[k].strip() == odd)
            raise InputError(
                f"{head.where(line, k)}: {odd[:20]!r} is in another unit than others of the column; mend it"
            )
    return np.array(numbers).reshape(count, len(chosen.numeric)), labels


def _text_columns(head: Head, chosen: Chosen, names: Sequence[str]) -> tuple[Frame, Labels, np.ndarray | None]:
    """(the features by those names as text, labels, weights). InputError for what is wrong in a weight."""
    columns: list[list[str]] = [[] for _ in chosen.features]
    known: list[dict[str, str]] = [{} for _ in chosen.features]  # a text that comes again is kept once
    labels, weights = [], []
    only_weight = replace(chosen, features=[])
    for line, fields in _rows(head, labelled=chosen.label is not None):
        for column, texts, k in zip(columns, known, chosen.features):
            field = fields[k].strip()
            column.append(texts.setdefault(field, field))
        if chosen.weight is not None:
            weights += _row(fields, head, only_weight, line, set())
        if chosen.label is not None:
            labels.append(fields[chosen.label].strip())
    arrays: dict[Hashable, np.ndarray] = {name: np.array(column, object) for name, column in zip(names, columns)}
    return Frame(arrays), distinct(labels), None if chosen.weight is None else np.array(weights)


def _doubts(head: Head, chosen: Chosen, X: Frame, said: Sequence[str]) -> tuple[str, ...]:
    """What the user is told of the features X, but for the columns of which it is ``said`` what they are.

    InputError for a column of numbers or dates but for a few fields, and for one that is ``said`` and is no feature.
    """
    places = head.find(said) if head.is_header else [head.column(name) for name in said]
    if chosen.label is not None and chosen.label in places:
        labels = head.described(chosen.label)
        raise InputError(f"--column: {labels} holds the labels; --task says what they are")
    notes: list[str] = []
    for k, texts in zip(chosen.features, X.columns.values()):
        if k in places:
            continue
        name = head.names[k] if head.is_header else k + 1
        as_category, as_number = (f"--column {shlex.quote(f'{name}={kind}')}" for kind in ("category", "number"))
        column = texts.tolist()
        counts = Counter(column)
        kind, odd, numbers = kind_of(counts)
        if odd is not None:
            row = column.index(odd)
            units = row == 0 and head.is_header and counts[odd] == 1 and not any(map(str.isdigit, odd))
            delete = " or delete the line if it holds units or is a header, too," if units else ""
            what, mend = f"is not a {kind}, as the others of the column are", "mend it"
            if {*numbers.values()} == {None}:
                mark = "a comma, of decimals or thousands" if is_number_of_some_country(odd) else "a unit or a mark"
                what, mend = f"has {mark}, as others of the column have", "replace it in all of them"
            elif (value := numbers[odd]) is not None:
                what = "is in another unit than others of the column" if math.isfinite(value) else "is not finite"
            raise InputError(
                f"{head.where(_lines(head, [row])[0], k)}: {odd[:20]!r} {what}; {mend},{delete} or {as_category}"
            )
        if kind == "number":
            there = np.repeat([*numbers.values()], [counts[text] for text in numbers])
            notes += _stand_in(head, k, there.astype(np.float64))
        code = next(filter(is_code, numbers), None)
        if code is not None and are_codes({text: counts[text] for text in numbers}):
            notes.append(f"{head.described(k)}, with {code[:20]!r}, is taken for codes; {as_number} reads numbers")
    return tuple(notes)


def _row(fields: list[str], head: Head, chosen: Chosen, line: int, marked: set[int]) -> list[float]:
    """The numbers in a row; columns that have one with $ or %, say, become ``marked``."""
    values = []
    for column in chosen.numeric:
        if (value := number(fields[column])) is None:
            value = feature(fields[column].strip())
            marked.add(column)
        if value is None or not math.isfinite(value) or (value < 0 and column == chosen.weight):
            never = column == chosen.weight or (value is not None and math.isinf(value))
            kind = InputError if never else _NoNumber
            raise kind(f"{head.where(line, column)}: {_wrong(fields[column], value)}")
        values.append(value)
    return values


def _wrong(field: str, value: float | None) -> str:
    """The error in a field that should be a number, or a weight of at least 0."""
    field = field.strip()
    if is_missing(field):
        written = f" ({field})" if field else ""
        return f"the value is missing{written}; it must be a number: fill such fields, or leave their rows out"
    if value is None:
        return f"{field[:20]!r} is not a number"
    if not math.isfinite(value):
        return f"{field[:20]} is not finite"
    return f"the weight is {field[:20]}; it must be at least 0"
