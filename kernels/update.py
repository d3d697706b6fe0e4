"""Optimizer steps as fused element updates: one pass reads gradient, state and weight and writes state and weight.

Legend: ``w`` weight, ``g`` gradient of the loss with respect to w, ``m``/``v`` state, ``t`` the step number from 1,
``lr`` the learning rate, ``wd`` the weight decay.
"""

from __future__ import annotations

from typing import NamedTuple

from . import simd
from .intrinsics import out_of_line
from .jit import kernel, piece
from .threads import share

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


@kernel
def update_span(rule, weight_decay, lr, t, w, o, g, p, s, first, q, second, r, n):
    """Step w[o : o+n] by s * g[p : p+n], with its state in first[q : q+n] and second[r : r+n], where the rule has one.

    All flat; the two may be one array. ``s`` scales the gradient; ``weight_decay`` stands in for the rule's.
    """
    out_of_line()
    lanes = simd.lanes(w)
    factor, rate, beta1 = simd.broadcast(w, s), simd.broadcast(w, lr), simd.broadcast(w, rule.beta1)
    coupled = simd.broadcast(w, 0.0 if rule.kind == ADAMW else weight_decay)
    if rule.kind == SGD:
        for i in range(0, n, lanes):
            x = _get(w, o + i, n - i)
            d = simd.fma(factor, _get(g, p + i, n - i), coupled * x)
            _put(w, o + i, x - rate * d, n - i)
    elif rule.kind in (MOMENTUM, NESTEROV):
        ahead = simd.broadcast(w, 1.0 if rule.kind == NESTEROV else 0.0)
        for i in range(0, n, lanes):
            x = _get(w, o + i, n - i)
            d = simd.fma(factor, _get(g, p + i, n - i), coupled * x)
            m = simd.fma(beta1, _get(first, q + i, n - i), d)
            _put(first, q + i, m, n - i)
            # heavy ball steps by m, Nesterov by d + beta1 * m
            step = simd.select(ahead > simd.zeros(w), simd.fma(beta1, m, d), m)
            _put(w, o + i, x - rate * step, n - i)
    else:
        rest1, rest2 = simd.broadcast(w, 1 - rule.beta1), simd.broadcast(w, 1 - rule.beta2)
        correct1 = simd.broadcast(w, 1 / (1 - rule.beta1**t))
        correct2 = simd.broadcast(w, 1 / (1 - rule.beta2**t))
        keep = simd.broadcast(w, 1 - lr * weight_decay if rule.kind == ADAMW else 1.0)
        epsilon = simd.broadcast(w, rule.epsilon)
        for i in range(0, n, lanes):
            x = _get(w, o + i, n - i)
            d = simd.fma(factor, _get(g, p + i, n - i), coupled * x)
            m, v = _get(first, q + i, n - i), _get(second, r + i, n - i)
            m = simd.fma(rest1, d - m, m)
            v = simd.fma(rest2, d * d - v, v)
            _put(first, q + i, m, n - i)
            _put(second, r + i, v, n - i)
            _put(w, o + i, keep * x - rate * (correct1 * m) / (simd.sqrt(correct2 * v) + epsilon), n - i)


@kernel
def update(part, parts, rule, lr, t, w, g, first, second):
    """Step this part's elements of flat w by the gradient g; the states are as long, or empty where the rule has none."""
    lo, hi = share(part, parts, w.size)
    update_span(rule, rule.weight_decay, lr, t, w, lo, g, lo, 1.0, first, lo, second, lo, hi - lo)
