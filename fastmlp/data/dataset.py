"""``Dataset`` and ``Samples``: what readers return, and how one is made of the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..formats import Features, LabelColumn, Query
from ..log import Say
from .columns import copies, one_hot
from .decimals import as_single
from .frame import Frame, as_frame, names_of
from .labels import Labels, as_numbers, class_indices, counts_of, listed, plain, task_of
from .ondisk import OnDisk, divide
from .sparse import Sparse
from .values import number

_LOOKED_AT = 20  # rows to test on
_ROWS_A_CLASS = 20  # on the mean, beside which a class of one row may be a mistake
_COMPARED = 1000  # rows, for the share of those that have the same value
_BY_CHANCE = 0.1  # rows like one to test on that are expected where columns do not depend on each other
_MOST_COPIES = 0.3  # of a part that is split off: copies of rows, as oversampling makes them, are learnt by heart


def require_finite(X: np.ndarray | Sparse | OnDisk | Frame, what: str, first: int = 0) -> None:
    """InputError that names the first row of X [N, I] with a NaN or infinity; X begins with row ``first``, from 0 on.

    Samples on disk were checked when they were opened; a Frame may have gaps.
    """
    if isinstance(X, (OnDisk, Frame)):
        return
    values = X.data if isinstance(X, Sparse) else X
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    if isinstance(X, Sparse):
        row = int(np.searchsorted(X.indptr, np.flatnonzero(~np.isfinite(X.data))[0], side="right")) - 1
    else:
        row = int(np.flatnonzero(~np.isfinite(X).all(1))[0])
    row += first
    raise InputError(f"{what}, row {row} (counted from 0): holds a NaN or an infinity; all values must be finite")


def sparse_rows(X: Any, name: str) -> Sparse:
    """A SciPy matrix as ours: each entry once, indices rising in a row. InputError if it holds no finite numbers."""
    csr = X.tocsr()
    try:
        csr.check_format(full_check=True)
    except ValueError as error:
        raise InputError(f"{name} is no valid sparse matrix ({error})") from None
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    if csr.data.dtype.kind not in "biuf":
        raise InputError(f"{name} has dtype {csr.data.dtype}; it must hold numbers")
    data = csr.data if csr.data.dtype in (np.uint8, np.float32, np.float64) else as_single(csr.data)
    made = Sparse(csr.indptr.astype(np.int64, copy=False), csr.indices.astype(np.int32, copy=False), data, csr.shape)
    require_finite(made, name)
    return made


def of_mean_one(weights: np.ndarray | None) -> np.ndarray | None:
    """The weights divided by their mean: a unit such as shares of rows or numbers of people must not scale steps."""
    if weights is None:
        return None
    weights = np.ldexp(weights, -np.frexp(weights.max())[1])  # exact: the mean is finite and not 0
    return weights / weights.mean()


def balanced(classes: np.ndarray, weights: np.ndarray | None, count: int) -> np.ndarray:
    """What each of ``count`` classes weighs, for classes [N] of samples with these weights: all together the same."""
    totals = np.bincount(classes, weights, minlength=count)
    return totals.sum() / (count * np.where(totals > 0, totals, 1))


def as_weights(weights: np.ndarray, samples: int, source: str) -> np.ndarray:
    """Sample weights as float64 [samples]. InputError unless they are finite, not negative and not all zero."""
    weights = np.asarray(weights)
    if weights.shape != (samples,) or weights.dtype.kind not in "biuf" or weights.dtype.itemsize > 8:
        raise InputError(
            f"{source}: the sample weights are {weights.dtype} of shape {weights.shape}; "
            f"they must be numbers of shape ({samples},)"
        )
    weights = weights.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        raise InputError(
            f"{source}: the weight of row {wrong[0]} (counted from 0) is {weights[wrong[0]]:g}; "
            "it must be finite and at least 0"
        )
    if samples and not weights.any():
        raise InputError(f"{source}: all sample weights are 0; at least one must be positive")
    return weights


@dataclass(frozen=True, eq=False)
class Origin:
    """Where samples stand: they are the ``rows`` [N], counted from 0, of the file or directory ``path``; ``files`` are
    the names of the files of all its rows, where each has its own.
    """

    path: str
    rows: np.ndarray
    files: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Dataset:
    """Samples in rows: X [N, I] uint8, float32, float64 or Sparse, y [N] class indices 0 .. len(classes)-1, and a test
    set alike. X may be ``OnDisk`` (y then in few bytes), which X_test never is. Both may be a ``Frame``: columns of
    text, numbers and dates with gaps. Where there are no ``classes``, y are the numbers to predict, float64.

    ``source`` says what was read, in words, for the one line that the command prints about it. ``image_shape`` is
    (rows, columns) where the samples are images, ``columns`` the features' names where the file has them,
    ``sample_weight`` float64 [N] what each training row counts, ``index_base`` what the indices of svmlight files count
    from (0 or 1), ``label`` where a table had its labels, ``tested`` where the test samples stand, if they are from
    files, ``label_kind`` the type of labels that were Python's: bool, int, float, bytes or str.
    """

    name: str
    X: np.ndarray | Sparse | OnDisk | Frame
    y: np.ndarray
    X_test: np.ndarray | Sparse | Frame
    y_test: np.ndarray
    classes: tuple[str, ...]
    source: str
    image_shape: tuple[int, int] | None = None
    columns: tuple[str, ...] | None = None
    sample_weight: np.ndarray | None = None
    index_base: int | None = None
    label: LabelColumn | None = None
    tested: Origin | None = None
    label_kind: str | None = None

    def __post_init__(self) -> None:
        for part, X, y in (("training", self.X, self.y), ("test", self.X_test, self.y_test)):
            if len(X) == 0:
                raise InputError(f"{self.source}: the {part} set is empty; it must hold at least one sample")
            if len(X) != len(y):
                raise InputError(f"{self.source}: {len(X)} {part} samples but {len(y)} labels; there must be as many")
            if self.task == "regression":
                self._check_numbers(part, y)
                continue
            low, high = int(y.min()), int(y.max())
            if low < 0 or high >= len(self.classes):
                raise InputError(
                    f"{self.source}: {part} label {low if low < 0 else high} is out of range; "
                    f"it must be from 0 to {len(self.classes) - 1}"
                )
        require_finite(self.X, f"{self.source}: training set")
        require_finite(self.X_test, f"{self.source}: test set")
        features = self.X.shape[1]
        if features == 0:
            raise InputError(f"{self.source}: the samples have no features; they must have at least one")
        if features != self.X_test.shape[1]:
            raise InputError(
                f"{self.source}: the test set has {self.X_test.shape[1]} features, the training set {features}; "
                "they must be equal"
            )
        if self.image_shape is not None and self.image_shape[0] * self.image_shape[1] != features:
            raise InputError(f"{self.source}: image_shape is {self.image_shape}; it must have {features} pixels")
        if self.columns is not None and len(self.columns) != features:
            raise InputError(f"{self.source}: {len(self.columns)} columns are named; there must be {features}")
        if self.sample_weight is not None:
            weights = as_weights(self.sample_weight, len(self.X), f"{self.source}: training set")
            object.__setattr__(self, "sample_weight", weights)

    @property
    def task(self) -> str:
        """classification or, without classes, regression."""
        return "classification" if self.classes else "regression"

    def _check_numbers(self, part: str, y: np.ndarray) -> None:
        """InputError unless y are finite numbers [N]; the dataset keeps them as float64."""
        if y.ndim != 1 or y.dtype.kind not in "iuf":
            raise InputError(
                f"{self.source}: the {part} set's y is {y.dtype} of shape {y.shape}; "
                "without classes it must be numbers [N]"
            )
        name = "y" if part == "training" else "y_test"
        object.__setattr__(self, name, y.astype(np.float64, copy=False))
        require_finite(y[:, None], f"{self.source}: {part} set's y")

    def __repr__(self) -> str:
        what = f"{len(self.classes)} classes" if self.classes else "numbers to predict"
        kind = "columns" if isinstance(self.X, Frame) else f"{self.X.dtype} features"
        return f"Dataset({self.name!r}, {len(self.X)} + {len(self.X_test)} samples of {self.X.shape[1]} {kind}, {what})"

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, or texts with their numbers."""
        return names_of(self.columns, self.X.shape[1], self.label)


@dataclass(frozen=True, eq=False)
class Samples:
    """What one file holds: X [N, I], the labels of its rows as they stand there, and whatever else it tells.

    ``lowest`` is the smallest index of svmlight files, 0 or 1: their X has its columns where the indices say, from 0
    on. ``label`` is where a table has its labels, ``notes`` what the user is told of how it was read, ``files`` the
    name of each row's own file, if it has one, and ``y_name`` what labels are called that are not in the source.
    """

    X: np.ndarray | Sparse | OnDisk | Frame
    labels: Labels
    source: str
    image_shape: tuple[int, int] | None = None
    columns: tuple[str, ...] | None = None
    weight: np.ndarray | None = None
    lowest: int | None = None
    label: LabelColumn | None = None
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] | None = None
    y_name: str | None = None

    @property
    def labels_source(self) -> str:
        """What a message about the labels begins with."""
        return self.y_name or self.source

    def counted_from(self, base: int, width: int) -> Samples:
        """With columns that count from ``base`` on, ``width`` of them. InputError where an index is none of them."""
        if self.lowest is not None and self.lowest < base:
            raise InputError(f"{self.source}: has the index 0; what the model was trained on counts from 1")
        if self.X.shape[1] - base > width:
            raise InputError(f"{self.source}: has an index beyond {width - 1 + base}, the largest that the model knows")
        if isinstance(self.X, OnDisk):
            return replace(self, X=replace(self.X, first=base, features=width))
        X: Any = self.X
        return replace(self, X=replace(X, indices=X.indices - np.int32(base), shape=(len(X), width)))


def _counted_alike(
    samples: Samples, held_out: Samples | None, known: Features
) -> tuple[Samples, Samples | None, int | None]:
    """(both with the same columns, what their indices count from) of what svmlight files hold; all else as it is.

    A model's index base and width are kept. Else indices count from 0 if there is a 0 in any file, else from 1, and the
    largest of all files is the last.
    """
    parts = [part for part in (samples, held_out) if part is not None]
    found = [part.lowest for part in parts if part.lowest is not None]
    if len(found) < len(parts):
        return samples, held_out, None
    base, width = min(found), max(part.X.shape[1] for part in parts) - min(found)
    if known.index_base is not None:
        base, width = known.index_base, known.width
    samples, *rest = (part.counted_from(base, width) for part in parts)
    return samples, rest[0] if rest else None, base


def _that_count(samples: Samples) -> tuple[Samples, np.ndarray]:
    """(the samples without those of weight 0, which are as if not there; the rows of the file that they are)."""
    rows = np.arange(len(samples.X))
    if samples.weight is None:
        return samples, rows
    weight = as_weights(samples.weight, len(rows), samples.source)
    kept, left_out = rows[weight > 0], rows[weight == 0]
    if not left_out.size:
        return replace(samples, weight=weight), rows
    X, labels = samples.X, samples.labels
    used, codes = np.unique(labels.codes[kept], return_inverse=True)
    values: Any = [labels.values[k] for k in used.tolist()]
    return replace(
        samples, X=X.without(left_out) if isinstance(X, OnDisk) else X[kept], weight=weight[kept],
        labels=Labels(values, codes.astype(labels.codes.dtype)),
    ), kept  # fmt: skip


def assemble(
    name: str, samples: Samples, held_out: Samples | None, val_fraction: float | None, seed: int, query: Query
) -> Dataset:
    """The Dataset of ``samples``, tested on those held out, or else on a seeded random ``val_fraction`` of the rows,
    or, where that is None, on all of them.

    ``query.known`` is what a model that is to be tested knows of its inputs, ``query.task`` what the labels are for.
    """
    samples, held_out, base = _counted_alike(samples, held_out, query.known)
    samples, stand = _that_count(samples)
    small, testing = isinstance(samples.X, OnDisk), query.known.width is not None

    def say(line: str) -> None:
        query.say(f"{samples.source}: {line}")

    classes: tuple[str, ...] = ()
    if task_of(samples.labels, samples.labels_source, query.task, query.say) == "regression":
        y = as_numbers(samples.labels, samples.labels_source)
    else:
        y, classes = class_indices(samples.labels, samples.labels_source, small=small, testing=testing, say=query.say)
        if not testing:
            _say_alike(classes, query.say)
            single = [classes[k] for k in np.flatnonzero(counts_of(y, len(classes)) == 1).tolist()]
            if single and len(y) >= _ROWS_A_CLASS * len(classes):  # of a typing error, a total or a second header
                say(f"one row only has the label {listed(single)}; mend it if it is a mistake")
    if not testing and samples.image_shape is None and isinstance(samples.X, (np.ndarray, Frame)):
        table = as_frame(samples.X, samples.columns, samples.label)
        if same := [str(key) for key, column in table.columns.items() if copies(column, samples.labels)]:
            say(f"from {listed(same)} follows what the label is in every row; leave out what new rows will not have")
        if samples.label is not None and (several := one_hot(table, samples.label.place, samples.labels)):
            what = f"in each row one of {listed(several)} and the label is 1"
            say(f"{what}: if they are classes, make one column of them, as a run learns one")
    weight, shape = samples.weight, samples.image_shape
    X: Any
    if held_out is not None:
        held_out, test = _that_count(held_out)
        if shape is not None and held_out.image_shape not in (None, shape):
            raise InputError(
                f"{held_out.source}: its images are {held_out.image_shape}; the training set's are {shape}"
            )
        if classes:
            y_test, _ = class_indices(held_out.labels, held_out.labels_source, classes, say=query.say)
        else:
            y_test = as_numbers(held_out.labels, held_out.labels_source)
        X, X_test = _alike(samples, held_out)
        if shape is None and _copied(X_test, y_test, X, y) == 1:
            query.say(f"{held_out.source}: its rows are in {samples.source}, too; what was learnt by heart is tested")
        tested = Origin(held_out.source, test, held_out.files)
    elif val_fraction is not None:
        train, test = split_rows(len(y), val_fraction, seed, samples.source)
        X, X_test = divide(samples.X, train, test)
        y, y_test, weight = y[train], y[test], None if weight is None else weight[train]
        lost = [classes[k] for k in np.setdiff1d(y_test, y).tolist()] if classes and not testing else []
        if lost:
            held = f"all rows of {listed(lost)} are held out to test on, and none is trained on"
            say(f"{held}; another --seed leaves some")
        if not testing and shape is None and (copied := _copied(X_test, y_test, X, y)) >= _MOST_COPIES:
            say(
                f"of the rows held out to test on about {copied:.0%} are copies of rows to train on, "
                "so the test is too easy; leave out copies, or test on rows of their own"
            )
        tested = Origin(samples.source, stand[test], samples.files)
    else:
        X = X_test = samples.X.read() if isinstance(samples.X, OnDisk) else samples.X
        y_test, tested = y, Origin(samples.source, stand, samples.files)
    return Dataset(
        name, X, y, X_test, y_test, classes, samples.source, shape, samples.columns, weight, base, samples.label, tested
    )


def _say_alike(classes: tuple[str, ...], say: Say) -> None:
    """Says which two classes, if any, differ in their spelling alone."""
    alike: dict[str | float, str] = {}
    for name in classes:
        value = number(name)  # 1 and 1.0 are two beside text
        if (other := alike.setdefault(plain(name) if value is None else value, name)) != name:
            say(f"{other[:40]!r} and {name[:40]!r} are two classes; write them alike if they are one")
            return


def _copied(X_test: Any, y_test: np.ndarray, X: Any, y: np.ndarray) -> float:
    """The share of evenly spaced rows of a table to test on that are, labels and all, rows to train on.

    Rows of few different values, which are alike by chance, do not count.
    """
    if len(y_test) < _LOOKED_AT or not all(isinstance(each, (np.ndarray, Frame)) for each in (X, X_test)):
        return 0.0
    trained, tested = (as_frame(each, None, None).columns.values() for each in (X, X_test))
    rows, found = np.linspace(0, len(y_test) - 1, _LOOKED_AT).astype(np.int64), 0
    # Those of the most different values first, which leave few rows.
    pairs = sorted(zip(trained, tested), key=lambda pair: -len({*map(str, pair[1][rows].tolist())}))
    for k, row in enumerate([*rows[::2], *rows[1::2]]):
        if 2 * k == _LOOKED_AT and not found:  # as in most tables
            break
        same = np.flatnonzero(y == y_test[row])
        for column, values in pairs:
            same = same[_are(column[same], values[row])]
        if same.size:
            others = np.setdiff1d(np.arange(0, len(y), max(1, len(y) // _COMPARED)), same)
            alike = (np.count_nonzero(_are(column[others], values[row])) for column, values in [(y, y_test), *pairs])
            found += bool(len(y) * math.prod(count / max(1, len(others)) for count in alike) < _BY_CHANCE)
    return found / _LOOKED_AT


def _are(column: np.ndarray, value: Any) -> np.ndarray:
    """Which values of a column are this one, bool [n]; gaps are one value."""
    try:
        gaps = column.dtype.kind in "fmM" and np.isnan(value)
        return np.isnan(column) if gaps else np.asarray(column == value, bool)
    except TypeError:  # of a text beside numbers; and beside pandas.NA nothing is true or false
        return np.array([str(each) == str(value) for each in column], bool)


def _alike(samples: Samples, held_out: Samples) -> tuple[Any, Any]:
    """The X of both in one type: a column may be whole numbers in one file only, or have gaps in one only."""
    parts: list[Any] = [samples.X, held_out.X]
    if any(isinstance(X, Frame) for X in parts):
        X, X_test = (as_frame(X, samples.columns, samples.label) for X in parts)
        return X, X_test
    dtype = np.result_type(*(X.dtype for X in parts))
    X, X_test = (X if X.dtype == dtype else X.astype(dtype) for X in parts)
    return X, X_test


def split_rows(samples: int, fraction: float, seed: int, source: str) -> tuple[np.ndarray, np.ndarray]:
    """(training rows, test rows): a seeded random ``fraction`` of the rows held out."""
    held_out = round(samples * fraction)
    if not 0 < held_out < samples:
        raise InputError(
            f"{source}: {samples} samples cannot be split with --val-fraction {fraction}; "
            "give --test (arrays: X_test, y_test)"
        )
    order = np.random.default_rng([seed, 0x5EED]).permutation(samples)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
