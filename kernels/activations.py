"""The activations of hidden layers, one class each.

An activation's class is all there is to say about it: its ``name``; ``function``, f(z) of a vector; ``slope``, f'(z) as
a function of y = f(z), or of z itself where it is ``of_input``, which training then keeps; ``twin`` and ``twin_slope``,
the same in NumPy, which are the definition; ``onnx`` and ``torch``, what it is in exported models. Whoever adds a class
to ``ACTIVATIONS`` has added the activation: kernels are compiled for the class that they are called with.

Nothing here imports Numba, so that the definition runs without: ``function`` and ``slope`` are plain functions, which
``bundles.class_attribute`` makes pieces of, and ``simd`` is loaded when they are compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from . import simd


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
    def function(z):
        one = simd.broadcast(z, 1.0)
        return one / (one + simd.exp(simd.zeros(z) - z))

    @staticmethod
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
    def function(z):
        one, two = simd.broadcast(z, 1.0), simd.broadcast(z, 2.0)
        return one - two / (simd.exp(two * z) + one)

    @staticmethod
    def slope(y):
        return simd.broadcast(y, 1.0) - y * y

    def twin(self, Z):
        return np.tanh(Z)

    def twin_slope(self, A):
        return 1 - A * A


class Gelu(Activation):
    """y = z P(z), P the normal distribution; f' = P(z) + z P'(z). Hendrycks and Gimpel 2016, exact, not by tanh."""

    __slots__ = ()
    name, of_input, torch = "gelu", True, "GELU"

    @staticmethod
    def function(z):
        distribution, _ = simd.normal_distribution(z)
        return z * distribution

    @staticmethod
    def slope(z):
        distribution, shape = simd.normal_distribution(z)
        return simd.fma(simd.broadcast(z, (2 * math.pi) ** -0.5) * z, shape, distribution)

    def twin(self, Z):
        return Z * self._distribution(Z)

    def twin_slope(self, A):
        density = np.exp(-A * A / 2) * A.dtype.type((2 * math.pi) ** -0.5)
        return self._distribution(A) + A * density

    def _distribution(self, Z):
        return (np.vectorize(math.erfc, otypes=[np.float64])(-Z * 0.5**0.5) / 2).astype(Z.dtype)

    def onnx(self, node, constant, Z, dtype):
        """By the error function, or, in float64, for which ONNX Runtime has none, as here."""
        from .simd.mathematics import TAIL  # with Numba

        number = {x: constant(f"gelu {x}", np.array(x, dtype)) for x in (0.0, 0.2, 0.5, 1.0, 2.0, 0.5**0.5, *TAIL)}
        if dtype == np.float32:
            erf = node("Erf", [node("Mul", [Z, number[0.5**0.5]])])
            P = node("Mul", [number[0.5], node("Add", [number[1.0], erf])])
        else:
            t = node("Div", [number[1.0], node("Add", [number[1.0], node("Mul", [number[0.2], node("Abs", [Z])])])])
            x, series = node("Sub", [node("Mul", [number[2.0], t]), number[1.0]]), number[TAIL[-1]]
            for coefficient in reversed(TAIL[:-1]):
                series = node("Add", [node("Mul", [series, x]), number[coefficient]])
            shape = node("Exp", [node("Neg", [node("Mul", [number[0.5], node("Mul", [Z, Z])])])])
            tail = node("Mul", [shape, node("Mul", [t, series])])
            P = node("Where", [node("Less", [Z, number[0.0]]), tail, node("Sub", [number[1.0], tail])])
        return node("Mul", [Z, P])


ACTIVATIONS: dict[str, Activation] = {kind.name: kind() for kind in (Relu, Identity, Logistic, Tanh, Gelu)}
"""The activations by name."""
