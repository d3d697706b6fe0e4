"""Checks of the arguments of ``fit``: samples, labels, weights and held-out samples, converted for the training.

Only scikit-learn's ``validate_data`` changes attributes of an estimator here; see ``BaseMLP._fit``.

Legend: ``N`` samples, ``I`` inputs, ``O`` outputs, ``K`` classes; ``targets`` class numbers [N] for a softmax output,
zeros and ones [N, O] for a logistic one, numbers [N, O] else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_regressor
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from sklearn.utils import check_array, check_X_y, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_consistent_length,
    validate_data,
)

from ..backend import kernels
from ..data.dataset import balanced
from ..data.labels import as_given, typed
from ..frames import column_names, has_columns, is_masked, odd_pair
from ..log import warn_caller

if TYPE_CHECKING:
    from .base import BaseMLP

_INPUT_DTYPES = (np.float64, np.float32, np.uint8)  # others become the first
_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
_GAPS = ("", "nan", "<NA>", "NaT")
_SAMPLE_ROWS = 1000  # from which the share of zeros is taken
_FEW_NUMBERS = 10_000
"""If X has no more, ``_is_plain`` may replace scikit-learn's checks, 20 times as slow as the network for one row."""


@dataclass(frozen=True)
class Validation:
    """Held-out samples, as the kernels take them and, for a scorer, as they were ``given``."""

    X: Any
    targets: np.ndarray
    weights: np.ndarray | None
    given: tuple[Any, Any]
    scorer: Callable[..., float] | None = None  # None: the estimator's own score

    def scored(self, estimator: Any) -> float:
        """The scorer's score of the estimator as it is now."""
        assert self.scorer is not None
        options = {} if self.weights is None else {"sample_weight": self.weights}
        return float(self.scorer(estimator, *self.given, **options))


@dataclass(frozen=True)
class TrainingData:
    """All that the training loops read; ``rows`` are the samples to train on, the others are held out."""

    X: Any
    targets: np.ndarray
    weights: np.ndarray | None
    rows: np.ndarray
    validation: Validation | None


# -- samples ---------------------------------------------------------------------------------------------------------


def in_dtype(X: Any, dtype: Any) -> Any:
    """X, dense or sparse, in the network's dtype, unless it is uint8. Numbers beyond its range become infinite."""
    if X.dtype == np.uint8:
        return X
    with np.errstate(over="ignore"):  # refused by ``require_finite``
        return X.astype(dtype, copy=False)


def for_kernels(X: Any, dtype: Any) -> Any:
    """X as kernels read it: ``in_dtype``, as CSR if it is sparse or has many zeros."""
    X = in_dtype(X, dtype)
    if issparse(X):
        return kernels.csr(X)
    sample = X[:: max(1, len(X) // _SAMPLE_ROWS)]
    return kernels.csr(X) if np.count_nonzero(sample) <= kernels.tuning.SPARSE_DENSITY * sample.size else X


def require_finite(read: Any, X: Any, estimator: Any, name: str = "X") -> None:
    """ValueError, in scikit-learn's words, for a number of X that is not finite, or infinite in the dtype of ``read``.

    It is enough to look at the stored numbers of ``read``, since zeros are finite.
    """
    options = {"estimator_name": type(estimator).__name__, "input_name": name}
    with np.errstate(invalid="ignore"):  # of the sum of both infinities, which scikit-learn looks at first
        try:
            assert_all_finite(read.stored if isinstance(read, kernels.CSR) else _values(read), **options)
        except ValueError:
            assert_all_finite(_values(X), **options)  # tells NaN from infinity
            raise


def _values(X: Any) -> Any:
    return X.data if issparse(X) else X


def _is_plain(estimator: Any, X: Any) -> bool:
    """Whether X is a few rows of floats, as wide as in the fit, which knew no names. Then ``validate_data`` could only
    complain of numbers that are not finite.
    """
    fitted = estimator.__dict__
    return (
        type(X) is np.ndarray and X.ndim == 2 and X.dtype in _FLOATS and 0 < X.size <= _FEW_NUMBERS
        and X.shape[1] == fitted.get("n_features_in_") and "feature_names_in_" not in fitted
    )  # fmt: skip


def samples(estimator: Any, X: Any, dtype: Any) -> Any:
    """X, given to a method of a fitted estimator, in the network's dtype."""
    if _is_plain(estimator, X):
        read = X if X.dtype == dtype else in_dtype(X, dtype)
        if np.isfinite(read).all():
            return read
    refuse_masked(X)
    given = validate_data(estimator, X, accept_sparse="csr", dtype=_INPUT_DTYPES, reset=False)
    X = in_dtype(given, dtype)
    if X.dtype != given.dtype:
        require_finite(X, given, estimator)
    return X


def warn_of_pair(X: Any, y: Any, name: str = "y") -> None:
    """Warn the caller of ``fit`` where X has the column that y, called ``name``, is, and of what ``odd_pair`` says."""
    line = odd_pair(X, y, ("X", name))
    if has_columns(X) and isinstance(column := getattr(y, "name", None), str) and column in (column_names(X) or ()):
        line = f"X has {name}'s column {column!r}; leave it out of X if new rows will not have it"
    if line:
        warn_caller(line)


def refuse_masked(*given: Any) -> None:
    """ValueError for masked values, which scikit-learn would read."""
    if any(map(is_masked, given)):
        raise ValueError("masked values cannot be read; fill them, leave their rows out, or use a Table estimator")


def training_samples(estimator: Any, X: Any, y: Any, dtype: Any, *, reset: bool, once: bool) -> tuple[Any, Any, Any]:
    """(X as an array, X as kernels read it, y as an array). ``once`` says that the samples are read in one epoch only.

    ``dtype`` is that of the network, or None for float64 if X is float64, else float32.
    """
    given = X
    refuse_masked(X, y)
    refuse_gaps("y", y)
    y = y if is_regressor(estimator) else plain_text(y)
    X, y = check_X_y(
        X, y, accept_sparse="csr", multi_output=True, dtype=_INPUT_DTYPES, ensure_all_finite=False, estimator=estimator,
        y_numeric=is_regressor(estimator),
    )  # fmt: skip
    read = for_kernels(X, dtype or (np.float64 if X.dtype == np.float64 else np.float32))
    if isinstance(read, kernels.CSR) and not once:
        read = read.dictionary_encode()
    require_finite(read, X, estimator)
    validate_data(estimator, given, reset=reset, skip_check_array=True)  # keeps or compares the width and the names
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return X, read, y


def refuse_gaps(name: str, y: Any, *, texts: bool = False) -> None:
    """ValueError for missing values of y [N] or [N, O]; with ``texts`` for texts that are empty or nan, too, which
    scikit-learn's classes take for classes."""
    values = as_given(None if issparse(y) else y)
    if values.ndim == 0:
        return
    if values.dtype.kind == "O":
        each, kept = values.ravel().tolist(), () if texts else str
        found = (value is None or (not isinstance(value, kept) and str(value).strip() in _GAPS) for value in each)
        gaps = np.fromiter(found, bool, values.size)
    elif values.dtype.kind in "fmM":
        gaps = np.isnan(values)
    else:
        gaps = np.isin(np.char.strip(values), _GAPS) if texts and values.dtype.kind == "U" else np.zeros(0, bool)
    if gaps.any():
        rows = np.flatnonzero(gaps.reshape(len(values), -1).any(1))
        where = f"{len(rows):,} gaps in {len(values):,} rows, the first in row {rows[0]} (counted from 0)"
        raise ValueError(f"Input {name} contains NaN: {where}; leave out these rows")


def plain_text(y: Any) -> Any:
    """y; a list or an array of objects that are text as an array of it, as which NumPy does not read every Enum's."""
    values = as_given(None if issparse(y) else y)
    if values.dtype != object or not all(isinstance(value, str) for value in values.flat):
        return y
    return np.array(typed(values.ravel().tolist(), "y").tolist()).reshape(values.shape)


# -- labels ----------------------------------------------------------------------------------------------------------


def known_classes(name: str, y: Any, classes: np.ndarray, *, all_of_them: bool = False) -> None:
    """ValueError for labels that are none of ``classes``, and with ``all_of_them`` for classes without labels."""
    found = unique_labels(y)
    if all_of_them and set(found) != set(classes):
        raise ValueError(
            "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
            f"Previously got {classes}, `y` has {found}"
        )
    if len(np.setdiff1d(found, classes, assume_unique=True)):
        raise ValueError(
            f"`{name}` has classes not in `self.classes_`. `self.classes_` has {classes}. '{name}' has {found}."
        )


# -- weights ---------------------------------------------------------------------------------------------------------


def class_weights(
    y: Any, targets: np.ndarray, class_weight: Any, classes: np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """The weights of the samples' classes [N]; ``targets`` are these as numbers, ``weights`` the samples' own."""
    if isinstance(class_weight, str) and weights is not None:  # which scikit-learn's function takes from 1.7 on
        return balanced(targets, weights, len(classes))[targets]
    return compute_class_weight(class_weight, classes=classes, y=y)[targets]


def sample_weights(X: Any, sample_weight: Any, of_class: np.ndarray | None = None) -> np.ndarray | None:
    """``sample_weight`` times the classes' weights, float64 [N]; None if neither is given."""
    refuse_masked(sample_weight)
    if of_class is not None:
        sample_weight = of_class if sample_weight is None else sample_weight * of_class
    if sample_weight is None:
        return None
    weights: np.ndarray = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():  # scikit-learn checks it, too, from 1.9 on
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


# -- held-out samples ------------------------------------------------------------------------------------------------


def are_given(X: Any, y: Any) -> bool:
    """Whether X_val and y_val are given. ValueError where one is without the other."""
    if (X is None) != (y is None):
        given, missing = ("X_val", "y_val") if y is None else ("y_val", "X_val")
        raise ValueError(f"{given} is provided, but {missing} was not provided.")
    return X is not None


def given_validation(estimator: BaseMLP, X: Any, y: Any, dtype: Any, scorer: Any) -> Validation | None:
    """The samples ``X_val`` and ``y_val``, if they are given."""
    if not are_given(X, y):
        return None
    given = X
    refuse_masked(X, y)
    X = validate_data(estimator, X, accept_sparse="csr", dtype=_INPUT_DTYPES, reset=False)
    read = for_kernels(X, dtype)
    require_finite(read, X, estimator, "X_val")
    refuse_gaps("y_val", y)
    y = y if is_regressor(estimator) else plain_text(y)
    y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y_val")
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    check_consistent_length(X, y)
    return Validation(read, estimator._encoded("y_val", y, dtype), None, (given, y), scorer)


def split(
    n: int, fraction: float, stratify: np.ndarray | None, weights: np.ndarray | None, groups: Any, random_state: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(rows to train on, rows held out) of n: those that scikit-learn draws, or whole groups.

    If all weights of one part are zero, the held-out rows are drawn anew from the rows with a weight.
    """
    rows = np.arange(n)
    if groups is not None:
        groups = column_or_1d(groups)
        check_consistent_length(rows, groups)

    def drawn(among: np.ndarray, held_out: float, stratify: Any) -> tuple[np.ndarray, np.ndarray]:
        if groups is None:
            return train_test_split(among, test_size=held_out, random_state=random_state, stratify=stratify)
        parts = GroupShuffleSplit(1, test_size=held_out, random_state=random_state).split(among, groups=groups[among])
        return tuple(among[part] for part in next(parts))

    kept, held_out = drawn(rows, fraction, stratify)
    if weights is not None and not (weights[kept].any() and weights[held_out].any()):
        weighted = np.flatnonzero(weights)
        units = len(weighted) if groups is None else len(np.unique(groups[weighted]))
        least = 2 if groups is None else 1
        if units <= least:
            of = "samples" if groups is None else "groups"
            raise ValueError(f"sample_weight is positive for {units} {of}, too few to hold some of them out")
        _, held_out = drawn(weighted, min(units - 1, max(least, int(np.ceil(fraction * units)))), None)
        kept = np.setdiff1d(rows, held_out)
    if len(held_out) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return kept, held_out
