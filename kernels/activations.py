"""The activations of hidden layers, one class each.

An activation's class is all there is to say about it: its ``name``; ``function``, f(z) of a vector; ``slope``, f'(z) as
a function of y = f(z), or of z itself where it is ``of_input``, which training then keeps; ``twin`` and ``twin_slope``,
the same in NumPy, which are the definition; ``onnx`` and ``torch``, what it is in exported models. Whoever adds a class
to ``ACTIVATIONS`` has added the activation: kernels are compiled for the class that they are called with.

All functions here are raw and work on flat arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from . import simd
from .bundles import class_attribute
from .jit import kernel, piece

for _attribute in ("function", "slope", "of_input", "fused", "linear"):
    class_attribute(_attribute)


class _Constants(NamedTuple):
    pass


class Activation(_Constants):
    """What a hidden layer does to its sums."""

    __slots__ = ()
    name: ClassVar[str]
    function: ClassVar[Any]
    slope: ClassVar[Any]
    of_input: ClassVar[bool] = False
    fused: ClassVar[bool] = False  # the pass that finishes the sums has done it, ``gemm.mask`` goes back: ReLU
    linear: ClassVar[bool] = False  # the identity: there is nothing to do
    torch: ClassVar[str]
    onnx_operator: ClassVar[str]

    def twin(self, Z: np.ndarray) -> np.ndarray:
        """f(Z): the definition."""
        raise NotImplementedError

    def twin_slope(self, A: np.ndarray) -> Any:
        """f'(Z), of A = f(Z), or of A = Z for an activation of its input."""
        raise NotImplementedError

    def onnx(self, node: Callable[..., str], constant: Callable[..., str], Z: str, dtype: np.dtype) -> str:
        """The name of f(Z) in an ONNX graph: node(operator, inputs) makes a node, constant(name, array) a constant."""
        return node(self.onnx_operator, [Z])


@piece
def _nothing(x):
    return x


class Relu(Activation):
    """y = max(z, 0); f' = (y > 0)."""

    __slots__ = ()
    name, fused = "relu", True
    function = slope = _nothing
    torch, onnx_operator = "ReLU", "Relu"

    def twin(self, Z):
        return np.maximum(Z, 0)

    def twin_slope(self, A):
        return ~(A <= 0)


class Identity(Activation):
    """y = z; f' = 1."""

    __slots__ = ()
    name, linear = "identity", True
    torch = onnx_operator = "Identity"
    function = slope = _nothing

    def twin(self, Z):
        return Z

    def twin_slope(self, A):
        return 1


class Logistic(Activation):
    """y = 1 / (1 + exp(-z)), within two units in the last place of 1; f' = y (1 - y)."""

    __slots__ = ()
    name, torch, onnx_operator = "logistic", "Sigmoid", "Sigmoid"

    @staticmethod
    @piece
    def function(z):
        one = simd.broadcast(z, 1.0)
        return one / (one + simd.exp(simd.zeros(z) - z))

    @staticmethod
    @piece
    def slope(y):
        return y * (simd.broadcast(y, 1.0) - y)

    def twin(self, Z):
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-Z))

    def twin_slope(self, A):
        return A * (1 - A)


class Tanh(Activation):
    """y = tanh(z) = 1 - 2 / (exp(2 z) + 1), within two units in the last place of 1; f' = 1 - y^2."""

    __slots__ = ()
    name, torch, onnx_operator = "tanh", "Tanh", "Tanh"

    @staticmethod
    @piece
    def function(z):
        one, two = simd.broadcast(z, 1.0), simd.broadcast(z, 2.0)
        return one - two / (simd.exp(two * z) + one)

    @staticmethod
    @piece
    def slope(y):
        return simd.broadcast(y, 1.0) - y * y

    def twin(self, Z):
        return np.tanh(Z)

    def twin_slope(self, A):
        return 1 - A * A


ACTIVATIONS: dict[str, Activation] = {kind.name: kind() for kind in (Relu, Identity, Logistic, Tanh)}
"""The activations by name."""


@kernel
def activate(activation, Y, Z, n):
    """Y = f(Y), n elements, and for an activation of its input Z = what Y held."""
    if activation.fused or activation.linear:
        return
    lanes = simd.lanes(Y)
    for i in range(0, n, lanes):
        rest = min(lanes, n - i)
        z = simd.load_masked(Y, i, rest)
        if activation.of_input:
            simd.store_masked(Z, i, z, rest)
        simd.store_masked(Y, i, activation.function(z), rest)


@kernel
def activation_backward(activation, Y, Z, dY, n, kept):
    """dY *= f'(z), n elements; Y holds f(z) / kept, as dropout has left it, and Z z for an activation of its input."""
    if activation.linear:
        return
    lanes, undropped = simd.lanes(dY), simd.broadcast(dY, kept)
    for i in range(0, n, lanes):
        rest = min(lanes, n - i)
        if activation.of_input:
            slope = activation.slope(simd.load_masked(Z, i, rest))
        else:
            slope = activation.slope(undropped * simd.load_masked(Y, i, rest))
        simd.store_masked(dY, i, slope * simd.load_masked(dY, i, rest), rest)
