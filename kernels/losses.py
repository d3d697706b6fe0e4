"""The losses, one class each, and softmax. A loss is one pass over the rows: loss, hits and gradient at the outputs.

A class holds everything about its loss: ``name``; ``output``, what a network that minimises it predicts
(``network.OUTPUTS``); ``targets``, which checks the targets; ``gradient``, the pass; ``twin``, the definition in NumPy.
Its fields are its parameters, which compiled code reads at run time. A loss that is a sum over outputs, each with a
target of its own, defines the cost of one output only, as ``point`` and ``twin_point``: see ``NumberLoss``.

Legend: ``B`` rows (samples), ``O`` outputs; Z [B, O] the last layer's outputs, Y [B, O] targets that are numbers. All
functions here are raw: they check nothing.
"""

from __future__ import annotations

import inspect
from collections import Counter, namedtuple
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numba import from_dtype, njit

from . import checks, simd
from .bundles import Matrix, after, class_attribute
from .intrinsics import flat, out_of_line
from .jit import kernel, piece
from .narrow import transpose_rows
from .network import OUTPUTS
from .subnormals import normal
from .team import share

for _attribute in ("gradient", "columns", "point", "of_row"):
    class_attribute(_attribute)


class Targets(NamedTuple):
    """The targets of a batch: row i has labels[rows[i]] and the weight weights[rows[i]], or 1 if ``weights`` is empty.

    ``labels`` is flat: a class for each row, or a number for each of its outputs.
    """

    labels: np.ndarray
    weights: np.ndarray
    rows: np.ndarray


@piece
def _weight_of(targets, i):
    """The weight of row i of the batch."""
    return targets.weights[targets.rows[i]] if targets.weights.size else 1.0


class Outcomes(NamedTuple):
    """Loss and hit of each row, in arrays: so they are summed in one order for any number of parts."""

    losses: np.ndarray
    hits: np.ndarray


@kernel
def _columns_as_rows(loss, n, O, width, Z, targets, scale, outcomes, dZ, room):
    """``gradient`` for n samples along the vectors, Z and dZ [O, width], by transposition; dZ is 0 past column n.

    Scratch: 2 O + 2 rows of ``width`` elements in ``room``, and the last two thirds of ``outcomes.losses``.
    """
    rows, errors = Matrix(room, O, 1), Matrix(after(room, n * O), O, 1)
    transpose_rows(O, n, Matrix(Z, width, 1), rows)
    loss.gradient(loss, 0, n, O, rows.values, targets, scale, outcomes, errors.values)
    transpose_rows(n, O, errors, Matrix(dZ, width, 1))
    for k in range(O):
        dZ[k * width + n : (k + 1) * width] = 0


class Loss:
    """A loss. Its class is also a named tuple, whose fields are the parameters of the loss.

    They are checked, and converted for compiled code, when the loss is made: no step has to look again.
    """

    name: ClassVar[str]
    output: ClassVar[str]
    gradient: ClassVar[Any]
    columns: ClassVar[Any] = _columns_as_rows  # ``gradient`` for samples along the vectors: see ``small``
    _make: ClassVar[Any] = classmethod(lambda cls, parameters: cls(*parameters))  # what ``_replace`` calls

    def targets(self, name: str, value: Any, samples: int, outputs: int, dtype: np.dtype) -> np.ndarray:
        """``value``, checked and converted: the targets of all samples, row by row, in any shape; here class labels."""
        if self.output == "softmax":
            return checks.as_labels(name, value, samples, outputs)
        return checks.as_targets(name, value, samples, outputs)

    def twin(self, Z: np.ndarray, targets: np.ndarray, sample_weight: Any) -> tuple[float, int, np.ndarray]:
        """(loss, hits, dZ): the loss summed over the rows, and the number of rows that are right."""
        raise NotImplementedError


class CrossEntropy(Loss, namedtuple("_Smoothing", "smoothing epsilon")):
    """A loss of class labels, which may be smoothed."""

    def __new__(cls, smoothing=0.0, epsilon=0.0):
        smoothing = checks.fraction("label_smoothing", smoothing)
        epsilon = checks.finite_number("epsilon", epsilon, least=0.0)
        if smoothing and epsilon:
            raise ValueError(f"label_smoothing is {smoothing} and epsilon {epsilon}; one of them must be 0")
        if epsilon and cls.output != "softmax":
            raise ValueError(f"epsilon is {epsilon}; it must be 0 where the network's output is {cls.output}")
        return super().__new__(cls, smoothing, epsilon)


@piece
def _largest(O, Z, z):
    """The maximum of Z[z : z + O]; NaN if there is one, as in NumPy."""
    lanes = simd.lanes(Z)
    full = O - O % lanes
    running = simd.broadcast(Z, Z[z])
    for j in range(0, full, lanes):
        running = simd.maximum(running, simd.load(Z, z + j))
    if full < O:
        rest = O - full
        last = simd.select(simd.leading(Z, rest), simd.load_masked(Z, z + full, rest), running)
        running = simd.maximum(running, last)
    return simd.reduce_max(running)


@piece
def _index_of(largest, O, Z, z):
    """The first index of the maximum in Z[z : z + O]: of ``largest``, or of a NaN."""
    lanes = simd.lanes(Z)
    first = 0
    while first + lanes <= O:
        x = simd.load(Z, z + first)
        if simd.count((x == largest) | (x != x)):
            break
        first += lanes
    for j in range(first, O):
        if Z[z + j] == largest or np.isnan(Z[z + j]):
            return j
    return 0


@piece
def _exp_row(O, Z, z, largest, E):
    """E[z + j] = exp(Z[z + j] - largest) for j < O; returns the sum, taken lane by lane and then by halves."""
    lanes = simd.lanes(Z)
    full = O - O % lanes
    shift = simd.broadcast(Z, largest)
    total = simd.zeros(Z)
    for j in range(0, full, lanes):
        power = simd.exp(simd.load(Z, z + j) - shift)
        simd.store(E, z + j, power)
        total = total + power
    if full < O:
        rest = O - full
        power = simd.exp(simd.load_masked(Z, z + full, rest) - shift)
        simd.store_masked(E, z + full, power, rest)
        total = total + simd.select(simd.leading(Z, rest), power, simd.zeros(Z))
    return simd.reduce_add(total)


@piece
def _affine(O, P, p, total, factor, less):
    """P = factor * (P / total - less) for P[p : p + O]."""
    lanes = simd.lanes(P)
    for j in range(0, O, lanes):
        rest = min(lanes, O - j)
        x = simd.load_masked(P, p + j, rest) / simd.broadcast(P, total) - simd.broadcast(P, less)
        simd.store_masked(P, p + j, simd.broadcast(P, factor) * x, rest)


@kernel
def softmax(part, parts, Z, P):
    """P = exp(Z - max) / sum(exp(Z - max)) by rows."""
    lo, hi = share(part, parts, Z.shape[0])
    O = Z.shape[1]
    for i in range(lo, hi):
        largest = _largest(O, flat(Z), i * O)
        total = _exp_row(O, flat(Z), i * O, largest, flat(P))
        _affine(O, flat(P), i * O, total, P.dtype.type(1), P.dtype.type(0))


def _weighted(losses: np.ndarray, sample_weight: Any) -> tuple[float, np.ndarray]:
    """The weighted sum of the rows' losses, and the weights as a column."""
    weight = np.ones(len(losses)) if sample_weight is None else normal(np.asarray(sample_weight, np.float64))
    return float((weight * losses).sum()), weight[:, None]


@kernel
def _softmax_gradient(loss, lo, hi, O, Z, targets, scale, outcomes, dZ):
    """Rows lo .. hi - 1 of ``SoftmaxCrossEntropy``: their losses and hits, and dZ = scale * w * (softmax(Z) - Q).

    With an epsilon > 0, and then no smoothing, the loss is -log(p + epsilon).
    """
    out_of_line()
    real = Z.dtype.type
    others = real(loss.smoothing / O)
    for i in range(lo, hi):
        label = targets.labels[targets.rows[i]]
        weight = _weight_of(targets, i)
        factor, row = real(scale * weight), i * O
        largest = _largest(O, Z, row)
        argmax = _index_of(largest, O, Z, row)
        total = _exp_row(O, Z, row, largest, dZ)
        if loss.epsilon > 0:
            lost = -np.log(np.float64(dZ[row + label] / total) + loss.epsilon)
        else:
            logit = np.float64(Z[row + label])
            if loss.smoothing > 0:
                every = 0.0
                for j in range(row, row + O):
                    every += np.float64(Z[j])
                logit = (1 - loss.smoothing) * logit + loss.smoothing * (every / O)
            lost = np.log(np.float64(total)) - (logit - np.float64(largest))
        outcomes.losses[i], outcomes.hits[i] = lost * weight, argmax == label
        _affine(O, dZ, row, total, factor, others)
        dZ[row + label] -= real(factor * (1 - loss.smoothing))


@kernel
def _softmax_columns(loss, n, O, width, Z, targets, scale, outcomes, dZ, room):
    """``_softmax_gradient`` for n samples along the vectors: see ``_columns_as_rows``."""
    real, lanes, losses = Z.dtype.type, simd.lanes(Z), outcomes.losses
    factors, largest, totals, firsts = room, after(room, width), after(room, 2 * width), after(room, 3 * width)
    for s in range(n):
        factors[s] = scale * _weight_of(targets, s)
    factors[n:width] = 0
    for s in range(0, width, lanes):
        most, first, total = simd.load(Z, s), simd.zeros(Z), simd.zeros(Z)
        for k in range(1, O):
            x = simd.load(Z, k * width + s)
            first = simd.select(x > most, simd.broadcast(Z, real(k)), first)
            most = simd.maximum(most, x)
        for z in range(s, s + O * width, width):
            power = simd.exp(simd.load(Z, z) - most)
            simd.store(dZ, z, power)
            total = total + power
        simd.store(largest, s, most)
        simd.store(firsts, s, first)
        simd.store(totals, s, total)
    for s in range(n):
        losses[s] = totals[s]
        if loss.epsilon > 0:
            losses[s] = np.float64(dZ[targets.labels[targets.rows[s]] * width + s] / totals[s]) + loss.epsilon
    for s in range(0, n, simd.lanes(losses)):
        simd.store_masked(losses, s, simd.log(simd.load_masked(losses, s, n - s)), n - s)
    others = simd.broadcast(Z, real(loss.smoothing / O))
    for s in range(0, width, lanes):
        factor, total = simd.load(factors, s), simd.load(totals, s)
        for z in range(s, s + O * width, width):
            simd.store(dZ, z, factor * (simd.load(dZ, z) / total - others))
    for s in range(n):
        label = targets.labels[targets.rows[s]]
        place, hit = label * width + s, firsts[s] == label
        if np.isnan(largest[s]):  # the first NaN counts as the maximum
            hit = np.isnan(Z[place])
            for z in range(s, place, width):
                hit &= not np.isnan(Z[z])
        if loss.epsilon > 0:
            lost = -losses[s]
        else:
            logit = np.float64(Z[place])
            if loss.smoothing > 0:
                every = 0.0
                for z in range(s, s + O * width, width):
                    every += np.float64(Z[z])
                logit = (1 - loss.smoothing) * logit + loss.smoothing * (every / O)
            lost = losses[s] - (logit - np.float64(largest[s]))
        losses[s], outcomes.hits[s] = lost * _weight_of(targets, s), hit
        dZ[place] -= real(factors[s] * (1 - loss.smoothing))


class SoftmaxCrossEntropy(CrossEntropy):
    """loss = -sum_ik w_i Q[i, k] log P[i, k], P = softmax(Z), Q = (1 - s) onehot(label) + s / O.

    dZ = w (P - Q). With an ``epsilon`` > 0 the loss is -sum_i w_i log(P[i, label] + epsilon), and dZ the same.
    """

    name, output = "softmax_cross_entropy", "softmax"
    gradient, columns = _softmax_gradient, _softmax_columns

    def twin(self, Z: np.ndarray, labels: np.ndarray, sample_weight: Any) -> tuple[float, int, np.ndarray]:
        """(loss, rows whose first largest logit is the label's, dZ), the loss summed over the rows."""
        Z, rows, O = normal(Z), np.arange(len(labels)), Z.shape[1]
        shifted = Z - Z.max(1, keepdims=True)
        E = normal(np.exp(shifted))
        P = normal(E / E.sum(1, keepdims=True))
        Q = np.full(Z.shape, self.smoothing / O)
        Q[rows, labels] += 1 - self.smoothing
        if self.epsilon > 0:
            losses = -np.log(P[rows, labels].astype(np.float64) + self.epsilon)
        else:
            losses = np.log(E.sum(1).astype(np.float64)) - np.where(Q > 0, Q * shifted, 0).sum(1)
        loss, weight = _weighted(losses, sample_weight)
        return loss, int((Z.argmax(1) == labels).sum()), normal((weight * (P - Q)).astype(Z.dtype))


@kernel
def _logistic_gradient(loss, lo, hi, O, Z, targets, scale, outcomes, dZ):
    """Rows lo .. hi - 1 of ``LogisticCrossEntropy``; each row of the data set has O labels, 0 or 1."""
    smoothing, real = loss.smoothing, Z.dtype.type
    for i in range(lo, hi):
        weight = _weight_of(targets, i)
        factor = real(scale * weight)
        lost, right = 0.0, True
        for k in range(O):
            logit, label = Z[i * O + k], targets.labels[targets.rows[i] * O + k]
            target = (1 - smoothing) * label + 0.5 * smoothing
            small = np.exp(-abs(np.float64(logit)))
            lost += max(np.float64(logit), 0.0) - logit * target + np.log1p(small)
            p = (1.0 if logit >= 0 else small) / (1 + small)
            right &= (logit > 0) == (label == 1)
            dZ[i * O + k] = factor * real(p - target)
        outcomes.losses[i], outcomes.hits[i] = weight * lost, right


@kernel
def _logistic_columns(loss, n, O, width, Z, targets, scale, outcomes, dZ, room):
    """``_logistic_gradient`` for n samples along the vectors: see ``_columns_as_rows``."""
    real, losses, smoothing = Z.dtype.type, outcomes.losses, loss.smoothing
    logits, rest = after(losses, width), after(losses, 2 * width)
    for s in range(n):
        losses[s], outcomes.hits[s] = 0.0, 1
    for k in range(O):
        for s in range(n):
            logits[s] = Z[k * width + s]
            rest[s] = (1 - smoothing) * targets.labels[targets.rows[s] * O + k] + 0.5 * smoothing
        for s in range(0, n, simd.lanes(losses)):
            z, target = simd.load_masked(logits, s, n - s), simd.load_masked(rest, s, n - s)
            small = simd.exp(0 - abs(z))
            lost = simd.maximum(z, 0) - z * target + simd.log1p(small)
            simd.store_masked(losses, s, simd.load_masked(losses, s, n - s) + lost, n - s)
            simd.store_masked(rest, s, simd.select(z > 0, 1, small) / (1 + small) - target, n - s)
        for s in range(n):
            dZ[k * width + s] = real(scale * _weight_of(targets, s)) * real(rest[s])
            outcomes.hits[s] &= (logits[s] > 0) == (targets.labels[targets.rows[s] * O + k] == 1)
        dZ[k * width + n : (k + 1) * width] = 0
    for s in range(n):
        losses[s] *= _weight_of(targets, s)


class LogisticCrossEntropy(CrossEntropy):
    """loss = -sum_ik w_i (Q log P + (1 - Q) log(1 - P)), P = 1 / (1 + exp(-Z)), Q = (1 - s) label + s / 2.

    dZ = w (P - Q).
    """

    name, output = "logistic_cross_entropy", "logistic"
    gradient, columns = _logistic_gradient, _logistic_columns

    def twin(self, Z: np.ndarray, labels: np.ndarray, sample_weight: Any) -> tuple[float, int, np.ndarray]:
        """(loss, rows with every output on its label's side of zero, dZ), the loss summed over the rows."""
        Z, Q = normal(Z), (1 - self.smoothing) * np.asarray(labels, np.float64) + self.smoothing / 2
        wide = Z.astype(np.float64)
        losses = np.maximum(wide, 0) - wide * Q + np.log1p(np.exp(-np.abs(wide)))
        loss, weight = _weighted(losses.sum(1), sample_weight)
        right = ((Z > 0) == (np.asarray(labels) == 1)).all(1)
        with np.errstate(over="ignore"):
            return loss, int(right.sum()), normal((weight * (1 / (1 + np.exp(-wide)) - Q)).astype(Z.dtype))


@kernel
def _focal_gradient(loss, lo, hi, O, Z, targets, scale, outcomes, dZ):
    """Rows lo .. hi - 1 of ``Focal``: their losses and hits, and dZ = scale * w * m * (softmax(Z) - onehot(label))."""
    real = Z.dtype.type
    for i in range(lo, hi):
        label, row = targets.labels[targets.rows[i]], i * O
        weight = _weight_of(targets, i)
        largest = _largest(O, Z, row)
        argmax = _index_of(largest, O, Z, row)
        total = _exp_row(O, Z, row, largest, dZ)
        others = 0.0
        for j in range(row, row + O):
            if j != row + label:
                others += np.float64(dZ[j])
        miss = others / np.float64(total)
        if miss < 0.5:
            log_p = np.log1p(-miss)
        else:
            log_p = np.float64(Z[row + label]) - np.float64(largest) - np.log(np.float64(total))
        lost, steepness = _focused(miss, log_p, loss.gamma)
        outcomes.losses[i], outcomes.hits[i] = weight * lost, argmax == label
        factor = real(scale * weight * steepness)
        _affine(O, dZ, row, total, factor, real(0))
        dZ[row + label] = -factor * real(miss)


@piece
def _focused(miss, log_p, gamma):
    """(-(1 - p)^g log p, (1 - p)^g - g p (1 - p)^(g - 1) log p) of miss = 1 - p; both have the limit 0 at p = 1."""
    if miss <= 0:
        return 0.0, 0.0
    focus = miss**gamma
    return -focus * log_p, focus * (1 - gamma * np.exp(log_p) * log_p / miss)


class Focal(Loss, namedtuple("_Gamma", "gamma")):
    """loss = -sum_i w_i (1 - p)^gamma log p, p = softmax(Z)[i, label]; gamma >= 0, and 0 is cross-entropy.

    Samples that are right already count little, so that rare classes count more. dZ = w m (softmax(Z) - onehot(label)),
    m = (1 - p)^gamma - gamma p (1 - p)^(gamma - 1) log p. Lin et al. 2017, there for two classes.
    """

    name, output = "focal", "softmax"
    gradient = _focal_gradient

    def __new__(cls, gamma=2.0):
        return super().__new__(cls, checks.finite_number("gamma", gamma, least=0.0))

    def twin(self, Z, targets, sample_weight):
        rows, wide = np.arange(len(targets)), normal(Z).astype(np.float64)
        shifted = wide - wide.max(1, keepdims=True)
        E = np.exp(shifted)
        P = E / E.sum(1, keepdims=True)
        slopes, others = P.copy(), E.copy()
        others[rows, targets] = 0
        miss = others.sum(1) / E.sum(1)
        slopes[rows, targets] = -miss
        with np.errstate(divide="ignore", invalid="ignore"):
            log_p = np.where(miss < 0.5, np.log1p(-miss), shifted[rows, targets] - np.log(E.sum(1)))
            steepness = miss**self.gamma * (1 - self.gamma * np.exp(log_p) * log_p / miss)
        loss, weight = _weighted(np.where(miss > 0, -(miss**self.gamma) * log_p, 0 * miss), sample_weight)
        dZ = weight * np.where(miss > 0, steepness, 0 * miss)[:, None] * slopes
        return loss, int((wide.argmax(1) == targets).sum()), normal(dZ.astype(Z.dtype))


@kernel
def _number_gradient(loss, lo, hi, O, Z, targets, scale, outcomes, dZ):
    """Rows lo .. hi - 1 of a ``NumberLoss``; each row of the data set has O targets. No row is a hit."""
    real = Z.dtype.type
    for i in range(lo, hi):
        row, of_targets = i * O, targets.rows[i] * O
        weight = _weight_of(targets, i)
        lost = 0.0
        for k in range(O):
            cost, slope = loss.point(loss, k, np.float64(Z[row + k]), np.float64(targets.labels[of_targets + k]))
            lost += cost
            dZ[row + k] = real(scale * weight * slope)
        outcomes.losses[i], outcomes.hits[i] = weight * lost, 0


class NumberLoss(Loss):
    """loss = sum_ik w_i c(Z[i, k], Y[i, k]), dZ = w c'(Z, Y), c' the derivative in Z; all in float64, dZ rounded once.

    ``point(loss, k, z, y)`` returns (c, c') of output k, ``twin_point`` the same for arrays. No row is a hit.
    """

    gradient = _number_gradient
    point: ClassVar[Any]

    @property
    def each(self) -> int:
        """How many adjacent outputs stand for one target."""
        return 1

    def predict(self, Z: np.ndarray) -> np.ndarray:
        """The numbers [B, O] that a network's outputs Z stand for."""
        return Z

    def twin_point(self, Z: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """c(Z, Y) and c'(Z, Y) of float64 [B, O], element by element: the definition."""
        raise NotImplementedError

    def targets(self, name, value, samples, outputs, dtype):
        if outputs % self.each:
            raise ValueError(
                f"the network has {outputs} outputs; the loss {self.name} needs {self.each} for each target"
            )
        Y = checks.as_numbers(name, value, samples, outputs // self.each, dtype)
        return Y if self.each == 1 else np.repeat(Y.reshape(samples, -1), self.each, axis=1)

    def twin(self, Z, targets, sample_weight):
        Y = np.repeat(normal(np.asarray(targets, Z.dtype)).reshape(len(Z), -1), self.each, axis=1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            costs, slopes = self.twin_point(normal(Z).astype(np.float64), Y.astype(np.float64))
        loss, weight = _weighted(costs.sum(1), sample_weight)
        return loss, 0, normal((weight * slopes).astype(Z.dtype))


class SquaredError(NumberLoss, namedtuple("_Nothing", "")):
    """c = (z - y)^2 / 2, c' = z - y: summed over the outputs, not their mean (Gauss 1809).

    scikit-learn's MLPRegressor reports ``loss / (rows * outputs)``, plus its penalty, and steps by the same gradient.
    """

    name, output = "squared_error", "identity"

    @staticmethod
    def point(loss, k, z, y):
        return 0.5 * (z - y) * (z - y), z - y

    def twin_point(self, Z, Y):
        return (Z - Y) ** 2 / 2, Z - Y


class AbsoluteError(NumberLoss, namedtuple("_Nothing", "")):
    """c = |z - y|, c' = sign(z - y), 0 at 0: z tends to the median (Laplace 1774)."""

    name, output = "absolute_error", "identity"

    @staticmethod
    def point(loss, k, z, y):
        return abs(z - y), np.sign(z - y)

    def twin_point(self, Z, Y):
        return abs(Z - Y), np.sign(Z - Y)


class Huber(NumberLoss, namedtuple("_Delta", "delta")):
    """c = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = z - y; c' = d, cut to ±delta. Huber 1964."""

    name, output = "huber", "identity"

    def __new__(cls, delta=1.0):
        if checks.finite_number("delta", delta) <= 0:
            raise ValueError(f"delta is {delta!r}; it must be positive")
        return super().__new__(cls, float(delta))

    @staticmethod
    def point(loss, k, z, y):
        d, delta = z - y, loss.delta
        if abs(d) <= delta:
            return 0.5 * d * d, d
        return delta * (abs(d) - 0.5 * delta), delta * np.sign(d)

    def twin_point(self, Z, Y):
        d = Z - Y
        near = abs(d) <= self.delta
        return np.where(near, d * d / 2, self.delta * (abs(d) - self.delta / 2)), np.where(
            near, d, self.delta * np.sign(d)
        )


class Quantile(NumberLoss, namedtuple("_Quantiles", "quantiles")):
    """c = max(-q d, (1 - q) d), d = z - y; c' = -q below 0, 1 - q above, 0 at 0: z tends to the quantile q.

    Koenker and Bassett 1978. ``quantiles`` are rising numbers in (0, 1). Each target has an output for each quantile,
    side by side: outputs [B, T * Q] for targets [B, T]. ``predict`` sorts a target's quantiles, so that they do not
    cross, which brings them nearer to the true ones (Chernozhukov, Fernandez-Val and Galichon 2010).
    """

    name, output = "quantile", "identity"

    @property
    def each(self):
        return int(self.quantiles.size)

    def __new__(cls, quantiles=(0.5,)):
        numbers = checks.as_input("quantiles", np.atleast_1d(quantiles), np.dtype(np.float64), (None,)).copy()
        if not (numbers.size and (np.diff(numbers, prepend=0, append=1) > 0).all()):
            raise ValueError(f"quantiles is {quantiles!r}; it must be numbers above 0 and below 1, rising")
        return super().__new__(cls, numbers)

    @staticmethod
    def point(loss, k, z, y):
        q = loss.quantiles[k % loss.quantiles.size]
        d = z - y
        return max(-q * d, (1 - q) * d), np.sign(d) * (1 - q if d > 0 else q)

    def twin_point(self, Z, Y):
        q = np.resize(self.quantiles, Z.shape[1])
        d = Z - Y
        return np.maximum(-q * d, (1 - q) * d), np.sign(d) * np.where(d > 0, 1 - q, q)

    def predict(self, Z):
        return np.sort(Z.reshape(len(Z), -1, self.each), axis=2).reshape(Z.shape)


class _LogLink(NumberLoss, namedtuple("_Nothing", "")):
    """A deviance of p = exp(z): the network's outputs are the logarithms of its predictions."""

    output = "exponential"
    takes_zero: ClassVar[bool]  # as a target

    def targets(self, name, value, samples, outputs, dtype):
        Y = super().targets(name, value, samples, outputs, dtype)
        if (Y < 0 if self.takes_zero else Y <= 0).any():
            taken = "numbers of at least 0" if self.takes_zero else "positive numbers"
            raise ValueError(f"{name} holds {Y.min()}; the loss {self.name} takes {taken}")
        return Y

    def predict(self, Z):
        return np.exp(Z)


class Poisson(_LogLink):
    """c = p - y + y log(y / p), p = exp(z), y >= 0; c' = p - y. Half the deviance of counts.

    McCullagh and Nelder 1989, 2.3. As in scikit-learn's MLPRegressor, which reports loss / rows.
    """

    name, takes_zero = "poisson", True

    @staticmethod
    def point(loss, k, z, y):
        p = np.exp(z)
        return p - y + (y * (np.log(y) - z) if y > 0 else 0.0), p - y

    def twin_point(self, Z, Y):
        return np.exp(Z) - Y + np.where(Y > 0, Y * (np.log(Y) - Z), 0), np.exp(Z) - Y


class Gamma(_LogLink):
    """c = y / p - 1 - log(y / p), p = exp(z), y > 0; c' = 1 - y / p. Half the deviance of sizes.

    McCullagh and Nelder 1989, 8.3.
    """

    name, takes_zero = "gamma", False

    @staticmethod
    def point(loss, k, z, y):
        ratio = y * np.exp(-z)
        return ratio - 1 + z - np.log(y), 1 - ratio

    def twin_point(self, Z, Y):
        return Y * np.exp(-Z) - 1 + Z - np.log(Y), 1 - Y * np.exp(-Z)


@kernel
def _row_gradient(loss, lo, hi, O, Z, targets, scale, outcomes, dZ):
    """Rows lo .. hi - 1 of a ``custom_loss``, whose function writes the derivative to dZ."""
    width = loss.width if loss.width else O
    for i in range(lo, hi):
        row, of_targets = i * O, targets.rows[i] * width
        weight = _weight_of(targets, i)
        y = targets.labels[of_targets : of_targets + width]
        outcomes.losses[i] = weight * loss.of_row(Z[row : row + O], y, dZ[row : row + O])
        outcomes.hits[i] = 0
        factor = Z.dtype.type(scale * weight)
        for k in range(row, row + O):
            dZ[k] = factor * dZ[k]


class _RowLoss(Loss, namedtuple("_Width", "width", defaults=(0,))):
    """loss = sum_i w_i f(Z[i], Y[i]), dZ = w f'(Z, Y): see ``custom_loss``."""

    gradient = _row_gradient
    of_row: ClassVar[Any]
    python: ClassVar[Any]

    def targets(self, name, value, samples, outputs, dtype):
        # Compiled here, on its own: within a step it would lack Numba's runtime, and its errors would come late.
        self.of_row.compile((from_dtype(dtype)[::1],) * 3)
        return checks.as_numbers(name, value, samples, self.width or outputs, dtype)

    def twin(self, Z, targets, sample_weight):
        Z, dZ = normal(Z), np.empty_like(Z)
        Y = normal(np.asarray(targets, Z.dtype)).reshape(len(Z), -1)
        losses = np.array([type(self).python(*row) for row in zip(Z, Y, dZ)], np.float64)
        loss, weight = _weighted(losses, sample_weight)
        return loss, 0, normal((weight * dZ).astype(Z.dtype))


def _caught(function: Any) -> Any:
    """The function, compiled, with NaN where it raises: a part that ended early would leave others at the barrier."""

    @njit
    def of_row(z, y, dz):
        loss = np.nan
        try:
            loss = np.float64(function(z, y, dz))
        except Exception:
            dz[:] = np.nan
        return loss

    return of_row


def custom_loss(function: Callable[..., Any], *, output: str = "identity", width: int = 0) -> Any:
    """A loss of your own: loss = sum_i w_i f(Z[i], Y[i]), whose f compiled code calls for every row of a batch.

    ``function(z, y, dz)``, plain or ``@njit``, takes a row's outputs z [O] and its targets y [width], or [O] where
    ``width`` is 0; it returns the row's loss and writes the derivative at z to dz [O]. All have the network's dtype. It
    may use whatever Numba compiles, and must write nowhere else; a row for which it raises has the loss NaN. With
    ``dz[:] = y`` a step propagates any gradient that is passed as targets. ``output`` is that of the network.

    It is compiled into the step, anew in each process; a function made in a loop is a new one every time. Raises
    TypeError for a function that does not take three arguments, ValueError for an unknown output.
    """
    python = getattr(function, "py_func", function)
    if not inspect.isfunction(python) or len(inspect.signature(python).parameters) != 3:
        raise TypeError(f"function is {function!r}; it must be a function of three arrays, z, y and dz")
    if output not in OUTPUTS:
        raise ValueError(f"output is {output!r}; it must be one of {', '.join(OUTPUTS)}")
    return _of_function(function, output, checks.integer("width", width, 0))


@cache
def _of_function(function: Any, output: str, width: int) -> Any:
    python = getattr(function, "py_func", function)
    named = f"{python.__module__}.{python.__qualname__}"
    _made[named] += 1
    members = {"name": python.__name__, "output": output, "python": staticmethod(python)}
    members["of_row"] = _caught(njit(function) if function is python else function)
    members["__module__"] = "made by custom_loss"  # cannot be imported, so that its code is not kept on disk
    members["__reduce__"] = lambda _: (_of_function, (function, output, width))
    # Symbols of machine code contain the class's name, which must therefore be unique.
    return type(f"{named}_{_made[named]}", (_RowLoss,), members)(width)


_made: Counter[str] = Counter()  # losses, by their functions' names


LOSSES: dict[str, type[Any]] = {
    kind.name: kind
    for kind in (
        SoftmaxCrossEntropy, LogisticCrossEntropy, SquaredError, AbsoluteError, Huber, Quantile, Poisson, Gamma, Focal
    )
}  # fmt: skip
"""The classes of losses by name; of those for a network's output, the first is the default."""


def loss_of(output: str, loss: Any, smoothing: float = 0.0, epsilon: float = 0.0) -> Any:
    """``loss`` itself, or the loss of this name, or, for None, the default for the network's ``output``."""
    if isinstance(loss, Loss):
        return loss
    kind: Any = LOSSES[loss] if loss else next(kind for kind in LOSSES.values() if kind.output == output)
    return kind(smoothing, epsilon) if issubclass(kind, CrossEntropy) else kind()


@kernel
def loss_gradient(part, parts, Z, targets, loss, outcomes, dZ):
    """The loss's pass over this part's rows of Z [B, O]: their losses and hits in ``outcomes``, and dZ."""
    lo, hi = share(part, parts, Z.shape[0])
    loss.gradient(loss, lo, hi, Z.shape[1], flat(Z), targets, 1.0, outcomes, flat(dZ))


@kernel
def totals(losses, hits, n):
    """The sum of the first n losses and hits, in index order."""
    loss, correct = 0.0, 0
    for i in range(n):
        loss += losses[i]
        correct += hits[i]
    return loss, correct
