"""The losses, one class each: loss, hits and the gradient at the outputs in one pass over the rows; and softmax alone.

A loss's class is all there is to say about it: its ``name``; its ``output``, what a network that minimises it predicts
(``network.OUTPUTS``); ``targets``, which checks what it compares the outputs with; ``gradient``, the pass; ``twin``, the same
in NumPy, which is the definition. Its fields are its parameters, which compiled code takes at run time. A loss that is a sum
over numbers, each with a target of its own, says what one of them costs, ``point`` and ``twin_point``: see ``NumberLoss``.

Legend: ``B`` rows (samples), ``O`` outputs; Z [B, O] what the last layer makes, Y [B, O] targets that are numbers. All
functions here are raw: nothing is checked.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from . import checks, simd
from .bundles import class_attribute
from .intrinsics import flat, out_of_line
from .jit import kernel, piece
from .subnormals import normal
from .team import share

for _attribute in ("gradient", "point"):
    class_attribute(_attribute)


class Targets(NamedTuple):
    """What row i of a batch is to become: labels[rows[i]], with the weight weights[rows[i]], or 1 if there are none.

    ``labels`` are flat: a class for each row, or a number for each of its outputs.
    """

    labels: np.ndarray
    weights: np.ndarray
    rows: np.ndarray


class Outcomes(NamedTuple):
    """Loss and hit of each row: in arrays, so that the sum over them runs in one order for any number of parts."""

    losses: np.ndarray
    hits: np.ndarray


class Loss:
    """A loss with its parameters, which are the fields of the named tuple that its class is, too."""

    __slots__ = ()
    name: ClassVar[str]
    output: ClassVar[str]
    gradient: ClassVar[Any]

    def targets(self, name: str, value: Any, samples: int, outputs: int, dtype: np.dtype) -> np.ndarray:
        """``value``, checked and in one type: what each of so many samples is to become, in any shape, row by row."""
        raise NotImplementedError

    def twin(self, Z: np.ndarray, targets: np.ndarray, sample_weight: Any) -> tuple[float, int, np.ndarray]:
        """(loss, rows that are right, dZ), the loss summed over the rows."""
        raise NotImplementedError


class Smoothing(NamedTuple):
    """The parameters of the cross-entropies."""

    smoothing: float = 0.0
    epsilon: float = 0.0


@piece
def _largest(O, Z, z):
    """(maximum, its first index) of a row of O; a NaN is larger than all, as in NumPy."""
    lanes = simd.lanes(Z)
    full = O - O % lanes
    running = simd.broadcast(Z, Z[z])
    for j in range(0, full, lanes):
        running = simd.maximum(running, simd.load(Z, z + j))
    if full < O:
        rest = O - full
        last = simd.select(simd.leading(Z, rest), simd.load_masked(Z, z + full, rest), running)
        running = simd.maximum(running, last)
    largest = simd.reduce_max(running)
    for j in range(O):
        if Z[z + j] == largest or np.isnan(Z[z + j]):
            return largest, j
    return largest, 0


@piece
def _exp_row(O, Z, z, largest, E):
    """E[z + j] = exp(Z[z + j] - largest) for one row of O; returns the sum, lane by lane and then by halves."""
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
    """P = factor * (P / total - less) for one row of O."""
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
        largest, _ = _largest(O, flat(Z), i * O)
        total = _exp_row(O, flat(Z), i * O, largest, flat(P))
        _affine(O, flat(P), i * O, total, P.dtype.type(1), P.dtype.type(0))


def _weighted(losses: np.ndarray, sample_weight: Any) -> tuple[float, np.ndarray]:
    """The sum of the rows' losses by their weights, and the weights as a column."""
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
        weight = targets.weights[targets.rows[i]] if targets.weights.size else 1.0
        factor, row = real(scale * weight), i * O
        largest, argmax = _largest(O, Z, row)
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


class SoftmaxCrossEntropy(Loss, Smoothing):
    """loss = -sum_ik w_i Q[i, k] log P[i, k], P = softmax(Z), Q = (1 - s) onehot(label) + s / O.

    dZ = w (P - Q). With an ``epsilon`` > 0 the loss is -sum_i w_i log(P[i, label] + epsilon), and dZ the same.
    """

    __slots__ = ()
    name, output = "softmax_cross_entropy", "softmax"
    gradient = _softmax_gradient

    def targets(self, name, value, samples, outputs, dtype):
        return checks.as_labels(name, value, samples, outputs)

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
    """Rows lo .. hi - 1 of ``LogisticCrossEntropy``; of labels there are O, 0 or 1, for each row of the data set."""
    smoothing, real = loss.smoothing, Z.dtype.type
    for i in range(lo, hi):
        weight = targets.weights[targets.rows[i]] if targets.weights.size else 1.0
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


class LogisticCrossEntropy(Loss, Smoothing):
    """loss = -sum_ik w_i (Q log P + (1 - Q) log(1 - P)), P = 1 / (1 + exp(-Z)), Q = (1 - s) label + s / 2.

    dZ = w (P - Q).
    """

    __slots__ = ()
    name, output = "logistic_cross_entropy", "logistic"
    gradient = _logistic_gradient

    def targets(self, name, value, samples, outputs, dtype):
        return checks.as_targets(name, value, samples, outputs)

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
def _number_gradient(loss, lo, hi, O, Z, targets, scale, outcomes, dZ):
    """Rows lo .. hi - 1 of a ``NumberLoss``; of targets there are O for each row of the data set. No row is a hit."""
    real = Z.dtype.type
    for i in range(lo, hi):
        row, of_targets = i * O, targets.rows[i] * O
        weight = targets.weights[targets.rows[i]] if targets.weights.size else 1.0
        lost = 0.0
        for k in range(O):
            cost, slope = loss.point(loss, k, np.float64(Z[row + k]), np.float64(targets.labels[of_targets + k]))
            lost += cost
            dZ[row + k] = real(scale * weight * slope)
        outcomes.losses[i], outcomes.hits[i] = weight * lost, 0


class NumberLoss(Loss):
    """loss = sum_ik w_i c(Z[i, k], Y[i, k]), dZ = w c'(Z, Y), c' the derivative in Z; all in float64, dZ rounded once.

    ``point(loss, k, z, y)`` gives (c, c') of output k, ``twin_point`` the same of arrays. No row counts as right.
    """

    __slots__ = ()
    gradient = _number_gradient
    point: ClassVar[Any]

    def twin_point(self, Z: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """c(Z, Y) and c'(Z, Y) of float64 [B, O], element by element: the definition."""
        raise NotImplementedError

    def targets(self, name, value, samples, outputs, dtype):
        return checks.as_numbers(name, value, samples, outputs, dtype)

    def twin(self, Z, targets, sample_weight):
        Y = normal(np.asarray(targets, Z.dtype)).reshape(Z.shape)
        costs, slopes = self.twin_point(normal(Z).astype(np.float64), Y.astype(np.float64))
        loss, weight = _weighted(costs.sum(1), sample_weight)
        return loss, 0, normal((weight * slopes).astype(Z.dtype))


class _Nothing(NamedTuple):
    pass


class SquaredError(NumberLoss, _Nothing):
    """c = (z - y)^2 / 2, c' = z - y: summed over the outputs, not their mean (Gauss 1809).

    So ``loss / (rows * outputs)`` is what scikit-learn's MLPRegressor reports, without its penalty; its gradient is this one's.
    """

    __slots__ = ()
    name, output = "squared_error", "identity"

    @staticmethod
    def point(loss, k, z, y):
        return 0.5 * (z - y) * (z - y), z - y

    def twin_point(self, Z, Y):
        return (Z - Y) ** 2 / 2, Z - Y


LOSSES: dict[str, type[Any]] = {kind.name: kind for kind in (SoftmaxCrossEntropy, LogisticCrossEntropy, SquaredError)}
"""The losses by name, each made from its parameters; the first with a network's output is that network's default."""


def loss_of(output: str, loss: Any, smoothing: float = 0.0, epsilon: float = 0.0) -> Any:
    """The loss called ``loss``, or this loss itself, or, where it is None, the one that goes with the network's ``output``."""
    if isinstance(loss, Loss):
        return loss
    kind: Any = LOSSES[loss] if loss else next(kind for kind in LOSSES.values() if kind.output == output)
    return kind(smoothing, epsilon) if issubclass(kind, Smoothing) else kind()


@kernel
def loss_gradient(part, parts, Z, targets, loss, scale, outcomes, dZ):
    """The loss's pass over this part's rows of Z [B, O]: their losses and hits in ``outcomes``, and dZ."""
    lo, hi = share(part, parts, Z.shape[0])
    loss.gradient(loss, lo, hi, Z.shape[1], flat(Z), targets, scale, outcomes, flat(dZ))


@kernel
def totals(losses, hits, n):
    """The sum of the first n losses and hits, in index order."""
    loss, correct = 0.0, 0
    for i in range(n):
        loss += losses[i]
        correct += hits[i]
    return loss, correct
