"""The machine, the types of vectors, masks and tiles, and what the intrinsics on them are made with."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.extending import models, register_model

from ..jit.dependencies import vocabulary
from ..jit.numba_private import TypingError, cgutils, config, get_host_cpu_features, part_of

vocabulary()

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
I32 = ir.IntType(32)
I1 = ir.IntType(1)


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

    @property
    def ir(self) -> ir.ArrayType:
        return ir.ArrayType(self.vector.ir, self.rows * self.vectors)


_REGISTERS = (Vector, Mask, Tile)


def _in_memory(value: ir.Type) -> ir.LiteralStructType:
    """``value`` as the one member of a packed structure, which may lie at any address.

    A plain vector is taken to lie at a multiple of its size, and Numba's containers align to 16 or 32 bytes: lists of them
    ended in a segmentation fault. In registers the structure is nothing.
    """
    return ir.LiteralStructType([value], packed=True)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Vector) -> None:
        super().__init__(manager, fe_type, _in_memory(fe_type.ir))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Mask) -> None:
        super().__init__(manager, fe_type, _in_memory(ir.VectorType(I1, fe_type.lanes)))


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Tile) -> None:
        super().__init__(manager, fe_type, _in_memory(fe_type.ir))


def intrinsic(function: Callable[..., Any]) -> Any:
    """Numba's ``intrinsic`` for code on the vectors themselves, out of their structures and back into them."""

    @functools.wraps(function)
    def typed(typingctx: Any, *args: Any) -> Any:
        signature, codegen = function(typingctx, *args)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            bare = [
                builder.extract_value(arg, 0) if isinstance(kind, _REGISTERS) else arg
                for arg, kind in zip(args, signature.args)
            ]
            result = codegen(context, builder, signature, bare)
            return stored(builder, result) if isinstance(signature.return_type, _REGISTERS) else result

        return signature, generate

    return extending.intrinsic(typed)


def stored(builder: Any, value: Any) -> Any:
    """A vector, mask or tile as it is outside intrinsics."""
    return builder.insert_value(ir.Constant(_in_memory(value.type), ir.Undefined), value, 0)


# -- typing and code generation helpers ----------------------------------------------------------------------------


def vector_of(like: Any) -> Vector:
    """The vector type of an array's, a scalar's or a vector's element."""
    if isinstance(like, Vector):
        return like
    element = like.dtype if isinstance(like, types.Array) else like
    if element not in _IR_ELEMENT:
        raise TypingError(f"simd works on float32 and float64, not on {element}")
    return Vector(element)


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


def element_bytes(vector: Vector) -> int:
    return vector.element.bitwidth // 8


def emit_load(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, vector: Vector) -> Any:
    value = builder.load(pointer_to(context, builder, array_type, array, offset, vector.ir))
    value.align = element_bytes(vector)
    return value


def emit_store(
    context: Any, builder: Any, array_type: Any, array: Any, offset: Any, value: Any, vector: Vector
) -> None:
    store = builder.store(value, pointer_to(context, builder, array_type, array, offset, vector.ir))
    store.align = element_bytes(vector)


def splat(builder: Any, vector_ir: Any, scalar: Any) -> Any:
    undefined = ir.Constant(vector_ir, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(I32, vector_ir.count), None))


def call_llvm(builder: Any, name: str, result: Any, args: list[Any]) -> Any:
    """Call an LLVM intrinsic by name (llvmlite's declare_intrinsic refuses vector types)."""
    function_type = ir.FunctionType(result, [argument.type for argument in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def suffix(vector: Vector) -> str:
    return f"v{vector.lanes}f{vector.element.bitwidth}"


def emit_fma(builder: Any, vector: Vector, x: Any, y: Any, z: Any) -> Any:
    return call_llvm(builder, f"llvm.{'fma' if HAS_FMA else 'fmuladd'}.{suffix(vector)}", vector.ir, [x, y, z])


def leading_mask(builder: Any, lanes: int, n: Any, first: int = 0) -> Any:
    """The mask of the lanes that are among the first n, where they are counted from ``first`` on."""
    index = ir.VectorType(I32, lanes)
    limit = splat(builder, index, builder.trunc(n, I32) if n.type.width > 32 else n)
    return builder.icmp_signed("<", ir.Constant(index, list(range(first, first + lanes))), limit)


def emit_masked_load(
    context: Any, builder: Any, array_type: Any, array: Any, offset: Any, n: Any, vector: Vector, first: int = 0
) -> Any:
    pointer = pointer_to(context, builder, array_type, array, offset, vector.ir)
    mask = leading_mask(builder, vector.lanes, n, first)
    align = ir.Constant(I32, element_bytes(vector))
    name = f"llvm.masked.load.{suffix(vector)}.p0"
    return call_llvm(builder, name, vector.ir, [pointer, align, mask, ir.Constant(vector.ir, None)])


def emit_masked_store(
    context: Any, builder: Any, array_type: Any, array: Any, offset: Any, value: Any, n: Any, vector: Vector,
    first: int = 0,
) -> None:  # fmt: skip
    pointer = pointer_to(context, builder, array_type, array, offset, vector.ir)
    mask = leading_mask(builder, vector.lanes, n, first)
    align = ir.Constant(I32, element_bytes(vector))
    call_llvm(builder, f"llvm.masked.store.{suffix(vector)}.p0", ir.VoidType(), [value, pointer, align, mask])


def named(name: str, implementation: Callable[..., Any], doc: str | None = None) -> Any:
    """An intrinsic made by a factory, under a name of its own."""
    implementation.__name__ = implementation.__qualname__ = name
    implementation.__doc__ = doc
    return intrinsic(implementation)


def lanewise(kinds: tuple[Any, ...], build: Callable[..., Any]) -> Any:
    """Signature and code of ``build(builder, *vectors)`` on vectors, or on every vector of tiles of one size.

    A vector among tiles goes with each of their vectors.
    """
    tiles = [kind for kind in kinds if isinstance(kind, Tile)]
    vector = tiles[0].vector if tiles else vector_of(kinds[0])
    result = tiles[0] if tiles else vector
    for kind in kinds:
        if kind not in (vector, result):
            raise TypingError(f"cannot combine {kind} with {result}")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not tiles:
            return build(builder, *args)
        acc = ir.Constant(result.ir, ir.Undefined)
        for k in range(result.rows * result.vectors):
            picked = [builder.extract_value(a, k) if kind == result else a for a, kind in zip(args, kinds)]
            acc = builder.insert_value(acc, build(builder, *picked), k)
        return acc

    return result(*kinds), codegen
