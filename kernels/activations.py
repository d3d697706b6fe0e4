"""What a hidden layer does to its sums, and the derivative, from the outputs alone: y' = f'(z) as a function of y = f(z).

ReLU is not here: it is part of the pass that finishes the sums (``gemm.finish_rows``), and its derivative is ``gemm.mask``.
All functions here are raw and work on ``size`` contiguous elements of flat arrays.
"""

from __future__ import annotations

from . import simd
from .jit import kernel

RELU, IDENTITY, LOGISTIC, TANH = range(4)
ACTIVATIONS = {"relu": RELU, "identity": IDENTITY, "logistic": LOGISTIC, "tanh": TANH}
SOFTMAX, LOGISTIC_OUTPUT = range(2)
OUTPUTS = {"softmax": SOFTMAX, "logistic": LOGISTIC_OUTPUT}


@kernel
def activate(kind, Y, y, size):
    """Y = f(Y) from Y[y] on: 1 / (1 + exp(-z)) for LOGISTIC, 1 - 2 / (exp(2 z) + 1), which is tanh(z), for TANH.

    Both within two units in the last place of 1. Nothing for IDENTITY, and for RELU, which has been done.
    """
    if kind in (RELU, IDENTITY):
        return
    lanes = simd.lanes(Y)
    zero, one, two = simd.zeros(Y), simd.broadcast(Y, 1.0), simd.broadcast(Y, 2.0)
    for i in range(0, size, lanes):
        rest = min(lanes, size - i)
        z = simd.load_masked(Y, y + i, rest)
        if kind == LOGISTIC:
            f = one / (one + simd.exp(zero - z))
        else:
            f = one - two / (simd.exp(two * z) + one)
        simd.store_masked(Y, y + i, f, rest)


@kernel
def activation_backward(kind, Y, y, dY, dy, size, kept):
    """dY *= f'(z), for all but RELU; Y holds f(z) / kept, as dropout has left it: y (1 - y), 1 - y^2, or 1."""
    if kind == IDENTITY:
        return
    lanes = simd.lanes(dY)
    one, share = simd.broadcast(dY, 1.0), simd.broadcast(dY, kept)
    for i in range(0, size, lanes):
        rest = min(lanes, size - i)
        f = share * simd.load_masked(Y, y + i, rest)
        if kind == LOGISTIC:
            slope = f * (one - f)
        else:
            slope = one - f * f
        simd.store_masked(dY, dy + i, slope * simd.load_masked(dY, dy + i, rest), rest)
