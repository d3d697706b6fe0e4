"""The SIMD vector type, each operation against NumPy in every lane."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from kernels import simd

DTYPES = ["float32", "float64"]
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def lanes(dtype):
    return simd.REGISTER_BYTES // np.dtype(dtype).itemsize


@dtypes
def test_lanes_fill_a_register(dtype):
    assert njit(lambda a: simd.lanes(a))(np.empty(1, dtype)) == lanes(dtype)


BINARY = {
    "add": (lambda x, y: x + y, np.add),
    "sub": (lambda x, y: x - y, np.subtract),
    "mul": (lambda x, y: x * y, np.multiply),
    "div": (lambda x, y: x / y, np.divide),
    "maximum": (simd.maximum, np.maximum),
    "minimum": (simd.minimum, np.minimum),
    "select greater": (None, lambda x, y: np.where(x > y, x, y)),
}


@dtypes
@pytest.mark.parametrize("name", BINARY)
def test_binary_operations_equal_numpys_with_nan_and_infinity(dtype, name, rng):
    operation, numpy = BINARY[name]
    if operation is None:

        @njit
        def apply(X, Y, out):
            x, y = simd.load(X, 0), simd.load(Y, 0)
            simd.store(out, 0, simd.select(x > y, x, y))

    else:
        operation = njit(operation) if name in ("add", "sub", "mul", "div") else operation

        @njit
        def apply(X, Y, out):
            simd.store(out, 0, operation(simd.load(X, 0), simd.load(Y, 0)))

    values = np.array([1.5, -2.0, np.nan, np.inf, -np.inf, 1e-30, 3.0], dtype)
    n = lanes(dtype)
    for _ in range(20):
        X, Y, out = rng.choice(values, n), rng.choice(values, n), np.empty(n, dtype)
        apply(X, Y, out)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(out, numpy(X, Y))


@dtypes
def test_fma_rounds_once_where_the_cpu_can(dtype):
    n = lanes(dtype)

    @njit
    def apply(X, Y, Z, out):
        simd.store(out, 0, simd.fma(simd.load(X, 0), simd.load(Y, 0), simd.load(Z, 0)))

    tiny = np.finfo(dtype).eps
    X, out = np.full(n, 1 + tiny, dtype), np.empty(n, dtype)
    apply(X, X, -X * X, out)
    expected = tiny**2 if simd._HAS_FMA else 0  # (1 + e)^2 - (1 + 2e), the part that a rounded product loses
    np.testing.assert_array_equal(out, np.full(n, expected, dtype))


@dtypes
def test_masked_loads_and_stores_touch_the_first_lanes_only(dtype):
    @njit
    def copy(X, out, n):
        simd.store_masked(out, 1, simd.load_masked(X, 0, n), n)

    @njit
    def fill(X, out, n):
        simd.store(out, 0, simd.load_masked(X, 0, n))

    width = lanes(dtype)
    X = np.arange(1, width + 1).astype(dtype)
    for n in range(width + 1):
        out = np.full(width + 2, -1, dtype)
        copy(X, out, n)
        np.testing.assert_array_equal(out[1 : n + 1], X[:n])
        assert (np.delete(out, range(1, n + 1)) == -1).all()
        fill(X, out, n)
        np.testing.assert_array_equal(out[:width], np.where(np.arange(width) < n, X, 0))


@dtypes
def test_reductions(dtype, rng):
    @njit
    def reduce(X):
        return simd.reduce_add(simd.load(X, 0)), simd.reduce_max(simd.load(X, 0))

    n = lanes(dtype)
    X = rng.integers(-50, 50, n).astype(dtype)
    assert reduce(X) == (X.sum(), X.max())
    for lane in range(n):
        Y = X.copy()
        Y[lane] = np.nan
        assert np.isnan(reduce(Y)).all()


@dtypes
def test_broadcast_and_zeros(dtype):
    @njit
    def apply(out):
        simd.store(out, 0, simd.broadcast(out, 3) + simd.zeros(out))

    out = np.empty(lanes(dtype), dtype)
    apply(out)
    assert (out == 3).all()


def test_storing_to_a_read_only_array_is_a_typing_error():
    @njit
    def write(out):
        simd.store(out, 0, simd.zeros(out))

    out = np.zeros(64, np.float32)
    out.flags.writeable = False
    with pytest.raises(TypingError, match="cannot store to a read-only array"):
        write(out)


@pytest.mark.parametrize("array", [np.zeros(64, np.int32), np.zeros(128, np.float32)[::2]], ids=["integers", "strided"])
def test_arrays_of_other_kinds_are_a_typing_error(array):
    with pytest.raises(TypingError, match="simd (works on|needs)"):
        njit(lambda a: simd.reduce_add(simd.load(a, 0)))(array)


@dtypes
@pytest.mark.parametrize("n", [0, 1, 7, 16, 100])
def test_the_example_of_the_documentation(dtype, n, rng):
    source = simd.__doc__.split("    from numba import njit\n")[1].split("\nLegend")[0]
    namespace = {"njit": njit}
    exec("\n".join(line[4:] for line in source.splitlines()), namespace)
    X, Y = rng.standard_normal(n).astype(dtype), rng.standard_normal(n).astype(dtype)
    expected = (Y.astype(np.longdouble) + np.longdouble(2.5) * X).astype(dtype)
    namespace["axpy"](2.5, X, Y)
    np.testing.assert_allclose(Y, expected, rtol=np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
