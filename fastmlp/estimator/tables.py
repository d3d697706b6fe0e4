"""``TableClassifier`` and ``TableRegressor``: tables as people have them, good by default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import cycle, islice
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
    _fit_context,
)  # fmt: skip
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_is_fitted

from ..backend import Network, kernels, threads
from ..data import Frame
from ..data.dataset import of_mean_one
from ..data.labels import as_given, typed
from ..errors import InputError, restated
from ..frames import is_masked, keys_of, read_table
from ..log import warn_caller
from ..models.target import Target, target_of
from ..reporting.importance import Importance, columns_importance, rows_looked_at
from ..tables.columns import Columns
from ..tables.ensemble import Rows, folds, input_scale, mean_probabilities, outputs_by_rows, outputs_of, train
from ..tables.kinds import LOOKED_AT
from ..tables.model import TableModel
from ..tables.recipe import FEW_ROWS, NETWORKS, recipe_for
from . import checks
from .base import documented, set_parameters, without_last_layer

_COUNT = Interval(Integral, 1, None, closed="left")
_PARAMETERS = """\
columns : dict or None, default=None
    What columns are, by name (of an array by number), where their values do not say it: 'number', 'category', 'date'
    or 'drop'. ``columns_`` shows what became of each.
n_networks : int, default=8
    Networks that are trained, each without a part of the rows that chooses its best epoch by the loss; what they
    predict is averaged. Every thread trains one at a time.
width : int, default=128
    Units of each hidden layer.
depth : int, default=2
    Hidden layers.
activation : str, default='gelu'
    Of the hidden layers: one of ``kernels.ACTIVATIONS``.
learning_rate : float or None, default=None
    Of the neural-tangent parametrisation; None for 0.04, of numbers 0.07, times the square root of batch_size / 64.
batch_size : int or None, default=None
    Rows in a step, at most; None for 64, and 128 from 10,000 rows on.
epochs : int or None, default=None
    At most; None for 128, and fewer of many rows. The rate goes up and down in four cycles, each twice as long as the
    one before; a network stops when no epoch has been better for as long as the best one took, and a first cycle more.
dropout : float or None, default=None
    Fraction of the hidden units dropped in each training step, in [0, 1); None for 0.1, of numbers none.
random_state : int, RandomState or None, default=None
    Determines the folds, first weights, batches and dropout.
n_threads : int or None, default=None
    Threads of ``fit`` and ``predict``; results do not depend on it. None: ``kernels.get_num_threads()``.
"""


class BaseTable(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Columns of a table, and networks trained on parts of its rows; the abstract methods define what they learn."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        "columns": [Mapping, None],
        **{name: [_COUNT] for name in ("n_networks", "width", "depth")},
        "activation": [StrOptions(set(kernels.ACTIVATIONS))],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        **{name: [_COUNT, None] for name in ("batch_size", "epochs", "n_threads")},
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "random_state": ["random_state"],
    }

    columns_: Columns
    n_features_in_: int
    networks_: list[Network]

    def __init__(
        self,
        *,
        columns: Mapping[Any, str] | None = None,
        n_networks: int = NETWORKS,
        width: int = 128,
        depth: int = 2,
        activation: str = "gelu",
        learning_rate: float | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        dropout: float | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        set_parameters(self, locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    # -- what is learnt ----------------------------------------------------------------------------------------------

    @abstractmethod
    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None) -> int:
        """Set the encoding of targets; returns the class count, 0 for numbers. ValueError if nothing can be learnt."""

    def _weights_of_classes(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """What each row counts for its class, where rows have ``weights`` of their own; None: all the same."""
        return None

    @abstractmethod
    def _encoded(self, name: str, y: np.ndarray) -> np.ndarray:
        """y as the kernels take it. ValueError, which calls y ``name``, for unknown classes and the like."""

    @abstractmethod
    def _averaged(self, Z: list[np.ndarray]) -> np.ndarray:
        """The mean prediction of the networks with outputs Z."""

    @abstractmethod
    def _mean_loss(self, averaged: np.ndarray, targets: np.ndarray) -> float:
        """The mean loss of ``_averaged`` predictions, for targets as the kernels take them."""

    # -- fit -----------------------------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Fit the model to the table X and the targets y. A call that is refused leaves the model as it was.

        Parameters
        ----------
        X : data frame, dict of arrays, structured array, or array of shape (n_samples, n_features)
            Numbers, text, booleans, dates and gaps. A data frame needs narwhals (``pip install 'fastmlp[tables]'``).
        y : array-like of shape (n_samples,)
            The class labels, or the numbers to predict, without gaps.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, none negative.
        X_val, y_val : as X and y, default=None
            Samples that choose each network's best epoch, instead of a part of X. Then each learns from all of X.

        Returns
        -------
        self : object
        """
        fitted = object.__new__(type(self))
        fitted.__dict__.update(self.__dict__)
        fitted.__dict__.pop("feature_names_in_", None)  # all else of an earlier fit is set anew
        shared = check_random_state(self.random_state)  # not a copy: threads that share it would draw the same numbers
        undrawn = shared.get_state(legacy=False)
        try:
            with restated(InputError, ValueError), threads(self.n_threads):
                fitted._fit(X, y, sample_weight, X_val, y_val, shared)
        except BaseException:
            shared.set_state(undrawn)
            raise
        self.__dict__ = fitted.__dict__
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, random_state: Any) -> None:
        table = read_table(X)
        y = _target("y", y, X)
        rows = len(y)
        _require_as_many("X", table, "y", y)
        if rows < 2:
            raise ValueError(
                f"Found array with {rows} sample(s) (n_samples = {rows}) while a minimum of 2 is required."
            )
        checks.warn_of_pair(X, sample_weight, "sample_weight")
        column = y[:, np.newaxis]
        weights = checks.sample_weights(column, sample_weight)
        weights = checks.sample_weights(column, weights, self._weights_of_classes(y, weights))
        if weights is not None and not weights.all():  # rows of weight 0 are left out
            kept = np.flatnonzero(weights)
            table, y, weights = table[kept], y[kept], weights[kept]
            rows = len(y)
        classes = self._learn_targets(y, weights)
        if rows < FEW_ROWS:
            warn_caller(f"{rows} rows are too few to learn a table from: do not rely on this model")
        self.columns_ = Columns.learn(table, self.columns)
        self.n_features_in_ = len(table.columns)
        if all(isinstance(name, str) for name in table.columns):
            self.feature_names_in_ = np.array([*table.columns], object)
        targets = self._encoded("y", y)
        data = Rows(self.columns_.encode(table), targets, of_mean_one(weights))
        seed, *seeds = map(int, random_state.randint(2**31, size=1 + self.n_networks))
        if checks.are_given(X_val, y_val):
            given, answers = self._samples(X_val, y_val, "_val")
            folded, parts = [], [(np.arange(rows), Rows(self.columns_.encode(given), answers, None))] * self.n_networks
        else:
            folded = folds(targets, self.n_networks, seed)
            parts = [(kept, data.take(held_out)) for kept, held_out in islice(cycle(folded), self.n_networks)]
        self._input_scale = input_scale(data.X, self.width)
        names = ("width", "depth", "activation", "learning_rate", "batch_size", "epochs", "dropout")
        recipe = recipe_for(rows, classes=classes, **{name: getattr(self, name) for name in names})
        members = train(recipe, self._input_scale, data, parts, seeds)
        self.networks_ = [member.network for member in members]
        if not all(member.best_epoch for member in members):
            raise ValueError(f"training diverged with learning_rate={self.learning_rate}; it must be lower")
        self.best_epochs_ = [member.best_epoch for member in members]
        self.validation_losses_ = [member.losses for member in members]
        self.out_of_fold_ = None
        if 0 < len(folded) <= self.n_networks:
            first = self._averaged([members[0].held_out])
            self.out_of_fold_ = np.full((rows, *first.shape[1:]), np.nan)
            for (_, held_out), member in zip(folded, members):
                self.out_of_fold_[held_out] = self._averaged([member.held_out])

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "networks_" in state:
            state = {**state, "networks_": [(each.sizes, each.activation, each.params) for each in self.networks_]}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "networks_" in state:
            self.networks_ = []
            output = "softmax" if "classes_" in state else "identity"
            for sizes, activation, params in state["networks_"]:
                network = Network(sizes, activation=activation, output=output)
                network.params[...] = params
                self.networks_.append(network)

    # -- predictions ---------------------------------------------------------------------------------------------------

    def _named(self, X: Any, name: str) -> Frame:
        """The columns of the table X; those without names get the names in training, by their place."""
        if (found := self.columns_.by_name(X, name)) is not None:
            return found
        keys, names = keys_of(X), self.columns_.names
        if keys is not None and any(isinstance(key, str) for key in keys):
            warn_caller(f"the columns of {name} go by place, as the model was fitted without their names")
        table = read_table(X, name)
        if (count := len(table.columns)) != len(names):
            raise InputError(
                f"{name} has {count} features, but {type(self).__name__} is expecting {len(names)} features as input"
            )
        return Frame(dict(zip(names, table.columns.values())))

    def _samples(self, X: Any, y: Any, part: str = "") -> tuple[Frame, np.ndarray]:
        """The columns of X and the targets of y, which are called X and y of a ``part``."""
        table, targets = self._named(X, f"X{part}"), self._encoded(f"y{part}", _target(f"y{part}", y, X))
        _require_as_many(f"X{part}", table, f"y{part}", targets)
        return table, targets

    def _outputs(self, X: Any, networks: list[Network] | None = None) -> list[np.ndarray]:
        """The outputs of the networks, by default the fitted ones, for the table X."""
        check_is_fitted(self)
        networks = self.networks_ if networks is None else networks
        with restated(InputError, ValueError), threads(self.n_threads):
            table = self._named(X, "X")
            if line := self.columns_.unlike(table[:: max(1, len(table) // LOOKED_AT)]):
                warn_caller(line)
            parts = outputs_by_rows(self.columns_, networks, table, self._input_scale)
            return [np.concatenate(Z) for Z in zip(*parts)]

    def transform(self, X: Any) -> np.ndarray:
        """The activations of all last hidden layers for X, of shape (n_samples, n_networks * width)."""
        check_is_fitted(self)
        Z = self._outputs(X, [without_last_layer(network) for network in self.networks_])
        return kernels.ACTIVATIONS[self.networks_[0].activations[-1]].twin(np.concatenate(Z, axis=1))

    def importance(self, X: Any, y: Any) -> Importance:
        """How much the model relies on each column of X: the rise of its loss when the column's values are shuffled.

        Of rows that were not trained on it says what helps with new ones.

        ``columns`` are names, ``rise`` and ``deviation`` those of the loss over five shuffles, above ``loss``: the mean
        log-loss, or the squared error over the variance of the y of the fit. Of many rows 2,000 are looked at. See
        ``fastmlp.reporting.importance``; ``sklearn.inspection.permutation_importance`` takes this model and any score.
        """
        check_is_fitted(self)
        with restated(InputError, ValueError), threads(self.n_threads):
            table, targets = self._samples(X, y)
            chosen = rows_looked_at(len(targets), 1)
            table, rows = table[chosen], targets[chosen]

            def loss(inputs: Any) -> float:
                return self._mean_loss(self._averaged(outputs_of(self.networks_, inputs, self._input_scale)), rows)

            return columns_importance(self.columns_, table, loss, self.columns_.names)

    def _as_model(self) -> TableModel:
        """The ``TableModel`` that ``fastmlp.export`` takes."""
        check_is_fitted(self)
        classes = tuple(map(str, getattr(self, "classes_", ())))
        mean, std = (np.array([vars(self).get(name)]) for name in ("target_mean_", "target_scale_"))
        target = None if classes else Target("squared_error", mean, std)
        return TableModel(self.networks_, self._input_scale, classes, self.columns_, named=True, target=target)

    @property
    def _n_features_out(self) -> int:
        return sum(network.sizes[-2] for network in self.networks_)


@documented(_PARAMETERS)
class TableClassifier(ClassifierMixin, BaseTable):
    """Classes from a table with numbers, categories, dates and gaps: networks on parts of the rows, averaged.

    Parameters
    ----------
    {shared parameters}
    class_weight : dict, 'balanced' or None, default=None
        Weights of the classes, multiplied with ``sample_weight``. 'balanced' gives n_samples / (n_classes * count of
        the class), each sample counted by its weight.

    Attributes
    ----------
    columns_ : Columns
        What became of each column; ``print`` it.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    out_of_fold_ : ndarray of shape (n_samples, n_classes) or None
        Probabilities of the training rows (those with a weight), each by the network trained without it; None with
        ``X_val`` or fewer than 5 networks. They are a little too good, as that row had a part in the choice of the
        epoch, and much too good where a row has copies, or others of its kind (``cross_val_predict`` takes groups).
    networks_, best_epochs_, validation_losses_ : lists of length n_networks
        The networks; the epoch that each was kept after; its loss on the held-out rows after each epoch.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import TableClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = {"size": rng.normal(size=300), "colour": rng.choice(["red", "blue", ""], 300)}
    >>> y = np.where((X["size"] > 0) == (X["colour"] == "red"), "yes", "no")
    >>> bool(TableClassifier(random_state=0).fit(X, y).score(X, y) > 0.9)
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **BaseTable._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    class_weight: dict[Any, float] | str | None = None  # of a model that was pickled before there was one
    classes_: np.ndarray

    def __init__(
        self,
        *,
        columns: Mapping[Any, str] | None = None,
        n_networks: int = NETWORKS,
        width: int = 128,
        depth: int = 2,
        activation: str = "gelu",
        learning_rate: float | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        dropout: float | None = None,
        class_weight: dict[Any, float] | str | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
    ) -> None:
        set_parameters(self, locals())

    def predict(self, X: Any) -> np.ndarray:
        """The predicted classes, of shape (n_samples,)."""
        P = self.predict_proba(X)
        return self.classes_[P.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes in the order of ``classes_``, of shape (n_samples, n_classes)."""
        return self._averaged(self._outputs(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities, of shape (n_samples, n_classes)."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy for the table X and its labels y, which may come as in ``fit``."""
        checks.refuse_masked(sample_weight)
        return float(super().score(X, _target("y", y, X), sample_weight))

    def _averaged(self, Z: list[np.ndarray]) -> np.ndarray:
        return mean_probabilities(Z)

    def _mean_loss(self, averaged: np.ndarray, targets: np.ndarray) -> float:
        P = averaged[np.arange(len(targets)), targets]
        return float(-np.log(np.maximum(P, np.finfo(np.float64).tiny)).mean())

    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None) -> int:
        self.classes_ = np.unique(y)
        classes = len(self.classes_)
        if classes == 1:
            raise ValueError(f"y has one class only, {self.classes_.tolist()[0]!r}; it must have two or more")
        if classes == len(y) > 2 and y.dtype.kind != "f":
            raise ValueError(
                f"y has {classes} classes in {len(y)} rows, one row each; a class must have more, or, if y is a "
                "quantity, TableRegressor learns it"
            )
        check_classification_targets(y)
        return classes

    def _weights_of_classes(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        classes, targets = np.unique(y, return_inverse=True)
        return checks.class_weights(y, targets, self.class_weight, classes, weights)

    def _encoded(self, name: str, y: np.ndarray) -> np.ndarray:
        checks.known_classes(name, y, self.classes_)
        return np.searchsorted(self.classes_, y)


@documented(_PARAMETERS)
class TableRegressor(RegressorMixin, BaseTable):
    """Numbers from a table with numbers, categories, dates and gaps: networks on parts of the rows, averaged.

    The networks minimise the squared error of (y - mean) / deviation.

    Parameters
    ----------
    {shared parameters}

    Attributes
    ----------
    out_of_fold_ : ndarray of shape (n_samples,) or None
        Predictions for the training rows (those with a weight), each by the network that was trained without it; None
        with ``X_val`` or fewer than 5 networks. They are a little too good: see ``TableClassifier``.
    target_mean_, target_scale_ : float
        The mean and deviation of y.
    columns_, networks_, best_epochs_, validation_losses_, n_features_in_, feature_names_in_
        As in ``TableClassifier``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import TableRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = {"size": rng.normal(size=300), "colour": rng.choice(["red", "blue", ""], 300)}
    >>> y = 1000 + X["size"] * np.where(X["colour"] == "red", 10, 20)
    >>> bool(TableRegressor(random_state=0).fit(X, y).score(X, y) > 0.9)
    True
    """

    target_mean_: float
    target_scale_: float

    def predict(self, X: Any) -> np.ndarray:
        """The predicted numbers, float64 of shape (n_samples,)."""
        return self._averaged(self._outputs(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The R² for the table X and its numbers y, which may come as in ``fit``."""
        checks.refuse_masked(sample_weight)
        return float(super().score(X, _quantity("y", _target("y", y, X)), sample_weight))

    def _averaged(self, Z: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(Z, axis=1).mean(1, dtype=np.float64) * self.target_scale_ + self.target_mean_

    def _mean_loss(self, averaged: np.ndarray, targets: np.ndarray) -> float:
        standard = (averaged - self.target_mean_) / self.target_scale_
        return float(np.square(standard - targets[:, 0]).mean())

    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None) -> int:
        target = target_of(_quantity("y", y), "squared_error", weights, "y")
        self.target_mean_, self.target_scale_ = float(target.mean[0]), float(target.std[0])
        return 0

    def _encoded(self, name: str, y: np.ndarray) -> np.ndarray:
        return ((_quantity(name, y) - self.target_mean_) / self.target_scale_).astype(np.float32)[:, np.newaxis]


def _require_as_many(X_name: str, X: Frame, y_name: str, y: np.ndarray) -> None:
    if len(X) != len(y) or not len(y):
        raise ValueError(f"{X_name} has {len(X)} rows, and {y_name} {len(y)}; they must have as many, and one at least")


def _target(name: str, y: Any, X: Any) -> np.ndarray:
    """y as an array [n]. ValueError for gaps, and for anything but a column."""
    if y is None:
        raise ValueError(f"a table estimator requires {name} to be passed, but the target {name} is None")
    if isinstance(y, str):
        raise ValueError(
            f"{name} is {y!r}; it must be the column itself, and X the others: fit(X.drop(columns={y!r}), X[{y!r}])"
        )
    checks.warn_of_pair(X, y)
    y = y.astype(object).filled("") if is_masked(y) else as_given(y)
    if y.ndim == 0:
        raise ValueError(f"{name} is {type(y.item()).__name__}; it must be a list or an array of shape (n_samples,)")
    y = column_or_1d(y, warn=True)
    checks.refuse_gaps(name, y, texts=True)
    if y.dtype.kind == "O":
        y = np.array(typed(y.tolist(), name).tolist())  # of text in their own dtype
    assert_all_finite(y, input_name=name)
    return y


def _quantity(name: str, y: np.ndarray) -> np.ndarray:
    """y as float64 [n]. ValueError for dates and text."""
    if y.dtype.kind in "mM":
        raise ValueError(f"{name} holds dates or durations; it must hold numbers, such as the days since a date")
    try:
        return y.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} holds no numbers ({error}); TableClassifier learns classes") from None
