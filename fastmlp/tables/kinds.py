"""Kinds of columns: numbers, categories and dates. A kind is learnt from training rows, and turns values into inputs.

A row has at most one of a hundred thousand categories. So the inputs of a column are kept as entries: those that may
differ from zero. Of a missing value all inputs are zero but one, which says so. A category that was once or never in
the training rows has no input.

A kind has ``inputs``, their number, 0 where nothing can be learnt from the column; ``missing``, the share of gaps in
training; ``at_once``, how many inputs may differ from zero in a row; ``about``, for the user; and

    learn(values)      what is learnt of the training values; alone: of a table's only column
    of(saved)          what ``to_json`` saved of it; ValueError, TypeError or KeyError for anything else
    unlike(values)     in words how the values differ from those in training, if they do
    entries(values)    the inputs that are not zero for the values [n]; ValueError for values of another kind
    between_edges()    (a kind with fewer entries, a matrix [its inputs, inputs] whose rows express its inputs by these)

Legend: ``n`` rows, ``m`` entries a row. Entries are the numbers of inputs, [m, n] rising in each row, and their values,
float32 [m, n].
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..data import Sparse
from ..data.labels import listed
from ..data.values import day_first, is_code, shown, stand_in, truth
from ..formats import CATEGORY, DATE, NUMBER
from ..models.ranges import in_another_unit
from .texts import as_dates, as_numbers, counts_of, texts_of

# Of a number: rows in a bin, fewest and most bins, of which there is a power of 2. A table's only column has more, to
# follow series: of fifteen tables the out-of-fold R² rose by 0.36 for sunspots and by 0.12 for a river, and fell by
# 0.005 at most. In two columns it fell by 0.02, too.
_BINS, _BINS_ALONE = (256, 8, 64), (32, 16, 128)
_FEWEST_ROWS = 256  # with fewer rows a number has no bins: they would be learnt by heart
HEIGHT = 4.0  # of the widest hat, where the input of a category is 1
_WEIGHT = 4.0  # of z if there are bins: its square is about the sum of theirs, and lines are learnt as easily as bends
_FEW_EDGES = 2  # between so few nothing bends
_SMALLEST = np.finfo(np.float64).tiny  # a smaller number's inverse is infinite
_LARGEST = 1e300  # larger numbers are clipped, so that no difference overflows
FARTHEST = 1e6  # larger |z| are clipped: z / sqrt(1 + (z / 3)²) has reached its limit long before
_FEWEST_TO_COMPARE = 20  # with fewer rows nothing is said of the range
_BY_CHANCE = 1e-6  # a smaller probability is a reason to say something
_COMPARED = np.array([0.1, 0.25, 0.5, 0.75, 0.9])  # the shares of a column's numbers below those that are compared
LOOKED_AT = 1000  # evenly spaced rows that are compared with the training's
_NAMED = 3  # values in a line
Entries = tuple[np.ndarray, np.ndarray]


def _restore(kind: Any, state: dict[str, Any]) -> None:
    """Unpickle a kind. Once ``missing`` was ``gaps``, whether there were any."""
    if "gaps" in state:
        state["missing"] = float(state.pop("gaps"))
    vars(kind).update(state)


@dataclass(frozen=True)
class Number:
    """A number x: z / sqrt(1 + (z / 3)²), z = (x - median) / (third quartile - first); piecewise linear functions of z.

    The smooth clip is that of RealMLP (Holzmueller, Grinsztajn and Steinwart 2024): outliers keep their order, and are
    bounded. With the other inputs, the first layer's function of x can bend at each of the ``edges``, quantiles of the
    training rows. Inputs that rise from 0 to 1 along one bin each (Gorishniy, Rubachev and Babenko 2022) make a
    Brownian motion over the quantiles if weights are random, but half of them are not zero in a row. The basis of Faber
    and Schauder makes the same motion with few entries: the place among the quantiles, and one hat of each level. Hats
    of a level are half as wide and sqrt(2) times lower than those of the level before.

    The clipped z is multiplied by ``weight``, so that bends do not drown it: of collinear columns lines tell most.
    """

    median: float
    scale: float  # 0: a constant
    edges: np.ndarray  # of z, rising
    missing: float
    weight: float = 1.0  # once all models had this one

    __setstate__ = _restore

    @classmethod
    def learn(cls, values: np.ndarray, alone: bool = False) -> Number:
        x = as_numbers(values)
        known = np.clip(x[~np.isnan(x)], -_LARGEST, _LARGEST)
        low, first, median, third, high = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
        spread = next((each for each in (third - first, (high - low) / 2) if each > _SMALLEST), 0.0)
        scale = float(1 / spread) if spread else 0.0
        edges = _quantiles(np.clip((known - median) * scale, -FARTHEST, FARTHEST), *(_BINS_ALONE if alone else _BINS))
        edges = edges if len(edges) > _FEW_EDGES else edges[:0]
        weight = 1.0 if alone or len(x) < _FEWEST_ROWS else _WEIGHT
        return cls(float(median), scale, edges, float(np.isnan(x).mean()), weight)

    @classmethod
    def of(cls, saved: Any) -> Number:
        median, scale, weight = float(saved["median"]), float(saved["scale"]), float(saved.get("weight", 1.0))
        edges = np.array(saved["edges"], np.float32)
        if not (np.isfinite([median, scale]).all() and scale >= 0 and edges.ndim == 1 and np.isfinite(edges).all()):
            raise ValueError("number")
        if not 0 < weight <= FARTHEST:
            raise ValueError("weight")
        if len(edges) in (1, 2) or (np.diff(edges) <= 0).any():  # of which nothing could bend
            raise ValueError("edges")
        return cls(median, scale, edges, _share_missing(saved), weight)

    @property
    def _levels(self) -> int:
        return max(0, len(self.edges) - 2).bit_length()  # the logarithm of the bins, rounded up

    @property
    def _bends(self) -> int:
        """The number of inputs that make the function bend at the edges."""
        return 2**self._levels * (self._levels > 0)

    @property
    def inputs(self) -> int:
        return (self.scale > 0) + self._bends + (self.missing > 0)

    @property
    def at_once(self) -> int:
        return (self.scale > 0) + (1 + self._levels) * (self._bends > 0) + (self.missing > 0)

    @property
    def about(self) -> str:
        return f"median {self.median:.6g}, scale {1 / self.scale:.6g}" if self.scale else "constant but for gaps"

    def unlike(self, values: np.ndarray) -> str | None:
        """Nine tenths of many values lie beyond all values in training, or one that stands in for none does, or median
        and spread are many times as large or as small, as in another unit, or most are gaps."""
        x = as_numbers(values)
        known = x[:: max(1, len(x) // LOOKED_AT)]
        known = np.clip(known[~np.isnan(known)], -_LARGEST, _LARGEST)
        line = self._unlike(known) if len(known) >= _FEWEST_TO_COMPARE else None
        return line or _mostly_gaps(np.isnan(x), self.missing)

    def _unlike(self, known: np.ndarray) -> str | None:
        """``unlike`` of enough numbers without gaps."""
        # np.quantile takes six times as long.
        rows = np.arange(len(known))
        low, first, median, third, high = np.interp(_COMPARED * rows[-1], rows, np.sort(known))
        spread = (third - first) * self.scale
        if len(self.edges):
            least, greatest = self.edges[[0, -1]].astype(np.float64) / self.scale + self.median
            rounding = 1e-5 / self.scale
            least = 0.0 if abs(least) < rounding else least
            then = f"in training from {least:.5g} to {greatest:.5g}"
            if low >= greatest + rounding or high <= least - rounding:
                return f"is from {low:.5g} to {high:.5g} in most rows; {then}"
            if (value := stand_in(known)) is not None and not least - rounding <= value <= greatest + rounding:
                return (
                    f"is {shown(value)} in {np.mean(known == value):.1%} of rows; {then}: where it says none, "
                    "leave a gap"
                )
            if least < 0 < greatest and self.edges[0] < 0 and abs(self.median) * self.scale < 1:
                # Around zero the median says nothing of the unit.
                apart = f"has quartiles {third - first:.5g} apart; in training {1 / self.scale:.5g}: as in another unit"
                return apart if in_another_unit(spread, spread) else None
        if self.median and in_another_unit(median / self.median, spread):
            return f"has the median {median:.5g}; in training {self.median:.5g}: as in another unit"
        return None

    def entries(self, values: np.ndarray) -> Entries:
        z = np.clip((as_numbers(values) - self.median) * (self.scale or 1), -FARTHEST, FARTHEST).astype(np.float32)
        gap, scaled = np.isnan(z), int(self.scale > 0)
        z[gap] = 0
        at, height = np.empty((2, 0, len(z)))
        if self._bends:
            at, height = self._at_place(np.interp(z, self.edges, np.arange(len(self.edges))))
        index = np.empty((self.at_once, len(z)), np.int32)
        found = np.empty(index.shape, np.float32)
        if scaled:
            index[0], found[0] = 0, z / np.sqrt(1 + np.square(z / 3)) * np.float32(self.weight)
        index[scaled : scaled + len(at)] = scaled + at
        found[scaled : scaled + len(at)] = height
        found[:, gap] = 0
        if self.missing:
            index[-1], found[-1] = self.inputs - 1, gap
        return index, found

    def _at_place(self, place: np.ndarray) -> Entries:
        """The entries of the bends for places [n]: numbers of edges, with fractions between them."""
        place = place / 2**self._levels
        hats = 2 ** np.arange(self._levels, dtype=np.float32)[:, np.newaxis]  # of each level
        index, found = (np.zeros((1 + len(hats), len(place)), dtype) for dtype in (np.int32, np.float32))
        found[0] = HEIGHT * place
        position = hats * place.astype(np.float32)
        hat = np.minimum(np.floor(position), hats - 1)
        index[1:] = hats + hat
        found[1:] = (0.5 - np.abs(position - hat - 0.5)) * (HEIGHT / np.sqrt(hats))
        return index, found

    def between_edges(self) -> tuple[Kind, Sparse]:
        at, height = self._at_place(np.arange(1, len(self.edges)))
        around = (0, 0), (int(self.scale > 0), int(self.missing > 0))  # the inputs before and behind the bends
        index, found = np.pad(at + around[1][0], around), np.pad(height, around)
        if self.scale:
            index[0, 0], found[0, 0] = 0, 1
        if self.missing:
            index[0, -1], found[0, -1] = self.inputs - 1, 1
        between = _BetweenEdges(self.median, self.scale, self.edges, self.missing, self.weight)
        return between, as_sparse((index, found), self.inputs)


class _BetweenEdges(Number):
    """The same number for a first layer with an input for each edge but the first, where all hats are 0."""

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


def _quantiles(z: np.ndarray, rows: int, fewest: int, most: int) -> np.ndarray:
    """The edges, float32, of bins that hold about as many z each; none for few z. A value that fills more than a bin
    counts as one bin."""
    if len(z) < _FEWEST_ROWS:
        return np.empty(0, np.float32)
    bins = 2 ** int(np.log2(np.clip(len(z) / rows, fewest, most)))
    values, counts = np.unique(z.astype(np.float32), return_counts=True)
    filled = np.cumsum(np.minimum(counts, len(z) / bins))
    return np.unique(values[np.searchsorted(filled, np.linspace(0, filled[-1], bins + 1)).clip(max=len(values) - 1)])


@dataclass(frozen=True)
class Category:
    """A category: an input for each of the ``values`` that occur at least twice; others can only be learnt by heart."""

    values: tuple[str, ...]
    missing: float
    once: int  # values that occur once

    __setstate__ = _restore

    @classmethod
    def learn(cls, values: np.ndarray, alone: bool = False) -> Category:
        counts = counts_of(values)
        often = sorted(text for text, count in counts.items() if count > 1)
        constant, missing = len(counts) == 1, 1 - sum(counts.values()) / len(values)
        missing *= constant or bool(often)
        return cls(() if constant else tuple(often), missing, len(counts) - len(often))

    @classmethod
    def of(cls, saved: Any) -> Category:
        return cls(tuple(map(str, saved["values"])), _share_missing(saved), int(saved["once"]))

    @property
    def inputs(self) -> int:
        return len(self.values) + (self.missing > 0)

    at_once = 1

    @property
    def about(self) -> str:
        once = f"; left out: {self.once:,} that occur{'s' * (self.once == 1)} once" if self.once else ""
        return (
            f"{len(self.values):,} values: {listed(self.values, _NAMED)}{once}"
            if self.values
            else "constant but for gaps"
        )

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
            return (
                f"has unknown values in {count:,} of {len(codes):,} rows, such as {value!r}; "
                f"in training it had {self.about}"
            )
        return _mostly_gaps(place == len(self.values), self.missing)

    def places(self, texts: list[str | None]) -> np.ndarray:
        """The number of each text's value, int32: -1 for a new one, the count of values for a gap.

        If there are two values that mean yes and no, other words for these are known, too: 1 for True. So are codes
        that have lost their zeros on the way through numbers: 2139 for 02139.
        """
        numbers = {text: k for k, text in enumerate(self.values)}
        words = {truth(text): k for k, text in enumerate(self.values)}
        words = words if len(self.values) == 2 and words.keys() == {0, 1} else {}
        gap = len(self.values)
        found = [gap if text is None else numbers.get(text, words.get(truth(text), -1)) for text in texts]
        if new := [k for k, text in enumerate(texts) if text is not None and found[k] < 0 and text.isdigit()]:
            codes: dict[str, int] = {}
            for place, value in enumerate(self.values):
                if is_code(value):  # of two that are one number neither
                    digits = value.lstrip("0") or "0"
                    codes[digits] = -1 if digits in codes else place
            for k in new:
                found[k] = codes.get(str(texts[k]), -1)
        return np.array(found, np.int32)

    def between_edges(self) -> tuple[Kind, Sparse]:
        numbers = np.arange(self.inputs + 1)
        return self, Sparse(numbers, numbers[:-1], np.ones(self.inputs, np.float32), (self.inputs, self.inputs))


@dataclass(frozen=True)
class Date:
    """A date: elapsed days, year and hour as numbers, month and weekday as categories, without those that do not vary;
    of one date and gaps the first.

    ``day_first`` says whether days stand before months; None where the training rows do not show it.
    """

    parts: dict[str, Number | Category]
    day_first: bool | None

    @classmethod
    def learn(cls, values: np.ndarray, alone: bool = False) -> Date:
        first = None if values.dtype.kind == "M" else day_first([*counts_of(values)])
        found = _parts_of_date(as_dates(values, first))
        parts = {name: _PARTS[name].learn(part, alone) for name, part in found.items()}
        varying = {name: part for name, part in parts.items() if part.inputs > (part.missing > 0)}
        return cls(varying or {"elapsed days": parts["elapsed days"]}, first)  # which says where there is a date

    @classmethod
    def of(cls, saved: Any) -> Date:
        parts = {name: _PARTS[name].of(saved["parts"][name]) for name in saved["parts"]}
        if (first := saved.get("day_first")) not in (None, True, False):
            raise ValueError("day_first")
        return cls(parts, first)

    @property
    def inputs(self) -> int:
        return sum(part.inputs for part in self.parts.values())

    @property
    def missing(self) -> float:
        return max((part.missing for part in self.parts.values()), default=0.0)

    @property
    def at_once(self) -> int:
        return sum(part.at_once for part in self.parts.values())

    @property
    def about(self) -> str:
        varies = self.inputs > (self.missing > 0)
        order = {None: "", True: "; days before months", False: "; months before days"}[self.day_first]
        return (", ".join(self.parts) if varies else "constant but for gaps") + order

    def unlike(self, values: np.ndarray) -> str | None:
        """Most are gaps; days themselves are always new."""
        if values.dtype.kind == "M":
            return _mostly_gaps(np.isnat(values), self.missing)
        texts, codes = texts_of(values)
        return _mostly_gaps(np.array([text is None for text in texts], bool)[codes], self.missing)

    def entries(self, values: np.ndarray) -> Entries:
        found = _parts_of_date(as_dates(values, self.day_first))
        entries = (part.entries(found[name]) for name, part in self.parts.items())
        return side_by_side(self.parts.values(), entries, len(values))

    def between_edges(self) -> tuple[Kind, Sparse]:
        kinds, inputs = zip(*(part.between_edges() for part in self.parts.values()))
        return replace(self, parts=dict(zip(self.parts, kinds))), diagonal(inputs)


_PARTS: dict[str, type[Number] | type[Category]] = {
    "elapsed days": Number, "year": Number, "month": Category, "weekday": Category, "hour": Number,
}  # fmt: skip


def _parts_of_date(dates: np.ndarray) -> dict[str, np.ndarray]:
    """The parts, float64 [n], of datetime64[s] [n]; NaN for gaps. Weekday 0 is Monday."""
    seconds, days, months = (dates.astype(f"datetime64[{unit}]").astype(np.int64) for unit in "sDM")
    found = {
        "elapsed days": seconds / 86_400, "year": 1970 + months // 12, "month": 1 + months % 12,
        "weekday": (days + 3) % 7, "hour": seconds % 86_400 / 3600,
    }  # fmt: skip
    return {name: np.where(np.isnat(dates), np.nan, part) for name, part in found.items()}


def _mostly_gaps(gaps: np.ndarray, missing: float) -> str | None:
    """In words that most values are gaps (bool [n]) where none was in training, or all are, which is improbable with
    the share that was missing there."""
    count, rows = np.count_nonzero(gaps), len(gaps)
    if 2 * count <= rows or (missing and (count < rows or missing**rows > _BY_CHANCE)):
        return None
    return f"has no value in {count:,} of {rows:,} rows; in training {'some' if missing else 'all'} rows had one"


Kind = Number | Category | Date
KINDS: dict[str, type[Kind]] = {NUMBER: Number, CATEGORY: Category, DATE: Date}


# -- in a model's file -----------------------------------------------------------------------------------------------


def to_json(learnt: Kind) -> dict[str, Any]:
    """What was learnt of a column, in lists and dicts; ``of`` of its kind reads it."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(learnt), default=np.ndarray.tolist))
    return found


def _share_missing(saved: Any) -> float:
    missing = float(saved["missing"] if "missing" in saved else saved["gaps"])  # once only whether there were any
    if not 0 <= missing <= 1:
        raise ValueError("missing")
    return missing


# -- matrices --------------------------------------------------------------------------------------------------------


def side_by_side(kinds: Collection[Kind], entries: Iterable[Entries], rows: int) -> Entries:
    """The entries of several columns as those of one. The numbers of few inputs take 2 bytes, as in the kernels.

    Entries of a row lie together. Each column's are copied before the next column's are made, as fresh memory costs
    more than copying.
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


def as_sparse(entries: Entries, inputs: int) -> Sparse:
    """The matrix of the entries, without zeros."""
    index, values = (np.ascontiguousarray(part.T) for part in entries)
    there = values != 0
    indptr = np.concatenate(([0], np.cumsum(np.count_nonzero(there, axis=1))))
    kept = np.flatnonzero(there)  # indexing by numbers is many times faster than by a mask
    return Sparse(indptr, index.ravel()[kept], values.ravel()[kept], (len(index), inputs))


def diagonal(blocks: Sequence[Sparse]) -> Sparse:
    """The block diagonal matrix."""
    rows, columns = np.cumsum([(0, 0), *(block.shape for block in blocks)], axis=0).T
    counts = np.concatenate([np.diff(block.indptr) for block in blocks])
    indices = np.concatenate([block.indices + start for block, start in zip(blocks, columns)])
    indptr = np.concatenate(([0], np.cumsum(counts)))
    return Sparse(indptr, indices, np.concatenate([block.data for block in blocks]), (int(rows[-1]), int(columns[-1])))
