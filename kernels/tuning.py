"""Tile sizes and thresholds, each with the measurement that chose it (AMD Zen 4, AVX-512, float32 by default)."""

from .jit import cache
from .jit.numba_private import target
from .simd import REGISTER_BYTES, REGISTERS

ZEN4 = target()[0] == cache.ZEN4
"""Zen 4 reads unpacked operands of a product as fast as packed ones, and computes 64-byte registers in two halves: one
FMA a cycle, not two. Values for other cores were measured on Ice Lake, and some for 32-byte registers on Zen 3."""

TILE_ROWS, TILE_VECTORS = (6, 4) if REGISTER_BYTES == 64 and not ZEN4 else (8, 2) if REGISTERS >= 32 else (6, 2)
"""Register tile of the matrix products: rows x vectors of accumulators.

Zen 4, 128 x 784 x 256, one thread, GFLOP/s, peak 118: 8x2 115, 6x4 112, 4x4 116, 8x3 110, 14x2 115, 12x2 46 (spills).
8x2 divides the usual batch sizes and leaves registers for operands. Two FMAs a cycle need the fewest loads for each:
Ice Lake, peak 174, operands packed, B in L2: 8x2 104, 12x2 109, 14x2 115, 4x4 104, 6x4 119, 8x3 123 (whose 48 columns
do not divide the usual widths). With 16 registers: Zen 3, 256 x 1024 x 1024 forward, input and weight gradient, % of
peak: 4x2 64, 73, 74, 6x2 73, 81, 85; Ice Lake by its AVX2 alone 4x2 68, 6x2 63.
"""

PACK_A = not ZEN4
GROUP_ROWS, GROUP_TERMS = 8 * TILE_ROWS, 8
"""Whether an A with contiguous columns, as in a weight gradient, is packed too, and by how many rows and terms. Ice
Lake, 1024 x 1024 x 1024: 54 GFLOP/s unpacked, 68 by single tiles, 85 by eight; with AVX2, 256 rows, 44 and 76. With
contiguous rows packing A costs a tenth. Zen 3, the same gradient from 256 rows, % of peak: 37 and 74. On Zen 4 it
costs 5 to 15 points of the peak: a tile reads whole cache lines of A. Emerald Rapids, weight gradients of 256 and 1,024
rows of 1024 x 1024, % of peak: all terms of a tile before the next tile's 87 and 92, 4 at a time 90 and 94, 8 91 and
96, 16 90 and 96.
"""

BLOCK_DEPTH, BLOCK_COLUMNS = (256, 512) if PACK_A else (384, 256)
"""Terms and columns of B that are packed at a time: 384 or 512 KiB of float32 in an L2 of 1 MiB or more.

Zen 4, 256 x 1024 x 1024 forward, input and weight gradient, % of peak: 384 x 256 84, 88, 88; 256 x 256 87, 84, 82; 512
x 256 82, 85, 89; 256 x 512 82, 83, 82. Where A is packed for each block of B, wide blocks are better: Ice Lake, weight
gradient of 1024 x 1024 from 256 rows, GFLOP/s: 384 x 256 98, 384 x 512 122, 256 x 512 117; the forward is the same.
Of half as many columns twice as many terms are packed, in blocks of equal length: C is then loaded and stored less
often. Emerald Rapids, 10,000 x 784 x 256, forward and weight gradient, % of peak: 76 and 77, before 73 and 73.
"""

PACK_ROWS, PACK_ROWS_ON_LINES = 32, 64
"""With fewer rows of C than this, B is not packed: the products do not repay moving each of its elements once. Where
the rows of B begin and end on cache lines, vectors cross no line, and reading B in place costs less. Emerald Rapids,
one thread, speed relative to packed, 24, 40, 64, 96 rows: 784 x 256 on lines 1.4, 1.3, 1.2, 1.2, off lines 1.2, 1.1,
1.0, 0.9; 1024 x 1024 1.4, 1.1, 1.1, 1.0 and 1.2, 1.0, 0.9, 0.9; with AVX2, 24, 40, 64 rows of 784 x 256 1.3, 1.2, 1.2
and 1.1, 0.9, 0.9. Zen 3, on lines, packed from 32 rows on over 64: 1.0; from 16 on: 16 and 24 rows 0.8 and 0.9.
"""

IN_PLACE_BLOCK_BYTES = 2**18
"""A B that is not packed is read in blocks of rows of this size, which stay in L2 for all rows of C. Emerald Rapids,
one thread, speed relative to B read whole, 1, 4, 8, 16 rows: 784 x 256 1.0, 1.0, 1.0, 1.0; 1024 x 1024 1.2, 1.1, 1.7,
1.8; 2048 x 2048 1.4, 1.3, 2.0, 2.1; 4096 x 128 1.0, 1.1, 1.3, 1.6. 128 KiB are as fast, 64 and 512 KiB up to a tenth
slower. Zen 3, 1 to 16 rows, relative to 256 KiB: 4 KiB 0.8, 16 and 64 KiB 1.0.
"""

PACK_COLUMNS, PACK_AHEAD = 64, 8
"""Rows of B are packed in pieces of at least so many columns, and prefetched so many rows ahead. Zen 3, GB/s of panels
of 16 columns one by one, of pieces of 32, 64 and all columns, and of 64 prefetched: 1024 x 1024 7.7, 8.9, 14.4, 11.6,
17.0, 4096 x 4096 3.9, 4.8, 8.4, 7.5, 12.0, 784 x 256 13, 15, 15, 14, 15 to 19.
"""

IN_PLACE_BYTES = 1_000_000 if REGISTER_BYTES == 64 else 300_000
"""The size of an array that fits L2 beside everything else; cores without 64-byte registers have 256 or 512 KiB."""

READ_IN_PLACE_BYTES = IN_PLACE_BYTES if ZEN4 else 40_000
"""A B of at most this size, or of IN_PLACE_BYTES on cache lines, is not packed either: it stays in L2 or L1. Zen 4: 128
x 784 x 256 97 % of peak in place, 90 packed; 1024 x 1024 x 1024 80 in place, 87 packed. Ice Lake, 128 x 784 x 256, off
lines, GFLOP/s: weight gradient 65 in place, 80 packed, forward 87 and 83, with AVX2 47 and 67; 128 rows of ten outputs:
in place gains 3 % of a step. Emerald Rapids, 784 x 256 on lines, in place over packed: 128 and 256 rows 1.1 and 1.0,
10,000 1.1; weight gradient of 128 and 256 rows of 128 x 128 1.2 and 1.2, of 784 rows 1.0.
"""

SWAPPED_DEPTH = 1024
SWAPPED_ROWS = 12
"""An input gradient dY @ W.T packs dY and not the larger W, SWAPPED_DEPTH terms at a time, unless padding the last
panel of dY costs more than SWAPPED_ROWS products for each element that is not packed. Ice Lake, one thread, speed
relative to MKL, W packed and dY packed: 64 rows of 784 x 256 0.82 and 1.07, 256 of 1024 x 1024 0.85 and 0.95, 128 of
4096 x 4096 0.90 and 1.07; two threads 0.88 and 0.99, 0.80 and 1.07. With half a panel of padding (100 rows of 1024 x
1024) 0.91 and 0.83.
"""

FORWARD_DOT_TERMS = 32
"""A linear layer of two to NARROW_COLUMNS outputs and at least so many inputs computes dot products: W, not X, is
transposed. Emerald Rapids, one thread, us as dot products, with X transposed, and NumPy's: 2048 x 128 of 2 outputs 18,
37, 14, of 4 23, 42, 80, of 8 43, 55, 87; 512 x 784 of 2 25, 57, 25; 2048 x 32 of 2 10, 15, 7, of 4 12, 17, 12, of 8 22,
20, 23; in float64 2048 x 128 of 4 56, 98, 165, of 8 94, 99, 178; with AVX2 of 4 41, 124, 100. One row of 784 takes 1 us
more. Not measured on Zen.
"""

DOT_COLUMNS = REGISTER_BYTES // 8
SHARED_COLUMNS = REGISTERS // 8
DOT_ROWS, DOT_TERMS = 24, 100
FEW_DOT_ROWS = 8
"""An input gradient dY @ W.T of fewer than DOT_ROWS rows and at least DOT_TERMS outputs, or of fewer than FEW_DOT_ROWS
rows, is computed as dot products: W is then read once, unpacked. Four rows take SHARED_COLUMNS rows of W at a time,
fewer rows DOT_COLUMNS (the lanes of float64). One row of 784 x 256, Ice Lake, 1 thread, GFLOP/s by 1, 4, 8 columns: 16,
21, 21. Emerald Rapids, 1 thread, speed relative to packed products: 784 x 256, 8, 16, 24, 32 rows 1.7, 1.4, 1.0, 1.0;
1024 x 1024, 8, 24, 48 rows 1.9, 1.3, 0.9; 784 x 128, 8 and 16 rows 1.5 and 1.0; 1024 x 32, 8 and 16 rows 1.0 and 0.7;
1024 x 10, 8 rows 0.7. Not measured on Zen.
"""

NARROW_COLUMNS = 8
NARROW_VECTORS = 4 if REGISTERS >= 32 else 2
NARROW_DEPTH = 64
IDLE_LANES = 4
FULL_LANES = 16 if REGISTERS >= 32 else 8
"""In a product with fewer columns than a tile, vectors run down the columns: NARROW_VECTORS of them in a tile,
NARROW_DEPTH terms at a time, which stay in L1. A forward product must transpose A for that, and does so only where
vectors along the rows would leave IDLE_LANES lanes idle, and for less than a vector of columns only where a vector has
FULL_LANES lanes (with few registers tiles are short, and slow along the rows). Beyond NARROW_COLUMNS columns the rows
must fill half a tile, forward two.

Zen 5, one thread, 4096 x 128, us along the rows, down the columns, and NumPy's: weight gradient of 1 output 155, 31,
26, of 2 123, 31, 142, of 8 178, 52, 162; in float64 of 8 201, 103, 283. One output forward is a dot product: 32, 54,
27. 1024 x 128, along over down, weight gradient of 12, 16, 20, 32, 63 outputs 2.5, 2.0, 2.5, 1.7, 1.5; with AVX2 of 2,
8, 12 4.5, 2.5, 2.9. Forward, 2048 x 128: of 8, 9, 12, 13, 16, 20, 28, 31 outputs 1.2, 1.2, 1.1, 0.95, 0.95, 1.4, 1.2,
1.1; with 8 lanes, of 2, 3, 4, 5, 7, 9, 13 in float64 1.1, 1.0, 1.1, 0.9, 0.8, 1.3, 1.1 (20,000 x 100, of 3 0.8, of 10
1.7), with AVX2 1.4, 1.1, 1.4, 1.0, 0.9, 1.6, 1.2; with 4, of 2, 3, 4 0.9, 0.7, 0.8. 256 terms, forward of 16, 48, 65,
128 rows with 10 outputs 0.8, 1.0, 0.8, 1.1, with 40 0.6, 1.1, 0.8, 1.3. Of 100 columns the last 36: 128 x 784, forward
and weight gradient, 114, 116 and 92, 97.
"""

CONVERTED_ROWS = 256
"""Samples of integers that a weight gradient converts to floats at a time, STRIP_ROWS inputs of each: 256 KiB of
float32 in L2. The gradient is read and written once for each such group.
"""

STRIP_ROWS = 256
"""Rows of a weight gradient computed between updates, BLOCK_COLUMNS columns at a time: 256 or 512 KiB of float32 in L2.
dY is packed again for each. On Ice Lake 96, 128 and 256 are equal. Zen 4, gradient and update of 1024 x 1024 weights,
256 samples, % of peak on one thread and two: 64 rows of all columns 75 and 75; 64 rows of a block 73 and 74, 128 80 and
81, 256 84 and 85, 512 86 and 86.
"""

FLOAT_ROWS = 1024
"""Rows of a forward product taken at a time: the block of C stays in a cache from one block of terms to the next, and
until the bias is added. Zen 3, 10,000 x 784 x 256, % of peak: all rows 72, 1,024 80, 480 79.
"""

ROW_BLOCK = 64
"""Rows of integer input converted to floats at a time: 64 x 784 float32 is 200 KB, inside a 1 MiB L2."""

BLOCK_ROWS = 128
"""Samples in a block of a small network: 4-32-16-4 keeps 55 KB of a block, about an L1."""

READ_COLUMNS = 32
"""Inputs of a block that are read at a time. Their rows of BLOCK_ROWS float32 all begin on the same eight sets of L1,
so that 100 of them at once put each other out: a step of 100-10-2 took 0.25 us a sample with 128 in a block, and 0.13
with 112. Emerald Rapids, one thread, time of a step with 16, 32, 64 over all: 100-10-2 with 896 rows 0.47, 0.50, 0.47,
100-64-10 with 256 0.75, 0.76, 0.72, 100-100-10 with 256 0.82, 0.81, 0.79; up to 96 inputs 1.0."""

BLOCK_CHUNKS = 16
"""The most chunks whose gradients are summed apart in a batch, and so the most parts that can share its blocks."""

SMALL_UNITS = 100
SMALL_PARAMETERS = 64
SMALL_ROWS = 16
"""A network is computed in blocks of samples if it has at most SMALL_UNITS units in a layer and SMALL_PARAMETERS
parameters for each row of a batch, from SMALL_ROWS rows on. Zen 5, one thread, speed-up of a step over that in rows of
units: 4-32-16-4 with 16, 32, 128, 10,000 rows 1.4, 1.5, 2.2, 2.7; 64-32-10 with 32, 64, 1,000 1.1, 1.3, 1.4; 30-100-2
with 32, 64, 200 1.2, 1.4, 1.4; 64-64-64-10 with 64, 200, 1,000 1.0, 1.0, 1.2; 100-100-100-10 with 32, 200 0.9, 1.0;
128-128-10 with 128 0.6, as its rows fall on the same lines of L1.
"""

SERIAL_FLOP = 1_000_000
"""A product below this runs on the calling thread: handing over costs about 3 us, the time of 0.3 MFLOP."""

PACED_FLOP = 30_000_000
"""A training step of at most this may be slower on several threads, and is timed: see ``team.Pace``."""

SERIAL_ELEMENTS = 50_000
"""The same for passes over elements (softmax, updates)."""

PANEL_VECTORS = 8 if REGISTER_BYTES == 32 else 4
"""Vectors in a panel of a sparse first layer: 64 float32 columns, so that 128 rows of a panel of dY fill a 32 KiB L1.

784-256 at 128 rows of MNIST, 2 threads, us for forward and update: 4 vectors 75 and 73, 8 vectors 77 and 83. Vectors of
32 bytes, Zen 3, speed with 8 over 4 vectors, in four to six runs: a step of MNIST 1.04 to 1.16, of 100,100 columns 1.14
to 1.28, 10,000 predictions 0.91 to 1.02.
"""

TRANSPOSE_VECTORS = 3
"""Transposing a row of the batch takes as long as its forward and update on this many vectors of a panel: parts with
narrower panels transpose more rows. 784-100-10, 200 rows of MNIST in float32, Adam, 2 threads, us a step: 212, 210, 214
with 2, 3, 4.
"""

COLUMN_BLOCK = 264
"""Columns of X with weights used together, 66 KiB of float32 a panel. A forward panel of 128 rows, new in each batch, 1
thread, us at 112, 168, 264, 392, 784 columns: MNIST 46, 44, 43, 42, 51; 10 % of 784 anywhere 34, 30, 27, 27, 28; 20 %
52, 48, 46, 49, 55; 35 % 108, 95, 98, 110, 117. (For a repeated batch, which branch prediction learns, 112 is best.)
"""

BLOCK_ENTRIES = 8
"""Entries of a row that a block must hold on average to repay loading and storing the sums."""

PACKED_BYTES = 32 * 2**20
PACKED_VISITS = 48
"""A first layer of at most PACKED_BYTES with its state is packed in calls where its columns have PACKED_VISITS entries
on average: packing 800 KB and back takes 0.1 ms, which two steps of 128 rows of MNIST save, with 49 entries a column.
"""

PACKED_ENTRIES = 4
CACHED_BYTES = 5_000_000
"""A layer above CACHED_BYTES is packed only if a column averages PACKED_ENTRIES entries a batch: with fewer, most of
the packed layer is not used. 200 rows of 96 entries by Zipf's law, hidden 100, Adam, 1 thread, ms packed and in place:
2,000 columns (2.4 MB) 0.43 and 0.48, 5,000 (4 entries) 0.77 and 0.70, 10,000 1.42 and 1.22, 20,000 2.6 and 2.5. MNIST,
2 threads, time packed over in place: 8 rows, 256 hidden, SGD 0.89; 16 rows, Adam, 256 hidden 0.65, 512 (4.8 MB) 0.69.
"""

OWNED_BYTES = 8_000_000
"""Parts own panels of an unpacked W of at most this size; of a larger W they share the rows, each read whole from
memory. Time owned over shared, 2 threads: MNIST, 8 rows, 256 hidden 0.69, 16 rows 0.77, 16 rows and 1,024 hidden 0.78;
128 rows with 100 entries each, 256 hidden, 4,000 columns 0.93, 8,000 (8.2 MB) 1.03, 20,000 1.12."""

PREFETCH_COLUMNS = 16
"""How many rows of W ahead are prefetched, where rows are far apart: 100,000 x 256, a step of 128 rows with 100 entries
each, 2 threads: 2.2 ms without, 1.5 ms 8 ahead, 1.4 ms 16 ahead. In a W within IN_PLACE_BYTES it costs a tenth."""

PACKED_ROWS = 512
"""The number of samples from which on a prediction packs the first layer."""

SPARSE_DENSITY = 0.4
"""Up to this share of non-zeros, zeros are skipped. Time of a step, dense over sparse, at densities 0.3, 0.4, 0.5, 0.6:
784-256-10 1.60, 1.41, 1.16, 0.98; 100-256-10 1.45, 1.30, 1.28, 1.07; 784-1024-1024-10 1.02, 0.91, 0.93, 0.90.
"""
