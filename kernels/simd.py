"""Explicit SIMD for Numba: vector, mask and register-tile values in ordinary ``@njit`` code.

Numba leaves vectorising to LLVM's loop vectoriser, which may not reorder a sum and so leaves most of the machine
unused in a dot product or a matrix product. Here a *vector* is a value like any other:

    from numba import njit
    from kernels import simd

    @njit
    def axpy(a, X, Y):                       # Y += a * X, float32 or float64
        lanes = simd.lanes(Y)
        n = X.size - X.size % lanes
        for i in range(0, n, lanes):
            simd.store(Y, i, simd.fma(simd.broadcast(Y, a), simd.load(X, i), simd.load(Y, i)))
        rest = X.size - n
        y = simd.fma(simd.broadcast(Y, a), simd.load_masked(X, n, rest), simd.load_masked(Y, n, rest))
        simd.store_masked(Y, n, y, rest)

Legend: ``array`` is any C-contiguous float32 or float64 array and only gives the element type where it is a first
argument called ``like``; ``i`` is an offset in elements from the array's first; ``n`` counts leading lanes. Nothing is
bounds-checked: an offset outside the array corrupts memory. Addresses need no alignment beyond the element's.

A vector has as many lanes as the widest registers hold (AVX-512: 16 float32 or 8 float64; AVX: half; else SSE or
NEON). A *tile* is a block of vectors that LLVM keeps in registers: the accumulators of a matrix product; arithmetic
works on all its vectors at once. Horizontal
sums run in a fixed order (a tree of halves), and fused multiply-add rounds once where the CPU has it, so results do
not depend on the number of threads. Sources: LLVM Language Reference; BLIS for the register tile.
"""

from __future__ import annotations

import itertools
import math
import operator
import platform
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.core.errors import TypingError
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, overload, register_model

# -- the machine -------------------------------------------------------------------------------------------------


def _features() -> frozenset[str]:
    text = config.CPU_FEATURES if config.CPU_FEATURES is not None else get_host_cpu_features()
    return frozenset(text.split(","))


def _register_bytes(features: frozenset[str]) -> int:
    if "+avx512f" in features:
        return 64
    return 32 if "+avx" in features else 16


FEATURES = _features()
REGISTER_BYTES = _register_bytes(FEATURES)
REGISTERS = 32 if REGISTER_BYTES == 64 or platform.machine() in ("aarch64", "arm64") else 16
# Without an FMA unit llvm.fma is a library call per lane; fmuladd is then a product and a sum.
HAS_FMA = "+fma" in FEATURES or platform.machine() in ("aarch64", "arm64")

_IR_ELEMENT = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
_I32 = ir.IntType(32)
_I1 = ir.IntType(1)


class Vector(types.Type):
    """``lanes`` floats of one type, in one register."""

    def __init__(self, element: types.Float) -> None:
        self.element = element
        self.lanes = REGISTER_BYTES * 8 // element.bitwidth
        super().__init__(name=f"simd.{element}x{self.lanes}")

    @property
    def ir(self) -> ir.VectorType:
        return ir.VectorType(_IR_ELEMENT[self.element], self.lanes)


class Mask(types.Type):
    """One bit a lane: the result of a comparison."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"simd.mask{lanes}")


class Tile(types.Type):
    """``rows`` x ``vectors`` vectors."""

    def __init__(self, vector: Vector, rows: int, vectors: int) -> None:
        self.vector, self.rows, self.vectors = vector, rows, vectors
        super().__init__(name=f"simd.tile{rows}x{vectors}({vector})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Vector) -> None:
        super().__init__(manager, fe_type, fe_type.ir)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Mask) -> None:
        super().__init__(manager, fe_type, ir.VectorType(_I1, fe_type.lanes))


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Tile) -> None:
        super().__init__(manager, fe_type, ir.ArrayType(fe_type.vector.ir, fe_type.rows * fe_type.vectors))


# -- typing and code generation helpers ----------------------------------------------------------------------------


def _vector_of(like: Any) -> Vector:
    """The vector type of an array's, a scalar's or a vector's element."""
    if isinstance(like, Vector):
        return like
    element = like.dtype if isinstance(like, types.Array) else like
    if element not in _IR_ELEMENT:
        raise TypingError(f"simd works on float32 and float64, not on {element}")
    return Vector(element)


def _readable(array: Any) -> None:
    if not (isinstance(array, types.Array) and array.layout == "C"):
        raise TypingError(f"simd needs a C-contiguous array, not {array}")


def _writable(array: Any) -> None:
    _readable(array)
    if not array.mutable:
        raise TypingError(f"simd cannot store to a read-only array ({array})")


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, pointee: Any) -> Any:
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), pointee.as_pointer())


def _element_bytes(vector: Vector) -> int:
    return vector.element.bitwidth // 8


def _load(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, vector: Vector) -> Any:
    value = builder.load(_pointer(context, builder, array_type, array, offset, vector.ir))
    value.align = _element_bytes(vector)
    return value


def _store(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, value: Any, vector: Vector) -> None:
    store = builder.store(value, _pointer(context, builder, array_type, array, offset, vector.ir))
    store.align = _element_bytes(vector)


def _splat(builder: Any, vector_ir: Any, scalar: Any) -> Any:
    undefined = ir.Constant(vector_ir, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_I32, vector_ir.count), None))


def _call(builder: Any, name: str, result: Any, args: list[Any]) -> Any:
    """Call an LLVM intrinsic by name (llvmlite's declare_intrinsic refuses vector types)."""
    function_type = ir.FunctionType(result, [argument.type for argument in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def _suffix(vector: Vector) -> str:
    return f"v{vector.lanes}f{vector.element.bitwidth}"


def _fma(builder: Any, vector: Vector, x: Any, y: Any, z: Any) -> Any:
    return _call(builder, f"llvm.{'fma' if HAS_FMA else 'fmuladd'}.{_suffix(vector)}", vector.ir, [x, y, z])


def _leading(builder: Any, lanes: int, n: Any, first: int = 0) -> Any:
    """The mask of the lanes that are among the first n, where they are counted from ``first`` on."""
    index = ir.VectorType(_I32, lanes)
    limit = _splat(builder, index, builder.trunc(n, _I32) if n.type.width > 32 else n)
    return builder.icmp_signed("<", ir.Constant(index, list(range(first, first + lanes))), limit)


def _masked_load(
    context: Any, builder: Any, array_type: Any, array: Any, offset: Any, n: Any, vector: Vector, first: int = 0
) -> Any:
    pointer = _pointer(context, builder, array_type, array, offset, vector.ir)
    mask = _leading(builder, vector.lanes, n, first)
    align = ir.Constant(_I32, _element_bytes(vector))
    name = f"llvm.masked.load.{_suffix(vector)}.p0"
    return _call(builder, name, vector.ir, [pointer, align, mask, ir.Constant(vector.ir, None)])


def _masked_store(
    context: Any, builder: Any, array_type: Any, array: Any, offset: Any, value: Any, n: Any, vector: Vector,
    first: int = 0,
) -> None:  # fmt: skip
    pointer = _pointer(context, builder, array_type, array, offset, vector.ir)
    mask = _leading(builder, vector.lanes, n, first)
    align = ir.Constant(_I32, _element_bytes(vector))
    _call(builder, f"llvm.masked.store.{_suffix(vector)}.p0", ir.VoidType(), [value, pointer, align, mask])


# -- vectors -------------------------------------------------------------------------------------------------------


@intrinsic
def lanes(typingctx: Any, like: Any) -> Any:
    """Lanes in a vector of ``like``'s element type: a compile-time constant."""
    count = _vector_of(like).lanes
    return types.intp(like), lambda context, builder, signature, args: ir.Constant(ir.IntType(64), count)


@intrinsic
def zeros(typingctx: Any, like: Any) -> Any:
    """A vector of zeros of ``like``'s element type."""
    vector = _vector_of(like)
    return vector(like), lambda context, builder, signature, args: ir.Constant(vector.ir, None)


@intrinsic
def broadcast(typingctx: Any, like: Any, scalar: Any) -> Any:
    """A vector with ``scalar``, converted to ``like``'s element type, in every lane."""
    vector = _vector_of(like)
    if not isinstance(scalar, (types.Number, types.Boolean)):
        raise TypingError(f"only a number can be broadcast, not {scalar}")
    return vector(like, vector.element), lambda context, builder, signature, args: _splat(builder, vector.ir, args[1])


@intrinsic
def broadcast_each(typingctx: Any, like: Any, scalars: Any) -> Any:
    """A tuple of vectors: ``broadcast`` of each of a tuple of numbers of one type."""
    vector = _vector_of(like)
    result = types.UniTuple(vector, len(scalars))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        numbers = [builder.extract_value(args[1], k) for k in range(len(scalars))]
        numbers = [context.cast(builder, number, scalars.dtype, vector.element) for number in numbers]
        return context.make_tuple(builder, result, [_splat(builder, vector.ir, number) for number in numbers])

    return result(like, scalars), codegen


@intrinsic
def load(typingctx: Any, array: Any, i: Any) -> Any:
    """array[i : i + lanes]."""
    _readable(array)
    vector = _vector_of(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(context, builder, signature.args[0], args[0], args[1], vector)

    return vector(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, i: Any, x: Any) -> Any:
    """array[i : i + lanes] = x. A read-only array is a typing error."""
    _writable(array)
    vector = _vector_of(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _store(context, builder, signature.args[0], args[0], args[1], args[2], vector)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


@intrinsic
def load_uint8(typingctx: Any, like: Any, array: Any, i: Any) -> Any:
    """array[i : i + lanes] of a uint8 array, converted to ``like``'s element type."""
    if not (isinstance(array, types.Array) and array.dtype == types.uint8 and array.layout == "C"):
        raise TypingError(f"load_uint8 needs a C-contiguous uint8 array, not {array}")
    vector = _vector_of(like)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        small = ir.VectorType(ir.IntType(8), vector.lanes)
        value = builder.load(_pointer(context, builder, array, args[1], args[2], small))
        value.align = 1
        return builder.uitofp(value, vector.ir)

    return vector(like, array, types.intp), codegen


@intrinsic
def load_masked(typingctx: Any, array: Any, i: Any, n: Any) -> Any:
    """array[i : i + n] in the first n lanes and zero in the others; memory past n is not touched."""
    _readable(array)
    vector = _vector_of(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _masked_load(context, builder, signature.args[0], args[0], args[1], args[2], vector)

    return vector(array, types.intp, types.intp), codegen


@intrinsic
def store_masked(typingctx: Any, array: Any, i: Any, x: Any, n: Any) -> Any:
    """array[i : i + n] = x[:n]. A read-only array is a typing error."""
    _writable(array)
    vector = _vector_of(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _masked_store(context, builder, signature.args[0], args[0], args[1], args[2], args[3], vector)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), codegen


@intrinsic
def leading(typingctx: Any, like: Any, n: Any) -> Any:
    """The mask of the first n lanes."""
    count = _vector_of(like).lanes
    return Mask(count)(like, types.intp), lambda context, builder, signature, args: _leading(builder, count, args[1])


def _named(name: str, implementation: Callable[..., Any], doc: str | None = None) -> Any:
    """An intrinsic made by a factory, under a name of its own."""
    implementation.__name__ = implementation.__qualname__ = name
    implementation.__doc__ = doc
    return intrinsic(implementation)


def _lanewise(kinds: tuple[Any, ...], build: Callable[..., Any]) -> Any:
    """Signature and code of ``build(builder, *vectors)`` on vectors, or on every vector of tiles of one size.

    A vector among tiles goes with each of their vectors.
    """
    tiles = [kind for kind in kinds if isinstance(kind, Tile)]
    vector = tiles[0].vector if tiles else _vector_of(kinds[0])
    result = tiles[0] if tiles else vector
    for kind in kinds:
        if kind not in (vector, result):
            raise TypingError(f"cannot combine {kind} with {result}")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not tiles:
            return build(builder, *args)
        acc = ir.Constant(context.get_value_type(result), ir.Undefined)
        for k in range(result.rows * result.vectors):
            picked = [builder.extract_value(a, k) if kind == result else a for a, kind in zip(args, kinds)]
            acc = builder.insert_value(acc, build(builder, *picked), k)
        return acc

    return result(*kinds), codegen


def _binary(name: str, build: Callable[[Any, Any, Any], Any], doc: str) -> Any:
    def implementation(typingctx: Any, x: Any, y: Any) -> Any:
        return _lanewise((x, y), build)

    return _named(name, implementation, doc)


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z, rounded once (twice on a CPU without FMA)."""
    vector = _vector_of(next((kind.vector for kind in (x, y, z) if isinstance(kind, Tile)), x))
    return _lanewise((x, y, z), lambda builder, *args: _fma(builder, vector, *args))


add = _binary("add", lambda builder, x, y: builder.fadd(x, y), "x + y; also written with the operator.")
sub = _binary("sub", lambda builder, x, y: builder.fsub(x, y), "x - y; also written with the operator.")
mul = _binary("mul", lambda builder, x, y: builder.fmul(x, y), "x * y; also written with the operator.")
div = _binary("div", lambda builder, x, y: builder.fdiv(x, y), "x / y; also written with the operator.")


@intrinsic
def sqrt(typingctx: Any, x: Any) -> Any:
    """The square root, correctly rounded; NaN below zero."""
    vector = x.vector if isinstance(x, Tile) else _vector_of(x)
    return _lanewise((x,), lambda builder, x: _call(builder, f"llvm.sqrt.{_suffix(vector)}", vector.ir, [x]))


@intrinsic
def flush(typingctx: Any, x: Any) -> Any:
    """x with 0 for subnormal numbers, which some CPUs take a hundred times as long to calculate with."""
    vector = x.vector if isinstance(x, Tile) else _vector_of(x)
    integers = ir.VectorType(ir.IntType(vector.element.bitwidth), vector.lanes)
    exponent = 0x7F800000 if vector.element == types.float32 else 0x7FF0000000000000

    def build(builder: Any, x: Any) -> Any:
        field = builder.and_(builder.bitcast(x, integers), ir.Constant(integers, [exponent] * vector.lanes))
        small = builder.icmp_unsigned("==", field, ir.Constant(integers, None))
        return builder.select(small, ir.Constant(x.type, None), x)

    return _lanewise((x,), build)


@intrinsic
def sign(typingctx: Any, x: Any) -> Any:
    """np.sign(x): 1, 0 or -1; NaN stays."""
    vector = x.vector if isinstance(x, Tile) else _vector_of(x)

    def build(builder: Any, x: Any) -> Any:
        one, zero = _constant(vector, 1.0), ir.Constant(vector.ir, None)
        positive = builder.select(builder.fcmp_ordered(">", x, zero), one, zero)
        signed = builder.select(builder.fcmp_ordered("<", x, zero), builder.fneg(one), positive)
        return builder.select(builder.fcmp_unordered("uno", x, x), x, signed)

    return _lanewise((x,), build)


def _extreme(comparison: str) -> Callable[[Any, Any, Any], Any]:
    """NumPy's rule: where either is NaN the result is NaN. Unordered-or-greater picks a NaN x; then a NaN y."""

    def build(builder: Any, x: Any, y: Any) -> Any:
        picked = builder.select(builder.fcmp_unordered(comparison, x, y), x, y)
        return builder.select(builder.fcmp_unordered("uno", y, y), y, picked)

    return build


maximum = _binary("maximum", _extreme(">"), "np.maximum(x, y): NaN in either gives NaN.")
minimum = _binary("minimum", _extreme("<"), "np.minimum(x, y): NaN in either gives NaN.")


def _comparison(name: str, symbol: str) -> Any:
    def implementation(typingctx: Any, x: Any, y: Any) -> Any:
        vector = _vector_of(x)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.fcmp_ordered(symbol, args[0], args[1])

        return Mask(vector.lanes)(vector, vector), codegen

    doc = f"The mask of lanes where x {symbol} y; false where either is NaN. Also written with the operator."
    return _named(name, implementation, doc)


greater = _comparison("greater", ">")
at_most = _comparison("at_most", "<=")


@intrinsic
def select(typingctx: Any, mask: Any, x: Any, y: Any) -> Any:
    """x where the mask is set, else y."""
    vector = _vector_of(x)
    if mask != Mask(vector.lanes):
        raise TypingError(f"select needs a mask of {vector.lanes} lanes, not {mask}")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return vector(mask, vector, vector), codegen


def _reduce(name: str, build: Callable[[Any, Any, Any], Any], doc: str) -> Any:
    """Fold the upper half onto the lower until one lane is left: log2(lanes) operations in a fixed order."""

    def implementation(typingctx: Any, x: Any) -> Any:
        vector = _vector_of(x)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, width = args[0], vector.lanes
            while width > 1:
                half = width // 2
                undefined = ir.Constant(value.type, ir.Undefined)
                pick = ir.VectorType(_I32, half)
                low = builder.shuffle_vector(value, undefined, ir.Constant(pick, list(range(half))))
                high = builder.shuffle_vector(value, undefined, ir.Constant(pick, list(range(half, width))))
                value, width = build(builder, low, high), half
            return builder.extract_element(value, ir.Constant(_I32, 0))

        return vector.element(vector), codegen

    return _named(name, implementation, doc)


reduce_add = _reduce("reduce_add", lambda builder, x, y: builder.fadd(x, y), "Sum of the lanes, by halves.")
reduce_max = _reduce("reduce_max", _extreme(">"), "Largest lane; NaN if any lane is NaN.")


def _operator(symbol: Callable[..., Any], function: Any) -> None:
    """Have ``x symbol y`` mean ``function(x, y)`` where both are vectors or tiles.

    As an overload it would be compiled for each pair of types and inlined at each use: an eighth of the compile time.
    """

    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and all(isinstance(kind, (Vector, Tile)) for kind in args):
                return function._defn(self.context, *args)[0]
            return None

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return function._defn(context.typing_context, *signature.args)[1](context, builder, signature, args)

    infer_global(symbol)(Template)
    for kinds in itertools.product((Vector, Tile), repeat=2):
        lower_builtin(symbol, *kinds)(lower)


_operator(operator.add, add)
_operator(operator.sub, sub)
_operator(operator.mul, mul)
_operator(operator.truediv, div)
_operator(operator.gt, greater)
_operator(operator.le, at_most)


# -- exponential and logarithm ---------------------------------------------------------------------------------------


def _constant(vector: Vector, value: float) -> Any:
    return ir.Constant(vector.ir, [value] * vector.lanes)


def _polynomial(name: str, coefficients: Callable[[int], float], terms: dict[Any, int]) -> Any:
    """An intrinsic for sum of coefficients(k) x^k, k < terms, by Horner's rule with fused multiply-adds."""

    def implementation(typingctx: Any, x: Any) -> Any:
        vector = _vector_of(x)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            result = _constant(vector, coefficients(terms[vector.element] - 1))
            for k in reversed(range(terms[vector.element] - 1)):
                result = _fma(builder, vector, result, args[0], _constant(vector, coefficients(k)))
            return result

        return vector(vector), codegen

    return _named(name, implementation)


# exp r for |r| <= log(2) / 2: the next term is below 6e-9 and 5e-18, a twentieth of a unit in the last place.
_exp_series = _polynomial("_exp_series", lambda k: 1 / math.factorial(k), {types.float32: 8, types.float64: 14})
# artanh(s) / s in s^2 for |s| <= 3 - 2 sqrt(2): the next term is below 3e-9 and 4e-18.
_log_series = _polynomial("_log_series", lambda k: 1 / (2 * k + 1), {types.float32: 5, types.float64: 11})


@intrinsic
def _round(typingctx: Any, x: Any) -> Any:
    """The nearest integer, as a float."""
    vector = _vector_of(x)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, f"llvm.rint.{_suffix(vector)}", vector.ir, [args[0]])

    return vector(vector), codegen


def _layout(vector: Vector) -> tuple[ir.VectorType, int, int]:
    """(integers of the same width, bits of the fraction, exponent bias)."""
    bits = vector.element.bitwidth
    return ir.VectorType(ir.IntType(bits), vector.lanes), *((23, 127) if bits == 32 else (52, 1023))


@intrinsic
def _scale(typingctx: Any, x: Any, n: Any) -> Any:
    """x * 2^n for integral n, by two factors so that neither overflows; subnormal results round once."""
    vector = _vector_of(x)
    integers, fraction, bias = _layout(vector)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def integer(value: int) -> Any:
            return ir.Constant(integers, [value] * vector.lanes)

        name = f"llvm.fptosi.sat.v{vector.lanes}i{vector.element.bitwidth}.{_suffix(vector)}"
        n = _call(builder, name, integers, [args[1]])  # saturating: NaN is a defined number here, and stays NaN in x
        half = builder.ashr(n, integer(1))
        result = args[0]
        for power in (half, builder.sub(n, half)):
            factor = builder.shl(builder.add(power, integer(bias)), integer(fraction))
            result = builder.fmul(result, builder.bitcast(factor, vector.ir))
        return result

    return vector(vector, vector), codegen


@intrinsic
def _fraction(typingctx: Any, x: Any) -> Any:
    """(m, n) with x = m * 2^n and sqrt(1/2) <= m < sqrt(2), for normal positive x."""
    vector = _vector_of(x)
    integers, fraction, _ = _layout(vector)
    pair = types.UniTuple(vector, 2)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def integer(value: int) -> Any:
            return ir.Constant(integers, [value] * vector.lanes)

        # Shifted so that the exponent field changes at sqrt(1/2), whose bits these are.
        root = 0x3F3504F3 if vector.element == types.float32 else 0x3FE6A09E667F3BCD
        bits = builder.bitcast(args[0], integers)
        shifted = builder.sub(bits, integer(root))
        n = builder.ashr(shifted, integer(fraction))
        m = builder.bitcast(builder.sub(bits, builder.shl(n, integer(fraction))), vector.ir)
        return context.make_tuple(builder, pair, [m, builder.sitofp(n, vector.ir)])

    return pair(vector), codegen


# log 2 in two parts, the first so short that its product with an exponent is exact.
_LOG2 = {
    types.float32: (float.fromhex("0x1.62E4p-1"), math.log(2) - float.fromhex("0x1.62E4p-1")),
    types.float64: (float.fromhex("0x1.62E42FEFA38p-1"), float.fromhex("0x1.EF35793C7673p-45")),
}
# Arguments beyond which the result is 0 or infinity, and the smallest normal number.
_RANGE = {
    types.float32: (-104.0, 89.0, 2.0**-126),
    types.float64: (-746.0, 710.0, 2.0**-1022),
}


def exp(x):
    """e^x within 1 unit in the last place (2 on a CPU without FMA), subnormal results included; NaN gives NaN.

    Measured: 0.94 units over every float32 in [-104, 0], 0.86 over 1.5 million float64 of the whole range.
    """
    raise RuntimeError("simd works inside @njit functions only")


@overload(exp, inline="always")
def _exp_overload(x):
    high, low = _LOG2[x.element]
    least, most, _ = _RANGE[x.element]
    log2e = 1 / math.log(2)

    def implementation(x):
        bounded = minimum(maximum(x, broadcast(x, least)), broadcast(x, most))
        n = _round(mul(bounded, broadcast(x, log2e)))
        r = fma(n, broadcast(x, -low), fma(n, broadcast(x, -high), bounded))
        return _scale(_exp_series(r), n)

    return implementation


def log(x):
    """Natural logarithm within 2 units in the last place; -infinity at 0, NaN below.

    Measured: 1.8 units over 2.6 million float32, 1.7 over as many float64, half of them near 1.
    """
    raise RuntimeError("simd works inside @njit functions only")


@overload(log, inline="always")
def _log_overload(x):
    high, low = _LOG2[x.element]
    smallest = _RANGE[x.element][2]
    up = 24.0 if x.element == types.float32 else 53.0
    infinity = math.inf

    def implementation(x):
        subnormal = greater(broadcast(x, smallest), x)
        m, n = _fraction(select(subnormal, mul(x, broadcast(x, 2.0**up)), x))
        n = select(subnormal, sub(n, broadcast(x, up)), n)
        one = broadcast(x, 1.0)
        f = sub(m, one)
        s = div(f, add(m, one))
        # log m = 2 artanh(s); 2 s = f - s f exactly enough, which keeps the last bits of f
        z = mul(s, s)
        tail = mul(add(s, s), sub(_log_series(z), one))
        small = add(tail, fma(n, broadcast(x, low), sub(zeros(x), mul(s, f))))
        result = add(fma(n, broadcast(x, high), f), small)
        result = select(greater(broadcast(x, infinity), x), result, x)  # infinity and NaN stay
        result = select(greater(x, zeros(x)), result, broadcast(x, -infinity))
        result = select(greater(zeros(x), x), broadcast(x, math.nan), result)
        return select(greater(x, broadcast(x, -infinity)), result, add(x, broadcast(x, math.nan)))

    return implementation


# -- tiles ---------------------------------------------------------------------------------------------------------


@intrinsic
def tile_zeros(typingctx: Any, like: Any, rows: Any, vectors: Any) -> Any:
    """A tile of ``rows`` x ``vectors`` zero vectors; both are compile-time constants."""
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(vectors, types.IntegerLiteral)):
        raise TypingError("the size of a tile must be a compile-time constant")
    tile = Tile(_vector_of(like), rows.literal_value, vectors.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(tile), None)

    return tile(like, rows, vectors), codegen


@intrinsic
def tile_fma(typingctx: Any, tile: Any, A: Any, a: Any, a_stride: Any, B: Any, b: Any) -> Any:
    """tile[r, v] += A[a + r * a_stride] * B[b + v * lanes : ... + lanes]: one step of a rank-1 update."""
    return _tile_fma(tile, A, B, None)


@intrinsic
def tile_fma_masked(typingctx: Any, tile: Any, A: Any, a: Any, a_stride: Any, B: Any, b: Any, n: Any) -> Any:
    """``tile_fma`` with only the first n columns of B, zero in the others."""
    return _tile_fma(tile, A, B, types.intp)


def _tile_fma(tile: Any, A: Any, B: Any, n: Any) -> Any:
    if not isinstance(tile, Tile):
        raise TypingError(f"expected a tile, not {tile}")
    _readable(A)
    _readable(B)
    vector = tile.vector

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        acc, array_a, a, a_stride, array_b, b = args[:6]
        row_b = []
        for v in range(tile.vectors):
            offset = builder.add(b, ir.Constant(b.type, v * vector.lanes))
            if n is None:
                row_b.append(_load(context, builder, B, array_b, offset, vector))
            else:
                row_b.append(_masked_load(context, builder, B, array_b, offset, args[6], vector, v * vector.lanes))
        for r in range(tile.rows):
            offset = builder.add(a, builder.mul(a_stride, ir.Constant(a.type, r)))
            scalar = builder.load(_pointer(context, builder, A, array_a, offset, vector.ir.element))
            x = _splat(builder, vector.ir, scalar)
            for v in range(tile.vectors):
                k = r * tile.vectors + v
                acc = builder.insert_value(acc, _fma(builder, vector, x, row_b[v], builder.extract_value(acc, k)), k)
        return acc

    args = (tile, A, types.intp, types.intp, B, types.intp)
    return tile(*(args if n is None else (*args, n))), codegen


@intrinsic
def tile_axpy(typingctx: Any, tile: Any, x: Any, B: Any, b: Any, n: Any) -> Any:
    """tile[0, v] += x * B[b + v * lanes : ...] for a scalar x; only the first n columns."""
    if not (isinstance(tile, Tile) and tile.rows == 1):
        raise TypingError(f"expected a tile of one row, not {tile}")
    _readable(B)
    vector = tile.vector

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        acc, x, array_b, b, n = args
        factor = _splat(builder, vector.ir, x)
        for v in range(tile.vectors):
            offset = builder.add(b, ir.Constant(b.type, v * vector.lanes))
            row = _masked_load(context, builder, B, array_b, offset, n, vector, v * vector.lanes)
            acc = builder.insert_value(acc, _fma(builder, vector, factor, row, builder.extract_value(acc, v)), v)
        return acc

    return tile(tile, vector.element, B, types.intp, types.intp), codegen


@intrinsic
def tile_load(typingctx: Any, C: Any, c: Any, c_stride: Any, rows: Any, vectors: Any, n: Any) -> Any:
    """A tile from C[c + r * c_stride + v * lanes : ...]; only the first n columns, the others zero."""
    if not (isinstance(rows, types.IntegerLiteral) and isinstance(vectors, types.IntegerLiteral)):
        raise TypingError("the size of a tile must be a compile-time constant")
    _readable(C)
    tile = Tile(_vector_of(C), rows.literal_value, vectors.literal_value)
    vector = tile.vector

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_c, c, c_stride, _, _, n = args
        acc = ir.Constant(context.get_value_type(tile), ir.Undefined)
        for r in range(tile.rows):
            row = builder.add(c, builder.mul(c_stride, ir.Constant(c.type, r)))
            for v in range(tile.vectors):
                offset = builder.add(row, ir.Constant(c.type, v * vector.lanes))
                value = _masked_load(context, builder, C, array_c, offset, n, vector, v * vector.lanes)
                acc = builder.insert_value(acc, value, r * tile.vectors + v)
        return acc

    return tile(C, types.intp, types.intp, rows, vectors, types.intp), codegen


@intrinsic
def tile_store(typingctx: Any, C: Any, c: Any, c_stride: Any, tile: Any, n: Any, skip: Any) -> Any:
    """C[c + r * c_stride + v * lanes : ...] = tile[r, v], r >= skip; only the first n columns."""
    _writable(C)
    vector = tile.vector

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_c, c, c_stride, acc, n, skip = args
        for r in range(tile.rows):
            row = builder.add(c, builder.mul(c_stride, ir.Constant(c.type, r)))
            with builder.if_then(builder.icmp_signed("<=", skip, ir.Constant(skip.type, r))):
                for v in range(tile.vectors):
                    offset = builder.add(row, ir.Constant(c.type, v * vector.lanes))
                    value = builder.extract_value(acc, r * tile.vectors + v)
                    _masked_store(context, builder, C, array_c, offset, value, n, vector, v * vector.lanes)
        return context.get_dummy_value()

    return types.void(C, types.intp, types.intp, tile, types.intp, types.intp), codegen


def _row_load(context: Any, builder: Any, tile: Tile, array_type: Any, array: Any, i: Any, n: Any) -> Any:
    row = ir.Constant(context.get_value_type(tile), ir.Undefined)
    for v in range(tile.vectors):
        first = v * tile.vector.lanes
        offset = builder.add(i, ir.Constant(i.type, first))
        value = _masked_load(context, builder, array_type, array, offset, n, tile.vector, first)
        row = builder.insert_value(row, value, v)
    return row


@intrinsic
def tile_row(typingctx: Any, like: Any, array: Any, i: Any, n: Any) -> Any:
    """A tile of one row with as many vectors as ``like`` has: array[i : i + n], and zeros behind."""
    _readable(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _row_load(context, builder, like, array, *args[1:])

    return like(like, array, types.intp, types.intp), codegen


@intrinsic
def tile_rows(typingctx: Any, like: Any, arrays: Any, i: Any, n: Any) -> Any:
    """``tile_row`` of each of a tuple of arrays: a tuple."""
    for array in arrays:
        _readable(array)
    result = types.UniTuple(like, len(arrays))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sources = [builder.extract_value(args[1], k) for k in range(len(arrays))]
        rows = [_row_load(context, builder, like, *pair, *args[2:]) for pair in zip(arrays, sources)]
        return context.make_tuple(builder, result, rows)

    return result(like, arrays, types.intp, types.intp), codegen


@intrinsic
def tile_store_each(typingctx: Any, arrays: Any, i: Any, tiles: Any, n: Any) -> Any:
    """array[i : i + n] = tile, for each of a tuple of arrays and its like in one of tiles of one row."""
    for array in arrays:
        _writable(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for k, (array, tile) in enumerate(zip(arrays, tiles)):
            for v in range(tile.vectors):
                first = v * tile.vector.lanes
                offset = builder.add(args[1], ir.Constant(args[1].type, first))
                target, row = (builder.extract_value(args[which], k) for which in (0, 2))
                value = builder.extract_value(row, v)
                _masked_store(context, builder, array, target, offset, value, args[3], tile.vector, first)
        return context.get_dummy_value()

    return types.void(arrays, types.intp, tiles, types.intp), codegen


@intrinsic
def tile_sums(typingctx: Any, tile: Any) -> Any:
    """A vector of the sums of the lanes of each row of a tile of one vector a row, added as ``reduce_add`` does; rest zero.

    The rows are a power of two, at most the lanes. Two rows at a time are folded into one vector, then two of those.
    """
    if not (isinstance(tile, Tile) and tile.vectors == 1 and tile.vector.lanes % tile.rows == 0):
        raise TypingError(
            f"expected a tile of one vector a row, its rows a power of two and at most the lanes, not {tile}"
        )
    vector = tile.vector

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pick = ir.VectorType(_I32, vector.lanes)
        rows = [builder.extract_value(args[0], r) for r in range(tile.rows)]
        length = vector.lanes  # of what is left of a row
        while length > 1:
            length //= 2
            pairs = list(zip(rows[::2], rows[1::2])) or [(rows[0], ir.Constant(vector.ir, None))]
            # The lower halves of what is left of both's rows, and the upper ones.
            low = [start + k for start in range(0, 2 * vector.lanes, 2 * length) for k in range(length)]
            masks = ir.Constant(pick, low), ir.Constant(pick, [k + length for k in low])
            rows = [builder.fadd(*(builder.shuffle_vector(x, y, mask) for mask in masks)) for x, y in pairs]
        return rows[0]

    return vector(tile), codegen


# -- transposition -------------------------------------------------------------------------------------------------


@intrinsic
def transpose(
    typingctx: Any, A: Any, a: Any, a_stride: Any, rows: Any, columns: Any, B: Any, b: Any, b_stride: Any
) -> Any:
    """B[b + c * b_stride + r] = A[a + r * a_stride + c] for r < rows and c < columns, both at most the lanes.

    A block of lanes x lanes goes through registers: log2(lanes) rounds of exchanges between pairs of rows.
    """
    _readable(A)
    _writable(B)
    vector = _vector_of(A)
    if _vector_of(B) != vector:
        raise TypingError(f"cannot transpose {A} into {B}")
    lanes = vector.lanes

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_a, a, a_stride, rows, columns, array_b, b, b_stride = args

        def offset(base: Any, stride: Any, k: int) -> Any:
            return builder.add(base, builder.mul(stride, ir.Constant(base.type, k)))

        def lengths(count: Any, length: Any) -> list[Any]:
            """``length`` for the first ``count`` of the lines and 0, touching nothing, for the others."""
            none = ir.Constant(length.type, 0)
            inside = [builder.icmp_signed(">", count, ir.Constant(count.type, k)) for k in range(lanes)]
            return [builder.select(flag, length, none) for flag in inside]

        block = [
            _masked_load(context, builder, A, array_a, offset(a, a_stride, r), n, vector)
            for r, n in enumerate(lengths(rows, columns))
        ]
        step = 1
        while step < lanes:
            # Exchange, between rows r and r + step, the lanes that differ from the row in this bit.
            low = [k if not k & step else lanes + k - step for k in range(lanes)]
            high = [k + step if not k & step else lanes + k for k in range(lanes)]
            masks = [ir.Constant(ir.VectorType(_I32, lanes), mask) for mask in (low, high)]
            for r in range(lanes):
                if not r & step:
                    pair = block[r], block[r + step]
                    block[r], block[r + step] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            step *= 2
        for c, n in enumerate(lengths(columns, rows)):
            _masked_store(context, builder, B, array_b, offset(b, b_stride, c), block[c], n, vector)
        return context.get_dummy_value()

    return types.void(A, types.intp, types.intp, types.intp, types.intp, B, types.intp, types.intp), codegen
