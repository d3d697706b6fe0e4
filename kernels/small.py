"""Training steps of small networks: a block of samples goes forward and backward through the whole network in L1.

In layers of a few units a row fills only part of a vector. So vectors run along the samples, ``BLOCK_ROWS`` at a time:
Y_l is [units, samples], and all products run on the register tiles of ``gemm``, with their operands in place. A row of
ones follows the units of Y_l, as the biases follow W_l: so the products add the biases without another pass.

A step has two phases with a barrier after each. In the first each part takes its blocks through forward, loss, gradient
and backward; the gradient of W_l is Y_l @ dZ_l+1.T, dot products along the samples, added up over a chunk of blocks. In
the second each part adds up the chunks, in order, and steps its share of the parameters. Blocks and chunks depend on
the batch alone, so the bits do not depend on the parts.

The forward has the bits of ``step``; the gradient is summed in another order. Legend: as in ``step``; a block has ``n``
samples, padded to ``width``, whole vectors, with copies of the last one, whose dZ is zero. All functions are raw.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import simd
from .activations import ACTIVATIONS
from .bundles import Matrix, after, from_row
from .gemm import finish_rows, gemm_in_place, mask
from .intrinsics import bytes_of, flat, flat_as
from .jit import kernel, piece
from .layers import activate, activation_backward, is_fused, weights_of
from .losses import Outcomes, Targets
from .narrow import transpose_rows
from .network import Network, Parameters
from .step import Objective, Results, Samples, Scaled, batch_range, note_weights, sum_up, update_network
from .team import barrier, share
from .tuning import BLOCK_CHUNKS, BLOCK_ROWS, DOT_COLUMNS, READ_COLUMNS, SMALL_PARAMETERS, SMALL_ROWS, SMALL_UNITS
from .update import Schedule


class BlockWorkspace(NamedTuple):
    """Memory for the blocks of each part, and for the sums.

    ``values`` has ``room`` elements for each part: Y_l from offsets[l] on; then dZ of two adjacent layers, which
    alternate; then scratch for a loss that works row by row; then f'(Z_l) where f is ``of_input``.
    """

    values: np.ndarray
    room: int
    offsets: np.ndarray
    chunks: np.ndarray  # [chunks, parameters], flat: their gradients, laid out as the parameters
    gradients: np.ndarray  # [parts, parameters], flat: the sum of all chunks
    outcomes: Outcomes  # of a block's samples, for each part; with scratch: three times as many losses
    totals: Outcomes  # of the chunks


def block_offsets(network: Network) -> np.ndarray:
    """``BlockWorkspace.offsets``, followed by ``BlockWorkspace.room``."""
    sizes, of_input = network.sizes, [ACTIVATIONS[name].of_input for name in network.activations]
    above = max(sizes) + DOT_COLUMNS  # dot products may read DOT_COLUMNS rows more, and discard their sums
    slopes = [size * kept for size, kept in zip(sizes, [False, *of_input, False])]
    lengths = [*(size + 1 for size in sizes), above, above, 2 * sizes[-1] + 2, *slopes]
    return np.cumsum([0, *lengths]) * BLOCK_ROWS


@piece
def chunk_count(n):
    """The number of chunks of a batch of n samples."""
    return min(BLOCK_CHUNKS, -(-n // BLOCK_ROWS))


@piece
def takes_blocks(params, sizes, rows):
    """Whether blocks are faster for batches of ``rows`` rows and a network of these parameters and sizes."""
    if rows < SMALL_ROWS or params.size > SMALL_PARAMETERS * rows:
        return False
    widest = 0
    for size in sizes:
        widest = max(widest, size)
    return widest <= SMALL_UNITS


@piece
def _read_columns(source, scale, rows, width, I, Y):
    factor = Y.dtype.type(scale)
    for first in range(0, I, READ_COLUMNS):
        for s in range(width):
            start, to = np.uintp(rows[min(s, rows.size - 1)] * I + first), np.uintp(first * width + s)
            for k in range(np.uintp(min(READ_COLUMNS, I - first))):
                Y[to] = factor * source[start + k]
                to += np.uintp(width)


@kernel
def _read_block(X, rows, width, I, ones, Y):
    """Y = scale * X[rows].T [I, width], followed by a row of ``ones`` if the network has biases; X is ``Scaled``."""
    if X.values.shape[1] == I:
        _read_columns(flat(X.values), X.scale, rows, width, I, Y)
    else:
        _read_columns(flat_as(X.values, Y.dtype), X.scale, rows, width, I, Y)
    if ones:
        Y[I * width : (I + 1) * width] = 1


@kernel
def _forward_block(width, activation, network, values, offsets):
    """Y_l of a block, whose Y_0 is there, and its logits."""
    sizes, depth = network.sizes, network.sizes.size - 1
    for l in range(depth):
        I, O = sizes[l], sizes[l + 1]
        W, _ = weights_of(network, l)
        X, Y = after(values, offsets[l]), after(values, offsets[l + 1])
        terms = I + 1 if network.biased else I
        gemm_in_place(O, width, terms, Matrix(W, 1, O), Matrix(X, width, 1), Matrix(Y, width, 1), False)
        if l < depth - 1:
            finish_rows(O, width, Matrix(Y, width, 1), Y[:0], 1.0, is_fused(activation, l + 1))
            activate(activation, l + 1, Y, after(values, offsets[depth + 4 + l + 1]), O * width)
            if network.biased:
                Y[O * width : (O + 1) * width] = 1


def _make_dots(columns: int) -> Any:
    """Two rows of C: the dot products of two rows of X, ``next_row`` apart, with ``columns`` rows of dZ; n are stored.

    They are added to C if ``more``. For a single row next_row is 0, and it is computed twice.
    """

    @piece
    def dots(width, X, next_row, dZ, C, next_sums, n, more):
        one, two = simd.tile_zeros(C, columns, 1), simd.tile_zeros(C, columns, 1)
        for s in range(0, width, simd.lanes(C)):
            above = simd.tile_load(dZ.values, s, dZ.row, columns, 1, simd.lanes(C))
            one = simd.fma(above, simd.load(X, s), one)
            two = simd.fma(above, simd.load(X, s + next_row), two)
        first, second = simd.tile_sums(one), simd.tile_sums(two)
        if more:
            first = first + simd.load_masked(C, 0, n)
            second = second + simd.load_masked(C, next_sums, n)
        simd.store_masked(C, 0, first, n)
        simd.store_masked(C, next_sums, second, n)

    return dots


_many_dots, _few_dots = _make_dots(DOT_COLUMNS), _make_dots(DOT_COLUMNS // 2)


@kernel
def _block_gradient(width, M, N, X, dZ, C, more):
    """C[M, N] = X @ dZ.T of a block, += if ``more``; C is flat."""
    for i in range(0, M, 2):
        pair = i + 1 < M
        for j in range(0, N, DOT_COLUMNS):
            n, above, sums = min(DOT_COLUMNS, N - j), from_row(dZ, j), after(C, i * N + j)
            below, next_row, next_sums = from_row(X, i).values, width * pair, N * pair
            if n > DOT_COLUMNS // 2:
                _many_dots(width, below, next_row, above, sums, next_sums, n, more)
            else:
                _few_dots(width, below, next_row, above, sums, next_sums, n, more)


@kernel
def _backward_block(width, activation, network, values, offsets, gradient, more):
    """``gradient`` = that of all parameters, += if ``more``, from a block whose dZ at the logits is there."""
    sizes, depth = network.sizes, network.sizes.size - 1
    here, there = after(values, offsets[depth + 1]), after(values, offsets[depth + 2])
    for l in range(depth - 1, -1, -1):
        I, O = sizes[l], sizes[l + 1]
        Y, dZ = after(values, offsets[l]), Matrix(here, width, 1)
        rows = I + 1 if network.biased else I
        _block_gradient(width, rows, O, Matrix(Y, width, 1), dZ, after(gradient, network.offsets[l]), more)
        if l > 0:
            gemm_in_place(I, width, O, Matrix(weights_of(network, l)[0], O, 1), dZ, Matrix(there, width, 1), False)
            if is_fused(activation, l):
                mask(I, width, Matrix(Y, width, 1), Matrix(there, width, 1), 1.0)
            else:
                activation_backward(activation, l, Y, after(values, offsets[depth + 4 + l]), there, I * width, 1.0)
            here, there = there, here


@piece
def _add_up(n, values):
    """The sum of the first n values, taken lane by lane and then by halves."""
    total = simd.zeros(values)
    for i in range(0, n, simd.lanes(values)):
        total = total + simd.load_masked(values, i, n - i)
    return simd.reduce_add(total)


class ForwardBlocks(NamedTuple):
    """The first three of ``BlockWorkspace``, and the numbers 0 .. BLOCK_ROWS - 1."""

    values: np.ndarray
    room: int
    offsets: np.ndarray
    rows: np.ndarray


@kernel
def forward_in_blocks(part, parts, X, scale, activation, network: Parameters, blocks: ForwardBlocks, logits):
    """Logits of this part's blocks of a dense X."""
    own, offsets, depth = after(blocks.values, part * blocks.room), blocks.offsets, network.sizes.size - 1
    (M, I), O, lanes = X.shape, network.sizes[depth], simd.lanes(own)
    count = -(-M // BLOCK_ROWS)
    first, last = share(part, parts, count)
    for block in range(first, last):
        lo, hi = share(block, count, M)
        n, width = hi - lo, (hi - lo + lanes - 1) // lanes * lanes
        _read_block(Scaled(bytes_of(X[lo:hi]), scale), blocks.rows[:n], width, I, network.biased, own)
        _forward_block(width, activation, network, own, offsets)
        Z = Matrix(after(own, offsets[depth]), width, 1)
        transpose_rows(O, n, Z, Matrix(after(flat(logits), lo * O), O, 1))


@piece
def _chunk(chunk, chunks, step_rows, samples, objective, network, workspace, values, outcomes):
    """The gradient, loss and hits of one chunk, added up over its blocks."""
    n, depth, offsets = step_rows.size, network.sizes.size - 1, workspace.offsets
    blocks = -(-n // BLOCK_ROWS)
    first, last = share(chunk, chunks, blocks)
    scale, O = 1.0 / n if objective.mean else 1.0, network.sizes[depth]
    logits, dZ = after(values, offsets[depth]), after(values, offsets[depth + 1])
    room = after(values, offsets[depth + 3])
    gradient = after(workspace.chunks, chunk * network.params.size)
    lanes, loss, lost, hits = simd.lanes(values), objective.loss, 0.0, 0
    for block in range(first, last):
        lo, hi = share(block, blocks, n)
        width, rows = (hi - lo + lanes - 1) // lanes * lanes, step_rows[lo:hi]
        _read_block(samples.X, rows, width, network.sizes[0], network.biased, values)
        _forward_block(width, objective.activation, network, values, offsets)
        targets = Targets(samples.labels, samples.weights, rows)
        loss.columns(loss, hi - lo, O, width, logits, targets, scale, outcomes, dZ, room)
        _backward_block(width, objective.activation, network, values, offsets, gradient, block > first)
        lost += _add_up(hi - lo, outcomes.losses)
        for i in range(hi - lo):  # np.sum would make the first kernel to be loaded import SciPy
            hits += outcomes.hits[i]
    workspace.totals.losses[chunk], workspace.totals.hits[chunk] = lost, hits


@kernel
def _add_chunks(chunks, size, gradients, total):
    """total = the sum of the gradients of all chunks, in order; flat, of ``size`` elements."""
    lanes = simd.lanes(total)
    for i in range(0, size, lanes):  # parameters end on a cache line
        x = simd.load(gradients, i)
        for chunk in range(1, chunks):
            x = x + simd.load(gradients, chunk * size + i)
        simd.store(total, i, x)


@kernel
def train_steps_in_blocks(
    part, parts, arrivals, samples: Samples, objective: Objective, schedule: Schedule, network: Parameters,
    workspace: BlockWorkspace, results: Results,
):  # fmt: skip
    """Steps over the samples, from a dense X, without dropout; see ``ops.mlp_train_steps``."""
    values, size = after(workspace.values, part * workspace.room), network.params.size
    gradient, outcomes = after(workspace.gradients, part * size), workspace.outcomes
    own = Outcomes(after(outcomes.losses, 3 * part * BLOCK_ROWS), after(outcomes.hits, part * BLOCK_ROWS))
    for step in range(schedule.lr.shape[0]):
        first, last = batch_range(samples, step)
        n, t = last - first, schedule.t + step
        chunks = chunk_count(n)
        lo, hi = share(part, parts, chunks)
        for chunk in range(lo, hi):
            _chunk(chunk, chunks, samples.rows[first:last], samples, objective, network, workspace, values, own)
        note_weights(part, parts, step, t, network.params[: network.sizes[0] * network.sizes[1]], network, results)
        barrier(arrivals, parts)
        if part == 0:
            sum_up(step, chunks, workspace.totals, results)
        _add_chunks(chunks, size, workspace.chunks, gradient)
        now = Schedule(schedule.rule, schedule.lr[step : step + 1], t)
        update_network(part, parts, now, 1.0, gradient, network)
        barrier(arrivals, parts)
