"""The public names of ``kernels.simd``: all that is imported here. Their types are in ``__init__.pyi``."""

# ruff: noqa: F401

from .codegen import FEATURES, HAS_FMA, REGISTER_BYTES, REGISTERS, Mask, Tile, Vector
from .mathematics import erf, exp, expm1, log, log1p, normal_distribution, polynomial, sigmoid, tanh
from .mathematics import power as pow
from .tiles import (
    tile_axpy,
    tile_fma,
    tile_fma_masked,
    tile_load,
    tile_row,
    tile_rows,
    tile_store,
    tile_store_each,
    tile_sums,
    tile_zeros,
    transpose,
)
from .vectors import absolute as abs
from .vectors import (
    add,
    at_least,
    at_most,
    bitcast,
    both,
    broadcast,
    broadcast_each,
    ceil,
    convert,
    count,
    differ,
    div,
    either,
    equal,
    floor,
    fma,
    from_bfloat16,
    from_float16,
    gather,
    gather_masked,
    greater,
    inverse,
    iota,
    lane,
    lanes,
    leading,
    less,
    load,
    load_as,
    load_as_masked,
    load_masked,
    maximum,
    minimum,
    mul,
    negative,
    not_equal,
    reciprocal,
    reduce_add,
    reduce_max,
    reduce_min,
    scatter,
    scatter_masked,
    select,
    shift_left,
    shift_right,
    sign,
    sqrt,
    store,
    store_as,
    store_as_masked,
    store_masked,
    sub,
    to_bfloat16,
    to_float16,
    zeros,
)
from .vectors import all_lanes as all
from .vectors import any_lane as any
from .vectors import nearest as round

__all__ = sorted(name for name in globals() if not name.startswith("_"))
