"""The notebook that this project began with: its training iteration, as written, in NumPy's float64."""

from __future__ import annotations

import numpy as np


class Notebook:
    """784-256-10 without biases, ReLU, softmax and cross-entropy summed over 128 random rows, plain SGD."""

    def __init__(self, X, y):
        self.X = X / 255
        self.Y = np.eye(10)[y]
        self.rng = np.random.default_rng(0)
        self.W1 = self.rng.uniform(-0.5, 0.5, (X.shape[1], 256))
        self.W2 = self.rng.uniform(-0.5, 0.5, (256, 10))

    def step(self):
        rows = self.rng.choice(len(self.X), 128, replace=False)
        X, Y = self.X[rows], self.Y[rows]
        A1 = X @ self.W1
        Z1 = np.maximum(A1, 0)
        A2 = Z1 @ self.W2
        E = np.exp(A2 - A2.max(axis=1, keepdims=True))
        P = E / E.sum(axis=1, keepdims=True)
        loss = -np.sum(Y * np.log(P + 1e-10))
        dA2 = P - Y
        dW2 = Z1.T @ dA2
        dA1 = (dA2 @ self.W2.T) * (A1 > 0)
        dW1 = X.T @ dA1
        self.W1 -= 1e-3 * dW1
        self.W2 -= 1e-3 * dW2
        return loss
