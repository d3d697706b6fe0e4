"""Tables in text: which line is the header, and which columns hold features, labels and weights."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ..errors import InputError, similar
from ..formats import Query
from .columns import (
    REMEDY,
    apart,
    are_numbers,
    are_row_numbers,
    as_plain_numbers,
    doubt,
    guessed,
    identifies,
    is_index,
    is_known,
    is_text,
    named,
    says_which_row,
)
from .dialect import SEPARATORS, Table, read_dialect, splitter, without_blank_lines
from .labels import Labels, distinct, listed, places
from .values import CURRENCIES, feature, grouped, is_gap, is_missing, number, written_date

_SUMMARIES = {
    "total", "totals", "grand total", "sum", "mean", "average", "avg", "median", "std", "sd", "stdev", "std dev",
    "standard deviation", "min", "max", "minimum", "maximum", "count", "summe", "gesamt", "gesamtsumme",
    "gesamtergebnis", "mittelwert", "stdabw", "standardabweichung", "anzahl", "somme", "total general", "total général",
    "moyenne", "suma", "promedio", "totale", "totaal", "soma", "total geral", "итого", "всего", "合计", "总计", "合計",
}  # fmt: skip
_DIGITS_OF_A_GROUP, _DIGITS_OF_A_YEAR = 3, 4
_TEXT = re.compile(r" |^[_=*-]+$")  # or a rule above it: a word may be a row that was cut off
_GROUPED = re.compile("(?!0)" + grouped(r"\."))
_NUMBERED = re.compile(r"[+-]?[0-9]{1,9}")  # how an option says which column by its number
_COLUMN_NUMBERS = 4  # in order, from 0 or 1 on, are a header; fewer only from 0 on beside names or above decimals
_MANY_ROWS = 10  # numbered from the first to the last by chance: hardly
_SHARE_OF_A_CLASS = 0.01  # of the rows; a word that is a column's name is rarer
_LABELS_LOOKED_AT = 1000  # of rows to predict


@dataclass(frozen=True)
class Head:
    """The first line's fields, names if it is a header; the rows below, and the number of the first one's line.

    ``notes`` are what the user is to be told of how they were found.
    """

    names: list[str]
    is_header: bool
    delimiter: str
    rows: bytes
    line: int
    notes: tuple[str, ...] = ()

    def find(self, wanted: Sequence[str], remedy: str = "") -> list[int]:
        """The columns of those names. InputError for the first that is missing."""
        places = {name: k for k, name in reversed([*enumerate(self.names)])} if self.is_header else {}
        missing = [name for name in wanted if name not in places]
        if missing:
            others = [name for name in places if name not in wanted]
            columns = listed(self.names) if self.is_header else "not named (there is no header line)"
            which = f"column {missing[0]!r}" if len(missing) == 1 else f"columns {listed([*map(repr, missing)])}"
            raise InputError(f"no {which}; {similar(missing[0], others)}the columns are {columns}{remedy}")
        return [places[name] for name in wanted]

    def column(self, option: str, remedy: str = "give one") -> int:
        """The column of that name, else that number, from 1 on or from -1, the last, down; ``remedy`` is for a list."""
        if "," in option and option not in self.names:
            raise InputError(f"{option!r} is more than one column; {remedy}")
        if not _NUMBERED.fullmatch(option) or (self.is_header and option in self.names):
            return self.find([option])[0]
        k, count = int(option), len(self.names)
        if not 1 <= abs(k) <= count:
            raise InputError(f"no column {k}; there are {count}, numbered 1 to {count} and -1 to -{count}")
        return k - 1 if k > 0 else k + count

    def where(self, line: int, column: int) -> str:
        """The beginning of a message about a field."""
        name = f" ({listed(self.names[column : column + 1])})" if self.is_header else ""
        return f"line {line}, column {column + 1}{name}"

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
            parts = row.split(mark, column + 1) if column <= behind else row.rsplit(mark, behind + 1)
            if not row.isspace() and (found := parts[column if column <= behind else -1 - behind :]):
                yield found[0].decode().strip()

    def values(self, column: int) -> Labels:
        """The values of a column."""
        return as_plain_numbers(distinct(self.fields(column)))


@dataclass(frozen=True)
class Chosen:
    """The numbers of the columns to be read, and what the user is to be told of them."""

    features: list[int]
    label: int | None
    weight: int | None
    notes: tuple[str, ...] = ()
    say_label: bool = False  # whether the user is told which column holds the labels, too

    @property
    def numeric(self) -> list[int]:
        return self.features if self.weight is None else [*self.features, self.weight]


def read_head(text: bytes, query: Query) -> Head:
    table = read_dialect(text)
    names, is_header, start, told = _names_of(table, query)
    notes = [*table.notes, *told]
    rows, line = table.rows[start:], table.line + table.rows.count(b"\n", 0, start)
    if is_header and (not rows or rows.isspace()):
        raise InputError("no rows")
    if end := _summaries(rows, table.delimiter, len(names), query.labelled):
        words = " ".join(rows[end:].decode("utf-8", "replace").split())[:40]
        what = "sums up others, or has one value only; it and what follows are left out"
        notes.append(f"line {line + rows[:end].count(10)} ({words}) {what}")
        rows = rows[:end]
    front = text[: len(text) - len(without_blank_lines(text))]
    for where, empty in (("in front", front), ("at the end", _empty_end(rows, table.delimiter))):
        lines = sum(table.delimiter.encode() in each or b'""' in each for each in empty.split(b"\n"))
        if lines and not query.labelled:
            notes.append(f"the lines {where} that hold separators alone are left out ({lines:,})")
    if is_header and (given := names) != (names := told_apart(names)):
        k = next(k for k, name in enumerate(names) if name != given[k])
        said = f"the second, column {k + 1}, is called {names[k][:42]!r}"
        notes.append(f"two columns are named {given[k][:40]!r}; {said}")
    for k, column in enumerate(zip(*(row for row in table.below if len(row) == len(names)))):
        if (field := _with_thousands(column)) is not None:
            name = f", {names[k][:40]!r}" if is_header else ""
            notes.append(
                f"column {k + 1}{name}: {field!r} is read as decimals; where points group thousands, take them out"
            )
    return Head(names, is_header, table.delimiter, rows, line, tuple(notes))


def _names_of(table: Table, query: Query) -> tuple[list[str], bool, int, list[str]]:
    """(the columns' names, or the first row's fields; whether they are names; where the rows begin; what is said)."""
    names, line, known = table.fields, table.line, query.known
    if table.comment is not None and any(feature(field) is not None for field in names):
        return table.comment, True, 0, [f"line {line - 1}, a comment, is taken for the header"]
    of_pandas, numbers = not query.headed and _is_of_pandas(names), [name for name in names if number(name) is not None]
    short = len(names) > 1 and {len(row) for row in table.below} == {len(names) + 1}
    nameless = short and _are_names([row[0] for row in table.below])  # R leaves out the name of the rows' names
    if not (query.headed or nameless or of_pandas or _is_header(table, query)):
        return names, False, 0, []
    index, is_header = names[:1] if is_index(names[0]) else [], True
    said: list[str] = []
    if of_pandas:
        made = "what pandas makes of a row of samples that it takes for a header"
        said = [f"line {line} is {made}; it is left out"]
        names = [*index, *(str(k) for k in range(len(names) - len(index)))]
    elif not query.headed and all(map(str.isdigit, names)):
        said = [f"line {line} ({listed(names)}) is taken for a header of column numbers"]
    elif not query.headed and known.columns is None and _are_in_steps(numbers) and not _are_column_numbers(numbers):
        said = [f"line {line} ({listed(names)}) is taken for a header"]
    if _are_column_numbers(names[len(index) :]) and known.columns is not None and known.frame != "must":
        is_header = {*known.columns} <= {*names}  # else the columns go by position: their numbers are no names
        if not is_header and len(names) == len(index) + len(known.columns):
            names, is_header = [*index, *known.columns], True
    return ["", *names] if nameless else names, is_header, table.start, said


def _summaries(rows: bytes, delimiter: str, width: int, labelled: bool) -> int:
    """Where the last lines begin that start with a word such as Total, which is in no other line, or are one text of
    several words and no separator, or, if the rows are ``labelled``, have no other value; 0 where there are none. A
    whole line with texts of others, but not of all, as a unit is, is a row: of a Max.
    """
    found, end, split = 0, len(rows), splitter(delimiter)
    mark = b"[" + re.escape(delimiter.encode()) + b'\n"]'

    def times(value: str) -> int:
        there = b"(?:^|" + mark + b") *" + re.escape(value.encode()) + b" *(?=" + mark + b"|$)"
        return len(re.findall(there, rows))

    while (start := rows.rfind(b"\n", 0, end) + 1) and rows.count(b'"', start, end) % 2 == 0:
        fields = split(rows[start:end])
        if values := [field for field in fields if not is_gap(field)]:
            sums = values[0].casefold().rstrip(" :.") in _SUMMARIES and times(values[0]) == 1
            texts = [value for value in values[1:] if feature(value) is None]
            if sums and texts and len(values) == len(fields):
                sums = not 1 < min(map(times, texts)) <= rows.count(b"\n", 0, start)
            alone = len(values) == 1 < width - 1 and (labelled if len(fields) > 1 else _TEXT.search(values[0]))
            if not sums and not alone:
                break
            found = start
        end = start - 1
    return found


def _empty_end(rows: bytes, delimiter: str) -> bytes:
    """The lines of nothing but separators at the end, as Excel leaves them where cells were emptied."""
    return rows[len(rows.rstrip(delimiter.encode() + b' "\t\n')) :].partition(b"\n")[2]


def _with_thousands(texts: Sequence[str]) -> str | None:
    """One of the texts whose point may group thousands, or None: 1.300, where all points have three digits behind them
    and others of the texts are as 850. Decimals would be written 1.3, or 850.000."""
    if not any("." in text for text in texts):
        return None
    numbers = [text.strip(f" +-{CURRENCIES}") for text in texts]
    pointed = [text for text in numbers if "." in text]
    if not all(map(_GROUPED.fullmatch, pointed)):
        return None
    whole = max((len(text) for text in numbers if text.isdigit()), default=0)
    return next((text for text in pointed if text.endswith("0")), None) if whole == _DIGITS_OF_A_GROUP else None


def _are_names(texts: list[str]) -> bool:
    """Whether they may be the names of rows: all different, and text or integers."""
    return len(set(texts)) == len(texts) and all(text.isdigit() or number(text) is None for text in texts)


def told_apart(names: list[str]) -> list[str]:
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
    """Whether they are numbers that pandas told apart like names: 0, 0.1, ..., 0.9, 0.10, behind its index or not."""
    present = set(names)
    return all(number(name) is not None for name in names[is_index(names[0]) :]) and any(
        all(f"{name}.{k}" in present for k in range(1, 11)) for name in names if name.isdigit()
    )


def _is_header(table: Table, query: Query) -> bool:
    """All fields are names, or names and column numbers in order (as data frames are written), or those asked for.

    A row has numbers, and text only where the rows below have it. Any other mix is neither.
    """
    names = table.fields
    asked = [option for option in ("label", query.label_column) if option and number(option) is None]
    columns = query.known.columns
    if set(asked) & set(names) or (columns is not None and set(columns) <= set(names)):
        return True
    below = [row for row in table.below if len(row) == len(names)]
    text = [k for k, name in enumerate(names) if feature(name) is None and not is_missing(name)]
    numbers = [k for k, name in enumerate(names) if feature(name) is not None]
    again = [k for k in text if names[k] in [row[k] for row in below]]  # a class, of which there are more rows
    unnamed = query.known.width is not None and columns is None
    if not numbers:
        # Where the training file had no header, text above text is a row.
        over_text = not any(feature(row[k]) is not None or written_date(row[k]) for row in below for k in text)
        return not (unnamed and over_text) and _are_no_classes(names, below, text, again)
    if any(is_known(names[k]) for k in set(text) - set(again)):
        return True
    if below and not again:
        if _are_numbered(names, below, numbers):
            return True
        # Years, say, beside names: none of these comes again, while all text below one does.
        if len(below) >= _MANY_ROWS and all(names[k].isdigit() for k in numbers) and not unnamed:
            found = [_counts(below, k) for k in text if not written_date(names[k])]
            if any(min(column.values()) > 1 and None in map(feature, column) for column in found):
                return True
    odd = next((k for k in text if below and all(feature(row[k]) is not None for row in below)), None)
    if odd is None:
        return False
    if not again and len(numbers) < len(text):
        return True
    raise InputError(
        f"line {table.line}, column {odd + 1}: {names[odd][:20]!r} is not a number, and the line is no header "
        "(if it is one, --label-column NAME says so)"
    )


def _counts(below: list[list[str]], column: int) -> Counter[str]:
    return Counter(row[column] for row in below)


def _are_no_classes(names: list[str], below: list[list[str]], text: list[int], again: list[int]) -> bool:
    """Whether names without a number among them are those of columns, not a row of classes, dates and gaps.

    A class comes ``again`` and again, beside others; a column's name does not, unless it is the only value there. Nor
    does a row have text where all others have numbers or dates.
    """
    if any(below and written_date(names[k]) and all(written_date(row[k]) for row in below) for k in text):
        return False
    often = max(1, _SHARE_OF_A_CLASS * len(below))
    counts = [(names[k], _counts(below, k)) for k in again]
    classes = (
        any(column[name] > often and len({*column} - {""}) > 1 for name, column in counts)
        and not any(is_known(name, at_an_end=True) for name in names)
        and not any(all(map(_is_no_text, _counts(below, k))) for k in text)
    )
    return not classes and 2 * len(again) <= len(names)


def _are_numbered(names: list[str], below: list[list[str]], numbers: list[int]) -> bool:
    """Whether the ``numbers`` among the names count columns, 0, 1, 2, or rise in steps, as years do, and rows do not.

    The more of them there are the less other evidence it takes: names beside them, or integers above decimals.
    """
    given, many = [names[k] for k in numbers], len(numbers) >= _COLUMN_NUMBERS
    integers = all(map(str.isdigit, given))
    decimals = any(not row[k].isdigit() and feature(row[k]) is not None for row in below for k in numbers)
    evidence = many + (len(given) < len(names)) + (integers == decimals)
    if _are_column_numbers(given):
        from_0 = len(given) > 1 and given[0] == "0"
        if evidence and (from_0 or many):
            return True
        others = [column for k in numbers if names[k] not in (column := _counts(below, k))]
        if from_0 and len(below) >= _MANY_ROWS and any(min(column.values()) > 1 for column in others):
            return True
    sure = many or (integers and {*map(len, given)} == {_DIGITS_OF_A_YEAR})
    in_steps = sure and evidence > 1 and _are_in_steps(given)
    return in_steps and not all(_are_in_steps([row[k] for k in numbers]) for row in below)


def _is_no_text(value: str) -> bool:
    return is_gap(value) or feature(value) is not None or written_date(value) is not None


def _are_column_numbers(names: list[str]) -> bool:
    return any(names == [str(k + start) for k in range(len(names))] for start in (0, 1))


def _are_in_steps(fields: list[str]) -> bool:
    """Whether they are three numbers or more in equal steps: 1990, 1995, 2000."""
    steps = np.diff([np.nan if (value := number(field)) is None else value for field in fields])
    return len(steps) > 1 and bool(steps[0]) and np.allclose(steps, steps[0])


def choose(head: Head, query: Query) -> Chosen:
    known = query.known
    if len(head.names) == 1 and known.width != 1:
        tried = ", ".join(SEPARATORS.values())
        raise InputError(
            f"line {head.line - head.is_header} has one field only; none of the separators {tried} stands in it"
        )
    if known.frame and known.columns is not None and not head.is_header:
        raise InputError(
            f"has no header line; it must have one, as the model knows its columns by name ({listed(known.columns)})"
        )
    if known.columns is not None and head.is_header:
        return _choose_by_name(head, query)
    weight = None if query.weight_column is None or not query.labelled else head.column(query.weight_column)
    several = "a run learns one (fastmlp.MLPRegressor learns several numbers)"
    asked = None if query.label_column is None else head.column(query.label_column, several)
    if weight is not None and weight == asked:
        raise InputError(f"column {head.names[asked]!r} holds the labels; it cannot hold the weights, too")
    dropped = {head.column(option, "give --drop again for each") for option in query.drop}
    if asked in dropped:
        raise InputError(f"--drop {head.names[asked]}: holds the labels; it cannot be left out")
    candidates = [k for k in range(len(head.names)) if k != weight and k not in dropped]
    said = [k for k, name in enumerate(head.names) if name in query.said]
    if not {*candidates} - {asked}:
        raise InputError("the samples have no features; they must have at least one")
    rest, notes = _without_row_numbers(head, candidates, {asked, *said})
    label: int | None
    told = False  # of what was guessed, and of what a number means
    in_place: tuple[str, ...] = ()
    if asked is not None:
        label, told = asked, number(query.label_column or "") is not None
    elif known.width is not None:
        label, in_place = _label_of_width(head, query, rest)
    else:
        label, told = _find_label(head, rest, query.task)
    features = [k for k in rest if k != label]
    if known.width not in (None, len(features)):
        raise InputError(f"has {len(features)} columns for {known.width} features")
    if not query.labelled:
        return Chosen(features, None, None, head.notes + in_place)
    return Chosen(features, label, weight, notes + in_place, told and known.width is None)


def _choose_by_name(head: Head, query: Query) -> Chosen:
    known, remedy = query.known, "; the model takes all it learnt from (train --drop learns without)"
    features = head.find(known.columns or (), remedy)
    if query.label_column is not None and (asked := head.column(query.label_column)) in features:
        option = f"--label-column {query.label_column}"
        raise InputError(f"{option}: {head.described(asked)} is a feature of the model")
    weight, asked_weight = None, query.weight_column if query.labelled else None
    if asked_weight is not None and (asked_weight in head.names or _NUMBERED.fullmatch(asked_weight)):
        weight = head.column(asked_weight)  # a file to test on may have none
        weight = None if weight in features else weight
    rest = [k for k in range(len(head.names)) if k not in features and k != weight]
    label, told = _other_label(head, query, rest) if query.labelled else (None, False)
    labels = None if known.label is None else known.label.name
    others = [name for k in rest if k != label and (name := head.names[k]) not in (labels, *known.unused)]
    extra = [name for name in others if not (is_index(name) or says_which_row(name))]
    unknown = f"the model does not know these columns, which are left out: {listed(extra)}"
    notes = (unknown,) if extra and known.frame and not query.labelled else ()
    return Chosen(features, label, weight, head.notes + notes, say_label=told)


def _without_row_numbers(head: Head, candidates: list[int], kept: set[int | None]) -> tuple[list[int], tuple[str, ...]]:
    """(the columns without row numbers or the like, but for those ``kept``; what the user is told). InputError for
    others without a name."""
    notes = [*head.notes]
    for k in [k for k in candidates if k not in kept]:
        # Pandas writes one more in front each time it reads and writes a table.
        leads, name = k == candidates[0], head.names[k] if head.is_header else None
        if len(candidates) == 1 or not (leads or (name is not None and says_which_row(name))):
            continue
        begins = [*islice(head.fields(k), _MANY_ROWS)]
        integers = all(map(str.isdigit, begins)) and len(set(begins)) == len(begins)  # all that row numbers can be
        values = head.values(k) if integers else Labels([], np.empty(0, np.int64))
        decimals = any((value := number(text)) is not None and not value.is_integer() for text in begins)
        if name is not None and ((leads and is_index(name) and not decimals) or identifies(name, values)):
            candidates = [other for other in candidates if other != k]
            notes.append(f"column {k + 1}, {name!r}, is taken for row numbers and left out")
        elif leads and len(values.codes) >= _MANY_ROWS and are_row_numbers(values):
            notes.append(
                f"{head.described(k)}: its numbers count the rows; it is read as a feature, "
                "so take it out if it is none"
            )
    nameless = next((k for k in candidates if head.is_header and not head.names[k] and k not in kept), None)
    if nameless is not None:
        k = nameless + 1
        raise InputError(
            f"line {head.line - 1}: column {k} has no name; every column must have one: give it one, or --drop {k}"
        )
    return candidates, tuple(notes)


def _find_label(head: Head, candidates: list[int], task: str) -> tuple[int, bool]:
    """(the column that holds the labels of a file to train on, whether the user is told)."""
    names = head.names if head.is_header and not all(head.names[k].isdigit() for k in candidates) else None
    rest: Sequence[int] = candidates
    label = None
    if names is not None:
        if (label := named(names, candidates)) is not None:
            return label, names[label] != "label"
        rest = apart(names, candidates)
        label = named(names, rest)
    if label is None:
        label = guessed(names, rest, head.values, task)
    if len(rest) < len(candidates) and (why := doubt(head.values(label))) and not are_numbers(head.values(label), task):
        raise InputError(f"{head.described(label)}, does not look like labels ({why}); {REMEDY}")
    return label, True


def _other_label(head: Head, query: Query, rest: list[int]) -> tuple[int, bool]:
    """(the label column among those that are no features of the model, whether the user is told).

    It goes by its name in the training file, if it had one.
    """
    if not rest:
        raise InputError("all its columns are features; it must have a column of labels, too")
    if query.label_column is not None:
        return head.column(query.label_column), False
    name = None if query.known.label is None else query.known.label.name
    if name is not None and name in head.names:
        return head.names.index(name), False
    found = named(head.names, rest)
    if found is None and name is None and len(rest) == 1:
        return rest[0], True
    if found is None:
        wanted = "of labels" if name is None else repr(name)
        raise InputError(f"has no labels: no column {wanted}; the columns are {listed(head.names)}; {REMEDY}")
    return found, head.names[found] != "label"


def _label_of_width(head: Head, query: Query, columns: list[int]) -> tuple[int | None, tuple[str, ...]]:
    """(the label column of a file for a model of so many features, None if the file has the features only; what the
    user is told of it)."""
    width, told = query.known.width, tuple[str, ...]()
    if len(columns) == width:
        if query.labelled:
            raise InputError("all its columns are features; it must have a column of labels, too")
        return None, ()
    advice = f", and none is known to hold labels; {REMEDY}" if len(columns) == width + 1 else ""
    label = named(head.names, columns) if head.is_header else None
    if label is None and len(columns) == width + 1:
        if query.known.label is not None:
            label = columns[query.known.label.place]
            told = _in_place(head, label, query)
        elif query.labelled:
            label = _find_label(head, columns, query.task)[0]
        else:
            ends = [k for k in (columns[0], columns[-1]) if is_text(head.values(k))]
            label = ends[0] if len(ends) == 1 else None
    if label is None:
        raise InputError(f"has {len(columns)} columns for {width} features{advice}")
    return label, told


def _in_place(head: Head, column: int, query: Query) -> tuple[str, ...]:
    """What the user is told of a column that stands where the training file had its labels: of labels all alike, and
    where it is left out of rows to predict of numbers, row numbers, one value or a few other classes.

    InputError where most rows hold others than the classes: then another column may be one too many.
    """
    found = distinct(islice(head.fields(column), _LABELS_LOOKED_AT))
    values = list(map(str, found.values))
    tell_rows = len(values) == len(found.codes) and all(map(str.isdigit, values))
    where = f"{head.described(column)}, where the training file had its labels,"
    if query.labelled:
        return (f"{where} holds {values[0][:40]!r} in every row",) if len(found.codes) > 1 == len(values) else ()
    known = np.array(places(values, query.known.classes, lambda line: None))
    others = [text for text, place in zip(values, known) if place < 0 and not is_gap(text)]
    most = len(others) > 1 and np.mean(known[found.codes] < 0) > 1 / 2
    if query.known.classes and most and not tell_rows:
        raise InputError(
            f"has one column more than the model takes, and {where} holds {listed(others)}, "
            f"which are none of its classes; leave out what is no feature, or {REMEDY}"
        )
    return (f"{where} is left out",) if others else ()
