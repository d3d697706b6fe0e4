"""fastmlp's own step, through the public ops: with the zeros skipped, and with every input multiplied."""

import numpy as np

import kernels

from . import Peer


class Fused(Peer):
    """As the trainer does it: the first layer reads the non-zeros alone, where most inputs are zeros."""

    label = "fastmlp"
    trains = ("dense", "sparse")

    def __init__(self, work, threads):
        super().__init__(work, threads)
        self.rule = kernels.momentum(work.momentum, nesterov=True) if work.momentum else kernels.sgd()
        self.network = kernels.Network(work.sizes, slots=self.rule.slots)
        self.X, self.ops = work.X, kernels
        if not work.is_sparse and self.X.dtype == np.uint8:
            self.X = kernels.csr(self.X)

    def load(self, layers):
        for (W, b), (W0, b0) in zip(self.network.layers, layers):
            W[...], b[...] = W0, b0
        self.network.state[...] = 0

    def layers(self):
        return [(W.copy(), b.copy()) for W, b in self.network.layers]

    def steps(self, rows, rates):
        work = self.work
        self.ops.mlp_train_steps(
            self.X, work.y, rows, work.batch, self.network, rule=self.rule, lr=rates, scale=work.scale
        )

    def inputs(self, X):
        self.predictor = kernels.Predictor(self.network, scale=self.work.scale)
        return X

    def predict(self, X):
        if len(X) == 1:
            return self.predictor(X)
        return self.ops.mlp_forward(X, self.network, scale=self.work.scale)


class Dense(Fused):
    """Every input multiplied."""

    label = "fastmlp, dense"
    trains = ("dense",)

    def __init__(self, work, threads):
        super().__init__(work, threads)
        self.X = work.X

    @classmethod
    def can_train(cls, work):
        return super().can_train(work) and work.X.dtype == np.uint8  # on floats Fused does the same
