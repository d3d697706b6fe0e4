"""The machine's registers, the types of vectors, masks and tiles, and helpers to write intrinsics on them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import box, models, register_model

from ..jit import numba_private
from ..jit.dependencies import vocabulary
from ..jit.numba_private import ARM, TypingError, cgutils, lower_constant, part_of, target

vocabulary()

# -- the machine -------------------------------------------------------------------------------------------------


def _register_bytes(features: frozenset[str]) -> int:
    if "+avx512f" in features:
        return 64
    return 32 if "+avx" in features else 16


FEATURES = frozenset(target()[1].split(","))
REGISTER_BYTES = _register_bytes(FEATURES)
REGISTERS = 32 if REGISTER_BYTES == 64 or ARM else 16
# Without an FMA unit llvm.fma is a library call per lane; fmuladd is then a product and a sum.
HAS_FMA = "+fma" in FEATURES or ARM

I32 = ir.IntType(32)
I1 = ir.IntType(1)
_IR_ELEMENT = {
    types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int32: I32, types.int64: ir.IntType(64),
}  # fmt: skip


class Vector(types.Type):
    """``lanes`` numbers of one type, in one register: float32, float64, int32 or int64."""

    def __init__(self, element: types.Number) -> None:
        self.element = element
        self.lanes = REGISTER_BYTES * 8 // element.bitwidth
        super().__init__(name=f"simd.{element}x{self.lanes}")

    @property
    def ir(self) -> ir.VectorType:
        return ir.VectorType(_IR_ELEMENT[self.element], self.lanes)

    @property
    def real(self) -> bool:
        return isinstance(self.element, types.Float)


class Mask(types.Type):
    """One bit a lane: the result of a comparison."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"simd.mask{lanes}")

    @property
    def ir(self) -> ir.VectorType:
        return ir.VectorType(I1, self.lanes)


class Tile(types.Type):
    """``rows`` x ``vectors`` vectors."""

    def __init__(self, vector: Vector, rows: int, vectors: int) -> None:
        self.vector, self.rows, self.vectors = vector, rows, vectors
        super().__init__(name=f"simd.tile{rows}x{vectors}({vector})")

    @property
    def ir(self) -> ir.ArrayType:
        return ir.ArrayType(self.vector.ir, self.rows * self.vectors)


_REGISTERS = (Vector, Mask, Tile)


def _in_memory(value: ir.Type) -> ir.LiteralStructType:
    """``value`` as the only member of a packed structure, which may lie at any address.

    LLVM takes a plain vector to be aligned to its size, but Numba's containers align to 16 or 32 bytes: lists of
    vectors ended in a segmentation fault. In registers the structure costs nothing.
    """
    return ir.LiteralStructType([value], packed=True)


@register_model(Vector)
@register_model(Mask)
@register_model(Tile)
class _InMemory(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _in_memory(fe_type.ir))


@box(Vector)
@box(Mask)
def _lanes_in_python(kind: Any, value: Any, c: Any) -> Any:
    """A tuple of the lanes, which is what Python gets, and what ``print`` shows."""
    lanes, element = c.builder.extract_value(value, 0), getattr(kind, "element", types.boolean)
    made = c.pyapi.tuple_new(kind.lanes)
    for k in range(kind.lanes):
        c.pyapi.tuple_setitem(made, k, c.box(element, c.builder.extract_element(lanes, I32(k))))
    return made


@lower_constant(Vector)
@lower_constant(Tile)
def _identity(context: Any, builder: Any, kind: Any, number: Any) -> Any:
    """``number`` in all lanes: what each thread begins with where a parallel loop adds up, or multiplies, vectors."""
    lanes = constant(vector_of(kind), number)
    if isinstance(kind, Tile):
        lanes = ir.Constant(kind.ir, [lanes] * kind.ir.count)
    return stored(builder, lanes)


# The instructions that Numba marks with its ``fastmath`` flags, unless they have flags already.
_MARKED = frozenset(("fadd", "fsub", "fmul", "fdiv", "frem", "fcmp"))


def _instructions(builder: Any) -> list[Any]:
    return [instruction for block in builder.function.blocks for instruction in block.instructions]


def intrinsic(function: Callable[..., Any], constants: bool = False) -> Any:
    """Numba's ``intrinsic``, whose ``emit`` gets vectors, masks and tiles out of their structures.

    Wrong arguments are an error of one line that names the function, the types and the place of the call in the user's
    code; operators get it from the result's ``typed``. Of the caller's ``fastmath`` flags only ``contract``, which
    fuses products and sums, reaches the code on vectors: NaN and the stated errors hold in such functions, too.
    """
    name = function.__name__

    @functools.wraps(function)
    def typed(typingctx: Any, *args: Any) -> Any:
        args = tuple(map(_present, args))
        try:
            signature, emit = function(typingctx, *args)
            for given, taken in zip(args, signature.args):
                _require(taken, types.unliteral(given))
        except TypingError as error:
            raise TypingError(f"simd.{name}({', '.join(map(str, args))}): {error}") from None

        def emit_bare(context: Any, builder: Any, *args: Any) -> Any:
            fast = context.fastmath and context.fastmath.flags - {"contract"}
            before = {id(instruction) for instruction in _instructions(builder)} if fast else set()
            bare = [
                builder.extract_value(arg, 0) if isinstance(kind, _REGISTERS) else arg
                for arg, kind in zip(args, signature.args)
            ]
            result = emit(context, builder, *bare)
            if fast:
                for instruction in _instructions(builder):
                    if instruction.opname in _MARKED and id(instruction) not in before:
                        instruction.flags.append("contract")
            return stored(builder, result) if isinstance(signature.return_type, _REGISTERS) else result

        return signature, emit_bare

    @functools.wraps(typed)
    def in_one_line(typingctx: Any, *args: Any, **by_name: Any) -> Any:
        if by_name:
            args = inspect.signature(function).bind(typingctx, *args, **by_name).args[1:]
        try:
            return typed(typingctx, *args)
        except TypingError as error:  # which Numba would wrap in twenty lines
            raise TypeError(f"{numba_private.place_of_typing()}{error}") from None

    made = numba_private.intrinsic(in_one_line, constants)
    made.typed = typed
    return made


def _present(kind: Any) -> Any:
    """Of a vector that may be None, as ``dict.get`` returns, the vector: Numba raises where it is None."""
    return kind.type if isinstance(kind, types.Optional) and isinstance(kind.type, _REGISTERS) else kind


def _require(taken: Any, given: Any) -> None:
    """Refuse an argument that Numba cannot convert, or would round to an integer."""
    numbers = (types.Integer, types.Boolean) + (() if isinstance(taken, types.Integer) else (types.Float,))
    if given != taken and not (isinstance(taken, types.Number) and isinstance(given, numbers)):
        raise TypingError(f"it takes {taken}, not {given}")


def stored(builder: Any, value: Any) -> Any:
    """A vector, mask or tile in its structure, as code outside of intrinsics has it."""
    return builder.insert_value(ir.Constant(_in_memory(value.type), ir.Undefined), value, 0)


# -- typing and code generation helpers ----------------------------------------------------------------------------


def vector_of(like: Any) -> Vector:
    """The vector type for the elements of ``like``: an array, number, NumPy type, dtype, vector or tile."""
    if isinstance(like, (Vector, Tile)):
        return like if isinstance(like, Vector) else like.vector
    element = like.dtype if isinstance(like, (types.Array, types.NumberClass, types.DType)) else like
    if element not in _IR_ELEMENT:
        raise TypingError(f"simd works on float32, float64, int32 and int64, not on {element}")
    return Vector(element)


def real_vector_of(like: Any) -> Vector:
    """``vector_of``, refused for integers."""
    vector = vector_of(like)
    if not vector.real:
        raise TypingError(f"it takes float32 or float64, not {vector.element}")
    return vector


def require_readable(array: Any) -> None:
    if not (isinstance(array, types.Array) and array.layout == "C"):
        raise TypingError(f"simd needs a C-contiguous array, not {array}")


def require_writable(array: Any) -> None:
    require_readable(array)
    if not array.mutable:
        raise TypingError(f"simd cannot store to a read-only array ({array})")


def pointer_to(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, pointee: Any) -> Any:
    data = part_of(context, builder, array_type, array, "data")
    return builder.bitcast(builder.gep(data, [offset]), pointee.as_pointer())


def constant(vector: Vector, value: float) -> Any:
    return ir.Constant(vector.ir, [value] * vector.lanes)


def splat(builder: Any, vector_ir: Any, scalar: Any) -> Any:
    undefined = ir.Constant(vector_ir, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(I32, vector_ir.count), None))


def call_llvm(builder: Any, name: str, result: Any, args: list[Any]) -> Any:
    """Call an LLVM intrinsic by name (llvmlite's declare_intrinsic refuses vector types)."""
    function_type = ir.FunctionType(result, [argument.type for argument in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def suffix(vector: Vector) -> str:
    return f"v{vector.lanes}{'f' if vector.real else 'i'}{vector.element.bitwidth}"


def emit_fma(builder: Any, vector: Vector, x: Any, y: Any, z: Any) -> Any:
    return call_llvm(builder, f"llvm.{'fma' if HAS_FMA else 'fmuladd'}.{suffix(vector)}", vector.ir, [x, y, z])


def leading_mask(builder: Any, lanes: int, n: Any, first: int = 0) -> Any:
    """The mask of the lanes whose number is below n, numbered from ``first`` on."""
    index = ir.VectorType(I32, lanes)
    if n.type.width > 32:  # at most as many as there are: the rest of a long array does not fit into 32 bits
        end = n.type(first + lanes)
        n = builder.trunc(builder.select(builder.icmp_signed("<", n, end), n, end), I32)
    return builder.icmp_signed("<", ir.Constant(index, list(range(first, first + lanes))), splat(builder, index, n))


def emit_load(
    context: Any, builder: Any, array_type: Any, array: Any, offset: Any, kind: ir.VectorType, n: Any = None,
    first: int = 0
) -> Any:  # fmt: skip
    """Elements of an array as in memory; of ``n`` only the lanes below it, numbered from ``first`` on, else zeros."""
    pointer, size = pointer_to(context, builder, array_type, array, offset, kind), context.get_abi_sizeof(kind.element)
    if n is None:
        value = builder.load(pointer)
        value.align = size
        return value
    mask = leading_mask(builder, kind.count, n, first)
    return call_llvm(builder, _masked("load", kind, size), kind, [pointer, I32(size), mask, ir.Constant(kind, None)])


def emit_store(
    context: Any, builder: Any, array_type: Any, array: Any, offset: Any, value: Any, n: Any = None, first: int = 0
) -> None:
    """Store lanes to an array of their type: all, or, as in ``emit_load``, those below ``n``."""
    kind = value.type
    pointer, size = pointer_to(context, builder, array_type, array, offset, kind), context.get_abi_sizeof(kind.element)
    if n is None:
        builder.store(value, pointer).align = size
        return
    mask = leading_mask(builder, kind.count, n, first)
    call_llvm(builder, _masked("store", kind, size), ir.VoidType(), [value, pointer, I32(size), mask])


def _masked(what: str, kind: ir.VectorType, size: int) -> str:
    """The name of LLVM's masked load or store of elements of ``size`` bytes."""
    return f"llvm.masked.{what}.v{kind.count}{'i' if isinstance(kind.element, ir.IntType) else 'f'}{8 * size}.p0"


def named(name: str, implementation: Callable[..., Any], doc: str | None = None) -> Any:
    """An intrinsic with this name and docstring, for factories of intrinsics."""
    implementation.__name__ = implementation.__qualname__ = name
    implementation.__doc__ = doc
    return intrinsic(implementation)


def combined(kinds: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    """(the result's type, the type each argument is taken as) for vectors and tiles of one element type and numbers."""
    found = [kind for kind in kinds if isinstance(kind, (Vector, Tile))]
    if not found:
        raise TypingError("it takes a vector")
    result = next((kind for kind in found if isinstance(kind, Tile)), found[0])
    vector, taken = vector_of(result), []
    for kind in kinds:
        number = isinstance(kind, (types.Integer, types.Float) if vector.real else types.Integer)
        if not (number or kind in (vector, result)):
            raise TypingError(f"cannot combine {kind} with {result}")
        taken.append(vector.element if number else kind)
    return result, taken


def lanewise(
    kinds: tuple[Any, ...], build: Callable[..., Any], returns: Callable[[Any], Any] = lambda kind: kind
) -> Any:
    """Signature and code that apply ``build(builder, vector, *vectors)`` to vectors, or to every vector of equal tiles.

    Beside tiles, a vector or a number is combined with each of their vectors; beside vectors, a number with each lane.
    """
    result, taken = combined(kinds)
    vector = vector_of(result)

    def emit(context: Any, builder: Any, *values: Any) -> Any:
        args = [splat(builder, vector.ir, a) if kind == vector.element else a for a, kind in zip(values, taken)]
        if not isinstance(result, Tile):
            return build(builder, vector, *args)
        acc = ir.Constant(result.ir, ir.Undefined)
        for k in range(result.rows * result.vectors):
            picked = [builder.extract_value(a, k) if kind == result else a for a, kind in zip(args, taken)]
            acc = builder.insert_value(acc, build(builder, vector, *picked), k)
        return acc

    return returns(result)(*taken), emit
