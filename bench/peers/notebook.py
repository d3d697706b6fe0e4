"""The notebook that this project began with: its training iteration, as written, in NumPy's float64."""

import numpy as np

from . import Peer

LR = 1e-3


class Notebook(Peer):
    """No biases; softmax and cross-entropy summed over the batch; draws its own rows; one rate."""

    label = "the notebook (NumPy float64)"
    predicts, same_steps = False, False

    def __init__(self, work, threads):
        super().__init__(work, threads)
        self.X = work.X * work.scale
        self.Y = np.eye(work.sizes[-1])[work.y]
        self.rng = np.random.default_rng(0)

    @classmethod
    def can_train(cls, work):
        return super().can_train(work) and len(work.sizes) == 3

    def load(self, layers):
        (W1, _), (W2, _) = layers
        self.W1, self.W2 = W1.astype(np.float64), W2.astype(np.float64)

    def layers(self):
        return [(self.W1, np.zeros(self.W1.shape[1])), (self.W2, np.zeros(self.W2.shape[1]))]

    def steps(self, rows, rates):
        for _ in rates:
            rows = self.rng.choice(len(self.X), self.work.batch, replace=False)
            X, Y = self.X[rows], self.Y[rows]
            A1 = X @ self.W1
            Z1 = np.maximum(A1, 0)
            A2 = Z1 @ self.W2
            E = np.exp(A2 - A2.max(axis=1, keepdims=True))
            P = E / E.sum(axis=1, keepdims=True)
            self.loss = -np.sum(Y * np.log(P + 1e-10))
            dA2 = P - Y
            dW2 = Z1.T @ dA2
            dA1 = (dA2 @ self.W2.T) * (A1 > 0)
            dW1 = X.T @ dA1
            self.W1 -= LR * dW1
            self.W2 -= LR * dW2
