"""The training step 784-256-10 at batch 128: shuffle and gather included, against NumPy and the notebook's own step."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from fastmlp.batches import Batches

from peers.notebook import Notebook

STEPS = 8  # in a call; the notebook and NumPy have no cheaper way than one by one


def he_network(sizes, dtype):
    network = kernels.Network(sizes, dtype=dtype)
    rng = np.random.default_rng(0)
    for W, _ in network.layers:
        W[...] = rng.standard_normal(W.shape) * (2 / len(W)) ** 0.5
    return network


def trainer(ops, X, y, sizes, dtype):
    """A call of STEPS training steps, batches drawn from shuffled epochs."""
    network = he_network(sizes, dtype)
    batches = Batches(len(X), 128, "epoch", np.random.default_rng(0))
    position = [0]

    def steps():
        if batches.left_in_epoch(position[0]) < STEPS:
            position[0] += batches.left_in_epoch(position[0])
        rows = batches.rows(position[0], STEPS)
        position[0] += STEPS
        ops.mlp_train_steps(X, y, rows, 128, network, rule=kernels.sgd(), lr=np.full(STEPS, 0.05), scale=1 / 255)

    return steps, network


@pytest.mark.parametrize("threads", [1, 2])
def test_training_step(compare, images, threads):
    name, X, y = images
    sizes = (X.shape[1], 256, 10)
    with kernels.threads(threads):
        ours, network = trainer(kernels, X, y, sizes, "float32")
        numpy32, _ = trainer(kernels.reference, X, y, sizes, "float32")
        notebook = Notebook(X, y)
        compare(
            f"{STEPS} training steps",
            f"{name} 784-256-10, batch 128, {threads} threads",
            ours,
            {"numpy float32": numpy32, "notebook": lambda: [notebook.step() for _ in range(STEPS)]},
            STEPS * 128 * network.flop_per_sample,
        )
