"""The three products of a linear layer at the shapes of networks, against NumPy's BLAS and PyTorch, and the FMA peak."""

from __future__ import annotations

import numpy as np
import pytest

import kernels

SHAPES = [
    (1, 784, 256),
    (8, 784, 256),
    (128, 784, 256),
    (128, 256, 10),
    (256, 784, 1024),
    (256, 1024, 1024),
    (1024, 1024, 1024),
    (10000, 784, 256),
    (128, 4096, 4096),
]


def numpy_products(X, W, b, dY):
    return {
        "forward": lambda: np.maximum(X @ W + b, 0),
        "input gradient": lambda: dY @ W.T,
        "weight gradient": lambda: (X.T @ dY, dY.sum(0)),
    }


def our_products(X, W, b, dY):
    return {
        "forward": lambda: kernels.linear_relu_forward(X, W, b),
        "input gradient": lambda: kernels.linear_backward_input(dY, W),
        "weight gradient": lambda: kernels.linear_backward_weight(X, dY),
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("product", ["forward", "input gradient", "weight gradient"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_product(compare, shape, product, threads, rng):
    B, I, O = shape
    operands = [rng.standard_normal(s).astype(np.float32) for s in ((B, I), (I, O), (O,), (B, O))]
    peers = {}
    if threads > 1:  # NumPy's BLAS takes its number of threads from the environment alone
        peers["numpy"] = numpy_products(*operands)[product]
    try:
        from peers import torch_products
    except ImportError:
        pass
    else:
        torch_products.set_num_threads(threads)
        peers["torch"] = torch_products.products(*operands)[product]
    with kernels.threads(threads):
        what = f"{'x'.join(map(str, shape))}, {threads} threads"
        compare(product, what, our_products(*operands)[product], peers, 2 * B * I * O)
