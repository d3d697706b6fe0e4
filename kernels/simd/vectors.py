"""Vectors and masks: loads and stores, arithmetic, comparisons, conversions, sums."""

from __future__ import annotations

import builtins
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin

from ..jit.dependencies import vocabulary
from ..jit.numba_private import ARM, AbstractTemplate, TypingError, definition, infer_global, place_of_typing
from .codegen import (
    FEATURES,
    I1,
    I32,
    Mask,
    Tile,
    Vector,
    call_llvm,
    combined,
    constant,
    emit_fma,
    emit_load,
    emit_store,
    intrinsic,
    lanewise,
    leading_mask,
    named,
    pointer_to,
    real_vector_of,
    require_readable,
    require_writable,
    splat,
    stored,
    suffix,
    vector_of,
)

vocabulary()


@intrinsic
def lanes(typingctx: Any, like: Any) -> Any:
    """Lanes in a vector of ``like``'s element type: a compile-time constant."""
    count = vector_of(like).lanes
    return types.intp(like), lambda context, builder, like: ir.Constant(ir.IntType(64), count)


@intrinsic
def zeros(typingctx: Any, like: Any) -> Any:
    """A vector of zeros of ``like``'s element type."""
    vector = vector_of(like)
    return vector(like), lambda context, builder, like: ir.Constant(vector.ir, None)


@intrinsic
def broadcast(typingctx: Any, like: Any, scalar: Any) -> Any:
    """A vector with ``scalar``, converted to ``like``'s element type, in every lane."""
    vector = vector_of(like)
    if not _is_number(scalar):
        raise TypingError(f"only a number can be broadcast, not {scalar}")
    number = types.unliteral(scalar)

    def emit(context: Any, builder: Any, like: Any, value: Any) -> Any:
        return splat(builder, vector.ir, context.cast(builder, value, number, vector.element))

    return vector(like, number), emit


def _is_number(kind: Any) -> bool:
    return isinstance(kind, (types.Number, types.Boolean)) and not isinstance(kind, types.Complex)


@intrinsic
def iota(typingctx: Any, like: Any) -> Any:
    """0, 1, 2, ... in the lanes: with an offset, what ``gather`` and ``scatter`` take."""
    vector = vector_of(like)
    return vector(like), lambda context, builder, like: ir.Constant(vector.ir, list(range(vector.lanes)))


@intrinsic
def lane(typingctx: Any, x: Any, k: Any) -> Any:
    """The number in lane k of a vector, -lanes <= k < lanes, from the last if negative; also written x[k]."""
    if not (isinstance(x, Vector) and isinstance(k, types.Integer)):
        raise TypingError("it takes a vector and an integer")

    def emit(context: Any, builder: Any, value: Any, k: Any) -> Any:
        negative = builder.icmp_signed("<", k, k.type(0))
        return builder.extract_element(value, builder.select(negative, builder.add(k, k.type(x.lanes)), k))

    return x.element(x, types.intp), emit


@intrinsic
def broadcast_each(typingctx: Any, like: Any, scalars: Any) -> Any:
    """A tuple of vectors: ``broadcast`` of each of a tuple of numbers."""
    vector = vector_of(like)
    if not (isinstance(scalars, types.BaseTuple) and all(map(_is_number, scalars))):
        raise TypingError(f"it takes a tuple of numbers, not {scalars}")
    numbers, result = types.unliteral(scalars), types.UniTuple(vector, len(scalars))

    def emit(context: Any, builder: Any, like: Any, values: Any) -> Any:
        each = [builder.extract_value(values, k) for k in range(len(numbers))]
        each = [context.cast(builder, value, kind, vector.element) for value, kind in zip(each, numbers)]
        splats = [stored(builder, splat(builder, vector.ir, value)) for value in each]
        return context.make_tuple(builder, result, splats)

    return result(like, numbers), emit


@intrinsic
def load(typingctx: Any, array: Any, i: Any) -> Any:
    """array[i : i + lanes]."""
    return _load(array)


@intrinsic
def store(typingctx: Any, array: Any, i: Any, x: Any) -> Any:
    """array[i : i + lanes] = x. A read-only array is a typing error."""
    return _store(array, array)


@intrinsic
def load_masked(typingctx: Any, array: Any, i: Any, n: Any) -> Any:
    """array[i : i + n] in the first n lanes and zero in the others; memory past n is not touched."""
    return _load(array, few=(types.intp,))


@intrinsic
def store_masked(typingctx: Any, array: Any, i: Any, x: Any, n: Any) -> Any:
    """array[i : i + n] = x[:n]. A read-only array is a typing error."""
    return _store(array, array, few=(types.intp,))


def _load(array: Any, *like: Any, few: tuple[Any, ...] = ()) -> Any:
    """A load, converted to the type of ``like``, by default the array's; where lanes are ``few``, the first of them."""
    require_readable(array)
    vector, element = vector_of(like[0] if like else array), _number_type(array)

    def emit(context: Any, builder: Any, *args: Any) -> Any:
        memory, i, *n = args[len(like) :]
        kind = ir.VectorType(context.get_data_type(element), vector.lanes)
        value = emit_load(context, builder, array, memory, i, kind, *n)
        return _converted(builder, value, element, vector.element)

    return vector(*like, array, types.intp, *few), emit


def _store(array: Any, like: Any, few: tuple[Any, ...] = ()) -> Any:
    """A store of a vector of the type of ``like``, converted to the array's: of all lanes or of the first ``few``."""
    require_writable(array)
    vector, element = vector_of(like), _number_type(array)

    def emit(context: Any, builder: Any, memory: Any, i: Any, x: Any, *n: Any) -> None:
        emit_store(context, builder, array, memory, i, _converted(builder, x, vector.element, element), *n)

    return types.void(array, types.intp, vector, *few), emit


@intrinsic
def leading(typingctx: Any, like: Any, n: Any) -> Any:
    """The mask of the first n lanes."""
    count = vector_of(like).lanes
    return Mask(count)(like, types.intp), lambda context, builder, like, n: leading_mask(builder, count, n)


# -- conversions ---------------------------------------------------------------------------------------------------


def _number_type(array: Any) -> Any:
    """The element type of an array of numbers of any size, or of flags, which are taken as bytes."""
    require_readable(array)
    element = types.uint8 if array.dtype == types.boolean else array.dtype
    if element == types.float16:  # which Numba does not support
        raise TypingError("float16 comes as its bits: array.view(np.uint16), and from_float16 or to_float16")
    if not isinstance(element, (types.Integer, types.Float)):
        raise TypingError(f"it takes an array of integers or floats, not {array}")
    return element


def _converted(builder: Any, value: Any, source: Any, target: Any) -> Any:
    """Convert lanes to another element type: to floats by rounding to nearest, to integers towards zero, saturating."""
    count, width = value.type.count, target.bitwidth
    to = ir.VectorType(Vector(target).ir.element if target in _IN_LANES else ir.IntType(width), count)
    if value.type == to:
        return value
    if isinstance(source, types.Float):
        if isinstance(target, types.Float):
            return (builder.fpext if width > source.bitwidth else builder.fptrunc)(value, to)
        # Values out of range are replaced before and after: LLVM's saturating conversions go lane by lane.
        least, most = (-(1 << width - 1), (1 << width - 1) - 1) if target.signed else (0, (1 << width) - 1)
        low, above = (ir.Constant(value.type, [float(limit)] * count) for limit in (least, most + 1))
        too_large = builder.fcmp_ordered(">=", value, above)
        fits = builder.and_(builder.fcmp_ordered(">=", value, low), builder.not_(too_large))
        inside = builder.select(fits, value, low)
        result = (builder.fptosi if target.signed else builder.fptoui)(inside, to)
        result = builder.select(too_large, ir.Constant(to, [most] * count), result)
        return builder.select(builder.fcmp_unordered("uno", value, value), ir.Constant(to, None), result)
    if isinstance(target, types.Float):
        return (builder.sitofp if source.signed else builder.uitofp)(value, to)
    if width < source.bitwidth:
        return builder.trunc(value, to)
    return (builder.sext if source.signed else builder.zext)(value, to)


_IN_LANES = (types.float32, types.float64, types.int32, types.int64)


@intrinsic
def load_as(typingctx: Any, like: Any, array: Any, i: Any) -> Any:
    """array[i : i + lanes] of any integers, floats or flags, converted to ``like``'s element type.

    Floats round to the nearest, to integers towards zero (NaN is 0, and what is too large the largest). Integers that
    are too wide for integers lose their upper bits.
    """
    return _load(array, like)


@intrinsic
def load_as_masked(typingctx: Any, like: Any, array: Any, i: Any, n: Any) -> Any:
    """``load_as`` of array[i : i + n] in the first n lanes and zero in the others; memory past n is not touched."""
    return _load(array, like, few=(types.intp,))


@intrinsic
def store_as(typingctx: Any, array: Any, i: Any, x: Any) -> Any:
    """array[i : i + lanes] = x, converted to the array's type as by ``load_as``. Read-only arrays are typing errors."""
    return _store(array, x)


@intrinsic
def store_as_masked(typingctx: Any, array: Any, i: Any, x: Any, n: Any) -> Any:
    """``store_as`` of the first n lanes: array[i : i + n] = x[:n]."""
    return _store(array, x, few=(types.intp,))


def _of_one_length(like: Any, x: Any) -> tuple[Vector, Vector]:
    vector, source = vector_of(like), vector_of(x)
    if vector.lanes != source.lanes:
        raise TypingError(f"{source} has {source.lanes} lanes, and {vector} has {vector.lanes}")
    return vector, source


@intrinsic
def convert(typingctx: Any, like: Any, x: Any) -> Any:
    """x, a vector, in ``like``'s element type, which has as many lanes (float32 and int32, float64 and int64).

    Conversions are those of ``load_as``.
    """
    vector, source = _of_one_length(like, x)
    return vector(like, source), lambda context, builder, like, x: _converted(
        builder, x, source.element, vector.element
    )


@intrinsic
def bitcast(typingctx: Any, like: Any, x: Any) -> Any:
    """The bits of x, a vector, as lanes of ``like``'s element type, which has the same size: int32 of float32, ..."""
    vector, source = _of_one_length(like, x)
    return vector(like, source), lambda context, builder, like, x: builder.bitcast(x, vector.ir)


_HAS_HALF = ARM or "+f16c" in FEATURES or "+avx512f" in FEATURES
_SINGLE, _BITS = Vector(types.float32), Vector(types.int32)


def _bits(value: int) -> Any:
    return constant(_BITS, value)


def _from_half(builder: Any, bits: Any) -> Any:
    short = builder.trunc(bits, ir.VectorType(ir.IntType(16), _BITS.lanes))
    return builder.fpext(builder.bitcast(short, ir.VectorType(ir.HalfType(), _BITS.lanes)), _SINGLE.ir)


def _to_half(builder: Any, x: Any) -> Any:
    half = builder.fptrunc(x, ir.VectorType(ir.HalfType(), _BITS.lanes))
    return builder.zext(builder.bitcast(half, ir.VectorType(ir.IntType(16), _BITS.lanes)), _BITS.ir)


def _from_brain(builder: Any, bits: Any) -> Any:
    return builder.bitcast(builder.shl(bits, _bits(16)), _SINGLE.ir)


def _to_brain(builder: Any, x: Any) -> Any:
    bits, sixteen = builder.bitcast(x, _BITS.ir), _bits(16)
    odd = builder.and_(builder.lshr(bits, sixteen), _bits(1))
    rounded = builder.add(bits, builder.add(odd, _bits(0x7FFF)))
    nan = builder.or_(bits, _bits(1 << 22))
    return builder.lshr(builder.select(builder.fcmp_unordered("uno", x, x), nan, rounded), sixteen)


def _short_float(name: str, source: Vector, target: Vector, build: Callable[[Any, Any], Any], doc: str) -> Any:
    def implementation(typingctx: Any, x: Any) -> Any:
        if x != source:
            raise TypingError(f"it takes {source}")
        if build in (_from_half, _to_half) and not _HAS_HALF:
            raise TypingError("it needs a CPU that has float16: F16C, AVX-512 or ARM")
        return target(source), lambda context, builder, x: build(builder, x)

    return named(name, implementation, doc)


from_float16 = _short_float(
    "from_float16", _BITS, _SINGLE, _from_half,
    """The float32 that the lower 16 bits of each int32 lane are as a float16, exactly; where the CPU has it (F16C).

    To load: ``from_float16(load_as(np.int32, bits, i))``, bits = array.view(np.uint16).""",
)  # fmt: skip
to_float16 = _short_float(
    "to_float16", _SINGLE, _BITS, _to_half,
    """The bits, in int32 lanes, of the float16 nearest to each float32, ties to even; where the CPU has it (F16C).

    To store: ``store_as(bits, i, to_float16(x))``, bits = array.view(np.uint16).""",
)  # fmt: skip
from_bfloat16 = _short_float(
    "from_bfloat16", _BITS, _SINGLE, _from_brain, "``from_float16`` of bfloat16, the upper half of a float32."
)
to_bfloat16 = _short_float(
    "to_bfloat16", _SINGLE, _BITS, _to_brain, "``to_float16`` for bfloat16: nearest, ties to even, NaN stays NaN."
)


@intrinsic
def gather(typingctx: Any, array: Any, index: Any) -> Any:
    """array[index[k]] in lane k, of an int32 or int64 vector of as many lanes; the array is taken as flat."""
    return _gather(array, index, None)


@intrinsic
def gather_masked(typingctx: Any, array: Any, index: Any, mask: Any) -> Any:
    """``gather`` where the mask is set and zero elsewhere; memory is touched only where it is set."""
    return _gather(array, index, mask)


@intrinsic
def scatter(typingctx: Any, array: Any, index: Any, x: Any) -> Any:
    """array[index[k]] = x[k] for each lane k, in their order: of lanes with one index the last stays."""
    return _scatter(array, index, x, None)


@intrinsic
def scatter_masked(typingctx: Any, array: Any, index: Any, x: Any, mask: Any) -> Any:
    """``scatter`` of the lanes where the mask is set; memory is touched only where it is set."""
    return _scatter(array, index, x, mask)


def _places(array: Any, index: Any, mask: Any) -> tuple[Vector, Any]:
    """(the vector type of the elements, a function that builds LLVM's (addresses, alignment, mask) for an index)."""
    vector = vector_of(array)
    if not (isinstance(index, Vector) and not index.real and index.lanes == vector.lanes):
        raise TypingError(f"the index must be a vector of {vector.lanes} integers, not {index}")
    if mask not in (None, Mask(vector.lanes)):
        raise TypingError(f"the mask must have {vector.lanes} lanes, not be {mask}")

    def build(context: Any, builder: Any, memory: Any, indices: Any, chosen: Any = None) -> tuple[Any, Any, Any]:
        base = pointer_to(context, builder, array, memory, ir.Constant(ir.IntType(64), 0), vector.ir.element)
        pointers = splat(builder, ir.VectorType(base.type, vector.lanes), base)
        places = builder.gep(pointers, [indices], source_etype=vector.ir.element)
        every = ir.Constant(ir.VectorType(I1, vector.lanes), [1] * vector.lanes)
        return places, ir.Constant(I32, vector.element.bitwidth // 8), every if chosen is None else chosen

    return vector, build


def _gather(array: Any, index: Any, mask: Any) -> Any:
    require_readable(array)
    vector, places = _places(array, index, mask)

    def emit(context: Any, builder: Any, memory: Any, indices: Any, *chosen: Any) -> Any:
        name = f"llvm.masked.gather.{suffix(vector)}.v{vector.lanes}p0"
        found = places(context, builder, memory, indices, *chosen)
        return call_llvm(builder, name, vector.ir, [*found, constant(vector, 0)])

    return (vector(array, index, mask) if mask else vector(array, index)), emit


def _scatter(array: Any, index: Any, x: Any, mask: Any) -> Any:
    require_writable(array)
    vector, places = _places(array, index, mask)

    def emit(context: Any, builder: Any, memory: Any, indices: Any, x: Any, *chosen: Any) -> None:
        name = f"llvm.masked.scatter.{suffix(vector)}.v{vector.lanes}p0"
        call_llvm(builder, name, ir.VoidType(), [x, *places(context, builder, memory, indices, *chosen)])

    return (types.void(array, index, vector, mask) if mask else types.void(array, index, vector)), emit


# -- arithmetic ----------------------------------------------------------------------------------------------------


def _lanewise(name: str, real: Any, integer: Any, doc: str, arity: int = 2) -> Any:
    """A function of vectors, tiles and numbers from code for a vector of floats, and of integers (None: undefined)."""

    def typed(*kinds: Any) -> Any:
        vector = vector_of(combined(kinds)[0])
        build = real if vector.real else integer
        if build is None:
            raise TypingError(f"it is not defined for {vector.element}")
        return lanewise(kinds, build)

    def unary(typingctx: Any, x: Any) -> Any:
        return typed(x)

    def binary(typingctx: Any, x: Any, y: Any) -> Any:
        return typed(x, y)

    return named(name, unary if arity == 1 else binary, doc)


def _of_builder(method: str) -> Callable[..., Any]:
    return lambda builder, vector, *args: getattr(builder, method)(*args)


def _of_llvm(name: str) -> Callable[..., Any]:
    return lambda builder, vector, *args: call_llvm(builder, f"llvm.{name}.{suffix(vector)}", vector.ir, list(args))


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z, rounded once (twice on a CPU without FMA)."""
    real_vector_of(combined((x, y, z))[0])
    return lanewise((x, y, z), emit_fma)


_WRITTEN = "also written with the operator."
add = _lanewise("add", _of_builder("fadd"), _of_builder("add"), f"x + y; {_WRITTEN}")
sub = _lanewise("sub", _of_builder("fsub"), _of_builder("sub"), f"x - y; {_WRITTEN}")
mul = _lanewise("mul", _of_builder("fmul"), _of_builder("mul"), f"x * y; {_WRITTEN}")
div = _lanewise("div", _of_builder("fdiv"), None, f"x / y of floats, correctly rounded; {_WRITTEN}")
negative = _lanewise(
    "negative", _of_builder("fneg"), _of_builder("neg"), f"-x: of floats the sign alone changes; {_WRITTEN}", 1
)


_itself = lambda builder, vector, x: x  # noqa: E731
_positive = _lanewise("positive", _itself, _itself, f"x itself; {_WRITTEN}", 1)
shift_left = _lanewise("shift_left", None, _of_builder("shl"), f"x << y of integers, 0 <= y < their bits; {_WRITTEN}")
shift_right = _lanewise(
    "shift_right", None, _of_builder("ashr"), f"x >> y of integers, 0 <= y < their bits, keeping the sign; {_WRITTEN}"
)
reciprocal = _lanewise(
    "reciprocal", lambda builder, vector, x: builder.fdiv(constant(vector, 1.0), x), None,
    "1 / x, correctly rounded; infinity of its sign at 0.", 1,
)  # fmt: skip
sqrt = _lanewise("sqrt", _of_llvm("sqrt"), None, "The square root, correctly rounded; NaN below zero.", 1)
floor = _lanewise("floor", _of_llvm("floor"), None, "The largest integer at most x, as a float, exactly.", 1)
ceil = _lanewise("ceil", _of_llvm("ceil"), None, "The smallest integer at least x, as a float, exactly.", 1)
nearest = _lanewise(
    "round", _of_llvm("rint"), None,
    "np.rint(x): the nearest integer, ties to even, as a float; also written round(x).", 1,
)  # fmt: skip


absolute = _lanewise(
    "abs", _of_llvm("fabs"),
    lambda builder, vector, x: builder.select(builder.icmp_signed("<", x, constant(vector, 0)), builder.neg(x), x),
    "The magnitude, exactly; also written abs(x). NaN stays.", 1,
)  # fmt: skip


def _signed(builder: Any, vector: Vector, x: Any) -> Any:
    one, zero = constant(vector, 1.0), ir.Constant(vector.ir, None)
    positive = builder.select(builder.fcmp_ordered(">", x, zero), one, zero)
    signed = builder.select(builder.fcmp_ordered("<", x, zero), builder.fneg(one), positive)
    return builder.select(builder.fcmp_unordered("uno", x, x), x, signed)


sign = _lanewise("sign", _signed, None, "np.sign(x): 1, 0 or -1; NaN stays.", 1)


def _extreme(comparison: str) -> Callable[..., Any]:
    """As in NumPy, NaN in either gives NaN: the unordered comparison selects a NaN x, the second select a NaN y."""

    def build(builder: Any, vector: Vector, x: Any, y: Any) -> Any:
        picked = builder.select(builder.fcmp_unordered(comparison, x, y), x, y)
        return builder.select(builder.fcmp_unordered("uno", y, y), y, picked)

    return build


def _extreme_integer(comparison: str) -> Callable[..., Any]:
    return lambda builder, vector, x, y: builder.select(builder.icmp_signed(comparison, x, y), x, y)


_OF_NAN = "NaN in either gives NaN; of 0 and -0 the one or the other."
maximum = _lanewise("maximum", _extreme(">"), _extreme_integer(">"), f"np.maximum(x, y): {_OF_NAN}")
minimum = _lanewise("minimum", _extreme("<"), _extreme_integer("<"), f"np.minimum(x, y): {_OF_NAN}")


# -- masks ---------------------------------------------------------------------------------------------------------


def _comparison(name: str, symbol: str) -> Any:
    def build(builder: Any, vector: Vector, x: Any, y: Any) -> Any:
        if not vector.real:
            return builder.icmp_signed(symbol, x, y)
        return (builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered)(symbol, x, y)

    def implementation(typingctx: Any, x: Any, y: Any) -> Any:
        if isinstance(combined((x, y))[0], Tile):
            raise TypingError("it compares vectors, not tiles")
        return lanewise((x, y), build, lambda vector: Mask(vector.lanes))

    of_nan = "true" if symbol == "!=" else "false"
    doc = f"The mask of lanes where x {symbol} y; {of_nan} where either is NaN. Also written with the operator."
    return named(name, implementation, doc)


greater = _comparison("greater", ">")
at_least = _comparison("at_least", ">=")
less = _comparison("less", "<")
at_most = _comparison("at_most", "<=")
equal = _comparison("equal", "==")
not_equal = _comparison("not_equal", "!=")


def _bitwise(name: str, method: str, doc: str) -> Any:
    def implementation(typingctx: Any, x: Any, y: Any) -> Any:
        if isinstance(x, Mask) and x == y:
            return x(x, y), lambda context, builder, x, y: getattr(builder, method)(x, y)
        if isinstance(combined((x, y))[0], Vector) and not vector_of(combined((x, y))[0]).real:
            return lanewise((x, y), _of_builder(method))
        raise TypingError("it takes two masks of as many lanes, or vectors of integers")

    return named(name, implementation, f"{doc}, of masks or of integers; {_WRITTEN}")


both = _bitwise("both", "and_", "x & y")
either = _bitwise("either", "or_", "x | y")
differ = _bitwise("differ", "xor", "x ^ y")


@intrinsic
def inverse(typingctx: Any, x: Any) -> Any:
    """~x, of a mask or of integers; also written with the operator."""
    if not (isinstance(x, Mask) or (isinstance(x, Vector) and not x.real)):
        raise TypingError("it takes a mask or a vector of integers")
    return x(x), lambda context, builder, x: builder.not_(x)


def _of_mask(name: str, doc: str, returns: Any, build: Callable[[Any, Any, Any], Any]) -> Any:
    def implementation(typingctx: Any, mask: Any) -> Any:
        if not isinstance(mask, Mask):
            raise TypingError("it takes a mask")
        bits = ir.IntType(mask.lanes)
        return returns(mask), lambda context, builder, x: build(builder, mask, builder.bitcast(x, bits))

    return named(name, implementation, doc)


def _count(builder: Any, mask: Mask, bits: Any) -> Any:
    return builder.zext(call_llvm(builder, f"llvm.ctpop.i{mask.lanes}", bits.type, [bits]), ir.IntType(64))


any_lane = _of_mask(
    "any", "Whether the mask is set in any lane.", types.boolean,
    lambda builder, mask, bits: builder.icmp_unsigned("!=", bits, bits.type(0)),
)  # fmt: skip
all_lanes = _of_mask(
    "all", "Whether the mask is set in every lane.", types.boolean,
    lambda builder, mask, bits: builder.icmp_unsigned("==", bits, bits.type(2**mask.lanes - 1)),
)  # fmt: skip
count = _of_mask("count", "The number of lanes in which the mask is set.", types.intp, _count)


@intrinsic
def select(typingctx: Any, mask: Any, x: Any, y: Any) -> Any:
    """x where the mask is set, else y; one of them may be a number."""
    vector, taken = combined((x, y))
    if not isinstance(vector, Vector) or mask != Mask(vector.lanes):
        raise TypingError("it takes a mask and vectors of as many lanes")

    def emit(context: Any, builder: Any, chosen: Any, *args: Any) -> Any:
        x, y = (splat(builder, vector.ir, a) if kind == vector.element else a for a, kind in zip(args, taken))
        return builder.select(chosen, x, y)

    return vector(mask, *taken), emit


# -- all lanes -----------------------------------------------------------------------------------------------------


def _reduce(name: str, function: Any, doc: str) -> Any:
    """Fold the upper half onto the lower until one lane is left: log2(lanes) operations in a fixed order."""

    def implementation(typingctx: Any, x: Any) -> Any:
        if not isinstance(x, Vector):
            raise TypingError("it takes a vector")
        vector = x

        def emit(context: Any, builder: Any, value: Any) -> Any:
            build, width = function[0 if vector.real else 1], vector.lanes
            while width > 1:
                half = width // 2
                undefined = ir.Constant(value.type, ir.Undefined)
                pick = ir.VectorType(I32, half)
                low = builder.shuffle_vector(value, undefined, ir.Constant(pick, list(range(half))))
                high = builder.shuffle_vector(value, undefined, ir.Constant(pick, list(range(half, width))))
                value, width = build(builder, vector, low, high), half
            return builder.extract_element(value, ir.Constant(I32, 0))

        return vector.element(vector), emit

    return named(name, implementation, doc)


reduce_add = _reduce("reduce_add", (_of_builder("fadd"), _of_builder("add")), "Sum of the lanes, by halves.")
reduce_max = _reduce("reduce_max", (_extreme(">"), _extreme_integer(">")), "Largest lane; NaN if any lane is NaN.")
reduce_min = _reduce("reduce_min", (_extreme("<"), _extreme_integer("<")), "Smallest lane; NaN if any lane is NaN.")


# -- operators -----------------------------------------------------------------------------------------------------

_KINDS = (Vector, Mask, Tile)


def _operator(symbol: Callable[..., Any], function: Any, arity: int = 2) -> None:
    """Let ``symbol`` call ``function`` if an operand is a vector, mask or tile; a text says what to write instead.

    As an overload it would be compiled for each pair of types and inlined at each use: an eighth of the compile time.
    An undefined operator is an error of one line, not Numba's list of all operators of that name.
    """

    class Template(AbstractTemplate):
        key = symbol

        def generic(self, args: Any, kws: Any) -> Any:
            operands = args[:1] if symbol is operator.setitem else args  # a container may take a vector as an item
            if len(args) != arity or not builtins.any(isinstance(kind, _KINDS) for kind in operands):
                return None
            if isinstance(function, str):
                kinds, name = ", ".join(map(str, args)), symbol.__name__
                lacks = f"simd has no operator {name} for" if symbol not in _WRITE else f"{name} does not take"
                raise TypeError(f"{place_of_typing()}{lacks} {kinds}; {function}")
            try:
                return function.typed(self.context, *args)[0]
            except TypingError as error:
                raise TypeError(f"{place_of_typing()}operator {symbol.__name__}: {error}") from None

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return definition(function)(context.typing_context, *signature.args)[1](context, builder, signature, args)

    # Called, not used as a decorator, which would read the symbol's module: functions of NumPy 1.24 have none.
    infer_global(symbol, types.Function(Template))
    if not isinstance(function, str):
        for kinds in itertools.product((*_KINDS, types.Number), repeat=arity):
            if builtins.any(kind is not types.Number for kind in kinds):
                lower_builtin(symbol, *kinds)(lower)


_BINARY: dict[str, Any] = {
    "add": add, "sub": sub, "mul": mul, "truediv": div, "and_": both, "or_": either, "xor": differ,
    "lshift": shift_left, "rshift": shift_right,
    "floordiv": "of floats write simd.floor(x / y), of integers x >> k for a y of 2**k",
    "mod": "of floats write x - simd.floor(x / y) * y, of integers x & (y - 1) for a y of 2**k",
    "pow": "write simd.pow(x, y)", "matmul": "tiles multiply matrices",
}  # fmt: skip
_COMPARISONS = {"gt": greater, "ge": at_least, "lt": less, "le": at_most, "eq": equal, "ne": not_equal}
_UNARY = {
    "neg": negative, "pos": _positive, "invert": inverse, "not_": "write ~mask, or simd.any(mask)",
}  # fmt: skip
for _name, _function in (_BINARY | _COMPARISONS).items():
    _operator(getattr(operator, _name), _function)
    if _name in _BINARY:
        _operator(getattr(operator, f"i{_name.rstrip('_')}"), _function)
for _name, _function in _UNARY.items():
    _operator(getattr(operator, _name), _function, 1)
_operator(operator.getitem, lane)
_operator(abs, absolute, 1)
_operator(round, nearest, 1)
_operator(bool, "write simd.any(mask) or simd.all(mask); of two masks & and |, not and and or", 1)
_operator(operator.setitem, "lanes stay as they are: write simd.select(simd.iota(x) == k, value, x)", 3)
_WRITE = {
    len: "lanes(x)", sum: "reduce_add(x)", min: "minimum(x, y)", max: "maximum(x, y)", np.sum: "reduce_add(x)",
    np.min: "reduce_min(x)", np.max: "reduce_max(x)", np.minimum: "minimum(x, y)", np.maximum: "maximum(x, y)",
    np.where: "select(mask, x, y)", np.abs: "abs(x)", math.fabs: "abs(x)", np.rint: "round(x)", np.round: "round(x)",
    np.sign: "sign(x)", np.power: "pow(x, y)", math.pow: "pow(x, y)", math.erf: "erf(x)",
    np.reciprocal: "reciprocal(x)",
    **{getattr(module, name): f"{name}(x)" for module in (np, math) for name in
       ("exp", "expm1", "log", "log1p", "tanh", "sqrt", "floor", "ceil")},
}  # fmt: skip
for _symbol, _call in _WRITE.items():
    _operator(_symbol, f"write simd.{_call}", _call.count(",") + 1)
