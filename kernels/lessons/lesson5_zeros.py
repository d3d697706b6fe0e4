"""Four fifths of MNIST's pixels are zeros: what they multiply is not read.

Forward: a row of Y is the sum of the rows of W1 at the pixels that are not zero. Update: W1's row i changes by the sum
of the rows of dY at the samples whose pixel i is not zero; pixels that are zero in the whole batch leave their weights
alone. For that the batch is transposed to columns once, by a counting sort.

A product of zero adds nothing, so the sums have the terms of lesson 4 in the same order.
"""

import numpy as np
from numba import njit

from kernels import simd

from .lesson3_tiles import DEPTH, VECTORS
from .lesson4_fused import output_layer


@njit
def compress(X):
    """(starts, places, values): the non-zeros of row i of X are places and values[starts[i] : starts[i + 1]]."""
    starts, places = np.empty(len(X) + 1, np.int64), np.empty(X.size + 1, np.int64)
    values, count = np.empty(X.size + 1, X.dtype), 0
    for i in range(X.shape[0]):
        starts[i] = count
        for j in range(X.shape[1]):
            places[count], values[count] = j, X[i, j]
            count += X[i, j] != 0  # without a branch: the next number takes the place of a zero
    starts[X.shape[0]] = count
    return starts, places, values


@njit
def sum_of_rows(A, places, values, start, end, j):
    """Four vectors, from column j on, of the sum of values[k] * A[places[k]] for start <= k < end."""
    sums = simd.tile_zeros(A, 1, 4)
    width = 4 * simd.lanes(A)
    for k in range(start, end):
        sums = simd.tile_axpy(sums, values[k], A, places[k] * A.shape[1] + j, width)
    return sums


@njit
def forward(starts, places, values, W1, Y):
    """Y = max(X @ W1, 0)."""
    H, width = W1.shape[1], 4 * simd.lanes(Y)
    for i in range(Y.shape[0]):
        for j in range(0, H, width):
            sums = sum_of_rows(W1, places, values, starts[i], starts[i + 1], j)
            simd.tile_store(Y, i * H + j, 0, simd.maximum(sums, simd.tile_zeros(Y, 1, 4)), width, 0)


@njit
def to_columns(starts, places, values, columns):
    """The same non-zeros column by column: counted, summed up, and put where they belong."""
    column_starts = np.zeros(columns + 1, np.int64)
    samples, column_values = np.empty_like(places), np.empty_like(values)
    for k in range(starts[-1]):
        column_starts[places[k] + 1] += 1
    for j in range(columns):
        column_starts[j + 1] += column_starts[j]
    for i in range(starts.size - 1):
        for k in range(starts[i], starts[i + 1]):
            to = column_starts[places[k]]
            samples[to], column_values[to] = i, values[k]
            column_starts[places[k]] += 1
    for j in range(columns, 0, -1):  # each start has moved to its column's end, the next one's start
        column_starts[j] = column_starts[j - 1]
    column_starts[0] = 0
    return column_starts, samples, column_values


@njit
def update(column_starts, samples, column_values, dY, W1, lr):
    """W1 -= lr * X.T @ dY."""
    H, width = W1.shape[1], 4 * simd.lanes(W1)
    rate = simd.broadcast(W1, -lr)
    for i in range(W1.shape[0]):
        if column_starts[i] < column_starts[i + 1]:
            for j in range(0, H, width):
                gradient = sum_of_rows(dY, samples, column_values, column_starts[i], column_starts[i + 1], j)
                weights = simd.tile_load(W1, i * H + j, 0, 1, 4, width)
                simd.tile_store(W1, i * H + j, 0, simd.fma(rate, gradient, weights), width, 0)


@njit
def step(X, labels, W1, W2, lr):
    (B, I), H = X.shape, W1.shape[1]
    Y, dY = np.empty((B, H), X.dtype), np.empty((B, H), X.dtype)
    panel = np.empty(DEPTH * VECTORS * simd.lanes(Y), X.dtype)
    starts, places, values = compress(X)
    columns = to_columns(starts, places, values, I)
    forward(starts, places, values, W1, Y)
    loss = output_layer(Y, labels, W2, lr, dY, panel)
    update(*columns, dY, W1, lr)
    return loss
