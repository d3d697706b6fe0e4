"""Tables as people have them: what becomes of each column on its way into a network.

A table is a data frame (pandas, polars, pyarrow and others, by the extra ``tables``), a dict of arrays, or an array with a
column for each feature. What a column is follows from its values, and can be said: a number, a category, a date, or nothing
(it is dropped). Each kind is a class in ``KINDS``: it learns what it must know from the training rows, and turns values into
inputs of a network. Of a hundred thousand categories a row has one at most: then the matrix of the inputs is sparse.
Where a value is missing all of the column's inputs are zero but one, which says so; a category that was not in the training
rows, or once only, has none.

A first layer is linear in a number from one of its edges to the next: where it is not trained any more, its sums at the edges
take the place of the weights, and a row needs those of two (``between_edges``).

Legend: ``n`` rows; entries are those inputs of a column that may differ from zero: their numbers [m, n], rising in each row,
and their values, float32 [m, n].
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from operator import itemgetter
from os import PathLike
from typing import Any, Protocol

import numpy as np

from ..data import Frame, Sparse
from ..data.columns import is_id, says_which_row
from ..data.values import (
    BOOLEANS,
    date,
    day_first,
    feature,
    is_code,
    is_gap,
    odd_one,
    truth,
    written_date,
    written_number,
)
from ..errors import InputError
from ..formats import CATEGORY, COLUMN_KINDS, DATE, DROP, NUMBER
from ..frames import Categories, frame_columns, has_columns

_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)\.0")  # an integer as floats are written
_ROWS_A_BIN, _FEWEST_BINS, _MOST_BINS = 256, 8, 64  # of a number; their count is a power of 2
_FEWEST_ROWS = 256  # of fewer, bins are learnt by heart
_HEIGHT = 4.0  # of the widest hat, beside the 1 of a category
_FEW_EDGES = 3  # with which bins say no more than the number does
_LARGEST = 1e300  # with which no difference overflows
_FARTHEST = 1e6  # of z: its clip is at its end long before
_DENSE = 0.4  # where no more of the inputs may differ from zero, the matrix is sparse
_FEWEST_TO_COMPARE = 20  # rows that say something of others
LOOKED_AT = 1000  # rows to predict, evenly spaced, for what training had not
_MOST_COPIED = 8192  # inputs: of more, copies of the weights would take longer than they spare
_ROWS_AN_ID = 5  # so many for each number of an id, and what is known of one helps with its other rows
_NAMED = 3  # columns, or values, in a line

Entries = tuple[np.ndarray, np.ndarray]


# -- values ------------------------------------------------------------------------------------------------------------


def texts_of(values: np.ndarray) -> tuple[list[str | None], np.ndarray]:
    """(the different values as text, None for a gap; which of them each row has, integers [n]).

    Integers are written alike, whether they came as integers, as floats or as text, and so are True and False.
    """
    if values.dtype.kind in "iufb":
        different, codes = np.unique(values, return_inverse=True)
        listed = different.tolist()
    elif isinstance(values, Categories) and values.numbers is not None:
        there = np.bincount(values.numbers, minlength=len(values.different)) > 0
        listed = [value for value, is_there in zip(values.different, there) if is_there]
        codes = (np.cumsum(there) - 1)[values.numbers]
    else:
        rows = values.tolist() if values.dtype.kind != "M" else values.astype(str).tolist()
        try:
            listed, codes = _numbered(rows)
        except TypeError:  # of what cannot be a key, such as a list
            listed, codes = _numbered([*map(str, rows)])
    return [*map(_text_of, listed)], codes.reshape(len(values))


def _text_of(value: Any) -> str | None:
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    if is_gap(text):
        return None
    if text in BOOLEANS:
        return str(BOOLEANS[text] > 0)
    return text[:-2] if _WHOLE.fullmatch(text) else text


def _numbered(rows: list[Any]) -> tuple[list[Any], np.ndarray]:
    """(the different ones in the order in which they come, the number of each row's)."""
    numbers: defaultdict[Any, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    # 10,000 rows take 129 us, where np.fromiter takes 198 of map's integers: threads share the time of Python itself.
    codes = itemgetter(*rows)(numbers) if len(rows) > 1 else [numbers[row] for row in rows]
    few = len(numbers) <= 256
    return list(numbers), np.frombuffer(bytes(codes), np.uint8) if few else np.fromiter(codes, np.int64, len(rows))


def as_numbers(values: np.ndarray) -> np.ndarray:
    """float64 [n], NaN for gaps, durations in days. ValueError for what is no number."""

    if values.dtype.kind == "m":
        return values / np.timedelta64(1, "D")
    if values.dtype.kind in "iufb":
        return values.astype(np.float64)
    texts, codes = texts_of(values)
    numbers = [np.nan if text is None else feature(text) for text in texts]
    if None in numbers:
        raise ValueError(f"holds {str(texts[numbers.index(None)])[:40]!r}, which is no number")
    return np.array(numbers, np.float64)[codes]


def as_dates(values: np.ndarray, first: bool | None = None) -> np.ndarray:
    """datetime64[s] [n], NaT for gaps, with a zone in UTC. ValueError for what is no date.

    Where a day and a month may be either, it is the day's that is ``first``; without that what all values say decides.
    """
    if values.dtype.kind == "M":
        return values.astype("datetime64[s]")
    texts, codes = texts_of(values)
    first = day_first([text for text in texts if text is not None]) if first is None else first
    gap = np.datetime64("NaT", "s")
    dates = [gap if text is None else date(text, first) for text in texts]
    return np.array(dates, "datetime64[s]")[codes]


def guessed(values: np.ndarray) -> str:
    """The kind of a column, by its type or by what its text says. ValueError for numbers or dates but for a few texts."""
    kinds = {"i": NUMBER, "u": NUMBER, "f": NUMBER, "m": NUMBER, "M": DATE, "b": CATEGORY}
    said: Any = values.dtype.metadata or {}
    known: str | None = said.get("kind", kinds.get(values.dtype.kind))
    if known is not None:
        return known
    listed, codes = texts_of(values)
    counts = {text: 0 for text in listed if text is not None}
    for text, count in zip(listed, np.bincount(codes, minlength=len(listed)).tolist()):
        if text is not None:
            counts[text] += count
    if (found := odd_one(counts)) is not None:
        text, kind = found
        raise ValueError(
            f"holds {text[:40]!r}, which is no {kind} as its others are; mend it, or say that it is a category"
        )
    if all(written_number(text) is not None and not is_code(text) for text in counts):
        return NUMBER
    return DATE if all(map(written_date, counts)) else CATEGORY


# -- kinds -------------------------------------------------------------------------------------------------------------


class Kind(Protocol):
    """What a column is, and what was learnt of it."""

    @property
    def inputs(self) -> int:
        """Inputs of the network; none where nothing can be learnt from the column."""

    @property
    def gaps(self) -> bool:
        """Whether values were missing in training."""

    @property
    def at_once(self) -> int:
        """Those that may differ from zero in a row."""

    @property
    def about(self) -> str:
        """What to say of it."""

    def unlike(self, values: np.ndarray) -> str | None:
        """In words how the values differ from those in training, if they do."""

    def entries(self, values: np.ndarray) -> Entries:
        """The inputs that are not zero for the column's values [n]. ValueError for values of another kind."""

    def between_edges(self) -> tuple[Kind, Sparse]:
        """A kind with fewer entries, and each of its inputs as a row of this one's [its inputs, inputs]."""


@dataclass(frozen=True)
class Number:
    """x as z / sqrt(1 + (z / 3)²), z = (x - median) / (third quartile - first), and piecewise linear.

    The smooth clip is that of RealMLP (Holzmueller, Grinsztajn and Steinwart 2024): outliers keep their order, and are bounded.
    What the first layer makes of x can also bend at each of the ``edges``, quantiles of the training rows. With random weights,
    inputs that rise from 0 to 1, one along each bin (Gorishniy, Rubachev and Babenko 2022), make a Brownian motion over the
    quantiles, but a row has half of them. Faber's and Schauder's basis makes the same motion of few: the place among the
    quantiles, and one hat of each level, where hats are half as wide as in the level before and sqrt(2) times lower.
    """

    median: float
    scale: float  # 0: a constant
    edges: np.ndarray  # of z, rising
    gaps: bool

    @classmethod
    def learn(cls, values: np.ndarray) -> Number:
        x = as_numbers(values)
        known = np.clip(x[~np.isnan(x)], -_LARGEST, _LARGEST)
        low, first, median, third, high = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
        spread = third - first or (high - low) / 2
        scale = float(1 / spread) if spread else 0.0
        edges = _quantiles(np.clip((known - median) * scale, -_FARTHEST, _FARTHEST))
        return cls(float(median), scale, edges if len(edges) > _FEW_EDGES else edges[:0], len(known) < len(x))

    @property
    def _levels(self) -> int:
        return max(0, len(self.edges) - 2).bit_length()  # the logarithm of the bins, rounded up

    @property
    def _bends(self) -> int:
        """Inputs that say the place among the edges."""
        return 2**self._levels * (self._levels > 0)

    @property
    def inputs(self) -> int:
        return (self.scale > 0) + self._bends + self.gaps

    @property
    def at_once(self) -> int:
        return (self.scale > 0) + (1 + self._levels) * (self._bends > 0) + self.gaps

    @property
    def about(self) -> str:
        return f"median {self.median:.6g}, unit {1 / self.scale:.6g}" if self.scale else "constant but for gaps"

    def unlike(self, values: np.ndarray) -> str | None:
        """Nine tenths of many values lie beyond all values in training, or most are gaps."""
        x = as_numbers(values)
        known = x[:: max(1, len(x) // LOOKED_AT)]
        known = np.clip(known[~np.isnan(known)], -_LARGEST, _LARGEST)
        if len(self.edges) and len(known) >= _FEWEST_TO_COMPARE:
            low, high = np.quantile(known, [0.1, 0.9])
            least, greatest = self.edges[[0, -1]].astype(np.float64) / self.scale + self.median
            rounding = 1e-5 / self.scale
            if low >= greatest + rounding or high <= least - rounding:
                least = 0.0 if abs(least) < rounding else least
                return f"is from {low:.5g} to {high:.5g} in most rows; in training from {least:.5g} to {greatest:.5g}"
        return _mostly_gaps(np.isnan(x), self.gaps)

    def entries(self, values: np.ndarray) -> Entries:
        z = np.clip((as_numbers(values) - self.median) * (self.scale or 1), -_FARTHEST, _FARTHEST).astype(np.float32)
        gap, scaled = np.isnan(z), int(self.scale > 0)
        z[gap] = 0
        at, height = np.empty((2, 0, len(z)))
        if self._bends:
            at, height = self._at_place(np.interp(z, self.edges, np.arange(len(self.edges))))
        index = np.empty((self.at_once, len(z)), np.int32)
        found = np.empty(index.shape, np.float32)
        if scaled:
            index[0], found[0] = 0, z / np.sqrt(1 + np.square(z / 3))
        index[scaled : scaled + len(at)] = scaled + at
        found[scaled : scaled + len(at)] = height
        found[:, gap] = 0
        if self.gaps:
            index[-1], found[-1] = self.inputs - 1, gap
        return index, found

    def _at_place(self, place: np.ndarray) -> Entries:
        """The entries among the bends of places [n]: the numbers of the edges, and fractions between."""
        place = place / 2**self._levels
        hats = 2 ** np.arange(self._levels, dtype=np.float32)[:, np.newaxis]  # of each level
        index, found = (np.zeros((1 + len(hats), len(place)), dtype) for dtype in (np.int32, np.float32))
        found[0] = _HEIGHT * place
        position = hats * place.astype(np.float32)
        hat = np.minimum(np.floor(position), hats - 1)
        index[1:] = hats + hat
        found[1:] = (0.5 - np.abs(position - hat - 0.5)) * (_HEIGHT / np.sqrt(hats))
        return index, found

    def between_edges(self) -> tuple[Kind, Sparse]:
        at, height = self._at_place(np.arange(1, len(self.edges)))
        around = (0, 0), (int(self.scale > 0), int(self.gaps))  # as all inputs are
        index, found = np.pad(at + around[1][0], around), np.pad(height, around)
        if self.scale:
            index[0, 0], found[0, 0] = 0, 1
        if self.gaps:
            index[0, -1], found[0, -1] = self.inputs - 1, 1
        return _BetweenEdges(self.median, self.scale, self.edges, self.gaps), _sparse((index, found), self.inputs)


class _BetweenEdges(Number):
    """The same number for a first layer that has an input for each edge; but for the first, where all hats are 0."""

    @property
    def _bends(self) -> int:
        return max(0, len(self.edges) - 1)

    @property
    def _levels(self) -> int:
        return 1  # two edges at once

    def _at_place(self, place: np.ndarray) -> Entries:
        before = np.minimum(place.astype(np.int32), len(self.edges) - 2)
        part = place - before
        return np.stack((np.maximum(before - 1, 0), before)), np.stack(((1 - part) * (before > 0), part))


def _quantiles(z: np.ndarray) -> np.ndarray:
    """The ends of bins of about as many z each, float32; none of few z. A value that fills more than a bin counts as one."""
    if len(z) < _FEWEST_ROWS:
        return np.empty(0, np.float32)
    bins = 2 ** int(np.log2(np.clip(len(z) / _ROWS_A_BIN, _FEWEST_BINS, _MOST_BINS)))
    values, counts = np.unique(z.astype(np.float32), return_counts=True)
    filled = np.cumsum(np.minimum(counts, len(z) / bins))
    return np.unique(values[np.searchsorted(filled, np.linspace(0, filled[-1], bins + 1)).clip(max=len(values) - 1)])


@dataclass(frozen=True)
class Category:
    """An input for each of the ``values`` that occur twice or more; what occurs once could only be learnt by heart."""

    values: tuple[str, ...]
    gaps: bool
    once: int  # values that occur once

    @classmethod
    def learn(cls, values: np.ndarray) -> Category:
        texts, codes = texts_of(values)
        counts: dict[str, int] = {}
        for text, count in zip(texts, np.bincount(codes, minlength=len(texts)).tolist()):
            if text is not None:
                counts[text] = counts.get(text, 0) + count
        often = sorted(text for text, count in counts.items() if count > 1)
        constant = len(counts) == 1
        return cls(
            () if constant else tuple(often), None in texts and (constant or bool(often)), len(counts) - len(often)
        )

    @property
    def inputs(self) -> int:
        return len(self.values) + self.gaps

    at_once = 1

    @property
    def are_integers(self) -> bool:
        return all(value.lstrip("-").isdigit() for value in self.values)

    @property
    def about(self) -> str:
        first = ", ".join(self.values[:_NAMED]) + (", ..." if len(self.values) > _NAMED else "")
        once = f"; left out: {self.once:,} that occur{'s' * (self.once == 1)} once" if self.once else ""
        return f"{len(self.values):,} values: {first}{once}" if self.values else "constant but for gaps"

    def entries(self, values: np.ndarray) -> Entries:
        texts, codes = texts_of(values)
        index = self.places(texts)[codes][np.newaxis]
        there = (index >= 0) & (index < self.inputs)
        return np.where(there, index, 0), there.astype(np.float32)

    def unlike(self, values: np.ndarray) -> str | None:
        """New values are more frequent than values that occurred once in training, or most are gaps."""
        texts, codes = texts_of(values)
        place = self.places(texts)[codes]
        new = place < 0
        if (count := np.count_nonzero(new)) * len(self.values) > self.once * len(codes):
            value = str(texts[codes[np.argmax(new)]])[:40]
            return f"has new values in {count:,} of {len(codes):,} rows, such as {value!r}; in training it had {self.about}"
        return _mostly_gaps(place == len(self.values), self.gaps)

    def places(self, texts: list[str | None]) -> np.ndarray:
        """Which of the values each text says, int32: -1 for a new one, their count for a gap.

        Where the two values say yes and no, so may other words: 1 for True.
        """
        numbers = {text: k for k, text in enumerate(self.values)}
        words = {truth(text): k for k, text in enumerate(self.values)}
        words = words if len(self.values) == 2 and words.keys() == {0, 1} else {}
        gap = len(self.values)
        found = [gap if text is None else numbers.get(text, words.get(truth(text), -1)) for text in texts]
        return np.array(found, np.int32)

    def between_edges(self) -> tuple[Kind, Sparse]:
        numbers = np.arange(self.inputs + 1)
        return self, Sparse(numbers, numbers[:-1], np.ones(self.inputs, np.float32), (self.inputs, self.inputs))


@dataclass(frozen=True)
class Date:
    """Days elapsed, year and hour as numbers, month and weekday as categories: those that vary.

    ``day_first`` says whether days stand before months, where the table had either; else None.
    """

    parts: dict[str, Number | Category]
    day_first: bool | None

    @classmethod
    def learn(cls, values: np.ndarray) -> Date:
        texts = [] if values.dtype.kind == "M" else [text for text in texts_of(values)[0] if text is not None]
        first = day_first(texts)
        parts = {name: _PARTS[name].learn(part) for name, part in _parts_of_date(as_dates(values, first)).items()}
        return cls({name: part for name, part in parts.items() if part.inputs > part.gaps}, first)

    @property
    def inputs(self) -> int:
        return sum(part.inputs for part in self.parts.values())

    @property
    def gaps(self) -> bool:
        return any(part.gaps for part in self.parts.values())

    @property
    def at_once(self) -> int:
        return sum(part.at_once for part in self.parts.values())

    @property
    def about(self) -> str:
        return ", ".join(self.parts)

    def unlike(self, values: np.ndarray) -> str | None:
        """Most are gaps; days themselves are always new."""
        if values.dtype.kind == "M":
            return _mostly_gaps(np.isnat(values), self.gaps)
        texts, codes = texts_of(values)
        return _mostly_gaps(np.array([text is None for text in texts], bool)[codes], self.gaps)

    def entries(self, values: np.ndarray) -> Entries:
        found = _parts_of_date(as_dates(values, self.day_first))
        entries = (part.entries(found[name]) for name, part in self.parts.items())
        return _side_by_side([*self.parts.values()], entries, len(values))

    def between_edges(self) -> tuple[Kind, Sparse]:
        kinds, inputs = zip(*(part.between_edges() for part in self.parts.values()))
        return replace(self, parts=dict(zip(self.parts, kinds))), _diagonal(inputs)


_PARTS: dict[str, type[Number] | type[Category]] = {
    "elapsed days": Number, "year": Number, "month": Category, "weekday": Category, "hour": Number,
}  # fmt: skip


def _parts_of_date(dates: np.ndarray) -> dict[str, np.ndarray]:
    """Of datetime64[s] [n] float64 [n] of each, NaN for gaps. Weekday 0 is Monday."""
    seconds, days, months = (dates.astype(f"datetime64[{unit}]").astype(np.int64) for unit in "sDM")
    found = {
        "elapsed days": seconds / 86_400, "year": 1970 + months // 12, "month": 1 + months % 12,
        "weekday": (days + 3) % 7, "hour": seconds % 86_400 / 3600,
    }  # fmt: skip
    return {name: np.where(np.isnat(dates), np.nan, part) for name, part in found.items()}


def _mostly_gaps(gaps: np.ndarray, had_gaps: bool) -> str | None:
    """In words that most values are gaps (bool [n]), where no or only some values were gaps in training."""
    count, rows = np.count_nonzero(gaps), len(gaps)
    if 2 * count <= rows or (had_gaps and not count == rows >= _FEWEST_TO_COMPARE):
        return None
    return f"has no value in {count:,} of {rows:,} rows; in training {'some' if had_gaps else 'all'} rows had one"


def _described(learnt: Kind) -> dict[str, Any]:
    if isinstance(learnt, Date):
        return {"parts": {name: _described(part) for name, part in learnt.parts.items()}, "day_first": learnt.day_first}
    if isinstance(learnt, Number):
        return {**asdict(learnt), "edges": learnt.edges.tolist()}
    assert isinstance(learnt, Category)
    return {**asdict(learnt), "values": list(learnt.values)}


def _of(kind: str, described: Any) -> Kind:
    if kind == DATE:
        parts: dict[str, Number | Category] = {}
        for name in described["parts"]:
            part = _of(NUMBER if _PARTS[name] is Number else CATEGORY, described["parts"][name])
            assert isinstance(part, (Number, Category))
            parts[name] = part
        if (first := described.get("day_first")) not in (None, True, False):
            raise ValueError("day_first")
        return Date(parts, first)
    gaps = bool(described["gaps"])
    if kind == CATEGORY:
        return Category(tuple(map(str, described["values"])), gaps, int(described["once"]))
    median, scale, edges = (
        float(described["median"]),
        float(described["scale"]),
        np.array(described["edges"], np.float32),
    )
    if not (np.isfinite([median, scale]).all() and scale >= 0 and edges.ndim == 1 and np.isfinite(edges).all()):
        raise ValueError("number")
    if len(edges) in (1, 2) or (np.diff(edges) <= 0).any():  # of which nothing could bend
        raise ValueError("edges")
    return Number(median, scale, edges, gaps)


def _side_by_side(kinds: Sequence[Kind], entries: Iterable[Entries], rows: int) -> Entries:
    """The entries of columns whose inputs follow on each other; numbers of few inputs take 2 bytes, as kernels keep them.

    Those of a row lie together, and no column's stay: fresh memory takes longer than what is written there.
    """
    number = np.uint16 if sum(kind.inputs for kind in kinds) <= 2**16 else np.int32
    most, start, at = sum(kind.at_once for kind in kinds), 0, 0
    index, values = np.empty((rows, most), number).T, np.empty((rows, most), np.float32).T
    for kind, found in zip(kinds, entries):
        for each, value in zip(*found):
            np.add(each, start, out=index[at], casting="unsafe")
            values[at] = value
            at += 1
        start += kind.inputs
    return index, values


def _sparse(entries: Entries, inputs: int) -> Sparse:
    """The rows of entries, without those that are 0."""
    index, values = (np.ascontiguousarray(part.T) for part in entries)
    there = values != 0
    indptr = np.concatenate(([0], np.cumsum(np.count_nonzero(there, axis=1))))
    kept = np.flatnonzero(there)  # taking by number is many times faster than by a mask
    return Sparse(indptr, index.ravel()[kept], values.ravel()[kept], (len(index), inputs))


def _diagonal(blocks: Sequence[Sparse]) -> Sparse:
    """The matrix with these blocks along its diagonal."""
    rows, columns = np.cumsum([(0, 0), *(block.shape for block in blocks)], axis=0).T
    counts = np.concatenate([np.diff(block.indptr) for block in blocks])
    indices = np.concatenate([block.indices + start for block, start in zip(blocks, columns)])
    indptr = np.concatenate(([0], np.cumsum(counts)))
    return Sparse(indptr, indices, np.concatenate([block.data for block in blocks]), (int(rows[-1]), int(columns[-1])))


KINDS: dict[str, type[Number] | type[Category] | type[Date]] = {NUMBER: Number, CATEGORY: Category, DATE: Date}


# -- tables ------------------------------------------------------------------------------------------------------------


def read_table(X: Any, name: str = "X") -> Frame:
    """The columns of X by name, or by number for an array or a list of rows. InputError for anything else."""
    if isinstance(X, (str, PathLike)):
        raise InputError(f"{name} is {str(X)!r}; it must be the table itself: pandas.read_csv({str(X)!r}), for one")
    if hasattr(X, "tocsr"):
        raise InputError(f"{name} is a sparse matrix; a table is dense: MLPClassifier and MLPRegressor take sparse X")
    if has_columns(X):
        table = {key: _column(values) for key, values in frame_columns(X, name).items()}
    else:
        array = np.asanyarray(X)  # of a masked array the masked are gaps
        if array.ndim != 2:
            raise InputError(
                f"Expected 2D array, got {array.ndim}D array instead: {name} must have rows and columns. Reshape your data: "
                "one feature is X.reshape(-1, 1), one sample X.reshape(1, -1), pandas' one row X.to_frame().T, a list of "
                "dicts pandas.DataFrame(X)"
            )
        table = {k: _column(array[:, k]) for k in range(array.shape[1])}
    if not table:
        shape = getattr(X, "shape", (0, 0))
        raise InputError(f"{name} has 0 feature(s) (shape={shape}) while a minimum of 1 is required.")
    for key, column in table.items():
        if column.ndim != 1:
            raise InputError(f"column {key!r} of {name} has the shape {column.shape}; it must be a list of values")
    lengths = {key: len(column) for key, column in table.items()}
    if len({*lengths.values()}) > 1:
        raise InputError(f"the columns of {name} differ in length: {lengths}")
    return Frame(table)


def _column(values: Any) -> np.ndarray:
    if np.ma.is_masked(values):
        values = values.astype(object).filled("")
    column = values if isinstance(values, Categories) else np.asarray(values)
    if column.dtype.kind == "c":
        raise InputError("Complex data not supported: a column holds numbers, text or dates")
    return column


@dataclass(frozen=True)
class Column:
    """What became of a column: what was learnt of it, None where it is dropped, and what to say of that."""

    name: Hashable
    kind: str
    learnt: Kind | None
    about: str

    @property
    def inputs(self) -> int:
        return 0 if self.learnt is None else self.learnt.inputs


@dataclass(frozen=True)
class Columns:
    """The columns of a table, as training found them. ``str()`` is a short table of what became of each."""

    columns: tuple[Column, ...]

    def __getstate__(self) -> dict[str, Any]:
        return {"columns": self.columns}  # and nothing that can be made anew

    @classmethod
    def learn(cls, table: Frame, said: Mapping[Any, str] | None = None, *, drop_empty: bool = False) -> Columns:
        """Find what each column is, unless it is ``said``: number, category, date or drop. InputError for what cannot be.

        A column that is all gaps is refused, or left out with ``drop_empty``.
        """
        said = said or {}
        for name, kind in said.items():
            if name not in table.columns:
                raise InputError(f"columns names {name!r}, but the table has {_listed(list(table.columns))}")
            if kind not in COLUMN_KINDS:
                raise InputError(f"columns says that {name!r} is {kind!r}; it must be one of {', '.join(COLUMN_KINDS)}")
        found = cls(tuple(_learnt(name, values, said.get(name), drop_empty) for name, values in table.columns.items()))
        if not found.inputs:
            reasons = "; ".join(f"{column.name!r}: {column.about}" for column in found.columns[:_NAMED])
            raise InputError(f"no column is left to learn from ({reasons})")
        return found

    @property
    def names(self) -> list[Hashable]:
        return [column.name for column in self.columns]

    @property
    def inputs(self) -> int:
        return sum(column.inputs for column in self.columns)

    @property
    def sparse(self) -> bool:
        """Whether the matrix of the inputs is."""
        return sum(kind.at_once for kind in self.learnt) <= _DENSE * self.inputs

    def encode(self, table: Frame) -> np.ndarray | Sparse:
        """The rows as the network's inputs, float32 [n, inputs]. InputError for other columns than in training.

        Columns go by name, in any order. None may be missing; others are ignored.
        """
        self.require(table)
        return self.matrix(self.entries(table), len(table))

    def require(self, table: Frame) -> None:
        """InputError unless the table has the columns of the training; the others are named, too: one may be renamed."""
        if missing := [name for name in self.names if name not in table.columns]:
            unknown = [name for name in table.columns if name not in {*self.names}]
            others = f", and the model does not know {_listed(unknown)}" if unknown else ""
            raise InputError(
                f"the table lacks {_listed(missing)}{others}; it must have the columns that the model was fitted to"
            )

    def with_dates(self, table: Frame) -> Frame:
        """The table with those dates read of which training did not show whether the day stands first: a whole column may."""
        read = dict(table.columns)
        for column in self.columns:
            if isinstance(column.learnt, Date) and column.learnt.day_first is None:
                with _naming(column.name):
                    read[column.name] = as_dates(read[column.name])
        return Frame(read)

    @property
    def learnt(self) -> list[Kind]:
        """The kinds of those columns that were learnt from."""
        return [column.learnt for column in self.columns if column.learnt is not None]

    def entries(self, table: Frame) -> Iterator[Entries]:
        """Those of each column that was learnt; the table may lack the others."""
        for column in self.columns:
            if column.learnt is not None:
                with _naming(column.name):
                    found = column.learnt.entries(table.columns[column.name])
                yield found

    def matrix(self, entries: Iterable[Entries], rows: int) -> np.ndarray | Sparse:
        """The network's inputs, float32 [rows, inputs], of the entries of all columns."""
        X = _sparse(_side_by_side(self.learnt, entries, rows), self.inputs)
        return X if self.sparse else X.toarray()

    @cached_property
    def between_edges(self) -> tuple[Columns, Sparse] | None:
        """Columns with fewer entries, and each of their inputs as a row of these: times W it is the first layer for them.

        None where there is little to gain, and where the matrix is not sparse, so that training has other kernels.
        """
        if not self.sparse or self.inputs > _MOST_COPIED:
            return None
        kinds, blocks = zip(*(kind.between_edges() for kind in self.learnt))
        inputs, made = _diagonal(blocks), iter(kinds)
        if len(inputs.data) == len(inputs):  # no number bends
            return None
        return Columns(tuple(c if c.learnt is None else replace(c, learnt=next(made)) for c in self.columns)), inputs

    def unlike(self, table: Frame) -> str | None:
        """In words how the first column that differs from training does so, if one does."""
        for column in self.columns:
            if column.learnt is not None:
                with _naming(column.name):
                    said = column.learnt.unlike(table.columns[column.name])
                if said is not None:
                    return f"column {column.name!r} {said}"
        return None

    @property
    def used(self) -> list[Hashable]:
        """The names of the columns that were learnt from."""
        return [column.name for column in self.columns if column.learnt is not None]

    def described(self) -> list[dict[str, Any]]:
        """All of it as JSON takes it; ``of`` reads it."""
        return [
            {
                "name": c.name,
                "kind": c.kind,
                "about": c.about,
                "learnt": None if c.learnt is None else _described(c.learnt),
            }
            for c in self.columns
        ]

    @classmethod
    def of(cls, described: Any) -> Columns:
        """What ``described`` described. ValueError, TypeError, KeyError or IndexError for anything else."""
        columns = []
        for column in described:
            name, kind, about = (str(column[key]) for key in ("name", "kind", "about"))
            if kind not in COLUMN_KINDS or (kind == DROP) != (column["learnt"] is None):
                raise ValueError(kind)
            columns.append(Column(name, kind, None if kind == DROP else _of(kind, column["learnt"]), about))
        found = cls(tuple(columns))
        if len({*found.names}) < len(columns) or not found.inputs:
            raise ValueError("columns")
        return found

    @property
    def summary(self) -> str:
        """How many columns there are of each kind, in a line."""
        counts: dict[str, int] = {}
        for column in self.columns:
            counts[column.kind] = counts.get(column.kind, 0) + 1
        kinds = {NUMBER: ("number", "numbers"), CATEGORY: ("category", "categories"), DATE: ("date", "dates")}
        named = [(counts[kind], names[counts[kind] > 1]) for kind, names in kinds.items() if kind in counts]
        parts = [
            f"{count} {name}" for count, name in (*named, *([(counts[DROP], "dropped")] if DROP in counts else []))
        ]
        return f"columns: {', '.join(parts)}; {self.inputs:,} inputs"

    @property
    def doubtful(self) -> list[str]:
        """A line for each column that was dropped, or whose integers are taken for names."""
        dropped = [f"dropped {column.name!r}: {column.about}" for column in self.columns if column.kind == DROP]
        ids = [
            c.name for c in self.columns if isinstance(c.learnt, Category) and _is_id(c.name) and c.learnt.are_integers
        ]
        return dropped + [f"{name!r} is taken for a category; --column {name}=number reads numbers" for name in ids]

    def __str__(self) -> str:
        head = ("column", "is", "inputs", "")
        lines = [head, *((str(c.name), c.kind, str(c.inputs), c.about) for c in self.columns)]
        widths = [max(len(line[k]) for line in lines) for k in range(3)]
        return "\n".join(
            f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {inputs:>{widths[2]}}  {about}".rstrip()
            for name, kind, inputs, about in lines
        )


def _learnt(name: Hashable, values: np.ndarray, said: str | None, drop_empty: bool) -> Column:
    """What a column is. InputError where it is all gaps, or not what it is said to be."""
    if said == DROP:
        return Column(name, DROP, None, "as said")
    present, different, whole = _counted(values)
    if drop_empty and not present:
        return Column(name, DROP, None, "it is all gaps")
    if len(values) and not present:
        raise InputError(f"column {name!r} is all gaps; leave it out, or say so: columns={{{name!r}: 'drop'}}")
    with _naming(name):
        kind = said or guessed(values)
    row_numbers = whole and 1 < different == len(values) and isinstance(name, str) and says_which_row(name)
    if row_numbers and said is None:
        return Column(name, DROP, None, "its integers are all different and say which row it is")
    if said is None and kind == NUMBER and whole and _is_id(name) and present >= _ROWS_AN_ID * different:
        kind = CATEGORY
    with _naming(name):
        learnt = KINDS[kind].learn(values)
    if learnt.inputs:
        return Column(name, kind, learnt, learnt.about)
    why = (
        "it is constant" if different == 1 else "no value occurs twice" if kind == CATEGORY else "nothing in it varies"
    )
    return Column(name, DROP, None, why)


def _is_id(name: Hashable) -> bool:
    return isinstance(name, str) and is_id(name)


def _counted(values: np.ndarray) -> tuple[int, int, bool]:
    """(values that are no gaps, how many of them differ, whether they are integers)."""
    if values.dtype.kind in "iufb":
        present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        return (
            len(present),
            len(np.unique(present)),
            values.dtype.kind != "b" and bool((present == np.floor(present)).all()),
        )
    texts, codes = texts_of(values)
    known = {text for text in texts if text is not None}
    present = np.array([text is not None for text in texts], bool)[codes]
    return int(present.sum()), len(known), all(text.lstrip("-").isdigit() for text in known)


@contextmanager
def _naming(name: Hashable) -> Iterator[None]:
    """What cannot be read is said of the column."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"column {name!r} {error}") from None


def _listed(names: Sequence[Hashable]) -> str:
    """The names, or the first few of many."""
    return ", ".join(map(repr, names[:_NAMED])) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
