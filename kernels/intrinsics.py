"""What compiled code needs and Numba lacks, vectors apart: flat views, atomics, giving up the core."""

from __future__ import annotations

import os
from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


@intrinsic
def flat(typingctx: Any, array: Any) -> Any:
    """The same memory of a C-contiguous array as one dimension.

    ``array.reshape(-1)`` does the same but brings a second of compile time with it, most of it string formatting for its
    error message.
    """
    if not (isinstance(array, types.Array) and array.layout == "C"):
        raise TypingError(f"flat needs a C-contiguous array, not {array}")
    result = array.copy(ndim=1)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = make_array(array)(context, builder, args[0])
        view = make_array(result)(context, builder)
        populate_array(
            view,
            data=source.data,
            shape=cgutils.pack_array(builder, [source.nitems]),
            strides=cgutils.pack_array(builder, [source.itemsize]),
            itemsize=source.itemsize,
            meminfo=source.meminfo,
            parent=source.parent,
        )
        if context.enable_nrt:
            context.nrt.incref(builder, result, view._getvalue())
        return view._getvalue()

    return result(array), codegen


def _element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(cgutils.create_struct_proxy(array_type)(context, builder, array).data, [index])


@intrinsic
def atomic_add(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index] += value for every thread at once; returns the value before. int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _element(context, builder, signature.args[0], args[0], args[1])
        return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), codegen


@intrinsic
def atomic_load(typingctx: Any, array: Any, index: Any) -> Any:
    """array[index], and all that other threads wrote before they set it. int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _element(context, builder, signature.args[0], args[0], args[1])
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(array, types.intp), codegen


yield_core = types.ExternalFunction("SwitchToThread" if os.name == "nt" else "sched_yield", types.int32())
"""Let another thread have this core, if one wants it. By name, not by address, so that the caller can be cached."""
