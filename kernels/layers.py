"""A network's layers in compiled code: views of their parameters, and the passes of their activations.

All functions here are raw and work on flat arrays.
"""

from __future__ import annotations

from typing import Any

from numba import types

from . import simd
from .bundles import after, class_attribute, views
from .gemm import Layer
from .jit import by_types, kernel, piece

for _attribute in ("function", "slope", "of_input", "fused", "linear"):  # of ``activations.Activation``
    class_attribute(_attribute)


@piece
def weights_of(network, l):
    """(W, b) of layer l, flat views; b is empty without biases."""
    w = network.offsets[l]
    b = w + network.sizes[l] * network.sizes[l + 1] if network.biased else network.params.size
    return after(network.params, w), after(network.params, b)


@piece
def layer_of(network, l, rule):
    """Layer l with the parameters and the state that a step of the rule changes."""
    I, O, w, slots = network.sizes[l], network.sizes[l + 1], network.offsets[l], rule.slots
    b = w + I * O if network.biased else network.params.size
    W_state, b_state = after(network.state, slots * w), after(network.state, slots * b)
    return Layer(
        I, O, after(network.updated, w), after(network.updated, b),
        views(W_state, I * O, rule.slots), views(b_state, O, rule.slots),
    )  # fmt: skip


@kernel
def _activate(activation, Y, slopes, n):
    """Y = f(Y) for n elements; if f is ``of_input``, also slopes = f'(Y), as f and f' share most of their work."""
    if activation.fused or activation.linear:
        return
    lanes = simd.lanes(Y)
    for i in range(0, n, lanes):
        rest = min(lanes, n - i)
        z = simd.load_masked(Y, i, rest)
        if activation.of_input:
            simd.store_masked(slopes, i, activation.slope(z), rest)
        simd.store_masked(Y, i, activation.function(z), rest)


@kernel
def _activation_backward(activation, Y, slopes, dY, n, kept):
    """dY *= f'(z) for n elements: f' is in ``slopes``, or follows from Y, which is f(z) / kept behind dropout."""
    if activation.linear:
        return
    lanes, undropped = simd.lanes(dY), simd.broadcast(dY, kept)
    for i in range(0, n, lanes):
        rest = min(lanes, n - i)
        if activation.of_input:
            slope = simd.load_masked(slopes, i, rest)
        else:
            slope = activation.slope(undropped * simd.load_masked(Y, i, rest))
        simd.store_masked(dY, i, slope * simd.load_masked(dY, i, rest), rest)


@piece
def _is_fused(activation):
    return activation.fused


def _of_layer(work: Any) -> Any:
    """A function of (activations, l, *args): ``work`` with layer l's activation, the only one or a tuple's l-th."""

    @by_types
    def called(activations, l, *args):
        def one(activations, l, *args):
            return work(activations, *args)

        def last(activations, l, *args):
            return work(activations[0], *args)

        def first_or_another(activations, l, *args):
            if l == 1:
                return work(activations[0], *args)
            return called(activations[1:], l - 1, *args)

        if isinstance(activations, types.BaseNamedTuple):
            return one
        return last if len(activations) == 1 else first_or_another

    return called


activate, activation_backward, is_fused = map(_of_layer, (_activate, _activation_backward, _is_fused))
"""The functions above for hidden layer l = 1, 2, ...: their arguments are the activations, l, then those above."""
