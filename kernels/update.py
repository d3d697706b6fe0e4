"""The update rules, one class each, fused: one pass reads gradient, state and weight and writes state and weight.

A class holds all about its rule: ``name``; ``slots``, how many numbers of state each weight has; ``coefficients``, the
constants of one step, in float64; ``step``, one step of a tile of weights in registers, which the dense update, the
sparse update and the steps that a sparse layer puts off all call; ``twin``, the definition in NumPy. Adding a class,
and its factory to ``RULES``, adds the rule: kernels are compiled for the class that they are called with.

Legend: ``w`` weight, ``g`` gradient of the loss with respect to w, ``m``/``v`` state, ``t`` the step number from 1,
``lr`` the learning rate, ``wd`` the weight decay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from . import checks, simd
from .bundles import after, after_each, class_attribute
from .intrinsics import in_line
from .jit import kernel, piece
from .simd import broadcast_each, fma
from .subnormals import flush, normal
from .team import share

for _attribute in ("slots", "coefficients", "step", "decoupled"):
    class_attribute(_attribute)


class _Constants(NamedTuple):
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float


class Rule(_Constants):
    """An optimizer's rule with its constants; make one with ``sgd()``, ``momentum()``, ``adam()``, ... (``RULES``).

    A constant that is no finite number, or a beta of Adam's outside [0, 1), is refused here: no step has to look again.
    """

    name: ClassVar[str]
    slots: ClassVar[int]
    coefficients: ClassVar[Any]
    step: ClassVar[Any]

    def __new__(cls, beta1: float, beta2: float, epsilon: float, weight_decay: float) -> Rule:
        constants = map(checks.finite_number, cls._fields, (beta1, beta2, epsilon, weight_decay))
        return super().__new__(cls, *constants)

    @classmethod
    def _make(cls, constants: Any) -> Any:  # type: ignore[override]  # what ``_replace`` calls
        return cls(*constants)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and super().__eq__(other)

    def __hash__(self) -> int:
        return hash((type(self), *self))

    def twin(self, lr: float, t: int, W: np.ndarray, dW: np.ndarray, state: Any) -> None:
        """The definition in NumPy: step W by dW in place, and the ``slots`` arrays of ``state``."""
        flush(W, *state)
        self.numpy_step(lr, t, W, normal(dW), state)
        flush(W)

    def numpy_step(self, lr: float, t: int, W: np.ndarray, dW: np.ndarray, state: Any) -> None:
        """The step of ``twin``, whose arguments have been flushed of subnormal numbers."""
        raise NotImplementedError


class Sgd(Rule):
    name, slots = "sgd", 0

    @staticmethod
    def coefficients(rule, weight_decay, lr, t):
        return lr, weight_decay

    @staticmethod
    def step(coefficients, w, g, state):
        in_line()
        rate, decay = coefficients
        return w - rate * fma(decay, w, g), state

    def numpy_step(self, lr, t, W, dW, state):
        W -= W.dtype.type(lr) * (dW + W.dtype.type(self.weight_decay) * W)


class Momentum(Rule):
    name, slots = "momentum", 1

    @staticmethod
    def coefficients(rule, weight_decay, lr, t):
        return lr, weight_decay, rule.beta1

    @staticmethod
    def step(coefficients, w, g, state):
        in_line()
        rate, decay, beta = coefficients
        m = fma(beta, state[0], fma(decay, w, g))
        return w - rate * m, (m,)

    def numpy_step(self, lr, t, W, dW, state):
        self._velocity(W, dW, state)
        W -= W.dtype.type(lr) * state[0]

    def _velocity(self, W, dW, state):
        """Step the velocity; returns the gradient with the decay added."""
        real, (V,) = W.dtype.type, state
        g = dW + real(self.weight_decay) * W
        V *= real(self.beta1)
        V += g
        flush(V)
        return g


class Nesterov(Momentum):
    name = "nesterov"

    @staticmethod
    def step(coefficients, w, g, state):
        in_line()
        rate, decay, beta = coefficients
        d = fma(decay, w, g)
        m = fma(beta, state[0], d)
        return w - rate * fma(beta, m, d), (m,)

    def numpy_step(self, lr, t, W, dW, state):
        g = self._velocity(W, dW, state)
        W -= W.dtype.type(lr) * (g + W.dtype.type(self.beta1) * state[0])


class Adam(Rule):
    name, slots = "adam", 2
    decoupled: ClassVar[bool] = False  # whether the decay is taken off the weight, and is no part of the gradient

    def __new__(cls, beta1, beta2, epsilon, weight_decay):
        checks.fraction("beta1", beta1), checks.fraction("beta2", beta2)
        checks.finite_number("epsilon", epsilon, least=0.0)
        return super().__new__(cls, beta1, beta2, epsilon, weight_decay)

    @staticmethod
    def coefficients(rule, weight_decay, lr, t):
        keep, decay = (1 - lr * weight_decay, 0.0) if rule.decoupled else (1.0, weight_decay)
        correct1, correct2 = 1 / (1 - rule.beta1**t), 1 / (1 - rule.beta2**t)
        return lr, keep, decay, 1 - rule.beta1, 1 - rule.beta2, correct1, correct2, rule.epsilon

    @staticmethod
    def step(coefficients, w, g, state):
        in_line()
        rate, keep, decay, rest1, rest2, correct1, correct2, epsilon = coefficients
        m, v = state
        d = fma(decay, w, g)
        m = fma(rest1, d - m, m)
        v = fma(rest2, d * d - v, v)
        return keep * w - rate * (correct1 * m) / (simd.sqrt(correct2 * v) + epsilon), (m, v)

    def numpy_step(self, lr, t, W, dW, state):
        real, (M, V) = W.dtype.type, state
        keep, decay = (1 - lr * self.weight_decay, 0.0) if self.decoupled else (1.0, self.weight_decay)
        g = dW + real(decay) * W
        M += (1 - real(self.beta1)) * (g - M)
        flush(M)
        V += (1 - real(self.beta2)) * (g * g - V)
        flush(V)
        W *= real(keep)
        W -= real(lr) * (M / real(1 - self.beta1**t)) / (np.sqrt(V / real(1 - self.beta2**t)) + real(self.epsilon))


class AdamW(Adam):
    name, decoupled = "adamw", True


class Lion(Rule):
    name, slots = "lion", 1

    @staticmethod
    def coefficients(rule, weight_decay, lr, t):
        return lr, 1 - lr * weight_decay, rule.beta1, rule.beta2

    @staticmethod
    def step(coefficients, w, g, state):
        in_line()
        rate, keep, beta1, beta2 = coefficients
        direction = simd.sign(fma(beta1, state[0] - g, g))
        m = fma(beta2, state[0] - g, g)
        return keep * w - rate * direction, (m,)

    def numpy_step(self, lr, t, W, dW, state):
        real, (M,) = W.dtype.type, state
        W *= real(1 - lr * self.weight_decay)
        W -= real(lr) * np.sign(dW + real(self.beta1) * (M - dW))
        M[...] = dW + real(self.beta2) * (M - dW)
        flush(M)


def sgd(*, weight_decay: float = 0.0) -> Rule:
    """w -= lr * (g + wd * w)."""
    return Sgd(0.0, 0.0, 0.0, weight_decay)


def momentum(beta: float = 0.9, *, nesterov: bool = False, weight_decay: float = 0.0) -> Rule:
    """g += wd * w; m = beta * m + g; w -= lr * m, or lr * (g + beta * m) with Nesterov's look-ahead.

    Sutskever, Martens, Dahl and Hinton 2013, in the form that PyTorch uses (the rate outside the velocity).
    """
    return (Nesterov if nesterov else Momentum)(beta, 0.0, 0.0, weight_decay)


def adam(beta1: float = 0.9, beta2: float = 0.999, *, epsilon: float = 1e-8, weight_decay: float = 0.0) -> Rule:
    """g += wd * w; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; w -= lr m' / (sqrt(v') + epsilon).

    m' = m / (1 - beta1^t), v' = v / (1 - beta2^t). Kingma and Ba 2015.
    """
    return Adam(beta1, beta2, epsilon, weight_decay)


def adamw(beta1: float = 0.9, beta2: float = 0.999, *, epsilon: float = 1e-8, weight_decay: float = 0.01) -> Rule:
    """Adam with decoupled decay: w -= lr * (wd * w + m' / (sqrt(v') + epsilon)). Loshchilov and Hutter 2019."""
    return AdamW(beta1, beta2, epsilon, weight_decay)


def lion(beta1: float = 0.9, beta2: float = 0.99, *, weight_decay: float = 0.0) -> Rule:
    """w -= lr * (sign(beta1 m + (1 - beta1) g) + wd * w); m = beta2 m + (1 - beta2) g. Chen et al. 2023."""
    return Lion(beta1, beta2, 0.0, weight_decay)


RULES: dict[str, Callable[..., Rule]] = {"sgd": sgd, "momentum": momentum, "adam": adam, "adamw": adamw, "lion": lion}
"""The factories of rules by the names that options use; all take ``weight_decay``."""


@piece
def is_inert(rule):
    """Whether a gradient of zero changes nothing."""
    return rule.slots == 0 and rule.weight_decay == 0


class Step(NamedTuple):
    """One step of a rule: its coefficients for weights, and for biases, which are not decayed."""

    rule: Rule
    of_weights: Any
    of_biases: Any


class Schedule(NamedTuple):
    """A rule with a step's rate and number t; for networks, the rates [steps, layers] and the first step's number."""

    rule: Rule
    lr: Any
    t: int


@piece
def step_of(rule, lr, t):
    """Step t of the rule, with the rate ``lr``."""
    return Step(rule, rule.coefficients(rule, rule.weight_decay, lr, t), rule.coefficients(rule, 0.0, lr, t))


@kernel
def step_rows(rule, coefficients, W, state, dW, scale, rows, n, row):
    """Step n elements in each of ``rows`` rows of W, ``row`` apart, by scale * dW, whose rows are n apart.

    W and dW are flat; ``state`` is a tuple of one array for each slot of the rule, laid out as W.
    """
    lanes = simd.lanes(W)
    constants, factor = broadcast_each(W, coefficients), simd.broadcast(W, scale)
    for r in range(rows):
        w, d, rest = r * row, r * n, n % lanes
        for i in range(0, n - rest, lanes):  # whole vectors: the compiler removes their masks
            g = factor * simd.tile_load(dW, d + i, 0, 1, 1, lanes)
            step_tile(rule, constants, W, state, w + i, g, lanes)
        if rest:
            g = factor * simd.tile_load(dW, d + n - rest, 0, 1, 1, rest)
            step_tile(rule, constants, W, state, w + n - rest, g, rest)


@piece
def step_tile(rule, constants, W, state, w, g, n):
    """Step W[w : w + n], and its state at the same place, by g, a tile of one row."""
    in_line()
    x, moved = rule.step(constants, simd.tile_row(g, W, w, n), g, simd.tile_rows(g, state, w, n))
    simd.tile_store_each(state, w, moved, n)
    simd.tile_store(W, w, 0, x, n, 0)


@kernel
def average(part, parts, values, mean, rate):
    """mean += rate * (values - mean) for this part's elements of flat arrays."""
    lo, hi = share(part, parts, values.size)
    lanes, factor = simd.lanes(values), simd.broadcast(values, rate)
    for i in range(lo, hi, lanes):
        rest = min(lanes, hi - i)
        m = simd.load_masked(mean, i, rest)
        simd.store_masked(mean, i, fma(factor, simd.load_masked(values, i, rest) - m, m), rest)


@kernel
def clipped(factor, gradient, clip):
    """``factor``, reduced if necessary so that the norm of factor * flat ``gradient`` is at most ``clip``."""
    total = simd.zeros(np.float64)
    for i in range(0, gradient.size, simd.lanes(np.float64)):
        g = simd.load_as_masked(np.float64, gradient, i, gradient.size - i)
        total = fma(g, g, total)
    norm = abs(factor) * np.sqrt(simd.reduce_add(total))
    return factor * (clip / norm) if norm > clip else factor


@kernel
def update(part, parts, schedule, W, state, dW):
    """Step this part's elements of flat W by dW; ``state`` is a tuple of one flat array for each slot of the rule."""
    lo, hi = share(part, parts, W.size)
    rule, step = schedule.rule, step_of(schedule.rule, schedule.lr, schedule.t)
    step_rows(rule, step.of_weights, after(W, lo), after_each(state, lo), after(dW, lo), 1.0, 1, hi - lo, 0)
