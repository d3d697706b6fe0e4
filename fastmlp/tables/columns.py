"""The columns of a table: which kind each is, and the inputs of a network that all of them make.

What a column is follows from its values, or is said: a number, a category, a date, or nothing (it is dropped).

Between two neighbouring edges of a number the first layer is linear in it. So in a trained network its sums at the
edges take the place of its weights, and a row needs the two sums beside its value (``Columns.between_edges``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..data import Frame, Sparse
from ..data.columns import is_id, says_which_row
from ..errors import InputError, restated
from ..formats import CATEGORY, COLUMN_KINDS, DATE, DROP, NUMBER
from ..frames import keys_of, read_table
from .kinds import KINDS, Category, Date, Entries, Kind, as_sparse, diagonal, side_by_side, to_json
from .texts import as_dates, counts_of, guessed

_DENSE = 0.4  # where no more of the inputs may differ from zero, the matrix is sparse
_MOST_COPIED = 8192  # inputs: of more, copies of the weights would take longer than they spare
_ROWS_AN_ID = 5  # so many for each number of an id, and what is known of one helps with its other rows
_NAMED = 3  # columns in a line


@dataclass(frozen=True)
class Column:
    """A column and what was learnt of it, or None and the reason, if it is dropped."""

    name: Hashable
    kind: str
    learnt: Kind | None
    about: str

    @property
    def inputs(self) -> int:
        return 0 if self.learnt is None else self.learnt.inputs


@dataclass(frozen=True)
class Columns:
    """The columns of the training table. ``str()`` is a short table of what became of each."""

    columns: tuple[Column, ...]

    def __getstate__(self) -> dict[str, Any]:
        return {"columns": self.columns}  # without cached properties

    @classmethod
    def learn(cls, table: Frame, said: Mapping[Any, str] | None = None, *, drop_empty: bool = False) -> Columns:
        """Find the kind of each column not ``said`` to be one of COLUMN_KINDS. InputError for a wrong kind.

        A column that is all gaps is refused, or left out with ``drop_empty``.
        """
        said = said or {}
        for name, kind in said.items():
            if name not in table.columns:
                raise InputError(f"columns names {name!r}, but the table has {_listed(list(table.columns))}")
            if kind not in COLUMN_KINDS:
                raise InputError(f"columns says that {name!r} is {kind!r}; it must be one of {', '.join(COLUMN_KINDS)}")
        alone = sum(said.get(name) != DROP for name in table.columns) == 1
        found = cls(
            tuple(_learnt(name, values, said.get(name), drop_empty, alone) for name, values in table.columns.items())
        )
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
        return sum(kind.at_once for kind in self.used.values()) <= _DENSE * self.inputs

    def encode(self, table: Frame) -> np.ndarray | Sparse:
        """The rows as the network's inputs, float32 [n, inputs]. InputError for other columns than in training.

        Columns go by name, in any order. Only those that are dropped may be missing; others are ignored.
        """
        self.require(table.columns)
        return self.matrix(self.entries(table), len(table))

    def require(self, names: Iterable[Hashable]) -> None:
        """InputError unless a table of columns of those ``names`` has those of training; the others are named, too:
        one may be renamed."""
        given = dict.fromkeys(names)
        if missing := [name for name in self.used if name not in given]:
            unknown = [name for name in given if name not in {*self.names}]
            others = f", and the model does not know {_listed(unknown)}" if unknown else ""
            raise InputError(
                f"the table lacks {_listed(missing)}{others}; it must have the columns that the model was fitted to"
            )

    def by_name(self, X: Any, what: str) -> Frame | None:
        """The columns of the table X, called ``what``, that were learnt from; None: columns go by place, as X or the
        model has no names but numbers. 0 and "0" name the same if all do. InputError as of ``require``."""
        if (keys := keys_of(X)) is None:
            return None
        alike = {str(key): key for key in keys}
        if len(alike) == len(self.names) and alike.keys() == {*map(str, self.names)}:
            wanted = [alike[str(name)] for name in self.used]
        elif all(any(isinstance(name, str) for name in names) for names in (keys, self.names)):
            self.require(keys)
            wanted = [*self.used]
        else:
            return None
        table = X if isinstance(X, Frame) else read_table(X, what, wanted)
        return Frame({name: table.columns[key] for name, key in zip(self.used, wanted)})

    def with_dates(self, table: Frame) -> Frame:
        """The table with dates of some columns read: those whose training values did not show if the day comes first.

        All rows of the table together may show it; single blocks of rows may not.
        """
        read = dict(table.columns)
        for name, kind in self.used.items():
            if isinstance(kind, Date) and kind.day_first is None:
                with _naming(name):
                    read[name] = as_dates(read[name])
        return Frame(read)

    @property
    def used(self) -> dict[Hashable, Kind]:
        """What was learnt of the columns that are not dropped, by name."""
        return {column.name: column.learnt for column in self.columns if column.learnt is not None}

    def entries(self, table: Frame) -> Iterator[Entries]:
        """The entries of each column that is not dropped; the table may lack the others."""
        for name, kind in self.used.items():
            with _naming(name):
                found = kind.entries(table.columns[name])
            yield found

    def matrix(self, entries: Iterable[Entries], rows: int) -> np.ndarray | Sparse:
        """The network's inputs, float32 [rows, inputs], of the entries of all columns."""
        X = as_sparse(side_by_side(self.used.values(), entries, rows), self.inputs)
        return X if self.sparse else X.toarray()

    @cached_property
    def between_edges(self) -> tuple[Columns, Sparse] | None:
        """(columns with fewer entries, a matrix [their inputs, inputs]). The matrix times W is a first layer for those
        columns that does what W does for these.

        None where there is little to gain, or those columns make a dense matrix, too.
        """
        if self.inputs > _MOST_COPIED:
            return None
        kinds, blocks = zip(*(kind.between_edges() for kind in self.used.values()))
        inputs, made = diagonal(blocks), dict(zip(self.used, kinds))
        found = Columns(tuple(replace(column, learnt=made.get(column.name)) for column in self.columns))
        bends = len(inputs.data) > len(inputs)
        return (found, inputs) if bends and found.sparse else None

    def unlike(self, table: Frame) -> str | None:
        """In words how the first column that differs from training does so, if one does."""
        for name, kind in self.used.items():
            with _naming(name):
                said = kind.unlike(table.columns[name])
            if said is not None:
                return f"column {name!r} {said}"
        return None

    def described(self) -> list[dict[str, Any]]:
        """Everything in a form that JSON takes; ``of`` reads it."""
        return [
            {"name": c.name, "kind": c.kind, "about": c.about, "learnt": c.learnt and to_json(c.learnt)}
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
            columns.append(Column(name, kind, None if kind == DROP else KINDS[kind].of(column["learnt"]), about))
        found = cls(tuple(columns))
        if len({*found.names}) < len(columns) or not found.inputs:
            raise ValueError("columns")
        return found

    @property
    def summary(self) -> str:
        """How many columns there are of each kind, in a line."""
        counts = Counter(column.kind for column in self.columns)
        words = {NUMBER: "number numbers", CATEGORY: "category categories", DATE: "date dates", DROP: "dropped dropped"}
        parts = [f"{count} {words[kind].split()[count > 1]}" for kind in COLUMN_KINDS if (count := counts[kind])]
        return f"columns: {', '.join(parts)}; {self.inputs:,} inputs"

    @property
    def doubtful(self) -> list[str]:
        """A line for each column dropped, or whose integers are taken for names, or whose numbers hardly repeat."""
        dropped = [f"dropped {column.name!r}: {column.about}" for column in self.columns if column.kind == DROP]
        categories = [(c.name, c.learnt) for c in self.columns if isinstance(c.learnt, Category)]
        seldom = [
            f"{name!r} is taken for a category, though {learnt.once:,} of its values occur once; others are such as "
            f"{learnt.values[0][:40]!r}"
            for name, learnt in categories
            if learnt.once > len(learnt.values) > 0 and any(map(str.isdigit, learnt.values[0]))
        ]
        ids = [
            f"{name!r} is taken for a category; --column {name}=number reads numbers"
            for name, learnt in categories
            if _is_id(name) and all(value.lstrip("-").isdigit() for value in learnt.values)
        ]
        return dropped + seldom + ids

    def __str__(self) -> str:
        head = ("column", "is", "inputs", "")
        lines = [head, *((str(c.name), c.kind, str(c.inputs), c.about) for c in self.columns)]
        widths = [max(len(line[k]) for line in lines) for k in range(3)]
        return "\n".join(
            f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {inputs:>{widths[2]}}  {about}".rstrip()
            for name, kind, inputs, about in lines
        )


def _learnt(name: Hashable, values: np.ndarray, said: str | None, drop_empty: bool, alone: bool) -> Column:
    """The column as learnt. InputError where it is all gaps, or not of the kind that it is said to be."""
    if said == DROP:
        return Column(name, DROP, None, "as said")
    with _naming(name):
        counts = {} if values.dtype.kind in "iufb" else counts_of(values)
        present, different, whole = _counted(values, counts)
        if drop_empty and not present:
            return Column(name, DROP, None, "it is all gaps")
        if len(values) and not present:
            raise InputError(f"column {name!r} is all gaps; leave it out, or say so: columns={{{name!r}: 'drop'}}")
        kind = said or guessed(values, counts)
        row_numbers = whole and 1 < different == len(values) and isinstance(name, str) and says_which_row(name)
        if row_numbers and said is None:
            return Column(name, DROP, None, "its integers are all different and say which row it is")
        if said is None and kind == NUMBER and whole and _is_id(name) and present >= _ROWS_AN_ID * different:
            kind = CATEGORY
        learnt = KINDS[kind].learn(values, alone)
    if learnt.inputs:
        return Column(name, kind, learnt, learnt.about)
    same = "its values are one float64; subtract what they have in common"
    why = "no value occurs twice" if kind == CATEGORY else same
    return Column(name, DROP, None, "it is constant" if different == 1 else why)


def _is_id(name: Hashable) -> bool:
    return isinstance(name, str) and is_id(name)


def _counted(values: np.ndarray, counts: Mapping[str, int]) -> tuple[int, int, bool]:
    """(count of values that are no gaps, count of distinct ones, whether all are integers); ``counts`` are of texts."""
    if values.dtype.kind in "iufb":
        present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        whole = values.dtype.kind != "b" and bool((present == np.floor(present)).all())
        return len(present), len(np.unique(present)), whole
    return sum(counts.values()), len(counts), all(text.lstrip("-").isdigit() for text in counts)


def _naming(name: Hashable) -> AbstractContextManager[None]:
    """Turn a ValueError into an InputError that names the column."""
    return restated(ValueError, InputError, f"column {name!r} ")


def _listed(names: Sequence[Hashable]) -> str:
    """The first few names, for a message."""
    return ", ".join(map(repr, names[:_NAMED])) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
