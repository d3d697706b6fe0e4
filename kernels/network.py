"""A network's parameters and optimizer state: two flat arrays, and the matrices as views into them.

Flat, so that compiled code takes a network of any depth as the same few arguments, and so that one buffer can be
saved, hashed, averaged or sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .activations import common_activation
from .memory import LINE_BYTES, aligned_zeros

if TYPE_CHECKING:
    from .update import Rule

OUTPUTS = ("softmax", "logistic", "identity", "exponential")
"""What a network's outputs may stand for; each kind has its losses, in ``losses.LOSSES``."""
PRECISIONS = ("float32", "bfloat16")
_FIXED = ("sizes", "bias", "dtype", "slots", "offsets", "activation", "output", "precision")
_MOST_SLOTS = 2  # of any rule


class Parameters(NamedTuple):
    """A ``Network`` for kernels: params[offsets[l]:] is W of layer l, then b; ``state`` has ``slots`` numbers for each.

    A step changes ``updated``: the parameters themselves, or zeros that become the gradient.
    """

    sizes: np.ndarray
    offsets: np.ndarray
    params: np.ndarray
    updated: np.ndarray
    state: np.ndarray
    biased: bool


class Network:
    """Weights, biases and optimizer state of a multilayer perceptron with layer ``sizes`` (inputs, hidden..., classes).

    ``params`` holds, layer by layer and each from a cache line on, W [I, O] and, with ``bias``, b [O]. ``state`` holds
    in the same order ``slots`` numbers for each of them, [slots, I, O] then [slots, O]. All zeros at first.
    ``activation`` of the hidden layers: a name in ``kernels.ACTIVATIONS``, or a sequence with one for each layer, which
    becomes a single name where all are the same; kernels are compiled for each mixture. ``output``: softmax over
    classes; logistic, each output a probability of its own (binary and multilabel targets); identity, numbers;
    exponential, positive numbers, whose logarithms the last layer computes. ``layer_rates`` multiply the learning rate,
    layer by layer; a layer of rate 0 does not change. ``precision`` bfloat16: training steps round the factors of dense
    products, of 32 or more terms and columns, to 8 bits and add the products in float32, about twice as fast on a
    CPU with AMX. Steps of small networks, of at most 100 units a layer, may stay in float32; weights, gradients and
    predictions are float32. Raises ValueError for invalid sizes, unknown names, and bfloat16 without AMX, TypeError
    for a dtype other than float32 and float64.
    """

    in_compiled_code = "raw.model(network)"
    precision = "float32"  # of a network that was pickled before there was a choice

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        bias: bool = True,
        dtype: npt.DTypeLike = "float32",
        slots: int = 0,
        activation: str | Sequence[str] = "relu",
        output: str = "softmax",
        layer_rates: npt.ArrayLike | None = None,
        precision: str = "float32",
    ) -> None:
        given = tuple(sizes) if np.iterable(sizes) else ()
        if len(given) < 2 or not all(isinstance(n, (int, np.integer)) and n >= 1 and n is not True for n in given):
            raise ValueError(f"sizes is {given or sizes}; it must be two or more positive integers")
        self.sizes = tuple(map(int, given))
        if bias not in (True, False):
            raise ValueError(f"bias is {bias!r}; it must be True or False")
        self.bias = bool(bias)
        self.dtype = np.dtype(dtype).newbyteorder("=")
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype is {self.dtype}; it must be float32 or float64")
        if not isinstance(slots, (int, np.integer)) or slots is True or not 0 <= slots <= _MOST_SLOTS:
            raise ValueError(f"slots is {slots!r}; it must be an integer from 0 to {_MOST_SLOTS}")
        self.slots = int(slots)
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}")
        if precision == "bfloat16":
            if self.dtype != np.float32:
                raise ValueError(f"precision is 'bfloat16' and dtype {self.dtype}; it goes with float32")
            from . import bfloat16  # which imports Numba: a few rows are predicted without it

            bfloat16.require()
        self.precision = precision
        if output not in OUTPUTS:
            raise ValueError(f"output is {output!r}; it must be one of {', '.join(OUTPUTS)}")
        layers = len(self.sizes) - 1
        self.activation, self.output = common_activation(activation, layers - 1), output
        rates = np.ones(layers) if layer_rates is None else np.array(layer_rates, np.float64)
        if rates.shape != (layers,) or not (np.isfinite(rates) & (rates >= 0)).all():
            raise ValueError(f"layer_rates is {layer_rates!r}; it must be {layers} numbers of at least 0, one a layer")
        self.layer_rates = rates
        line = LINE_BYTES // self.dtype.itemsize
        self.offsets = [0]
        for inputs, outputs in zip(self.sizes, self.sizes[1:]):
            used = self.offsets[-1] + (inputs + self.bias) * outputs
            self.offsets.append(-(-used // line) * line)
        self.params = aligned_zeros(self.offsets[-1], self.dtype)
        self._layout = np.array(self.sizes), np.array(self.offsets)
        self.state = aligned_zeros(self.offsets[-1] * slots, self.dtype)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what would not fit the memory, which kernels trust, or a kernel that was chosen."""
        old = self.__dict__.get(name)
        if old is not None and name in _FIXED:
            raise AttributeError(f"{name} of a network is fixed; make another kernels.Network")
        if old is not None and name in ("params", "state", "layer_rates"):
            if not isinstance(value, np.ndarray) or (value.dtype, value.shape) != (old.dtype, old.shape):
                kind = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
                raise ValueError(f"{name} is {kind}; it must be {old.dtype} {list(old.shape)}, an array as before")
            if not value.flags.carray:
                raise ValueError(
                    f"{name} is strided, unaligned or read-only; it must be C-contiguous, aligned and writable"
                )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        """The call that makes such a network, without arguments that have their default values."""
        usual = {name: option.default for name, option in signature(Network).parameters.items()}
        del usual["sizes"], usual["layer_rates"]
        own = {name: getattr(self, name) for name in usual} | {"dtype": self.dtype.name}
        options = [f"{name}={own[name]!r}" for name, value in usual.items() if own[name] != value]
        if (self.layer_rates != 1).any():
            options.append(f"layer_rates={self.layer_rates.tolist()}")
        return f"Network({', '.join([str(self.sizes), *options])})"

    def fields(self, updated: np.ndarray | None = None) -> tuple[Any, ...]:
        """The fields of ``Parameters``; where ``updated`` is given, steps change it and not the parameters."""
        return (*self._layout, self.params, self.params if updated is None else updated, self.state, self.bias)

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation of each hidden layer."""
        return (self.activation,) * (len(self.sizes) - 2) if isinstance(self.activation, str) else self.activation

    @property
    def layers(self) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """(W, b) of each layer, views of ``params``; b is None without biases."""
        views = []
        for (inputs, outputs), start in zip(zip(self.sizes, self.sizes[1:]), self.offsets):
            end = start + inputs * outputs
            b = self.params[end : end + outputs] if self.bias else None
            views.append((self.params[start:end].reshape(inputs, outputs), b))
        return views

    def states(self, index: int, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
        """Optimizer state of layer ``index``: [slots, I, O] for W and [slots, O] for b, views of ``state``."""
        inputs, outputs = self.sizes[index : index + 2]
        start = self.offsets[index] * rule.slots
        end = start + inputs * outputs * rule.slots
        W_state = self.state[start:end].reshape(rule.slots, inputs, outputs)
        if not self.bias:
            return W_state, self.state[:0].reshape(0, outputs)
        return W_state, self.state[end : end + outputs * rule.slots].reshape(rule.slots, outputs)

    @property
    def flop_per_sample(self) -> int:
        """Floating-point operations of one training step on one sample, zeros included.

        Two a multiply-add; forward and weight gradient in each layer, input gradient in all but the first.
        """
        pairs = list(zip(self.sizes, self.sizes[1:]))
        return sum(6 * i * o for i, o in pairs) - 2 * pairs[0][0] * pairs[0][1]
