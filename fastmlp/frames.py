"""Data frames (pandas', Polars', Arrow's) as arrays: their columns go by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from .data.labels import listed
from .errors import InputError


def column_names(X: Any) -> tuple[str, ...] | None:
    """The names of a data frame's columns; None where X is no data frame, or its columns have no names."""
    names = getattr(X, "column_names", getattr(X, "columns", None))
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def named_columns(X: Any, columns: tuple[str, ...], what: str, wanted: str) -> np.ndarray:
    """Those ``columns`` of a data frame, ``what``, as an array [N, columns].

    InputError, which says what is ``wanted``, for one that is missing, is there twice, or is no numbers.
    """
    names = column_names(X) or ()
    if wrong := [name for name in columns if names.count(name) != 1]:
        unknown = [name for name in names if name not in columns]
        how = "is there twice" if wrong[0] in names else "is missing"
        others = f"; the model does not know {listed(unknown)}" if unknown else ""
        raise InputError(f"{what}: column {wrong[0][:40]!r} {how}{others}")
    arrays = [np.asarray(X[name]) for name in columns]
    for name, column in zip(columns, arrays):
        if column.dtype.kind not in "fiub":
            raise InputError(f"{what}: column {name[:40]!r} has dtype {column.dtype}; {wanted}")
    return np.column_stack(arrays)
