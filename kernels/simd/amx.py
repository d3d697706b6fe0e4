"""Instructions on the tile registers of AMX, as intrinsics; registers are compile-time constants 0 to 7."""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import types

from ..jit.dependencies import vocabulary
from ..jit.numba_private import intrinsic
from .codegen import call_llvm, pointer_to

vocabulary()

_BYTE = ir.IntType(8)


def _emit(builder: Any, name: str, *args: Any) -> None:
    call_llvm(builder, f"llvm.x86.{name}", ir.VoidType(), [*args])


@intrinsic
def configure(typingctx: Any, shapes: Any) -> Any:
    """Zero the tile registers and set their shapes."""

    def emit(context: Any, builder: Any, array: Any) -> None:
        _emit(builder, "ldtilecfg", pointer_to(context, builder, shapes, array, ir.IntType(64)(0), _BYTE))

    return types.void(shapes), emit


@intrinsic
def release(typingctx: Any) -> Any:
    """Give the tile registers up: the system then need not save them."""
    return types.void(), lambda context, builder: _emit(builder, "tilerelease")


_with_constants = functools.partial(intrinsic, constants=True)


def _moves(name: str) -> Any:
    """An instruction of (tile register, array, first element, elements from row to row)."""

    def move(typingctx: Any, tile: Any, array: Any, first: Any, row: Any) -> Any:
        def emit(context: Any, builder: Any, _: Any, memory: Any, first: Any, row: Any) -> None:
            place = pointer_to(context, builder, array, memory, first, _BYTE)
            _emit(builder, name, _BYTE(tile.literal_value), place, builder.mul(row, row.type(4)))

        return types.void(tile, array, types.intp, types.intp), emit

    return _with_constants(move)


load, store = _moves("tileloadd64"), _moves("tilestored64")


@_with_constants
def zero(typingctx: Any, tile: Any) -> Any:
    """Tile register = 0."""
    return types.void(tile), lambda context, builder, _: _emit(builder, "tilezero", _BYTE(tile.literal_value))


@_with_constants
def multiply_add(typingctx: Any, C: Any, A: Any, B: Any) -> Any:
    """C += A @ B, tile registers of float32 and of pairs."""
    numbers = [_BYTE(tile.literal_value) for tile in (C, A, B)]
    return types.void(C, A, B), lambda context, builder, *_: _emit(builder, "tdpbf16ps", *numbers)
