"""Explicit vectors: the sum of a C[i, j] stays in a register for all of its K terms.

``kernels.simd`` makes a vector register a value like any other: 16 float32 with AVX-512. Eight of them hold the sums of
neighbouring columns; for each k one number of A is multiplied with eight vectors of B, and C is stored once.

That is a third of lesson 1's memory operations and hardly faster: LLVM vectorised those loops, too, and both wait for
the second-level cache, from which every row of A reads all of B. The next lesson mends that; it is written in vectors.
"""

import numpy as np
from numba import njit

from kernels import simd

from .lesson1_loops import backward_hidden, softmax_loss, subtract
from .lesson1_loops import multiply as multiply_narrow
from .lesson1_loops import multiply_transposed as multiply_narrow_transposed


@njit
def row_times_matrix(row, B, C, c):
    """N numbers of C from its c-th on: the sum over k of row[k] * B[k]. N is a multiple of eight vectors."""
    N, lanes = B.shape[1], simd.lanes(C)
    for j in range(0, N, 8 * lanes):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = simd.zeros(C)
        for k in range(row.size):
            x, b = simd.broadcast(C, row[k]), k * N + j
            s0 = simd.fma(x, simd.load(B, b), s0)
            s1 = simd.fma(x, simd.load(B, b + lanes), s1)
            s2 = simd.fma(x, simd.load(B, b + 2 * lanes), s2)
            s3 = simd.fma(x, simd.load(B, b + 3 * lanes), s3)
            s4 = simd.fma(x, simd.load(B, b + 4 * lanes), s4)
            s5 = simd.fma(x, simd.load(B, b + 5 * lanes), s5)
            s6 = simd.fma(x, simd.load(B, b + 6 * lanes), s6)
            s7 = simd.fma(x, simd.load(B, b + 7 * lanes), s7)
        for v, s in enumerate((s0, s1, s2, s3, s4, s5, s6, s7)):
            simd.store(C, c + j + v * lanes, s)


@njit
def multiply(A, B, C):
    """C = A @ B."""
    for i in range(A.shape[0]):
        row_times_matrix(A[i], B, C, i * B.shape[1])


@njit
def multiply_transposed(A, B, C):
    """C = A.T @ B: a row of A.T is a column of A."""
    for i in range(A.shape[1]):
        row_times_matrix(A[:, i], B, C, i * B.shape[1])


@njit
def step(X, labels, W1, W2, lr):
    Y, Z = np.empty((len(X), W1.shape[1]), X.dtype), np.empty((len(X), W2.shape[1]), X.dtype)
    dY, dW1, dW2 = np.empty_like(Y), np.empty_like(W1), np.empty_like(W2)
    # Forward.
    multiply(X, W1, Y)
    np.maximum(Y, 0, Y)
    multiply_narrow(Y, W2, Z)
    # Loss.
    loss = softmax_loss(Z, labels)
    # Backward.
    multiply_narrow_transposed(Y, Z, dW2)
    backward_hidden(Z, W2, Y, dY)
    multiply_transposed(X, dY, dW1)
    # Update.
    subtract(W2, dW2, lr)
    subtract(W1, dW1, lr)
    return loss
