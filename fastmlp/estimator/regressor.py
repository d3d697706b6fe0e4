"""``MLPRegressor``: ``BaseMLP`` for numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from ..backend import kernels
from ..models.model import Model
from ..models.target import Target, central
from . import checks
from .base import PARAMETERS, BaseMLP, Callback, documented, set_parameters
from .checks import Validation

_OUTPUTS = {"identity": "identity", "exponential": "exp"}  # scikit-learn's names of them
_LOSSES = {name: loss for name, loss in kernels.LOSSES.items() if loss.output in _OUTPUTS}


@documented(PARAMETERS)
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor: ``sklearn.neural_network.MLPRegressor`` on fused kernels, several times faster.

    Trains by lbfgs, sgd or adam on the squared error, or another loss, with an L2 penalty. A drop-in: parameters,
    attributes, methods and errors are those of scikit-learn's class, and so are the random numbers drawn, hence the
    results up to rounding.

    Parameters
    ----------
    loss : {'squared_error', 'poisson', 'absolute_error', 'huber', 'quantile', 'gamma'}, default='squared_error'
        Half the squared error, or half the deviance of Poisson or gamma distributed y, whose logarithm the network
        makes (y is at least 0, or positive); the absolute error, for the median; Huber's loss, squared up to ``delta``;
        or the quantile loss. ``kernels.LOSSES`` has the equations and sources.
    {shared parameters}
    delta : float, default=1.0
        The largest error whose square ``loss='huber'`` takes, in what the network learns (see ``standardize_target``).
    quantiles : float or array-like of floats, default=0.5
        What ``loss='quantile'`` predicts. Of several, rising, there is a column each, for each column of y, and they
        never cross; ``score`` is that of the one nearest to the median.
    standardize_target : bool, default=False
        Learn (y - mean) / deviation, weighted, of each column of the y of the first fit; where logarithms are learnt, y
        / mean. Predictions are in the units of y, the losses in those of the network. Rates and penalties then do not
        depend on the units of y.

    Attributes
    ----------
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, t_, coefs_, intercepts_, \
n_features_in_, feature_names_in_, n_iter_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn; ``loss_curve_`` is there for lbfgs too. The loss is the mean over the outputs, a deviance
        the sum; the gradient is that of the sum. ``coefs_`` and ``intercepts_`` are lists of arrays; predictions and
        further training start from whatever is in them.
    validation_loss_curve_ : list of shape (n_iter_,) or None
        Mean loss, without penalty, on ``X_val`` or on the samples held out for early stopping.
    target_mean_, target_scale_ : ndarrays of shape (columns of y,) or None
        What is subtracted of y, and what it is divided by; None without ``standardize_target``.

    Notes
    -----
    Differs from scikit-learn's class as ``MLPClassifier`` does from its own: uint8 X, zeros, the penalty beside sample
    weights, weights that are negative, Ctrl-C. X with text, dates or gaps is for ``TableRegressor``. y is read in the
    dtype of the network.

    Examples
    --------
    >>> from fastmlp import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X[:150], y[:150]).score(X[150:], y[150:]) > 0.9
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(_LOSSES))],
        "delta": [Interval(Real, 0, None, closed="neither")],
        "quantiles": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        "standardize_target": ["boolean"],
    }

    target_mean_: Any  # an array, or None, and the next with it
    target_scale_: Any

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str | Sequence[str] = "relu",
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
        dropout: float = 0.0,
        scoring: Any = None,
        callbacks: Callback | list[Callback] | None = None,
        n_threads: int | None = None,
        delta: float = 1.0,
        quantiles: Any = 0.5,
        standardize_target: bool = False,
    ) -> None:
        set_parameters(self, locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @available_if(BaseMLP._check_solver)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Update the model with a single epoch over the given data. A call that is refused leaves the model as it was.

        Rates, momentum, betas and solver are those that the model has now: one that was changed since the last call is
        obeyed. ``hidden_layer_sizes`` cannot change, nor what a standardised target is measured in.

        Parameters
        ----------
        X, y, sample_weight
            As in ``fit``.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """The predicted numbers, of shape (n_samples,) or (n_samples, n_outputs_), in the dtype of the network."""
        return self._numbers(self._last_layer(X, self._network()))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The R² of the predictions; of several quantiles, of those nearest to the median."""
        checks.refuse_masked(y, sample_weight)
        return float(r2_score(y, central(self.predict(X), self._loss), sample_weight=sample_weight))

    def _numbers(self, Z: np.ndarray) -> np.ndarray:
        """The predictions, in the units of y, for the network's outputs Z [N, O]."""
        predicted = self._loss.predict(Z)
        if self.target_mean_ is not None:
            each = Z.shape[1] // len(self.target_mean_)
            mean, scale = (np.repeat(values, each) for values in (self.target_mean_, self.target_scale_))
            predicted = (predicted * scale + mean).astype(Z.dtype)
        return predicted[:, 0] if Z.shape[1] == 1 else predicted

    def _as_model(self) -> Model:
        network, loss = self._network(), self._loss
        T = self.n_outputs_ // loss.each
        parameters = ",".join(str(float(value)) for value in np.ravel(list(loss)))
        mean, scale = self.target_mean_, self.target_scale_
        target = Target(
            f"{loss.name}:{parameters}" if parameters else loss.name,
            np.zeros(T) if mean is None else mean,
            np.ones(T) if scale is None else scale,
        )
        return Model(network, 1.0, (), columns=self._columns(), target=target)

    # -- what the targets are --------------------------------------------------------------------------------------

    def _learn_targets(
        self, y: np.ndarray, weights: np.ndarray | None, *, first: bool, incremental: bool, classes: Any
    ) -> None:
        self.__dict__.pop("_loss", None)
        Y, loss = _columns("y", y), self._loss
        output = _OUTPUTS[loss.output]
        if first:
            self.n_outputs_, self.out_activation_ = loss.each * Y.shape[1], output
            self.target_mean_ = self.target_scale_ = None
            if self.standardize_target:
                logarithm = output == "exp"
                mean = np.average(Y, axis=0, weights=weights)
                scale = mean if logarithm else np.sqrt(np.average(np.square(Y - mean), axis=0, weights=weights))
                self.target_mean_ = np.zeros(len(scale)) if logarithm else mean
                self.target_scale_ = np.where(scale > 0, scale, 1)
        elif output != self.out_activation_:
            raise ValueError(
                f"loss is {self.loss!r}, of which the output is {output}, but that of the network to go on with is "
                f"{self.out_activation_}; set it back, or call fit with warm_start=False"
            )
        elif self.standardize_target != (self.target_mean_ is not None):
            raise ValueError(
                f"standardize_target is {self.standardize_target}, which the network to go on with was not fitted "
                "with; set it back, or call fit with warm_start=False"
            )

    def _encoded(self, name: str, y: np.ndarray, dtype: Any) -> np.ndarray:
        Y = _columns(name, y)
        loss = self._loss
        if Y.shape[1] * loss.each != self.n_outputs_:
            made = "" if loss.each == 1 else f", and makes {loss.each} of each"
            fitted = f"this model was fitted with {self.n_outputs_} outputs"
            raise ValueError(f"{name} has {Y.shape[1]} columns{made}; {fitted}")
        with np.errstate(over="ignore"):  # refused below
            targets = given = Y.astype(dtype)
            if self.target_mean_ is not None:  # predictions are in the units of y, and in this dtype
                targets = ((Y - self.target_mean_) / self.target_scale_).astype(dtype)
        if not (np.isfinite(given).all() and np.isfinite(targets).all()):
            raise ValueError(f"{name} holds a number too large for dtype {np.dtype(dtype)}, in which it is learnt")
        loss.targets(name, targets, len(targets), self.n_outputs_, targets.dtype)  # whether it takes them
        return targets

    def _tested(self, Z: np.ndarray, validation: Validation) -> tuple[float, float]:
        """(R², NaN where a prediction is not finite, mean loss)."""
        weights = validation.weights
        loss, _, _ = kernels.loss_gradient(Z, validation.targets, self._loss, sample_weight=weights)
        total = len(Z) if weights is None else weights.sum()
        predicted, score = self._numbers(Z), np.nan
        if np.isfinite(predicted).all():
            score = r2_score(validation.given[1], central(predicted, self._loss), sample_weight=weights)
        return float(score), loss * self._loss_share() / total

    @property
    def _objective(self) -> dict[str, Any]:
        return {"loss": self._loss}

    @cached_property
    def _loss(self) -> Any:
        """The loss of the last fit, which begins by making it anew from the parameters."""
        parameters = {"huber": (self.delta,), "quantile": (self.quantiles,)}
        return _LOSSES[self.loss](*parameters.get(self.loss, ()))

    def _loss_share(self) -> float:
        return 1 / self.n_outputs_ if self.out_activation_ == "identity" else 1.0


def _columns(name: str, y: Any) -> np.ndarray:
    """y as float64 [N, O]. ValueError for anything but numbers."""
    if issparse(y):
        raise ValueError(f"{name} is sparse; it must be an array")
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {y.dtype}; it must hold numbers, or a classifier learns it")
    return y.reshape(len(y), -1).astype(np.float64, copy=False)
