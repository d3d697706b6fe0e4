"""Logits of 784-256-10 for one sample, a batch and many, from Python: pixels for us, floats made beforehand for peers."""

from __future__ import annotations

import numpy as np
import pytest
from bench_train import he_network

import kernels

pytestmark = pytest.mark.filterwarnings("default")  # what the peers warn of is not ours


def numpy_logits(layers):
    (W1, b1), (W2, b2) = layers

    def logits(X):
        Y = X @ W1
        Y += b1
        return np.maximum(Y, 0, out=Y) @ W2 + b2

    return logits


@pytest.mark.parametrize("samples", [1, 128, 10_000])
def test_logits(compare, images, samples):
    name, X, _ = images
    X = X[:samples].copy()
    floats = X.astype(np.float32) / 255
    network = he_network((X.shape[1], 256, 10))
    peers = {"numpy": numpy_logits(network.layers)}
    for module, peer in (("torch_mlp", "torch"), ("onnx_mlp", "onnxruntime")):
        try:
            peers[peer] = __import__(f"peers.{module}", fromlist=["Predict"]).Predict(network.layers)
        except ImportError:
            continue
    ours = kernels.mlp_forward(X, network, scale=1 / 255)
    for logits in peers.values():
        np.testing.assert_allclose(np.asarray(logits(floats)), ours, rtol=1e-3, atol=1e-4)
    calls = {peer: lambda logits=logits: logits(floats) for peer, logits in peers.items()}
    what = f"{name} 784-256-10, {samples} samples"
    compare("logits", what, lambda: kernels.mlp_forward(X, network, scale=1 / 255), calls)
