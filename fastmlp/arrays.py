"""A data set from what Python has in memory: arrays, lists, data frames, SciPy's sparse matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .config import TrainConfig
from .data import Dataset, Sparse
from .data.dataset import Samples, assemble, require_finite
from .data.labels import distinct
from .data.npz import as_labels, as_samples, as_vector, image_shape
from .errors import InputError
from .formats import Query
from .frames import column_names, named_columns

Say = Callable[[str], None]
_NUMBERS = "it must hold numbers (fastmlp.TableClassifier and TableRegressor take categories, dates and gaps)"


def dataset_of(X: Any, y: Any, X_test: Any, y_test: Any, sample_weight: Any, config: TrainConfig, say: Say) -> Dataset:
    """The Dataset of samples X and their y, as ``fastmlp.fit`` takes them; what is guessed of y is told to ``say``."""
    if y is None:
        raise InputError("y is missing; fit takes samples X and their y, or a Dataset")
    if (X_test is None) != (y_test is None):
        raise InputError("X_test and y_test go together; give both or neither")
    weight = None if sample_weight is None else np.asarray(sample_weight)
    samples, held_out = _samples("X", X, "y", y, weight, say), None
    if X_test is not None:
        held_out = _samples("X_test", X_test, "y_test", y_test, None, say, samples.columns)
    data = assemble("arrays", samples, held_out, config.val_fraction, config.seed, Query(task=config.task, say=say))
    kind = np.asarray(y).dtype.kind
    return replace(data, label_kind={"b": "bool", "i": "int", "u": "int", "f": "float"}.get(kind, "str"))


def _samples(
    X_name: str, X: Any, y_name: str, y: Any, weight: np.ndarray | None, say: Say, known: tuple[str, ...] | None = None
) -> Samples:
    """X and y; of a data frame the columns that are ``known``, where any are."""
    labels, shape = as_vector(_labels(y_name, y), y_name, say), None
    columns = column_names(X)
    if columns is not None and known is not None:
        columns = known
    if hasattr(X, "tocsr"):
        features: Any = _sparse(X_name, X)
    else:
        array = named_columns(X, columns, X_name, _NUMBERS) if columns else _array(X_name, X)
        if array.dtype == object:
            raise InputError(
                f"{X_name} has dtype object; it must hold numbers: rows of one length, and no text or None"
            )
        shape = image_shape(array.shape)
        features = as_samples(array, X_name)
        if len(features) == 0:
            raise InputError(f"{X_name} is empty; it must hold at least one sample")
    if labels.ndim != 1 or len(labels) != len(features):
        several = " (fastmlp.MLPRegressor learns several numbers)" if labels.ndim > 1 else ""
        raise InputError(
            f"{X_name} has shape {np.shape(X)} and {y_name} {np.shape(y)}; they must be (N, inputs) and (N,), N the same"
            f"{several}"
        )
    texts = labels.tolist() if labels.dtype.kind == "O" else None
    found = as_labels(labels, y_name) if texts is None else distinct(texts)
    return Samples(features, found, X_name, shape, columns, weight)


def _array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of several lengths
        raise InputError(f"{name} cannot be made an array ({error})") from None


def _labels(name: str, y: Any) -> np.ndarray:
    """y as an array of numbers or text. InputError for one that is missing."""
    array = _array(name, y)
    if array.dtype != object:
        return array
    flat = array.ravel().tolist()
    gap = next((k for k, value in enumerate(flat) if value is None or value != value), None)
    if gap is not None:
        raise InputError(f"{name}, row {gap}: is missing; every sample must have one")
    kinds = {type(value) for value in flat}
    if kinds <= {str}:
        return np.array(flat, object).reshape(array.shape)
    try:
        return np.array([float(value) for value in flat]).reshape(array.shape)
    except (TypeError, ValueError):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(
            f"{name} holds values of several types ({names}); they must be all text or all numbers"
        ) from None


def _sparse(name: str, X: Any) -> Sparse:
    """A SciPy matrix as ours: each entry once, indices rising in a row."""
    csr = X.tocsr()
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    if csr.data.dtype.kind not in "biuf":
        raise InputError(f"{name} has dtype {csr.data.dtype}; it must hold numbers")
    kept = csr.data.dtype in (np.uint8, np.float32, np.float64)
    data = csr.data if kept else csr.data.astype(np.float32)
    made = Sparse(csr.indptr.astype(np.int64), csr.indices.astype(np.int32), data, csr.shape)
    require_finite(made, name)
    return made
