"""``MLPClassifier``: scikit-learn's estimator of that name, on these kernels.

What its training does, scikit-learn's does too, in the same order and from the same random numbers: initial weights,
held-out samples, batches, updates and rules of stopping. So the same parameters give the same network to within rounding
(the class's docstring has the exceptions), and what is tuned for one holds for the other.

Legend: ``N`` samples, ``I`` inputs, ``O`` outputs, ``K`` classes; ``targets`` class numbers [N] for a softmax output, zeros
and ones [N, O] for a logistic one.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from .backend import CSR, Network, Rule, kernels

try:
    from scipy.optimize import minimize
    from scipy.sparse import issparse
    from scipy.special import expit, log_expit, log_softmax
    from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils import check_array, check_random_state, check_X_y, column_or_1d
    from sklearn.utils._param_validation import Interval, Options, StrOptions
    from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
    from sklearn.utils.optimize import _check_optimize_result
    from sklearn.utils.validation import (
        _check_sample_weight,
        assert_all_finite,
        check_consistent_length,
        check_is_fitted,
        validate_data,
    )
except ImportError as error:
    raise ImportError(
        f"fastmlp.MLPClassifier needs scikit-learn 1.6 or newer; pip install 'fastmlp[sklearn]' ({error})"
    ) from error

_STOCHASTIC_SOLVERS = ("sgd", "adam")
_INPUT_DTYPES = (np.float64, np.float32, np.uint8)  # others become the first
_SMALLEST_RATE = 1e-6  # of the adaptive schedule
_CHUNK_SECONDS = 0.05  # of compiled steps at a time: what Ctrl-C and the progress bar wait for
_SPARSE_CHUNK_SECONDS = 0.5  # the end of a chunk brings all of a wide layer up to date, and takes as long as some steps
_FIRST_CHUNK = 8  # steps
_SAMPLE_ROWS = 1000  # looked at for the zeros
_PAST_CORRECTION = 2**40  # a step number at which Adam's moments are no longer corrected


@dataclass
class _Optimizer:
    """What a stochastic solver keeps from one epoch, and one ``partial_fit``, to the next."""

    rule: Rule
    learning_rate: float
    state: np.ndarray  # of the network in training
    steps: int = 0

    def rates(self, count: int) -> np.ndarray:
        """The rates of the next steps.

        Adam's are those of Kingma and Ba 2015, end of section 2, as in scikit-learn: the moments' correction is in the rate,
        and epsilon is added to the root of the uncorrected second moment.
        """
        rates = np.full(count, self.learning_rate)
        if self.rule.slots == 2:
            t = self.steps + np.arange(1, count + 1)
            rates *= np.sqrt(1 - self.rule.beta2**t) / (1 - self.rule.beta1**t)
        return rates

    def slow_to(self, rate: float) -> None:
        """Set the rate. scikit-learn's velocity is our state times the rate that it was built up with: that stays."""
        if self.rule.slots and rate > 0:
            self.state *= self.learning_rate / rate
        self.learning_rate = rate


class _Validation(NamedTuple):
    """Held-out samples, as the kernels take them."""

    X: Any
    targets: np.ndarray
    weights: np.ndarray | None


def _sum_of_squares(network: Network) -> float:
    """Of all W. Not by BLAS, whose threads would then spin on the cores that the next steps need."""
    return sum(float(np.einsum("ij,ij->", W, W)) for W, _ in network.layers)


class MLPClassifier(ClassifierMixin, BaseEstimator):
    """Multi-layer perceptron classifier: ``sklearn.neural_network.MLPClassifier`` on fused kernels, several times faster.

    Trains by lbfgs, sgd or adam on the log-loss with an L2 penalty. A drop-in: parameters, attributes, methods and errors
    are those of scikit-learn's class, and so are the random numbers drawn, hence the results up to rounding.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, \
beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        As in scikit-learn, with the same defaults. ``hidden_layer_sizes=()`` is logistic regression. With ``verbose`` and
        stderr on a terminal there is also a progress bar.
    class_weight : dict, list of dicts, 'balanced' or None, default=None
        Weights of the classes, multiplied with ``sample_weight``; for multilabel targets a dict an output. 'balanced' gives
        n_samples / (n_classes * count of the class), and is not available in ``partial_fit``.
    dropout : float, default=0.0
        Fraction of the hidden units dropped in each training step, in [0, 1). Only for solver 'sgd' and 'adam'.
    label_smoothing : float, default=0.0
        Part of each target spread evenly over the classes, in [0, 1); over yes and no where the output is logistic.
    callbacks : callable, list of callables or None, default=None
        Each is called as ``callback(estimator, epoch)`` after every epoch (from 1; of lbfgs, iteration), when the estimator
        can predict; training stops when one returns something true.
    n_threads : int or None, default=None
        Threads of ``fit`` and ``predict``; results do not depend on it. None: ``kernels.get_num_threads()``, which in the
        worker processes of joblib and Dask is what these allow: a parallel search does not use more threads than cores.

    Attributes
    ----------
    classes_, loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, t_, coefs_, intercepts_, \
n_features_in_, feature_names_in_, n_iter_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn; ``loss_curve_`` is there for lbfgs too. ``coefs_`` and ``intercepts_`` are lists of arrays;
        predictions and further training start from whatever is in them.
    validation_loss_curve_ : list of shape (n_iter_,) or None
        Mean log-loss, without penalty and smoothing, on ``X_val`` or on the samples held out for early stopping.

    Notes
    -----
    Where this class differs from scikit-learn's:

    - X of dtype uint8 is used as it is, without a copy, and its network computes in float32 (scikit-learn's in float64).
      Otherwise float32 X trains in float32, other X in float64, and lbfgs always in float64. Predictions are in the dtype of
      the network, whatever that of X.
    - X in which most elements are zeros, sparse or not, is trained on without multiplying the zeros, with the same result.
    - The penalty in ``loss_`` is the mean of those at the beginning of the first and of the last step of an epoch.
    - With sample weights the gradient is that of scikit-learn; but the penalty, which is alpha over the batch's sum of
      weights there, is here alpha over the batch's samples times the mean weight of all samples.
    - The log-loss is computed from the logits, and probabilities are not clipped at the dtype's epsilon.
    - Weights must not be negative.
    - Ctrl-C ends lbfgs, too, with what was learnt so far, and a warning.

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from sklearn.datasets import make_classification
    >>> X, y = make_classification(n_samples=100, random_state=1)
    >>> MLPClassifier(random_state=1, max_iter=300).fit(X[:75], y[:75]).score(X[75:], y[75:]) > 0.8
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "callbacks": [callable, list, None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    _optimizer: _Optimizer

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int | float = 10,
        max_fun: int = 15000,
        class_weight: Any = None,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        callbacks: Any = None,
        n_threads: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.class_weight = class_weight
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.callbacks = callbacks
        self.n_threads = n_threads

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

    # -- the public methods ----------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> MLPClassifier:
        """Fit the model to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float32, float64 or uint8, dense or CSR, are used as they are; others are converted once.
        y : array-like of shape (n_samples,) or, multilabel, (n_samples, n_outputs)
            The class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, none negative.
        X_val, y_val : as X and y, default=None
            Held-out samples, for ``validation_loss_curve_``; with ``early_stopping`` they take the place of a part of X.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, X_val, y_val, incremental=False)

    def _check_solver(self) -> bool:
        if self.solver not in _STOCHASTIC_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Update the model with a single epoch over the given data.

        Parameters
        ----------
        X, y, sample_weight
            As in ``fit``; y need not hold all classes.
        classes : array-like of shape (n_classes,), default=None
            All classes that will come up; required in the first call.

        Returns
        -------
        self : object
        """
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        return self._fit(X, y, sample_weight, None, None, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """The predicted classes, of shape (n_samples,) or, multilabel, (n_samples, n_outputs)."""
        check_is_fitted(self)
        P = self._probabilities(X)
        return self._label_binarizer.inverse_transform(P.ravel() if self.n_outputs_ == 1 else P)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes in the order of ``classes_``, of shape (n_samples, n_classes)."""
        check_is_fitted(self)
        P = self._probabilities(X)
        return np.hstack([1 - P, P]) if self.n_outputs_ == 1 else P

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities, of shape (n_samples, n_classes)."""
        P = self.predict_proba(X)
        return np.log(P, out=P)

    def _probabilities(self, X: Any) -> np.ndarray:
        Z = self._logits(X)
        if self.out_activation_ == "softmax":
            return kernels.softmax(Z)
        return expit(Z, out=Z)

    def _logits(self, X: Any) -> np.ndarray:
        network = self._network()
        X = _in_dtype(self._checked_X(X), network.dtype)
        with self._threads():
            return kernels.mlp_forward(X, network)

    def _threads(self) -> AbstractContextManager[None]:
        return nullcontext() if self.n_threads is None else kernels.threads(self.n_threads)

    # -- the network -----------------------------------------------------------------------------------------------

    def _is_bound(self) -> bool:
        """Whether ``coefs_`` and ``intercepts_`` are still the views of the network that they were made as."""
        network, views = self.__dict__.get("_bound", (None, ()))
        arrays = (*self.coefs_, *self.intercepts_)
        same = len(arrays) == len(views) and all(a is b for a, b in zip(arrays, views))
        return same and (network.activation, network.output) == (self.activation, self.out_activation_)

    def _network(self) -> Network:
        """The network of ``coefs_`` and ``intercepts_``; where they have been set, of copies."""
        return self._bound[0] if self._is_bound() else self._copied()

    def _copied(self, slots: int = 0) -> Network:
        sizes = [len(self.coefs_[0]), *(np.shape(W)[1] for W in self.coefs_)]
        single = all(getattr(a, "dtype", None) == np.float32 for a in (*self.coefs_, *self.intercepts_))
        network = Network(
            sizes, dtype="float32" if single else "float64", slots=slots, activation=self.activation,
            output=self.out_activation_,
        )  # fmt: skip
        for (W, b), coef, intercept in zip(network.layers, self.coefs_, self.intercepts_, strict=True):
            W[...], b[...] = coef, intercept  # type: ignore[index]
        return network

    def _bind(self, slots: int = 0) -> Network:
        """``_network()`` with so many slots of state; ``coefs_`` and ``intercepts_`` are views of it from here on."""
        if not self._is_bound() or self._bound[0].slots != slots:
            network = self._copied(slots)
            self.coefs_, self.intercepts_ = (list(arrays) for arrays in zip(*network.layers))
            self._bound: tuple[Network, tuple[np.ndarray, ...]] = network, (*self.coefs_, *self.intercepts_)
        return self._bound[0]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_bound"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "out_activation_" in state:
            self._bind()
        if "_optimizer" in state:  # its own, also of a shallow copy
            self._optimizer = replace(self._optimizer)

    def _initialize(self, sizes: list[int], dtype: Any) -> None:
        """Glorot and Bengio 2010, in scikit-learn's order of drawing; and what is counted from the first epoch on."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"
        self.coefs_, self.intercepts_ = [], []
        for inputs, outputs in zip(sizes, sizes[1:]):
            bound = np.sqrt((2.0 if self.activation == "logistic" else 6.0) / (inputs + outputs))
            for arrays, shape in ((self.coefs_, (inputs, outputs)), (self.intercepts_, (outputs,))):
                arrays.append(self._random_state.uniform(-bound, bound, shape).astype(dtype, copy=False))
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] | None = None
        self._no_improvement_count = 0
        self.best_loss_: Any = None  # a float, where the loss is watched
        self.validation_scores_: Any = None  # a list, and the next a float, where the score is
        self.best_validation_score_: Any = None

    # -- the data --------------------------------------------------------------------------------------------------

    def _checked_X(self, X: Any) -> Any:
        return validate_data(self, X, accept_sparse="csr", dtype=_INPUT_DTYPES, reset=False)

    def _checked_data(self, X: Any, y: Any, incremental: bool, first: bool) -> tuple[Any, Any, np.ndarray]:
        """X and y as arrays, and X as kernels read it."""
        given = X
        X, y = check_X_y(
            X, y, accept_sparse="csr", multi_output=True, dtype=_INPUT_DTYPES, ensure_all_finite=False, estimator=self
        )  # fmt: skip
        dtype: Any = np.float32
        if self.solver == "lbfgs" or (X.dtype if first else self._network().dtype) == np.float64:
            dtype = np.float64
        with self._threads():
            prepared = _prepared(X, dtype)
            if isinstance(prepared, CSR) and not incremental:  # to be read in many epochs
                prepared = prepared.dictionary_encode()
        # What is not finite is not zero: where zeros are left out, a pass over the others will do.
        if not (isinstance(prepared, CSR) and np.isfinite(prepared.stored).all()):
            values = X.data if issparse(X) else X
            assert_all_finite(values, estimator_name=type(self).__name__, input_name="X")
        validate_data(self, given, reset=first, skip_check_array=True)  # the width and the names: kept, or compared
        return X, prepared, y

    def _checked_classes(self, y: np.ndarray, incremental: bool) -> np.ndarray:
        """y, and ``classes_`` from it, or y checked against it."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return y
        classes = unique_labels(y)
        if self.warm_start and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        self._check_known("y", classes)
        return y

    def _check_known(self, name: str, classes: np.ndarray) -> None:
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`{name}` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'{name}' has {classes}."
            )

    def _targets(self, y: Any) -> np.ndarray:
        if y.ndim == 2 or self._label_binarizer.y_type_.startswith("multilabel"):
            return np.ascontiguousarray(self._label_binarizer.transform(y), np.int64)
        targets = np.searchsorted(self.classes_, y)
        return targets if self._label_binarizer.y_type_ == "multiclass" else targets[:, np.newaxis]

    def _weights(self, X: Any, y: Any, targets: np.ndarray, sample_weight: Any, incremental: bool) -> np.ndarray | None:
        """``sample_weight`` times the weights of the classes [N]; None where there is neither."""
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if self.class_weight is not None:
            of_class = self._class_weights(y, targets, incremental)
            weights = of_class if weights is None else weights * of_class
            weights = _check_sample_weight(weights, X, dtype=np.float64, ensure_non_negative=True)
        if weights is not None and not weights.any():  # scikit-learn checks it, too, from 1.9 on
            raise ValueError("Sample weights must contain at least one non-zero number.")
        return weights

    def _class_weights(self, y: Any, targets: np.ndarray, incremental: bool) -> np.ndarray:
        """The weights of the samples' classes [N]."""
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. For 'balanced' weights, use "
                "`sklearn.utils.compute_class_weight` with `class_weight='balanced'`. In place of y you can use a large "
                "enough subset of the full training set target to properly estimate the class frequency distributions. "
                "Pass the resulting weights as the class_weight parameter."
            )
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return compute_sample_weight(self.class_weight, y)
        return compute_class_weight(self.class_weight, classes=self.classes_, y=y)[targets.ravel()]

    def _checked_validation(self, X: Any, y: Any, dtype: Any) -> _Validation | None:
        """``X_val`` and ``y_val``."""
        if X is None and y is None:
            return None
        if y is None:
            raise ValueError("X_val is provided, but y_val was not provided.")
        if X is None:
            raise ValueError("y_val is provided, but X_val was not provided.")
        X = self._checked_X(X)
        y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y_val")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        self._check_known("y_val", unique_labels(y))
        return _Validation(_prepared(X, dtype), self._targets(y), None)

    def _split(
        self, targets: np.ndarray, weights: np.ndarray | None, X: Any, dtype: Any
    ) -> tuple[np.ndarray, _Validation]:
        """(rows to train on, those held out): the rows that scikit-learn takes."""
        rows, held_out = train_test_split(
            np.arange(len(targets)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=targets.astype(bool) if self.n_outputs_ == 1 else None,
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        held_out_weights = None if weights is None else weights[held_out]
        return rows, _Validation(_prepared(X[held_out], dtype), targets[held_out], held_out_weights)

    # -- training --------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, *, incremental: bool) -> MLPClassifier:
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if np.any(np.array(hidden) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        if self.dropout and self.solver == "lbfgs":
            raise ValueError("dropout is only available for stochastic optimizers. lbfgs is not stochastic.")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, prepared, y = self._checked_data(X, y, incremental, first)
        y = self._checked_classes(y, incremental)
        targets = self._targets(y)
        weights = self._weights(X, y, targets, sample_weight, incremental)
        self.n_outputs_ = len(self.classes_) if targets.ndim == 1 else targets.shape[1]
        self._random_state = check_random_state(self.random_state)
        if first:
            dtype = np.float64 if X.dtype == np.float64 else np.float32
            self._initialize([X.shape[1], *hidden, self.n_outputs_], dtype)
        with self._threads():
            if self.solver == "lbfgs":
                self._fit_lbfgs(prepared, targets, weights, X_val, y_val)
            else:
                self._fit_stochastic(X, prepared, targets, weights, X_val, y_val, incremental)
        if not all(np.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
        return self

    def _callback_stops(self) -> bool:
        callbacks = [self.callbacks] if callable(self.callbacks) else self.callbacks or []
        answers = [callback(self, self.n_iter_) for callback in callbacks]  # all of them, whoever stops
        return any(answers)

    def _record(self, loss: float, validation: _Validation | None, network: Network) -> float:
        """Note the losses of an epoch; returns the validation score."""
        self.loss_ = loss
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        if validation is None:
            return math.nan
        score, held_out_loss = _tested(validation, network)
        self.validation_loss_curve_ = [*(self.validation_loss_curve_ or []), held_out_loss]
        if self.verbose:
            print(f"Validation loss = {held_out_loss:.8f}")
        return score

    def _fit_lbfgs(self, X: Any, targets: np.ndarray, weights: np.ndarray | None, X_val: Any, y_val: Any) -> None:
        self.coefs_ = [np.asarray(W, np.float64) for W in self.coefs_]
        network = self._bind()
        validation = self._checked_validation(X_val, y_val, network.dtype)
        rows, gradient = np.arange(len(targets)), np.empty_like(network.params)
        total = len(rows) if weights is None else weights.sum()
        alpha = np.zeros(network.params.shape)  # of every element of a W; 0 of biases, and of what lies between layers
        for start, (W, _) in zip(network.offsets, network.layers):
            alpha[start : start + W.size] = self.alpha

        def loss_and_gradient(params: np.ndarray) -> tuple[float, np.ndarray]:
            network.params[...] = params
            loss, _, _ = kernels.mlp_gradient(
                X, targets, rows, network, sample_weight=weights, mean=False, label_smoothing=self.label_smoothing,
                out=gradient,
            )  # fmt: skip
            decay = alpha * params
            return (loss + 0.5 * (decay * params).sum()) / total, (gradient + decay) / total

        accepted, told_to_stop = network.params.copy(), False

        def iteration(intermediate_result: Any) -> None:
            nonlocal told_to_stop
            accepted[...] = network.params[...] = intermediate_result.x
            self.n_iter_ += 1
            self._record(float(intermediate_result.fun), validation, network)
            if told_to_stop := self._callback_stops():
                raise StopIteration

        self.n_iter_ = 0
        try:
            result = minimize(
                loss_and_gradient, accepted.copy(), method="L-BFGS-B", jac=True, callback=iteration,
                options={"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol},
            )  # fmt: skip
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)
            network.params[...] = accepted
            return
        network.params[...] = result.x
        self.loss_ = float(result.fun)
        if not told_to_stop:
            self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)

    def _rule(self) -> Rule:
        """The update rule of the solver; the decay is set for each batch size."""
        if self.solver == "adam":
            return kernels.adam(self.beta_1, self.beta_2, epsilon=self.epsilon)
        if self.momentum == 0:
            return kernels.sgd()
        return kernels.momentum(self.momentum, nesterov=self.nesterovs_momentum)

    def _prepare_optimizer(self, incremental: bool) -> Network:
        """The network in training, with the optimizer's state in it: a new one, or the last ``partial_fit``'s."""
        if not incremental or not hasattr(self, "_optimizer"):
            rule = self._rule()
            network = self._bind(rule.slots)
            network.state[...] = 0
            self._optimizer = _Optimizer(rule, float(self.learning_rate_init), network.state)
            return network
        network = self._bind(self._optimizer.rule.slots)
        if self._optimizer.state is not network.state:
            network.state[...] = self._optimizer.state
            self._optimizer.state = network.state
        return network

    def _fit_stochastic(
        self, given: Any, X: Any, targets: np.ndarray, weights: np.ndarray | None, X_val: Any, y_val: Any,
        incremental: bool,
    ) -> None:  # fmt: skip
        """``X`` is ``given`` as kernels read it."""
        network = self._prepare_optimizer(incremental)
        validation, rows = self._checked_validation(X_val, y_val, network.dtype), np.arange(len(targets))
        if self.early_stopping:
            if validation is None:
                rows, validation = self._split(targets, weights, given, network.dtype)
            if self.validation_scores_ is None:
                self.validation_scores_, self.best_validation_score_, self.best_loss_ = [], -np.inf, None
                self._best_params = network.params.copy()
        elif self.best_loss_ is None:
            self.best_loss_, self.validation_scores_, self.best_validation_score_ = np.inf, None, None
        epochs = _Epochs(self, network, X, targets, weights, rows)
        order = np.arange(len(rows))
        try:
            self.n_iter_ = 0
            while self.n_iter_ < self.max_iter:
                if self.shuffle:
                    order = order[self._random_state.permutation(len(order))]  # as sklearn.utils.shuffle draws it
                loss = epochs.run(rows[order])
                self.n_iter_ += 1
                self.t_ += len(rows)
                score = self._record(loss, validation, network)
                self._watch(score, network)
                told_to_stop = self._callback_stops()
                if self.solver == "sgd" and self.learning_rate == "invscaling":
                    self._optimizer.slow_to(self.learning_rate_init / (self.t_ + 1) ** self.power_t)
                if self._no_improvement_count > self.n_iter_no_change and self._stops():
                    break
                if told_to_stop or incremental:
                    break
                if self.n_iter_ == self.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                        "converged yet.",
                        ConvergenceWarning,
                        stacklevel=5,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        if self.early_stopping:
            network.params[...] = self._best_params

    def _watch(self, score: float, network: Network) -> None:
        """Count the epochs without progress, of the score where training stops early, else of the loss."""
        if self.early_stopping:
            self.validation_scores_.append(score)
            if self.verbose:
                print(f"Validation score: {score:f}")
            stuck = score < self.best_validation_score_ + self.tol
            if score > self.best_validation_score_:
                self.best_validation_score_ = score
                self._best_params = network.params.copy()
        else:
            stuck = self.loss_ > self.best_loss_ - self.tol
            self.best_loss_ = min(self.best_loss_, self.loss_)
        self._no_improvement_count = self._no_improvement_count + 1 if stuck else 0

    def _stops(self) -> bool:
        """There was no progress: whether to stop, or to go on at a fifth of the rate."""
        what = "Validation score" if self.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        adaptive = self.solver == "sgd" and self.learning_rate == "adaptive"
        stopping = not adaptive or self._optimizer.learning_rate <= _SMALLEST_RATE
        if not stopping:
            self._no_improvement_count = 0
            self._optimizer.slow_to(self._optimizer.learning_rate / 5)
        if self.verbose:
            ending = "Stopping." if not adaptive else "Learning rate too small. Stopping."
            print(message, ending if stopping else f"Setting learning rate to {self._optimizer.learning_rate:f}")
        return stopping


class _Epochs:
    """Epochs of training steps, in compiled chunks."""

    def __init__(
        self, model: MLPClassifier, network: Network, X: Any, targets: np.ndarray, weights: np.ndarray | None,
        rows: np.ndarray,
    ) -> None:  # fmt: skip
        self.model, self.network, self.X, self.targets, self.weights = model, network, X, targets, weights
        self.batch = min(200, len(rows)) if isinstance(model.batch_size, str) else int(model.batch_size)
        if self.batch > len(rows):
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=6
            )
            self.batch = len(rows)
        self.mean_weight = 1.0 if weights is None else weights[rows].mean() or 1.0
        self.seed = int(model._random_state.randint(2**32, dtype=np.uint32)) if model.dropout else 0
        self.chunk = _FIRST_CHUNK
        self.chunk_seconds = _SPARSE_CHUNK_SECONDS if isinstance(X, CSR) else _CHUNK_SECONDS
        self._live, self._shown = bool(model.verbose) and sys.stderr.isatty(), 0.0

    def run(self, rows: np.ndarray) -> float:
        """Train on ``rows`` in this order; returns the mean loss, with the penalty."""
        n, alpha = len(rows), self.model.alpha
        weights, steps = self._batch_weights(rows), -(-n // self.batch)
        first = _sum_of_squares(self.network)
        losses: list[np.ndarray] = []
        done = 0
        while done < n:
            left = max(1, (n - done) // self.batch)  # a short last batch is a step of its own, with its own decay
            count = left if left < 2 * self.chunk else self.chunk
            stop = min(n, done + count * self.batch)
            losses.append(self._steps(rows[done:stop], count, weights))
            done = stop
            self._show(done / n)
        each = np.concatenate(losses)
        if weights is not None:  # already divided by the batch's sum of weights
            each *= np.minimum(self.batch, n - np.arange(steps) * self.batch)
        last = first + (_sum_of_squares(self.network) - first) * (steps - 1) / steps
        penalty = 0.5 * alpha * (first + last) / 2 / self.mean_weight
        return (math.fsum(each) + steps * penalty) / n

    def _batch_weights(self, rows: np.ndarray) -> np.ndarray | None:
        """The weights [N], each divided by the sum of those in its batch."""
        if self.weights is None:
            return None
        weights = np.zeros(len(self.weights))
        w = self.weights[rows]
        sums = np.add.reduceat(w, np.arange(0, len(w), self.batch))
        weights[rows] = w / np.repeat(np.where(sums > 0, sums, 1), self.batch)[: len(w)]
        return weights

    def _steps(self, rows: np.ndarray, count: int, weights: np.ndarray | None) -> np.ndarray:
        """``count`` steps over ``rows``, batches of one size: the losses."""
        model, optimizer, start = self.model, self.model._optimizer, time.perf_counter()
        decay = model.alpha / (min(self.batch, len(rows)) * self.mean_weight)
        losses, _ = kernels.mlp_train_steps(
            self.X, self.targets, rows, self.batch, self.network, rule=optimizer.rule._replace(weight_decay=decay),
            lr=optimizer.rates(count), t=_PAST_CORRECTION + optimizer.steps, sample_weight=weights,
            mean=weights is None, label_smoothing=model.label_smoothing, dropout=model.dropout, seed=self.seed,
        )  # fmt: skip
        optimizer.steps += count
        if time.perf_counter() - start < self.chunk_seconds and count >= self.chunk:
            self.chunk *= 2
        return losses

    def _show(self, part: float) -> None:
        """The progress bar of an epoch, on a terminal."""
        if not self._live or (part < 1 and time.monotonic() - self._shown < 0.1):
            return
        self._shown = time.monotonic()
        bar = "━" * round(20 * part) + "╌" * (20 - round(20 * part))
        epoch = f"{bar} epoch {self.model.n_iter_ + 1}/{self.model.max_iter}"
        print("\r\x1b[K" + (epoch if part < 1 else ""), end="", file=sys.stderr, flush=True)


def _in_dtype(X: Any, dtype: Any) -> Any:
    """X, dense or sparse, in the network's dtype; uint8 is read as it is."""
    return X if X.dtype == np.uint8 else X.astype(dtype, copy=False)


def _prepared(X: Any, dtype: Any) -> Any:
    """X as kernels read it: ``_in_dtype``, and without the zeros where they are many."""
    X = _in_dtype(X, dtype)
    if issparse(X):
        return kernels.csr(X)
    sample = X[:: max(1, len(X) // _SAMPLE_ROWS)]
    return kernels.csr(X) if np.count_nonzero(sample) <= kernels.tuning.SPARSE_DENSITY * sample.size else X


def _tested(validation: _Validation, network: Network) -> tuple[float, float]:
    """(accuracy, mean log-loss); of several outputs, whether all are right, and the sum of the losses."""
    Z, targets = kernels.mlp_forward(validation.X, network), validation.targets
    if network.output == "softmax":
        right = Z.argmax(1) == targets
        losses = -log_softmax(Z, axis=1)[np.arange(len(Z)), targets]
    else:
        right = ((Z > 0) == targets).all(1)
        losses = -log_expit(np.where(targets, Z, -Z)).sum(1)
    return float(np.average(right, weights=validation.weights)), float(np.average(losses, weights=validation.weights))
