"""Intrinsics that Numba lacks, apart from vectors: flat views, atomics, prefetches, calls across threads."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from .jit.dependencies import vocabulary
from .jit.numba_private import TypingError, cgutils, intrinsic, outcome, part_of, with_part
from .memory import LINE_BYTES

vocabulary()


@intrinsic
def flat(typingctx: Any, array: Any) -> Any:
    """A C-contiguous array as one dimension, in the same memory.

    ``array.reshape(-1)`` does the same but takes a second to compile, most of it for formatting its error message.
    """
    return _flat(array, readonly=not getattr(array, "mutable", True))


@intrinsic
def flat_to_read(typingctx: Any, array: Any) -> Any:
    """``flat`` of an array that is only read: a read-only one gets a writable one's type, so both share a kernel."""
    return _flat(array, readonly=False)


@intrinsic
def from_first(typingctx: Any, array: Any) -> Any:
    """``flat_to_read`` of an array of any strides: its memory from the first element on; its length means nothing."""
    return _flat(array, readonly=False, strided=True)


@intrinsic
def flat_or_empty(typingctx: Any, array: Any, like: Any) -> Any:
    """``flat_to_read`` of an array, or, for None, an empty array of the type of ``like``."""
    absent = not isinstance(array, types.Array)
    signature, emit_flat = _flat(like if absent else array, readonly=False)
    result = signature.return_type

    def emit(context: Any, builder: Any, array: Any, like: Any) -> Any:
        view, none = emit_flat(context, builder, like if absent else array), ir.IntType(64)(0)
        if absent:
            view = with_part(context, builder, result, view, "nitems", none)
            view = with_part(context, builder, result, view, "shape", cgutils.pack_array(builder, [none]))
        return view

    return result(array, like), emit


def _flat(array: Any, readonly: bool, strided: bool = False) -> Any:
    if not (isinstance(array, types.Array) and (strided or array.layout == "C")):
        raise TypingError(f"flat needs a C-contiguous array, not {array}")
    result = array.copy(ndim=1, layout="C", readonly=readonly)

    def emit(context: Any, builder: Any, value: Any) -> Any:
        names = ("meminfo", "parent", "nitems", "itemsize", "data")
        source = {name: part_of(context, builder, array, value, name) for name in names}
        sides = {
            "shape": cgutils.pack_array(builder, [source["nitems"]]),
            "strides": cgutils.pack_array(builder, [source["itemsize"]]),
        }
        view = ir.Constant(context.get_value_type(result), ir.Undefined)
        for name, part in (source | sides).items():
            view = with_part(context, builder, result, view, name, part)
        if context.enable_nrt:
            context.nrt.incref(builder, result, view)
        return view

    return result(array), emit


def _array_of(context: Any, builder: Any, kind: Any, data: Any, *shape: Any) -> Any:
    """A C-contiguous array at the pointer ``data``; the caller keeps its memory alive."""
    size = itemsize = shape[0].type(kind.dtype.bitwidth // 8)
    array, strides = ir.Constant(context.get_value_type(kind), None), list[Any]()
    for length in reversed(shape):
        strides.insert(0, size)
        size = builder.mul(size, length)
    parts = {
        "nitems": builder.udiv(size, itemsize), "itemsize": itemsize,
        "data": builder.bitcast(data, part_of(context, builder, kind, array, "data").type),
        "shape": cgutils.pack_array(builder, shape), "strides": cgutils.pack_array(builder, strides),
    }  # fmt: skip
    for name, part in parts.items():
        array = with_part(context, builder, kind, array, name, part)
    return array


@intrinsic
def array_at(typingctx: Any, like: Any, table: Any, k: Any) -> Any:
    """A flat array with the element type of ``like``: table[2 * k] is its address, table[2 * k + 1] its length."""
    if not (isinstance(like, types.Array) and like.layout == "C"):
        raise TypingError(f"array_at needs a C-contiguous array to be like, not {like}")
    result = like.copy(ndim=1)

    def emit(context: Any, builder: Any, _: Any, pairs: Any, k: Any) -> Any:
        index = builder.mul(k, k.type(2))
        places = index, builder.add(index, index.type(1))
        address, size = (builder.load(_element(context, builder, table, pairs, place)) for place in places)
        return _array_of(context, builder, result, builder.inttoptr(address, ir.IntType(8).as_pointer()), size)

    return result(like, table, types.intp), emit


@intrinsic
def flat_as(typingctx: Any, array: Any, dtype: Any) -> Any:
    """``flat_to_read`` of the array's bytes as numbers of ``dtype``."""
    result = types.Array(dtype.dtype, 1, "C")

    def emit(context: Any, builder: Any, value: Any, _: Any) -> Any:
        data, count, size = (part_of(context, builder, array, value, name) for name in ("data", "nitems", "itemsize"))
        length = builder.udiv(builder.mul(count, size), size.type(result.dtype.bitwidth // 8))
        return _array_of(context, builder, result, data, length)

    return result(array, dtype), emit


@intrinsic
def bytes_of(typingctx: Any, array: Any) -> Any:
    """array.view(np.uint8) of a C-contiguous matrix, to be read only."""
    result = types.Array(types.uint8, 2, "C")

    def emit(context: Any, builder: Any, value: Any) -> Any:
        data, size, shape = (part_of(context, builder, array, value, name) for name in ("data", "itemsize", "shape"))
        rows, columns = (builder.extract_value(shape, k) for k in range(2))
        return _array_of(context, builder, result, data, rows, builder.mul(columns, size))

    return result(array), emit


@intrinsic
def begins_line(typingctx: Any, array: Any) -> Any:
    """Whether the array begins where a cache line does."""

    def emit(context: Any, builder: Any, value: Any) -> Any:
        word = ir.IntType(64)
        address = builder.ptrtoint(part_of(context, builder, array, value, "data"), word)
        return builder.icmp_unsigned("==", builder.and_(address, word(LINE_BYTES - 1)), word(0))

    return types.boolean(array), emit


def _attribute(name: str, attribute: str, doc: str) -> Any:
    def implementation(typingctx: Any) -> Any:
        return types.void(), lambda context, builder: builder.function.attributes.add(attribute)

    implementation.__name__ = implementation.__qualname__ = name
    implementation.__doc__ = doc
    return intrinsic(implementation)


out_of_line = _attribute(
    "out_of_line", "noinline",
    "First statement of a piece that LLVM must not inline: its callers share one copy of its code.",
)  # fmt: skip
in_line = _attribute(
    "in_line", "alwaysinline",
    "First statement of a piece that LLVM must inline: a call would pass its vectors through memory.",
)  # fmt: skip


def _element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(part_of(context, builder, array_type, array, "data"), [index])


def _atomic(returns: Any, array: Any, numbers: int, work: Callable[..., Any]) -> Any:
    """An operation ``work(builder, pointer, *numbers)`` on the int64 array[index], with so many numbers of int64."""

    def emit(context: Any, builder: Any, memory: Any, index: Any, *values: Any) -> Any:
        return work(builder, _element(context, builder, array, memory, index), *values)

    return returns(array, types.intp, *(types.int64,) * numbers), emit


@intrinsic
def atomic_add(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index] += value, atomically; returns the value before. int64."""
    return _atomic(types.int64, array, 1, lambda builder, *pair: builder.atomic_rmw("add", *pair, "seq_cst"))


@intrinsic
def atomic_load(typingctx: Any, array: Any, index: Any) -> Any:
    """array[index], with acquire order: all that its writer wrote before is visible afterwards. int64."""
    return _atomic(types.int64, array, 0, lambda builder, place: builder.load_atomic(place, "acquire", 8))


@intrinsic
def atomic_store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index] = value, with release order: after all that this thread wrote before. int64."""
    return _atomic(types.void, array, 1, lambda builder, at, x: builder.store_atomic(x, at, "release", 8))


@intrinsic
def atomic_replace(typingctx: Any, array: Any, index: Any, expected: Any, value: Any) -> Any:
    """Compare and swap: set array[index] to ``value`` if it is ``expected``; returns whether it was. int64."""

    def replace(builder: Any, *place_and_numbers: Any) -> Any:
        return builder.extract_value(builder.cmpxchg(*place_and_numbers, "seq_cst", "seq_cst"), 1)

    return _atomic(types.boolean, array, 2, replace)


def _prefetch(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> None:
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    pointer = builder.bitcast(_element(context, builder, array_type, array, index), byte)
    declared = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, declared, "llvm.prefetch.p0")
    builder.call(function, [pointer, number(0), number(2), number(1)])  # for reading, into L2, data


@functools.partial(intrinsic, constants=True)
def copy_few(typingctx: Any, target: Any, to: Any, source: Any, start: Any, count: Any) -> Any:
    """target[to : to + count] = source[start : start + count]; count is a compile-time constant, at most a register."""
    if not isinstance(count, types.IntegerLiteral):
        raise TypingError("count must be a compile-time constant")

    def emit(context: Any, builder: Any, *args: Any) -> None:
        into, to, out_of, start, _ = args
        ends = _element(context, builder, target, into, to), _element(context, builder, source, out_of, start)
        few = ir.VectorType(ends[0].type.pointee, count.literal_value).as_pointer()
        here, there = (builder.bitcast(end, few) for end in ends)
        value = builder.load(there)
        value.align = builder.store(value, here).align = target.dtype.bitwidth // 8

    return types.void(target, types.intp, source, types.intp, count), emit


@intrinsic
def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
    """Prefetch array[index] into the second-level cache; an index outside of the array is harmless."""
    return types.void(array, types.intp), lambda context, builder, *place: _prefetch(context, builder, array, *place)


@intrinsic
def prefetch_each(typingctx: Any, arrays: Any, index: Any) -> Any:
    """``prefetch(array, index)`` for each array of a tuple."""

    def emit(context: Any, builder: Any, values: Any, i: Any) -> None:
        for k, array in enumerate(arrays):
            _prefetch(context, builder, array, builder.extract_value(values, k), i)

    return types.void(arrays, types.intp), emit


def _load_64(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    block = ir.VectorType(context.get_data_type(array_type.dtype), 64)
    pointer = _element(context, builder, array_type, array, index)
    elements = builder.load(builder.bitcast(pointer, block.as_pointer()))
    elements.align = array_type.dtype.bitwidth // 8
    return elements


@intrinsic
def nonzero_bits(typingctx: Any, array: Any, index: Any) -> Any:
    """64 bits, the lowest first: bit k is set where array[index + k] is not zero; NaN sets it, too."""
    real = isinstance(array.dtype, types.Float)

    def emit(context: Any, builder: Any, *place: Any) -> Any:
        elements = _load_64(context, builder, array, *place)
        zeros = ir.Constant(elements.type, None)
        flags = builder.fcmp_unordered("!=", elements, zeros) if real else builder.icmp_unsigned("!=", elements, zeros)
        return builder.bitcast(flags, ir.IntType(64))

    return types.uint64(array, types.intp), emit


@intrinsic
def differing_bits(typingctx: Any, array: Any, i: Any, j: Any) -> Any:
    """64 bits, the lowest first: bit k is set where the integers array[i + k] and array[j + k] differ."""

    def emit(context: Any, builder: Any, memory: Any, *places: Any) -> Any:
        these, those = (_load_64(context, builder, array, memory, place) for place in places)
        return builder.bitcast(builder.icmp_unsigned("!=", these, those), ir.IntType(64))

    return types.uint64(array, types.intp, types.intp), emit


@intrinsic
def lowest_bit(typingctx: Any, bits: Any) -> Any:
    """The index of the lowest set bit; ``bits`` must not be 0."""
    return types.uint64(types.uint64), lambda context, builder, bits: builder.cttz(bits, ir.IntType(1)(1))


_WORD = ir.IntType(64)
_JOB = ir.FunctionType(ir.VoidType(), [_WORD, _WORD, _WORD])
_OUTCOME = ir.LiteralStructType([_WORD, _WORD])


@intrinsic
def job_entry(typingctx: Any, function: Any, args: Any) -> Any:
    """(code, data): two addresses with which ``job_call`` calls ``function(part, parts, *args)`` from any thread.

    ``data`` is on the stack of the calling kernel, which must not return before the job is done. ``job_outcome`` has
    the error that a part raised.
    """
    resolved = function.get_call_type(typingctx, (types.intp, types.intp, *args.types), {})

    result = types.UniTuple(types.int64, 2)

    def emit(context: Any, builder: Any, _: Any, values: Any) -> Any:
        compiled = function.dispatcher.get_compile_result(resolved)
        packed = ir.LiteralStructType([_OUTCOME, values.type])
        name = builder.module.get_unique_name("job")
        job = ir.Function(builder.module, _JOB, name)
        job.linkage = "internal"
        inside = ir.IRBuilder(job.append_basic_block("entry"))
        data = inside.inttoptr(job.args[2], packed.as_pointer())
        given = inside.load(cgutils.gep_inbounds(inside, data, 0, 1))
        unpacked = [inside.extract_value(given, k) for k in range(len(args.types))]
        status, _ = context.call_internal_no_propagate(
            inside, compiled.fndesc, compiled.signature, [job.args[0], job.args[1], *unpacked]
        )
        with cgutils.if_unlikely(inside, status.is_error):
            for k, word in enumerate(outcome(inside, status)):
                inside.store(word, cgutils.gep_inbounds(inside, data, 0, 0, k))
        inside.ret_void()
        data = cgutils.alloca_once(builder, packed)
        builder.store(ir.Constant(_OUTCOME, None), cgutils.gep_inbounds(builder, data, 0, 0))
        builder.store(values, cgutils.gep_inbounds(builder, data, 0, 1))
        code = builder.ptrtoint(job, _WORD)
        return context.make_tuple(builder, result, [code, builder.ptrtoint(data, _WORD)])

    return result(function, args), emit


@intrinsic
def job_outcome(typingctx: Any, data: Any) -> Any:
    """The outcome of a finished job, for ``settle``: the error that one of its parts raised, or none."""

    result = types.Tuple((types.int64, types.int64, types.none))

    def emit(context: Any, builder: Any, data: Any) -> Any:
        found = builder.load(builder.inttoptr(data, _OUTCOME.as_pointer()))
        words = [builder.extract_value(found, k) for k in range(2)]
        return context.make_tuple(builder, result, [*words, context.get_dummy_value()])

    return result(types.int64), emit


@intrinsic
def job_call(typingctx: Any, code: Any, part: Any, parts: Any, data: Any) -> Any:
    """Call the function whose addresses ``job_entry`` returned."""

    def emit(context: Any, builder: Any, code: Any, *args: Any) -> None:
        builder.call(builder.inttoptr(code, _JOB.as_pointer()), args)

    return types.void(types.int64, types.intp, types.intp, types.int64), emit


yield_core = types.ExternalFunction("SwitchToThread" if os.name == "nt" else "sched_yield", types.int32())
"""Give this core to a waiting thread, if any. It is called by name, not by address, so that callers can be cached."""
