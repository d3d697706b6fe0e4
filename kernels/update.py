"""Optimizer steps as fused element updates: one pass reads gradient, state and weight and writes state and weight.

Legend: ``w`` weight, ``g`` gradient of the loss with respect to w, ``m``/``v`` state, ``t`` the step number from 1,
``lr`` the learning rate, ``wd`` the weight decay.
"""

from __future__ import annotations

from typing import NamedTuple

from . import simd
from .intrinsics import in_line
from .jit import kernel, piece
from .team import share

SGD, MOMENTUM, NESTEROV, ADAM, ADAMW = range(5)
_SLOTS = (0, 1, 1, 2, 2)


class Rule(NamedTuple):
    """An optimizer's rule with its constants; make one with ``sgd()``, ``momentum()``, ``adam()`` or ``adamw()``."""

    kind: int
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float

    @property
    def slots(self) -> int:
        """Numbers of state kept for each weight."""
        return _SLOTS[self.kind]


def sgd(*, weight_decay: float = 0.0) -> Rule:
    """w -= lr * (g + wd * w)."""
    return Rule(SGD, 0.0, 0.0, 0.0, float(weight_decay))


def momentum(beta: float = 0.9, *, nesterov: bool = False, weight_decay: float = 0.0) -> Rule:
    """g += wd * w; m = beta * m + g; w -= lr * m, or lr * (g + beta * m) with Nesterov's look-ahead.

    Sutskever, Martens, Dahl and Hinton 2013, in the form that PyTorch uses (the rate outside the velocity).
    """
    return Rule(NESTEROV if nesterov else MOMENTUM, float(beta), 0.0, 0.0, float(weight_decay))


def adam(beta1: float = 0.9, beta2: float = 0.999, *, epsilon: float = 1e-8, weight_decay: float = 0.0) -> Rule:
    """g += wd * w; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; w -= lr m' / (sqrt(v') + epsilon).

    m' = m / (1 - beta1^t), v' = v / (1 - beta2^t). Kingma and Ba 2015.
    """
    return Rule(ADAM, float(beta1), float(beta2), float(epsilon), float(weight_decay))


def adamw(beta1: float = 0.9, beta2: float = 0.999, *, epsilon: float = 1e-8, weight_decay: float = 0.01) -> Rule:
    """Adam with decoupled decay: w -= lr * (wd * w + m' / (sqrt(v') + epsilon)). Loshchilov and Hutter 2019."""
    return Rule(ADAMW, float(beta1), float(beta2), float(epsilon), float(weight_decay))


@piece
def rule_slots(rule):
    """Numbers of state kept for each weight."""
    return _SLOTS[rule.kind]


@piece
def _get(A, i, n):
    """A[i : i + lanes], or the n elements that there are and zeros."""
    if n >= simd.lanes(A):
        return simd.load(A, i)
    return simd.load_masked(A, i, n)


@piece
def _put(A, i, x, n):
    if n >= simd.lanes(A):
        simd.store(A, i, x)
    else:
        simd.store_masked(A, i, x, n)


@piece
def rule_numbers(rule, weight_decay, lr, t):
    """What a step needs to know, float64; ``weight_decay`` stands in for the rule's."""
    adam = rule.kind in (ADAM, ADAMW)
    return (
        lr,
        0.0 if rule.kind == ADAMW else weight_decay,  # part of the gradient
        1 - lr * weight_decay if rule.kind == ADAMW else 1.0,  # kept of the weight
        rule.beta1,
        1 - rule.beta1,
        1 - rule.beta2,
        1 / (1 - rule.beta1**t) if adam else 1.0,
        1 / (1 - rule.beta2**t) if adam else 1.0,
        rule.epsilon,
    )


@piece
def constants_of(numbers, like):
    """The nine numbers of a step as vectors."""
    in_line()
    return (
        simd.broadcast(like, numbers[0]),
        simd.broadcast(like, numbers[1]),
        simd.broadcast(like, numbers[2]),
        simd.broadcast(like, numbers[3]),
        simd.broadcast(like, numbers[4]),
        simd.broadcast(like, numbers[5]),
        simd.broadcast(like, numbers[6]),
        simd.broadcast(like, numbers[7]),
        simd.broadcast(like, numbers[8]),
    )


@piece
def rule_constants(rule, weight_decay, lr, t, like):
    """What every vector of a step needs, as vectors."""
    in_line()
    return constants_of(rule_numbers(rule, weight_decay, lr, t), like)


@piece
def is_inert(rule):
    """Whether a gradient of zero changes nothing."""
    return rule.kind == SGD and rule.weight_decay == 0


@piece
def sgd_step(constants, x, g):
    """The weights x, a vector or a tile of them, one step on by the gradient g."""
    in_line()
    rate, decay = constants[:2]
    return x - rate * simd.fma(decay, x, g)


@piece
def momentum_step(kind, constants, x, g, m):
    """(x, m) one step on."""
    in_line()
    rate, decay, _, beta1 = constants[:4]
    d = simd.fma(decay, x, g)
    m = simd.fma(beta1, m, d)
    if kind == NESTEROV:
        d = simd.fma(beta1, m, d)
    else:
        d = m
    return x - rate * d, m


@piece
def adam_step(constants, x, g, m, v):
    """(x, m, v) one step on."""
    in_line()
    rate, decay, keep, _, rest1, rest2, correct1, correct2, epsilon = constants
    d = simd.fma(decay, x, g)
    m = simd.fma(rest1, d - m, m)
    v = simd.fma(rest2, d * d - v, v)
    return keep * x - rate * (correct1 * m) / (simd.sqrt(correct2 * v) + epsilon), m, v


@kernel
def update_rows(rule, weight_decay, lr, t, w, o, g, p, s, first, q, second, r, rows, n, step):
    """``update_span`` of n elements for each of so many rows, ``step`` apart but for g's, which are n apart."""
    constants = rule_constants(rule, weight_decay, lr, t, w)
    factor = simd.broadcast(w, s)
    for _ in range(rows):
        for i in range(0, n, simd.lanes(w)):
            rest = n - i
            x, d = _get(w, o + i, rest), factor * _get(g, p + i, rest)
            if rule.kind == SGD:
                x = sgd_step(constants, x, d)
            elif rule.kind in (MOMENTUM, NESTEROV):
                x, m = momentum_step(rule.kind, constants, x, d, _get(first, q + i, rest))
                _put(first, q + i, m, rest)
            else:
                x, m, v = adam_step(constants, x, d, _get(first, q + i, rest), _get(second, r + i, rest))
                _put(first, q + i, m, rest)
                _put(second, r + i, v, rest)
            _put(w, o + i, x, rest)
        o, p, q, r = o + step, p + n, q + step, r + step


@kernel
def update_span(rule, weight_decay, lr, t, w, o, g, p, s, first, q, second, r, n):
    """Step w[o : o+n] by s * g[p : p+n], with its state in first[q : q+n] and second[r : r+n], where the rule has one.

    All flat; the two may be one array. ``s`` scales the gradient; ``weight_decay`` stands in for the rule's.
    """
    update_rows(rule, weight_decay, lr, t, w, o, g, p, s, first, q, second, r, 1, n, n)


@kernel
def update(part, parts, rule, lr, t, w, g, first, second):
    """Step this part's elements of flat w by the gradient g; the states are as long, or empty where the rule has none."""
    lo, hi = share(part, parts, w.size)
    update_span(rule, rule.weight_decay, lr, t, w, lo, g, lo, 1.0, first, lo, second, lo, hi - lo)
