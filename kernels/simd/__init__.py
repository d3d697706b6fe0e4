"""Explicit SIMD for Numba: vector, mask and register-tile values in ordinary ``@njit`` code.

Numba leaves vectorising to LLVM's loop vectoriser, which may not reorder a sum and so leaves most of the machine
unused in a dot product or a matrix product. Here a *vector* is a value like any other:

    from numba import njit
    from kernels import simd

    @njit
    def axpy(a, X, Y):                       # Y += a * X, float32 or float64
        lanes = simd.lanes(Y)
        n = X.size - X.size % lanes
        for i in range(0, n, lanes):
            simd.store(Y, i, simd.fma(a, simd.load(X, i), simd.load(Y, i)))
        rest = X.size - n
        y = simd.fma(a, simd.load_masked(X, n, rest), simd.load_masked(Y, n, rest))
        simd.store_masked(Y, n, y, rest)

Legend: ``array`` is any C-contiguous array of float32, float64, int32 or int64; ``like``, a first argument, only
gives the element type: an array, a number, a vector or a NumPy type (``np.int32``); ``i`` is an offset in elements
from the array's first; ``n`` counts leading lanes. Nothing is bounds-checked: an offset outside the array corrupts
memory. Addresses need no alignment beyond the element's.

A vector has as many lanes as the widest registers hold (AVX-512: 16 float32 or int32, 8 float64 or int64; AVX: half;
else SSE or NEON). It has NumPy's operators (``+ - * /``, ``-x``, ``abs(x)``, ``round(x)``, in place; of integers ``& |
^ ~ << >>``), with vectors of its type and with numbers, which are converted to it; ``x[k]`` is the number in lane k.
Comparisons give *masks*, with ``& | ^ ~``, for ``select``, ``any``, ``all`` and ``count``. Python, and ``print``, get a
tuple of the lanes of either. ``load_as`` and ``store_as`` convert from and to arrays of other types: bytes, labels,
float16. A *tile* is a block of vectors that LLVM keeps in registers: the accumulators of a matrix product; arithmetic
works on all its vectors at once.

Integers wrap. NaN and infinity are as in NumPy: a comparison with NaN is false (``!=`` true), and ``maximum`` of NaN
is NaN. Functions state their error in units in the last place. All of that holds whatever ``fastmath`` the calling
function has: of its flags only ``contract``, which fuses a product with a sum, reaches code on vectors. Horizontal
sums run in a fixed order (a tree of halves), and ``fma`` rounds once where the CPU has it, so results do not depend
on the number of threads. What an operation cannot do is an error when the function is typed, which names the
operation, the types and, of operators, the line. Sources: LLVM Language Reference; BLIS for the register tile.
"""

from importlib import import_module
from typing import Any

_OF_THE_MACHINE = ("FEATURES", "HAS_FMA", "REGISTERS", "REGISTER_BYTES", "Mask", "Tile", "Vector")


def _public() -> dict[str, Any]:
    """The machine's registers, and the other modules' names without an underscore; ``__init__.pyi`` has the types."""
    codegen, *others = (import_module(f".{name}", __name__) for name in ("codegen", "vectors", "tiles", "mathematics"))
    found = {name: getattr(codegen, name) for name in _OF_THE_MACHINE}
    for module in others:
        values = (value for name, value in vars(module).items() if not name.startswith("_"))
        found |= {value.__name__: value for value in values if getattr(value, "__module__", "") == module.__name__}
    return found


def __getattr__(name: str) -> Any:
    """Import everything, and Numba, at the first access: modules whose plain functions name ``simd`` need none before.

    The first access may be Numba's own, while it compiles a user's function.
    """
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "__all__" not in globals():
        from ..jit.numba_private import tell_a_compilation_of_new_names

        found = _public()
        globals().update(found)
        globals()["__all__"] = sorted(found)
        tell_a_compilation_of_new_names()
    if name not in globals():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[name]


def __dir__() -> list[str]:
    return [*__getattr__("__all__")]
