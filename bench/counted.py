"""The hot kernels, for callgrind: each is called n times, then 2 n times, with a system call as the marker between.

The difference is n calls, without start-up. compare.py runs this with code for AVX2 on one thread.
"""

import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import kernels

import workloads
from peers.ours import Dense, Fused

CALLS = 3
MARKER = "getppid"


def hot_kernels() -> Iterator[tuple[str, Callable[[], Any]]]:
    rng = np.random.default_rng(0)
    X, Y = rng.random((32, 784), np.float32), rng.random((32, 256), np.float32)
    W, b = rng.random((784, 256), np.float32), rng.random(256, np.float32)
    M, V, dW = np.zeros_like(W), np.zeros_like(W), np.ones_like(W)
    logits, labels = rng.random((128, 10), np.float32), rng.integers(0, 10, 128)
    yield "linear_relu_forward 32x784x256", lambda: kernels.linear_relu_forward(X, W, b)
    yield "linear_backward_input 32x256x784", lambda: kernels.linear_backward_input(Y, W)
    yield "linear_backward_weight 32x784x256", lambda: kernels.linear_backward_weight(X, Y)
    yield "softmax_cross_entropy 128x10", lambda: kernels.softmax_cross_entropy(logits, labels)
    yield "adam_update 784x256", lambda: kernels.adam_update(W, dW, M, V, 1, 0.0)
    pixels = np.where(rng.random((64, 784)) < 0.2, rng.integers(1, 256, (64, 784)), 0).astype(np.uint8)
    work = workloads.Work("pixels", pixels, rng.integers(0, 10, 64), (784, 256, 10), 32, 1 / 255)
    for make in (Fused, Dense):
        for what, momentum in (("SGD", 0.0), ("Nesterov", 0.9)):
            peer = make(replace(work, momentum=momentum), 1)
            peer.load(work.initial_layers())
            name = f"{peer.label}: 2 steps of 784-256-10, batch 32, {what}"
            yield name, lambda peer=peer: peer.steps(np.arange(64), np.zeros(2))
    yield "mlp_forward of a sample", lambda: kernels.mlp_forward(pixels[:1], peer.network, scale=work.scale)


def names() -> list[str]:
    return [name for name, _ in hot_kernels()]


if __name__ == "__main__":
    gc.disable()
    for _, call in hot_kernels():
        call()
        for calls in (0, CALLS, 2 * CALLS):
            for _ in range(calls):
                call()
            os.getppid()
