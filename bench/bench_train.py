"""Training steps, shuffle and gather included, against peers that do the same work: plain SGD, biases, batches in turn."""

from __future__ import annotations

import numpy as np
import pytest

import kernels

from peers.notebook import Notebook

LR = 0.05

pytestmark = pytest.mark.filterwarnings("default")  # what the peers warn of is not ours


def he_network(sizes, dtype="float32"):
    network = kernels.Network(sizes, dtype=dtype)
    rng = np.random.default_rng(0)
    for W, _ in network.layers:
        W[...] = rng.standard_normal(W.shape) * (2 / len(W)) ** 0.5
    return network


class Ours:
    """``steps`` training steps by an op, of rows drawn from shuffled epochs."""

    def __init__(self, ops, X, y, sizes, batch, steps, scale):
        self.ops, self.X, self.y, self.batch, self.scale = ops, X, y, batch, scale
        self.lr = np.full(steps, LR)
        self.network = he_network(sizes)

    def __call__(self, rows):
        self.ops.mlp_train_steps(
            self.X, self.y, rows, self.batch, self.network, rule=kernels.sgd(), lr=self.lr, scale=self.scale
        )


def peers_of(X, y, sizes, batch, compiled):
    """The peers that are installed, on floats made once, as their users would."""
    layers, found = he_network(sizes).layers, {}
    try:
        from peers import torch_mlp
    except ImportError:
        pass
    else:
        found |= {"torch eager": torch_mlp.Eager, "torch by hand": torch_mlp.ByHand}
        if compiled:
            found["torch compiled"] = torch_mlp.Compiled
    try:
        from peers import jax_mlp
    except ImportError:
        pass
    else:
        found["jax scan"] = jax_mlp.Scan
    try:
        from peers import sklearn_mlp
    except ImportError:
        pass
    else:
        found["scikit-learn"] = sklearn_mlp.Classifier
    return {name: make(X, y, layers, batch, LR) for name, make in found.items()}


def on_shuffled_rows(call, samples, count):
    """``call`` on the next ``count`` rows of one shuffled epoch after another."""
    rng, order = np.random.default_rng(0), np.empty(0, np.int64)

    def run():
        nonlocal order
        if len(order) < count:
            order = rng.permutation(samples)
        rows, order = order[:count], order[count:]
        call(rows)

    return run


@pytest.mark.parametrize(
    ("batch", "steps", "sizes"), [(128, 64, (256,)), (256, 8, (1024, 1024))], ids=["small", "large"]
)
def test_training_step(compare, images, benchmark, batch, steps, sizes):
    name, X, y = images
    if benchmark.disabled:
        batch, steps = 16, 2
    sizes = (X.shape[1], *sizes, 10)
    sparse = kernels.csr(X)
    ours = Ours(kernels, sparse, y, sizes, batch, steps, 1 / 255)
    floats = X.astype(np.float32) / 255
    peers = {
        "ours dense": Ours(kernels, X, y, sizes, batch, steps, 1 / 255),
        "numpy float32": Ours(kernels.reference, floats, y, sizes, batch, steps, 1.0),
        **peers_of(floats, y, sizes, batch, compiled=not benchmark.disabled and len(sizes) == 3),
    }
    calls = {peer: on_shuffled_rows(call, len(X), steps * batch) for peer, call in peers.items()}
    if len(sizes) == 3 and not benchmark.disabled:
        notebook = Notebook(X, y)
        calls["notebook"] = lambda: [notebook.step() for _ in range(steps)]
    what = f"{name} {'-'.join(map(str, sizes))}, batch {batch}, {steps} steps"
    compare("training", what, on_shuffled_rows(ours, len(X), steps * batch), calls, each=steps)


def test_training_step_on_wide_sparse_rows(compare, benchmark, rng):
    """20,000 x 100,000 with 100 entries a row, hidden 256, 20 classes."""
    N, I, entries = (200, 5000, 20) if benchmark.disabled else (20_000, 100_000, 100)
    indptr = np.arange(N + 1) * entries
    indices = np.sort(rng.integers(0, I, (N, entries)), axis=1).ravel()
    values, y = rng.random(N * entries, np.float32), rng.integers(0, 20, N)
    batch, steps, sizes = 128, 1 if benchmark.disabled else 16, (I, 256, 20)
    ours = Ours(kernels, kernels.CSR(indptr, indices, values, (N, I)), y, sizes, batch, steps, 1.0)
    peers = {}
    try:
        from peers import torch_mlp
    except ImportError:
        pass
    else:
        layers = he_network(sizes).layers
        peers["torch EmbeddingBag"] = torch_mlp.EmbeddingBag((indptr, indices, values), y, layers, batch, LR)
    try:
        from scipy.sparse import csr_matrix

        from peers import sklearn_mlp
    except ImportError:
        pass
    else:
        matrix = csr_matrix((values, indices, indptr), (N, I))
        peers["scikit-learn"] = sklearn_mlp.Classifier(matrix, y, he_network(sizes).layers, batch, LR)
    calls = {peer: on_shuffled_rows(call, N, steps * batch) for peer, call in peers.items()}
    compare(
        "training",
        f"CSR {N} x {I}, batch {batch}, {steps} steps",
        on_shuffled_rows(ours, N, steps * batch),
        calls,
        each=steps,
    )


@pytest.mark.parametrize("rule", [kernels.sgd(), kernels.momentum(nesterov=True), kernels.adam()], ids=str)
def test_training_step_of_each_rule(compare, images, rule):
    """What the rules cost, on the non-zeros, and that half the threads take twice the time."""
    name, X, y = images
    sparse, rows = kernels.csr(X), np.arange(64 * 16)
    networks = [kernels.Network((X.shape[1], 256, 10), slots=rule.slots) for _ in range(2)]

    def steps(network):
        kernels.mlp_train_steps(sparse, y, rows, 16, network, rule=rule, lr=np.full(64, 1e-4), scale=1 / 255)

    def one_thread():
        with kernels.threads(1):
            steps(networks[1])

    compare(
        "rules", f"{name}, 64 steps of 16 rows, rule {rule.kind}", lambda: steps(networks[0]), {"1 thread": one_thread}
    )
