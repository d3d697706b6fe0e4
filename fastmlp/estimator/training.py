"""The training loops of the estimators: epochs of sgd or adam with their stopping rules, and lbfgs.

Like scikit-learn's they set attributes of the estimator: losses, scores, and counts of epochs and samples.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.optimize import _check_optimize_result

from .. import screen
from ..backend import Network, kernels
from ..log import warn_caller
from .checks import TrainingData, Validation

if TYPE_CHECKING:
    from .base import BaseMLP

_SMALLEST_RATE = 1e-6  # of the adaptive schedule
_CHUNK_SECONDS = 0.05  # of compiled steps in one call: Ctrl-C and the progress bar wait for its end
_SPARSE_CHUNK_SECONDS = 0.5  # longer, as the end of a chunk brings all of a wide layer up to date
_FIRST_CHUNK = 8  # steps
_PAST_CORRECTION = 2**40  # a step number at which Adam's moments are no longer corrected


@dataclass
class Optimizer:
    """The state of a stochastic solver between epochs, and between calls of ``partial_fit``."""

    rule: kernels.Rule
    initial_rate: float  # ``learning_rate_init`` when the rate was last set by it
    learning_rate: float
    state: np.ndarray  # of the network in training
    steps: int = 0

    def rates(self, count: int) -> np.ndarray:
        """The rates of the next steps.

        Adam's are those of Kingma and Ba 2015, end of section 2, as in scikit-learn: the moments' correction is in the
        rate, and epsilon is added to the root of the uncorrected second moment.
        """
        rates = np.full(count, self.learning_rate)
        if self.rule.slots == 2:
            t = self.steps + np.arange(1, count + 1)
            rates *= np.sqrt(1 - self.rule.beta2**t) / (1 - self.rule.beta1**t)
        return rates

    def slow_to(self, rate: float) -> None:
        """Set the rate, and keep scikit-learn's velocity: our state times the rate with which it was built up."""
        if self.rule.slots == 1 and rate > 0:
            self.state *= self.learning_rate / rate
        self.learning_rate = rate


def rule_of(model: BaseMLP) -> kernels.Rule:
    """The update rule of the solver, without the weight decay, which depends on the batch."""
    if model.solver == "adam":
        return kernels.adam(model.beta_1, model.beta_2, epsilon=model.epsilon)
    if model.momentum == 0:
        return kernels.sgd()
    return kernels.momentum(model.momentum, nesterov=model.nesterovs_momentum)


def optimizer_of(model: BaseMLP, network: Network, last: Optimizer | None) -> Optimizer:
    """An optimizer with its state in ``network``: a new one, or the ``last`` one with the current parameters."""
    rule, rate = rule_of(model), float(model.learning_rate_init)
    if last is None or last.rule.slots != rule.slots:
        network.state[...] = 0
        return Optimizer(rule, rate, rate, network.state)
    network.state[...] = last.state
    optimizer = Optimizer(rule, rate, last.learning_rate, network.state, last.steps)
    if rate != last.initial_rate:
        optimizer.slow_to(_scheduled(model))
    return optimizer


def _scheduled(model: BaseMLP) -> float:
    """The rate of the schedule after the samples seen; the adaptive one's divisions are not counted."""
    rate = float(model.learning_rate_init)
    if model.solver == "sgd" and model.learning_rate == "invscaling" and model.t_:
        rate /= (model.t_ + 1) ** model.power_t
    return rate


# -- what is noted of an epoch ---------------------------------------------------------------------------------------


def _told_to_stop(model: BaseMLP) -> bool:
    callbacks = [model.callbacks] if callable(model.callbacks) else model.callbacks or []
    answers = [callback(model, model.n_iter_) for callback in callbacks]  # all are called, even if one stops
    return any(answers)


def _record(model: BaseMLP, loss: float, validation: Validation | None, network: Network) -> float:
    """Set the losses of an epoch; returns the score of the held-out samples."""
    model.loss_ = loss
    model.loss_curve_.append(loss)
    if model.verbose:
        print(f"Iteration {model.n_iter_}, loss = {loss:.8f}")
    if validation is None:
        return math.nan
    score, held_out_loss = model._tested(kernels.mlp_forward(validation.X, network), validation)
    if model.validation_loss_curve_ is None:
        model.validation_loss_curve_ = []
    model.validation_loss_curve_.append(held_out_loss)
    if model.verbose:
        print(f"Validation loss = {held_out_loss:.8f}")
    return score


# -- lbfgs -----------------------------------------------------------------------------------------------------------


def train_lbfgs(model: BaseMLP, data: TrainingData, network: Network) -> None:
    """Minimise the loss of all samples at once."""
    X, targets, weights, rows = data.X, data.targets, data.weights, data.rows
    gradient = np.empty_like(network.params)
    total = len(rows) if weights is None else weights.sum()
    alpha = np.zeros(network.params.shape)  # for the elements of W; 0 for biases and padding between layers
    for start, (W, _) in zip(network.offsets, network.layers):
        alpha[start : start + W.size] = model.alpha

    def loss_and_gradient(params: np.ndarray) -> tuple[float, np.ndarray]:
        network.params[...] = params
        loss, _, _ = kernels.mlp_gradient(
            X, targets, rows, network, sample_weight=weights, mean=False, **model._objective,
            out=gradient,
        )  # fmt: skip
        decay = alpha * params
        return (loss * model._loss_share() + 0.5 * (decay * params).sum()) / total, (gradient + decay) / total

    accepted, told_to_stop = network.params.copy(), False

    def iteration(intermediate_result: Any) -> None:
        nonlocal told_to_stop
        accepted[...] = network.params[...] = intermediate_result.x
        model.n_iter_ += 1
        _record(model, float(intermediate_result.fun), data.validation, network)
        if told_to_stop := _told_to_stop(model):
            raise StopIteration

    model.n_iter_ = 0
    try:
        result = minimize(
            loss_and_gradient, accepted.copy(), method="L-BFGS-B", jac=True, callback=iteration,
            options={"maxfun": model.max_fun, "maxiter": model.max_iter, "gtol": model.tol},
        )  # fmt: skip
    except KeyboardInterrupt:
        warn_caller("Training interrupted by user.")
        network.params[...] = accepted
        return
    network.params[...] = result.x
    model.loss_ = float(result.fun)
    if not told_to_stop:
        model.n_iter_ = _check_optimize_result("lbfgs", result, model.max_iter)


# -- sgd and adam ----------------------------------------------------------------------------------------------------


def train_stochastic(model: BaseMLP, data: TrainingData, network: Network, *, incremental: bool) -> None:
    """Epochs until there is no more progress; one if ``incremental``."""
    watch = _Watch(model, network)
    epochs = _Epochs(model, network, data)
    order = np.arange(len(data.rows))
    try:
        model.n_iter_ = 0
        while model.n_iter_ < model.max_iter:
            if model.shuffle:
                order = order[model._random_state.permutation(len(order))]  # as sklearn.utils.shuffle draws it
            loss = epochs.run(data.rows[order])
            model.n_iter_ += 1
            model.t_ += len(order)
            score = _record(model, loss, data.validation, network)
            if model.early_stopping and data.validation is not None and data.validation.scorer is not None:
                score = data.validation.scored(model)
            watch.look(score)
            told_to_stop = _told_to_stop(model)
            if model.solver == "sgd" and model.learning_rate == "invscaling":
                model._optimizer.slow_to(_scheduled(model))
            if model._no_improvement_count > model.n_iter_no_change and _stops(model):
                break
            if told_to_stop or incremental:
                break
            if model.n_iter_ == model.max_iter:
                warn_caller(
                    f"Stochastic Optimizer: Maximum iterations ({model.max_iter}) reached and the optimization hasn't "
                    "converged yet.",
                    ConvergenceWarning,
                )
    except KeyboardInterrupt:
        warn_caller("Training interrupted by user.")
    if model.early_stopping:
        network.params[...] = watch.best_params
        if model.n_iter_ and model.best_validation_score_ == -np.inf:
            warn_caller("No score of the held-out samples was a number; the last weights are kept.")


class _Watch:
    """Counts epochs without progress: of the score with early stopping, else of the loss.

    A score begins anew with each fit, as the held-out samples may differ. The best loss and its count go on in a warm
    start, as in scikit-learn.
    """

    def __init__(self, model: BaseMLP, network: Network) -> None:
        self.model, self.network = model, network
        if model.early_stopping:
            model.best_validation_score_, model.best_loss_, model._no_improvement_count = -np.inf, None, 0
            model.validation_scores_ = model.validation_scores_ or []
            self.best_params = network.params.copy()
        elif model.best_loss_ is None:
            model.best_loss_, model._no_improvement_count = np.inf, 0
            model.validation_scores_ = model.best_validation_score_ = None

    def look(self, score: float) -> None:
        model = self.model
        if model.early_stopping:
            model.validation_scores_.append(score)
            if model.verbose:
                print(f"Validation score: {score:f}")
            stuck = score < model.best_validation_score_ + model.tol
            best = model.best_validation_score_
            if score > best:
                model.best_validation_score_ = score
            if score > best or best == -np.inf:  # NaN is no score: where there is none the last weights are kept
                self.best_params[...] = self.network.params
        else:
            stuck = model.loss_ > model.best_loss_ - model.tol
            model.best_loss_ = min(model.best_loss_, model.loss_)
        model._no_improvement_count = model._no_improvement_count + 1 if stuck else 0


def _stops(model: BaseMLP) -> bool:
    """Without progress: whether to stop; the adaptive schedule goes on at a fifth of the rate instead."""
    what, optimizer = "Validation score" if model.early_stopping else "Training loss", model._optimizer
    message = f"{what} did not improve more than tol={model.tol:f} for {model.n_iter_no_change} consecutive epochs."
    adaptive = model.solver == "sgd" and model.learning_rate == "adaptive"
    stopping = not adaptive or optimizer.learning_rate <= _SMALLEST_RATE
    if not stopping:
        model._no_improvement_count = 0
        optimizer.slow_to(optimizer.learning_rate / 5)
    if model.verbose:
        ending = "Stopping." if not adaptive else "Learning rate too small. Stopping."
        print(message, ending if stopping else f"Setting learning rate to {optimizer.learning_rate:f}")
    return stopping


class _Epochs:
    """Epochs of training steps, in compiled chunks."""

    def __init__(self, model: BaseMLP, network: Network, data: TrainingData) -> None:
        self.model, self.network, self.data = model, network, data
        weights, rows = data.weights, data.rows
        self.batch = min(200, len(rows)) if isinstance(model.batch_size, str) else int(model.batch_size)
        if self.batch > len(rows):
            warn_caller("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
            self.batch = len(rows)
        self.mean_weight = 1.0 if weights is None else weights[rows].mean() or 1.0
        self.seed = int(model._random_state.randint(2**32, dtype=np.uint32)) if model.dropout else 0
        self.chunk = _FIRST_CHUNK
        self.chunk_seconds = _SPARSE_CHUNK_SECONDS if isinstance(data.X, kernels.CSR) else _CHUNK_SECONDS
        self._line, self._shown = screen.Line() if model.verbose else None, 0.0

    def run(self, rows: np.ndarray) -> float:
        """Train on ``rows`` in this order; returns the mean loss, with the penalty."""
        n, alpha = len(rows), self.model.alpha
        weights, steps = self._batch_weights(rows), -(-n // self.batch)
        losses: list[np.ndarray] = []
        done, squares = 0, 0.0
        while done < n:
            left = max(1, (n - done) // self.batch)  # a short last batch is a step of its own, with its own decay
            count = left if left < 2 * self.chunk else self.chunk
            stop = min(n, done + count * self.batch)
            part, of_part = self._steps(rows[done:stop], count, weights)
            losses.append(part)
            squares += of_part
            done = stop
            self._show(done / n)
        each = np.concatenate(losses)
        if weights is not None:  # already divided by the batch's sum of weights
            each *= np.minimum(self.batch, n - np.arange(steps) * self.batch)
        return (float(each.sum()) * self.model._loss_share() + 0.5 * alpha / self.mean_weight * squares) / n

    def _batch_weights(self, rows: np.ndarray) -> np.ndarray | None:
        """The weights [N], each divided by the sum of its batch's weights."""
        if self.data.weights is None:
            return None
        weights = np.zeros(len(self.data.weights))
        w = self.data.weights[rows]
        sums = np.add.reduceat(w, np.arange(0, len(w), self.batch))
        weights[rows] = w / np.repeat(np.where(sums > 0, sums, 1), self.batch)[: len(w)]
        return weights

    def _steps(self, rows: np.ndarray, count: int, weights: np.ndarray | None) -> tuple[np.ndarray, float]:
        """Take ``count`` steps over ``rows``; returns the samples' losses and the sum of |W|^2 before each step."""
        model, optimizer, start = self.model, self.model._optimizer, time.perf_counter()
        decay = model.alpha / (min(self.batch, len(rows)) * self.mean_weight)
        squares = np.zeros(1) if model.alpha else None
        losses, _ = kernels.mlp_train_steps(
            self.data.X, self.data.targets, rows, self.batch, self.network,
            rule=optimizer.rule._replace(weight_decay=decay), lr=optimizer.rates(count),
            t=_PAST_CORRECTION + optimizer.steps, sample_weight=weights,
            mean=weights is None, **model._objective, dropout=model.dropout, seed=self.seed,
            squares=squares,
        )  # fmt: skip
        optimizer.steps += count
        if time.perf_counter() - start < self.chunk_seconds and count >= self.chunk:
            self.chunk *= 2
        return losses, 0.0 if squares is None else float(squares[0])

    def _show(self, part: float) -> None:
        """The progress bar of an epoch, on a terminal and in a notebook."""
        line = self._line
        if line is None or not line.live or (part < 1 and time.monotonic() - self._shown < 0.1):
            return
        self._shown = time.monotonic()
        line.show(f"{screen.bar(part, 20)} epoch {self.model.n_iter_ + 1}/{self.model.max_iter}" if part < 1 else "")
