"""Fusing: what is in registers is finished there.

A tile of Y = X W1 ends with ReLU before it is stored: no second pass over Y. A tile of dY = dZ W2.T ends with the zeros
that ReLU asks for. A tile of dW1 = X.T dY ends with the update W1 -= lr * tile: dW1, as large as W1, is never stored
and never read.

That saves memory traffic: W1 has 800 kB; lesson 3 wrote its gradient, read it again, and read and wrote the weights.
"""

import numpy as np
from numba import njit

from kernels import simd

from .lesson1_loops import softmax_loss, subtract
from .lesson3_tiles import DEPTH, ROWS, VECTORS, narrow_product, pack


@njit
def tile_sums(A, a, a_row, a_step, depth, panel, sums):
    """The tile of sums, with ``depth`` more terms."""
    width = VECTORS * simd.lanes(panel)
    for k in range(depth):
        sums = simd.tile_fma(sums, A, a + k * a_step, a_row, panel, k * width)
    return sums


@njit
def forward(X, W1, Y, panel):
    """Y = max(X @ W1, 0)."""
    B, I = X.shape
    H, width = W1.shape[1], VECTORS * simd.lanes(Y)
    zero = simd.tile_zeros(Y, ROWS, VECTORS)
    for first in range(0, I, DEPTH):
        depth = min(DEPTH, I - first)
        for j in range(0, H, width):
            pack(W1, first, depth, j, panel)
            for i in range(0, B, ROWS):
                y = i * H + j
                sums = simd.tile_load(Y, y, H, ROWS, VECTORS, width) if first > 0 else zero
                sums = tile_sums(X, i * I + first, I, 1, depth, panel, sums)
                if first + depth == I:
                    sums = simd.maximum(sums, zero)
                simd.tile_store(Y, y, H, sums, width, 0)


@njit
def backward(dZ, W2_T, Y, dY, panel):
    """dY = dZ @ W2.T where Y > 0, else 0."""
    B, O = dZ.shape
    H, width = Y.shape[1], VECTORS * simd.lanes(Y)
    for j in range(0, H, width):
        pack(W2_T, 0, O, j, panel)
        for i in range(0, B, ROWS):
            sums = tile_sums(dZ, i * O, O, 1, O, panel, simd.tile_zeros(Y, ROWS, VECTORS))
            simd.tile_store(dY, i * H + j, H, sums, width, 0)
            for r in range(i, i + ROWS):  # the tile is in the first-level cache still
                for y in range(r * H + j, r * H + j + width, simd.lanes(Y)):
                    lit = simd.load(Y, y) > simd.zeros(Y)
                    simd.store(dY, y, simd.select(lit, simd.load(dY, y), simd.zeros(Y)))


@njit
def update(X, dY, W1, lr, panel):
    """W1 -= lr * X.T @ dY, for batches of up to DEPTH samples."""
    B, I = X.shape
    H, width = W1.shape[1], VECTORS * simd.lanes(W1)
    rate = simd.broadcast(W1, -lr)
    for j in range(0, H, width):
        pack(dY, 0, B, j, panel)
        for i in range(0, I, ROWS):
            w = i * H + j
            gradient = tile_sums(X, i, 1, I, B, panel, simd.tile_zeros(W1, ROWS, VECTORS))
            weights = simd.tile_load(W1, w, H, ROWS, VECTORS, width)
            simd.tile_store(W1, w, H, simd.fma(rate, gradient, weights), width, 0)


@njit
def output_layer(Y, labels, W2, lr, dY, panel):
    """The loss, W2's update, and dY."""
    B, (H, O) = Y.shape[0], W2.shape
    Z, dW2, W2_T = np.empty((B, O), Y.dtype), np.empty_like(W2), W2.T.copy()
    narrow_product(B, H, Y, H, 1, W2, Z)
    loss = softmax_loss(Z, labels)
    narrow_product(H, B, Y, 1, H, Z, dW2)
    backward(Z, W2_T, Y, dY, panel)
    subtract(W2, dW2, lr)
    return loss


@njit
def step(X, labels, W1, W2, lr):
    Y, dY = np.empty((len(X), W1.shape[1]), X.dtype), np.empty((len(X), W1.shape[1]), X.dtype)
    panel = np.empty(DEPTH * VECTORS * simd.lanes(Y), X.dtype)
    forward(X, W1, Y, panel)
    loss = output_layer(Y, labels, W2, lr, dY, panel)
    update(X, dY, W1, lr, panel)
    return loss
