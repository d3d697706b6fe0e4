"""Vectors and masks: loads and stores, arithmetic, comparisons, sums."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import lower_builtin

from ..jit.dependencies import vocabulary
from ..jit.numba_private import AbstractTemplate, TypingError, definition, infer_global
from .codegen import (
    I32,
    Mask,
    Tile,
    Vector,
    call_llvm,
    emit_fma,
    emit_load,
    emit_masked_load,
    emit_masked_store,
    emit_store,
    intrinsic,
    lanewise,
    leading_mask,
    named,
    pointer_to,
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
    return types.intp(like), lambda context, builder, signature, args: ir.Constant(ir.IntType(64), count)


@intrinsic
def zeros(typingctx: Any, like: Any) -> Any:
    """A vector of zeros of ``like``'s element type."""
    vector = vector_of(like)
    return vector(like), lambda context, builder, signature, args: ir.Constant(vector.ir, None)


@intrinsic
def broadcast(typingctx: Any, like: Any, scalar: Any) -> Any:
    """A vector with ``scalar``, converted to ``like``'s element type, in every lane."""
    vector = vector_of(like)
    if not isinstance(scalar, (types.Number, types.Boolean)):
        raise TypingError(f"only a number can be broadcast, not {scalar}")
    return vector(like, vector.element), lambda context, builder, signature, args: splat(builder, vector.ir, args[1])


@intrinsic
def broadcast_each(typingctx: Any, like: Any, scalars: Any) -> Any:
    """A tuple of vectors: ``broadcast`` of each of a tuple of numbers of one type."""
    vector = vector_of(like)
    result = types.UniTuple(vector, len(scalars))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        numbers = [builder.extract_value(args[1], k) for k in range(len(scalars))]
        numbers = [context.cast(builder, number, scalars.dtype, vector.element) for number in numbers]
        splats = [stored(builder, splat(builder, vector.ir, number)) for number in numbers]
        return context.make_tuple(builder, result, splats)

    return result(like, scalars), codegen


@intrinsic
def load(typingctx: Any, array: Any, i: Any) -> Any:
    """array[i : i + lanes]."""
    require_readable(array)
    vector = vector_of(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit_load(context, builder, signature.args[0], args[0], args[1], vector)

    return vector(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, i: Any, x: Any) -> Any:
    """array[i : i + lanes] = x. A read-only array is a typing error."""
    require_writable(array)
    vector = vector_of(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_store(context, builder, signature.args[0], args[0], args[1], args[2], vector)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


@intrinsic
def load_uint8(typingctx: Any, like: Any, array: Any, i: Any) -> Any:
    """array[i : i + lanes] of a uint8 array, converted to ``like``'s element type."""
    if not (isinstance(array, types.Array) and array.dtype == types.uint8 and array.layout == "C"):
        raise TypingError(f"load_uint8 needs a C-contiguous uint8 array, not {array}")
    vector = vector_of(like)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        small = ir.VectorType(ir.IntType(8), vector.lanes)
        value = builder.load(pointer_to(context, builder, array, args[1], args[2], small))
        value.align = 1
        return builder.uitofp(value, vector.ir)

    return vector(like, array, types.intp), codegen


@intrinsic
def load_masked(typingctx: Any, array: Any, i: Any, n: Any) -> Any:
    """array[i : i + n] in the first n lanes and zero in the others; memory past n is not touched."""
    require_readable(array)
    vector = vector_of(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit_masked_load(context, builder, signature.args[0], args[0], args[1], args[2], vector)

    return vector(array, types.intp, types.intp), codegen


@intrinsic
def store_masked(typingctx: Any, array: Any, i: Any, x: Any, n: Any) -> Any:
    """array[i : i + n] = x[:n]. A read-only array is a typing error."""
    require_writable(array)
    vector = vector_of(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_masked_store(context, builder, signature.args[0], args[0], args[1], args[2], args[3], vector)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), codegen


@intrinsic
def leading(typingctx: Any, like: Any, n: Any) -> Any:
    """The mask of the first n lanes."""
    count = vector_of(like).lanes
    return Mask(count)(like, types.intp), lambda context, builder, signature, args: leading_mask(
        builder, count, args[1]
    )


def _binary(name: str, build: Callable[[Any, Any, Any], Any], doc: str) -> Any:
    def implementation(typingctx: Any, x: Any, y: Any) -> Any:
        return lanewise((x, y), build)

    return named(name, implementation, doc)


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z, rounded once (twice on a CPU without FMA)."""
    vector = vector_of(next((kind.vector for kind in (x, y, z) if isinstance(kind, Tile)), x))
    return lanewise((x, y, z), lambda builder, *args: emit_fma(builder, vector, *args))


add = _binary("add", lambda builder, x, y: builder.fadd(x, y), "x + y; also written with the operator.")
sub = _binary("sub", lambda builder, x, y: builder.fsub(x, y), "x - y; also written with the operator.")
mul = _binary("mul", lambda builder, x, y: builder.fmul(x, y), "x * y; also written with the operator.")
div = _binary("div", lambda builder, x, y: builder.fdiv(x, y), "x / y; also written with the operator.")


@intrinsic
def sqrt(typingctx: Any, x: Any) -> Any:
    """The square root, correctly rounded; NaN below zero."""
    vector = x.vector if isinstance(x, Tile) else vector_of(x)
    return lanewise((x,), lambda builder, x: call_llvm(builder, f"llvm.sqrt.{suffix(vector)}", vector.ir, [x]))


@intrinsic
def sign(typingctx: Any, x: Any) -> Any:
    """np.sign(x): 1, 0 or -1; NaN stays."""
    vector = x.vector if isinstance(x, Tile) else vector_of(x)

    def build(builder: Any, x: Any) -> Any:
        one, zero = ir.Constant(vector.ir, [1.0] * vector.lanes), ir.Constant(vector.ir, None)
        positive = builder.select(builder.fcmp_ordered(">", x, zero), one, zero)
        signed = builder.select(builder.fcmp_ordered("<", x, zero), builder.fneg(one), positive)
        return builder.select(builder.fcmp_unordered("uno", x, x), x, signed)

    return lanewise((x,), build)


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
        vector = vector_of(x)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.fcmp_ordered(symbol, args[0], args[1])

        return Mask(vector.lanes)(vector, vector), codegen

    doc = f"The mask of lanes where x {symbol} y; false where either is NaN. Also written with the operator."
    return named(name, implementation, doc)


greater = _comparison("greater", ">")
at_most = _comparison("at_most", "<=")


@intrinsic
def select(typingctx: Any, mask: Any, x: Any, y: Any) -> Any:
    """x where the mask is set, else y."""
    vector = vector_of(x)
    if mask != Mask(vector.lanes):
        raise TypingError(f"select needs a mask of {vector.lanes} lanes, not {mask}")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return vector(mask, vector, vector), codegen


def _reduce(name: str, build: Callable[[Any, Any, Any], Any], doc: str) -> Any:
    """Fold the upper half onto the lower until one lane is left: log2(lanes) operations in a fixed order."""

    def implementation(typingctx: Any, x: Any) -> Any:
        vector = vector_of(x)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, width = args[0], vector.lanes
            while width > 1:
                half = width // 2
                undefined = ir.Constant(value.type, ir.Undefined)
                pick = ir.VectorType(I32, half)
                low = builder.shuffle_vector(value, undefined, ir.Constant(pick, list(range(half))))
                high = builder.shuffle_vector(value, undefined, ir.Constant(pick, list(range(half, width))))
                value, width = build(builder, low, high), half
            return builder.extract_element(value, ir.Constant(I32, 0))

        return vector.element(vector), codegen

    return named(name, implementation, doc)


reduce_add = _reduce("reduce_add", lambda builder, x, y: builder.fadd(x, y), "Sum of the lanes, by halves.")
reduce_max = _reduce("reduce_max", _extreme(">"), "Largest lane; NaN if any lane is NaN.")


def _operator(symbol: Callable[..., Any], function: Any) -> None:
    """Have ``x symbol y`` mean ``function(x, y)`` where both are vectors or tiles.

    As an overload it would be compiled for each pair of types and inlined at each use: an eighth of the compile time.
    """

    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and all(isinstance(kind, (Vector, Tile)) for kind in args):
                return definition(function)(self.context, *args)[0]
            return None

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return definition(function)(context.typing_context, *signature.args)[1](context, builder, signature, args)

    infer_global(symbol)(Template)
    for kinds in itertools.product((Vector, Tile), repeat=2):
        lower_builtin(symbol, *kinds)(lower)


_operator(operator.add, add)
_operator(operator.sub, sub)
_operator(operator.mul, mul)
_operator(operator.truediv, div)
_operator(operator.gt, greater)
_operator(operator.le, at_most)
