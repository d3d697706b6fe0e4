"""Threads: each computes some of the outputs whole, so that the bits do not depend on how many there are.

A step has two halves. In the first every sample is on its own: forward, loss and dY of its row. In the second every row
of the weights is: its gradient and its update, from all samples. So a thread takes a share of the samples, waits for
the others, and takes a share of the weights' rows. No sum is added up by several threads, and nothing is locked.

Numba's ``prange`` hands the shares to its threads and waits for them. The library has a team of threads of its own
(``kernels.team``): it survives forks and several Python threads, and lets others have the cores when they want them.
"""

import numpy as np
from numba import get_num_threads, njit, prange

from kernels import simd

from .lesson1_loops import softmax_loss, subtract
from .lesson3_tiles import DEPTH, ROWS, VECTORS, narrow_product
from .lesson4_fused import backward
from .lesson5_zeros import compress, forward, to_columns, update


@njit
def share(part, parts, count):
    """The range of ``count`` things, in whole tiles, that is one thread's."""
    tiles = count // ROWS
    return ROWS * (part * tiles // parts), ROWS * ((part + 1) * tiles // parts)


@njit
def rows_half(X, labels, W1, W2, W2_T, Y, Z, dY):
    """Forward, loss and dY of these samples."""
    n, H = Y.shape
    starts, places, values = compress(X)
    forward(starts, places, values, W1, Y)
    narrow_product(n, H, Y, H, 1, W2, Z)
    loss = softmax_loss(Z, labels)
    backward(Z, W2_T, Y, dY, np.empty(DEPTH * VECTORS * simd.lanes(Y), X.dtype))
    return loss


@njit
def columns_half(X, a, b, dY, W1, lr):
    """The update of the rows a .. b - 1 of W1."""
    starts, places, values = compress(X[:, a:b].copy())
    columns = to_columns(starts, places, values, b - a)
    update(*columns, dY, W1[a:b], lr)


@njit(parallel=True)
def step(X, labels, W1, W2, lr):
    (B, I), (H, O), parts = X.shape, W2.shape, get_num_threads()
    Y, Z, dY = np.empty((B, H), X.dtype), np.empty((B, O), X.dtype), np.empty((B, H), X.dtype)
    dW2, W2_T, losses = np.empty_like(W2), W2.T.copy(), np.zeros(parts)
    for part in prange(parts):
        a, b = share(part, parts, B)
        losses[part] = rows_half(X[a:b], labels[a:b], W1, W2, W2_T, Y[a:b], Z[a:b], dY[a:b])
    for part in prange(parts):
        a, b = share(part, parts, H)
        narrow_product(b - a, B, Y.reshape(-1)[a:], 1, H, Z, dW2[a:b])
        subtract(W2[a:b], dW2[a:b], lr)
        a, b = share(part, parts, I)
        columns_half(X, a, b, dY, W1, lr)
    return losses.sum()
