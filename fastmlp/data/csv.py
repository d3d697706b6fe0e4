"""CSV: a label and numbers a line, with or without a header; the label may be text, and so may other columns.

Files of pixels (all numbers short integers) and tables are parsed with whole-array NumPy operations; whatever those cannot
take (quotes, blank lines) goes line by line through the csv module, which also finds the field to complain about. The
result is kept in the cache under a digest of the file's bytes. Where features are no numbers, or missing, all are read as
text, into a ``Frame``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, similar
from ..formats import Features, LabelColumn, Query
from .cached import cached
from .columns import (
    REMEDY,
    apart,
    are_numbers,
    as_plain_numbers,
    checked,
    counts,
    doubt,
    guessed,
    identifies,
    is_index,
    is_known,
    is_text,
    named,
    says_which_row,
)
from .dataset import Samples
from .decimals import CHUNK_BYTES, Fields, as_single, chunks, decimals, split_fields
from .dialect import SEPARATORS, Table, read_dialect
from .files import read_file, unzip_text
from .frame import Frame, as_frame, names_of
from .labels import Labels, distinct, listed
from .pixels import square_image
from .values import BOOLEANS, MISSING, feature, is_code, is_gap, kind_of, number, written_date

_PIXEL_CHUNK_BYTES = 1 << 23
_CACHE_VERSION = 9
_NO_LABEL = ("", "nan", "NaN")  # "none" and "NA" are classes of some tables
_COLUMN_NUMBERS = 4  # in order, from 0 or 1 on, are a header; fewer only from 0 on beside names or above decimals
_SUMMARIES = {
    "", "total", "totals", "grand total", "sum", "mean", "average", "avg", "median", "std", "sd", "stdev", "std dev",
    "standard deviation", "min", "max", "minimum", "maximum", "count", "summe", "mittelwert", "moyenne", "totale",
}  # fmt: skip
_MANY_ROWS = 10  # numbered from the first to the last by chance: hardly
_NEWLINE, _ZERO = b"\n0"
_SHORTEST_CODE = 4  # digits, such as 0042, in a file of numbers: 007 may be a pixel
_WORDS = {text.encode(): value for text, value in BOOLEANS.items()}
_DIGIT = np.zeros(256, np.uint8)
_DIGIT[_ZERO : _ZERO + 10] = np.arange(10)
_IS_DIGIT = np.zeros(256, bool)
_IS_DIGIT[_ZERO : _ZERO + 10] = True


def read(path: Path, query: Query, content: bytes | None = None) -> tuple[Samples, None]:
    """The samples in a file, or in its ``content``.

    The label column goes by ``query.label_column``, a name or a number, else by its name, else by what the columns hold.

    A file to test on has the columns that are ``query.known``, in any order where both it and the model name them.
    """
    if query.cached:
        samples = _read(path, query, content)
    else:
        samples = _parsed(read_file(path) if content is None else content, path, query)
    known = _known(query)
    if known.frame and not query.testing:  # for a model of such columns
        samples = replace(samples, X=as_frame(samples.X, samples.columns, known.label))
    return _told(samples, query), None


def lines(path: Path, rows: Sequence[int], query: Query) -> list[int]:
    """The number of the line that each of ``rows``, counted from 0, ends on."""
    return _lines(_read_head(unzip_text(read_file(path), path), path, query), rows)


def _lines(head: _Head, rows: Sequence[int]) -> list[int]:
    if b'"' in head.rows:
        reader = head.reader()
        ends = [reader.line_num for fields in reader if any(field.strip() for field in fields)]
    else:  # ten times as fast
        blank = head.delimiter.encode() + b" \t\n"
        ends = [number for number, row in enumerate(io.BytesIO(head.rows), 1) if row.strip(blank)]
    return [head.line + ends[row] - 1 for row in rows]


def features(path: Path, query: Query, content: bytes | None = None) -> np.ndarray | Frame:
    """X of a file with or without labels, for the model that ``query.known`` describes.

    Where the model knows its columns and the file has a header, they are found by name, and others ignored. Else all columns
    but the label's are features: that named ``query.label_column``, or known as such, or where the training file had it.
    InputError where there is one column more and none of this says which.
    """
    samples, known = _told(_read(path, replace(query, labelled=False), content), query), _known(query)
    if known.frame:
        return as_frame(samples.X, samples.columns, known.label)
    return np.asarray(samples.X)


def fields(path: Path, columns: Sequence[str], query: Query, content: bytes | None = None) -> dict[str, list[str]]:
    """The file's ``columns``, by name or number, for the rows of ``features``."""
    head = _read_head(unzip_text(read_file(path) if content is None else content, path), path, query)
    places = [head.column(column, path, "give --keep again for each") for column in columns]
    rows = [fields for _, fields in _rows(head, path, labelled=False)]
    return {head.names[k] if head.is_header else f"column {k + 1}": [row[k].strip() for row in rows] for k in places}


# -- the header and the columns -------------------------------------------------------------------------------------


def _known(query: Query) -> Features:
    """The known properties of the features: none, not even their number, for a file to train on."""
    return query.known or Features(None)


class _NoNumber(InputError):
    """A feature is text or missing, or a label is missing."""


@dataclass(frozen=True)
class _Head:
    """The first line's fields, names if it is a header; the rows below, and the number of the first one's line.

    ``notes`` are what the user is to be told of how they were found.
    """

    names: list[str]
    is_header: bool
    delimiter: str
    rows: bytes
    line: int
    notes: tuple[str, ...] = ()

    def find(self, wanted: Sequence[str], path: Path, remedy: str = "") -> list[int]:
        """The columns of those names. InputError for the first that is missing."""
        places = {name: k for k, name in reversed([*enumerate(self.names)])} if self.is_header else {}
        missing = [name for name in wanted if name not in places]
        if missing:
            others = [name for name in places if name not in wanted]
            columns = listed(self.names) if self.is_header else "not named (there is no header line)"
            which = f"column {missing[0]!r}" if len(missing) == 1 else f"columns {listed([*map(repr, missing)])}"
            raise InputError(f"{path}: no {which}; {similar(missing[0], others)}the columns are {columns}{remedy}")
        return [places[name] for name in wanted]

    def column(self, option: str, path: Path, remedy: str = "give one") -> int:
        """The column of that name, else of that number, from 1 on or from -1, the last, down; ``remedy`` is for a list."""
        if "," in option and option not in self.names:
            raise InputError(f"{path}: {option!r} is more than one column; {remedy}")
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", option) or (self.is_header and option in self.names):
            return self.find([option], path)[0]
        k, count = int(option), len(self.names)
        if not 1 <= abs(k) <= count:
            raise InputError(f"{path}: no column {k}; there are {count}, numbered 1 to {count} and -1 to -{count}")
        return k - 1 if k > 0 else k + count

    def where(self, path: Path, line: int, column: int) -> str:
        """The beginning of a message about a field."""
        name = f" ({listed(self.names[column : column + 1])})" if self.is_header else ""
        return f"{path}: line {line}, column {column + 1}{name}"

    def described(self, column: int) -> str:
        return f"column {column + 1}" + (f", {self.names[column][:40]!r}" if self.is_header else "")

    def reader(self) -> Any:
        """The rows by the csv module: a list of fields each, however they are written."""
        text = io.TextIOWrapper(io.BytesIO(self.rows), "utf-8", newline="")
        return csv.reader(text, delimiter=self.delimiter, skipinitialspace=True)

    def fields(self, column: int) -> Iterator[str]:
        """The fields of a column."""
        if b'"' in self.rows:
            yield from (row[column].strip() for row in self.reader() if len(row) > column)
            return
        mark, behind = self.delimiter.encode(), len(self.names) - 1 - column
        for row in io.BytesIO(self.rows):  # ten times as fast; it counts from the nearer end
            end = (
                row.split(mark, column + 1)[column:]
                if column <= behind
                else row.rsplit(mark, behind + 1)[-1 - behind :]
            )
            if end and not row.isspace():
                yield end[0].decode().strip()

    def values(self, column: int) -> Labels:
        """The values of a column."""
        return as_plain_numbers(distinct(self.fields(column)))


@dataclass(frozen=True)
class _Chosen:
    """The numbers of the columns to be read, and what the user is to be told of them."""

    features: list[int]
    label: int | None
    weight: int | None
    notes: tuple[str, ...] = ()
    told: bool = False

    @property
    def numeric(self) -> list[int]:
        return self.features if self.weight is None else [*self.features, self.weight]


def _read_head(text: bytes, path: Path, query: Query) -> _Head:
    table = read_dialect(text, path)
    names, rows, line = table.fields, table.rows, table.line
    notes, of_pandas = [*table.notes], _is_of_pandas(names)
    short = len(names) > 1 and {len(row) for row in table.below} == {len(names) + 1}
    nameless = short and _are_names([row[0] for row in table.below])  # R leaves out the name of the rows' names
    if table.comment is not None and any(feature(field) is not None for field in names):
        names, is_header = table.comment, True
        notes.append(f"line {line - 1}, a comment, is taken for the header")
    elif is_header := nameless or of_pandas or _is_header(table, path, query):
        index = names[:1] if is_index(names[0]) else []
        if of_pandas:
            notes.append(
                f"line {line} is what pandas makes of a row of samples that it takes for a header; it is left out"
            )
            names = [*index, *(str(k) for k in range(len(names) - len(index)))]
        elif all(map(str.isdigit, names)):
            notes.append(f"line {line} ({listed(names)}) is taken for a header of column numbers")
        known = _known(query)
        if _are_column_numbers(names[len(index) :]) and known.columns is not None and known.frame != "must":
            is_header = {*known.columns} <= {*names}  # else the columns go by position: their numbers are no names
        rows, line = rows[table.start :], line + rows.count(b"\n", 0, table.start)
        if nameless:
            names = ["", *names]
    if is_header and (not rows or rows.isspace()):
        raise InputError(f"{path}: no rows")
    if is_header and (given := names) != (names := _told_apart(names)):
        k = next(k for k, name in enumerate(names) if name != given[k])
        notes.append(
            f"two columns are named {given[k][:40]!r}; the second, column {k + 1}, is called {names[k][:42]!r}"
        )
    return _Head(names, is_header, table.delimiter, rows, line, tuple(notes))


def _are_names(texts: list[str]) -> bool:
    """Whether they may be the names of rows: all different, and text or integers."""
    return len(set(texts)) == len(texts) and all(text.isdigit() or number(text) is None for text in texts)


def _told_apart(names: list[str]) -> list[str]:
    """The names; one that has been there is called as pandas does: a, a.1, a.2. Columns without a name have none."""
    told: dict[str, None] = {}
    for name in filter(None, names):
        new, number = name, 0
        while new in told:
            number += 1
            new = f"{name}.{number}"
        told[new] = None
    rest = iter(told)
    return [name and next(rest) for name in names]


def _is_of_pandas(names: list[str]) -> bool:
    """Whether they are numbers that pandas has told apart as it does names, 0, 0.1, ..., 0.9, 0.10, behind its index or not."""
    present = set(names)
    return all(number(name) is not None for name in names[is_index(names[0]) :]) and any(
        all(f"{name}.{k}" in present for k in range(1, 11)) for name in names if name.isdigit()
    )


def _is_header(table: Table, path: Path, query: Query) -> bool:
    """All fields are names, or names and column numbers in order (as data frames are written), or those asked for.

    A row has numbers, and text only where the rows below have it. Any other mix is neither.
    """
    names = table.fields
    asked = [option for option in ("label", query.label_column) if option and number(option) is None]
    columns = _known(query).columns
    if set(asked) & set(names) or (columns is not None and set(columns) <= set(names)):
        return True
    below = [row for row in table.below if len(row) == len(names)]
    text = [k for k, name in enumerate(names) if feature(name) is None and name.lower() not in MISSING]
    numbers = [k for k, name in enumerate(names) if feature(name) is not None]
    again = [k for k in text if names[k] in [row[k] for row in below]]  # a class, of which there are more rows
    if not numbers:
        dated = [k for k in text if below and written_date(names[k]) and all(written_date(row[k]) for row in below)]
        return not dated and 2 * len(again) <= len(names)
    if any(is_known(names[k]) for k in set(text) - set(again)):
        return True
    decimals = any(not row[k].isdigit() and feature(row[k]) is not None for row in below for k in numbers)
    if below and not again and _are_column_numbers([names[k] for k in numbers]):
        few = names[numbers[0]] == "0" and len(numbers) > 1 and (decimals or len(numbers) < len(names))
        if len(numbers) >= _COLUMN_NUMBERS or few:
            return True
    unlike = decimals == all(names[k].isdigit() for k in numbers)
    # Years, say, beside a name, above the names of rows, or above decimals.
    if not again and len(numbers) >= _COLUMN_NUMBERS and (len(numbers) < len(names) or unlike):
        even = [_are_even([row[k] for k in numbers]) for row in (names, *below)]
        if even[0] and not all(even):
            return True
    odd = next((k for k in text if below and all(feature(row[k]) is not None for row in below)), None)
    if odd is None:
        return False
    raise InputError(
        f"{path}: line {table.line}, column {odd + 1}: {names[odd][:20]!r} is not a number, and the line is no header "
        "(if it is one, --label-column NAME says so)"
    )


def _are_column_numbers(names: list[str]) -> bool:
    return any(names == [str(k + start) for k in range(len(names))] for start in (0, 1))


def _are_even(fields: list[str]) -> bool:
    """Whether they are numbers in equal steps: 1990, 1995, 2000."""
    numbers = [*map(number, fields)]
    steps = np.diff([np.nan if value is None else value for value in numbers])
    return bool(steps[0]) and np.allclose(steps, steps[0])


def _choose(head: _Head, path: Path, query: Query) -> _Chosen:
    known = _known(query)
    if len(head.names) == 1 and known.width != 1:
        tried = ", ".join(SEPARATORS.values())
        raise InputError(
            f"{path}: line {head.line - head.is_header} has one field only; none of the separators {tried} stands in it"
        )
    if known.frame == "must" and known.columns is not None and not head.is_header:
        raise InputError(
            f"{path}: has no header line; it must have one, as the model knows its columns by name ({listed(known.columns)})"
        )
    if known.columns is not None and head.is_header:
        return _choose_by_name(head, path, query, known)
    weight = None if query.weight_column is None or not query.labelled else head.column(query.weight_column, path)
    several = "a run learns one (fastmlp.MLPRegressor learns several numbers)"
    asked = None if query.label_column is None else head.column(query.label_column, path, several)
    if weight is not None and weight == asked:
        raise InputError(f"{path}: column {head.names[asked]!r} holds the labels; it cannot hold the weights, too")
    dropped = {head.column(option, path, "give --drop again for each") for option in query.drop}
    if asked in dropped:
        raise InputError(f"{path}: --drop {head.names[asked]}: holds the labels; it cannot be left out")
    candidates = [k for k in range(len(head.names)) if k != weight and k not in dropped]
    rest, notes = _without_row_numbers(head, path, candidates, asked)
    label: int | None
    told = False  # of what was guessed, and of what a number means
    if asked is not None:
        label, told = asked, number(query.label_column or "") is not None
    elif known.width is not None:
        label = _label_of_width(head, path, query, rest, known)
    else:
        label, told = _find_label(head, path, rest, query.task)
    features = [k for k in rest if k != label]
    if known.width not in (None, len(features)):
        raise InputError(f"{path}: has {len(features)} columns for {known.width} features")
    if not query.labelled:
        return _Chosen(features, None, None)
    return _Chosen(features, label, weight, notes, told and known.width is None)


def _choose_by_name(head: _Head, path: Path, query: Query, known: Features) -> _Chosen:
    features = head.find(known.columns or (), path, "; the model takes it (train --drop learns without)")
    if query.label_column is not None and (asked := head.column(query.label_column, path)) in features:
        raise InputError(
            f"{path}: --label-column {query.label_column}: {head.described(asked)} is a feature of the model"
        )
    rest = [k for k in range(len(head.names)) if k not in features]
    label, told = _other_label(head, path, query, rest, known) if query.labelled else (None, False)
    labels = None if known.label is None else known.label.name
    others = [name for k in rest if k != label and (name := head.names[k]) not in (labels, *known.unused)]
    extra = [name for name in others if not (is_index(name) or says_which_row(name))]
    unknown = f"the model does not know these columns, which are left out: {listed(extra)}"
    return _Chosen(features, label, None, (unknown,) if extra and known.frame and not query.labelled else (), told=told)


def _without_row_numbers(
    head: _Head, path: Path, candidates: list[int], asked: int | None
) -> tuple[list[int], tuple[str, ...]]:
    """(the columns without row numbers or the like, what the user is told). InputError for others without a name."""
    notes = [*head.notes]
    for k in range(len(head.names)):  # pandas writes one more each time it reads and writes a table
        if k == asked or candidates[:1] != [k] or len(candidates) == 1:
            break
        begins, name = [*islice(head.fields(k), _MANY_ROWS)], head.names[k] if head.is_header else None
        integers = all(map(str.isdigit, begins)) and len(set(begins)) == len(begins)  # all that row numbers can be
        values = head.values(k) if integers else Labels([], np.empty(0, np.int64))
        decimals = any((value := number(text)) is not None and not value.is_integer() for text in begins)
        if name is not None and ((is_index(name) and not decimals) or identifies(name, values)):
            candidates = candidates[1:]
            notes.append(f"column {k + 1}, {name!r}, is taken for row numbers and left out")
            continue
        if len(values.codes) >= _MANY_ROWS and counts(values):
            notes.append(
                f"{head.described(k)}: its numbers count the rows; it is read as a feature, so take it out if it is none"
            )
        break
    nameless = next((k for k in candidates if head.is_header and not head.names[k] and k != asked), None)
    if nameless is not None:
        raise InputError(f"{path}: line {head.line - 1}: column {nameless + 1} has no name; every column must have one")
    return candidates, tuple(notes)


def _find_label(head: _Head, path: Path, candidates: list[int], task: str) -> tuple[int, bool]:
    """(the column that holds the labels of a file to train on, whether the user is told)."""
    names = head.names if head.is_header and not all(head.names[k].isdigit() for k in candidates) else None
    label = None if names is None else named(names, candidates, str(path))
    if label is not None:
        return label, head.names[label] != "label"
    label = None if names is None else apart(names, candidates)
    if label is None:
        label = guessed(names, candidates, head.values, task, str(path))
    elif (why := doubt(head.values(label))) and not are_numbers(head.values(label), task):
        raise InputError(f"{path}: {head.described(label)}, does not look like labels ({why}); {REMEDY}")
    return label, True


def _other_label(head: _Head, path: Path, query: Query, rest: list[int], known: Features) -> tuple[int, bool]:
    """(the label column among those that are no features of the model, whether the user is told).

    It goes by its name in the training file, if it had one.
    """
    if not rest:
        raise InputError(f"{path}: all its columns are features; it must have a column of labels, too")
    if query.label_column is not None:
        return head.column(query.label_column, path), False
    name = None if known.label is None else known.label.name
    if name is not None and name in head.names:
        return head.names.index(name), False
    found = named(head.names, rest, str(path))
    if found is None and name is None and len(rest) == 1:
        return rest[0], True
    if found is None:
        wanted = "of labels" if name is None else repr(name)
        raise InputError(f"{path}: has no labels: no column {wanted}; the columns are {listed(head.names)}; {REMEDY}")
    return found, head.names[found] != "label"


def _label_of_width(head: _Head, path: Path, query: Query, columns: list[int], known: Features) -> int | None:
    """The label column of a file for a model with ``known`` features; None if the file has the features only."""
    width = known.width or 0
    if len(columns) == width:
        if query.labelled:
            raise InputError(f"{path}: all its columns are features; it must have a column of labels, too")
        return None
    advice = f", and none is known to hold labels; {REMEDY}" if len(columns) == width + 1 else ""
    label = named(head.names, columns, str(path)) if head.is_header else None
    if label is None and len(columns) == width + 1:
        if known.label is not None:
            label = columns[known.label.place]
        elif query.labelled:
            label = _find_label(head, path, columns, query.task)[0]
        else:
            ends = [k for k in (columns[0], columns[-1]) if is_text(head.values(k))]
            label = ends[0] if len(ends) == 1 else None
    if label is None:
        raise InputError(f"{path}: has {len(columns)} columns for {width} features{advice}")
    return label


# -- the file ------------------------------------------------------------------------------------------------------


def _read(path: Path, query: Query, content: bytes | None = None) -> Samples:
    content, known = read_file(path) if content is None else content, _known(query)
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
    for note in samples.notes:
        query.say(f"{samples.source}: {note}")
    return samples


def _parsed(content: bytes, path: Path, query: Query, *, as_text: bool = False) -> Samples:
    head = _read_head(unzip_text(content, path), path, query)
    return _parse(head, path, _choose(head, path, query), query, as_text)


def _arrays(samples: Samples) -> dict[str, np.ndarray]:
    """The samples as arrays, for the cache."""
    names = {"columns": samples.columns, "label": samples.label, "notes": samples.notes}
    meta = json.dumps({"values": samples.labels.values} | names).encode()
    arrays: dict[str, Any] = {"X": samples.X, "codes": samples.labels.codes, "meta": np.frombuffer(meta, np.uint8)}
    return arrays if samples.weight is None else arrays | {"weight": samples.weight}


def _from_arrays(arrays: dict[str, np.ndarray], path: Path) -> Samples:
    meta = json.loads(arrays["meta"].tobytes())
    labels = Labels(meta["values"], arrays["codes"])
    columns = None if meta["columns"] is None else tuple(meta["columns"])
    label = None if meta["label"] is None else LabelColumn(*meta["label"])
    X, weight, notes = arrays["X"], arrays.get("weight"), tuple(meta["notes"])
    return Samples(X, labels, str(path), square_image(X, columns), columns, weight, label=label, notes=notes)


def _parse(head: _Head, path: Path, chosen: _Chosen, query: Query, as_text: bool) -> Samples:
    """The samples: numbers, or, ``as_text``, a Frame."""
    names = tuple(head.names[k] for k in chosen.features) if head.is_header else None
    label, place = None, sum(k < (chosen.label or 0) for k in chosen.features)
    if chosen.label is not None:
        label = LabelColumn(head.names[chosen.label] if head.is_header else None, place)
    X: Any
    known, notes = _known(query), chosen.notes
    trains = known.width is None
    if as_text:
        keys = names_of(names, len(chosen.features), label or known.label)
        said = _said(head, path, chosen, query) if trains else {*chosen.features}
        X, labels, weight, codes = _text_columns(head, path, chosen, keys, said)
        notes += codes
    else:
        X, labels, weight = _numeric_columns(
            head, path, chosen, codes=trains and known.frame is None, single=query.labelled
        )
    labels, told = checked(labels, str(path), query.task, lambda row: f"line {_lines(head, [row])[0]}")
    notes += told
    if chosen.label is not None and chosen.told and len(labels.values) > 1:
        what = "different numbers" if are_numbers(labels, query.task) else "classes"
        notes += (f"the labels are {head.described(chosen.label)} ({len(labels.values):,} {what}); {REMEDY}",)
    shape = None if as_text else square_image(X, names)
    return Samples(X, labels, str(path), shape, names, weight, label=label, notes=notes)


def _said(head: _Head, path: Path, chosen: _Chosen, query: Query) -> set[int]:
    """The columns that the user says what they are. InputError for the labels', and for what is no column."""
    said = set(head.find(query.said, path) if head.is_header else [head.column(name, path) for name in query.said])
    if chosen.label in said:
        raise InputError(
            f"{path}: --column: {head.described(chosen.label or 0)} holds the labels; --task says what they are"
        )
    return said


def _numeric_columns(
    head: _Head, path: Path, chosen: _Chosen, *, codes: bool, single: bool
) -> tuple[np.ndarray, Labels, np.ndarray | None]:
    """(X, labels, weights): X as uint8 where all are pixels, else float64 or, where that will do and it is to be ``single``,
    float32. _NoNumber where a feature is none, or, with ``codes``, where one is written as 02139 is."""
    pixels = _parse_pixels(head.rows, len(head.names), ord(head.delimiter), chosen.label)
    if pixels is not None:
        labels = distinct(np.empty(0, np.int64) if chosen.label is None else pixels[:, chosen.label])
        weight = None if chosen.weight is None else pixels[:, chosen.weight].astype(np.float64)
        X = _columns(pixels, chosen.features)
        return X.astype(np.uint8 if X.max(initial=0) <= 255 else np.float32), labels, weight
    numbers, texts = _parse_table(head, chosen, codes=codes) or _parse_carefully(head, path, chosen, codes=codes)
    weight = None if chosen.weight is None else numbers[:, -1].copy()
    X = numbers[:, : len(chosen.features)]
    if X.size and X.min() >= 0 and X.max() <= 255 and (np.floor(X) == X).all():
        return X.astype(np.uint8), distinct(texts), weight
    # A row to predict does not say how close to others it is.
    return as_single(X) if single else np.ascontiguousarray(X), distinct(texts), weight


def _columns(table: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Columns of a table; a view if they are neighbours."""
    if chosen and chosen == list(range(chosen[0], chosen[-1] + 1)):
        return table[:, chosen[0] : chosen[-1] + 1]
    return table.take(np.array(chosen, np.int64), axis=1)


# -- whole arrays --------------------------------------------------------------------------------------------------


def _parse_pixels(rows: bytes, columns: int, delimiter: int, label: int | None) -> np.ndarray | None:
    """The table as int16, if every field is one to four digits, no label begins with 0 as 02 does, and every row is whole."""
    tables = []
    for chunk in chunks(rows, _PIXEL_CHUNK_BYTES):
        table = _parse_pixel_chunk(chunk, columns, delimiter, label)
        if table is None:
            return None
        tables.append(table)
    return np.concatenate(tables)


def _parse_pixel_chunk(data: np.ndarray, columns: int, delimiter: int, label: int | None) -> np.ndarray | None:
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
        digits = _DIGIT[padded[ends[far] + 4 - place]]
        if place == 4 and not digits.all():  # 0042 may be a code
            return None
        values[far] += digits * np.int16(factor)
    if (
        label is not None
        and (values[label::columns] < 10 ** (lengths[label::columns] - 1))[lengths[label::columns] > 1].any()
    ):
        return None
    return values.reshape(-1, columns)


def _are_rows(separators: np.ndarray, columns: int, delimiter: int) -> bool:
    """Whether the bytes after the fields are those of whole rows."""
    if len(separators) % columns:
        return False
    table = separators.reshape(-1, columns)
    return bool((table[:, :-1] == delimiter).all() and (table[:, -1] == _NEWLINE).all())


def _parse_table(head: _Head, chosen: _Chosen, *, codes: bool = False) -> tuple[np.ndarray, list[str]] | None:
    """(numbers float64 [N, features and weight], labels), if the rows are whole, unquoted and right, and, where ``codes`` are
    looked for, there are none."""
    if b'"' in head.rows:
        return None
    tables, texts, columns = [], [], len(head.names)
    separators = head.delimiter.encode() + b"\n"
    wanted = np.isin(np.arange(columns), chosen.numeric)
    for chunk in chunks(head.rows, CHUNK_BYTES):
        fields = split_fields(chunk, separators)
        if not _are_rows(fields.kind, columns, ord(head.delimiter)):
            return None
        asked = np.tile(wanted, len(fields) // columns)
        numbers = decimals(fields, asked, _WORDS)
        if numbers is None or (codes and _has_codes(fields, asked)):
            return None
        tables.append(_columns(numbers.reshape(-1, columns), chosen.numeric))
        if chosen.label is not None:
            texts += fields.texts(np.arange(chosen.label, len(fields), columns))
    table = np.concatenate(tables)
    try:
        labels = [text.decode().strip() for text in texts]
    except UnicodeDecodeError:
        return None
    if any(missing in labels for missing in _NO_LABEL) or (chosen.weight is not None and (table[:, -1] < 0).any()):
        return None
    return table, labels


def _has_codes(fields: Fields, wanted: np.ndarray) -> bool:
    """Whether one of the ``wanted`` (bool [N]) fields is digits that begin with 0, as 02139 does."""
    digits = fields.plain & ~fields.negative & (fields.dot == fields.end) & wanted
    long = digits & (fields.end - fields.start >= _SHORTEST_CODE)
    return bool((fields.data[fields.start[long]] == _ZERO).any())


# -- line by line --------------------------------------------------------------------------------------------------


def _rows(head: _Head, path: Path, *, labelled: bool) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of each row, however it is written. InputError for one of another length.

    Lines of nothing but separators are none, but for those between rows without labels: all gaps are predicted from, too.
    """
    reader, gaps = head.reader(), list[tuple[int, list[str]]]()
    first, line, odd = 0, head.line - 1, head.rows.count(b'"') % 2
    try:
        for fields in reader:
            first, line = line + 1, head.line + reader.line_num - 1
            if not any(field.strip() for field in fields):
                gaps += [(line, fields)] * (not labelled and len(fields) == len(head.names) > 1)
                continue
            yield from gaps
            gaps.clear()
            if len(fields) != len(head.names):
                if odd and line > first:
                    break
                raise InputError(f"{path}: line {line} has {len(fields)} fields; the first line has {len(head.names)}")
            yield line, fields
        if odd and line > first:
            raise InputError(
                f"{path}: line {first}: a quotation mark is not closed; the lines behind it are lost in it"
            )
    except csv.Error as error:
        raise InputError(f"{path}: line {head.line + reader.line_num - 1}: {error}") from None


def _parse_carefully(head: _Head, path: Path, chosen: _Chosen, *, codes: bool = False) -> tuple[np.ndarray, list[str]]:
    """The same of rows however they are written; InputError with line and column for the first that is wrong."""
    tables, rows, labels = [], [], []
    for line, fields in _rows(head, path, labelled=chosen.label is not None):
        for k in chosen.features if codes else ():
            if len(fields[k].strip()) >= _SHORTEST_CODE and is_code(fields[k].strip()):
                raise _NoNumber(f"{head.where(path, line, k)}: {fields[k]!r} may be a code")
        rows.append(_row(fields, head, chosen, path, line))
        if chosen.label is not None:
            labels.append(fields[chosen.label].strip())
        if len(rows) == 1000:
            tables.append(np.array(rows))
            rows.clear()
    if rows:
        tables.append(np.array(rows))
    if not tables:
        raise InputError(f"{path}: no rows")
    return np.concatenate(tables), labels


def _text_columns(
    head: _Head, path: Path, chosen: _Chosen, names: Sequence[str], said: set[int]
) -> tuple[Frame, Labels, np.ndarray | None, tuple[str, ...]]:
    """(the features by those names as text, labels, weights, what the user is told). InputError for what is wrong in a label or
    weight, and for a column of numbers or dates but for a few fields, unless it is ``said`` what it is."""
    columns: list[list[str]] = [[] for _ in chosen.features]
    known: list[dict[str, str]] = [{} for _ in chosen.features]  # a text that comes again is kept once
    labels, weights, lines, gaps = [], [], [], []
    only_weight = replace(chosen, features=[], label=None)
    for line, fields in _rows(head, path, labelled=chosen.label is not None):
        lines.append(line)
        for column, texts, k in zip(columns, known, chosen.features):
            field = fields[k].strip()
            column.append(texts.setdefault(field, field))
        if chosen.weight is not None:
            weights += _row(fields, head, only_weight, path, line)
        if chosen.label is not None:
            labels.append(fields[chosen.label].strip())
            if labels[-1] in _NO_LABEL:
                gaps.append(line)
    if not lines:
        raise InputError(f"{path}: no rows")
    notes: tuple[str, ...] = ()
    if end := _summary_lines(columns) if chosen.label is not None else 0:
        row = listed([column[-end] for column in columns])
        notes += (f"line {lines[-end]} ({row}) and what follows sum up others or have only a label; they are left out",)
        columns = [column[:-end] for column in columns]
        labels, weights, lines = labels[:-end], weights[:-end], lines[:-end]
        gaps = [line for line in gaps if line in lines]
    if chosen.label is not None and gaps:
        where = f" in {len(gaps):,} of {len(lines):,} rows" if len(gaps) > 1 else ""
        raise InputError(
            f"{head.where(path, gaps[0], chosen.label)}: the label is missing{where}; every row must "
            "have one: leave such rows out"
        )
    for k, column in zip(chosen.features, columns):
        if k in said:
            continue
        option = f"--column {shlex.quote(f'{head.names[k] if head.is_header else k + 1}=%s')}"
        counts = Counter(column)
        kind, odd = kind_of(counts)
        if odd is not None:
            raise InputError(
                f"{head.where(path, lines[column.index(odd)], k)}: {odd[:20]!r} is not a {kind}, as the others of the column "
                f"are; mend it, or {option % 'category'}"
            )
        code, digits = next(filter(is_code, counts), None), all(text.isdigit() or is_gap(text) for text in counts)
        if code is not None and digits:
            notes += (
                f"{head.described(k)}, with {code[:20]!r}, is taken for codes; {option % 'number'} reads numbers",
            )
    arrays: dict[Hashable, np.ndarray] = {name: np.array(column, object) for name, column in zip(names, columns)}
    return Frame(arrays), distinct(labels), None if chosen.weight is None else np.array(weights), notes


def _summary_lines(columns: list[list[str]]) -> int:
    """How many lines at the end begin with a word such as Total, which is nowhere else, or have no value but the label."""
    end, rows = 0, len(columns[0])
    while end < rows - 1:
        column, text = next(((c, c[-1 - end]) for c in columns if not is_gap(c[-1 - end])), ([""], ""))
        if text.casefold().rstrip(" :.") not in _SUMMARIES or column.count(text) > 1 or (not text and len(columns) < 2):
            break
        end += 1
    return end


def _row(fields: list[str], head: _Head, chosen: _Chosen, path: Path, line: int) -> list[float]:
    if chosen.label is not None and fields[chosen.label].strip() in _NO_LABEL:
        raise _NoNumber(f"{head.where(path, line, chosen.label)}: the label is missing; every row must have one")
    values = []
    for column in chosen.numeric:
        value = feature(fields[column].strip())
        if value is None or not math.isfinite(value) or (value < 0 and column == chosen.weight):
            never = column == chosen.weight or (value is not None and math.isinf(value))
            kind = InputError if never else _NoNumber
            raise kind(f"{head.where(path, line, column)}: {_wrong(fields[column], value)}")
        values.append(value)
    return values


def _wrong(field: str, value: float | None) -> str:
    """The error in a field that should be a number, or a weight of at least 0."""
    field = field.strip()
    if field.lower() in MISSING:
        written = f" ({field})" if field else ""
        return f"the value is missing{written}; it must be a number: fill such fields, or leave their rows out"
    if value is None:
        return f"{field[:20]!r} is not a number"
    if not math.isfinite(value):
        return f"{field[:20]} is not finite"
    return f"the weight is {field[:20]}; it must be at least 0"
