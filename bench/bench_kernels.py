"""Every op, dense and on CSR, beside NumPy, SciPy's sparse matrices and PyTorch, in one table."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from kernels import CSR, Network

from op_cases import OPS, Op, Shape
from peers import op_peers

STEP, TINY = (128, 784, 256), (7, 30, 12)
PRODUCTS = [(1, 784, 256), STEP, (1024, 1024, 1024)]
ROWS, WEIGHTS, IMAGES = (1024, 1, 1000), (1, 2048, 2048), (128, 28, 28)


def shapes(op: Op) -> list[Shape]:
    """The shapes at which an op is measured, as networks have them."""
    if op.name.startswith("linear"):
        return PRODUCTS
    if op.name.startswith("mlp"):
        return [STEP]
    if op.name == "distort":
        return [IMAGES]
    return [WEIGHTS] if op.writes else [ROWS]


def takes_csr(op: Op) -> bool:
    cases = op.cases(np.random.default_rng(0), (2, 3, 2), np.dtype("float32"))
    return any(isinstance(args[0], CSR) for args, _ in cases)


CASES = [(op, shape, False) for op in OPS for shape in shapes(op)]
CASES += [(op, STEP, True) for op in OPS if takes_csr(op)]


def fresh(value: Any) -> Any:
    """A copy of an argument that may be updated in place: each implementation gets its own."""
    if isinstance(value, Network):
        copy = Network(value.sizes, bias=value.bias, dtype=value.dtype, slots=value.slots)
        copy.params[...] = value.params
        return copy
    return value.copy() if isinstance(value, np.ndarray) else value


def scipy_call(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Callable[[], Any] | None:
    """The op on a SciPy matrix of floats, which is made once; None where SciPy has no such op."""
    X, *rest = args
    sparse = pytest.importorskip("scipy.sparse") if isinstance(X, CSR) else None
    if sparse is None or name not in ("linear_forward", "linear_relu_forward", "linear_backward_weight"):
        return None
    values = X.values * np.float32(options.get("scale", 1))
    A = sparse.csr_array((values, X.indices, X.indptr), X.shape)
    if name == "linear_backward_weight":
        (dY,), At = rest, A.T.tocsr()
        return lambda: (At @ dY, dY.sum(0))
    W, b = rest
    return (lambda: A @ W + b) if name == "linear_forward" else lambda: np.maximum(A @ W + b, 0)


def numbers_of(value: Any) -> list[np.ndarray]:
    """The arrays that a call reads or makes."""
    if isinstance(value, CSR):
        return [value.indptr, value.indices, value.values]
    if isinstance(value, Network):
        return [value.params, value.state]
    if isinstance(value, tuple):
        return [array for each in value for array in numbers_of(each)]
    return [value] if isinstance(value, np.ndarray) else []


def as_tuple(result: Any) -> tuple[Any, ...]:
    return () if result is None else result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(
    ("op", "shape", "sparse"),
    CASES,
    ids=[f"{op.name}-{'x'.join(map(str, shape))}{'-csr' * sparse}" for op, shape, sparse in CASES],
)
def test_op(op, shape, sparse, compare_op, benchmark, rng):
    if benchmark.disabled:
        shape = TINY
    cases = op.cases(rng, shape, np.dtype("float32"))
    args, options = next(case for case in cases if isinstance(case[0][0], CSR) == sparse)
    if "lr" in options:
        options["lr"] = 0 * np.asarray(options["lr"])  # the weights stay in range however often it runs
        options["lr"] = options["lr"] if options["lr"].ndim else 0.0
    makes = {"ours": lambda name, own, named: partial(op.fast, *own, **named), "SciPy": scipy_call}
    makes |= {who: ops.call for who, ops in op_peers().items()}
    calls = {}
    for who, make in makes.items():
        made = make(op.name, tuple(map(fresh, args)), {name: fresh(value) for name, value in options.items()})
        if made is not None:
            calls[who] = made
    found = calls["ours"]()
    for who in set(calls) - {"ours"} if op.name != "dropout" else ():
        for have, want in zip(as_tuple(calls[who]()), as_tuple(found)):  # sums in another order
            assert np.abs(np.asarray(have) - want).max() <= 1e-4 * np.abs(want).max(), who
    read = [array.nbytes for value in (*args, *options.values()) for array in numbers_of(value)]
    written = [array.nbytes for value in (found, *(args[k] for k in op.writes)) for array in numbers_of(value)]
    density = len(args[0].indices) / (args[0].shape[0] * args[0].shape[1]) if sparse else 1
    what = "x".join(map(str, shape)) + f", CSR {density:.0%}" * sparse
    compare_op(op.name, what, calls, density * op.flop(shape), sum(read) + sum(written))
