"""What ``kernels.simd`` has, for type checkers and editors: written by hand but for docstrings, which a test compares.

In compiled code ``Vector``, ``Mask`` and ``Tile`` are the types of values, which have these operators; in Python they
are the Numba types of them, for signatures and the fields of a jitclass.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

_Array: TypeAlias = npt.NDArray[Any]
_Number: TypeAlias = float | np.number[Any]
_Index: TypeAlias = int | np.integer[Any]
_Like: TypeAlias = _Array | Vector | Tile | _Number | type[np.number[Any]]

FEATURES: frozenset[str]
HAS_FMA: bool
REGISTERS: int
REGISTER_BYTES: int

class Vector:
    """``lanes`` numbers of one type, in one register: float32, float64, int32 or int64."""

    def __init__(self, element: Any) -> None: ...
    element: Any
    lanes: int
    @overload
    def __add__(self, other: Tile) -> Tile: ...
    @overload
    def __add__(self, other: Vector | _Number) -> Vector: ...
    __sub__ = __mul__ = __truediv__ = __add__
    def __radd__(self, other: _Number) -> Vector: ...
    __rsub__ = __rmul__ = __rtruediv__ = __radd__
    def __and__(self, other: Vector | int) -> Vector: ...
    __or__ = __xor__ = __lshift__ = __rshift__ = __and__
    def __rand__(self, other: int) -> Vector: ...
    __ror__ = __rxor__ = __rlshift__ = __rrshift__ = __rand__
    def __gt__(self, other: Vector | _Number) -> Mask: ...
    __ge__ = __lt__ = __le__ = __gt__
    def __eq__(self, other: Vector | _Number) -> Mask: ...  # type: ignore[override]
    def __ne__(self, other: Vector | _Number) -> Mask: ...  # type: ignore[override]
    def __getitem__(self, k: _Index) -> _Number: ...
    def __neg__(self) -> Vector: ...
    __pos__ = __invert__ = __abs__ = __round__ = __neg__

class Mask:
    """One bit a lane: the result of a comparison."""

    def __init__(self, lanes: int) -> None: ...
    lanes: int
    def __and__(self, other: Mask) -> Mask: ...
    __or__ = __xor__ = __and__
    def __invert__(self) -> Mask: ...

class Tile:
    """``rows`` x ``vectors`` vectors."""

    def __init__(self, vector: Vector, rows: int, vectors: int) -> None: ...
    vector: Vector
    rows: int
    vectors: int
    def __add__(self, other: Tile | Vector | _Number) -> Tile: ...
    __sub__ = __mul__ = __truediv__ = __add__
    def __radd__(self, other: Vector | _Number) -> Tile: ...
    __rsub__ = __rmul__ = __rtruediv__ = __radd__
    def __neg__(self) -> Tile: ...
    __pos__ = __abs__ = __round__ = __neg__

_V = TypeVar("_V", Vector, Tile)
_M = TypeVar("_M", Vector, Mask)

class _Binary(Protocol):
    @overload
    def __call__(self, x: _V, y: Vector | _Number) -> _V: ...
    @overload
    def __call__(self, x: Vector | Tile | _Number, y: Tile) -> Tile: ...
    @overload
    def __call__(self, x: _Number, y: Vector) -> Vector: ...

def _binary(function: Callable[..., Any]) -> _Binary: ...
def abs(x: _V) -> _V:
    """The magnitude, exactly; also written abs(x). NaN stays."""

@_binary
def add(x: Any, y: Any) -> Any:
    """x + y; also written with the operator."""

def all(mask: Mask) -> bool:
    """Whether the mask is set in every lane."""

def any(mask: Mask) -> bool:
    """Whether the mask is set in any lane."""

def at_least(x: Vector | _Number, y: Vector | _Number) -> Mask:
    """The mask of lanes where x >= y; false where either is NaN. Also written with the operator."""

def at_most(x: Vector | _Number, y: Vector | _Number) -> Mask:
    """The mask of lanes where x <= y; false where either is NaN. Also written with the operator."""

def bitcast(like: _Like, x: Vector) -> Vector:
    """The bits of x, a vector, as lanes of ``like``'s element type, which has the same size: int32 of float32, ..."""

def both(x: _M, y: _M) -> _M:
    """x & y, of masks or of integers; also written with the operator."""

def broadcast(like: _Like, scalar: _Number) -> Vector:
    """A vector with ``scalar``, converted to ``like``'s element type, in every lane."""

def broadcast_each(like: _Like, scalars: tuple[_Number, ...]) -> tuple[Vector, ...]:
    """A tuple of vectors: ``broadcast`` of each of a tuple of numbers."""

def ceil(x: _V) -> _V:
    """The smallest integer at least x, as a float, exactly."""

def convert(like: _Like, x: Vector) -> Vector:
    """x, a vector, in ``like``'s element type, which has as many lanes (float32 and int32, float64 and int64).

    Conversions are those of ``load_as``.
    """

def count(mask: Mask) -> int:
    """The number of lanes in which the mask is set."""

def differ(x: _M, y: _M) -> _M:
    """x ^ y, of masks or of integers; also written with the operator."""

@_binary
def div(x: Any, y: Any) -> Any:
    """x / y of floats, correctly rounded; also written with the operator."""

def either(x: _M, y: _M) -> _M:
    """x | y, of masks or of integers; also written with the operator."""

def equal(x: Vector | _Number, y: Vector | _Number) -> Mask:
    """The mask of lanes where x == y; false where either is NaN. Also written with the operator."""

def erf(x: Vector) -> Vector:
    """The error function 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x, within 2 units in the last place.

    Measured: 1.73 units over every float32 from 2^-15 to 24.
    """

def exp(x: Vector) -> Vector:
    """e^x within 1 unit in the last place (2 on a CPU without FMA), subnormal results included, where the caller's
    control word lets there be any; NaN gives NaN.

    Measured: 0.94 units over every float32 in [-104, 0], 0.86 over 1.5 million float64 of the whole range.
    """

def expm1(x: Vector) -> Vector:
    """e^x - 1 within 2 units in the last place, near 0 too; NaN gives NaN.

    Measured: 1.65 units over all float32.
    """

def floor(x: _V) -> _V:
    """The largest integer at most x, as a float, exactly."""

@overload
def fma(x: Vector, y: Vector | _Number, z: Vector | _Number) -> Vector:
    """x * y + z, rounded once (twice on a CPU without FMA)."""

@overload
def fma(x: _Number, y: Vector, z: Vector | _Number) -> Vector: ...
@overload
def fma(x: Tile, y: Tile | Vector | _Number, z: Tile | Vector | _Number) -> Tile: ...
@overload
def fma(x: Vector | _Number, y: Tile | Vector | _Number, z: Tile) -> Tile: ...
@overload
def fma(x: Vector | _Number, y: Tile, z: Vector | _Number) -> Tile: ...
def from_bfloat16(x: Vector) -> Vector:
    """``from_float16`` of bfloat16, the upper half of a float32."""

def from_float16(x: Vector) -> Vector:
    """The float32 that the lower 16 bits of each int32 lane are as a float16, exactly; where the CPU has it (F16C).

    To load: ``from_float16(load_as(np.int32, bits, i))``, bits = array.view(np.uint16).
    """

def gather(array: _Array, index: Vector) -> Vector:
    """array[index[k]] in lane k, of an int32 or int64 vector of as many lanes; the array is taken as flat."""

def gather_masked(array: _Array, index: Vector, mask: Mask) -> Vector:
    """``gather`` where the mask is set and zero elsewhere; memory is touched only where it is set."""

def greater(x: Vector | _Number, y: Vector | _Number) -> Mask:
    """The mask of lanes where x > y; false where either is NaN. Also written with the operator."""

def inverse(x: _M) -> _M:
    """~x, of a mask or of integers; also written with the operator."""

def iota(like: _Like) -> Vector:
    """0, 1, 2, ... in the lanes: with an offset, what ``gather`` and ``scatter`` take."""

def lane(x: Vector, k: _Index) -> _Number:
    """The number in lane k of a vector, -lanes <= k < lanes, from the last if negative; also written x[k]."""

def lanes(like: _Like) -> int:
    """Lanes in a vector of ``like``'s element type: a compile-time constant."""

def leading(like: _Like, n: _Index) -> Mask:
    """The mask of the first n lanes."""

def less(x: Vector | _Number, y: Vector | _Number) -> Mask:
    """The mask of lanes where x < y; false where either is NaN. Also written with the operator."""

def load(array: _Array, i: _Index) -> Vector:
    """array[i : i + lanes]."""

def load_as(like: _Like, array: _Array, i: _Index) -> Vector:
    """array[i : i + lanes] of any integers, floats or flags, converted to ``like``'s element type.

    Floats round to the nearest, to integers towards zero (NaN is 0, and what is too large the largest). Integers that
    are too wide for integers lose their upper bits.
    """

def load_as_masked(like: _Like, array: _Array, i: _Index, n: _Index) -> Vector:
    """``load_as`` of array[i : i + n] in the first n lanes and zero in the others; memory past n is not touched."""

def load_masked(array: _Array, i: _Index, n: _Index) -> Vector:
    """array[i : i + n] in the first n lanes and zero in the others; memory past n is not touched."""

def log(x: Vector) -> Vector:
    """Natural logarithm within 2 units in the last place; -infinity at 0, NaN below.

    Measured: 1.81 units over all float32, 1.7 over 2.6 million float64, half of them near 1.
    """

def log1p(x: Vector) -> Vector:
    """log(1 + x) within 2 units in the last place, near 0 too; -infinity at -1, NaN below.

    Measured: 1.89 units over every float32 in which it is neither x nor log x.
    """

@_binary
def maximum(x: Any, y: Any) -> Any:
    """np.maximum(x, y): NaN in either gives NaN; of 0 and -0 the one or the other."""

@_binary
def minimum(x: Any, y: Any) -> Any:
    """np.minimum(x, y): NaN in either gives NaN; of 0 and -0 the one or the other."""

@_binary
def mul(x: Any, y: Any) -> Any:
    """x * y; also written with the operator."""

def negative(x: _V) -> _V:
    """-x: of floats the sign alone changes; also written with the operator."""

def normal_distribution(z: Vector) -> tuple[Vector, Vector]:
    """(P(z), exp(-z^2 / 2)): the normal distribution within 5 units in the last place of 1, and its density's shape."""

def not_equal(x: Vector | _Number, y: Vector | _Number) -> Mask:
    """The mask of lanes where x != y; true where either is NaN. Also written with the operator."""

def polynomial(name: str, coefficients: Callable[[int], float], terms: dict[Any, int]) -> Callable[[Vector], Vector]:
    """An intrinsic for the sum of coefficients(k) x^k, k < terms, by Horner's rule with fused multiply-adds."""

def pow(x: Vector, y: Vector | _Number) -> Vector:
    """x^y within 2 units in the last place (3 on a CPU without FMA); special cases as in NumPy (C99, annex F).

    y may be a number. Measured: 1.10 units for 268 million float32 with 6 exponents, 1.06 for a million float64 pairs.
    """

def reciprocal(x: _V) -> _V:
    """1 / x, correctly rounded; infinity of its sign at 0."""

def reduce_add(x: Vector) -> _Number:
    """Sum of the lanes, by halves."""

def reduce_max(x: Vector) -> _Number:
    """Largest lane; NaN if any lane is NaN."""

def reduce_min(x: Vector) -> _Number:
    """Smallest lane; NaN if any lane is NaN."""

def round(x: _V) -> _V:
    """np.rint(x): the nearest integer, ties to even, as a float; also written round(x)."""

def scatter(array: _Array, index: Vector, x: Vector) -> None:
    """array[index[k]] = x[k] for each lane k, in their order: of lanes with one index the last stays."""

def scatter_masked(array: _Array, index: Vector, x: Vector, mask: Mask) -> None:
    """``scatter`` of the lanes where the mask is set; memory is touched only where it is set."""

def select(mask: Mask, x: Vector | _Number, y: Vector | _Number) -> Vector:
    """x where the mask is set, else y; one of them may be a number."""

def shift_left(x: Vector, y: Vector | int) -> Vector:
    """x << y of integers, 0 <= y < their bits; also written with the operator."""

def shift_right(x: Vector, y: Vector | int) -> Vector:
    """x >> y of integers, 0 <= y < their bits, keeping the sign; also written with the operator."""

def sigmoid(x: Vector) -> Vector:
    """The logistic function 1 / (1 + e^-x) within 3 units in the last place, near 0 too; NaN gives NaN.

    Measured: 2.41 units over all float32.
    """

def sign(x: _V) -> _V:
    """np.sign(x): 1, 0 or -1; NaN stays."""

def sqrt(x: _V) -> _V:
    """The square root, correctly rounded; NaN below zero."""

def store(array: _Array, i: _Index, x: Vector) -> None:
    """array[i : i + lanes] = x. A read-only array is a typing error."""

def store_as(array: _Array, i: _Index, x: Vector) -> None:
    """array[i : i + lanes] = x, converted to the array's type as by ``load_as``. Read-only arrays are typing errors."""

def store_as_masked(array: _Array, i: _Index, x: Vector, n: _Index) -> None:
    """``store_as`` of the first n lanes: array[i : i + n] = x[:n]."""

def store_masked(array: _Array, i: _Index, x: Vector, n: _Index) -> None:
    """array[i : i + n] = x[:n]. A read-only array is a typing error."""

@_binary
def sub(x: Any, y: Any) -> Any:
    """x - y; also written with the operator."""

def tanh(x: Vector) -> Vector:
    """Hyperbolic tangent within 3 units in the last place; NaN gives NaN.

    Measured: 2.42 units over every float32 from 2^-15 to 24, beyond which it is x or 1.
    """

def tile_axpy(tile: Tile, x: _Number, B: _Array, b: _Index, n: _Index) -> Tile:
    """tile[0, v] += x * B[b + v * lanes : ...] for a scalar x; only the first n columns."""

def tile_fma(tile: Tile, A: _Array, a: _Index, a_stride: _Index, B: _Array, b: _Index) -> Tile:
    """tile[r, v] += A[a + r * a_stride] * B[b + v * lanes : ... + lanes]: one step of a rank-1 update."""

def tile_fma_masked(tile: Tile, A: _Array, a: _Index, a_stride: _Index, B: _Array, b: _Index, n: _Index) -> Tile:
    """``tile_fma`` with only the first n columns of B, zero in the others."""

def tile_load(C: _Array, c: _Index, c_stride: _Index, rows: int, vectors: int, n: _Index) -> Tile:
    """A tile from C[c + r * c_stride + v * lanes : ...]; only the first n columns, the others zero."""

def tile_row(like: Tile, array: _Array, i: _Index, n: _Index) -> Tile:
    """A tile of one row with as many vectors as ``like`` has: array[i : i + n], and zeros behind."""

def tile_rows(like: Tile, arrays: tuple[_Array, ...], i: _Index, n: _Index) -> tuple[Tile, ...]:
    """``tile_row`` of each of a tuple of arrays: a tuple."""

def tile_store(C: _Array, c: _Index, c_stride: _Index, tile: Tile, n: _Index, skip: _Index) -> None:
    """C[c + r * c_stride + v * lanes : ...] = tile[r, v], r >= skip; only the first n columns."""

def tile_store_each(arrays: tuple[_Array, ...], i: _Index, tiles: tuple[Tile, ...], n: _Index) -> None:
    """array[i : i + n] = tile, for each of a tuple of arrays and its like in one of tiles of one row."""

def tile_sums(tile: Tile) -> Vector:
    """A vector of the sum of each row of a tile of one vector a row, added as ``reduce_add`` does; rest zero.

    The rows are a power of two, at most the lanes. Two rows at a time are folded into one vector, then two of those.
    """

def tile_zeros(like: _Like, rows: int, vectors: int) -> Tile:
    """A tile of ``rows`` x ``vectors`` zero vectors; both are compile-time constants."""

def to_bfloat16(x: Vector) -> Vector:
    """``to_float16`` for bfloat16: nearest, ties to even, NaN stays NaN."""

def to_float16(x: Vector) -> Vector:
    """The bits, in int32 lanes, of the float16 nearest to each float32, ties to even; where the CPU has it (F16C).

    To store: ``store_as(bits, i, to_float16(x))``, bits = array.view(np.uint16).
    """

def transpose(
    A: _Array, a: _Index, a_stride: _Index, rows: _Index, columns: _Index, B: _Array, b: _Index, b_stride: _Index
) -> None:
    """B[b + c * b_stride + r] = A[a + r * a_stride + c] for r < rows and c < columns, both at most the lanes.

    A block of lanes x lanes goes through registers: log2(lanes) rounds of exchanges between pairs of rows. A whole one
    is loaded and stored without masks, which take longer than the exchanges; and by half rows, as whole ones lie across
    two cache lines in most arrays, which takes twice as long.
    """

def zeros(like: _Like) -> Vector:
    """A vector of zeros of ``like``'s element type."""
