"""``MLPClassifier``: ``BaseMLP`` for classes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from scipy.special import expit, log_expit, log_softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets, type_of_target

from ..backend import kernels
from ..models.model import Model
from . import checks
from .base import PARAMETERS, BaseMLP, Callback, documented, set_parameters
from .checks import Validation


@documented(PARAMETERS)
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier: scikit-learn's ``MLPClassifier`` on fused kernels, several times faster.

    Trains by lbfgs, sgd or adam on the log-loss with an L2 penalty. A drop-in: parameters, attributes, methods and
    errors are those of scikit-learn's class, and so are the random numbers drawn, hence the results up to rounding.

    Parameters
    ----------
    {shared parameters}
    class_weight : dict, list of dicts, 'balanced' or None, default=None
        Weights of the classes, multiplied with ``sample_weight``; for multilabel targets a dict an output. 'balanced'
        gives n_samples / (n_classes * count of the class), each sample counted by its weight, and is not available in
        ``partial_fit``.
    label_smoothing : float, default=0.0
        Part of each target spread evenly over the classes, in [0, 1); over yes and no where the output is logistic.

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
    Where this class differs from scikit-learn's (X with text, dates or gaps is for ``TableClassifier``):

    - X of dtype uint8 is used as it is, without a copy, and its network computes in float32 (scikit-learn's in
      float64). Otherwise float32 X trains in float32, other X in float64, and lbfgs always in float64. Predictions are
      in the dtype of the network, whatever that of X.
    - X that is mostly zeros, sparse or not, is trained on without multiplying the zeros, with the same result.
    - With sample weights the gradient is that of scikit-learn; but the penalty, which is alpha over the batch's sum of
      weights there, is here alpha over the batch's samples times the mean weight of all samples.
    - The log-loss is computed from the logits, and probabilities are not clipped at the dtype's epsilon.
    - Weights must not be negative.
    - A fitted model answers as it was fitted; ``set_params`` shows from the next fit on (``activation`` there at once).
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
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    classes_: np.ndarray

    def __init__(
        self,
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
        class_weight: Any = None,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        scoring: Any = None,
        callbacks: Callback | list[Callback] | None = None,
        n_threads: int | None = None,
    ) -> None:
        set_parameters(self, locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # -- the public methods ----------------------------------------------------------------------------------------

    @available_if(BaseMLP._check_solver)
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
        return self._fit(X, y, sample_weight, classes=checks.plain_text(classes), incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """The predicted classes, of shape (n_samples,) or, multilabel, (n_samples, n_outputs)."""
        P = self._probabilities(X)
        kind = self._label_binarizer.y_type_
        if kind == "multiclass":
            return self.classes_[P.argmax(1)]
        if kind == "binary" and len(self.classes_) == 2:
            return self.classes_[(P[:, 0] > 0.5).astype(np.intp)]
        return self._label_binarizer.inverse_transform(P.ravel() if self.n_outputs_ == 1 else P)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes in the order of ``classes_``, of shape (n_samples, n_classes)."""
        P = self._probabilities(X)
        if self.n_outputs_ > 1:
            return P
        return np.ones_like(P) if len(self.classes_) == 1 else np.hstack([1 - P, P])

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities, of shape (n_samples, n_classes)."""
        P = self.predict_proba(X)
        return np.log(P, out=P)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy for X and its labels y."""
        checks.refuse_masked(y, sample_weight)
        return float(super().score(X, checks.plain_text(y), sample_weight))

    def _as_model(self) -> Model:
        return Model(self._network(), 1.0, tuple(map(str, self.classes_)), columns=self._columns())

    def _probabilities(self, X: Any) -> np.ndarray:
        Z = self._last_layer(X, self._network())
        if self.out_activation_ == "softmax":
            return kernels.softmax(Z)
        return expit(Z, out=Z)

    # -- what the targets are --------------------------------------------------------------------------------------

    def _learn_targets(
        self, y: np.ndarray, weights: np.ndarray | None, *, first: bool, incremental: bool, classes: Any
    ) -> None:
        if y.dtype == object and not all(isinstance(label, str) for label in y.ravel()):
            kinds = ", ".join(sorted({type(label).__name__ for label in y.ravel()}))
            raise ValueError(
                f"Unknown label type: y has dtype object and holds {kinds}; it must be all text, or of a dtype of "
                f"numbers: y.astype({kinds if kinds in ('bool', 'float', 'int') else 'str'})"
            )
        if incremental and _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        if first and not incremental:
            check_classification_targets(y)  # also warns where most samples have a class of their own
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start:
            checks.known_classes("y", y, self.classes_, all_of_them=True)
        kind = self._label_binarizer.y_type_
        self.n_outputs_ = 1 if kind == "binary" else len(self.classes_)
        self.out_activation_ = "softmax" if kind == "multiclass" else "logistic"

    def _encoded(self, name: str, y: np.ndarray, dtype: Any) -> np.ndarray:
        checks.known_classes(name, y, self.classes_)
        classes, kind = self._label_binarizer.classes_, self._label_binarizer.y_type_
        multilabel = kind.startswith("multilabel")
        if multilabel != (y.ndim == 2):
            kinds = "a column for each label", "one label for each sample"
            raise ValueError(f"{name} has {kinds[multilabel]}; this model was fitted to {kinds[not multilabel]}")
        if not multilabel:
            targets = np.searchsorted(classes, y)
            return targets if kind == "multiclass" else targets[:, np.newaxis]
        if y.shape[1] != len(classes):
            raise ValueError(f"{name} has {y.shape[1]} columns; it must have {len(classes)}, one for each label")
        targets = np.ascontiguousarray(self._label_binarizer.transform(y), np.int64)
        others = targets[(targets != 0) & (targets != 1)]
        if others.size:
            raise ValueError(f"{name} has a column for each label and holds {others[0]}; it must hold only 0 and 1")
        return targets

    def _weights_of_classes(self, y: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return compute_sample_weight(self.class_weight, y)
        return checks.class_weights(y, targets.ravel(), self.class_weight, self._label_binarizer.classes_, weights)

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        return targets.astype(bool) if self.n_outputs_ == 1 else None

    def _tested(self, Z: np.ndarray, validation: Validation) -> tuple[float, float]:
        """(accuracy, mean log-loss); of several outputs, whether all are right, and the sum of the losses."""
        targets, weights = validation.targets, validation.weights
        if self.out_activation_ == "softmax":
            right = Z.argmax(1) == targets
            losses = -log_softmax(Z, axis=1)[np.arange(len(Z)), targets]
        else:
            right = ((Z > 0) == targets).all(1) | (len(self.classes_) == 1)
            losses = -log_expit(np.where(targets, Z, -Z)).sum(1)
        return float(np.average(right, weights=weights)), float(np.average(losses, weights=weights))

    @property
    def _objective(self) -> dict[str, Any]:
        return {"label_smoothing": self.label_smoothing}

    def _checked_parameters(self, incremental: bool) -> list[int]:
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. For 'balanced' weights, use "
                "`sklearn.utils.compute_class_weight` with `class_weight='balanced'`. In place of y you can use a "
                "large enough subset of the full training set target to properly estimate the class frequency "
                "distributions. Pass the resulting weights as the class_weight parameter."
            )
        return super()._checked_parameters(incremental)
