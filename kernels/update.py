"""Optimizer steps as fused element updates: one pass reads gradient, state and weight and writes state and weight.

Legend: ``w`` weight, ``g`` gradient of the loss with respect to w, ``m``/``v`` state, ``t`` the step number from 1,
``lr`` the learning rate, ``wd`` the weight decay.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .intrinsics import out_of_line
from .jit import kernel
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


@kernel
def rule_slots(rule):
    """Numbers of state kept for each weight."""
    return _SLOTS[rule.kind]


@kernel
def update_span(rule, weight_decay, lr, t, w, o, g, p, s, first, q, second, r, n):
    """Step w[o : o+n] by s * g[p : p+n], with its state in first[q : q+n] and second[r : r+n], where the rule has one.

    All flat; the two may be one array. ``s`` scales the gradient; ``weight_decay`` stands in for the rule's.
    """
    out_of_line()
    real = w.dtype.type
    decay, rate, factor = real(weight_decay), real(lr), real(s)
    beta1, beta2 = real(rule.beta1), real(rule.beta2)
    if rule.kind == SGD:
        for i in range(n):
            w[o + i] -= rate * (factor * g[p + i] + decay * w[o + i])
    elif rule.kind in (MOMENTUM, NESTEROV):
        look_ahead = rule.kind == NESTEROV
        for i in range(n):
            d = factor * g[p + i] + decay * w[o + i]
            m = beta1 * first[q + i] + d
            first[q + i] = m
            w[o + i] -= rate * (d + beta1 * m if look_ahead else m)
    else:
        decoupled = rule.kind == ADAMW
        one, epsilon = real(1), real(rule.epsilon)
        correction1 = real(1 / (1 - rule.beta1**t))
        correction2 = real(1 / (1 - rule.beta2**t))
        coupled_decay = real(0) if decoupled else decay
        shrink = one - rate * decay if decoupled else one
        for i in range(n):
            d = factor * g[p + i] + coupled_decay * w[o + i]
            m = first[q + i] + (one - beta1) * (d - first[q + i])
            v = second[r + i] + (one - beta2) * (d * d - second[r + i])
            first[q + i] = m
            second[r + i] = v
            w[o + i] = shrink * w[o + i] - rate * (m * correction1) / (np.sqrt(v * correction2) + epsilon)


@kernel
def update(part, parts, rule, lr, t, w, g, first, second):
    """Step this part's elements of flat w by the gradient g; the states are as long, or empty where the rule has none."""
    lo, hi = share(part, parts, w.size)
    update_span(rule, rule.weight_decay, lr, t, w, lo, g, lo, 1.0, first, lo, second, lo, hi - lo)
