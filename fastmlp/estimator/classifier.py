"""The public class: its parameters, what it remembers, and the order in which a call checks, commits and trains."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from ..backend import Network, kernels
from ..model import Model
from . import checks, training
from .checks import TrainingData

_STOCHASTIC_SOLVERS = ("sgd", "adam")


class MLPClassifier(ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator):
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
    scoring : str, callable or None, default=None
        The score of the held-out samples that ``early_stopping`` watches, as in scikit-learn's model selection, of which the
        best weights are kept; None for the accuracy. A callable takes (estimator, X, y), and sample_weight where there are.
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
        "activation": [StrOptions(set(kernels.ACTIVATIONS))],
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
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "callbacks": [callable, list, None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    loss_curve_: list[float]
    validation_loss_curve_: list[float] | None
    best_loss_: Any  # a float, where the loss is watched
    validation_scores_: Any  # a list, and the next a float, where the score is
    best_validation_score_: Any
    _optimizer: training.Optimizer

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
        scoring: Any = None,
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
        self.scoring = scoring
        self.callbacks = callbacks
        self.n_threads = n_threads

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

    # -- the public methods ----------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, groups: Any = None
    ) -> MLPClassifier:
        """Fit the model to X and y. A call that is refused leaves the model as it was.

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

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Update the model with a single epoch over the given data. A call that is refused leaves the model as it was.

        Rates, momentum, betas and solver are those that the model has now: one that was changed since the last call is
        obeyed. ``hidden_layer_sizes`` cannot change.

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
        return self._fit(X, y, sample_weight, classes=classes, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """The predicted classes, of shape (n_samples,) or, multilabel, (n_samples, n_outputs)."""
        check_is_fitted(self)
        P = self._probabilities(X)
        return self._label_binarizer.inverse_transform(P.ravel() if self.n_outputs_ == 1 else P)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes in the order of ``classes_``, of shape (n_samples, n_classes)."""
        check_is_fitted(self)
        P = self._probabilities(X)
        if self.n_outputs_ > 1:
            return P
        return np.ones_like(P) if len(self.classes_) == 1 else np.hstack([1 - P, P])

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities, of shape (n_samples, n_classes)."""
        P = self.predict_proba(X)
        return np.log(P, out=P)

    def transform(self, X: Any) -> np.ndarray:
        """What the last hidden layer makes of X, of shape (n_samples, units)."""
        check_is_fitted(self)
        network = self._network()
        if len(network.sizes) == 2:
            raise ValueError("hidden_layer_sizes is empty: there is no hidden layer to transform X to")
        hidden = Network(network.sizes[:-1], dtype=network.dtype, activation=self.activation)
        hidden.params[...] = network.params[: hidden.params.size]  # they begin alike
        return kernels.ACTIVATIONS[self.activation].twin(self._last_layer(X, hidden))

    @property
    def _n_features_out(self) -> int:
        return len(self.coefs_[-1])

    def _as_model(self) -> Model:
        """What ``fastmlp.export`` takes."""
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        columns = None if names is None else tuple(names)
        return Model(self._network(), 1.0, tuple(map(str, self.classes_)), columns=columns)

    def _probabilities(self, X: Any) -> np.ndarray:
        Z = self._last_layer(X, self._network())
        if self.out_activation_ == "softmax":
            return kernels.softmax(Z)
        return expit(Z, out=Z)

    def _last_layer(self, X: Any, network: Network) -> np.ndarray:
        X = checks.samples(self, X, network.dtype)
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
        return self._bound[0] if self._is_bound() else self._copied(self._dtype())

    def _dtype(self) -> Any:
        arrays = (*self.coefs_, *self.intercepts_)
        return np.float32 if all(getattr(array, "dtype", None) == np.float32 for array in arrays) else np.float64

    def _sizes(self) -> list[int]:
        return [len(self.coefs_[0]), *(np.shape(W)[1] for W in self.coefs_)]

    def _copied(self, dtype: Any, slots: int = 0) -> Network:
        network = Network(
            self._sizes(), dtype=dtype, slots=slots, activation=self.activation, output=self.out_activation_
        )
        for (W, b), coef, intercept in zip(network.layers, self.coefs_, self.intercepts_, strict=True):
            W[...], b[...] = coef, intercept  # type: ignore[index]
        return network

    def _bind(self, network: Network) -> Network:
        """``coefs_`` and ``intercepts_`` are views of the network from here on."""
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
        """Glorot and Bengio 2010, in scikit-learn's order of drawing; and what is counted from the first epoch on."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"
        self.coefs_, self.intercepts_ = [], []
        for inputs, outputs in zip(sizes, sizes[1:]):
            bound = np.sqrt((2.0 if self.activation == "logistic" else 6.0) / (inputs + outputs))
            for arrays, shape in ((self.coefs_, (inputs, outputs)), (self.intercepts_, (outputs,))):
                arrays.append(self._random_state.uniform(-bound, bound, shape).astype(dtype, copy=False))
        self.loss_curve_, self.validation_loss_curve_ = [], None
        self._no_improvement_count = 0
        self.best_loss_ = self.validation_scores_ = self.best_validation_score_ = None
        self.__dict__.pop("_optimizer", None)

    # -- training --------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool = False, **given: Any) -> MLPClassifier:
        """Check everything, commit, train.

        The checks, and the numbers drawn for them, change a shallow copy only, and training a new network: so whatever is
        refused, before or after it, leaves the model as it was.
        """
        checked = object.__new__(type(self))
        checked.__dict__.update(self.__dict__)
        shared = check_random_state(self.random_state)
        checked._random_state = copy.deepcopy(shared)
        with self._threads():
            data, network = checked._checked(X, y, sample_weight, incremental=incremental, **given)
            before, undrawn = self.__dict__, shared.get_state(legacy=False)
            shared.set_state(checked._random_state.get_state(legacy=False))
            checked._random_state = shared
            self.__dict__ = checked.__dict__
            if self.solver == "lbfgs":
                training.train_lbfgs(self, data, network)
            else:
                training.train_stochastic(self, data, network, incremental=incremental)
        if not np.isfinite(network.params).all():
            self.__dict__ = before
            shared.set_state(undrawn)
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
        return self

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, *, incremental: bool, classes: Any = None, X_val: Any = None,
        y_val: Any = None, groups: Any = None,
    ) -> tuple[TrainingData, Network]:  # fmt: skip
        """All that a fit needs; this estimator, a copy, becomes what it is when training begins."""
        hidden = self._checked_parameters(incremental)
        if incremental and _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        dtype = np.float64 if self.solver == "lbfgs" else None if first else self._dtype()
        given = X
        X, read, y = checks.training_samples(self, X, y, dtype, reset=first, once=incremental)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            check_classification_targets(y)  # also warns where most samples have a class of their own
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            checks.known_classes("y", y, self.classes_, all_of_them=self.warm_start)
        targets = checks.encoded("y", y, self._label_binarizer)
        weights = checks.sample_weights(X, y, targets, sample_weight, self.class_weight, self._label_binarizer)
        self.n_outputs_ = len(self.classes_) if targets.ndim == 1 else targets.shape[1]
        sizes = [X.shape[1], *hidden, self.n_outputs_]
        if first:
            self._initialize(sizes, np.float64 if X.dtype == np.float64 else np.float32)
        elif sizes != self._sizes():
            raise ValueError(
                f"hidden_layer_sizes is {hidden} and makes layers of {sizes}, but the network to go on with has "
                f"{self._sizes()}; set it back, or call fit with warm_start=False"
            )
        else:
            self._copy_curves()
        slots = 0 if self.solver == "lbfgs" else training.rule_of(self).slots
        network = self._bind(self._copied(dtype or self._dtype(), slots))
        if self.solver != "lbfgs":
            last = self.__dict__.get("_optimizer") if incremental else None
            self._optimizer = training.optimizer_of(self, network, last)
        scorer = None if self.scoring is None else check_scoring(self, self.scoring)
        rows = np.arange(len(targets))
        validation = checks.given_validation(self, X_val, y_val, network.dtype, self._label_binarizer, scorer)
        if self.early_stopping and self.solver != "lbfgs":
            if validation is None:
                stratify = targets.astype(bool) if self.n_outputs_ == 1 else None
                rows, held_out = checks.split(
                    len(targets), self.validation_fraction, stratify, weights, groups, self._random_state
                )
                validation = checks.Validation(
                    checks.prepared(X[held_out], network.dtype), targets[held_out],
                    None if weights is None else weights[held_out],
                    (_safe_indexing(given, held_out), y[held_out]), scorer,
                )  # fmt: skip
            if scorer is not None:
                validation.scored(self)  # what it refuses, it refuses now
        return TrainingData(read, targets, weights, rows, validation), network

    def _checked_parameters(self, incremental: bool) -> list[int]:
        """The sizes of the hidden layers; ValueError for parameters that do not go together."""
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if np.any(np.array(hidden) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        if not all(isinstance(units, Integral) for units in hidden):
            raise ValueError(f"hidden_layer_sizes must be integers, got {hidden}.")
        if self.dropout and self.solver == "lbfgs":
            raise ValueError("dropout is only available for stochastic optimizers. lbfgs is not stochastic.")
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. For 'balanced' weights, use "
                "`sklearn.utils.compute_class_weight` with `class_weight='balanced'`. In place of y you can use a large "
                "enough subset of the full training set target to properly estimate the class frequency distributions. "
                "Pass the resulting weights as the class_weight parameter."
            )
        return hidden

    def _copy_curves(self) -> None:
        """Lists of their own for what training appends to."""
        for name in ("loss_curve_", "validation_loss_curve_", "validation_scores_"):
            curve = getattr(self, name, None)
            setattr(self, name, None if curve is None else list(curve))
