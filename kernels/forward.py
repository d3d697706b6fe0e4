"""The forward pass of a whole network in one compiled call, ROW_BLOCK rows at a time: no arithmetic of its own.

Legend: as in ``step``; two blocks of ROW_BLOCK rows, as wide as the widest layer, take the outputs of the layers by
turns. All functions here are raw.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import simd
from .activations import activate
from .bundles import after
from .csr import Sparse, count_rows, fill_row
from .gemm import PACK_SIZE, Matrix
from .intrinsics import flat
from .jit import kernel, piece
from .network import weights_of
from .sparse import PanelLayer, first_layer_forward, pack, panel_count
from .step import layer_forward, read_row
from .team import barrier, share
from .tuning import COLUMN_BLOCK, ROW_BLOCK, SPARSE_DENSITY


class Blocks(NamedTuple):
    """Memory to write on, for all parts; with ``packed`` not empty the first layer's panels are packed there."""

    values: np.ndarray  # two blocks of outputs a part, flat
    widest: int  # elements in a row of a block
    rows: np.ndarray  # 0, 1, 2, ...: ROW_BLOCK of them, or as many as a sparse X has
    ends: np.ndarray  # two times ROW_BLOCK + 1 a part, or an element a row of a sparse X
    pack_buffer: np.ndarray
    packed: np.ndarray


class Entries(NamedTuple):
    """Room for the non-zeros of a block of dense rows: ROW_BLOCK * inputs for each part; and ``csr.Sparse``'s table."""

    indices: np.ndarray
    values: np.ndarray
    table: np.ndarray


@piece
def _pack_first_layer(part, parts, arrivals, network, packed):
    """The first layer's panels into ``packed``, where it is not empty, by all parts."""
    I, H = network.sizes[0], network.sizes[1]
    if packed.size:
        first, last = share(part, parts, panel_count(H, simd.lanes(packed)))
        for p in range(first, last):
            pack(p, 0, I, I, H, weights_of(network, 0)[0], packed, False)
        barrier(arrivals, 1, parts)


@piece
def _sparse_rows(X, rows, ends, activation, network, packed, below, above, logits):
    """The first layer for rows of a sparse X, to ``below`` or, where it is the only one, to the logits."""
    I, H, hidden = network.sizes[0], network.sizes[1], network.sizes.size > 2
    W, b = weights_of(network, 0)
    layer = PanelLayer(I, H, packed if packed.size else W, b, packed.size > 0)
    Y = below if hidden else logits
    for p in range(panel_count(H, simd.lanes(Y))):
        first_layer_forward(p, X, rows, layer, hidden and activation.fused, Y, above, ends)


@piece
def _layers(rows, first, activation, network, below, above, logits, pack_buffer):
    """Rows through the layers from ``first`` on, from ``below`` by turns to ``above`` and back, and to the logits."""
    sizes, depth = network.sizes, network.sizes.size - 1
    for l in range(first, depth):
        if l > 0:
            activate(activation, below, below, rows * sizes[l])
        X, Y = Matrix(below, sizes[l], 1), Matrix(above if l < depth - 1 else logits, sizes[l + 1], 1)
        layer_forward(rows, l, activation, network, X, Y, pack_buffer)
        below, above = above, below


@piece
def _own_blocks(blocks, part):
    """A part's two blocks, and its pack buffer."""
    below = after(blocks.values, 2 * part * ROW_BLOCK * blocks.widest)
    return below, after(below, ROW_BLOCK * blocks.widest), after(blocks.pack_buffer, part * PACK_SIZE)


@piece
def _read_entries(X, row, n, first, starts, entries):
    """The non-zeros of n rows of X, from entry ``first`` on; ``starts`` holds counts, then where each row begins."""
    for i in range(n):
        end = first + starts[i]
        starts[i] = first
        fill_row(X, row + i, first, end, entries.indices, entries.values)
        first = end
    starts[n] = first


@kernel
def forward(part, parts, arrivals, X, scale, activation, network, blocks, entries, logits):
    """Logits of this part's rows of a dense X. A block with few non-zeros skips the zeros: the bits are the same."""
    _pack_first_layer(part, parts, arrivals, network, blocks.packed)
    lo, hi = share(part, parts, X.shape[0])
    I, O, size = X.shape[1], network.sizes[-1], ROW_BLOCK + 1
    below, above, pack_buffer = _own_blocks(blocks, part)
    starts, ends = blocks.ends[2 * part * size :], blocks.ends[(2 * part + 1) * size :]
    block = COLUMN_BLOCK if blocks.packed.size else I
    for row in range(lo, hi, ROW_BLOCK):
        n, out = min(ROW_BLOCK, hi - row), after(flat(logits), row * O)
        if count_rows(X, row, n, starts) <= SPARSE_DENSITY * (n * I):
            _read_entries(X, row, n, part * ROW_BLOCK * I, starts, entries)
            sparse = Sparse(starts, entries.indices, entries.values, entries.table, I, block)
            _sparse_rows(sparse, blocks.rows[:n], ends, activation, network, blocks.packed, below, above, out)
            _layers(n, 1, activation, network, below, above, out, pack_buffer)
        else:
            for i in range(n):
                read_row(X, scale, row + i, after(below, i * I))
            _layers(n, 0, activation, network, below, above, out, pack_buffer)


@kernel
def forward_sparse(part, parts, arrivals, X, activation, network, blocks, logits):
    """``forward`` from a sparse X."""
    _pack_first_layer(part, parts, arrivals, network, blocks.packed)
    lo, hi = share(part, parts, blocks.rows.size)
    below, above, pack_buffer = _own_blocks(blocks, part)
    for row in range(lo, hi, ROW_BLOCK):
        n, out = min(ROW_BLOCK, hi - row), after(flat(logits), row * network.sizes[-1])
        rows, ends = blocks.rows[row : row + n], after(blocks.ends, row)
        _sparse_rows(X, rows, ends, activation, network, blocks.packed, below, above, out)
        _layers(n, 1, activation, network, below, above, out, pack_buffer)
