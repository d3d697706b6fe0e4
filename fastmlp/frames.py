"""Data frames (pandas', Polars', Arrow's) as arrays, through narwhals: their columns go by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from .data.labels import listed
from .errors import InputError
from .extras import to_install


def column_names(X: Any) -> tuple[str, ...] | None:
    """The names of a data frame's columns; None where X is no data frame, or its columns have no names."""
    names = getattr(X, "column_names", getattr(X, "columns", None))
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def frame_columns(X: Any, what: str, wanted: Iterable[str] | None = None) -> dict[Hashable, np.ndarray]:
    """The columns of a data frame, ``what``, by name, or those that are ``wanted``: numbers, text (None for gaps) or dates.

    InputError for what is no data frame, and for two columns of one name.
    """
    try:
        import narwhals as nw
    except ImportError as error:
        raise InputError(
            f"a data frame needs narwhals; {to_install('tables')}, or give an array or a dict of arrays ({error})"
        ) from None
    names = Counter(getattr(X, "column_names", getattr(X, "columns", ())))
    if wanted is None and (twice := [column for column, count in names.items() if count > 1]):
        raise InputError(f"{what} has more than one column {twice[0]!r}; each must have a name of its own")
    try:
        frame = nw.from_native(X, eager_only=True)
    except TypeError:
        raise InputError(
            f"{what} is {type(X).__name__}; it must be a data frame, a dict of arrays or an array"
        ) from None
    columns: dict[Hashable, np.ndarray] = {}
    for series in frame.iter_columns() if wanted is None else (frame.get_column(name) for name in wanted):
        if series.dtype in (nw.Categorical, nw.Enum) and not frame.implementation.is_pandas():
            series = series.cast(nw.String)  # of an Arrow dictionary with gaps NumPy makes other values
        elif series.dtype == nw.Datetime and getattr(series.dtype, "time_zone", None):
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        columns[series.name] = series.to_numpy()
    return columns


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
    arrays = frame_columns(X, what, columns)
    for name, column in arrays.items():
        if column.dtype.kind not in "fiub":
            raise InputError(f"{what}: column {str(name)[:40]!r} has dtype {column.dtype}; {wanted}")
    return np.column_stack([*arrays.values()])
