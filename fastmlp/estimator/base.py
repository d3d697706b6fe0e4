"""The base class of ``MLPClassifier`` and ``MLPRegressor``: parameters, network, and order of checks and training."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from numbers import Integral, Real
from operator import is_not
from typing import Any, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.neural_network import MLPClassifier as Theirs
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..backend import Network, kernels, threads
from ..frames import has_columns
from ..models.model import Model
from . import checks, training
from .checks import TrainingData, Validation

_STOCHASTIC_SOLVERS = ("sgd", "adam")
_Class = TypeVar("_Class")
Callback = Callable[[Any, int], object]
"""A function callback(estimator, epoch), called after every epoch; a true result ends the training."""

PARAMETERS = """\
hidden_layer_sizes : int or array-like of shape (n_layers - 2,), default=(100,)
    Units of each hidden layer; () for none, which is a linear model.
activation : str or list of str, default='relu'
    Of the hidden layers: one of ``kernels.ACTIVATIONS``, or a list of them, one for each.
solver : {'lbfgs', 'sgd', 'adam'}, default='adam'
    What trains: L-BFGS on all samples at once, or stochastic gradient descent or Adam on batches.
alpha : float, default=0.0001
    Strength of the L2 penalty: alpha / 2 times the sum of the squared weights, divided by the samples.
batch_size : int or 'auto', default='auto'
    Samples in a step of 'sgd' and 'adam'; 'auto' is min(200, n_samples).
learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
    The rate of 'sgd' stays, is learning_rate_init / t ** power_t at step t, or is divided by 5 whenever two epochs in a
    row are no better by ``tol``.
learning_rate_init : float, default=0.001
    The rate of 'sgd' and 'adam', or the first one.
power_t : float, default=0.5
    The exponent of 'invscaling'.
max_iter : int, default=200
    Epochs of 'sgd' and 'adam', or iterations of 'lbfgs', at most.
shuffle : bool, default=True
    Whether each epoch of 'sgd' and 'adam' has the samples in another order.
random_state : int, RandomState instance or None, default=None
    What initial weights, held-out samples, batches and dropout are drawn by; an int makes ``fit`` repeatable.
tol : float, default=0.0001
    Training ends when the loss, or with ``early_stopping`` the score, is no better by so much for ``n_iter_no_change``
    epochs.
verbose : bool or int, default=False
    Print the loss of each epoch, and show a progress bar on a terminal and in a notebook.
warm_start : bool, default=False
    Whether ``fit`` goes on from the weights that the last one left.
momentum : float, default=0.9
    Of 'sgd', from 0 to 1.
nesterovs_momentum : bool, default=True
    Whether the momentum of 'sgd' is Nesterov's.
early_stopping : bool, default=False
    Hold samples out, end when their score gets no better, and keep the weights of the best. Not of 'lbfgs'.
validation_fraction : float, default=0.1
    The part of the samples that ``early_stopping`` holds out, from 0 to 1.
beta_1 : float, default=0.9
    Decay of the mean of the gradients of 'adam', in [0, 1).
beta_2 : float, default=0.999
    Decay of the mean of their squares, in [0, 1).
epsilon : float, default=1e-08
    What 'adam' adds to the root of that mean.
n_iter_no_change : int, default=10
    Epochs without progress after which 'sgd' and 'adam' end.
max_fun : int, default=15000
    Evaluations of the loss by 'lbfgs', at most.
dropout : float, default=0.0
    Fraction of the hidden units dropped in each training step, in [0, 1). Only for solver 'sgd' and 'adam'.
scoring : str, callable or None, default=None
    The score of the held-out samples that ``early_stopping`` watches, as in scikit-learn's model selection, of which
    the best weights are kept; None for the accuracy, of numbers R². A callable takes (estimator, X, y), and
    sample_weight where there are.
callbacks : callable, list of callables or None, default=None
    Each is called as ``callback(estimator, epoch)`` after every epoch (from 1; of lbfgs, iteration), when the estimator
    can predict; training stops when one returns something true.
n_threads : int or None, default=None
    Threads of ``fit`` and ``predict``; results do not depend on it. None: ``kernels.get_num_threads()``, which in the
    worker processes of joblib and Dask is what these allow: a parallel search does not use more threads than cores.
"""
"""The documentation of the parameters that ``MLPClassifier`` and ``MLPRegressor`` share."""


def documented(parameters: str) -> Callable[[type[_Class]], type[_Class]]:
    """Puts the text of shared ``parameters`` into a class's docstring, where it has the line {shared parameters}."""

    def decorate(cls: type[_Class]) -> type[_Class]:
        if cls.__doc__:  # python -OO has none
            cls.__doc__ = inspect.cleandoc(cls.__doc__).replace("{shared parameters}\n", parameters)
        return cls

    return decorate


def set_parameters(estimator: Any, arguments: dict[str, Any]) -> None:
    """Set the ``arguments`` of an estimator's ``__init__``, its ``locals()``, as attributes."""
    vars(estimator).update({name: value for name, value in arguments.items() if name not in ("self", "__class__")})


class BaseMLP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """A multilayer perceptron as an estimator; the abstract methods define what it learns, classes or numbers."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **Theirs._parameter_constraints,
        "activation": [StrOptions(set(kernels.ACTIVATIONS)), list, tuple],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "callbacks": [callable, list, None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    n_outputs_: int
    out_activation_: str
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    loss_curve_: list[float]
    validation_loss_curve_: list[float] | None
    best_loss_: Any  # a float, where the loss is watched
    validation_scores_: Any  # a list, and the next a float, where the score is
    best_validation_score_: Any
    _optimizer: training.Optimizer
    _valid: list[Any] | None = None  # the parameters that ``partial_fit`` has checked

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # -- what the targets are --------------------------------------------------------------------------------------

    @abstractmethod
    def _learn_targets(
        self, y: np.ndarray, weights: np.ndarray | None, *, first: bool, incremental: bool, classes: Any
    ) -> None:
        """Set the encoding of targets, ``n_outputs_`` and ``out_activation_`` from a fit's y and sample weights.

        If the network is not the ``first``, they stay. ValueError for a y that does not fit them.
        """

    @abstractmethod
    def _encoded(self, name: str, y: np.ndarray, dtype: Any) -> np.ndarray:
        """y as kernels of ``dtype`` take it. ValueError, which calls y ``name``, for unknown classes and the like."""

    @abstractmethod
    def _tested(self, Z: np.ndarray, validation: Validation) -> tuple[float, float]:
        """(score, mean loss) of the outputs Z for held-out samples."""

    @property
    @abstractmethod
    def _objective(self) -> dict[str, Any]:
        """The loss, as options of the kernels that train."""

    def _loss_share(self) -> float:
        """The factor from the kernels' loss of a sample to ``loss_``."""
        return 1.0

    def _weights_of_classes(self, y: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """What each sample counts for its class, where samples have ``weights`` of their own; None: all the same."""
        return None

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        """The strata whose shares early stopping keeps in the held-out samples."""
        return None

    # -- the public methods ----------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        groups: Any = None,
    ) -> Self:
        """Fit the model to X and y. A call that is refused leaves the model as it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float32, float64 or uint8, dense or CSR, are used as they are; others are converted once.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The class labels (a column for each label where they are multilabel), or the numbers to predict.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, none negative.
        X_val, y_val : as X and y, default=None
            Held-out samples for ``validation_loss_curve_``; with ``early_stopping`` they take the place of a part of X.
        groups : array-like of shape (n_samples,), default=None
            Group labels: ``early_stopping`` holds out ``validation_fraction`` of the groups, each whole.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, X_val=X_val, y_val=y_val, groups=groups)

    def _check_solver(self) -> bool:
        if self.solver not in _STOCHASTIC_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def transform(self, X: Any) -> np.ndarray:
        """The activations of the last hidden layer for X, of shape (n_samples, units)."""
        network = self._network()
        if len(network.sizes) == 2:
            raise ValueError("hidden_layer_sizes is empty: there is no hidden layer to transform X to")
        hidden = without_last_layer(network)
        return kernels.ACTIVATIONS[network.activations[-1]].twin(self._last_layer(X, hidden))

    @property
    def _n_features_out(self) -> int:
        return len(self.coefs_[-1])

    @abstractmethod
    def _as_model(self) -> Model:
        """The ``Model`` that ``fastmlp.export`` takes."""

    def _columns(self) -> tuple[str, ...] | None:
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else tuple(names)

    def _last_layer(self, X: Any, network: Network) -> np.ndarray:
        X = checks.samples(self, X, network.dtype)
        with threads(self.n_threads):
            return kernels.mlp_forward(X, network)

    @property
    def _output(self) -> str:
        """The kernels' name of ``out_activation_``."""
        return "exponential" if self.out_activation_ == "exp" else self.out_activation_

    # -- the network -----------------------------------------------------------------------------------------------

    @cached_property
    def _activation(self) -> Any:
        """``activation`` as at the last fit, which sets this; of a model that an earlier version pickled, as it is."""
        return self.activation

    def _network(self) -> Network:
        """The network of ``coefs_`` and ``intercepts_``, or of copies if a user set them. NotFittedError without."""
        # scikit-learn's check also asks for the tags, which takes longer than a prediction.
        if "coefs_" not in vars(self):
            check_is_fitted(self)
        (network, views), arrays = self._bound, (*self.coefs_, *self.intercepts_)
        is_set = len(arrays) != len(views) or any(map(is_not, arrays, views)) or network.output != self._output
        return self._copied(self._dtype()) if is_set else network

    def _dtype(self) -> Any:
        arrays = (*self.coefs_, *self.intercepts_)
        return np.float32 if all(getattr(array, "dtype", None) == np.float32 for array in arrays) else np.float64

    def _sizes(self) -> list[int]:
        return [len(self.coefs_[0]), *(np.shape(W)[1] for W in self.coefs_)]

    def _copied(self, dtype: Any, slots: int = 0) -> Network:
        network = Network(self._sizes(), dtype=dtype, slots=slots, activation=self._activation, output=self._output)
        for (W, b), coef, intercept in zip(network.layers, self.coefs_, self.intercepts_, strict=True):
            W[...], b[...] = coef, intercept  # type: ignore[index]
        return network

    def _bind(self, network: Network) -> Network:
        """Make ``coefs_`` and ``intercepts_`` views of the network."""
        self.coefs_, self.intercepts_ = (list(arrays) for arrays in zip(*network.layers))
        self._bound: tuple[Network, tuple[np.ndarray, ...]] = network, (*self.coefs_, *self.intercepts_)
        return network

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_bound"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "out_activation_" in state:
            self._bind(self._copied(self._dtype()))

    def _initialize(self, sizes: list[int], dtype: Any) -> None:
        """Draw the weights of Glorot and Bengio 2010 in scikit-learn's order, and reset all counts and curves."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        self.coefs_, self.intercepts_ = [], []
        each = [self.activation] * len(sizes) if isinstance(self.activation, str) else [*self.activation]
        for inputs, outputs, name in zip(sizes, sizes[1:], each + (each[-1:] or ["relu"])):
            bound = np.sqrt((2.0 if name == "logistic" else 6.0) / (inputs + outputs))
            for arrays, shape in ((self.coefs_, (inputs, outputs)), (self.intercepts_, (outputs,))):
                arrays.append(self._random_state.uniform(-bound, bound, shape).astype(dtype, copy=False))
        self.loss_curve_, self.validation_loss_curve_ = [], None
        self._no_improvement_count = 0
        self.best_loss_ = self.validation_scores_ = self.best_validation_score_ = None
        self.__dict__.pop("_optimizer", None)

    # -- training --------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool = False, **given: Any) -> Self:
        """Check everything, commit, train.

        The checks change a shallow copy of the estimator, training a new network. A call that is refused, before or in
        training, sets the random state back, and so leaves all as it was.
        """
        checked = object.__new__(type(self))
        checked.__dict__.update(self.__dict__)
        # Not a copy of it: threads that share it would draw the same numbers.
        checked._random_state = shared = check_random_state(self.random_state)
        before, undrawn = self.__dict__, shared.get_state(legacy=False)
        with threads(self.n_threads):
            try:
                data, network = checked._checked(X, y, sample_weight, incremental=incremental, **given)
                self.__dict__ = checked.__dict__
                if self.solver == "lbfgs":
                    training.train_lbfgs(self, data, network)
                else:
                    training.train_stochastic(self, data, network, incremental=incremental)
                if not np.isfinite(network.params).all():
                    raise ValueError(
                        "Solver produced non-finite parameter weights. The input data may contain large values and "
                        "need to be preprocessed."
                    )
            except BaseException as error:
                # A caller who made a warning of training an error may go on with what was learnt, as in scikit-learn.
                if self.__dict__ is before or not isinstance(error, Warning):
                    self.__dict__ = before
                    shared.set_state(undrawn)
                raise
        return self

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, *, incremental: bool, classes: Any = None, X_val: Any = None,
        y_val: Any = None, groups: Any = None,
    ) -> tuple[TrainingData, Network]:  # fmt: skip
        """(training data, network) of a fit. This estimator is a copy, and gets the attributes for the training."""
        hidden = self._checked_parameters(incremental)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        dtype = np.float64 if self.solver == "lbfgs" else None if first else self._dtype()
        given = X
        checks.warn_of_pair(X, y)
        checks.warn_of_pair(X, sample_weight, "sample_weight")
        X, read, y = checks.training_samples(self, X, y, dtype, reset=first, once=incremental)
        made = np.float64 if X.dtype == np.float64 else np.float32  # the dtype of a first network
        dtype = dtype or made
        weights = checks.sample_weights(X, sample_weight)
        self._learn_targets(y, weights, first=first, incremental=incremental, classes=classes)
        targets = self._encoded("y", y, dtype)
        weights = checks.sample_weights(X, weights, self._weights_of_classes(y, targets, weights))
        sizes = [X.shape[1], *hidden, self.n_outputs_]
        if first:
            self._initialize(sizes, made)
        elif sizes != self._sizes():
            raise ValueError(
                f"hidden_layer_sizes is {hidden} and makes layers of {sizes}, but the network to go on with has "
                f"{self._sizes()}; set it back, or call fit with warm_start=False"
            )
        else:
            for name in ("loss_curve_", "validation_loss_curve_", "validation_scores_"):  # training appends to copies
                setattr(self, name, copy.copy(getattr(self, name, None)))
        slots = 0 if self.solver == "lbfgs" else training.rule_of(self).slots
        network = self._bind(self._copied(dtype, slots))
        if self.solver != "lbfgs":
            last = self.__dict__.get("_optimizer") if incremental else None
            self._optimizer = training.optimizer_of(self, network, last)
        scorer = None if self.scoring is None else check_scoring(self, self.scoring)
        rows = np.arange(len(targets))
        validation = checks.given_validation(self, X_val, y_val, network.dtype, scorer)
        if self.early_stopping and self.solver != "lbfgs":
            if validation is None:
                rows, held_out = checks.split(
                    len(targets), self.validation_fraction, self._strata(targets), weights, groups, self._random_state
                )
                validation = Validation(
                    checks.for_kernels(X[held_out], network.dtype), targets[held_out],
                    None if weights is None else weights[held_out],
                    (_safe_indexing(given if has_columns(given) else X, held_out), y[held_out]), scorer,
                )  # fmt: skip
            if scorer is not None:
                validation.scored(self)  # a scorer that fails must do so before anything changes
        return TrainingData(read, targets, weights, rows, validation), network

    def _checked_parameters(self, incremental: bool) -> list[int]:
        """The sizes of the hidden layers; ValueError for parameters that do not go together."""
        if incremental:  # a parameter may have been changed; scikit-learn looks at them in the first call only
            given = [getattr(self, name) for name in self._parameter_constraints]
            if not self._valid or any(map(is_not, given, self._valid)):
                self._validate_params()
            self._valid = given
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if np.any(np.array(hidden) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        if not all(isinstance(units, Integral) for units in hidden):
            raise ValueError(f"hidden_layer_sizes must be integers, got {hidden}.")
        self._activation = kernels.activations.common_activation(self.activation, len(hidden))
        if self.dropout and self.solver == "lbfgs":
            raise ValueError("dropout is only available for stochastic optimizers. lbfgs is not stochastic.")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        return hidden


def without_last_layer(network: Network) -> Network:
    """The network whose outputs are the pre-activations of the last hidden layer."""
    hidden = Network(network.sizes[:-1], dtype=network.dtype, activation=network.activations[:-1])
    hidden.params[...] = network.params[: hidden.params.size]  # the same layers come first
    return hidden
