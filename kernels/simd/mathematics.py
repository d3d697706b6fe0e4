"""Exponentials, logarithms, powers, the logistic, hyperbolic and error functions, the normal distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from llvmlite import ir
from numba import types

from ..jit import piece
from ..jit.dependencies import by_types, vocabulary
from ..jit.numba_private import place_of_typing
from .codegen import Vector, call_llvm, constant, emit_fma, intrinsic, lanewise, named, stored, suffix, vector_of
from .vectors import broadcast, fma, maximum, minimum, select

vocabulary()


def polynomial(name: str, coefficients: Callable[[int], float], terms: dict[Any, int]) -> Any:
    """An intrinsic for the sum of coefficients(k) x^k, k < terms, by Horner's rule with fused multiply-adds."""

    def implementation(typingctx: Any, x: Any) -> Any:
        vector = vector_of(x)

        def emit(context: Any, builder: Any, x: Any) -> Any:
            result = constant(vector, coefficients(terms[vector.element] - 1))
            for k in reversed(range(terms[vector.element] - 1)):
                result = emit_fma(builder, vector, result, x, constant(vector, coefficients(k)))
            return result

        return vector(vector), emit

    return named(name, implementation)


# exp r for |r| <= log(2) / 2: the next term is below 6e-9 and 5e-18, a twentieth of a unit in the last place.
_exp_series = polynomial("_exp_series", lambda k: 1 / math.factorial(k), {types.float32: 8, types.float64: 14})
# (exp r - 1 - r) / r^2 for the same r, equally exact.
_expm1_series = polynomial("_expm1_series", lambda k: 1 / math.factorial(k + 2), {types.float32: 6, types.float64: 12})
# artanh(s) / s in s^2 for |s| <= 3 - 2 sqrt(2): the next term is below 3e-9 and 4e-18.
_log_series = polynomial("_log_series", lambda k: 1 / (2 * k + 1), {types.float32: 5, types.float64: 11})


def _layout(vector: Vector) -> tuple[ir.VectorType, Callable[[int], Any], int, int]:
    """(the integer vector of the same width, a function that fills one, bits of the fraction, exponent bias)."""
    bits = vector.element.bitwidth
    integers = ir.VectorType(ir.IntType(bits), vector.lanes)
    return integers, lambda value: integers([value] * vector.lanes), *((23, 127) if bits == 32 else (52, 1023))


@intrinsic
def _scale(typingctx: Any, x: Any, n: Any) -> Any:
    """x * 2^n for integral n below 2^21, by two factors so that neither overflows; subnormal results round once."""
    vector = vector_of(x)
    integers, integer, fraction, bias = _layout(vector)

    def emit(context: Any, builder: Any, result: Any, n: Any) -> Any:
        # The last bits of n + 1.5 * 2^fraction are n. A NaN becomes some number here and stays NaN in x; LLVM's
        # conversions leave it undefined, or go lane by lane.
        shift = constant(vector, 1.5 * 2**fraction)
        n = builder.sub(*(builder.bitcast(y, integers) for y in (builder.fadd(n, shift), shift)))
        half = builder.ashr(n, integer(1))
        for power in (half, builder.sub(n, half)):
            factor = builder.shl(builder.add(power, integer(bias)), integer(fraction))
            result = builder.fmul(result, builder.bitcast(factor, vector.ir))
        return result

    return vector(vector, vector), emit


@intrinsic
def _fraction(typingctx: Any, x: Any) -> Any:
    """(m, n) with x = m * 2^n and sqrt(1/2) <= m < sqrt(2), for normal positive x."""
    vector = vector_of(x)
    integers, integer, fraction, _ = _layout(vector)
    pair = types.UniTuple(vector, 2)

    def emit(context: Any, builder: Any, x: Any) -> Any:
        # Subtracting the bits of sqrt(1/2) makes the exponent field change there.
        root = 0x3F3504F3 if vector.element == types.float32 else 0x3FE6A09E667F3BCD
        bits = builder.bitcast(x, integers)
        shifted = builder.sub(bits, integer(root))
        n = builder.ashr(shifted, integer(fraction))
        m = builder.bitcast(builder.sub(bits, builder.shl(n, integer(fraction))), vector.ir)
        parts = [stored(builder, part) for part in (m, builder.sitofp(n, vector.ir))]
        return context.make_tuple(builder, pair, parts)

    return pair(vector), emit


# log 2 in two parts; the first has so few bits that its product with an exponent is exact.
_LOG2 = {
    types.float32: (float.fromhex("0x1.62E4p-1"), math.log(2) - float.fromhex("0x1.62E4p-1")),
    types.float64: (float.fromhex("0x1.62E42FEFA38p-1"), float.fromhex("0x1.EF35793C7673p-45")),
}
_LOG2E = 1 / math.log(2)
# Arguments beyond which the result is 0 or infinity; the smallest normal number; how many bits the fraction has.
_RANGE = {types.float32: (-104.0, 89.0, 2.0**-126, 24.0), types.float64: (-746.0, 710.0, 2.0**-1022, 53.0)}
_INFINITY, _NAN = math.inf, math.nan

_TINY = 2.0**-60
"""Below it an odd function with slope 1 at 0 rounds to its argument, signed zeros and subnormal numbers included."""


def _require_vectors(name: str, *kinds: Any) -> None:
    if not all(isinstance(kind, Vector) and kind.real and kind == kinds[0] for kind in kinds):
        given = ", ".join(map(str, kinds))
        raise TypeError(f"{place_of_typing()}simd.{name}({given}): it takes vectors of float32 or float64")


def _of_vectors(typed: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of one vector, for compiled code only; ``typed`` returns its implementation for a vector type."""

    @wraps(typed)
    def checked(x):
        _require_vectors(typed.__name__, x)
        return typed(x)

    return by_types(checked, inline="always")


def _checked(function: Any) -> Any:
    """A piece whose only argument must be a vector of floats."""
    function.check = lambda args: _require_vectors(function.py_func.__name__, *args)
    return function


@_of_vectors
def exp(x):
    """e^x within 1 unit in the last place (2 on a CPU without FMA), subnormal results included, where the caller's
    control word lets there be any; NaN gives NaN.

    Measured: 0.94 units over every float32 in [-104, 0], 0.86 over 1.5 million float64 of the whole range.
    """
    high, low = _LOG2[x.element]
    least, most, *_ = _RANGE[x.element]

    def implementation(x):
        bounded = minimum(maximum(x, least), most)
        n = round(bounded * _LOG2E)
        r = fma(n, -low, fma(n, -high, bounded))
        return _scale(_exp_series(r), n)

    return implementation


@_of_vectors
def log(x):
    """Natural logarithm within 2 units in the last place; -infinity at 0, NaN below.

    Measured: 1.81 units over all float32, 1.7 over 2.6 million float64, half of them near 1.
    """
    high, low = _LOG2[x.element]
    *_, smallest, up = _RANGE[x.element]

    def implementation(x):
        subnormal = x < smallest
        m, n = _fraction(select(subnormal, x * 2.0**up, x))
        n = select(subnormal, n - up, n)
        f = m - 1
        s = f / (m + 1)
        # log m = 2 artanh(s); 2 s = f - s f exactly enough, which keeps the last bits of f
        tail = (s + s) * (_log_series(s * s) - 1)
        small = tail + fma(n, low, 0 - s * f)
        result = fma(n, high, f) + small
        result = select(x < _INFINITY, result, x)  # infinity and NaN stay
        result = select(x > 0, result, -_INFINITY)
        result = select(x < 0, _NAN, result)
        return select(x > -_INFINITY, result, x + _NAN)

    return implementation


@_of_vectors
def expm1(x):
    """e^x - 1 within 2 units in the last place, near 0 too; NaN gives NaN.

    Measured: 1.65 units over all float32.
    """
    high, low = _LOG2[x.element]
    most = _RANGE[x.element][1]

    def implementation(x):
        bounded = minimum(maximum(x, -40.0), most)
        n = round(bounded * _LOG2E)
        r = fma(n, -low, fma(n, -high, bounded))
        p = fma(r * r, _expm1_series(r), r)
        half = _scale(broadcast(x, 0.5), n)  # half of 2^n, which may be too large
        result = fma(half, p, half - 0.5)
        return select(abs(x) < _TINY, x, result + result)

    return implementation


@_of_vectors
def log1p(x):
    """log(1 + x) within 2 units in the last place, near 0 too; -infinity at -1, NaN below.

    Measured: 1.89 units over every float32 in which it is neither x nor log x.
    """
    high, low = _LOG2[x.element]

    def implementation(x):
        u = x + 1
        above = u - 1
        rest = (x - above) + (1 - (u - above))  # u + rest = 1 + x exactly (Knuth's sum of two)
        m, n = _fraction(u)
        f = m - 1
        s = f / (m + 1)
        tail = (s + s) * (_log_series(s * s) - 1)
        small = tail + fma(n, low, 0 - s * f)
        # log(m + c) = log m + c / m, and 1 / m = 1 - f + f^2 near enough for so small a c
        slope = 1 - f * (1 - f)
        small = fma(_scale(rest, 0 - n), slope, small)
        result = fma(n, high, f) + small
        result = select(abs(x) < _TINY, x, result)
        result = select(x < _INFINITY, result, x)  # infinity and NaN stay
        result = select(x > -1, result, -_INFINITY)
        result = select(x < -1, _NAN, result)
        return select(x > -_INFINITY, result, x + _NAN)

    return implementation


@_checked
@piece
def tanh(x):
    """Hyperbolic tangent within 3 units in the last place; NaN gives NaN.

    Measured: 2.42 units over every float32 from 2^-15 to 24, beyond which it is x or 1.
    """
    size = abs(x)
    power = expm1(2 * minimum(size, 22))
    y = power / (power + 2)
    return select(size < _TINY, x, select(x < 0, 0 - y, y))


# exp(z^2 / 2) (1 - P(z)) / t for z >= 0, P the normal distribution, as a polynomial in 2 t - 1, t = 1 / (1 + z / 5):
# the interpolation at 400 Chebyshev points, cut after degree 20, is within 2e-15 of it relatively.
TAIL = (
    0.15383860995001253, 0.13307650057801426, 0.09906112319403415, 0.0627066313340512, 0.03300407323288993,
    0.013823727745571661, 0.0041590133759349755, 0.0005986753119598178, -0.00015957399657636607,
    -0.00010897957897850652, -1.1874630816210303e-05, 9.9517573384739e-06, 3.3348128434892224e-06,
    -7.943811040263283e-07, -5.513150844867647e-07, 6.467950292152028e-08, 8.380956100037868e-08,
    -5.957769845656168e-09, -1.1372240472226595e-08, 4.712709135251337e-10, 9.795849556242954e-10,
)  # fmt: skip
# The same in float32, within 7e-8: coefficients were rounded one by one, and those that follow fitted again each time.
_SHORT_TAIL = (
    0.15383862, 0.1330765, 0.0990607, 0.0627061, 0.03300704, 0.013829112, 0.004152124, 0.0005817474, -0.0001549473,
    -8.770742e-05, -9.321257e-06,
)  # fmt: skip
_short_tail = polynomial("_short_tail", lambda k: _SHORT_TAIL[k], {types.float32: len(_SHORT_TAIL)})
_long_tail = polynomial("_long_tail", lambda k: TAIL[k], {types.float64: len(TAIL)})


@_of_vectors
def _tail_series(x):
    series = _short_tail if x.element == types.float32 else _long_tail
    return lambda x: series(x)


# erf(x) / x - 1 in x^2, used up to this x; beyond, 1 - erf(x) is exact enough: the next term is below 1e-10 and 7e-20.
_ERF_NEAR = {types.float32: 1.0, types.float64: 1.5}
_erf_series = polynomial(
    "_erf_series",
    lambda k: 2 / math.sqrt(math.pi) * (-1) ** k / (math.factorial(k) * (2 * k + 1)) - (k == 0),
    {types.float32: 12, types.float64: 26},
)


@piece
def _upper_tail(size, shape):
    """1 - P(size) for size >= 0, with shape = exp(-size^2 / 2)."""
    t = 1 / fma(0.2, size, 1)
    return shape * t * _tail_series(t + t - 1)


@_checked
@piece
def normal_distribution(z):
    """(P(z), exp(-z^2 / 2)): the normal distribution within 5 units in the last place of 1, and its density's shape."""
    shape = exp(0 - 0.5 * z * z)
    tail = _upper_tail(abs(z), shape)
    return select(z < 0, tail, 1 - tail), shape


@_of_vectors
def erf(x):
    """The error function 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x, within 2 units in the last place.

    Measured: 1.73 units over every float32 from 2^-15 to 24.
    """
    near = _ERF_NEAR[x.element]
    root = math.sqrt(2.0)

    def implementation(x):
        size = minimum(abs(x), 6)
        tail = _upper_tail(root * size, exp(0 - size * size))
        far = 1 - (tail + tail)
        far = select(x < 0, 0 - far, far)
        return select(size > near, far, fma(x, _erf_series(x * x), x))

    return implementation


@_checked
@piece
def sigmoid(x):
    """The logistic function 1 / (1 + e^-x) within 3 units in the last place, near 0 too; NaN gives NaN.

    Measured: 2.41 units over all float32.
    """
    power = exp(0 - abs(x))
    return select(x < 0, power, 1) / (power + 1)


@intrinsic
def _exact_fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z, rounded once, on a CPU without FMA by a library's function."""
    return lanewise(
        (x, y, z),
        lambda builder, vector, *args: call_llvm(builder, f"llvm.fma.{suffix(vector)}", vector.ir, list(args)),
    )


# artanh(s) / s - 1 - s^2 / 3 in s^2, over s^4.
_power_series = polynomial("_power_series", lambda k: 1 / (2 * k + 5), {types.float32: 4, types.float64: 10})
# 1 / 3 in two parts: rounded, and the rounding error.
_THIRD = {
    types.float32: (float.fromhex("0x1.555556p-2"), 1 / 3 - float.fromhex("0x1.555556p-2")),
    types.float64: (1 / 3, 2.0**-54 / 3),
}


@partial(by_types, inline="always")
def pow(x, y):
    """x^y within 2 units in the last place (3 on a CPU without FMA); special cases as in NumPy (C99, annex F).

    y may be a number. Measured: 1.10 units for 268 million float32 with 6 exponents, 1.06 for a million float64 pairs.
    """
    if isinstance(x, Vector) and isinstance(y, (types.Integer, types.Float)):
        return lambda x, y: pow(x, broadcast(x, y))
    _require_vectors("pow", x, y)
    high, low = _LOG2[x.element]
    third, rest_of_third = _THIRD[x.element]
    least, most, smallest, up = _RANGE[x.element]

    def implementation(x, y):
        # log |x| = H + L, L much smaller: the leading terms are computed to twice the precision.
        size = abs(x)
        subnormal = size < smallest
        m, n = _fraction(select(subnormal, size * 2.0**up, size))
        n = select(subnormal, n - up, n)
        f, d = m - 1, m + 1
        s = f / d
        s_rest = (_exact_fma(-s, d, f) - s * (m - (d - 1))) / d
        z = s * s
        z_rest = _exact_fma(s + s, s_rest, _exact_fma(s, s, -z))
        cube = s * z
        cube_rest = _exact_fma(s, z_rest, _exact_fma(s_rest, z, _exact_fma(s, z, -cube)))
        t = cube * third
        t_rest = _exact_fma(cube_rest, third, _exact_fma(cube, rest_of_third, _exact_fma(cube, third, -t)))
        h = s + t
        h_rest = (t - (h - s)) + ((s_rest + t_rest) + cube * z * _power_series(z))
        exponent, h = n * high, h + h
        H = exponent + h
        L = (h - (H - exponent)) + _exact_fma(n, low, h_rest + h_rest)
        H = select(size == 0, -_INFINITY, select(size == _INFINITY, size, H))
        # e^(y (H + L))
        p = y * H
        p_rest = _exact_fma(y, L, _exact_fma(y, H, -p))
        bounded = minimum(maximum(p, least), most)
        p_rest = select(bounded == p, p_rest, 0)
        n = round(bounded * _LOG2E)
        r = _exact_fma(n, -low, _exact_fma(n, -high, bounded)) + p_rest
        result = _scale(_exp_series(r), n)
        # Special cases: negative x, zeros, infinities and NaN.
        half = y * 0.5
        whole = round(y) == y
        odd = whole & (round(half) != half)
        below = (x < 0) | (1 / x == -_INFINITY)
        result = select(below & odd, -result, result)
        undefined = (x < 0) & (size != _INFINITY) & ~whole
        result = select(undefined, _NAN, result)
        result = select((x == x) & (y == y), result, x + y)
        ones = (x == 1) | (y == 0)
        return select(ones | (size == 1) & (abs(y) == _INFINITY), 1, result)

    return implementation
