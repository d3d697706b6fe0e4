"""Register tiles and packing: a matrix product near the peak of the core.

A tile is a block of C that stays in registers: here 8 rows by 2 vectors, 16 sums. For each k, 2 vectors of B are loaded
and 8 numbers of A: 10 loads for 16 multiply-adds, where lesson 2 had 5 for 4. The arithmetic units are the limit now.

A panel of B, K rows of 2 vectors, is read by every tile in its columns. In B its rows are N numbers apart, which falls
into few of the cache's sets; packed, it is one contiguous block that stays in the first-level cache while all rows of A
pass by. Blocks of K keep a panel below half that cache; a tile that continues an earlier block loads its sums from C.

The ten columns of W2 do not fill vectors of 16: there a tile is 8 rows by one vector, of which a mask keeps ten lanes.
"""

import numpy as np
from numba import njit

from kernels import simd

from .lesson1_loops import softmax_loss, subtract

ROWS, VECTORS = 8, 2  # of a tile
DEPTH = 128  # rows of a panel: 16 kB in float32, half of a first-level cache of 32


@njit
def pack(B, first, depth, j, panel):
    """Rows first .. first + depth of two vectors' columns of B, from j on, into the contiguous ``panel``."""
    lanes = simd.lanes(B)
    for k in range(depth):
        b = (first + k) * B.shape[1] + j
        simd.store(panel, 2 * k * lanes, simd.load(B, b))
        simd.store(panel, (2 * k + 1) * lanes, simd.load(B, b + lanes))


@njit
def tile_product(A, a, a_row, a_step, depth, panel, C, c, resume):
    """ROWS x 2 vectors of C from c on: (+)= the rows of A, ``a_row`` apart, times the panel."""
    N, width = C.shape[1], VECTORS * simd.lanes(C)
    sums = simd.tile_zeros(C, ROWS, VECTORS)
    if resume:
        sums = simd.tile_load(C, c, N, ROWS, VECTORS, width)
    for k in range(depth):
        sums = simd.tile_fma(sums, A, a + k * a_step, a_row, panel, k * width)
    simd.tile_store(C, c, N, sums, width, 0)


@njit
def product(M, K, A, a_row, a_step, B, C):
    """C[M, N] = A @ B, where A[i, k] is A.flat[i * a_row + k * a_step]; M is a multiple of ROWS, N of a panel."""
    N, width = B.shape[1], VECTORS * simd.lanes(C)
    panel = np.empty(DEPTH * width, C.dtype)
    for first in range(0, K, DEPTH):
        depth = min(DEPTH, K - first)
        for j in range(0, N, width):
            pack(B, first, depth, j, panel)
            for i in range(0, M, ROWS):
                a = i * a_row + first * a_step
                tile_product(A, a, a_row, a_step, depth, panel, C, i * N + j, first > 0)


@njit
def multiply(A, B, C):
    """C = A @ B."""
    product(A.shape[0], A.shape[1], A, A.shape[1], 1, B, C)


@njit
def multiply_transposed(A, B, C):
    """C = A.T @ B: the same kernel, with the strides of A exchanged."""
    product(A.shape[1], A.shape[0], A, 1, A.shape[1], B, C)


@njit
def narrow_product(M, K, A, a_row, a_step, B, C):
    """``product`` for few columns, vector by vector: a mask lets pass those there are."""
    N, lanes = B.shape[1], simd.lanes(C)
    for j in range(0, N, lanes):
        for i in range(0, M, ROWS):
            sums = simd.tile_zeros(C, ROWS, 1)
            for k in range(K):
                sums = simd.tile_fma_masked(sums, A, i * a_row + k * a_step, a_row, B, k * N + j, N - j)
            simd.tile_store(C, i * N + j, N, sums, N - j, 0)


@njit
def step(X, labels, W1, W2, lr):
    B, (H, O) = len(X), W2.shape
    Y, Z, dY = np.empty((B, H), X.dtype), np.empty((B, O), X.dtype), np.empty((B, H), X.dtype)
    dW1, dW2 = np.empty_like(W1), np.empty_like(W2)
    # Forward.
    multiply(X, W1, Y)
    np.maximum(Y, 0, Y)
    narrow_product(B, H, Y, H, 1, W2, Z)
    # Loss.
    loss = softmax_loss(Z, labels)
    # Backward.
    narrow_product(H, B, Y, 1, H, Z, dW2)
    multiply(Z, W2.T.copy(), dY)
    for i in range(B):
        for h in range(H):
            dY[i, h] = dY[i, h] if Y[i, h] > 0 else 0
    multiply_transposed(X, dY, dW1)
    # Update.
    subtract(W2, dW2, lr)
    subtract(W1, dW1, lr)
    return loss
