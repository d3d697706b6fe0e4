"""The SIMD vector type, each operation against NumPy in every lane."""

import math
from functools import cache

import numpy as np
import pytest
from numba import njit

from kernels import simd

DTYPES = ["float32", "float64"]
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def lanes(dtype):
    return simd.REGISTER_BYTES // np.dtype(dtype).itemsize


@dtypes
def test_lanes_fill_a_register(dtype):
    assert njit(lambda a: simd.lanes(a))(np.empty(1, dtype)) == lanes(dtype)


def everything(X, Y, out):
    """What there is on vectors of floats, each to a row of ``out``; returns what is not a vector."""
    x, y = simd.load(X, 0), simd.load(Y, 0)
    lanes = simd.lanes(X)
    in_place = x
    in_place += y
    in_place -= 1
    in_place *= 2
    in_place /= y
    found = (
        x + y, x - y, x * y, x / y, x * 2.0, 2.0 * x, 1 - x, x / 3, 1 / x, -x, abs(x), in_place,
        simd.negative(x), simd.abs(x), simd.floor(x), simd.ceil(x), simd.round(x), simd.sqrt(x), simd.reciprocal(x),
        simd.sign(x), simd.maximum(x, y), simd.minimum(x, y), simd.maximum(x, 0.0), simd.minimum(1, x),
        simd.select(x > y, x, y), simd.select(x < y, 1, 0.0 * y), +x, round(x),
        *simd.broadcast_each(x, (3, 0.5, True)),
    )  # fmt: skip
    for k in range(len(found)):
        simd.store(out, k * lanes, found[k])
    masks = (
        x < y, x <= y, x > y, x >= y, x == y, x != y, x < 0, x > 0, ~(x < y), (x < y) & (x == x), (x < y) | (y != y),
        (x < y) ^ (x <= y), simd.less(x, y), simd.at_most(x, y), simd.greater(x, y), simd.at_least(x, y),
        simd.equal(x, y), simd.not_equal(x, y), simd.both(x < y, y < 2), simd.either(x < y, y < 2),
        simd.differ(x < y, y < 2), simd.inverse(x < y),
    )  # fmt: skip
    for k in range(len(masks)):
        simd.store(out, (len(found) + k) * lanes, simd.select(masks[k], 1, simd.zeros(x)))
    some = x < y
    return simd.any(some), simd.all(some), simd.count(some), simd.reduce_min(x), simd.all(some | (x >= y) | (x != y))


def everything_in_numpy(X, Y):
    one, some = X.dtype.type(1), X < Y
    with np.errstate(all="ignore"):
        found = [
            X + Y, X - Y, X * Y, X / Y, X * 2, 2 * X, 1 - X, X / 3, 1 / X, -X, abs(X), ((X + Y) - 1) * 2 / Y,
            -X, abs(X), np.floor(X), np.ceil(X), np.rint(X), np.sqrt(X), 1 / X, np.sign(X),
            np.maximum(X, Y), np.minimum(X, Y), np.maximum(X, 0), np.minimum(X, 1),
            np.where(X > Y, X, Y), np.where(X < Y, one, 0 * Y), X, np.rint(X),
            *(np.full_like(X, x) for x in (3, 0.5, 1)),
        ]  # fmt: skip
    masks = [
        X < Y, X <= Y, X > Y, X >= Y, X == Y, X != Y, X < 0, X > 0, ~some, some & (X == X), some | (Y != Y),
        some ^ (X <= Y), X < Y, X <= Y, X > Y, X >= Y, X == Y, X != Y, some & (Y < 2), some | (Y < 2), some ^ (Y < 2),
        ~some,
    ]  # fmt: skip
    rows = np.array([*found, *masks], X.dtype)
    return rows, (some.any(), some.all(), some.sum(), X.min(), True)


@dtypes
@pytest.mark.parametrize("fastmath", [False, True])
def test_operators_functions_and_masks_equal_numpys_whatever_the_callers_fastmath(dtype, fastmath, rng):
    """NaN, infinity and signed zeros in every lane. ``fastmath=True`` lets LLVM assume there are none, but not here."""
    compiled = njit(fastmath=fastmath)(everything)
    values = np.array([1.5, -2.0, np.nan, np.inf, -np.inf, 1e-30, 3.0, 0.0, -0.0, 2.5, -0.5, 1e6], dtype)
    n = lanes(dtype)
    for draw in [values] * 20 + [values[:1]]:
        X, Y = rng.choice(draw, n), rng.choice(draw, n)
        rows, numbers = everything_in_numpy(X, Y)
        out = np.empty_like(rows)
        assert_equal = np.testing.assert_array_equal
        assert_equal(compiled(X, Y, out.reshape(-1)), numbers)
        assert_equal(out, rows)
        signed = [0, 1, 2, *range(4, 11), 12, 13, 14, 15, 16, 19]  # of the others the sign of zero is not promised
        with np.errstate(invalid="ignore"):
            number = ~np.isnan(rows[signed])
        assert_equal(np.signbit(out[signed])[number], np.signbit(rows[signed])[number])


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_vectors_of_integers_calculate_as_numpys(dtype, rng):
    @njit
    def apply(X, Y, out):
        x, y = simd.load(X, 0), simd.load(Y, 0)
        lanes = simd.lanes(X)
        found = (
            x + y, x - y, x * y, -x, abs(x), x & y, x | y, x ^ y, ~x, x & 7, (x & 0xFF) << 3, x >> 2, x + 1, 3 * x,
            simd.maximum(x, y), simd.minimum(x, y), simd.select(x > y, x, 5), simd.select(x == y, 1, simd.zeros(x)),
            simd.select((x <= 0) & (y != 3), x, y), simd.broadcast(x, 9), simd.shift_left(x & 1, 5),
            simd.shift_right(x, 1),
        )  # fmt: skip
        for k in range(len(found)):
            simd.store(out, k * lanes, found[k])
        simd.store_masked(out, len(found) * lanes, simd.load_masked(X, 1, lanes - 1), lanes - 1)
        return simd.reduce_add(x), simd.reduce_max(x), simd.reduce_min(x)

    n = lanes(dtype)
    X, Y = (rng.integers(-20, 20, n).astype(dtype) for _ in range(2))
    Y[: n // 2] = X[: n // 2]
    expected = np.array(
        [
            X + Y, X - Y, X * Y, -X, abs(X), X & Y, X | Y, X ^ Y, ~X, X & 7, (X & 255) << 3, X >> 2, X + 1, 3 * X,
            np.maximum(X, Y), np.minimum(X, Y), np.where(X > Y, X, 5), X == Y, np.where((X <= 0) & (Y != 3), X, Y),
            0 * X + 9, (X & 1) << 5, X >> 1, np.append(X[1:], -1),
        ]
    )  # fmt: skip
    out = np.full_like(expected, -1, dtype)
    assert apply(X, Y, out.reshape(-1)) == (X.sum(), X.max(), X.min())
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_arrays_of_any_numbers_are_loaded_and_stored_converted(dtype, rng):
    """Nothing past n elements is touched."""

    @njit
    def apply(sources, like, out, targets, n):
        a, b, c, d, e, f = sources
        lanes = simd.lanes(like)
        found = (
            simd.load_as(like, a, 1), simd.load_as(like, b, 1), simd.load_as(like, c, 1), simd.load_as(like, d, 1),
            simd.load_as(like, e, 1), simd.load_as(like, f, 1), simd.load_as_masked(like, a, 1, n),
            simd.load_as_masked(like, f, 1, n),
        )  # fmt: skip
        for k in range(len(found)):
            simd.store(out, k * lanes, found[k])
        u, v, w, x = targets
        simd.store_as(u, 1, found[0])
        simd.store_as_masked(v, 1, found[1], n)
        simd.store_as(w, 1, found[2])
        simd.store_as_masked(x, 1, found[3], n)

    n = lanes(dtype)
    kinds = ("uint8", "int16", "int64", "float32", "float64", "bool")
    sources = tuple(rng.integers(0, 100, n + 1).astype(kind) for kind in kinds)
    sources[4][1:3] = -7.75, 3.5
    for few in (0, 1, n - 1, n):
        targets = tuple(np.full(n + 2, 77, kind) for kind in ("int8", "float64", "uint16", "float32"))
        out = np.empty((8, n), dtype)
        apply(sources, np.empty(1, dtype), out.reshape(-1), targets, few)
        rows = [source[1:].astype(dtype) for source in sources]
        first = np.arange(n) < few
        np.testing.assert_array_equal(out, [*rows, np.where(first, rows[0], 0), np.where(first, rows[5], 0)])
        for target, source, count in zip(targets, sources, (n, few, n, few)):
            np.testing.assert_array_equal(target[1 : count + 1], source[1 : count + 1].astype(target.dtype))
            assert (np.delete(target, range(1, count + 1)) == 77).all()


@dtypes
def test_conversions_saturate_and_lanes_are_gathered(dtype):
    integers = dtype.replace("float", "int")

    @njit
    def apply(X, index, whole, gathered):
        lanes = simd.lanes(X)
        simd.store(whole, 0, simd.convert(whole, simd.load(X, 0)))
        i = simd.load(index, 0)
        simd.store(gathered, 0, simd.gather(X, i))
        simd.store(gathered, lanes, simd.gather_masked(X, simd.select(i > 3, i, 10**9), i > 3))
        simd.store(gathered, 2 * lanes, simd.convert(X, i))
        for k in range(lanes):
            gathered[3 * lanes + k] = i[k - lanes] + simd.lane(simd.iota(X), k)
        simd.store(
            gathered, 4 * lanes, simd.bitcast(X, simd.bitcast(i, simd.load(X, 0)) & ~simd.bitcast(i, -simd.zeros(X)))
        )
        simd.scatter(gathered, i + 5 * lanes, simd.load(X, 0))
        simd.scatter(gathered, (i >> 1) + 6 * lanes, simd.convert(X, simd.iota(i)))
        simd.scatter_masked(gathered, simd.select(i > 3, i + 6 * lanes, 10**9), simd.load(X, 0), i > 3)

    n, info = lanes(dtype), np.iinfo(integers)
    X = np.resize(np.array([1.75, -1.75, np.nan, np.inf, -1e30, 4.0, 5.0, -6.0], dtype), n)
    index = np.arange(n, dtype=integers)[::-1].copy()
    whole, gathered = np.empty(n, integers), np.full((7, n), 77, dtype)
    apply(X, index, whole, gathered.reshape(-1))
    np.testing.assert_array_equal(whole, np.resize([1, -1, 0, info.max, info.min, 4, 5, -6], n))
    np.testing.assert_array_equal(gathered[:3], [X[index], np.where(index > 3, X[index], 0), index.astype(dtype)])
    np.testing.assert_array_equal(gathered[3:6], [np.full(n, n - 1), abs(X), X[index]])
    last = np.full(n, 77, dtype)
    last[index >> 1] = np.arange(n)  # NumPy, too, keeps the last
    last[index[index > 3]] = X[index > 3]
    np.testing.assert_array_equal(gathered[6], last)


def test_short_floats_are_numpys(rng):
    """Every float16 and bfloat16; of the float32 those around every tie between two float16, and any."""

    @njit
    def apply(H, X, widened, halves):
        a, b = widened
        for i in range(0, H.size, simd.lanes(a)):
            bits = simd.load_as(np.int32, H, i)
            simd.store(a, i, simd.from_float16(bits))
            simd.store(b, i, simd.from_bfloat16(bits))
        a, b = halves
        for i in range(0, X.size, simd.lanes(X)):
            x = simd.load(X, i)
            simd.store_as(a, i, simd.to_float16(x))
            simd.store_as(b, i, simd.to_bfloat16(x))

    H = np.arange(2**16).astype(np.uint16)
    with np.errstate(over="ignore", invalid="ignore"):
        wide = H.view(np.float16).astype(np.float32)
        ties = (wide.view(np.uint32)[:, None] + np.array([0, 0xFFF, 0x1000, 0x1001, 0x1FFF], np.uint32)).reshape(-1)
        X = np.concatenate([ties, H.astype(np.uint32) << 16 | 0x8000, rng.integers(0, 2**32, 2**16).astype(np.uint32)])
        X = X.view(np.float32)
        expected = X.astype(np.float16).view(np.uint16)
    widened, halves = tuple(np.empty((2, H.size), "f4")), tuple(np.empty((2, X.size), "u2"))
    apply(H, X, widened, halves)
    np.testing.assert_array_equal(widened[0], wide)
    np.testing.assert_array_equal(np.signbit(widened[0]), np.signbit(wide))
    assert widened[1].tobytes() == (H.astype(np.uint32) << 16).tobytes()
    nan = np.isnan(X)
    np.testing.assert_array_equal(halves[0][~nan], expected[~nan])
    assert np.isnan(halves[0].view(np.float16)[nan]).all()
    brain = halves[1].astype(np.uint32) << 16
    assert np.isnan(brain.view(np.float32)[nan]).all()
    low = X.view(np.uint32)[~nan] & 0xFFFF0000  # rounded towards zero; the next in magnitude is one of its units more
    up = np.where(brain[~nan] == low, 0, 1)
    assert (brain[~nan] == low + (up << 16)).all()
    rest = X.view(np.uint32)[~nan] & 0xFFFF
    odd = (low >> 16) & 1
    np.testing.assert_array_equal(up, (rest > 0x8000) | ((rest == 0x8000) & (odd == 1)))


def test_a_cpu_without_float16_is_told(python):
    code = """
import numpy as np
from numba import njit
from kernels import simd
for convert, dtype in ((simd.from_float16, np.int32), (simd.to_float16, np.float32)):
    try:
        njit(lambda a: convert(simd.load(a, 0)))(np.zeros(16, dtype))
    except TypeError as error:
        print(str(error).rpartition("): ")[2])
"""
    told = python(code, env={"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""}).stdout.splitlines()
    assert told == ["it needs a CPU that has float16: F16C, AVX-512 or ARM"] * 2


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


@cache
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


# Each in NumPy, its stated error in units of the last place, and the range of float32 and float64 in which it varies.
FUNCTIONS = {
    "exp": (np.exp, 1 if simd.HAS_FMA else 2, (-104, 88.7), (-745, 709.7)),
    "expm1": (np.expm1, 2, (-20, 88.7), (-40, 709.7)),
    "log": (np.log, 2, (0, 3e38), (0, 1e308)),
    "log1p": (np.log1p, 2, (-1, 3e38), (-1, 1e308)),
    "tanh": (np.tanh, 3, (-11, 11), (-22, 22)),
    "erf": (erf, 2, (-5, 5), (-7, 7)),
    "sigmoid": (lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-abs(x))), 3, (-104, 20), (-745, 40)),
}
functions = pytest.mark.parametrize("name", FUNCTIONS)


def check_error(exact, limit, run, *args):
    """The largest error of ``run`` on arrays, in units of the last place of the exact value, found in a wider type.

    NaN, infinity and signs must be those of the exact value.
    """
    first, *others = args
    found = np.empty_like(first)
    run(*args, found)
    with np.errstate(all="ignore"):
        wide = exact(first.astype(np.float64 if first.dtype == np.float32 else np.longdouble), *others)
        rounded = wide.astype(first.dtype)
        number = ~np.isnan(rounded)
        np.testing.assert_array_equal(np.isnan(found), ~number)
        np.testing.assert_array_equal(np.signbit(found)[number], np.signbit(rounded)[number])
        finite = np.isfinite(rounded) & np.isfinite(found)
        np.testing.assert_array_equal(found[number & ~finite], rounded[number & ~finite])
        errors = np.where(finite, abs(found - wide) / np.spacing(abs(rounded)), 0)
    worst = errors.argmax()
    assert errors[worst] <= limit, f"of {[each[worst] for each in args]} it errs by {errors[worst]} units"
    return float(errors[worst])


def check_units(name, X, run):
    exact, limit, *_ = FUNCTIONS[name]
    return check_error(exact, limit, run, X)


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


@njit
def powers(X, Y, Z):
    for i in range(0, X.size, simd.lanes(X)):
        simd.store(Z, i, simd.pow(simd.load(X, i), simd.load(Y, i)))


def check_powers(X, Y):
    return check_error(np.power, 2 if simd.HAS_FMA else 3, powers, X, Y)


@dtypes
def test_powers_are_within_their_stated_error_and_numpys_at_the_ends(dtype, rng, record_property):
    info, many = np.finfo(dtype), 2**16
    most = np.log10(float(info.max))
    ends = [0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1.5, 7, -7, np.inf, -np.inf, np.nan, 2.0**53, info.tiny, info.max,
            -info.smallest_subnormal, 2.0**24 - 1, -1e30]  # fmt: skip
    pairs = np.array([(x, y) for x in ends for y in ends], dtype)
    pairs = np.resize(pairs, (len(pairs) + -len(pairs) % lanes(dtype), 2))
    check_powers(*np.ascontiguousarray(pairs.T))
    with np.errstate(over="ignore"):
        ranges = [
            (10 ** rng.uniform(-most, most, many), rng.uniform(-3, 3, many)),
            (rng.uniform(0.5, 2, many), rng.uniform(-1000, 1000, many)),
            (1 + 10 ** rng.uniform(-8, -2, many), 10 ** rng.uniform(0, 9, many)),
            (-rng.uniform(0.5, 2, many), np.rint(rng.uniform(-200, 200, many))),
        ]
        record_property("units", max(check_powers(X.astype(dtype), Y.astype(dtype)) for X, Y in ranges))


@pytest.mark.nightly
def test_powers_are_within_their_stated_error_over_all_of_float32(record_property):
    worst = 0.0
    for start in range(0, 2**32, 2**22):
        X = np.arange(start, start + 2**22, dtype=np.uint32).view(np.float32)
        y = (2.0, -0.5, 1 / 3, 2.4, -7.0, 30.0)[start // 2**22 % 6]
        worst = max(worst, check_powers(X, np.full_like(X, y)))
    record_property("units", worst)


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
        simd.store(out, i=0, x=simd.select(y=x, mask=simd.leading(out, n=n), x=simd.sqrt(x)))

    width = lanes(dtype)
    X, out = rng.random(width).astype(dtype), np.empty(width, dtype)
    for n in (*range(width + 1), 2**31 - 1, 2**31, 2**32 + 1):  # more than fit an int32, too
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


def test_python_gets_the_lanes_of_vectors_and_masks_as_tuples():
    def run(X):
        x = simd.load(X, 0)
        return x, x > 1

    for dtype in (np.float32, np.int64):
        X = np.arange(lanes(dtype)).astype(dtype)
        assert njit(run)(X) == (tuple(X.tolist()), tuple((X > 1).tolist()))


def test_storing_to_a_read_only_array_is_a_typing_error():
    @njit
    def write(out):
        simd.store(out, 0, simd.zeros(out))

    out = np.zeros(64, np.float32)
    out.flags.writeable = False
    with pytest.raises(TypeError, match="cannot store to a read-only array"):
        write(out)


@pytest.mark.parametrize("array", [np.zeros(64, np.int16), np.zeros(128, np.float32)[::2]], ids=["integers", "strided"])
def test_arrays_of_other_kinds_are_a_typing_error(array):
    with pytest.raises(TypeError, match=r"^.*, line \d+: simd.load\(array.*simd (works on|needs).*$"):
        njit(lambda a: simd.reduce_add(simd.load(a, 0)))(array)


def set_first(v, d):
    v[0] = 1


MISTAKES = {
    "v + d": (lambda v, d: v + d, r"operator add: simd.add\(simd.float32x\d+, simd.float64x\d+\): cannot combine"),
    "v < d": (lambda v, d: v < d, r"operator lt: simd.less\(simd.float32x\d+, simd.float64x\d+\): cannot combine"),
    "v // v": (
        lambda v, d: v // v,
        r"simd has no operator floordiv for simd.float32x\d+, simd.float32x\d+; of floats write simd.floor",
    ),
    "min(v, v)": (lambda v, d: min(v, v), r"min does not take .*; write simd.minimum\(x, y\)"),
    "max(v, 0)": (lambda v, d: max(v, 0), r"max does not take .*; write simd.maximum\(x, y\)"),
    "mask and mask": (lambda v, d: v < 0 and v > -1, "no operator bool for .* of two masks & and |"),
    "v[mask]": (lambda v, d: v[v < 0], r"operator getitem: simd.lane\(.*\): it takes a vector and an integer"),
    "v[0] = 1": (set_first, r"simd has no operator setitem for .*; lanes stay as they are: write simd.select"),
    "np.exp(v)": (lambda v, d: np.exp(v), r"exp does not take simd.float32x\d+; write simd.exp\(x\)"),
    "np.where(mask, v, 0)": (
        lambda v, d: np.where(v < 0, v, 0),
        r"where does not take .*; write simd.select\(mask, x, y\)",
    ),
    "reduce_add(mask)": (lambda v, d: simd.reduce_add(v < 0), r"simd.reduce_add\(simd.mask\d+\): it takes a vector"),
    "an index of floats": (
        lambda v, d: simd.leading(v, 1.5),
        r"simd.leading\(.*, float64\): it takes int64, not float64",
    ),
    "a tile of n rows": (
        lambda v, d: simd.tile_zeros(v, len((v, d)) + simd.lanes(v), 1),
        "the size of a tile must be a compile-time",
    ),
    "select(mask, v, d)": (lambda v, d: simd.select(v < 0, v, d), r"simd.select\(.*\): cannot combine simd.float64x"),
    "v ** 2": (lambda v, d: v**2, "simd has no operator pow for .*; write simd.pow"),
    "v & v": (lambda v, d: v & v, "it takes two masks of as many lanes, or vectors of integers"),
    "v + 1j": (lambda v, d: v + 1j, "cannot combine complex128"),
    "bool(mask)": (lambda v, d: 1 if v < 0 else 0, r"no operator bool for simd.mask\d+; write simd.any\(mask\)"),
    "mask + v": (lambda v, d: (v < 0) + v, r"cannot combine simd.mask\d+"),
    "exp(number)": (lambda v, d: simd.exp(1.0), r"simd.exp\(float64\): it takes vectors of float32 or float64"),
    "broadcast_each(v, 1)": (
        lambda v, d: simd.broadcast_each(v, 1.0),
        r"simd.broadcast_each\(.*, float64\): it takes a tuple of numbers, not float64",
    ),
    "tanh(mask)": (lambda v, d: simd.tanh(v < 0), r"simd.tanh\(simd.mask\d+\): it takes vectors"),
    "pow(v, d)": (lambda v, d: simd.pow(v, d), r"simd.pow\(simd.float32x\d+, simd.float64x\d+\): it takes vectors"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_an_operation_that_cannot_be_is_an_error_of_one_line_with_its_types_and_place(name):
    mistake, message = MISTAKES[name]
    operation = njit(mistake)

    @njit
    def run(X, D):
        operation(simd.load(X, 0), simd.load(D, 0))

    with pytest.raises(TypeError, match=message) as error:
        run(np.zeros(64, np.float32), np.zeros(64))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{__file__}, line ")


def test_the_module_shows_its_own_names_and_no_others():
    assert dir(simd) == sorted(simd.__all__)
    functions = [getattr(simd, name) for name in simd.__all__ if name.islower()]
    assert all(function.__doc__ and function.__name__ in simd.__all__ for function in functions)


@dtypes
def test_the_example_of_the_documentation(dtype, rng):
    source = simd.__doc__.split("    from numba import njit\n")[1].split("\nLegend")[0]
    namespace = {"njit": njit}
    exec("\n".join(line[4:] for line in source.splitlines()), namespace)
    for n in (0, 1, 7, 16, 100):
        X, Y = rng.standard_normal(n).astype(dtype), rng.standard_normal(n).astype(dtype)
        expected = (Y.astype(np.longdouble) + np.longdouble(2.5) * X).astype(dtype)
        namespace["axpy"](2.5, X, Y)
        np.testing.assert_allclose(Y, expected, rtol=np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


# Vectors, masks and tiles wherever Numba stores values: its containers align to 16 or 32 bytes, a register is up to 64
# wide, of whichever elements. Each function adds up the lanes of simd.load(X, i) for i < 9, one way or another. A fault
# ends the process.
STORED = """
import sys
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
def places_in_lists_and_dictionaries(X):
    vectors, typed_vectors, named = [simd.zeros(X)], typed.List(), {0: simd.zeros(X)}
    typed_vectors.append(simd.zeros(X))
    sums = simd.zeros(X)
    for i in range(0, 9, 3):
        vectors[0], typed_vectors[0], named[0] = simd.load(X, i), simd.load(X, i + 1), simd.load(X, i + 2)
        sums = sums + vectors[0] + typed_vectors[0] + named[0]
    return simd.reduce_add(sums)

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
        sums = sums + simd.select(mask, simd.load(X, i), simd.zeros(X)) \
+ simd.select(mask, simd.zeros(X), simd.load(X, i))
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

@jitclass([("number", types.int8), ("vector", simd.Vector(types.float32))])
class Holder:
    def __init__(self, X, i):
        self.number, self.vector = i, simd.load(X, i)

@stores
@njit
def attributes_of_objects(X):
    return total(X, [holder.vector for holder in [Holder(X, i) for i in range(9)]])

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

@stores
@njit(parallel=True)
def sums_of_parallel_loops(X):
    vectors, tiles, product = simd.zeros(X), simd.tile_zeros(X, 2, 1), simd.broadcast(np.int32, 1)
    for i in prange(9):
        vectors += simd.load(X, i)
        tiles += simd.tile_load(X, i, 0, 2, 1, simd.lanes(X))
        product *= simd.broadcast(np.int32, 2)
    out = np.zeros(2 * simd.lanes(X), X.dtype)
    simd.tile_store(out, 0, simd.lanes(X), tiles, simd.lanes(X), 0)
    total = simd.reduce_add(vectors)
    return total if out.sum() == 2 * total and product[-1] == 2**9 else 0.0

@njit
def none_from_nine_on(X, i):
    return simd.load(X, i) if i < 9 else None

@stores
@njit
def vectors_or_none(X):
    sums, named = simd.zeros(X), {0: simd.zeros(X)}
    for vector in [none_from_nine_on(X, i) for i in range(20)]:
        if vector is not None:
            sums = simd.maximum(vector, vector) + sums + named.get(0)
    return simd.reduce_add(sums)

X = np.arange(100, dtype=np.float32)
lanes = simd.REGISTER_BYTES // X.itemsize
expected = sum(X[i : i + lanes].sum() for i in range(9))
chosen = FUNCTIONS[int(sys.argv[1]) :: 2]
for function in chosen:
    for _ in range(5):
        assert function(X) == expected, (function, function(X), expected)
print(len(chosen))
"""


@pytest.mark.slow
def test_vectors_masks_and_tiles_can_be_stored_anywhere(python, at_once):
    results = at_once(lambda half: python("-X", "faulthandler", "-W", "ignore", "-c", STORED, half), ("0", "1"))
    assert [result.stdout for result in results] == ["8\n"] * 2
