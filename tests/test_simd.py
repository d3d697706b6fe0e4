"""The SIMD vector type, each operation against NumPy in every lane."""

from __future__ import annotations

import math

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
    expected = tiny**2 if simd.HAS_FMA else 0  # (1 + e)^2 - (1 + 2e), the part that a rounded product loses
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


@dtypes
@pytest.mark.parametrize("skip", [0, 1])
def test_bytes_become_floats(dtype, skip):
    @njit
    def convert(pixels, out):
        for i in range(0, out.size, simd.lanes(out)):
            simd.store(out, i, simd.load_uint8(out, pixels, skip + i))

    pixels, out = np.arange(257).astype(np.uint8), np.empty(256, dtype)
    convert(pixels, out)
    np.testing.assert_array_equal(out, pixels[skip : skip + 256])
    with pytest.raises(TypingError, match="needs a C-contiguous uint8 array"):
        convert(pixels.view(np.int8), out)


def mapped(function):
    """Y = function(X) by vectors."""

    @njit
    def run(X, Y):
        for i in range(0, X.size, simd.lanes(X)):
            simd.store(Y, i, function(simd.load(X, i)))

    return run


def erf(x):
    """In float64, or as near in a wider type as float64 is."""
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


# What each is in NumPy, its stated error in units of the last place, and the range of float32 and float64 in which it varies.
FUNCTIONS = {
    "exp": (np.exp, 1 if simd.HAS_FMA else 2, (-104, 88.7), (-745, 709.7)),
    "expm1": (np.expm1, 2, (-20, 88.7), (-40, 709.7)),
    "log": (np.log, 2, (0, 3e38), (0, 1e308)),
    "log1p": (np.log1p, 2, (-1, 3e38), (-1, 1e308)),
    "tanh": (np.tanh, 3, (-11, 11), (-22, 22)),
    "erf": (erf, 2, (-5, 5), (-7, 7)),
}
functions = pytest.mark.parametrize("name", FUNCTIONS)


def check_units(name, X, run):
    """A vector function's largest error in units of the last place of the exact value, in a wider type; NaN, infinity, sign."""
    exact, limit, *_ = FUNCTIONS[name]
    Y = np.empty_like(X)
    run(X, Y)
    with np.errstate(all="ignore"):
        wide = exact(X.astype(np.float64 if X.dtype == np.float32 else np.longdouble))
        rounded = wide.astype(X.dtype)
        number = ~np.isnan(rounded)
        np.testing.assert_array_equal(np.isnan(Y), ~number)
        np.testing.assert_array_equal(np.signbit(Y)[number], np.signbit(rounded)[number])
        finite = np.isfinite(rounded) & np.isfinite(Y)
        np.testing.assert_array_equal(Y[number & ~finite], rounded[number & ~finite])
        errors = abs(Y[finite] - wide[finite]) / np.spacing(abs(rounded[finite]))
    worst = float(errors.max(initial=0))
    assert worst <= limit, f"{name}({X[finite][errors.argmax()]!r}) errs by {worst} units"
    return worst


@dtypes
@functions
def test_a_vector_function_is_within_its_stated_error(name, dtype, rng, record_property):
    """Over its range, near 0 and 1, and by magnitudes; erf of float64 against another that errs by a unit itself."""
    low, high = FUNCTIONS[name][2 if dtype == "float32" else 3]
    least = np.log10(np.finfo(dtype).tiny) + 1
    magnitudes = 10 ** rng.uniform(least, max(np.log10(high), 1), 2**16)
    near = 10 ** rng.uniform(-8, 0, 2**14)
    X = np.concatenate(
        [rng.uniform(low, high, 2**16), rng.uniform(low, 2, 2**14), magnitudes, -magnitudes, 1 + near, 1 - near]
    )
    X = X.astype(dtype)
    record_property("units", check_units(name, X[X.size % lanes(dtype) :], mapped(getattr(simd, name))))


@pytest.mark.nightly
@functions
def test_a_vector_function_is_within_its_stated_error_over_all_of_float32(name, record_property):
    run, worst = mapped(getattr(simd, name)), 0.0
    for start in range(0, 2**32, 2**22):
        X = np.arange(start, start + 2**22, dtype=np.uint32).view(np.float32)
        worst = max(worst, check_units(name, X, run))
    record_property("units", worst)


@dtypes
@functions
def test_a_vector_function_is_numpys_at_the_ends_of_its_range(name, dtype):
    info = np.finfo(dtype)
    ends = [0, -0.0, np.inf, -np.inf, np.nan, -1, 1, info.max, -info.max, info.tiny, info.smallest_subnormal, -800, 800]
    check_units(name, np.resize(np.array(ends, dtype), 16), mapped(getattr(simd, name)))


@dtypes
def test_the_sign_of_vectors_and_tiles_is_numpys(dtype):
    @njit
    def apply(X, vectors, tiles):
        lanes = simd.lanes(X)
        for i in range(0, X.size, lanes):
            simd.store(vectors, i, simd.sign(simd.load(X, i)))
            simd.tile_store(tiles, i, 0, simd.sign(simd.tile_load(X, i, 0, 1, 1, lanes)), lanes, 0)

    info = np.finfo(dtype)
    values = [0.0, -0.0, 3.0, -3.0, info.smallest_subnormal, -info.smallest_subnormal, np.inf, -np.inf, np.nan]
    X = np.resize(np.array(values, dtype), 9 * lanes(dtype))
    vectors, tiles = np.empty_like(X), np.empty_like(X)
    apply(X, vectors, tiles)
    np.testing.assert_array_equal(vectors, np.sign(X))
    np.testing.assert_array_equal(tiles, vectors)


@dtypes
def test_tuples_of_arrays_are_loaded_and_stored_as_tiles(dtype, rng):
    """n elements of each, zeros behind; nothing past them is touched."""

    @njit
    def apply(X, Y, like, n):
        zero = simd.tile_zeros(like, 1, 2)
        first, second = simd.tile_rows(zero, X, 1, n)
        simd.tile_store_each(Y, 2, (second, first), n)
        simd.tile_store(like, 0, 0, simd.tile_row(zero, X[0], 0, n), 2 * simd.lanes(like), 0)

    width = 2 * lanes(dtype)
    for n in range(width + 1):
        X = tuple(rng.standard_normal(width + 2).astype(dtype) for _ in range(2))
        Y, like = tuple(np.zeros(width + 4, dtype) for _ in range(2)), np.empty(width, dtype)
        apply(X, Y, like, n)
        for target, source in zip(Y, X[::-1]):
            np.testing.assert_array_equal(target, np.concatenate([[0, 0], source[1 : n + 1], np.zeros(width + 2 - n)]))
        np.testing.assert_array_equal(like, np.where(np.arange(width) < n, X[0][:width], 0))


@dtypes
def test_sqrt_and_leading_lanes(dtype, rng):
    @njit
    def apply(X, out, n):
        x = simd.load(X, 0)
        simd.store(out, 0, simd.select(simd.leading(out, n), simd.sqrt(x), x))

    width = lanes(dtype)
    X, out = rng.random(width).astype(dtype), np.empty(width, dtype)
    for n in range(width + 1):
        apply(X, out, n)
        np.testing.assert_array_equal(out, np.where(np.arange(width) < n, np.sqrt(X), X))


@dtypes
def test_blocks_are_transposed_and_nothing_beside_them_is_touched(dtype, rng):
    @njit
    def apply(A, stride, rows, columns, B, b_stride):
        simd.transpose(A, 0, stride, rows, columns, B, 0, b_stride)

    width = lanes(dtype)
    A = rng.random((width, width + 3)).astype(dtype)
    for rows in range(width + 1):
        for columns in range(width + 1):
            B = np.full((width, width + 5), -1, dtype)
            apply(A.reshape(-1), width + 3, rows, columns, B.reshape(-1), width + 5)
            expected = np.full_like(B, -1)
            expected[:columns, :rows] = A[:rows, :columns].T
            np.testing.assert_array_equal(B, expected)


@dtypes
def test_tiles_multiply_resume_and_keep_to_their_lanes(dtype, rng):
    @njit
    def apply(A, B, C, steps, n, skip):
        tile = simd.tile_load(C, 0, C.shape[1], 3, 2, n)
        for k in range(steps):
            tile = simd.tile_fma_masked(tile, A, k, A.shape[1], B, k * B.shape[1], n)
        simd.tile_store(C, 0, C.shape[1], tile, n, skip)

    width = lanes(dtype)
    A, B, C = (rng.integers(-4, 5, shape).astype(dtype) for shape in ((3, 7), (7, 2 * width), (3, 2 * width + 1)))
    for n in range(1, 2 * width + 1):
        for skip in range(4):
            D = C.copy()
            apply(A, B, D, 7, n, skip)
            expected = C.copy()
            expected[skip:, :n] += (A @ B)[skip:, :n]
            np.testing.assert_array_equal(D, expected)


@dtypes
def test_sums_of_the_rows_of_a_tile_are_those_of_its_vectors(dtype, rng):
    def make(rows):
        @njit
        def apply(X, sums, out):
            simd.store(out, 0, simd.tile_sums(simd.tile_load(X, 0, X.shape[1], rows, 1, X.shape[1])))
            for r in range(rows):
                sums[r] = simd.reduce_add(simd.load(X, r * X.shape[1]))

        return apply

    width = lanes(dtype)
    X = (rng.standard_normal((width, width)) * 10.0 ** rng.integers(-3, 4, (width, width))).astype(dtype)
    X[0, 0] = np.nan
    for k in range(width.bit_length()):
        sums, out = np.zeros(width, dtype), np.full(width, -1, dtype)
        make(2**k)(X, sums, out)
        np.testing.assert_array_equal(out, sums)


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


# Vectors, masks and tiles wherever Numba stores values: its containers align to 16 or 32 bytes, a register is up to 64 wide.
# Each function adds up the lanes of simd.load(X, i) for i < 9, one way or another. A fault ends the process.
STORED = """
import numpy as np
from numba import njit, prange, typed, types
from numba.experimental import jitclass, structref
from kernels import simd

FUNCTIONS = []

def stores(function):
    FUNCTIONS.append(function)
    return function

@njit
def total(X, vectors):
    sums = simd.zeros(X)
    for vector in vectors:
        sums = sums + vector
    return simd.reduce_add(sums)

@stores
@njit
def a_list(X):
    vectors = [simd.load(X, 0)]
    for i in range(1, 9):
        vectors.append(simd.load(X, i))
    return total(X, vectors)

@stores
@njit
def a_comprehension_of_lists(X):
    rows = [[simd.load(X, 3 * i + j) for j in range(3)] for i in range(3)]
    return total(X, rows[0]) + total(X, rows[1]) + total(X, rows[2])

@stores
@njit
def a_list_of_tuples(X):
    sums = simd.zeros(X)
    for number, vector in [(np.int8(i), simd.load(X, i)) for i in range(9)]:
        sums = sums + vector
    return simd.reduce_add(sums)

@stores
@njit
def a_typed_list(X):
    vectors = typed.List()
    for i in range(9):
        vectors.append(simd.load(X, i))
    return total(X, vectors)

@stores
@njit
def values_of_a_dictionary(X):
    return total(X, {i: simd.load(X, i) for i in range(9)}.values())

@stores
@njit
def tuples(X):
    vectors, sums = (simd.load(X, 0), simd.load(X, 1), simd.load(X, 2)), simd.zeros(X)
    for k in range(3):
        sums = sums + vectors[k]
    return simd.reduce_add(sums) + total(X, [simd.load(X, i) for i in range(3, 9)])

@stores
@njit
def masks(X):
    sums = simd.zeros(X)
    for i, mask in enumerate([simd.load(X, i) > simd.broadcast(X, 4.0) for i in range(9)]):
        sums = sums + simd.select(mask, simd.load(X, i), simd.zeros(X)) + simd.select(mask, simd.zeros(X), simd.load(X, i))
    return simd.reduce_add(sums)

@stores
@njit
def tiles(X):
    lanes, sums = simd.lanes(X), simd.tile_zeros(X, 3, 1)
    for tile in [simd.tile_load(X, i, 1, 3, 1, lanes) for i in range(0, 9, 3)]:
        sums = sums + tile
    return simd.reduce_add(simd.tile_sums(simd.tile_zeros(X, 1, 1))) + three_rows(X, sums)

@njit
def three_rows(X, tile):
    out = np.zeros(3 * simd.lanes(X), X.dtype)
    simd.tile_store(out, 0, simd.lanes(X), tile, simd.lanes(X), 0)
    return out.sum()

@njit
def running(X):
    sums = simd.zeros(X)
    for i in range(9):
        sums = sums + simd.load(X, i)
        yield sums

@stores
@njit
def a_generator(X):
    last = simd.zeros(X)
    for sums in running(X):
        last = sums
    return simd.reduce_add(last)

@njit
def running_for_python(X):
    sums = simd.zeros(X)
    for i in range(9):
        sums = sums + simd.load(X, i)
        yield simd.reduce_add(sums)

@stores
def generators_in_python(X):
    return [list(generator)[-1] for generator in [running_for_python(X) for _ in range(5)]][-1]

def of_class(element):
    @jitclass([("number", types.int8), ("vector", simd.Vector(element))])
    class Holder:
        def __init__(self, X, i):
            self.number, self.vector = i, simd.load(X, i)

    @njit
    def attributes_of_objects(X):
        return total(X, [holder.vector for holder in [Holder(X, i) for i in range(9)]])

    return attributes_of_objects

of_classes = {"float32": of_class(types.float32), "float64": of_class(types.float64)}

@stores
def attributes_of_objects(X):
    return of_classes[X.dtype.name](X)

@structref.register
class Kind(types.StructRef):
    def preprocess_fields(self, fields):
        return tuple((name, types.unliteral(kind)) for name, kind in fields)

class Structure(structref.StructRefProxy): ...

structref.define_proxy(Structure, Kind, ["number", "vector"])

@stores
@njit
def structures(X):
    return total(X, [structure.vector for structure in [Structure(np.int8(i), simd.load(X, i)) for i in range(9)]])

@stores
@njit(parallel=True)
def parallel_loops(X):
    first, both, parts = simd.load(X, 0), (simd.load(X, 1), simd.load(X, 2)), np.zeros(9)
    for i in prange(9):
        vector = first if i == 0 else both[0] if i == 1 else both[1] if i == 2 else simd.load(X, i)
        parts[i] = simd.reduce_add(vector)
    return parts.sum()

for dtype in ("float32", "float64"):
    X = np.arange(100, dtype=dtype)
    lanes = simd.REGISTER_BYTES // X.itemsize
    expected = sum(X[i : i + lanes].sum() for i in range(9))
    for function in FUNCTIONS:
        for _ in range(5):
            assert function(X) == expected, (function, function(X), expected)
print(len(FUNCTIONS))
"""


@pytest.mark.slow
def test_vectors_masks_and_tiles_can_be_stored_anywhere(python):
    result = python("-X", "faulthandler", "-W", "ignore", "-c", STORED)
    assert (result.returncode, result.stdout) == (0, "13\n"), result.stderr
