"""The activations of hidden layers, one class each.

A class holds everything about its activation: ``name``; ``function``, f(z) of a vector; ``slope``, f'(z) as a function
of y = f(z), or of z where ``of_input`` is set (training then computes both at once); ``twin`` and ``twin_slope``, the
definition in NumPy; ``onnx``, ``torch`` and ``javascript``, its form in exported models. Adding a class to
``ACTIVATIONS`` adds the activation: kernels are compiled for the class they are called with, or, where hidden layers
have different activations, for a tuple of classes, one per layer (see ``layers``).

Nothing here imports Numba, so that the NumPy definition runs without it: ``function`` and ``slope`` are plain
functions, which ``bundles.class_attribute`` compiles, and ``simd`` imports Numba when that happens.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from . import simd


class Activation(namedtuple("_Nothing", "")):
    """The function that a hidden layer applies to its pre-activations."""

    name: ClassVar[str]
    function: ClassVar[Any]
    slope: ClassVar[Any]
    of_input: ClassVar[bool] = False
    fused: ClassVar[bool] = False  # ReLU: ``gemm.finish_rows`` applies it and ``gemm.mask`` differentiates it
    linear: ClassVar[bool] = False  # the identity: needs no pass
    torch: ClassVar[str]  # its class in torch.nn, with arguments if it needs any
    onnx_operator: ClassVar[str]
    javascript: ClassVar[str]  # a function of z

    def twin(self, Z: np.ndarray) -> np.ndarray:
        """f(Z): the definition."""
        raise NotImplementedError

    def twin_slope(self, A: np.ndarray) -> Any:
        """f'(Z) from A = f(Z), or from A = Z where ``of_input`` is set."""
        raise NotImplementedError

    def onnx(self, z: Any) -> Any:
        """f(z) of a tensor of an ONNX graph, which has a ``dtype``, arithmetic, and ``made_by(operator, *others)``."""
        return z.made_by(self.onnx_operator)


def _identity(x):
    return x


class Relu(Activation):
    """y = max(z, 0); f' = (y > 0)."""

    name, fused = "relu", True
    javascript = "z => Math.max(z, 0)"
    function = slope = _identity
    torch, onnx_operator = "ReLU", "Relu"

    def twin(self, Z):
        return np.maximum(Z, 0)

    def twin_slope(self, A):
        return ~(A <= 0)


class Identity(Activation):
    """y = z; f' = 1."""

    name, linear = "identity", True
    torch = onnx_operator = "Identity"
    javascript = "z => z"
    function = slope = _identity

    def twin(self, Z):
        return Z

    def twin_slope(self, A):
        return 1


class Logistic(Activation):
    """y = 1 / (1 + exp(-z)), within two units in the last place of 1; f' = y (1 - y)."""

    name, torch, onnx_operator = "logistic", "Sigmoid", "Sigmoid"
    javascript = "z => 1 / (1 + Math.exp(-z))"

    @staticmethod
    def function(z):
        return 1 / (1 + simd.exp(0 - z))

    @staticmethod
    def slope(y):
        return y * (1 - y)

    def twin(self, Z):
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-Z))

    def twin_slope(self, A):
        return A * (1 - A)


class Tanh(Activation):
    """y = tanh(z) = 1 - 2 / (exp(2 z) + 1), within two units in the last place of 1; f' = 1 - y^2."""

    name, torch, onnx_operator = "tanh", "Tanh", "Tanh"
    javascript = "Math.tanh"

    @staticmethod
    def function(z):
        return 1 - 2 / (simd.exp(2 * z) + 1)

    @staticmethod
    def slope(y):
        return 1 - y * y

    def twin(self, Z):
        return np.tanh(Z)

    def twin_slope(self, A):
        return 1 - A * A


class Gelu(Activation):
    """y = z P(z), P the normal distribution; f' = P(z) + z P'(z). Hendrycks and Gimpel 2016, exact, not by tanh."""

    name, of_input, torch = "gelu", True, "GELU"
    javascript = """z => {  // by the error function of Abramowitz and Stegun 7.1.26, to 2e-7
      const x = Math.abs(z) * Math.SQRT1_2, t = 1 / (1 + 0.3275911 * x);
      const series = (((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592;
      const tail = series * t * Math.exp(-x * x) / 2;
      return z * (z < 0 ? tail : 1 - tail);
    }"""

    @staticmethod
    def function(z):
        distribution, _ = simd.normal_distribution(z)
        return z * distribution

    @staticmethod
    def slope(z):
        distribution, shape = simd.normal_distribution(z)
        return simd.fma(_DENSITY * z, shape, distribution)

    def twin(self, Z):
        return Z * self._distribution(Z)

    def twin_slope(self, A):
        density = np.exp(-A * A / 2) * A.dtype.type(_DENSITY)
        return self._distribution(A) + A * density

    def _distribution(self, Z):
        return (np.vectorize(math.erfc, otypes=[np.float64])(-Z * 0.5**0.5) / 2).astype(Z.dtype)

    def onnx(self, z):
        """Through Erf in float32; ONNX Runtime has no Erf for float64, which takes the series of ``function``."""
        if z.dtype == np.float32:
            return z * (((z * 0.5**0.5).made_by("Erf") + 1) * 0.5)
        from .simd.mathematics import TAIL  # imports Numba

        t = 1 / (z.made_by("Abs") * 0.2 + 1)
        x, series = t * 2 - 1, TAIL[-1]
        for coefficient in reversed(TAIL[:-1]):
            series = x * series + coefficient
        tail = (z * z * -0.5).made_by("Exp") * (t * series)
        return z * z.made_by("Less", 0, dtype=bool).where(tail, 1 - tail, z.dtype)


class GeluTanh(Activation):
    """y = z / (1 + exp(-2 u)), u = sqrt(2 / pi) (z + 0.044715 z^3): GELU by tanh. Hendrycks and Gimpel 2016."""

    name, of_input, torch = "gelu_tanh", True, "GELU(approximate='tanh')"
    javascript = "z => z / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3)))"

    @staticmethod
    def function(z):
        u = 2 * _GELU_RISE * z * simd.fma(_GELU_CUBE * z, z, 1)
        return z / (1 + simd.exp(0 - u))

    @staticmethod
    def slope(z):
        rise, cube = 2 * _GELU_RISE, _GELU_CUBE * z * z
        s = 1 / (1 + simd.exp(0 - rise * z * (1 + cube)))
        return s + z * (s * (1 - s)) * (rise * (1 + 3 * cube))

    def twin(self, Z):
        return Z * (1 + np.tanh(_GELU_RISE * (Z + _GELU_CUBE * Z**3))) / 2

    def twin_slope(self, A):
        t = np.tanh(_GELU_RISE * (A + _GELU_CUBE * A**3))
        return (1 + t) / 2 + A * (1 - t * t) / 2 * _GELU_RISE * (1 + 3 * _GELU_CUBE * A * A)

    def onnx(self, z):
        return z * (z * (z * z * _GELU_CUBE + 1) * (2 * _GELU_RISE)).made_by("Sigmoid")


_DENSITY = (2 * math.pi) ** -0.5  # of the normal distribution at 0
_GELU_RISE, _GELU_CUBE = (2 / math.pi) ** 0.5, 0.044715


class Silu(Activation):
    """y = z s, s = 1 / (1 + exp(-z)), also called swish; f' = s (1 + z (1 - s)). Elfwing, Uchibe and Doya 2018."""

    name, of_input, torch = "silu", True, "SiLU"
    javascript = "z => z / (1 + Math.exp(-z))"

    @staticmethod
    def function(z):
        return z / (1 + simd.exp(0 - z))

    @staticmethod
    def slope(z):
        s = 1 / (1 + simd.exp(0 - z))
        return s * simd.fma(z, 1 - s, 1)

    def twin(self, Z):
        with np.errstate(over="ignore"):
            return Z / (1 + np.exp(-Z))

    def twin_slope(self, A):
        with np.errstate(over="ignore"):
            s = 1 / (1 + np.exp(-A))
        return s * (1 + A * (1 - s))

    def onnx(self, z):
        return z * z.made_by("Sigmoid")


class Mish(Activation):
    """y = z tanh(log(1 + e)) = z n / (n + 2), e = exp(z), n = e (e + 2); f' = n / (n + 2) + 4 z e (1 + e) / (n + 2)^2.

    Misra 2019.
    """

    name, of_input, torch = "mish", True, "Mish"
    javascript = "z => z * Math.tanh(Math.log1p(Math.exp(Math.min(z, 40))))"

    @staticmethod
    def function(z):
        e = simd.exp(simd.minimum(z, 20))  # above 20, y rounds to z
        n = e * (e + 2)
        return z * (n / (n + 2))

    @staticmethod
    def slope(z):
        least = simd.minimum(z, 20)
        e = simd.exp(least)
        n = e * (e + 2)
        return n / (n + 2) + 4 * least * e / (n + 2) * ((1 + e) / (n + 2))

    def twin(self, Z):
        return Z * np.tanh(np.logaddexp(Z, 0))

    def twin_slope(self, A):
        t = np.tanh(np.logaddexp(A, 0))
        return t + A * (1 - t * t) / (1 + np.exp(-np.maximum(A, -80)))

    def onnx(self, z):
        e = z.made_by("Min", 20).made_by("Exp")
        n = e * (e + 2)
        return z * (n / (n + 2))


def _scaled_elu(above: float, below: float) -> tuple[Any, Any]:
    def function(z):
        return simd.select(z > 0, above * z, below * simd.expm1(z))

    def slope(y):
        return simd.select(y > 0, above, y + below)

    return staticmethod(function), staticmethod(slope)


class Elu(Activation):
    """y = z above 0, exp(z) - 1 below; f' = 1 and y + 1. Clevert, Unterthiner and Hochreiter 2016."""

    name, torch = "elu", "ELU"
    javascript = "z => z > 0 ? z : Math.expm1(z)"
    above, below = 1.0, 1.0  # y = above z, below (exp(z) - 1)
    function, slope = _scaled_elu(above, below)

    def twin(self, Z):
        return np.where(Z > 0, self.above * Z, self.below * np.expm1(np.minimum(Z, 0))).astype(Z.dtype)

    def twin_slope(self, A):
        return np.where(A > 0, self.above, A + self.below).astype(A.dtype)

    def onnx(self, z):
        return z.made_by("Max", 0) * self.above + (z.made_by("Min", 0).made_by("Exp") - 1) * self.below


class Selu(Elu):
    """y = s z above 0, s a (exp(z) - 1) below, s = 1.0507, a = 1.67326; f' = s and y + s a. Klambauer et al. 2017."""

    name, torch = "selu", "SELU"
    javascript = "z => 1.0507009873554805 * (z > 0 ? z : 1.6732632423543772 * Math.expm1(z))"
    above, below = 1.0507009873554805, 1.0507009873554805 * 1.6732632423543772
    function, slope = _scaled_elu(above, below)


class LeakyRelu(Activation):
    """y = max(z, 0.01 z); f' = 1 above 0, else 0.01. Maas, Hannun and Ng 2013."""

    name, torch = "leaky_relu", "LeakyReLU"
    javascript = "z => Math.max(z, 0.01 * z)"

    @staticmethod
    def function(z):
        return simd.maximum(z, 0.01 * z)

    @staticmethod
    def slope(y):
        return simd.select(y > 0, simd.broadcast(y, 1), 0.01)

    def twin(self, Z):
        return np.maximum(Z, Z.dtype.type(0.01) * Z)

    def twin_slope(self, A):
        return np.where(A > 0, 1, 0.01).astype(A.dtype)

    def onnx(self, z):
        return z.made_by("Max", z * 0.01)


class Softplus(Activation):
    """y = log(1 + exp(z)); f' = 1 - exp(-y). Dugas et al. 2001."""

    name, torch = "softplus", "Softplus(threshold=40)"
    javascript = "z => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)))"

    @staticmethod
    def function(z):
        return simd.maximum(z, 0) + simd.log1p(simd.exp(0 - abs(z)))

    @staticmethod
    def slope(y):
        return 0 - simd.expm1(0 - y)

    def twin(self, Z):
        return np.logaddexp(Z, 0).astype(Z.dtype)

    def twin_slope(self, A):
        return -np.expm1(-A)

    def onnx(self, z):
        small = z.made_by("Abs").made_by("Neg").made_by("Exp")
        return z.made_by("Max", 0) + (small + 1).made_by("Log")


ACTIVATIONS: dict[str, Activation] = {
    kind.name: kind()
    for kind in (Relu, Identity, Logistic, Tanh, Gelu, GeluTanh, Silu, Mish, Elu, Selu, LeakyRelu, Softplus)
}
"""The activations by name."""


def common_activation(names: str | Sequence[str], layers: int) -> str | tuple[str, ...]:
    """``names`` for the ``layers`` hidden layers: one name if all are the same, else a tuple. Raises ValueError."""
    each = (names,) if isinstance(names, str) or not np.iterable(names) else tuple(names)
    for name in each:
        if name not in ACTIVATIONS:
            raise ValueError(f"activation is {name!r}; it must be one of {', '.join(ACTIVATIONS)}")
    if isinstance(names, str):
        return names
    if len(each) != layers:
        raise ValueError(
            f"activation has {len(each)} names; it must have {layers}, one for each hidden layer, or be one name"
        )
    return each if len(set(each)) > 1 else (*each, Relu.name)[0]


def activation_of(names: str | tuple[str, ...]) -> Activation | tuple[Activation, ...]:
    """The activation with the name, or the tuple of activations, that ``common_activation`` returned."""
    return ACTIVATIONS[names] if isinstance(names, str) else tuple(ACTIVATIONS[name] for name in names)
