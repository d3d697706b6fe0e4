"""Softmax, and softmax with cross-entropy: loss, correct count and logit gradient in one pass over the rows.

Legend: ``B`` rows (samples), ``O`` classes; Z [B, O] logits. All functions here are raw: nothing is checked.
"""

from __future__ import annotations

import numpy as np

from .intrinsics import flat, out_of_line
from .jit import kernel
from .threads import share


@kernel
def _exp_row(O, Z, z, E, e):
    """E = exp(Z - max Z) for one row of O; returns the maximum, its first index, and the sum of E in index order."""
    largest, argmax = Z[z], 0
    for j in range(1, O):
        if Z[z + j] > largest or (np.isnan(Z[z + j]) and not np.isnan(largest)):  # the first NaN stays
            largest, argmax = Z[z + j], j
    total = Z.dtype.type(0)
    for j in range(O):
        E[e + j] = np.exp(Z[z + j] - largest)
        total += E[e + j]
    return largest, argmax, total


@kernel
def softmax(part, parts, Z, P):
    """P = exp(Z - max) / sum(exp(Z - max)) by rows."""
    lo, hi = share(part, parts, Z.shape[0])
    O = Z.shape[1]
    for i in range(lo, hi):
        _, _, total = _exp_row(O, flat(Z), i * O, flat(P), i * O)
        for j in range(O):
            P[i, j] /= total


@kernel
def softmax_cross_entropy(part, parts, B, O, Z, z, labels, rows, epsilon, scale, losses, hits, dZ, dz):
    """For this part's rows i of the B: losses[i] = -log softmax(Z_i)[label], hits[i] = (argmax is the label), and
    dZ_i = scale * (softmax(Z_i) - onehot), with label = labels[rows[i]].

    Z and dZ are flat, from Z[z] and dZ[dz] on. Loss and hit of each row go into arrays, so that the sum over them runs in
    one order for any number of parts. With ``epsilon`` > 0 the loss is -log(p + epsilon).
    """
    out_of_line()
    lo, hi = share(part, parts, B)
    for i in range(lo, hi):
        label = labels[rows[i]]
        this, that = z + i * O, dz + i * O
        largest, argmax, total = _exp_row(O, Z, this, dZ, that)
        if epsilon > 0:
            losses[i] = -np.log(np.float64(dZ[that + label] / total) + epsilon)
        else:
            losses[i] = np.log(np.float64(total)) - (np.float64(Z[this + label]) - np.float64(largest))
        hits[i] = argmax == label
        factor = Z.dtype.type(scale)
        for j in range(that, that + O):
            dZ[j] = factor * (dZ[j] / total)
        dZ[that + label] -= factor


@kernel
def totals(losses, hits, n):
    """The sum of the first n losses and hits, in index order."""
    loss, correct = 0.0, 0
    for i in range(n):
        loss += losses[i]
        correct += hits[i]
    return loss, correct
