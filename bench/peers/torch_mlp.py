"""PyTorch's training step and prediction: modules with autograd, the backward written by hand, and that compiled."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def _parameters(layers, grad):
    return [torch.from_numpy(a.copy()).requires_grad_(grad) for W, b in layers for a in (W, b)]


class _Data:
    def __init__(self, X, y, layers, batch, lr):
        torch.set_num_threads(2)
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)
        self.layers, self.batch, self.lr = layers, batch, lr

    def __call__(self, rows):
        for start in range(0, len(rows), self.batch):
            index = torch.from_numpy(rows[start : start + self.batch])
            self.step(self.X[index], self.y[index])


class Eager(_Data):
    def __init__(self, *args):
        super().__init__(*args)
        modules = []
        for W, b in self.layers:
            linear = torch.nn.Linear(*W.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(W.T.copy()))
                linear.bias.copy_(torch.from_numpy(b))
            modules += [linear, torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*modules[:-1])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.lr)

    def step(self, X, y):
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.model(X), y).backward()
        self.optimizer.step()


def _step(parameters, X, y, lr):
    activations = [X]
    depth = len(parameters) // 2
    for l in range(depth):
        Z = torch.addmm(parameters[2 * l + 1], activations[-1], parameters[2 * l])
        activations.append(Z.relu_() if l < depth - 1 else Z)
    dZ = torch.softmax(activations.pop(), 1)
    dZ = (dZ - F.one_hot(y, dZ.shape[1])) * (1 / len(X))
    for l in range(depth - 1, -1, -1):
        W, b, below = parameters[2 * l], parameters[2 * l + 1], activations[l]
        dX = (dZ @ W.T) * (below > 0) if l else None
        W.addmm_(below.T, dZ, alpha=-lr)
        b.sub_(dZ.sum(0), alpha=lr)
        dZ = dX


class ByHand(_Data):
    def __init__(self, *args):
        super().__init__(*args)
        self.parameters = _parameters(self.layers, False)

    def step(self, X, y):
        with torch.no_grad():
            _step(self.parameters, X, y, self.lr)


class Compiled(ByHand):
    compiled = staticmethod(torch.compile(_step, mode="max-autotune"))

    def step(self, X, y):
        with torch.no_grad():
            self.compiled(self.parameters, X, y, self.lr)


class EmbeddingBag:
    """The usual PyTorch answer to wide sparse inputs: a weighted bag of embeddings, with sparse gradients."""

    def __init__(self, X, y, layers, batch, lr):
        torch.set_num_threads(2)
        self.X, self.y, self.batch = X, torch.from_numpy(y), batch
        (W1, b1), (W2, b2) = layers
        self.bag = torch.nn.EmbeddingBag(*W1.shape, mode="sum", sparse=True, _weight=torch.from_numpy(W1.copy()))
        self.rest = _parameters([(W2, b2)], True)
        self.b1 = torch.from_numpy(b1.copy()).requires_grad_(True)
        self.optimizer = torch.optim.SGD([self.bag.weight, self.b1, *self.rest], lr=lr)

    def __call__(self, rows):
        indptr, indices, values = self.X
        for start in range(0, len(rows), self.batch):
            batch = rows[start : start + self.batch]
            places = np.concatenate([np.arange(indptr[i], indptr[i + 1]) for i in batch])
            lengths = np.diff(indptr)[batch]
            offsets = torch.from_numpy(np.concatenate(([0], np.cumsum(lengths)[:-1])))
            self.optimizer.zero_grad(set_to_none=True)
            hidden = self.bag(
                torch.from_numpy(indices[places]), offsets, per_sample_weights=torch.from_numpy(values[places])
            )
            logits = F.linear(F.relu(hidden + self.b1), self.rest[0].T, self.rest[1])
            F.cross_entropy(logits, self.y[torch.from_numpy(batch)]).backward()
            self.optimizer.step()


class Predict:
    """Logits, without gradients."""

    def __init__(self, layers):
        torch.set_num_threads(2)
        self.parameters = _parameters([(W.T.copy(), b) for W, b in layers], False)

    def __call__(self, X):
        with torch.inference_mode():
            Y = torch.from_numpy(X)
            for l in range(0, len(self.parameters), 2):
                Y = F.linear(Y, *self.parameters[l : l + 2])
                if l + 2 < len(self.parameters):
                    Y = Y.relu_()
            return Y
