"""NumPy, tuned: float32, every array allocated once, products by BLAS into place."""

import numpy as np

from . import Peer, batches


class Tuned(Peer):
    label = "NumPy float32"

    def __init__(self, work, threads):
        super().__init__(work, threads)
        B, sizes = work.batch, work.sizes
        self.X, self.batch = work.floats, np.empty((B, sizes[0]), np.float32)
        self.Y = [np.empty((B, width), np.float32) for width in sizes[1:]]
        self.dY = [np.empty_like(Y) for Y in self.Y[:-1]]
        self.gradients = [(np.empty((I, O), np.float32), np.empty(O, np.float32)) for I, O in zip(sizes, sizes[1:])]
        self.row = np.arange(B)

    def load(self, layers):
        self.parameters = [(W.copy(), b.copy()) for W, b in layers]
        self.velocities = [(np.zeros_like(W), np.zeros_like(b)) for W, b in layers]

    def layers(self):
        return [(W.copy(), b.copy()) for W, b in self.parameters]

    def steps(self, rows, rates):
        for index, rate in zip(batches(rows, self.work.batch), rates):
            self.step(index, np.float32(rate))

    def step(self, index, rate):
        np.take(self.X, index, axis=0, out=self.batch, mode="clip")  # "raise" would go through a buffer
        inputs, last = [self.batch, *self.Y], len(self.parameters) - 1
        for l, (W, b) in enumerate(self.parameters):
            Y = np.matmul(inputs[l], W, out=self.Y[l])
            Y += b
            if l < last:
                np.maximum(Y, 0, out=Y)
        dZ = self.Y[-1]
        dZ -= dZ.max(axis=1, keepdims=True)
        np.exp(dZ, out=dZ)
        dZ /= dZ.sum(axis=1, keepdims=True)
        dZ[self.row, self.work.y[index]] -= 1
        dZ *= np.float32(1 / len(index))
        for l in range(last, -1, -1):
            dW, db = self.gradients[l]
            np.matmul(inputs[l].T, dZ, out=dW)
            np.sum(dZ, axis=0, out=db)
            if l:
                dX = np.matmul(dZ, self.parameters[l][0].T, out=self.dY[l - 1])
                dX *= inputs[l] > 0
                dZ = dX
            for p, g, v in zip(self.parameters[l], self.gradients[l], self.velocities[l]):
                self.update(p, g, v, rate)

    def update(self, p, g, v, rate):
        if self.work.momentum:  # v = m v + g, p -= rate (g + m v)
            m = np.float32(self.work.momentum)
            v *= m
            v += g
            g += m * v
        g *= rate
        p -= g

    def predict(self, X):
        for W, b in self.parameters[:-1]:
            X = X @ W
            X += b
            np.maximum(X, 0, out=X)
        W, b = self.parameters[-1]
        X = X @ W
        X += b
        return X
