"""The floating-point control word under which kernels run, and the exceptions that they raise. See ``jit.entry``."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types

from .dependencies import vocabulary
from .numba_private import cgutils, intrinsic, outcome, propagate

vocabulary()

_X86, _ARM = (platform.machine().lower() in names for names in (("x86_64", "amd64"), ("aarch64", "arm64")))

CONTROL = 0x1F80 | 1 << 15 | 1 << 6 if _X86 else 1 << 24 if _ARM else 0
"""The floating-point control word that kernels run under: round to nearest, no traps, and subnormal operands and results are
zeros of their sign (x86: MXCSR with flush-to-zero and denormals-are-zero; ARM: FPCR with FZ; elsewhere nothing is set)."""


@intrinsic
def exchange_control(typingctx: Any, word: Any) -> Any:
    """Set this thread's floating-point control word; returns the previous one."""
    wide = ir.IntType(64)

    def exchange_mxcsr(context: Any, builder: Any, word: Any) -> Any:
        place = cgutils.alloca_once(builder, ir.IntType(32))
        pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
        declared = ir.FunctionType(ir.VoidType(), [pointer.type])
        read, write = (
            cgutils.get_or_insert_function(builder.module, declared, f"llvm.x86.sse.{name}mxcsr")
            for name in ("st", "ld")
        )
        builder.call(read, [pointer])
        before = builder.zext(builder.load(place), wide)
        builder.store(builder.trunc(word, ir.IntType(32)), place)
        builder.call(write, [pointer])
        return before

    def exchange_fpcr(context: Any, builder: Any, word: Any) -> Any:
        before = builder.asm(ir.FunctionType(wide, []), "mrs $0, fpcr", "=r", [], True)
        builder.asm(ir.FunctionType(ir.VoidType(), [wide]), "msr fpcr, $0", "r", [word], True)
        return before

    emit = exchange_mxcsr if _X86 else exchange_fpcr if _ARM else lambda context, builder, word: wide(0)
    return types.int64(types.int64), emit


@intrinsic
def attempt(typingctx: Any, function: Any, args: Any) -> Any:
    """Call a kernel with a tuple of arguments and keep its exception, if it raises, for ``settle``."""
    resolved = function.get_call_type(typingctx, args.types, {})

    result = types.Tuple((types.int64, types.int64, resolved.return_type))

    def emit(context: Any, builder: Any, _: Any, values: Any) -> Any:
        compiled = function.dispatcher.get_compile_result(resolved)
        unpacked = [builder.extract_value(values, k) for k in range(len(args.types))]
        status, value = context.call_internal_no_propagate(builder, compiled.fndesc, compiled.signature, unpacked)
        return context.make_tuple(builder, result, [*outcome(builder, status), value])

    return result(function, args), emit


@intrinsic
def settle(typingctx: Any, attempted: Any) -> Any:
    """The result of the kernel in an ``attempt``; or raise its exception."""

    def emit(context: Any, builder: Any, values: Any) -> Any:
        code, info, value = (builder.extract_value(values, k) for k in range(3))
        propagate(context, builder, code, info)
        return value

    return attempted.types[2](attempted), emit
