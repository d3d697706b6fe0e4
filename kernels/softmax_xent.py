"""Softmax, and softmax with cross-entropy: loss, correct count and logit gradient in one pass over the rows.

Legend: ``B`` rows (samples), ``O`` classes; Z [B, O] logits. All functions here are raw: nothing is checked.
"""

from __future__ import annotations

import numpy as np

from . import simd
from .intrinsics import flat, out_of_line
from .jit import kernel, piece
from .team import share


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
def _exp_row(O, Z, z, largest, E, e):
    """E = exp(Z - largest) for one row of O; returns the sum, lane by lane and then by halves."""
    lanes = simd.lanes(Z)
    full = O - O % lanes
    shift = simd.broadcast(Z, largest)
    total = simd.zeros(Z)
    for j in range(0, full, lanes):
        power = simd.exp(simd.load(Z, z + j) - shift)
        simd.store(E, e + j, power)
        total = total + power
    if full < O:
        rest = O - full
        power = simd.exp(simd.load_masked(Z, z + full, rest) - shift)
        simd.store_masked(E, e + full, power, rest)
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
        total = _exp_row(O, flat(Z), i * O, largest, flat(P), i * O)
        _affine(O, flat(P), i * O, total, P.dtype.type(1), P.dtype.type(0))


@kernel
def softmax_cross_entropy(
    part, parts, B, O, Z, z, labels, rows, weights, smoothing, epsilon, scale, losses, hits, dZ, dz
):  # fmt: skip
    """For this part's rows i of the B: losses[i] = -w sum_k q_k log softmax(Z_i)[k], hits[i] = (argmax is the label), and
    dZ_i = scale * w * (softmax(Z_i) - q), with label = labels[rows[i]], w = weights[rows[i]] (1 where weights is empty) and
    q = (1 - smoothing) * onehot(label) + smoothing / O.

    Z and dZ are flat, from Z[z] and dZ[dz] on. Loss and hit of each row go into arrays, so that the sum over them runs in
    one order for any number of parts. With ``epsilon`` > 0, and then no smoothing, the loss is -log(p + epsilon).
    """
    out_of_line()
    lo, hi = share(part, parts, B)
    for i in range(lo, hi):
        label = labels[rows[i]]
        weight = weights[rows[i]] if weights.size else 1.0
        factor, others = Z.dtype.type(scale * weight), Z.dtype.type(smoothing / O)
        this, that = z + i * O, dz + i * O
        largest, argmax = _largest(O, Z, this)
        total = _exp_row(O, Z, this, largest, dZ, that)
        if epsilon > 0:
            losses[i] = -np.log(np.float64(dZ[that + label] / total) + epsilon)
        else:
            logit = np.float64(Z[this + label])
            if smoothing > 0:
                every = 0.0
                for j in range(this, this + O):
                    every += np.float64(Z[j])
                logit = (1 - smoothing) * logit + smoothing * (every / O)
            losses[i] = np.log(np.float64(total)) - (logit - np.float64(largest))
        losses[i] *= weight
        hits[i] = argmax == label
        _affine(O, dZ, that, total, factor, others)
        dZ[that + label] -= Z.dtype.type(factor * (1 - smoothing))


@kernel
def logistic_cross_entropy(
    part, parts, B, O, Z, z, labels, rows, weights, smoothing, scale, losses, hits, dZ, dz
):  # fmt: skip
    """For this part's rows i of the B, over their O outputs: losses[i] = -w sum_k (q_k log p_k + (1 - q_k) log(1 - p_k)),
    hits[i] = (every p_k > 1/2 is a label of 1, and no other), dZ_i = scale * w * (p - q); p = 1 / (1 + exp(-Z_i)).

    labels hold 0 or 1, O for each row of the data set; q = (1 - smoothing) * label + smoothing / 2. The rest as above.
    """
    lo, hi = share(part, parts, B)
    for i in range(lo, hi):
        weight = weights[rows[i]] if weights.size else 1.0
        factor = Z.dtype.type(scale * weight)
        loss, right = 0.0, True
        for k in range(O):
            logit, label = Z[z + i * O + k], labels[rows[i] * O + k]
            target = (1 - smoothing) * label + 0.5 * smoothing
            small = np.exp(-abs(np.float64(logit)))
            loss += max(np.float64(logit), 0.0) - logit * target + np.log1p(small)
            p = (1.0 if logit >= 0 else small) / (1 + small)
            right &= (logit > 0) == (label == 1)
            dZ[dz + i * O + k] = factor * Z.dtype.type(p - target)
        losses[i], hits[i] = weight * loss, right


@kernel
def totals(losses, hits, n):
    """The sum of the first n losses and hits, in index order."""
    loss, correct = 0.0, 0
    for i in range(n):
        loss += losses[i]
        correct += hits[i]
    return loss, correct
