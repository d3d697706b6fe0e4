"""Every op of the registry against its NumPy twin, at the shapes that networks have."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import CSR, Network
from kernels.registry import OPS

SHAPES = [(1, 784, 256), (128, 784, 256), (128, 256, 10), (256, 1024, 1024)]


def shape_matters(op, shape):
    """Element updates do not depend on the batch: one shape of each size is enough."""
    return shape[0] > 1 or not op.name.endswith("_update") or op.name.startswith("linear")


CASES = [(op, shape) for op in OPS for shape in SHAPES if shape_matters(op, shape)]


def fresh(value):
    """Arguments that are updated in place, apart for each implementation."""
    if isinstance(value, Network):
        copy = Network(value.sizes, bias=value.bias, dtype=value.dtype, slots=value.slots)
        copy.params[...] = value.params
        return copy
    return value.copy() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize(("op", "shape"), CASES, ids=[f"{op.name}-{'x'.join(map(str, shape))}" for op, shape in CASES])
def test_op(op, shape, compare, rng):
    args, kwargs = next(op.cases(rng, shape, np.dtype("float32")))
    assert not isinstance(args[0], CSR)
    if "lr" in kwargs:
        kwargs["lr"] = 0 * np.asarray(kwargs["lr"])  # the weights stay in range however often it runs
    calls = []
    for function in (op.fast, op.twin):
        own, named = [fresh(a) for a in args], {name: fresh(value) for name, value in kwargs.items()}
        calls.append(lambda function=function, own=own, named=named: function(*own, **named))
    compare(op.name, "x".join(map(str, shape)), calls[0], {"numpy": calls[1]}, op.flop(shape))
