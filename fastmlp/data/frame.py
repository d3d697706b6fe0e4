"""A table's columns as a file or a data frame has them, before ``columns.Columns`` makes inputs of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..formats import LabelColumn


@dataclass(frozen=True, eq=False)
class Frame:
    """Columns by name, arrays [N] of numbers, text, booleans or dates, with gaps; rows are taken as of an array."""

    columns: Mapping[Hashable, np.ndarray]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), len(self.columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, rows: Any) -> Frame:
        return Frame({name: values[rows] for name, values in self.columns.items()})

    def only(self, names: Iterable[Hashable]) -> Frame:
        """The columns of those names, in that order."""
        return Frame({name: self.columns[name] for name in names})


def names_of(columns: Sequence[str] | None, count: int, label: LabelColumn | None) -> tuple[str, ...]:
    """The names of ``count`` columns, by default their numbers in a file that has its labels at ``label``."""
    if columns is not None:
        return tuple(columns)
    return tuple(f"column {k + 1 + (label is not None and k >= label.place)}" for k in range(count))


def as_frame(X: Any, columns: Sequence[str] | None, label: LabelColumn | None) -> Frame:
    """X as a Frame; the columns of an array are named by ``names_of``."""
    return X if isinstance(X, Frame) else Frame(dict(zip(names_of(columns, X.shape[1], label), np.asarray(X).T)))
