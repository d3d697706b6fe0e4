"""Plain loops, compiled by Numba.

A product is three loops, and their order decides the speed. With the columns j innermost, both C[i, j] and B[k, j] are
neighbours in memory, and LLVM makes vector instructions of the loop. With k innermost it may not: that would be a sum,
and floating-point sums must be taken in the order written.

Still every C[i, j] is loaded and stored once for each k: three memory operations for two of arithmetic.
"""

import math

import numpy as np
from numba import njit


@njit
def multiply(A, B, C):
    """C = A @ B."""
    M, K = A.shape
    C[:] = 0
    for i in range(M):
        for k in range(K):
            a = A[i, k]
            for j in range(B.shape[1]):
                C[i, j] += a * B[k, j]


@njit
def multiply_transposed(A, B, C):
    """C = A.T @ B, row by row of A and B."""
    K, M = A.shape
    C[:] = 0
    for k in range(K):
        for i in range(M):
            a = A[k, i]
            for j in range(B.shape[1]):
                C[i, j] += a * B[k, j]


@njit
def backward_hidden(dZ, W2, Y, dY):
    """dY = dZ @ W2.T where Y > 0, else 0."""
    B, O = dZ.shape
    for i in range(B):
        for h in range(Y.shape[1]):
            total = dY.dtype.type(0)
            if Y[i, h] > 0:
                for o in range(O):
                    total += dZ[i, o] * W2[h, o]
            dY[i, h] = total


@njit
def softmax_loss(Z, labels):
    """The summed cross-entropy of Z; Z becomes its gradient dZ."""
    loss = 0.0
    for i in range(Z.shape[0]):
        largest = Z[i].max()
        total = Z.dtype.type(0)
        picked = Z[i, labels[i]] - largest
        for o in range(Z.shape[1]):
            Z[i, o] = math.exp(Z[i, o] - largest)
            total += Z[i, o]
        for o in range(Z.shape[1]):
            Z[i, o] /= total
        Z[i, labels[i]] -= Z.dtype.type(1)
        loss += math.log(total) - picked
    return loss


@njit
def subtract(W, dW, lr):
    """W -= lr * dW."""
    lr = W.dtype.type(lr)
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            W[i, j] -= lr * dW[i, j]


@njit
def step(X, labels, W1, W2, lr):
    Y, Z = np.empty((len(X), W1.shape[1]), X.dtype), np.empty((len(X), W2.shape[1]), X.dtype)
    dY, dW1, dW2 = np.empty_like(Y), np.empty_like(W1), np.empty_like(W2)
    # Forward.
    multiply(X, W1, Y)
    np.maximum(Y, 0, Y)
    multiply(Y, W2, Z)
    # Loss.
    loss = softmax_loss(Z, labels)
    # Backward.
    multiply_transposed(Y, Z, dW2)
    backward_hidden(Z, W2, Y, dY)
    multiply_transposed(X, dY, dW1)
    # Update.
    subtract(W2, dW2, lr)
    subtract(W1, dW1, lr)
    return loss
