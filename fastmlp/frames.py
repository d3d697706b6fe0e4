"""Data frames (pandas', Polars', Arrow's) as arrays, through narwhals: their columns go by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from contextlib import suppress
from os import PathLike
from typing import Any

import numpy as np

from .data.frame import Frame
from .data.labels import as_given, listed
from .data.values import MERGED
from .errors import InputError
from .extras import to_install

# Of a column that a data frame says to be a category, whatever is in it.
CATEGORY = np.dtype(object, metadata={"kind": "category"})


def has_columns(X: Any) -> bool:
    """Whether X is a data frame, a dict of arrays or a structured array."""
    return keys_of(X) is not None


def column_names(X: Any) -> tuple[str, ...] | None:
    """The names of the columns of what ``has_columns``; None of anything else, and where they are no text."""
    names = keys_of(X)
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def keys_of(X: Any) -> Any:
    """What the columns of what ``has_columns`` are called, text or not; None of anything else."""
    if isinstance(X, np.ndarray):
        return X.dtype.names
    return X.keys() if isinstance(X, Mapping) else getattr(X, "column_names", getattr(X, "columns", None))


def is_masked(values: Any) -> bool:
    """Whether values of NumPy's are masked. It takes gaps in pandas' arrays for that, too; those are read as gaps."""
    return isinstance(values, np.ma.MaskedArray) and bool(np.ma.is_masked(values))


def odd_pair(X: Any, y: Any, names: tuple[str, str]) -> str | None:
    """What to say where both, called by their ``names``, are pandas' and have one index, its rows in two orders."""
    X_name, y_name = names
    indices: list[Any] = [getattr(each, "index", None) for each in (X, y)]
    first, second = indices
    if not (hasattr(first, "equals") and hasattr(second, "equals")) or first.equals(second):
        return None
    if len(first) != len(second) or {*first} != {*second}:
        return None
    return (
        f"{X_name} and {y_name} have one index in two orders; their rows are taken as they stand: "
        f"{y_name}.loc[{X_name}.index] has the order of {X_name}"
    )


def frame_columns(X: Any, what: str, wanted: Collection[Any] | None = None) -> dict[Hashable, np.ndarray]:
    """The columns of a data frame, ``what``, by name, or those ``wanted``: numbers, text (None for gaps) or dates.

    Arrays of a dict are as it has them. Without narwhals only one of numbers can be read. InputError for what is no
    data frame, and for two columns of one name.
    """
    if isinstance(X, (Mapping, np.ndarray)):
        return {name: _array(X[name]) for name in (keys_of(X) if wanted is None else wanted)}
    names = [*getattr(X, "column_names", getattr(X, "columns", ()))]
    if twice := [column for column, count in Counter(names).items() if count > 1]:  # narwhals takes none, read or not
        raise InputError(f"{what} has more than one column {twice[0]!r}; each must have a name of its own")
    try:
        import narwhals as nw
    except ImportError as error:
        array = np.asarray(X)
        if array.ndim == 2 and array.dtype.kind in "iufb":
            found = dict(zip(names, array.T))
            return found if wanted is None else {name: found[name] for name in wanted}
        raise InputError(
            f"a data frame of text, dates or gaps needs narwhals; {to_install('tables')}, "
            f"or give a dict of arrays ({error})"
        ) from None
    try:
        frame = nw.from_native(X, eager_only=True)
    except TypeError:
        kind, lazy = type(X).__name__, ", such as X.collect()" if hasattr(X, "collect") else ""
        raise InputError(f"{what} is {kind}; it must be a data frame{lazy}, a dict of arrays or an array") from None
    found_columns = frame.iter_columns() if wanted is None else (frame.get_column(name) for name in wanted)
    return {series.name: _values(series) for series in found_columns}


def _array(column: Any) -> np.ndarray:
    """A column of a dict: an array, or the column of a data frame, which knows its type."""
    if not isinstance(column, (np.ndarray, list)):
        with suppress(ImportError):
            import narwhals as nw

            series = nw.from_native(column, series_only=True, pass_through=True)
            if isinstance(series, nw.Series):
                return _values(series)
    return column if isinstance(column, np.ndarray) else as_given(column)


def _values(series: Any) -> np.ndarray:
    """The values of a column that narwhals has read."""
    import narwhals as nw

    pandas: Any = series.to_native() if series.implementation.is_pandas() else None
    if pandas is not None and isinstance(pandas.dtype, np.dtype):
        return pandas.to_numpy()  # narwhals would look through objects for their type
    dtype = series.dtype
    if dtype in (nw.Categorical, nw.Enum):
        if hasattr(getattr(pandas, "array", None), "codes"):
            return _of_codes(pandas.array.codes, pandas.cat.categories, CATEGORY)
        # Of an Arrow dictionary with gaps NumPy makes other values.
        return series.cast(nw.String).to_numpy().astype(CATEGORY)
    if dtype == nw.String and pandas is None:
        with suppress(ImportError):  # Polars does without pyarrow
            encoded = series.to_arrow().dictionary_encode()
            return _of_codes(encoded.indices.fill_null(-1).to_numpy(), encoded.dictionary.to_pylist(), np.dtype(object))
    elif dtype == nw.String:
        if getattr(pandas.dtype, "storage", "") == "python":
            return pandas.to_numpy(na_value=None)  # half the time that factorize takes
        codes, different = pandas.array.factorize()
        return _of_codes(codes, different, np.dtype(object))
    if dtype == nw.Datetime and getattr(dtype, "time_zone", None):
        return series.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
    values = (series.cast(nw.Float64) if dtype in (nw.Int128, nw.UInt128) else series).to_numpy()  # NumPy lacks these
    if dtype.is_integer() and values.dtype.kind == "f" and np.fmax.reduce(abs(values), initial=0) >= MERGED:
        return series.cast(nw.String).to_numpy()
    return values


class Categories(np.ndarray):
    """The values of a column of categories or texts [n], None for gaps, and their ``numbers`` [n] among those that are
    ``different``.

    Rows taken from it have numbers, too; other results of NumPy have none.
    """

    different: list[Any]
    numbers: np.ndarray | None = None

    def __getitem__(self, rows: Any) -> Any:
        found = super().__getitem__(rows)
        if isinstance(found, Categories) and self.numbers is not None:
            found.different, found.numbers = self.different, self.numbers[rows]
        return found


def _of_codes(codes: np.ndarray, different: Any, dtype: np.dtype) -> Categories:
    """A column from pandas' codes [n], -1 for a gap, of its different values: five times as fast as by its values."""
    values = np.empty(len(different) + 1, dtype)
    values[0], values[1:] = None, different
    numbers = codes + 1  # as narrow as pandas' codes
    found = values[numbers].view(Categories)
    found.different, found.numbers = values.tolist(), numbers
    found.flags.writeable = False  # numbers and values stay those of each other
    return found


def as_floats(values: np.ndarray) -> np.ndarray:
    """Objects that are numbers, or texts of numbers, as float64; other values unchanged."""
    try:
        return values.astype(np.float64) if values.dtype == object else values
    except (TypeError, ValueError):
        return values


def named_columns(X: Any, columns: tuple[str, ...]) -> np.ndarray:
    """The ``columns`` of a data frame X as an array [N, columns]. InputError for one that is missing, or no numbers."""
    names = column_names(X) or ()
    if missing := [name for name in columns if name not in names]:
        unknown = [name for name in names if name not in columns]
        others = f"; the model does not know {listed(unknown)}" if unknown else ""
        raise InputError(f"X: column {missing[0][:40]!r} is missing{others}")
    arrays = {name: as_floats(column) for name, column in frame_columns(X, "X", columns).items()}
    for name, column in arrays.items():
        if column.dtype.kind not in "fiub":
            raise InputError(f"X: column {str(name)[:40]!r} has dtype {column.dtype}; this model takes numbers")
    if len(lengths := {column.shape for column in arrays.values()}) > 1:
        raise InputError(f"X: its columns have the shapes {sorted(lengths)}; all must have one")
    return np.column_stack([*arrays.values()])


def read_table(X: Any, name: str = "X", wanted: Collection[Any] | None = None) -> Frame:
    """The columns of X by name, all or those ``wanted``, or by number for an array or a list of rows. InputError for
    anything else."""
    if isinstance(X, (str, PathLike)):
        raise InputError(f"{name} is {str(X)!r}; it must be the table itself: pandas.read_csv({str(X)!r}), for one")
    if hasattr(X, "tocsr"):
        raise InputError(f"{name} is a sparse matrix; a table is dense: MLPClassifier and MLPRegressor take sparse X")
    if has_columns(X):
        table = {key: _column(values) for key, values in frame_columns(X, name, wanted).items()}
    else:
        array = X if is_masked(X) else as_given(X)  # of a masked array the masked are gaps
        if array.ndim != 2:
            raise InputError(
                f"Expected 2D array, got {array.ndim}D array instead: {name} must have rows and columns. "
                "Reshape your data: one feature is X.reshape(-1, 1), one sample X.reshape(1, -1), "
                "pandas' one row X.to_frame().T, a list of dicts pandas.DataFrame(X)"
            )
        table = {k: _column(array[:, k]) for k in range(array.shape[1])}
    if not table:
        shape = getattr(X, "shape", (0, 0))
        raise InputError(f"{name} has 0 feature(s) (shape={shape}) while a minimum of 1 is required.")
    for key, column in table.items():
        if column.dtype.kind == "c":
            raise InputError(
                f"Complex data not supported: column {key!r} of {name}; it must hold numbers, text or dates"
            )
        if column.ndim != 1:
            raise InputError(
                f"column {key!r} of {name} has the shape {column.shape}; "
                "it must be a list of values (of one row [value])"
            )
    lengths = {key: len(column) for key, column in table.items()}
    if len({*lengths.values()}) > 1:
        raise InputError(f"the columns of {name} differ in length: {lengths}")
    return Frame(table)


def _column(values: Any) -> np.ndarray:
    if is_masked(values):
        values = values.astype(object).filled("")
    column = values if isinstance(values, Categories) else np.asarray(values)
    # Lists and the like are refused where they are learnt from.
    return column if column.ndim < 2 else np.fromiter(column, object, len(column))
