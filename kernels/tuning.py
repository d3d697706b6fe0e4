"""Tile sizes and thresholds, each with the measurement that chose it (AMD Zen 4, AVX-512, one core, float32)."""

from .simd import REGISTERS

TILE_VECTORS = 2
TILE_ROWS = 8 if REGISTERS >= 32 else 4
"""Register tile of the matrix products: rows x vectors of accumulators.

128 x 784 x 256, GFLOP/s: 8x2 115, 6x4 112, 4x4 116, 8x3 110, 14x2 115, 12x2 46 (spills). 8x2 divides the usual batch
sizes and leaves registers for the operands; with 16 registers 4x2 is the largest power of two that does.
"""

TRANSPOSE_BLOCK = 16
"""Side of the blocks in which a matrix is transposed: a block's rows and columns are whole cache lines."""

ROW_BLOCK = 64
"""Rows of integer input converted to floats at a time: 64 x 784 float32 is 200 KB, inside a 1 MiB L2."""

SERIAL_FLOP = 2_000_000
"""A product below this runs on the calling thread: handing over costs 10 to 20 us, the time of 2 MFLOP."""

SERIAL_ELEMENTS = 100_000
"""The same for passes over elements (softmax, updates)."""
