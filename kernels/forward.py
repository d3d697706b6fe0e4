"""The forward pass of a whole network in one compiled call, ROW_BLOCK rows at a time: no arithmetic of its own.

Legend: as in ``step``. The outputs of the layers alternate between two blocks of ROW_BLOCK rows, as wide as the widest
layer. All functions here are raw.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import simd
from .bundles import Matrix, after
from .csr_matrix import Sparse, count_rows, fill_row, to_read
from .gemm import PACK_SIZE
from .intrinsics import flat, flat_as
from .jit import kernel, piece
from .layers import activate, is_fused, weights_of
from .network import Parameters
from .sparse import first_layer_forward, pack, panel_count
from .step import layer_forward, panel_layer, read_row
from .team import barrier, share
from .tuning import COLUMN_BLOCK, IN_PLACE_BYTES, ROW_BLOCK, SPARSE_DENSITY


class Blocks(NamedTuple):
    """Scratch of all parts. If ``packed`` is not empty, the first layer's panels are packed into it."""

    values: np.ndarray  # flat: two blocks of outputs for each part
    widest: int  # elements in a row of a block
    rows: np.ndarray  # 0, 1, 2, ...: ROW_BLOCK numbers, or one for each row of a sparse X
    ends: np.ndarray  # 2 * (ROW_BLOCK + 1) elements for each part, or one for each row of a sparse X
    pack_buffer: np.ndarray
    packed: np.ndarray


class Entries(NamedTuple):
    """Scratch for the non-zeros of a block of dense rows, ROW_BLOCK * inputs per part, and their ``Sparse.table``."""

    indices: np.ndarray
    values: np.ndarray
    table: np.ndarray


@piece
def _pack_first_layer(part, parts, arrivals, network, packed):
    """Pack the first layer's panels into ``packed``, unless it is empty; each part packs its share."""
    I, H = network.sizes[0], network.sizes[1]
    if packed.size:
        first, last = share(part, parts, panel_count(H, simd.lanes(packed)))
        for p in range(first, last):
            pack(p, 0, I, I, H, weights_of(network, 0)[0], packed, False)
        barrier(arrivals, parts)


@piece
def _sparse_rows(X, rows, ends, activation, network, packed, below, above, logits):
    """The first layer on rows of a sparse X: to ``below``, or to the logits where it is the only layer."""
    layer, hidden = panel_layer(network, network.params, packed), network.sizes.size > 2
    relu = hidden and is_fused(activation, 1)
    Y = below if hidden else logits
    for p in range(panel_count(layer.outputs, simd.lanes(Y))):
        first_layer_forward(p, X, rows, layer, relu, Y, above, ends)


@piece
def _layers(rows, first, activation, network, X, below, above, logits, pack_buffer):
    """The layers from ``first`` on, on rows of X: outputs go to ``above`` and ``below`` in turn, then to the logits."""
    sizes, depth = network.sizes, network.sizes.size - 1
    for l in range(first, depth):
        if l > 0:
            activate(activation, l, X, X, rows * sizes[l])
        Y = above if l < depth - 1 else logits
        layer_forward(
            rows, l, activation, network, Matrix(X, sizes[l], 1), Matrix(Y, sizes[l + 1], 1), pack_buffer
        )  # fmt: skip
        X, below, above = above, above, below


@piece
def _float_rows(X, row, last, most, scale, copy):
    """(array, n): n rows of scale * X as floats: up to ``most`` in place, or up to ROW_BLOCK in ``copy``."""
    I = X.shape[1]
    if X.itemsize > 1 and scale == 1.0:
        return after(flat_as(X, copy.dtype), row * I), min(most, last - row)
    n = min(ROW_BLOCK, last - row)
    for i in range(n):
        read_row(flat(X), scale, row + i, I, after(copy, i * I))
    return copy, n


@piece
def _rows_at_once(sizes, widest, itemsize):
    """ROW_BLOCK; or all rows whose outputs fit a block if W exceeds L2, so that W is read and packed once for them.

    300 rows of 200,000 x 100, one thread, ms: 64 rows at a time, copied 132, in place 115, all at once 74.
    """
    if sizes[0] * sizes[1] * itemsize <= IN_PLACE_BYTES:
        return ROW_BLOCK
    most = 1
    for size in sizes[1:]:
        most = max(most, size)
    return max(ROW_BLOCK, ROW_BLOCK * widest // most)


@piece
def _own_blocks(blocks, part):
    """This part's two blocks and its pack buffer."""
    below = after(blocks.values, 2 * part * ROW_BLOCK * blocks.widest)
    return below, after(below, ROW_BLOCK * blocks.widest), after(blocks.pack_buffer, part * PACK_SIZE)


@piece
def _read_entries(X, row, n, first, starts, entries):
    """Write the non-zeros of n rows of X from entry ``first`` on; ``starts`` holds counts, then each row's start."""
    for i in range(n):
        end = first + starts[i]
        starts[i] = first
        fill_row(X, row + i, first, end, entries.indices, entries.values)
        first = end
    starts[n] = first


@kernel
def forward(part, parts, arrivals, X, scale, activation, network: Parameters, blocks: Blocks, entries: Entries, logits):
    """Logits of this part's rows of a dense X, at least ROW_BLOCK at a time.

    Where the next ROW_BLOCK rows have few non-zeros, their zeros are skipped, which gives the same bits if W is finite.
    """
    _pack_first_layer(part, parts, arrivals, network, blocks.packed)
    row, last = share(part, parts, X.shape[0])
    I, sizes, size = X.shape[1], network.sizes, ROW_BLOCK + 1
    below, above, pack_buffer = _own_blocks(blocks, part)
    starts, ends = blocks.ends[2 * part * size :], blocks.ends[(2 * part + 1) * size :]
    block = COLUMN_BLOCK if blocks.packed.size else I
    most = _rows_at_once(sizes, blocks.widest, below.itemsize)
    while row < last:
        n, out = min(ROW_BLOCK, last - row), after(flat(logits), row * sizes[-1])
        # A single output is summed in another order (see gemm): its zeros cannot be skipped.
        if count_rows(X, row, n, starts) <= SPARSE_DENSITY * (n * I) and sizes[1] > 1:
            _read_entries(X, row, n, part * ROW_BLOCK * I, starts, entries)
            sparse = Sparse(starts, entries.indices, entries.values, entries.table, I, block)
            _sparse_rows(sparse, blocks.rows[:n], ends, activation, network, blocks.packed, below, above, out)
            samples, first = below, 1
        else:
            samples, n = _float_rows(X, row, last, most, scale, below)
            first = 0
        _layers(n, first, activation, network, samples, below, above, out, pack_buffer)
        row += n


@kernel
def forward_sparse(part, parts, arrivals, X: Sparse, activation, network: Parameters, blocks: Blocks, logits):
    """``forward`` of a sparse X."""
    _pack_first_layer(part, parts, arrivals, network, blocks.packed)
    lo, hi = share(part, parts, X.indptr.size - 1)
    below, above, pack_buffer = _own_blocks(blocks, part)
    for row in range(lo, hi, ROW_BLOCK):
        n, out = min(ROW_BLOCK, hi - row), after(flat(logits), row * network.sizes[-1])
        rows, ends = blocks.rows[row : row + n], after(blocks.ends, row)
        _sparse_rows(to_read(X), rows, ends, activation, network, blocks.packed, below, above, out)
        _layers(n, 1, activation, network, below, below, above, out, pack_buffer)
