"""A data set from what Python has in memory: arrays, lists, data frames, SciPy's sparse matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np

from .config import TrainConfig
from .data import Dataset, Frame
from .data.columns import checked, merges_ids
from .data.dataset import Samples, assemble, sparse_rows
from .data.frame import names_of
from .data.labels import as_given, listed, places, typed
from .data.npz import as_labels, as_samples, as_vector, image_shape
from .errors import InputError, about, restated, similar
from .formats import Query, kinds_of
from .frames import column_names, has_columns, is_masked, odd_pair, read_table
from .log import Say

_GAPS = ("nan", "<NA>", "NaT")  # as Python writes those that are no text


def dataset_of(X: Any, y: Any, X_test: Any, y_test: Any, sample_weight: Any, config: TrainConfig, say: Say) -> Dataset:
    """The Dataset of samples X and their y, as ``fastmlp.fit`` takes them; what is guessed of y is told to ``say``."""
    if isinstance(X, (str, Path)):
        raise InputError(f"data is {str(X)!r}; read what is there with fastmlp.load, and fit that")
    if y is None:
        raise InputError("y is missing; fit takes samples X and their y, or a Dataset")
    if (X_test is None) != (y_test is None):
        raise InputError("X_test and y_test go together; give both or neither")
    if isinstance(y, str):
        raise InputError(f"y is {y!r}; it must be the column itself, and X the others")
    for of, other, names in (
        (X, y, ("X", "y")), (X, sample_weight, ("X", "sample_weight")), (X_test, y_test, ("X_test", "y_test"))
    ):  # fmt: skip
        if line := odd_pair(of, other, names):
            say(line)
    if is_masked(sample_weight):
        raise InputError("sample_weight has masked values; fill them, or leave their rows out")
    weight = None if sample_weight is None else np.asarray(sample_weight)
    kinds = kinds_of(config.column or ())
    dropped = [*(config.drop or ()), *(name for name, kind in kinds.items() if kind == "drop")]
    X, X_test = (_without(dropped, part) for part in (X, X_test))
    y = labels_given("y", y, say)
    samples, held_out = _samples("X", X, "y", y, weight, config.task, say, said=len(kinds) > 0), None
    if X_test is not None:
        said = isinstance(samples.X, Frame)
        held_out = _samples(
            "X_test", X_test, "y_test", labels_given("y_test", y_test, say), None, config.task, say, samples,
            said=said,
        )  # fmt: skip
    data = assemble("arrays", samples, held_out, config.val_fraction, config.seed, Query(task=config.task, say=say))
    kind = {"b": "bool", "i": "int", "u": "int", "f": "float", "S": "bytes"}.get(y.dtype.kind, "str")
    written = dict(enumerate(data.classes))
    if kind in ("str", "bytes"):  # '1.0' is the class 1, but to be predicted as it was given
        written |= zip(places(samples.labels.values, data.classes), map(str, samples.labels.values))
    return replace(data, label_kind=kind, classes=tuple(written[k] for k in range(len(data.classes))))


def _without(dropped: list[str], X: Any) -> Any:
    """A data frame, or a dict of arrays, without some columns. InputError for anything else and for unknown columns."""
    if not dropped or X is None:
        return X
    if column_names(X) is None:
        raise InputError("drop names columns of a data frame or a dict of arrays; X has none")
    table = read_table(X).columns
    for name in dropped:
        if name not in table:
            raise InputError(f"drop names {name!r}; {similar(name, map(str, table))}X has {listed([*map(str, table)])}")
    return {name: values for name, values in table.items() if name not in dropped}


def _samples(
    X_name: str, X: Any, y_name: str, labels: np.ndarray, weight: np.ndarray | None, task: str, say: Say,
    trained: Samples | None = None, *, said: bool,
) -> Samples:  # fmt: skip
    """X and its labels as Samples, with the columns of those to be ``trained`` on: by name if both have names.

    A table with text, dates or gaps becomes a Frame, as does any table where the user has ``said`` what columns are.
    """
    shape = columns = None
    if hasattr(X, "tocsr"):
        features: Any = sparse_rows(X, X_name)
    elif hasattr(X, "indptr"):  # the kernels' CSR, or a Dataset's rows
        raise InputError(f"{X_name} is a {type(X).__name__}; fit takes arrays, data frames and SciPy's sparse matrices")
    elif has_columns(X) or is_masked(X) or (array := _array(X_name, X)).dtype.kind not in "biufcV":
        table = read_table(X, X_name)
        known = None if trained is None else trained.columns
        if all(isinstance(name, str) for name in table.columns) and (trained is None or known is not None):
            columns = tuple(map(str, table.columns)) if known is None else known
            if missing := [name for name in columns if name not in table.columns]:
                raise InputError(f"{X_name}: column {missing[0]!r} is missing")
            features = table.only(columns)
        else:  # by their place
            if trained is None and not all(isinstance(name, (int, np.integer)) for name in table.columns):
                say(f"{X_name}: columns go by place, as their names are not all text; X.columns.map(str) makes names")
            fitting = known if len(known or ()) == len(table.columns) else None
            features = Frame(dict(zip(names_of(fitting, len(table.columns), None), table.columns.values())))
        numbers = {str(name): _numbers(values) for name, values in features.columns.items()}
        if not said and all(map(_finite, numbers.values())) and not any(starmap(merges_ids, numbers.items())):
            features = as_samples(np.column_stack([*numbers.values()]), X_name)
            shape = image_shape(features.shape)
    else:
        shape = image_shape(array.shape)
        try:
            features = as_samples(array, X_name)
        except InputError as error:
            if array.ndim == 2 and array.dtype.kind == "f" and np.isnan(array).any():
                raise InputError(f"{error}; as a data frame or a dict of arrays it may have gaps (NaN)") from None
            raise
        if len(features) == 0:
            raise InputError(f"{X_name} is empty; it must hold at least one sample")
    if trained is not None and isinstance(trained.X, Frame) and features.shape[1] != trained.X.shape[1]:
        raise InputError(f"{X_name} has {features.shape[1]} columns; {trained.source} has {trained.X.shape[1]}")
    if labels.ndim != 1 or len(labels) != len(features):
        several = " (fastmlp.MLPRegressor learns several numbers)" if labels.ndim > 1 else ""
        raise InputError(
            f"{X_name} has shape {np.shape(X)} and {y_name} {labels.shape}; they must be (N, inputs) and (N,), "
            f"N the same{several}"
        )
    found = as_labels(labels, y_name)
    with about(y_name):
        found, notes = checked(found, task)
    for note in notes:
        say(f"{y_name}: {note}")
    return Samples(features, found, X_name, shape, columns, weight, y_name=y_name)


def _numbers(values: np.ndarray) -> np.ndarray:
    """Objects that are all numbers in a dtype of numbers; others, and a data frame's categories, unchanged."""
    if values.dtype != object or values.dtype.metadata or any(isinstance(value, str) for value in values):
        return values
    try:
        return typed(values.tolist(), "")
    except ValueError:
        return values


def _finite(values: np.ndarray) -> bool:
    return values.dtype.kind in "iub" or (values.dtype.kind == "f" and bool(np.isfinite(values).all()))


def _array(name: str, value: Any, made: Callable[[Any], np.ndarray] = np.asarray) -> np.ndarray:
    try:
        return made(value)
    except ValueError as error:  # rows of several lengths
        raise InputError(f"{name} cannot be made an array ({error})") from None


def labels_given(name: str, y: Any, say: Say) -> np.ndarray:
    """y as an array of numbers or text, [N] if it is a column. InputError for one that is missing."""
    if is_masked(y):
        raise InputError(
            f"{name}, row {np.argwhere(y.mask)[0][0]} (counted from 0): is masked; every sample must have one"
        )
    array = _array(name, y, as_given)
    if array.dtype == object:
        flat = array.ravel().tolist()
        gaps = (value is None or (not isinstance(value, str) and str(value) in _GAPS) for value in flat)
        if (gap := next((row for row, is_gap in enumerate(gaps) if is_gap), None)) is not None:
            raise InputError(f"{name}, row {gap} (counted from 0): is missing; every sample must have one")
        with restated(ValueError, InputError):
            array = typed(flat, name).reshape(array.shape)
    return as_vector(array, name, say)
