"""The floating-point control word under which kernels run, and the exceptions that they raise. See ``jit.entry``."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .dependencies import vocabulary
from .numba_private import ARM, X86, cgutils, intrinsic, outcome, propagate

vocabulary()

CONTROL = 0x1F80 | 1 << 15 | 1 << 6 if X86 else 1 << 24 if ARM else 0
"""The floating-point control word that kernels run under: round to nearest, no traps, and subnormal operands and
results are zeros of their sign (x86: MXCSR with flush-to-zero and denormals-are-zero; ARM: FPCR with FZ; elsewhere
nothing is set).
"""


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
        # Not inline assembly: Numba does not load LLVM's parser of it, and the process was aborted.
        read, write = (
            cgutils.get_or_insert_function(builder.module, declared, f"llvm.aarch64.{name}.fpcr")
            for name, declared in (("get", ir.FunctionType(wide, [])), ("set", ir.FunctionType(ir.VoidType(), [wide])))
        )
        before = builder.call(read, [])
        builder.call(write, [word])
        return before

    emit = exchange_mxcsr if X86 else exchange_fpcr if ARM else lambda context, builder, word: wide(0)
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
