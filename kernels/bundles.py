"""Bundles in compiled code: named tuples, attributes of their classes, and views of flat arrays.

A bundle is a ``NamedTuple``, whose class Numba knows when it compiles. An entry of a table (an update rule, an
activation, a loss) is such a class, and compiled code reads its attributes as Python does: ``rule.step(...)`` is a
direct call, ``rule.slots`` a constant. A kernel is compiled for the entries that it is called with, and for no others.
"""

from __future__ import annotations

from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import infer_getattr, lower_getattr

from .jit import piece
from .jit.dependencies import class_attributes, vocabulary
from .jit.numba_private import AttributeTemplate, TypingError, cgutils, intrinsic, part_of, with_part

vocabulary()

_BUNDLES = (types.NamedTuple, types.NamedUniTuple)


@cache
def _compiled(value: Any) -> Any:
    """A plain function compiled as a piece; a piece or kernel unchanged."""
    return piece(value) if isinstance(value, FunctionType) else value


def class_attribute(name: str) -> None:
    """Let compiled code read the attribute ``name`` of a bundle's class: a function, an integer or a flag."""

    def resolve(self: Any, bundle: Any) -> Any:
        value = None if name in bundle.fields else getattr(bundle.instance_class, name, None)
        if isinstance(value, int):
            return types.literal(value)
        return None if value is None else types.Dispatcher(_compiled(value))

    def lower(context: Any, builder: Any, bundle: Any, value: Any) -> Any:
        if name in bundle.fields:
            return builder.extract_value(value, bundle.fields.index(name))
        constant = getattr(bundle.instance_class, name)
        if isinstance(constant, int):
            return ir.Constant(ir.IntType(1 if isinstance(constant, bool) else 64), int(constant))
        return context.get_dummy_value()

    class_attributes.append(name)
    for kind in _BUNDLES:
        infer_getattr(type(f"_{name}", (AttributeTemplate,), {"key": kind, f"resolve_{name}": resolve}))
        lower_getattr(kind, name)(lower)


def _require_flat(array: Any) -> None:
    if not (isinstance(array, types.Array) and array.layout == "C" and array.ndim == 1):
        raise TypingError(f"a view is of a flat array, not of {array}")


def _view(context: Any, builder: Any, array: Any, value: Any, offset: Any) -> Any:
    size = builder.sub(part_of(context, builder, array, value, "nitems"), offset)
    view = value
    for name, part in (
        ("data", builder.gep(part_of(context, builder, array, value, "data"), [offset])),
        ("nitems", size),
        ("shape", cgutils.pack_array(builder, [size])),
    ):
        view = with_part(context, builder, array, view, name, part)
    if context.enable_nrt:
        context.nrt.incref(builder, array, view)
    return view


@intrinsic
def after(typingctx: Any, array: Any, offset: Any) -> Any:
    """array[offset:] of a flat array, as a view: it costs nothing, since kernels count no references.

    Slicing would add a test for negative offsets and a limit to the array's length.
    """
    _require_flat(array)
    return array(array, types.intp), lambda context, builder, *args: _view(context, builder, array, *args)


@intrinsic
def after_each(typingctx: Any, arrays: Any, offset: Any) -> Any:
    """A tuple of ``after(array, offset)`` for each array of a tuple."""
    for array in arrays:
        _require_flat(array)

    def emit(context: Any, builder: Any, values: Any, offset: Any) -> Any:
        sources = [builder.extract_value(values, k) for k in range(len(arrays))]
        found = [_view(context, builder, *pair, offset) for pair in zip(arrays, sources)]
        return context.make_tuple(builder, arrays, found)

    return arrays(arrays, types.intp), emit


@intrinsic
def views(typingctx: Any, array: Any, step: Any, count: Any) -> Any:
    """A tuple of ``count`` views of a flat array, from 0, ``step``, 2 * ``step``, ... on; ``count`` is a constant."""
    _require_flat(array)
    if not isinstance(count, types.IntegerLiteral):
        raise TypingError("the number of views must be a compile-time constant")
    result = types.UniTuple(array, count.literal_value)

    def emit(context: Any, builder: Any, value: Any, step: Any, count: Any) -> Any:
        offsets = [builder.mul(step, step.type(k)) for k in range(len(result))]
        return context.make_tuple(
            builder, result, [_view(context, builder, array, value, offset) for offset in offsets]
        )

    return result(array, types.intp, count), emit


@intrinsic
def numbers_like(typingctx: Any, like: Any, array: Any, i: Any) -> Any:
    """The tuple (array[i], array[i + 1], ...), as long as the tuple ``like``."""
    result = types.UniTuple(array.dtype, len(like))

    def emit(context: Any, builder: Any, _: Any, value: Any, i: Any) -> Any:
        data = part_of(context, builder, array, value, "data")
        offsets = [builder.add(i, i.type(k)) for k in range(len(like))]
        return context.make_tuple(builder, result, [builder.load(builder.gep(data, [offset])) for offset in offsets])

    return result(like, array, types.intp), emit


class Matrix(NamedTuple):
    """A strided matrix: element [i, j] is values[i * row + j * column]."""

    values: np.ndarray
    row: int
    column: int


@piece
def from_element(A, i, j):
    """A[i:, j:] as a view."""
    return Matrix(after(A.values, i * A.row + j * A.column), A.row, A.column)


@piece
def from_row(A, i):
    """A[i:] as a view."""
    return Matrix(after(A.values, i * A.row), A.row, A.column)
