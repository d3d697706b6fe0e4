"""PyTorch: autograd on modules, a handwritten backward pass, the same compiled, and EmbeddingBag for sparse rows."""

import numpy as np
import torch
import torch.nn.functional as F

from . import Peer, batches


class _Torch(Peer):
    """Data in tensors, of which each step gathers the rows of its batch."""

    def __init__(self, work, threads):
        super().__init__(work, threads)
        torch.set_num_threads(threads)
        self.y = torch.from_numpy(work.y)
        self.X = torch.from_numpy(work.floats)

    def steps(self, rows, rates):
        for index, rate in zip(batches(torch.from_numpy(rows), self.work.batch), rates):
            self.step(self.X[index], self.y[index], float(rate))


class Eager(_Torch):
    label = "PyTorch eager"

    def __init__(self, work, threads):
        super().__init__(work, threads)
        self.linears = [torch.nn.Linear(I, O) for I, O in zip(work.sizes, work.sizes[1:])]
        modules = [module for linear in self.linears for module in (linear, torch.nn.ReLU())]
        self.model = torch.nn.Sequential(*modules[:-1])

    def load(self, layers):
        with torch.no_grad():
            for linear, (W, b) in zip(self.linears, layers):
                linear.weight.copy_(torch.from_numpy(W.T))
                linear.bias.copy_(torch.from_numpy(b))
        momentum = self.work.momentum
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1.0, momentum=momentum, nesterov=momentum > 0)

    def layers(self):
        return [
            (linear.weight.detach().numpy().T.copy(), linear.bias.detach().numpy().copy()) for linear in self.linears
        ]

    def step(self, X, y, rate):
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.model(X), y).backward()
        self.optimizer.step()

    def predict(self, X):
        with torch.inference_mode():
            Y = torch.from_numpy(X)
            for linear in self.linears[:-1]:
                Y = F.linear(Y, linear.weight, linear.bias).relu_()
            return F.linear(Y, self.linears[-1].weight, self.linears[-1].bias).numpy()


def _step(parameters, velocities, X, y, rate, momentum):
    activations, depth = [X], len(parameters) // 2
    for l in range(depth):
        Z = torch.addmm(parameters[2 * l + 1], activations[-1], parameters[2 * l])
        activations.append(Z.relu_() if l < depth - 1 else Z)
    dZ = torch.softmax(activations.pop(), 1)
    dZ = (dZ - F.one_hot(y, dZ.shape[1])) * (1 / len(X))
    for l in range(depth - 1, -1, -1):
        W, b, below = parameters[2 * l], parameters[2 * l + 1], activations[l]
        dX = (dZ @ W.T) * (below > 0) if l else None
        if momentum:
            for p, v, g in zip((W, b), velocities[2 * l :], (below.T @ dZ, dZ.sum(0))):
                v.mul_(momentum).add_(g)
                p.sub_(g.add_(v, alpha=momentum), alpha=rate)
        else:
            W.addmm_(below.T, dZ, alpha=-rate)
            b.sub_(dZ.sum(0), alpha=rate)
        dZ = dX


class ByHand(_Torch):
    label = "PyTorch by hand"
    predicts = False

    def load(self, layers):
        self.parameters = [torch.from_numpy(a.copy()) for W, b in layers for a in (W, b)]
        self.velocities = [torch.zeros_like(p) for p in self.parameters]

    def layers(self):
        return [(W.numpy().copy(), b.numpy().copy()) for W, b in zip(self.parameters[::2], self.parameters[1::2])]

    run = staticmethod(_step)

    def step(self, X, y, rate):
        with torch.no_grad():
            self.run(self.parameters, self.velocities, X, y, rate, self.work.momentum)


class Compiled(ByHand):
    label = "PyTorch compiled"
    slow_to_compile = True
    run = staticmethod(torch.compile(_step, mode="max-autotune"))


class EmbeddingBag(Peer):
    """The usual PyTorch answer to wide sparse inputs: a weighted bag of embeddings, with sparse gradients."""

    label = "PyTorch EmbeddingBag"
    trains, predicts = ("sparse",), False

    def __init__(self, work, threads):
        super().__init__(work, threads)
        torch.set_num_threads(threads)
        self.y, self.indices = torch.from_numpy(work.y), work.X.indices.astype(np.int64)

    def load(self, layers):
        (W, b), *rest = layers
        self.bag = torch.nn.EmbeddingBag(*W.shape, mode="sum", sparse=True, _weight=torch.from_numpy(W.copy()))
        self.b = torch.from_numpy(b.copy()).requires_grad_()
        self.rest = [torch.from_numpy(a.copy()).requires_grad_() for W, b in rest for a in (W.T, b)]
        self.optimizer = torch.optim.SGD([self.bag.weight, self.b, *self.rest], lr=1.0)

    def layers(self):
        W, b, *rest = (p.detach().numpy() for p in (self.bag.weight, self.b, *self.rest))
        return [(W.copy(), b.copy()), *((V.T.copy(), c.copy()) for V, c in zip(rest[::2], rest[1::2]))]

    def steps(self, rows, rates):
        X = self.work.X
        for batch, rate in zip(batches(rows, self.work.batch), rates):
            starts, lengths = X.indptr[batch], X.indptr[batch + 1] - X.indptr[batch]
            offsets = np.cumsum(lengths) - lengths
            places = np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())
            indices, values = torch.from_numpy(self.indices[places]), torch.from_numpy(X.values[places])
            self.optimizer.param_groups[0]["lr"] = float(rate)
            self.optimizer.zero_grad(set_to_none=True)
            Y = self.bag(indices, torch.from_numpy(offsets), per_sample_weights=values) + self.b
            for W, b in zip(self.rest[::2], self.rest[1::2]):
                Y = F.linear(Y.relu_(), W, b)
            F.cross_entropy(Y, self.y[torch.from_numpy(batch)]).backward()
            self.optimizer.step()
